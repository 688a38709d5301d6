package workertest

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	engine "github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/worker"
)

// Task is a task of a kit. Its exported fields are read between attempts only.
type Task struct {
	ID       int64
	Kind     string
	State    string          // queued (its next attempt was not run yet), succeeded, failed, cancelled
	Reason   string          // why it is final: permanent, exhausted, expired, by_user; empty after a success
	Result   json.RawMessage // of the attempt that succeeded; nil: none
	Failures int             // attempts that counted as one
	Attempts []Attempt       // oldest first

	kit       *Kit
	runner    engine.Runner
	payload   []byte
	queue     string
	head      task.BodyHead
	timeoutMs int32
	expiresAt int64
	createdAt int64
	dueAt     int64
	ends      []ender
}

// Attempt is how one execution went.
type Attempt struct {
	Epoch    int
	Outcome  string // succeeded, failed, timed_out, cancelled, released (drained or lost), snoozed
	Code     string // of its error; empty after a success
	Message  string // of its error
	Log      string // what Logger wrote, and the stack of a panic
	Progress []json.RawMessage
	RetryIn  time.Duration // until the next attempt, when there is one
	Zombie   bool          // the handler went on after its grace; it may still run
	Cause    error         // with which its context was ended: one of package worker's; nil: it was not
	Start    time.Time     // by the kit's clock
}

// TaskOption says how a task is submitted, or what happens to it.
type TaskOption func(*Task)

// Timeout is how long an attempt may run, from 1 ms; a minute without it, as in the API. Not above 0: for ever.
func Timeout(d time.Duration) TaskOption {
	return func(t *Task) {
		t.timeoutMs = int32(min(d.Milliseconds(), task.MaxTimeoutMs))
		if d > 0 {
			t.timeoutMs = max(t.timeoutMs, 1)
		}
	}
}

// Retries tries at most so often again, after the given delays; the last one repeats. Without it a task is tried again 3 times,
// after 1, 2 and 4 s, as in the API.
func Retries(n int, delays ...time.Duration) TaskOption {
	return func(t *Task) {
		p := task.DefaultRetry()
		p.Max = n
		if len(delays) > 0 {
			p.Policy, p.Jitter = "list", 0
			for _, d := range delays {
				p.DelaysMs = append(p.DelaysMs, d.Milliseconds())
			}
		}
		t.head.Retry = &p
	}
}

// ExpiresIn is when the task fails, expired, unless it has started; no retry is due later.
func ExpiresIn(d time.Duration) TaskOption {
	return func(t *Task) { t.expiresAt = t.createdAt + d.Milliseconds() }
}

// Queue is the queue that the task comes from; default without it.
func Queue(name string) TaskOption { return func(t *Task) { t.queue = name } }

// CancelAfter cancels the attempt that runs, so long after its start. The task is cancelled then, unless the handler succeeds.
func CancelAfter(d time.Duration) TaskOption { return EndAfter(d, worker.ErrCancelled) }

// EndAfter ends the context of each attempt with a cause, so long after its start: worker.ErrCancelled, worker.ErrDraining or
// worker.ErrLost. After the last two the task runs again.
func EndAfter(d time.Duration, cause error) TaskOption {
	return func(t *Task) { t.ends = append(t.ends, ender{after: d, cause: cause}) }
}

// CancelWhen cancels the attempt that runs when ch is closed.
func CancelWhen(ch <-chan struct{}) TaskOption {
	return func(t *Task) { t.ends = append(t.ends, ender{when: ch, cause: worker.ErrCancelled}) }
}

// ender ends an attempt's context.
type ender struct {
	after time.Duration
	when  <-chan struct{} // nil: after
	cause error
}

// arm ends the context in its time; the caller calls stop and waits.
func (e ender) arm(ctx context.Context, end context.CancelCauseFunc) {
	var timer <-chan time.Time
	if e.when == nil {
		t := time.NewTimer(e.after)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-timer:
		end(e.cause)
	case <-e.when:
		end(e.cause)
	case <-ctx.Done():
	}
}

// Final reports whether nothing will run of it any more.
func (t *Task) Final() bool { return t.State != "queued" }

// Next runs the next attempt, when its time has come. A task that is final fails the test.
func (t *Task) Next() Attempt {
	t.kit.t.Helper()
	if t.Final() {
		t.kit.t.Fatalf("workertest: task %d of kind %s is %s already", t.ID, t.Kind, t.State)
	}
	t.kit.until(t.dueAt)
	at := t.attempt()
	t.Attempts = append(t.Attempts, at)
	return at
}

// mostAttempts is where Finish gives up: a task that is snoozed for ever.
const mostAttempts = 1_000

// Finish runs attempts until the task is final. One that still is not after 1,000 fails the test.
func (t *Task) Finish() {
	t.kit.t.Helper()
	for !t.Final() {
		if len(t.Attempts) == mostAttempts {
			t.kit.t.Fatalf("workertest: task %d of kind %s is not final after %d attempts", t.ID, t.Kind, mostAttempts)
		}
		t.Next()
	}
}

// attempt runs one attempt and takes over where the task goes.
func (t *Task) attempt() Attempt {
	at := Attempt{Epoch: len(t.Attempts) + 1, Start: t.kit.Time()}
	ctx, end := context.WithCancelCause(context.Background())
	var armed sync.WaitGroup
	for _, e := range t.ends {
		armed.Go(func() { e.arm(ctx, end) })
	}
	heard := &reports{}
	got := engine.Trial{
		Runner: t.runner, Head: t.head, ExpiresAt: t.expiresAt, Clock: clock{t.kit}, Grace: t.kit.grace, Jitter: 0.5, Reported: heard.add,
		Job: engine.Job{
			TaskID: t.ID, AttemptID: t.kit.id(), AppID: 1, Epoch: int32(at.Epoch), Retry: t.Failures, Kind: t.Kind, Queue: t.queue,
			CreatedAt: t.createdAt, DueAt: t.dueAt, TimeoutMs: t.timeoutMs, Payload: t.payload,
		},
	}.Run(ctx)
	end(nil)
	armed.Wait()
	at.Outcome, at.Code, at.Message, at.Log = got.Outcome.String(), got.ErrCode, got.ErrMessage, string(got.Log)
	at.Zombie, at.Cause, at.Progress = got.Zombie, got.Cause, heard.take()
	if got.Outcome == task.OutcomeFailed || got.Outcome == task.OutcomeTimedOut {
		t.Failures = min(t.Failures+1, math.MaxInt16)
	}
	t.State = got.To.Shown(0, 1) // waiting is shown as queued, whenever it is due
	if got.To == task.Waiting {
		t.dueAt = got.RetryAt
		at.RetryIn = time.Duration(max(0, got.RetryAt-got.FinishedAt)) * time.Millisecond
		return at
	}
	if got.To == task.Succeeded {
		t.Result = got.Result
		return at
	}
	t.Reason = got.Reason.String()
	return at
}

// reports are the progress reports of one attempt. A zombie may report after its end.
type reports struct {
	mu   sync.Mutex
	list []json.RawMessage
}

func (r *reports) add(raw json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, raw)
}

func (r *reports) take() []json.RawMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list
}
