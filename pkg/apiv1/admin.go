package apiv1

// Kind is a kind that tasks may have.
type Kind struct {
	Name    string `json:"name"`
	BuiltIn bool   `json:"builtIn"`
}

// Count is a number that was counted up to a bound.
type Count struct {
	Value   int64 `json:"value"`
	AtLeast bool  `json:"atLeast"` // counting stopped at its bound
}

// Queue is how a queue stands.
type Queue struct {
	Name           string `json:"name"`
	Paused         bool   `json:"paused"`
	Depth          Count  `json:"depth"`          // due and not started
	Scheduled      Count  `json:"scheduled"`      // due later
	Running        Count  `json:"running"`        //
	OldestDueAt    Time   `json:"oldestDueAt"`    // null when nothing is due
	OldestDueAgeMs int64  `json:"oldestDueAgeMs"` // 0 when nothing is due
	Limits         Limits `json:"limits"`
}

// Worker is one start of a worker process.
type Worker struct {
	ID         ID            `json:"id"`
	State      string        `json:"state"` // alive, draining, gone
	Host       string        `json:"host"`
	PID        int           `json:"pid"`
	Version    string        `json:"version"`
	StartedAt  Time          `json:"startedAt"`
	BeatAt     Time          `json:"beatAt"` // last heartbeat
	Slots      int           `json:"slots"`
	ShellSlots int           `json:"shellSlots"`
	Busy       int           `json:"busy"`
	Zombies    int           `json:"zombies"`
	Queues     []string      `json:"queues"`           // empty: all
	Kinds      []string      `json:"kinds"`            //
	Running    []RunningTask `json:"running,omitzero"` // only when one worker is asked for
}

// RunningTask is a task that a worker has been running for 200 ms or more.
type RunningTask struct {
	Task      ID     `json:"task"`
	Attempt   ID     `json:"attempt"`
	Epoch     int    `json:"epoch"`
	Kind      string `json:"kind"`
	Queue     string `json:"queue"`
	StartedAt Time   `json:"startedAt"`
	Zombie    bool   `json:"zombie"`
}

// App is a client application.
type App struct {
	ID          string `json:"id"` // public key: identifies, never authenticates
	Name        string `json:"name"`
	CallbackURL string `json:"callbackUrl"` // "": none
	Weight      int    `json:"weight"`      // share of a contended lane, 1 … 1,000
	Paused      bool   `json:"paused"`
	Limits      Limits `json:"limits"`
	// Disabled: none of its credentials is taken, nor new tasks of it; what runs goes on, what waits goes on waiting.
	Disabled bool `json:"disabled"`
	// KeepDeliveries keeps callbacks that succeed at once for inspection too; others are kept anyway.
	KeepDeliveries bool `json:"keepDeliveries"`
	// OldSecretUntil is how long callbacks are signed with the secret before the present one too; null: they are not.
	OldSecretUntil Time   `json:"oldSecretUntil"`
	CreatedAt      Time   `json:"createdAt"`
	SigningSecret  string `json:"signingSecret,omitempty"` // only when it is new

	// What the legacy surfaces keep of it.
	Surface             string `json:"surface,omitempty"`             // where it was made, if not here: goodjob, serendipity
	Step                int    `json:"step,omitempty"`                // seconds before the first retry, 1 … 3,600
	RetryTotal          *int   `json:"retryTotal,omitempty"`          // retries after the first run, 0 … 10
	Remark              string `json:"remark,omitempty"`              // ≤ 255 characters
	CallbackHeaderStyle string `json:"callbackHeaderStyle,omitempty"` // names that the callbacks' legacy signature covers: hyphen (default), underscore
	SignatureMode       string `json:"signatureMode,omitempty"`       // what the Serendipity surface asks of requests: token (default), strict
}

// AppCreate is the body of POST /v1/apps.
type AppCreate struct {
	Name        string `json:"name"`
	CallbackURL string `json:"callbackUrl,omitempty"`
	Weight      int    `json:"weight,omitempty"` // default 1
	Paused      bool   `json:"paused,omitempty"` // start nothing of it until that is changed
	// KeepDeliveries keeps callbacks that succeed at once for inspection too.
	KeepDeliveries bool `json:"keepDeliveries,omitempty"`
	// Limits bound what of the app may run. Default none.
	Limits *Limits `json:"limits,omitempty"`

	// What an app keeps that moves here from elsewhere. Left out, both are drawn.
	ID            string `json:"id,omitempty"`            // public key: 1–16 of A-Z a-z 0-9 _ -
	SigningSecret string `json:"signingSecret,omitempty"` // 16–128 printable ASCII characters without spaces

	Step                int    `json:"step,omitempty"`
	RetryTotal          *int   `json:"retryTotal,omitempty"`
	Remark              string `json:"remark,omitempty"`
	CallbackHeaderStyle string `json:"callbackHeaderStyle,omitempty"`
	SignatureMode       string `json:"signatureMode,omitempty"`
}

// AppPatch is the body of PATCH /v1/apps/{id}; what is left out stays.
type AppPatch struct {
	Name        *string `json:"name,omitempty"`
	CallbackURL *string `json:"callbackUrl,omitempty"` // "": none
	Weight      *int    `json:"weight,omitempty"`
	Paused      *bool   `json:"paused,omitempty"`
	Disabled    *bool   `json:"disabled,omitempty"`
	Limits      *Limits `json:"limits,omitempty"` // replaces them all; {} takes them away
	// KeepDeliveries keeps callbacks that succeed at once for inspection too.
	KeepDeliveries *bool `json:"keepDeliveries,omitempty"`

	Step                *int    `json:"step,omitempty"`
	RetryTotal          *int    `json:"retryTotal,omitempty"`
	Remark              *string `json:"remark,omitempty"`
	CallbackHeaderStyle *string `json:"callbackHeaderStyle,omitempty"`
	SignatureMode       *string `json:"signatureMode,omitempty"`
}

// Key is an API key.
type Key struct {
	ID        ID     `json:"id"`
	Name      string `json:"name"`
	Scope     string `json:"scope"`
	Hint      string `json:"hint"` // its last four characters
	Bootstrap bool   `json:"bootstrap"`
	CreatedAt Time   `json:"createdAt"`
	RevokedAt Time   `json:"revokedAt"`     // null while it lives
	Key       string `json:"key,omitempty"` // only in the answer to its creation
}

// KeyCreate is the body of POST /v1/apps/{id}/keys.
type KeyCreate struct {
	Name  string `json:"name,omitempty"`
	Scope string `json:"scope"` // read, submit, manage, admin
}

// List is a page of a short list.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"nextCursor"` // null at the end
}

// Problem is an RFC 9457 answer (application/problem+json).
type Problem struct {
	Type   string       `json:"type,omitempty"` // about:blank
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Code   string       `json:"code"`             // stable
	Errors []FieldError `json:"errors,omitempty"` // which fields broke which rules
	TaskID ID           `json:"taskId,omitzero"`  // the other task, for a conflict
	// ScheduleID is the other schedule, for a conflict.
	ScheduleID ID `json:"scheduleId,omitzero"`
	// RequestID finds the request in the server's log.
	RequestID string `json:"requestId,omitempty"`
}

// FieldError says which field broke which rule.
type FieldError struct {
	Field   string `json:"field"`
	Rule    string `json:"rule"` // stable
	Message string `json:"message"`
	Place   *Place `json:"place,omitempty"` // where in the field's text, for expressions
}

// Place points into a text that a rule refused: the Length characters from At on.
type Place struct {
	Text   string `json:"text"` // as it was sent
	At     int    `json:"at"`   // characters before the place; it may be the text's end
	Length int    `json:"length"`
}

// Error is the problem for logs and people.
func (p *Problem) Error() string {
	s := p.Code
	if p.Detail != "" {
		s += ": " + p.Detail
	} else if p.Title != "" {
		s += ": " + p.Title
	}
	return s
}

// Health is the answer of /healthz and /readyz.
type Health struct {
	Status string  `json:"status"` // ok, or unavailable
	Checks []Check `json:"checks,omitempty"`
}

// Check is one thing that readiness needs.
type Check struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"`
}
