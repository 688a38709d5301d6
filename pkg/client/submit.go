package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// SubmitOption changes what Submit asks for. Every CallOption is one too.
type SubmitOption interface {
	apply(s *apiv1.Submit, r *request)
}

type field func(*apiv1.Submit)

func (f field) apply(s *apiv1.Submit, _ *request) { f(s) }

func (o CallOption) apply(_ *apiv1.Submit, r *request) { o(r) }

// Queue chooses the queue; default "default".
func Queue(name string) SubmitOption { return field(func(s *apiv1.Submit) { s.Queue = name }) }

// Priority is one of apiv1.PriorityHigh, PriorityNormal (the default) and PriorityLow.
func Priority(p string) SubmitOption { return field(func(s *apiv1.Submit) { s.Priority = p }) }

// Delay starts the task not before d has passed, in whole milliseconds, up to ten years. It and RunAt exclude each other.
func Delay(d time.Duration) SubmitOption {
	return field(func(s *apiv1.Submit) { s.DelayMs = new(milliseconds(d)) })
}

// RunAt starts the task not before t; the past means now.
func RunAt(t time.Time) SubmitOption {
	return field(func(s *apiv1.Submit) { s.RunAt = new(apiv1.TimeOf(t)) })
}

// Timeout bounds one attempt, from 1 ms to a week; default one minute.
func Timeout(d time.Duration) SubmitOption {
	return field(func(s *apiv1.Submit) { s.TimeoutMs = new(milliseconds(d)) })
}

// NoTimeout lets an attempt run for ever.
func NoTimeout() SubmitOption { return field(func(s *apiv1.Submit) { s.TimeoutMs = new(int64(-1)) }) }

// ExpiresAt fails the task, with reason expired, when it has not been started by t.
func ExpiresAt(t time.Time) SubmitOption {
	return field(func(s *apiv1.Submit) { s.ExpiresAt = new(apiv1.TimeOf(t)) })
}

// MaxRetries is how often the task is run again after its first run failed, 0 … 100; default 3.
func MaxRetries(n int) SubmitOption {
	return field(func(s *apiv1.Submit) { retryOf(s).Max = new(int64(n)) })
}

// Backoff says how failed attempts are spaced. It replaces what MaxRetries before it said.
func Backoff(r apiv1.Retry) SubmitOption { return field(func(s *apiv1.Submit) { s.Retry = &r }) }

func retryOf(s *apiv1.Submit) *apiv1.Retry {
	if s.Retry == nil {
		s.Retry = &apiv1.Retry{}
	}
	return s.Retry
}

// UniqueKey lets at most one task of the app hold the key at a time, up to 255 bytes, until it is finished unless UniqueScope or UniqueWindow
// says otherwise. A second one is refused (ConflictingTask names the first) unless OnConflict says otherwise.
func UniqueKey(key string) SubmitOption { return field(func(s *apiv1.Submit) { s.UniqueKey = key }) }

// UniqueScope is how long a unique key is held: apiv1.UniqueUntilFinished (the default), UniqueUntilStarted, UniqueUntilDue,
// UniqueForever.
func UniqueScope(scope string) SubmitOption {
	return field(func(s *apiv1.Submit) { s.UniqueScope = scope })
}

// UniqueWindow holds a unique key for d.
func UniqueWindow(d time.Duration) SubmitOption {
	return field(func(s *apiv1.Submit) { s.UniqueScope, s.UniqueWindowMs = apiv1.UniqueWindow, new(milliseconds(d)) })
}

// OnConflict is what a submit does whose unique key is taken: apiv1.UniqueReject (the default), UniqueKeep (gives the other
// task: Submitted.Existing), UniqueReplace (cancels the other one if it has not started).
func OnConflict(what string) SubmitOption {
	return field(func(s *apiv1.Submit) { s.UniqueOnConflict = what })
}

// LimitKey makes the task share the limits of a key, such as those of one customer (Client.LimitKeys).
func LimitKey(key string) SubmitOption { return field(func(s *apiv1.Submit) { s.LimitKey = key }) }

// Label adds a label, by which tasks are found later; up to 16.
func Label(name, value string) SubmitOption {
	return field(func(s *apiv1.Submit) {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[name] = value
	})
}

// CompletionURL gets a signed POST each time the task becomes final.
func CompletionURL(url string) SubmitOption {
	return field(func(s *apiv1.Submit) { s.CompletionURL = url })
}

// milliseconds rounds up: nothing that must last so long lasts shorter.
func milliseconds(d time.Duration) int64 {
	ms := d.Milliseconds()
	if d > 0 && d%time.Millisecond != 0 {
		ms++
	}
	return ms
}

// Submitted is a task and how its submit went.
type Submitted struct {
	apiv1.Task
	Replayed bool // an earlier request with the same Idempotency-Key made it
	Existing bool // it is the other task that holds the unique key: OnConflict(apiv1.UniqueKeep)
}

// Submit makes a task. The payload is encoded as JSON; a json.RawMessage or []byte must be JSON already and goes as it is, byte for byte.
// nil is null. The task is stored durably when there is no error. It is made once, however often the request has to be sent.
func (c *Client) Submit(ctx context.Context, kind string, payload any, opts ...SubmitOption) (*Submitted, error) {
	raw, err := Payload(payload)
	if err != nil {
		return nil, fmt.Errorf("taskweir: submit %s: %w", kind, err)
	}
	return c.SubmitTask(ctx, apiv1.Submit{Kind: kind, Payload: raw}, opts...)
}

// SubmitTask is Submit for a request that is already made.
func (c *Client) SubmitTask(ctx context.Context, s apiv1.Submit, opts ...SubmitOption) (*Submitted, error) {
	r := post("/v1/tasks").inApp().keyed()
	s = copied(s)
	for _, o := range opts {
		o.apply(&s, r)
	}
	if err := sendable(&s); err != nil {
		return nil, fmt.Errorf("taskweir: submit %s: %w", s.Kind, err)
	}
	var err error
	if r.body, err = s.AppendJSON(nil); err != nil {
		return nil, fmt.Errorf("taskweir: submit %s: %w: %w", s.Kind, ErrInvalid, err)
	}
	return c.submitted(ctx, r)
}

// copied is s with what options change in place.
func copied(s apiv1.Submit) apiv1.Submit {
	if s.Retry != nil {
		s.Retry = new(*s.Retry)
	}
	if s.Labels != nil {
		labels := make(map[string]string, len(s.Labels))
		for k, v := range s.Labels {
			labels[k] = v
		}
		s.Labels = labels
	}
	return s
}

func (c *Client) submitted(ctx context.Context, r *request, opts ...CallOption) (*Submitted, error) {
	resp, err := c.call(ctx, r, opts...)
	if err != nil {
		return nil, err
	}
	t, err := decode[apiv1.Task](r, resp)
	if err != nil {
		return nil, err
	}
	if t.ID == 0 {
		return nil, fmt.Errorf("taskweir: %s %s: the answer is not Taskweir's: it has no task", r.method, r.path)
	}
	return &Submitted{Task: *t, Replayed: resp.Replayed(), Existing: resp.StatusCode == http.StatusOK}, nil
}

// Payload is v as Submit sends it.
func Payload(v any) (json.RawMessage, error) {
	var raw json.RawMessage
	switch p := v.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		raw = p
	case []byte:
		raw = p
	default:
		b, err := encode(v)
		if err != nil {
			return nil, fmt.Errorf("payload: %w: %w", ErrInvalid, err)
		}
		return b, nil
	}
	if raw == nil {
		return nil, nil
	}
	if err := validJSON(raw); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return raw, nil
}

var errNotJSON = errors.New("is not JSON")

func validJSON(raw json.RawMessage) error {
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return fmt.Errorf("%w: %w", ErrInvalid, errNotJSON)
	}
	return nil
}

// sendable refuses what JSON cannot carry: it would arrive as something else, or break the request around it.
func sendable(s *apiv1.Submit) error {
	if s.Payload != nil {
		if err := validJSON(s.Payload); err != nil {
			return fmt.Errorf("payload: %w", err)
		}
	}
	texts := []struct{ name, value string }{
		{"kind", s.Kind}, {"queue", s.Queue}, {"priority", s.Priority}, {"uniqueKey", s.UniqueKey}, {"uniqueScope", s.UniqueScope},
		{"uniqueOnConflict", s.UniqueOnConflict}, {"limitKey", s.LimitKey}, {"completionUrl", s.CompletionURL},
	}
	for _, t := range texts {
		if !utf8.ValidString(t.value) {
			return fmt.Errorf("%s: %w: is not UTF-8", t.name, ErrInvalid)
		}
	}
	for name, value := range s.Labels {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("labels: %w: %q is not UTF-8", ErrInvalid, name)
		}
	}
	return nil
}
