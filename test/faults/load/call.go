package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/test/faults/history"
)

// pauses between tries of one call.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = time.Second
)

// call makes one op: it is sent to one API after the other until it is answered, or patience ends. do sends it once and gives the
// items of the answer. What it becomes is recorded and given back.
func (l *Load) call(ctx context.Context, o history.Op, do func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error)) history.Op {
	if o.N == 0 {
		o.N = int(l.serial.Add(1))
	}
	first := l.turn.Add(1)
	o.Sent = l.Now()
	for o.Tries = 1; ; o.Tries++ {
		at := int(first+int64(o.Tries)) % len(l.apis)
		o.LastSent = l.Now()
		again := l.try(ctx, &o, l.apis[at], do)
		o.Answered = l.Now()
		if !again {
			o.API = l.o.APIs[at]
			break
		}
		if o.Answered-o.Sent > l.o.Patience || ctx.Err() != nil {
			break
		}
		pause(ctx, o.Tries)
	}
	l.record(o)
	return o
}

// try sends a call once and reports whether to send it again.
func (l *Load) try(ctx context.Context, o *history.Op, c *client.Client, do func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error)) (again bool) {
	var resp client.Response
	opts := []client.CallOption{client.Capture(&resp)}
	if o.Key != "" {
		opts = append(opts, client.IdempotencyKey(o.Key))
	}
	items, err := do(ctx, c, opts...)
	o.Status, o.Code, o.Items = resp.StatusCode, "", items
	if err == nil {
		return false
	}
	failed := history.Try{Sent: o.LastSent, Over: l.Now(), Status: o.Status, Err: err.Error()}
	if e, ok := errors.AsType[*client.Error](err); ok {
		o.Status, o.Code, failed.Status, failed.Code = e.StatusCode, e.Problem.Code, e.StatusCode, e.Problem.Code
		o.Items = []history.Item{{Status: e.StatusCode, Code: e.Problem.Code, Holder: int64(e.Problem.TaskID)}}
		if e.MaybeDone() {
			o.Maybe++
		}
		if e.StatusCode < 500 && e.StatusCode != http.StatusTooManyRequests {
			return false
		}
	} else if e, ok := errors.AsType[*client.NoAnswerError](err); !ok || e.MaybeDone {
		o.Status = 0
		o.Maybe++
	}
	if ctx.Err() == nil { // else it was broken off by Stop
		o.Failed = append(o.Failed, failed)
	}
	return true
}

// pause waits before the next try.
func pause(ctx context.Context, tries int) {
	d := min(firstPause<<min(tries, 10), mostPause)
	wait(ctx, d/2+rand.N(d/2+1))
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// shown is a task as an answer shows it.
func shown(t *apiv1.Task) history.Item {
	it := history.Item{Task: int64(t.ID), State: t.State, Reason: t.Reason}
	if n := len(t.Attempts); n > 0 {
		it.Epoch = t.Attempts[n-1].Epoch
	}
	return it
}

// one turns the answer of a call for a single task into items.
func one(t *apiv1.Task, err error) ([]history.Item, error) {
	if err != nil {
		return nil, err
	}
	return []history.Item{shown(t)}, nil
}
