package rest

import (
	"crypto/sha256"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// decodeInput reads one task of apiv1.Submit. What is wrong with its types is in Broken; the payload aliases the body.
func decodeInput(s *httpkit.Scanner) *control.Input {
	in := &control.Input{}
	object := true
	in.Broken = s.Sub(func() { object = s.Object(func(key []byte) { decodeMember(s, in, key) }) })
	if !object && s.Err() == nil {
		in.Broken = []task.FieldError{{Rule: "type", Message: "must be an object"}}
	}
	return in
}

func decodeMember(s *httpkit.Scanner, in *control.Input, key []byte) {
	if string(key) == "payload" {
		in.Payload = s.Raw()
		return
	}
	set, known := inputMember(s, in, key)
	switch {
	case !known:
		s.Unknown()
	case !s.Null(): // null is as good as left out
		set()
	}
}

// inputMember gives what reads the value of a member.
func inputMember(s *httpkit.Scanner, in *control.Input, key []byte) (set func(), known bool) {
	switch string(key) {
	case "kind":
		return func() { in.Kind = text(s) }, true
	case "queue":
		return func() { in.Queue = text(s) }, true
	case "priority":
		return func() { in.Priority = text(s) }, true
	case "runAt":
		return func() { in.RunAt = instant(s) }, true
	case "delayMs":
		return func() { in.DelayMs = whole(s) }, true
	case "timeoutMs":
		return func() { in.TimeoutMs = whole(s) }, true
	case "expiresAt":
		return func() { in.ExpiresAt = instant(s) }, true
	case "retry":
		return func() { in.Retry = decodeRetry(s) }, true
	case "limitKey":
		return func() { in.LimitKey.V, in.LimitKey.Set = s.String() }, true
	case "uniqueKey":
		return func() { in.UniqueKey.V, in.UniqueKey.Set = s.String() }, true
	case "uniqueScope":
		return func() { in.UniqueScope = text(s) }, true
	case "uniqueWindowMs":
		return func() { in.UniqueWindowMs = whole(s) }, true
	case "uniqueOnConflict":
		return func() { in.UniqueOnConflict = text(s) }, true
	case "labels":
		return func() { in.Labels = decodeLabels(s) }, true
	case "completionUrl":
		return func() { in.CompletionURL.V, in.CompletionURL.Set = s.String() }, true
	}
	return nil, false
}

// text reads a string that must not be empty: "" would silently stand for the default.
func text(s *httpkit.Scanner) string {
	v, ok := s.String()
	if ok && v == "" {
		s.Break("length", "must not be empty; leave it out for the default")
	}
	return v
}

func whole(s *httpkit.Scanner) (m control.Maybe[int64]) {
	m.V, m.Set = s.Int()
	return m
}

func instant(s *httpkit.Scanner) (m control.Maybe[int64]) {
	v, ok := s.String()
	if !ok {
		return m
	}
	t, err := apiv1.ParseTime(v)
	if err != nil {
		s.Break("format", "must be a time with zone like 2030-01-02T15:04:05.000Z")
		return m
	}
	return control.Some(int64(t))
}

func decodeRetry(s *httpkit.Scanner) *control.RetryInput {
	r := &control.RetryInput{}
	s.Object(func(key []byte) {
		switch string(key) {
		case "policy", "baseMs", "capMs", "jitter", "max", "delaysMs":
		default:
			s.Unknown()
			return
		}
		if s.Null() {
			return
		}
		switch string(key) {
		case "policy":
			r.Policy = text(s)
		case "baseMs":
			r.BaseMs = whole(s)
		case "capMs":
			r.CapMs = whole(s)
		case "jitter":
			r.Jitter.V, r.Jitter.Set = s.Float()
		case "max":
			r.Max = whole(s)
		case "delaysMs":
			r.DelaysMs = decodeDelays(s)
		}
	})
	return r
}

func decodeDelays(s *httpkit.Scanner) []int64 {
	out := []int64{}
	s.Array(func(i int) {
		if i > control.MaxRetryDelays {
			s.Raw() // refused for its length anyway
			return
		}
		if n, ok := s.Int(); ok {
			out = append(out, n)
		}
	})
	return out
}

func decodeLabels(s *httpkit.Scanner) (labels []task.Label) {
	s.Object(func(key []byte) {
		if len(labels) > control.MaxLabels {
			s.Raw() // refused for their number anyway
			return
		}
		if v, ok := s.String(); ok {
			labels = append(labels, task.Label{Key: string(key), Value: v})
		}
	})
	return labels
}

// decodeBatch reads apiv1.SubmitBatch. No more than one task too many is kept.
func decodeBatch(s *httpkit.Scanner) (ins []*control.Input) {
	s.Object(func(key []byte) {
		if string(key) != "tasks" {
			s.Unknown()
			return
		}
		s.Array(func(i int) {
			if i > control.MaxBatch {
				s.Raw()
				return
			}
			ins = append(ins, decodeInput(s))
		})
	})
	return ins
}

// body reads the request as one JSON object through member, which is called for each member. With optional an empty body
// is fine. Errors: Malformed, TooLarge, and Invalid with everything that was noted.
func body(c call, optional bool, member func(s *httpkit.Scanner, key []byte)) error {
	raw, err := c.Body()
	if err != nil {
		return err
	}
	if optional && len(strings.TrimSpace(string(raw))) == 0 {
		return nil
	}
	s, err := c.JSON(func(s *httpkit.Scanner) { s.Object(func(key []byte) { member(s, key) }) })
	if err != nil {
		return err
	}
	return broken(s.Broken())
}

// broken is the error for rules that a decoder found broken; nil when there are none.
func broken(fields []task.FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	f := fields[0]
	if f.Field == "" {
		return &task.Error{Kind: task.Malformed, Code: apiv1.CodeMalformed, Message: "the body " + f.Message, Fields: fields}
	}
	return &task.Error{Kind: task.Invalid, Code: apiv1.CodeInvalid, Message: f.Field + ": " + f.Message, Fields: fields}
}

// noBody accepts an empty body or {}.
func noBody(c call) error {
	return body(c, true, func(s *httpkit.Scanner, _ []byte) { s.Unknown() })
}

// idempotency reads the Idempotency-Key. The request it stands for is its method, path and body.
func idempotency(c call, raw []byte) *control.IdempotencyKey {
	if !c.HasHeader(apiv1.HeaderIdempotencyKey) {
		return nil
	}
	h := sha256.New()
	io.WriteString(h, c.Method()+" "+c.Path()+"\n")
	h.Write(raw)
	k := &control.IdempotencyKey{Key: c.Header(apiv1.HeaderIdempotencyKey)}
	h.Sum(k.Body[:0])
	return k
}

// noIdempotency refuses the header where it cannot be honoured: an answer that shows a secret once cannot be repeated.
func noIdempotency(c call) error {
	if !c.HasHeader(apiv1.HeaderIdempotencyKey) {
		return nil
	}
	return task.InvalidField(apiv1.HeaderIdempotencyKey, "not_available", "cannot be used here: the answer shows a secret once")
}

// pathID reads an id of the path; what is none is unknown.
func pathID(c call, name, what string) (int64, error) {
	id, err := apiv1.ParseID(c.Param(name))
	if err != nil {
		return 0, task.Missing(what)
	}
	return int64(id), nil
}

// wait reads ?wait=, a Go duration up to 30 s.
func wait(c call) (time.Duration, error) {
	v, ok := c.Query("wait")
	if !ok {
		return 0, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, task.InvalidField("wait", "format", "must be a duration like 10s")
	}
	if d < 0 || d > control.MaxWait {
		return 0, task.InvalidField("wait", "range", "must be 0s … 30s")
	}
	return d, nil
}

func flag(c call, name string) (bool, error) {
	v, ok := c.Query(name)
	if !ok {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, task.InvalidField(name, "type", "must be true or false")
	}
	return b, nil
}
