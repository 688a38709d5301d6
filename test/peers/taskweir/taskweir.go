package taskweir

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/test/peers/system"
)

// known is how long it takes until everybody knows of a queue that is new.
const known = 1200 * time.Millisecond

// installation is an open Taskweir.
type installation struct {
	slots   int                         // tasks that run at once
	environ []string                    // settings of standalone
	dir     string                      // of all installations of this process
	empty   func(context.Context) error // makes the database empty; nil: it is in the folder of the installation
	handler system.Handler

	sys    bench.System
	client bench.Client
	opened int // installations so far

	first, last atomic.Int64 // ids since Mark

	mu      sync.Mutex
	waiting map[int64]int64 // number → id of tasks of kind Wait
}

func open(ctx context.Context, in *installation) (system.System, error) {
	if err := in.open(ctx); err != nil {
		return nil, err
	}
	return in, nil
}

func (in *installation) open(ctx context.Context) error {
	if in.empty != nil {
		if err := in.empty(ctx); err != nil {
			return err
		}
	}
	in.opened++
	dir := filepath.Join(in.dir, fmt.Sprint(in.opened))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	var err error
	if in.sys, err = app.OpenBench(ctx, dir, in.environ, os.Stderr, bench.Settings{Slots: in.slots, Runner: runner{in.handler}}); err != nil {
		return err
	}
	in.waiting = map[int64]int64{}
	if in.client, err = in.sys.Client(ctx, "bench"); err == nil {
		err = errors.Join(in.Hold(ctx), pause(ctx, known), in.Mark(ctx))
	}
	if err != nil {
		return errors.Join(err, in.Close(ctx))
	}
	return nil
}

// runner hands tasks to the benchmark.
type runner struct{ handler system.Handler }

// Kind implements worker.Runner.
func (runner) Kind() string { return kind }

// Run implements worker.Runner.
func (r runner) Run(ctx context.Context, job worker.Job) task.Result {
	if err := r.handler.Handle(ctx, job.Payload); err != nil {
		if ctx.Err() != nil {
			return task.Result{Outcome: task.OutcomeCancelled}
		}
		return task.Result{Outcome: task.OutcomeFailed, ErrCode: "failed", ErrMessage: err.Error()}
	}
	return task.Result{Outcome: task.OutcomeSucceeded}
}

const kind = "peers"

// queues has the queue of each kind.
var queues = [...]string{system.Noop: "noop", system.Call: "call", system.Wait: "wait"}

// taskOf is a task as Taskweir takes it. A Call is a task of the built-in kind http.
func taskOf(t system.Task) bench.Task {
	out := bench.Task{Kind: kind, Queue: queues[t.Kind], Payload: t.Payload(), NoRetry: t.Kind == system.Wait}
	if t.Kind == system.Call {
		out.Kind, out.Payload = "http", fmt.Appendf(nil, `{"url":%q,"body":%s}`, t.URL, out.Payload)
	}
	if !t.Due.IsZero() {
		out.DueAt = t.Due.UnixMilli()
	}
	return out
}

// Submit implements system.System.
func (in *installation) Submit(ctx context.Context, t system.Task) error {
	ids, err := in.client.Submit(ctx, taskOf(t))
	if err != nil {
		return err
	}
	in.note(ids[0], t)
	return nil
}

// SubmitBulk implements system.System.
func (in *installation) SubmitBulk(ctx context.Context, tasks []system.Task) error {
	all := make([]bench.Task, len(tasks))
	for i, t := range tasks {
		all[i] = taskOf(t)
	}
	ids, err := in.client.Submit(ctx, all...)
	if err != nil {
		return err
	}
	for i, t := range tasks {
		in.note(ids[i], t)
	}
	return nil
}

// note widens the range of ids, and remembers what may be cancelled.
func (in *installation) note(id int64, t system.Task) {
	for {
		if old := in.first.Load(); id >= old || in.first.CompareAndSwap(old, id) {
			break
		}
	}
	for {
		if old := in.last.Load(); id <= old || in.last.CompareAndSwap(old, id) {
			break
		}
	}
	if t.Kind == system.Wait {
		in.mu.Lock()
		in.waiting[t.Number] = id
		in.mu.Unlock()
	}
}

// Work implements system.System.
func (in *installation) Work(ctx context.Context) error { return in.each(ctx, in.sys.Resume) }

// Hold implements system.System. A pause holds from its answer on.
func (in *installation) Hold(ctx context.Context) error { return in.each(ctx, in.sys.Pause) }

func (in *installation) each(ctx context.Context, do func(ctx context.Context, queue string) error) error {
	for _, q := range queues {
		if err := do(ctx, q); err != nil {
			return fmt.Errorf("queue %s: %w", q, err)
		}
	}
	return nil
}

// Mark implements system.System.
func (in *installation) Mark(context.Context) error {
	in.first.Store(math.MaxInt64)
	in.last.Store(0)
	return nil
}

// Await implements system.System. What runs is in claims, so that their absence is asked for first: counting costs more.
func (in *installation) Await(ctx context.Context, n int64) error {
	for {
		var claims int64
		if err := in.sys.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM claims").Scan(&claims); err != nil {
			return fmt.Errorf("count claims: %w", err)
		}
		wait := time.Millisecond
		if claims == 0 {
			done, err := in.Completed(ctx)
			if err != nil || done >= n {
				return err
			}
			wait = 10 * time.Millisecond
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// Completed implements system.System.
func (in *installation) Completed(ctx context.Context) (n int64, err error) {
	err = in.sys.DB().QueryRowContext(ctx, "SELECT COUNT(*) FROM tasks WHERE id BETWEEN ? AND ? AND state = ?", in.first.Load(), in.last.Load(), int(task.Succeeded)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count tasks: %w", err)
	}
	return n, nil
}

// Reset implements system.System: it makes a new installation.
func (in *installation) Reset(ctx context.Context) error {
	if err := in.Close(ctx); err != nil {
		return err
	}
	return in.open(ctx)
}

// Close implements system.System.
func (in *installation) Close(ctx context.Context) error { return in.sys.Close(ctx) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
