package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

// Each way a context ends is told apart by its cause, and decides what becomes of the task.
func TestCausesAreToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		opt      workertest.TaskOption
		cause    error
		outcomes []string
		state    string
	}{
		"timeout":   {workertest.Timeout(time.Minute), worker.ErrTimedOut, []string{"timed_out", "succeeded"}, "succeeded"},
		"cancelled": {workertest.CancelAfter(time.Second), worker.ErrCancelled, []string{"cancelled"}, "cancelled"},
		"draining":  {workertest.EndAfter(time.Second, worker.ErrDraining), worker.ErrDraining, []string{"released", "succeeded"}, "succeeded"},
		"lost":      {workertest.EndAfter(time.Second, worker.ErrLost), worker.ErrLost, []string{"released", "succeeded"}, "succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Bubble(t, func(t *testing.T) {
				got := run(t, order{}, func(ctx context.Context, x worker.Task[order]) error {
					if x.Epoch() > 1 {
						return nil
					}
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), c.cause) {
						t.Errorf("cause %v", context.Cause(ctx))
					}
					return ctx.Err()
				}, c.opt)
				got.AssertOutcomes(c.outcomes...)
				if got.State != c.state || !errors.Is(got.Attempts[0].Cause, c.cause) {
					t.Error(got)
				}
			})
		})
	}
}

func TestASuccessAfterTheEndCounts(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		got := run(t, order{}, func(ctx context.Context, x worker.Task[order]) error {
			<-ctx.Done()
			return x.SetResult("done all the same")
		}, workertest.CancelAfter(time.Second))
		got.AssertResult("done all the same")
	})
}

func TestMaxRunIsATimeoutOfTheKind(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		w := worker.New()
		worker.Handle(w, "k", func(ctx context.Context, _ worker.Task[order]) error {
			<-ctx.Done()
			return ctx.Err()
		}, worker.MaxRun(5*time.Second))
		began := time.Now()
		got := workertest.New(t, w).Run("k", order{}, workertest.Timeout(time.Hour), workertest.Retries(0))
		got.AssertFailed("timeout")
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("ended after %s", d)
		}
	})
}

func TestAHandlerThatIgnoresItsContextIsAZombie(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		got := run(t, order{}, func(_ context.Context, x worker.Task[order]) error {
			if x.Epoch() == 1 {
				<-release
			}
			return nil
		}, workertest.Timeout(time.Second))
		got.AssertOutcomes("timed_out", "succeeded")
		if !got.Attempts[0].Zombie || got.Attempts[1].Zombie {
			t.Error(got)
		}
		close(release)
	})
}

func TestCancelWhenATestSaysSo(t *testing.T) {
	started := make(chan struct{})
	got := run(t, order{}, func(ctx context.Context, _ worker.Task[order]) error {
		close(started)
		<-ctx.Done()
		return ctx.Err()
	}, workertest.CancelWhen(started))
	got.AssertCancelled()
}

func TestSleepLetsABubblesTimePass(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		w := worker.New()
		var starts []time.Time
		worker.Handle(w, "k", func(context.Context, worker.Task[order]) error {
			starts = append(starts, time.Now())
			return errors.New("again")
		})
		got := workertest.New(t, w, workertest.Sleep()).Run("k", order{}, workertest.Retries(2, time.Minute, time.Hour))
		got.AssertFailed("handler_error")
		if len(starts) != 3 || starts[1].Sub(starts[0]) != time.Minute || starts[2].Sub(starts[1]) != time.Hour {
			t.Errorf("%v", starts)
		}
	})
}

// Without a database a worker does not start: it says so at once, in words, and leaves nothing behind.
func TestAWorkerDoesNotStartWithoutADatabase(t *testing.T) {
	w := worker.New(worker.OpsAddr("127.0.0.1:0"), worker.Environ([]string{"TASKWEIR_DATABASE_URL=mysql://u:secret-word@127.0.0.1:1/x", "TASKWEIR_REDIS_URL=redis://127.0.0.1:1",
		"TASKWEIR_NSQ_NSQD=127.0.0.1:1", "TASKWEIR_ENCRYPTION_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "TASKWEIR_CLUSTER_KEY=0123456789abcdef0123"}), worker.IgnoreSignals())
	worker.Handle(w, "k", func(context.Context, worker.Task[order]) error { return nil })
	err := w.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "database_unavailable") || strings.Contains(err.Error(), "secret-word") {
		t.Error(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(over); err == nil {
		t.Error("started after its end")
	}
}
