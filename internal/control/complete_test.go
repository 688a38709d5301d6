package control

import (
	"context"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

// handing is a store with one running attempt that is handed over when a test says so.
type handing struct {
	shelf
	after   time.Duration // from its first question on; 0: never
	since   time.Time
	writes  int
	looks   int
	refusal error
}

func (h *handing) over() bool {
	if h.since.IsZero() {
		h.since = time.Now()
	}
	return h.after > 0 && time.Since(h.since) >= h.after
}

func (h *handing) Complete(ctx context.Context, _ int32, _ task.Completion) (task.CompletionReport, error) {
	h.writes++
	if err := ctx.Err(); err != nil {
		return task.CompletionReport{}, err
	}
	if !h.over() {
		return task.CompletionReport{Running: true, Final: task.Running}, nil
	}
	return task.CompletionReport{Final: task.Succeeded}, h.refusal
}

func (h *handing) State(context.Context, int32, int64) (task.Task, error) {
	h.looks++
	if h.over() {
		return task.Task{ID: 7, State: task.Waiting, Flags: task.Awaiting, Epoch: 1}, nil
	}
	return task.Task{ID: 7, State: task.Running, Epoch: 1}, nil
}

func (h *handing) Views(context.Context, int32, []int64) ([]task.View, error) {
	return []task.View{{Task: task.Task{ID: 7, State: task.Succeeded, Epoch: 1}}}, nil
}

func done() *CompletionInput { return &CompletionInput{Epoch: Some[int64](1), Outcome: "succeeded"} }

// TestACompletionWaitsForItsAttemptWithoutLocks: a receiver may be quicker than the worker that stores its 202; one that asks for an
// attempt which is never handed over gets an answer that it can act on, and does not keep the database writing.
func TestACompletionWaitsForItsAttemptWithoutLocks(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  string
	}{{200 * time.Millisecond, ""}, {0, "attempt_running"}, {time.Minute, "attempt_running"}} {
		testkit.Bubble(t, func(t *testing.T) {
			h := &handing{after: c.after}
			svc := New(Options{Store: h, Clock: h, Ringer: &bellsRung{}})
			defer svc.Close(context.Background())
			start := time.Now()
			_, err := svc.Complete(t.Context(), me, 7, done())
			if task.CodeOf(err) != c.code {
				t.Fatalf("after %v: %v", c.after, err)
			}
			if h.writes > 2 || h.looks == 0 || time.Since(start) > storedWithin+time.Second {
				t.Errorf("after %v: %d transactions, %d looks, %v", c.after, h.writes, h.looks, time.Since(start))
			}
			if e, ok := err.(*task.Error); ok && e.RetryAfter <= 0 {
				t.Error("it does not say when to ask again")
			}
		})
	}
}

// TestACompletionWhoseCallerLeaves is not told to have failed for a reason of the task's.
func TestACompletionWhoseCallerLeaves(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		h := &handing{}
		svc := New(Options{Store: h, Clock: h, Ringer: &bellsRung{}})
		defer svc.Close(context.Background())
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := svc.Complete(ctx, me, 7, done()); err == nil || task.KindOf(err) == task.Conflict {
			t.Errorf("%v", err)
		}
	})
}
