package worker

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// boundedRunner is a runner with a time of its own.
type boundedRunner struct {
	fakeRunner
	ms int32
}

func (r boundedRunner) MaxRunMs() int32 { return r.ms }

// TestATrialEndsAsInAnEngine plays every way an attempt ends, once in an engine and once as a trial: the same outcomes, next
// states, delays and errors.
func TestATrialEndsAsInAnEngine(t *testing.T) {
	wait := func(ctx context.Context, _ Job) task.Result {
		<-ctx.Done()
		return failed("ended", context.Cause(ctx).Error(), false)
	}
	late := func(ctx context.Context, _ Job) task.Result {
		<-ctx.Done()
		return task.Result{Outcome: task.OutcomeSucceeded, Body: []byte(`"late"`)}
	}
	retry := &task.RetryPolicy{Policy: "fixed", BaseMs: 60_000, CapMs: 60_000, Max: 1}
	for name, c := range map[string]struct {
		run       func(context.Context, Job) task.Result
		timeoutMs int32
		maxMs     int32
		cancel    bool
	}{
		"success":    {run: succeed},
		"failure":    {run: func(context.Context, Job) task.Result { return failed("x", "y", false) }},
		"permanent":  {run: func(context.Context, Job) task.Result { return failed("x", "y", true) }},
		"panic":      {run: func(context.Context, Job) task.Result { panic("boom") }},
		"goexit":     {run: func(context.Context, Job) task.Result { runtime.Goexit(); return task.Result{} }},
		"no outcome": {run: func(context.Context, Job) task.Result { return task.Result{} }},
		"snooze": {run: func(context.Context, Job) task.Result {
			return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: 90_000}
		}},
		"retry after": {run: func(context.Context, Job) task.Result {
			return task.Result{Outcome: task.OutcomeFailed, RetryAfterMs: 90_000}
		}},
		"timeout":            {run: wait, timeoutMs: 100},
		"timeout of a kind":  {run: wait, maxMs: 100},
		"the task's is less": {run: wait, timeoutMs: 50, maxMs: 100},
		"late success":       {run: late, timeoutMs: 100},
		"cancelled":          {run: wait, cancel: true},
		"cancelled too late": {run: late, cancel: true},
		"result too large": {run: func(context.Context, Job) task.Result {
			return task.Result{Outcome: task.OutcomeSucceeded, Body: make([]byte, task.MaxResult+1)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				inside := endInEngine(t, boundedRunner{fakeRunner{"k", c.run}, c.maxMs}, c.timeoutMs, retry, c.cancel)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.cancel {
					time.AfterFunc(time.Second, func() { cancel(ErrCancelled) })
				}
				got := Trial{
					Runner: boundedRunner{fakeRunner{"k", c.run}, c.maxMs}, Head: task.BodyHead{Retry: retry}, Clock: wall{},
					Job: Job{TaskID: 1, Epoch: 1, Kind: "k", TimeoutMs: c.timeoutMs, Payload: []byte(`1`)},
				}.Run(ctx)
				shape := func(e task.Ending) task.Ending {
					wait := int64(0)
					if e.To == task.Waiting {
						wait = e.RetryAt - e.FinishedAt
					}
					return task.Ending{Outcome: e.Outcome, To: e.To, Reason: e.Reason, RetryAt: wait, ErrCode: e.ErrCode, ErrMessage: e.ErrMessage,
						Truncated: e.Truncated, HTTPStatus: int16(len(e.Result) % 1000)}
				}
				a, _ := json.Marshal(shape(inside))
				b, _ := json.Marshal(shape(got.Ending))
				if string(a) != string(b) {
					t.Errorf("engine %s\ntrial  %s", a, b)
				}
				if name == "panic" && (!strings.Contains(string(got.Log), "trial_test.go") || !strings.Contains(string(inside.Log), "trial_test.go")) {
					t.Errorf("no stack in the log:\n%s\n%s", inside.Log, got.Log)
				}
			})
		})
	}
}

// endInEngine runs one task to the end of its first attempt.
func endInEngine(t *testing.T, with Runner, timeoutMs int32, retry *task.RetryPolicy, cancel bool) task.Ending {
	t.Helper()
	store, bus := newFakeStore(), newFakeBus()
	e, err := New(Options{Store: store, Source: bus, Clock: wall{}, Runners: []Runner{with}, Host: "trial"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	after(100 * time.Millisecond)
	if timeoutMs == 0 {
		timeoutMs = task.NoTimeout
	}
	rung := store.add(1, spec{kind: "k", timeoutMs: timeoutMs, retry: retry})
	bus.publish(rung)
	if cancel {
		after(time.Second)
		e.signal(task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[0], Epoch: 1})
	}
	after(3 * time.Second)
	e.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ends := store.get(rung.TaskIDs[0]).ends
	if len(ends) != 1 {
		t.Fatalf("%d ends", len(ends))
	}
	return ends[0]
}

func TestATrialGivesUpAZombieAndHandsBackWhatTheWorkerBrokeOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		deaf := fakeRunner{"k", func(context.Context, Job) task.Result { <-release; return task.Result{} }}
		got := Trial{Runner: deaf, Clock: wall{}, Job: Job{TaskID: 1, TimeoutMs: 100}}.Run(t.Context())
		if !got.Zombie || got.Outcome != task.OutcomeTimedOut || !errors.Is(got.Cause, ErrTimeout) {
			t.Errorf("%+v", got)
		}
		close(release)

		polite := fakeRunner{"k", func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			return task.Result{Outcome: task.OutcomeFailed}
		}}
		for _, cause := range []error{ErrDrained, ErrFenced} {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			if got := (Trial{Runner: polite, Clock: wall{}, Job: Job{TaskID: 1}}).Run(ctx); got.Outcome != task.OutcomeReleased || got.To != task.Waiting {
				t.Errorf("%v: %+v", cause, got)
			}
		}
	})
}

func TestATrialHearsOfProgress(t *testing.T) {
	var heard []string
	r := fakeRunner{"k", func(_ context.Context, j Job) task.Result {
		for i := range 3 {
			if err := j.Report(i); err != nil {
				t.Error(err)
			}
		}
		if j.Now() == 0 {
			t.Error("no clock")
		}
		return task.Result{Outcome: task.OutcomeSucceeded}
	}}
	Trial{Runner: r, Clock: wall{}, Reported: func(raw json.RawMessage) { heard = append(heard, string(raw)) }}.Run(t.Context())
	if strings.Join(heard, " ") != "0 1 2" {
		t.Errorf("heard %v", heard)
	}
}
