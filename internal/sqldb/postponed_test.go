package sqldb_test

import (
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// TestPostponedAttemptsAreNotKeptForEver: a task that is postponed again and again has a bounded number of rows, the newest ones,
// and those of attempts that really were made.
func TestPostponedAttemptsAreNotKeptForEver(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(3, nil)
		for epoch := int32(1); epoch <= 120; epoch++ {
			ends := make([]*task.Ending, len(c.Tasks))
			for i := range ends {
				e := w.ending(c, i)
				e.Outcome, e.To, e.RetryAt, e.ErrCode = task.OutcomeSnoozed, task.Waiting, w.now(), "endpoint_resting"
				if epoch == 3 {
					e.Outcome, e.ErrCode = task.OutcomeFailed, "http_500"
				}
				ends[i] = e
			}
			bells := w.finish(ends, c.ClaimID)
			w.must(w.s.Exec(w.ctx, "UPDATE bells SET due_at=1"))
			c = w.claim(len(ends), bellIDs(bells)...)
			want(t, "won", len(c.Tasks), len(ends))
		}
		for _, one := range c.Tasks {
			want(t, "rows", w.count("SELECT COUNT(*) FROM attempts WHERE task_id=?", one.ID), 51)
			want(t, "newest", w.count("SELECT COUNT(*) FROM attempts WHERE task_id=? AND epoch BETWEEN 71 AND 120", one.ID), 50)
			want(t, "made", w.count("SELECT COUNT(*) FROM attempts WHERE task_id=? AND epoch=3", one.ID), 1)
		}
	})
}

// TestListsDoNotCarryDeliveries: they are up to 32 KiB for each of a hundred attempts, and a receiver says how long they are.
func TestListsDoNotCarryDeliveries(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		ids := []int64{x.awaited(60_000, nil), x.awaited(60_000, nil)}
		vs, err := x.s.Views(x.ctx, x.app.ID, ids)
		x.ok(err)
		if len(vs) != 2 || len(vs[0].Attempts) != 1 || vs[0].Attempts[0].Delivery != nil || vs[1].Attempts[0].Delivery != nil {
			t.Errorf("%+v", vs)
		}
		if v := x.view(ids[1]); v.Attempts[0].Delivery == nil {
			t.Error("a single task has lost it")
		}
	})
}
