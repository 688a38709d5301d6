package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Trial is one attempt that no engine runs, for test kits: the runner sees what it would see in an engine, and its end is
// decided by the same code (timeouts, causes, panics, sizes, retry policy). Nothing is stored.
type Trial struct {
	Runner    Runner
	Job       Job           // its Payload, TimeoutMs and the rest are shown to the runner
	Head      task.BodyHead // the retry policy in force
	ExpiresAt int64         // ms of Clock; 0: never
	Clock     Clock         // required; what the end and the next due time are counted by
	Grace     time.Duration // from the end of the context until a handler that goes on is a zombie; 2 s
	Jitter    float64       // [0, 1): where a delay lies within its jitter
	// Reported hears of every progress report, from the goroutine that reports; may be nil.
	Reported func(json.RawMessage)
}

// TrialEnd is how an attempt went.
type TrialEnd struct {
	task.Ending
	// Zombie: the handler went on after the grace. It still runs; its attempt was closed without it.
	Zombie bool
	// Cause is why its context was ended: ErrTimeout, ErrCancelled, ErrFenced or ErrDrained; nil: it was not.
	Cause error
}

// Run runs the attempt and gives its end. When ctx ends, the attempt's context ends with its cause if that is one of an
// engine's, else with ErrCancelled. Timers are Go's, so that in a bubble of testing/synctest no time passes.
func (t Trial) Run(ctx context.Context) TrialEnd {
	r := t.start()
	done := make(chan task.Result, 1)
	go func() {
		returned := false
		defer func() {
			if !returned {
				done <- failed("goexit", "the handler ended its goroutine", false)
			}
		}()
		res := r.guarded(&r.ctx, t.Clock, nil)
		returned = true
		done <- res
	}()
	res, cause, zombie := t.await(ctx, r, done)
	r.stop(nil)
	end := TrialEnd{Zombie: zombie, Cause: cause}
	if handsBack(cause, res) {
		r.end.FinishedAt, r.end.Outcome, r.end.To, r.end.RetryAt = t.Clock.Now(), task.OutcomeReleased, task.Waiting, t.Clock.Now()
	} else {
		r.settleAt(res, cause, t.Clock.Now(), t.Jitter)
	}
	end.Ending = r.end
	return end
}

// start makes the attempt.
func (t Trial) start() *run {
	j := t.Job
	r := &run{
		item:  task.Item{ID: j.TaskID, TimeoutMs: j.TimeoutMs, Failures: int16(j.Retry), CreatedAt: j.CreatedAt, ExpiresAt: t.ExpiresAt},
		body:  task.Body{Payload: j.Payload, Head: t.Head},
		kind:  &kind{name: t.Runner.Kind(), runner: t.Runner},
		lane:  &lane{Lane: task.Lane{Queue: j.Queue}},
		claim: &claim{}, reported: t.Reported,
	}
	r.end = task.Ending{TaskID: j.TaskID, AttemptID: j.AttemptID, AppID: j.AppID, Epoch: j.Epoch, DueAt: j.DueAt, StartedAt: t.Clock.Now()}
	if b, ok := t.Runner.(Bounded); ok {
		r.kind.maxMs = max(0, b.MaxRunMs())
	}
	r.ctx.Context, r.stop = context.WithCancelCause(context.Background())
	if ms := r.limitMs(); ms > 0 {
		m := newMono()
		r.ctx.deadline = m.at(m.ns() + int64(ms)*int64(time.Millisecond))
	}
	return r
}

// await waits for the handler, ends its context when its time is over or ctx ends, and gives it up after the grace.
func (t Trial) await(ctx context.Context, r *run, done <-chan task.Result) (res task.Result, cause error, zombie bool) {
	var timeout <-chan time.Time
	if ms := r.limitMs(); ms > 0 {
		timer := time.NewTimer(time.Duration(ms) * time.Millisecond)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case res = <-done:
		return res, nil, false
	case <-timeout:
		cause = ErrTimeout
	case <-ctx.Done():
		cause = engineCause(context.Cause(ctx))
	}
	r.stop(cause)
	grace := time.NewTimer(max(t.Grace, 0))
	if t.Grace <= 0 {
		grace.Reset(2 * time.Second)
	}
	defer grace.Stop()
	select {
	case res = <-done:
		return res, cause, false
	case <-grace.C:
		return task.Result{}, cause, true
	}
}

// engineCause is a cause as an engine gives it.
func engineCause(err error) error {
	for _, c := range []error{ErrTimeout, ErrFenced, ErrDrained} {
		if errors.Is(err, c) {
			return c
		}
	}
	return ErrCancelled
}

// guarded runs the handler and turns a panic into a failure that keeps the stack. panicked may be nil.
func (r *run) guarded(ctx context.Context, clock Clock, panicked func(p any)) (res task.Result) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			if panicked != nil {
				panicked(p)
			}
			res = failed("panic", fmt.Sprint(p), false)
			if res.Log = stack; r.output.Load() != nil { // it comes after what the handler wrote
				r.written().write(stack)
				res.Log = nil
			}
		}
	}()
	return r.kind.runner.Run(ctx, r.job(clock))
}
