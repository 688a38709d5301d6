package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// TestExpiryBesideASlowClock: a scheduler whose clock is ahead executes an expire bell while the task runs, and then a worker puts it
// back to wait whose clock says that it has not expired yet. The bell is executed again and ends it, or only the audit would.
func TestExpiryBesideASlowClock(t *testing.T) {
	const hour = inAnHour
	for name, back := range map[string]func(w *world, c task.Claimed, at int64){
		"released": func(w *world, c task.Claimed, _ int64) {
			w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseReleased))
		},
		"lost": func(w *world, c task.Claimed, _ int64) {
			w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost))
		},
		"failed": func(w *world, c task.Claimed, at int64) {
			e := w.ending(c, 0)
			e.Outcome, e.To, e.RetryAt, e.ExpiresAt = task.OutcomeFailed, task.Waiting, w.now(), at+hour
			w.finish([]*task.Ending{e}, c.ClaimID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachWorld(t, func(w *world) {
				expire := func() int {
					n, more, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
					w.must(err)
					want(t, "more", more, false)
					return n
				}
				at := w.now() + hour
				c := w.running(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = at })
				id := c.Tasks[0].ID
				at = w.letExpire(at, at)
				want(t, "ended while it runs", expire(), 0)
				want(t, "running stays", w.row(id).state, 3)
				// To the worker the hour is not over.
				w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET expires_at=%d WHERE id=%d", at+hour, id)))
				back(w, c, at)
				want(t, "waits again", w.row(id).state, 2)
				w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET expires_at=%d WHERE id=%d", at, id)))
				want(t, "ended at once", expire(), 0)
				w.must(w.s.Exec(w.ctx, "UPDATE bells SET due_at=due_at-10000 WHERE kind=1"))
				want(t, "ended", expire(), 1)
				r := w.row(id)
				want(t, "state", fmt.Sprint(r.state, r.reason, r.holder), "5 3 0")
				want(t, "expire bells", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 0)
			})
		})
	}
}

// TestExpireBellsAreKeptShortly: of tasks that are over at once, and of one that runs on not for long.
func TestExpireBellsAreKeptShortly(t *testing.T) {
	eachWorld(t, func(w *world) {
		at := w.now() + inAnHour
		f := func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = at }
		expire := func() {
			_, _, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
			w.must(err)
		}
		c := w.running(1, f)
		w.finish([]*task.Ending{w.ending(c, 0)}, c.ClaimID)
		at = w.letExpire(at, at)
		expire()
		want(t, "bells of what is over", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 0)

		at = w.now() + inAnHour
		c = w.running(1, f)
		at = w.letExpire(at, at)
		expire()
		want(t, "bells of what runs", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 1)
		w.must(w.s.Exec(w.ctx, "UPDATE bells SET due_at=due_at-10000 WHERE kind=1"))
		w.must(w.s.Exec(w.ctx, "UPDATE tasks SET expires_at=expires_at-10000 WHERE expires_at>0"))
		expire()
		want(t, "bells later", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 0)
		want(t, "running stays", w.row(c.Tasks[0].ID).state, 3)
	})
}
