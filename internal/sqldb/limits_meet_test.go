package sqldb_test

import (
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// What waits at a pause expires as everything else does, and leaves no place and no bell behind.
func TestPausedTasksExpire(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		set(task.Limits{Concurrency: 1}, true)
		at := w.now() + inAnHour
		ids, bells := w.submit(5, func(i int, sub *task.Submission, head *task.BodyHead) {
			keyed("k")(i, sub, head)
			sub.ExpiresAt = at
		})
		want(w.t, "started while paused", len(w.claim(5, bellIDs(bells)...).Tasks), 0)
		w.letExpire(at, at)
		n, _, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 100)
		w.must(err)
		want(w.t, "expired", n, 5)
		set(task.Limits{Concurrency: 1}, false)
		want(w.t, "started after the expiry", len(w.claim(5, bellIDs(bells)...).Tasks), 0)
		want(w.t, "state", w.row(ids[4]).state, 5)
		want(w.t, "running", running(), 0)
		_, next := w.submit(2, keyed("k"))
		c := w.claim(2, bellIDs(next)...)
		want(w.t, "started", len(c.Tasks), 1)
		w.finish([]*task.Ending{w.ending(c, 0)}, c.ClaimID)
	})
}

// A task that is replaced while it waits at a limit holds no place; the one that replaced it starts when there is room.
func TestReplacedAtALimit(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		set(task.Limits{Concurrency: 1}, false)
		first := w.running(1, keyed("k"))
		unique := func(i int, sub *task.Submission, head *task.BodyHead) {
			keyed("k")(i, sub, head)
			head.UniqueKey, head.UniqueScope = "u", task.ScopeUntilFinished
		}
		old, oldBells := w.submit(1, unique)
		subs := w.subs(1, unique)
		subs[0].Unique.OnConflict = task.OnConflictReplace
		bells, err := w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Tasks: subs}})
		w.must(err)
		want(w.t, "the replaced one", w.row(old[0]).state, 6)
		all := append(bellIDs(oldBells), bellIDs(bells)...)
		want(w.t, "started without room", len(w.claim(2, all...).Tasks), 0)
		w.finish([]*task.Ending{w.ending(first, 0)}, first.ClaimID)
		want(w.t, "running", running(), 0)
		c := w.claim(2, all...)
		if len(c.Tasks) == 0 { // the only place was tried with the replaced one, which is gone from its bell now
			c = w.claim(2, all...)
		}
		if len(c.Tasks) != 1 {
			w.t.Fatalf("%d started, want 1", len(c.Tasks))
		}
		want(w.t, "which", c.Tasks[0].ID, subs[0].ID)
		want(w.t, "running then", running(), 1)
		e := w.ending(c, 0)
		e.Flags |= task.HasUnique
		e.Unique = subs[0].Unique
		w.finish([]*task.Ending{e}, c.ClaimID)
	})
}

// A task that awaits its completion, for a week if need be, runs nowhere: it holds no place, and its completion gives none back.
func TestAwaitingTasksHoldNoPlace(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		set(task.Limits{Concurrency: 1}, false)
		c := w.running(1, keyed("k"))
		e := w.ending(c, 0)
		e.Outcome, e.To, e.Await, e.RetryAt = task.OutcomeNone, task.Waiting, true, w.now()+7*86_400_000
		w.finish([]*task.Ending{e}, c.ClaimID)
		want(w.t, "running while it awaits", running(), 0)
		next := w.running(1, keyed("k"))
		want(w.t, "running beside it", running(), 1)
		_, err := w.s.Complete(w.ctx, 1, task.Completion{TaskID: e.TaskID, Epoch: 1, Outcome: task.OutcomeSucceeded})
		w.must(err)
		want(w.t, "running after the completion", running(), 1)
		w.finish([]*task.Ending{w.ending(next, 0)}, next.ClaimID)
		want(w.t, "running at the end", running(), 0)
	})
}
