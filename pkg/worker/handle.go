package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Task is one attempt with its payload.
type Task[T any] struct {
	*Attempt
	Payload T
}

// KindOption says something of one kind.
type KindOption func(*Worker, *handler)

// MaxRun ends attempts of the kind after d, 1 ms to 7 days, when their task allows them longer. It is as if d were the task's
// timeout: their context ends with [ErrTimedOut], and they are tried again by the task's retry policy.
func MaxRun(d time.Duration) KindOption {
	return func(w *Worker, h *handler) {
		if ms := d.Milliseconds(); ms >= 1 && ms <= task.MaxTimeoutMs {
			h.maxMs = int32(ms)
		} else {
			w.fail("kind %q: MaxRun must be 1ms to 168h, is %s", h.kind, d)
		}
	}
}

// Strict refuses payloads that have fields which the handler's type has not, also nested.
func Strict() KindOption { return func(_ *Worker, h *handler) { h.strict = true } }

// Handle registers the handler of a kind: 1 to 64 of a-z 0-9 . _ -, none that is built in, each once. What is wrong is said
// when the worker is started.
//
// The payload is decoded into T by encoding/json; json.RawMessage takes any. Where T, or *T, has a method Validate() error, a
// payload that it refuses fails for good like one that does not decode.
//
// The kind becomes known to the installation when a worker that handles it first starts; from then on the API takes tasks of it.
func Handle[T any](w *Worker, kind string, h func(context.Context, Task[T]) error, opts ...KindOption) {
	k := &handler{kind: kind}
	for _, o := range opts {
		o(w, k)
	}
	if h == nil {
		w.fail("kind %q: the handler is nil", kind)
	}
	decode := decoder[T](k.strict)
	k.run = func(ctx context.Context, a *Attempt) error {
		t := Task[T]{Attempt: a}
		if err := decode(a.RawPayload(), &t.Payload); err != nil {
			return err
		}
		return h(ctx, t)
	}
	w.register(k)
}

// HandleResult registers a handler that gives a result: any value that encodes to at most 64 KiB of JSON. A result that does
// not is a permanent failure, code invalid_result or result_too_large. The result of an attempt that failed is dropped.
func HandleResult[T, R any](w *Worker, kind string, h func(context.Context, Task[T]) (R, error), opts ...KindOption) {
	if h == nil {
		w.fail("kind %q: the handler is nil", kind)
	}
	Handle(w, kind, func(ctx context.Context, t Task[T]) error {
		r, err := h(ctx, t)
		if err != nil {
			return err
		}
		if err := t.SetResult(r); err != nil {
			return Permanent(err)
		}
		return nil
	}, opts...)
}

// validator is what a payload's type may have.
type validator interface{ Validate() error }

// decoder gives the function that decodes payloads of a type. Its errors are permanent.
func decoder[T any](strict bool) func(raw json.RawMessage, into *T) error {
	_, validates := any(new(T)).(validator)
	return func(raw json.RawMessage, into *T) error {
		if len(raw) == 0 {
			raw = json.RawMessage("null")
		}
		if p, ok := any(into).(*json.RawMessage); ok {
			*p = raw
			return nil
		}
		if err := unmarshal(raw, into, strict); err != nil {
			return Code("invalid_payload", Permanent(fmt.Errorf("the payload does not fit: %w", err)))
		}
		if !validates {
			return nil
		}
		if err := any(into).(validator).Validate(); err != nil {
			return Code("invalid_payload", Permanent(fmt.Errorf("the payload is refused: %w", err)))
		}
		return nil
	}
}

func unmarshal(raw []byte, into any, strict bool) error {
	if !strict {
		return json.Unmarshal(raw, into)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
