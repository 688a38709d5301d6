package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// longPoll is how long one request of Wait lets the server wait; it takes up to 30 s.
const longPoll = 25 * time.Second

// Wait gives a task when it is final, however it ended. It goes on over restarts of the server and lost connections, as
// WithPatience says; bound it by ctx.
func (c *Client) Wait(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Task, error) {
	p := c.patient()
	for {
		r := get("/v1/tasks/%s", id.String()).inApp().with("wait", longPoll.String())
		r.wait = longPoll
		for _, o := range opts {
			o(r)
		}
		asked := time.Now()
		resp, err := c.try(ctx, r)
		if err != nil {
			if err = p.after(ctx, r, err); err != nil {
				return nil, err
			}
			continue
		}
		if r.meta != nil {
			*r.meta = *resp
		}
		t, err := decode[apiv1.Task](r, resp)
		if err != nil {
			return nil, err
		}
		if apiv1.Final(t.State) {
			return t, nil
		}
		// A server that is stopping answers waits at once: do not ask again in a hurry.
		if err := p.answered(ctx, time.Since(asked) > time.Second); err != nil {
			return nil, c.noAnswer(r, err, 1, false)
		}
	}
}

// patience repeats what may be repeated until there was no answer for too long.
type patience struct {
	c    *Client
	last time.Time // of the last answer
	bad  int       // tries in a row without one
	idle int       // answers in a row that came too early
}

func (c *Client) patient() *patience { return &patience{c: c, last: time.Now()} }

// after waits before the next try; it gives the error that ends them.
func (p *patience) after(ctx context.Context, r *request, err error) error {
	p.bad++
	noteTries(err, p.bad, false)
	wait, again := r.worthRepeating(err)
	policy := &p.c.core.policy
	wait = max(wait, policy.backOff(p.bad))
	if !again || ctx.Err() != nil || policy.GiveUp != nil && policy.GiveUp(err) {
		return err
	}
	if most := p.c.core.patience; most > 0 && time.Since(p.last)+wait > most {
		return err
	}
	if p.c.core.pause(ctx, wait) != nil {
		return p.c.noAnswer(r, ended(ctx), p.bad, false)
	}
	return nil
}

// closed notes the end of a connection that was opened: until then there was an answer, also when it said nothing for long.
func (p *patience) closed(opened time.Time) {
	if p.last = time.Now(); time.Since(opened) > lasted {
		p.bad = 0
	}
}

// lasted is how long a connection lasts whose end is no sign of trouble.
const lasted = 10 * time.Second

func (p *patience) seen() { p.last, p.bad = time.Now(), 0 }

// answered notes an answer; one that came earlier than it was asked for is followed by a pause.
func (p *patience) answered(ctx context.Context, inTime bool) error {
	p.seen()
	if inTime {
		p.idle = 0
		return nil
	}
	p.idle++
	return p.c.core.pause(ctx, p.c.core.policy.backOff(p.idle))
}

// What errors.Is finds in an *UnsuccessfulError.
var (
	ErrTaskFailed    = errors.New("the task failed")
	ErrTaskCancelled = errors.New("the task was cancelled")
)

// UnsuccessfulError is a task that became final without success.
type UnsuccessfulError struct{ Task *apiv1.Task }

// Error says how the task ended and why.
func (e *UnsuccessfulError) Error() string {
	s := fmt.Sprintf("taskweir: task %s is %s", e.Task.ID, e.Task.State)
	if e.Task.Reason != "" {
		s += " (" + e.Task.Reason + ")"
	}
	if x := e.Task.Error; x != nil {
		s += ": " + x.Code
		if x.Message != "" {
			s += ": " + x.Message
		}
	}
	return s
}

// Is reports whether target is ErrTaskFailed or ErrTaskCancelled, as the task is.
func (e *UnsuccessfulError) Is(target error) bool {
	return target == ErrTaskFailed && e.Task.State == apiv1.StateFailed || target == ErrTaskCancelled && e.Task.State == apiv1.StateCancelled
}

// ErrTruncated is a result of which the server kept only the beginning.
var ErrTruncated = errors.New("the result was longer than the server keeps")

// Result decodes the result of a task that succeeded. A task that failed or was cancelled is an *UnsuccessfulError; json.RawMessage as T
// takes the result as it is.
func Result[T any](t *apiv1.Task) (T, error) {
	var v T
	if t.State != apiv1.StateSucceeded {
		if !apiv1.Final(t.State) {
			return v, fmt.Errorf("taskweir: task %s is not final, it is %s", t.ID, t.State)
		}
		return v, &UnsuccessfulError{Task: t}
	}
	if t.ResultTruncated {
		return v, fmt.Errorf("taskweir: task %s: %w", t.ID, ErrTruncated)
	}
	raw := t.Result
	if raw == nil {
		raw = json.RawMessage("null")
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("taskweir: task %s: read its result: %w", t.ID, err)
	}
	return v, nil
}

// WaitResult is Wait and Result.
func WaitResult[T any](ctx context.Context, c *Client, id apiv1.ID, opts ...CallOption) (T, error) {
	t, err := c.Wait(ctx, id, opts...)
	if err != nil {
		var none T
		return none, err
	}
	return Result[T](t)
}
