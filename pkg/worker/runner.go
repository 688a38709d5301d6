package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/taskweir/taskweir/internal/task"
	engine "github.com/taskweir/taskweir/internal/worker"
)

// runner is one kind as the engine runs it.
type runner struct {
	kind  string
	run   Handler
	maxMs int32
	log   *slog.Logger
}

// Kind is the kind's name.
func (r *runner) Kind() string { return r.kind }

// MaxRunMs is the kind's own time; 0: none.
func (r *runner) MaxRunMs() int32 { return r.maxMs }

// Run executes one attempt and says in the engine's words how it went.
func (r *runner) Run(ctx context.Context, job engine.Job) task.Result {
	a := &Attempt{job: job, out: r.log}
	err := r.call(ctx, a)
	result := a.end()
	if err == nil {
		return task.Result{Outcome: task.OutcomeSucceeded, Body: result}
	}
	return verdict(err)
}

// panicked is what a handler panicked with.
type panicked struct{ value any }

// Error is the value as text.
func (p *panicked) Error() string { return fmt.Sprint(p.value) }

// call runs the handler. A panic becomes an error, and its stack the end of the attempt's log: what the handler wrote before
// it is what one wants to read.
func (r *runner) call(ctx context.Context, a *Attempt) (err error) {
	returned := false
	defer func() {
		switch p := recover(); {
		case p != nil:
			err = &panicked{p}
			a.Logger().Error("handler panicked", "panic", err.Error())
			_, _ = a.log.Write(debug.Stack()) // it never fails
		case !returned: // runtime.Goexit, whose attempt the engine ends; or panic(nil) where GODEBUG allows it
			err = &panicked{"nil"}
			a.end()
		}
	}()
	err = r.run(ctx, a)
	returned = true
	return err
}

// verdict says what an error means.
func verdict(err error) task.Result {
	var s *snooze
	if errors.As(err, &s) {
		return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: s.ms}
	}
	res := task.Result{Outcome: task.OutcomeFailed, ErrCode: "handler_error", ErrMessage: err.Error()}
	var (
		code  *coded
		final *permanent
		after *retryAfter
		boom  *panicked
	)
	if errors.As(err, &boom) {
		res.ErrCode = "panic"
	}
	if errors.As(err, &code) && code.code != "" {
		res.ErrCode = code.code
	}
	if errors.As(err, &after) {
		res.RetryAfterMs = after.ms
	}
	res.Permanent = errors.As(err, &final)
	return res
}
