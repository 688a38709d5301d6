package control

import "github.com/taskweir/taskweir/internal/task"

// Maybe is a value that may be absent, without a pointer.
type Maybe[T any] struct {
	V   T
	Set bool
}

// Some is a present value.
func Some[T any](v T) Maybe[T] { return Maybe[T]{V: v, Set: true} }

// Input is one task as a client asks for it. Zero fields take the defaults of spec/v1 "Tasks". Its ranges are checked by
// Submit; only what cannot be represented here (a string where a number belongs) is the surface's to find.
type Input struct {
	Kind             string            // required
	Queue            string            // "": default
	Payload          []byte            // raw JSON, kept byte for byte; nil: null
	Priority         string            // "": normal
	RunAt            Maybe[int64]      // ms since 1970; the past means now
	DelayMs          Maybe[int64]      // not together with RunAt
	TimeoutMs        Maybe[int64]      // task.NoTimeout: none
	ExpiresAt        Maybe[int64]      // ms since 1970
	Retry            *RetryInput       // nil: the default policy
	UniqueKey        Maybe[string]     // ≤ 255 bytes
	LimitKey         Maybe[string]     // it shares the limits of this key: 1–64 of A-Z a-z 0-9 . _ - : @
	UniqueScope      string            // "": until_finished
	UniqueWindowMs   Maybe[int64]      // with scope window
	UniqueOnConflict string            // "": reject
	Labels           []task.Label      // in the client's order
	CompletionURL    Maybe[string]     // http or https, ≤ 2,048 bytes: told, signed, when the task is final
	Broken           []task.FieldError // what the surface found while decoding; refused together with what Submit finds

	Name           string // what a surface's client calls the task; the surface checks it
	CompletionKind string // with CompletionURL: a surface's own way to tell it (task.BodyHead)

	retryOf int64
	id      int64         // taken before; 0: taken by the flush
	head    task.BodyHead // as stored; set by prepare
}

// RetryInput is a retry policy as a client asks for it.
type RetryInput struct {
	Policy   string // "": exponential
	BaseMs   Maybe[int64]
	CapMs    Maybe[int64]
	Jitter   Maybe[float64]
	Max      Maybe[int64]
	DelaysMs []int64 // nil: not given
}

// IdempotencyKey makes a creating request repeatable for 24 h.
type IdempotencyKey struct {
	Key  string   // 1–255 bytes
	Body [32]byte // SHA-256 of the request: method, path and body
}
