package sqldb_test

import (
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// An attempt is found while it runs, whatever other claims there are, and after its end when it has a row; never for another
// app, and never an id of the same sequence that is none.
func TestTaskOfAttempt(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		var bells []task.Bell
		var ids []int64
		for range 6 {
			subs := []*task.Submission{x.sub(nil), x.sub(nil), x.sub(nil)}
			got, err := x.s.Submit(x.ctx, []*task.Request{{AppID: x.app.ID, Tasks: subs}})
			x.ok(err)
			bells = append(bells, got...)
			for _, s := range subs {
				ids = append(ids, s.ID)
			}
		}
		_, err := x.s.Cancel(x.ctx, 0, ids[1]) // a dead listing: the claim wins fewer than it asks for
		x.ok(err)
		type running struct {
			c task.Claimed
			w int64
		}
		var all []running
		for _, b := range bells {
			c, w := x.claim(b)
			all = append(all, running{c, w})
		}
		find := func(app int32, attempt int64) int64 {
			t.Helper()
			id, err := x.s.TaskOfAttempt(x.ctx, app, attempt)
			if err != nil {
				wantKind(t, err, task.NotFound, "attempt_not_found")
			}
			return id
		}
		attempts := map[int64]bool{}
		for _, r := range all {
			for _, ct := range r.c.Tasks {
				attempts[ct.AttemptID] = true
				if got := find(x.app.ID, ct.AttemptID); got != ct.ID {
					t.Errorf("attempt %d is of task %d, found %d", ct.AttemptID, ct.ID, got)
				}
				if find(0, ct.AttemptID) != ct.ID || find(x.other.ID, ct.AttemptID) != 0 {
					t.Errorf("attempt %d: apps", ct.AttemptID)
				}
			}
		}
		last := all[len(all)-1].c.ClaimID
		for id := bells[0].ID - 3; id < last+600; id++ {
			if !attempts[id] && find(0, id) != 0 {
				t.Errorf("%d is no attempt", id)
			}
		}
		for _, id := range []int64{0, -1, 1 << 60} {
			if find(0, id) != 0 {
				t.Errorf("%d is no attempt", id)
			}
		}
		x.finish(all[0].c, all[0].w, failing)
		x.finish(all[1].c, all[1].w, nil)
		if ct := all[0].c.Tasks[0]; find(x.app.ID, ct.AttemptID) != ct.ID || find(x.other.ID, ct.AttemptID) != 0 {
			t.Error("a failed attempt is not found")
		}
		if find(x.app.ID, all[1].c.Tasks[0].AttemptID) != 0 {
			t.Error("a plain first success has no row, and does not run")
		}
	})
}
