package sqldb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// Of two bells of one epoch that list a task, the one that holds it may have the smaller id: each process takes ids from
// a block of its own. What is left of it stays there, and what is won is said to come from there.
func TestClaimKnowsTheBellThatHoldsATask(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, old := w.submit(1, nil)
		forward, err := w.s.RunNow(w.ctx, 1, ids[0])
		w.must(err)
		stale := old[0].ID + 1_000_000
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET id=%d WHERE id=%d", stale, old[0].ID)))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET due_at=7 WHERE id=%d", forward.ID)))

		none, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: []int64{forward.ID, stale}, Max: 5, Kinds: w.kinds[1:]})
		w.must(err)
		want(t, "won of an unknown kind", len(none.Tasks), 0)
		want(t, "the task's bell", w.count("SELECT COUNT(*) FROM bells WHERE id=?", w.row(ids[0]).holder), 1)
		want(t, "the stale bell", w.count("SELECT COUNT(*) FROM bells WHERE id=?", stale), 0)

		w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO bells (id,kind,shard,lane_id,app_id,epoch,due_at,direct,n,task_ids) "+
			"SELECT %d,kind,shard,lane_id,app_id,epoch,8,direct,n,task_ids FROM bells WHERE id=%d", stale, forward.ID)))
		c := w.claim(5, forward.ID, stale)
		want(t, "won", len(c.Tasks), 1)
		want(t, "from", c.Tasks[0].BellID, forward.ID)
		want(t, "due", c.Tasks[0].DueAt, 7)
		want(t, "bells left", w.count("SELECT COUNT(*) FROM bells"), 0)
	})
}

// What is not chosen and what is chosen keep their order when listings are left out.
func TestClaimOfTwinsAmongMany(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, bells := w.submit(10, nil)
		stale := bells[0].ID + 1_000_000
		for i := range 5 { // moves the task into the new bell, the old one still lists it
			b, err := w.s.RunNow(w.ctx, 1, ids[2*i])
			w.must(err)
			bells = append(bells, b)
		}
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET holder=%d WHERE holder=%d", stale, bells[0].ID)))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET id=%d,due_at=9000000000 WHERE id=%d", stale, bells[0].ID)))
		won := map[int64]int64{}
		all := append(bellIDs(bells[1:]), stale)
		for range 4 {
			for _, one := range w.claim(3, all...).Tasks {
				won[one.ID] = one.BellID
			}
		}
		want(t, "won", len(won), 10)
		for i, id := range ids {
			from := stale
			if i%2 == 0 {
				from = bells[1+i/2].ID
			}
			want(t, fmt.Sprint("bell of ", i), won[id], from)
		}
		want(t, "bells left", w.count("SELECT COUNT(*) FROM bells"), 0)
	})
}

// The answer to a COMMIT gets lost, and before it is looked up another process has started, ended or cancelled the task:
// the request was done, and is not done again.
func TestUnknownArrowsThatWentOn(t *testing.T) {
	for _, after := range []string{"ended", "cancelled", "pulled forward"} {
		for _, what := range []string{"re-open", "run now"} {
			t.Run(what+", "+after, func(t *testing.T) {
				url := sqldbtest.URL(t, "mysql")
				other := newWorld(t, sqldbtest.Open(t, url))
				other.must2(other.s.Cancel(other.ctx, 1, func() int64 { ids, _ := other.submit(1, nil); return ids[0] }())) // it has the smaller block of ids
				w := newWorld(t, sqldbtest.Open(t, url))
				ids, _ := w.submit(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.DelayMs = 60_000 })
				id := ids[0]
				if what == "re-open" {
					w.must2(w.s.Cancel(w.ctx, 1, id))
				}
				goOn := func() {
					holder := w.row(id).holder
					switch after {
					case "ended":
						other.kinds = w.kinds
						c := other.claim(5, holder)
						want(t, "won by another", len(c.Tasks), 1)
						other.finish([]*task.Ending{other.ending(c, 0)}, c.ClaimID)
					case "cancelled":
						other.must2(other.s.Cancel(other.ctx, 1, id))
					case "pulled forward":
						time.Sleep(2 * time.Millisecond)
						_, err := other.s.RunNow(other.ctx, 1, id)
						other.must(err)
					}
				}
				lost := 0
				sqldb.HookMySQL(t, w.s, url, func(query string, _ func() ([][2]string, error), run func() error) error {
					if !sqldb.IsCommit(query) || lost > 0 {
						return run()
					}
					lost++
					w.must(run())
					goOn()
					return errConnectionDied
				})
				time.Sleep(2 * time.Millisecond)
				var err error
				if what == "re-open" {
					_, err = w.s.Reopen(w.ctx, 1, id, true)
				} else {
					_, err = w.s.RunNow(w.ctx, 1, id)
				}
				w.must(err)
				want(t, "lost", lost, 1)
				states := map[string]int64{"ended": 4, "cancelled": 6, "pulled forward": 2}
				want(t, "state", w.row(id).state, states[after])
			})
		}
	}
}
