package worker

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// startTight runs an engine whose runs begin two at a time, and rings ten tasks.
func startTight(t *testing.T, do func(context.Context) task.Result, change ...func(*Options)) (r *rig, ids []int64, begun *atomic.Int32) {
	t.Helper()
	begun = new(atomic.Int32)
	r = start(t, newFakeStore(), runners{"k": func(ctx context.Context, _ Job) task.Result {
		begun.Add(1)
		return do(ctx)
	}}, change...)
	p := &r.e.pool
	p.mu.Lock()
	p.width, p.tight, p.crowded = 2, true, func() bool { return true }
	p.mu.Unlock()
	after(10 * time.Millisecond)
	rung := r.store.add(1, restSpecs(10, "k")...)
	r.bus.Ring(rung)
	after(freshFor / 2)
	if n := begun.Load(); n != 2 {
		t.Errorf("%d handlers have begun, want 2", n)
	}
	return r, rung.TaskIDs, begun
}

func TestADrainLetsRunsThatWaitForTheirTurnRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, ids, begun := startTight(t, func(context.Context) task.Result {
			time.Sleep(time.Second)
			return task.Result{Outcome: task.OutcomeSucceeded}
		})
		r.stop()
		for _, id := range ids {
			r.expect(id, task.Succeeded)
		}
		if n := begun.Load(); n != 10 || r.store.left(true) != 0 {
			t.Errorf("%d of 10 handlers ran, %d claims are left", n, r.store.left(true))
		}
	})
}

func TestTheEndOfADrainGivesBackRunsThatWaitForTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, ids, begun := startTight(t, func(ctx context.Context) task.Result {
			<-ctx.Done()
			return task.Result{Outcome: task.OutcomeFailed}
		}, func(o *Options) { o.DrainTime = time.Millisecond })
		r.stop()
		for _, id := range ids {
			r.expect(id, task.Waiting)
		}
		if n := begun.Load(); n != 2 || r.store.left(true) != 0 {
			t.Errorf("%d handlers began, want the 2 that had; %d claims are left", n, r.store.left(true))
		}
	})
}

func TestAKillEndsRunsThatWaitForTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _, begun := startTight(t, func(ctx context.Context) task.Result {
			<-ctx.Done()
			return task.Result{Outcome: task.OutcomeFailed}
		})
		r.e.Kill()
		if err := <-r.done; !errors.Is(err, ErrKilled) {
			t.Error(err)
		}
		synctest.Wait()
		if n, left := begun.Load(), len(r.e.Running()); n != 2 || left != 0 {
			t.Errorf("%d handlers began, want the 2 that had; %d runs have not returned", n, left)
		}
	})
}

func TestAHandlerThatEndsItsGoroutineGivesItsTurnUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _, begun := startTight(t, func(context.Context) task.Result {
			time.Sleep(freshFor/2 + time.Millisecond)
			runtime.Goexit()
			return task.Result{}
		})
		after(2 * time.Millisecond) // the first two have ended, and would not have grown old yet
		if n := begun.Load(); n != 4 {
			t.Errorf("%d handlers have begun, want 4", n)
		}
		r.stop()
	})
}
