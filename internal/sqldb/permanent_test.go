package sqldb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// poison makes the database refuse one change of one task's row for good.
func (w *world) poison(event string, id int64) {
	w.t.Helper()
	row := "NEW"
	if event == "DELETE" {
		row = "OLD"
	}
	query := fmt.Sprintf("CREATE TRIGGER poison BEFORE %s ON tasks WHEN %s.id=%d BEGIN SELECT RAISE(ABORT,'poisoned'); END", event, row, id)
	if w.s.MySQL() {
		query = fmt.Sprintf("CREATE TRIGGER poison BEFORE %s ON tasks FOR EACH ROW BEGIN IF %s.id=%d THEN SIGNAL SQLSTATE '45000'; END IF; END", event, row, id)
	}
	w.must(w.s.Exec(w.ctx, query))
}

// A bell that cannot be executed is put off; those behind it, in its transaction and in its shard, go on.
func TestExpireGoesOnBehindABellThatFails(t *testing.T) {
	eachWorld(t, func(w *world) {
		at := w.now() + 1000
		var ids []int64
		for i := range 8 { // a bell for each
			one, _ := w.submit(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = at + int64(i) })
			ids = append(ids, one...)
		}
		w.poison("UPDATE", ids[1])
		for w.now() < at+8 {
			time.Sleep(5 * time.Millisecond)
		}
		shard := task.ShardOf(w.lane.ID)
		n, more, err := w.s.Expire(w.ctx, shard, 100)
		w.must(err)
		want(t, "expired", n, 7)
		want(t, "more", more, false)
		want(t, "the poisoned one", w.row(ids[1]).state, 2)
		want(t, "its bell stays", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 1)
		n, _, err = w.s.Expire(w.ctx, shard, 1)
		w.must(err)
		want(t, "tried again at once", n, 0)
		w.must(w.s.Exec(w.ctx, "DROP TRIGGER poison"))
		w.must(w.s.Exec(w.ctx, "UPDATE bells SET due_at=1 WHERE kind=1"))
		n, _, err = w.s.Expire(w.ctx, shard, 100)
		w.must(err)
		want(t, "healed", n, 1)
	})
}

// Whoever cannot delete tasks says how far it looked.
func TestPurgeSaysWhereAFailedStepEnds(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(5, nil)
		var ends []*task.Ending
		for i := range c.Tasks {
			ends = append(ends, w.ending(c, i))
		}
		w.finish(ends, c.ClaimID)
		w.poison("DELETE", c.Tasks[1].ID)
		req := task.PurgeRequest{SucceededBefore: w.now() + 1000, OthersBefore: w.now() + 1000, Now: w.now(), Limit: 3}
		rep, err := w.s.Purge(w.ctx, req)
		if err == nil || task.KindOf(err) == task.Unavailable {
			t.Fatalf("got %v", err)
		}
		want(t, "next", rep.NextID, c.Tasks[2].ID+1)
		want(t, "deleted", rep.Deleted, 0)
		req.FromID = rep.NextID
		rep, err = w.s.Purge(w.ctx, req)
		w.must(err)
		want(t, "deleted behind it", rep.Deleted, 2)
	})
}

// A clock that was set back between the look and the lock: the bell is not due any more, and stays.
func TestExpireLooksAgainUnderTheLock(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, _ := w.submit(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = w.now() + 60_000 })
		bell := w.count("SELECT id FROM bells WHERE kind=1")
		n, err := w.s.ExpireBellsForTest(w.ctx, []int64{bell})
		w.must(err)
		want(t, "expired", n, 0)
		want(t, "the bell stays", w.count("SELECT COUNT(*) FROM bells WHERE kind=1"), 1)
		want(t, "state", w.row(ids[0]).state, 2)
	})
}

// A lease that lies farther ahead than any could be taken is from before the clock was set back.
func TestLeasesOutliveNoStepOfTheClock(t *testing.T) {
	eachWorld(t, func(w *world) {
		take := func(name string, owner int64, ttl time.Duration) bool {
			t.Helper()
			ok, _, err := w.s.Lease(w.ctx, name, owner, ttl)
			w.must(err)
			return ok
		}
		const ttl = 5 * time.Second
		want(t, "seat", take("scheduler/0", 1, ttl), true)
		want(t, "shard", take("shard/3", 1, ttl), true)
		want(t, "chore", take("chore/audit", 1, 6*ttl), true)
		owners := func() string {
			t.Helper()
			m, err := w.s.LeaseOwners(w.ctx)
			w.must(err)
			return fmt.Sprint(m)
		}
		want(t, "owners", owners(), "map[chore/audit:1 scheduler/0:1 shard/3:1]")
		want(t, "by another", take("shard/3", 2, ttl), false)
		w.must(w.s.Exec(w.ctx, "UPDATE leases SET until=until+3600000"))
		want(t, "owners after the step", owners(), "map[]")
		want(t, "shard by another", take("shard/3", 2, ttl), true)
		want(t, "chore by another", take("chore/audit", 2, 6*ttl), true)
		want(t, "owners then", owners(), "map[chore/audit:2 shard/3:2]")
		want(t, "back to the first", take("shard/3", 1, ttl), false)
	})
}
