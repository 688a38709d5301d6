package sqldb_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// keyed gives tasks a limit key.
func keyed(key string) func(int, *task.Submission, *task.BodyHead) {
	return func(_ int, _ *task.Submission, head *task.BodyHead) { head.LimitKey = key }
}

// limits of every kind, set on tasks of app 1 with the key "k" in the queue "default".
var limitKinds = []struct {
	name  string
	set   func(w *world, l task.Limits, paused bool) error
	scope task.LimitScope
}{
	{"queue", func(w *world, l task.Limits, paused bool) error { return w.s.PutQueue(w.ctx, "default", l, paused) }, task.QueueScope("default")},
	{"app", func(w *world, l task.Limits, paused bool) error {
		return w.s.LimitApp(w.ctx, task.App{ID: 1, Limits: l, Paused: paused})
	}, task.AppScope(1)},
	{"key", func(w *world, l task.Limits, paused bool) error {
		_, err := w.s.PutLimitKey(w.ctx, 1, "k", l, paused)
		return err
	}, task.KeyScope(1, task.FlowOf(1, "k"))},
}

func eachLimit(t *testing.T, f func(w *world, set func(task.Limits, bool), running func() int)) {
	eachWorld(t, func(w *world) {
		for _, kind := range limitKinds {
			set := func(l task.Limits, paused bool) { w.t.Helper(); w.must(kind.set(w, l, paused)) }
			f(w, set, func() int { return int(w.count("SELECT running FROM limits WHERE k=?", string(kind.scope))) })
			set(task.Limits{}, false)
			w.must(w.s.Exec(w.ctx, "DELETE FROM bells"))
		}
	})
}

func TestConcurrencyLimitHolds(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		set(task.Limits{Concurrency: 3}, false)
		_, bells := w.submit(10, keyed("k"))
		if bells[0].Direct {
			w.t.Error("a limited task is left to its writer")
		}
		a := w.claim(10, bellIDs(bells)...)
		want(w.t, "first claim", len(a.Tasks), 3)
		if b := a.Bells[0]; !b.Limited || b.Gone || b.Remaining != 7 {
			w.t.Errorf("bell after it: %+v", b)
		}
		b := w.claim(10, bellIDs(bells)...)
		if len(b.Tasks) != 0 || b.ClaimID != 0 || !b.Bells[0].Limited || b.Bells[0].Remaining != 7 {
			w.t.Errorf("claim at the limit: %+v", b)
		}
		want(w.t, "running", running(), 3)
		w.finish([]*task.Ending{w.ending(a, 0), w.ending(a, 1)})
		want(w.t, "running after two ended", running(), 1)
		want(w.t, "claim after that", len(w.claim(10, bellIDs(bells)...).Tasks), 2)
		set(task.Limits{Concurrency: 1}, false) // kills nothing
		want(w.t, "running above a lower limit", running(), 3)
		want(w.t, "claim above a lower limit", len(w.claim(10, bellIDs(bells)...).Tasks), 0)
		set(task.Limits{}, false)
		want(w.t, "claim without a limit", len(w.claim(10, bellIDs(bells)...).Tasks), 5)
		set(task.Limits{Concurrency: 7}, false)
		want(w.t, "running, counted when it was set", running(), 8)
		w.finish([]*task.Ending{w.ending(a, 2)})
		want(w.t, "running after one ended that knew of another limit", running(), 7)
		for _, id := range claimIDs(w) {
			w.must2(w.s.Release(w.ctx, id, nil, task.CauseLost))
		}
		want(w.t, "running after a rescue", running(), 0)
	})
}

func claimIDs(w *world) (ids []int64) {
	rows, err := w.s.DB().QueryContext(w.ctx, "SELECT id FROM claims")
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		w.must(rows.Scan(&id))
		ids = append(ids, id)
	}
	return ids
}

// Every way out of running gives the place back.
func TestEveryEndGivesItsPlaceBack(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		set(task.Limits{Concurrency: 100}, false)
		for name, end := range map[string]func(c task.Claimed){
			"succeeded": func(c task.Claimed) { w.finish([]*task.Ending{w.ending(c, 0)}, c.ClaimID) },
			"retried": func(c task.Claimed) {
				e := w.ending(c, 0)
				e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, w.now()+3_600_000
				bells := w.finish([]*task.Ending{e}, c.ClaimID)
				if len(bells) != 1 || bells[0].Flow != task.FlowOf(1, "k") || bells[0].Kind != task.FlowBell {
					w.t.Errorf("bell of the retry: %+v", bells)
				}
			},
			"failed": func(c task.Claimed) {
				e := w.ending(c, 0)
				e.Outcome, e.To, e.Reason = task.OutcomeFailed, task.Failed, task.Permanent
				w.finish([]*task.Ending{e}, c.ClaimID)
			},
			"cancelled": func(c task.Claimed) {
				w.must2(w.s.Cancel(w.ctx, 1, c.Tasks[0].ID))
				e := w.ending(c, 0)
				e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, w.now()
				w.finish([]*task.Ending{e}, c.ClaimID)
			},
			"awaiting": func(c task.Claimed) {
				e := w.ending(c, 0)
				e.Outcome, e.To, e.Await, e.RetryAt = task.OutcomeNone, task.Waiting, true, w.now()+3_600_000
				w.finish([]*task.Ending{e}, c.ClaimID)
				rep, err := w.s.Complete(w.ctx, 1, task.Completion{TaskID: e.TaskID, Epoch: e.Epoch, Outcome: task.OutcomeFailed, ErrCode: "x"})
				w.must(err)
				if rep.Bell == nil || rep.Bell.Flow != task.FlowOf(1, "k") {
					w.t.Errorf("completed: %+v", rep)
				}
			},
			"released": func(c task.Claimed) { w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseReleased)) },
			"lost":     func(c task.Claimed) { w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)) },
			"audited": func(c task.Claimed) {
				w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM claims WHERE id=%d", c.ClaimID)))
				n, bells, err := w.s.Audit(w.ctx, c.Tasks[0].ID, c.Tasks[0].ID)
				w.must(err)
				if n != 1 || len(bells) != 1 || bells[0].Flow == 0 {
					w.t.Errorf("audit mended %d: %+v", n, bells)
				}
			},
			"abandoned": func(c task.Claimed) {
				w.must(w.s.MarkZombie(w.ctx, w.worker, c.Tasks[0].ID, 1, true))
				w.must2(w.s.Abandon(w.ctx, 1, c.Tasks[0].ID))
			},
		} {
			c := w.running(1, keyed("k"))
			want(w.t, "running before "+name, running(), 1)
			end(c)
			want(w.t, "running after "+name, running(), 0)
			want(w.t, "marks after "+name, w.count("SELECT COUNT(*) FROM tasks WHERE flags & ? <> 0", int64(task.PlaceFlags)), 0)
		}
	})
}

// A rate is taken in the claim: whatever is rung, no more than burst and rate allow start.
func TestRateLimitHolds(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), running func() int) {
		_, bells := w.submit(100, keyed("k"))
		set(task.Limits{RateTasks: 1, RatePerMs: 3_600_000, RateBurst: 4}, false)
		want(w.t, "first", len(w.claim(100, bellIDs(bells)...).Tasks), 4)
		want(w.t, "second", len(w.claim(100, bellIDs(bells)...).Tasks), 0)
		set(task.Limits{RateTasks: 100, RatePerMs: 1000, RateBurst: 1}, false) // begins anew
		began, got, claims := time.Now(), 0, 0
		for time.Since(began) < 300*time.Millisecond {
			got += len(w.claim(100, bellIDs(bells)...).Tasks)
			claims++
		}
		// A claim wins one with this burst: of few claims, on a busy machine, nearly all win.
		if most := int(time.Since(began)/(10*time.Millisecond)) + 2; got > most || got < min(10, claims-2) {
			w.t.Errorf("%d claims started %d in %v at 100/s", claims, got, time.Since(began))
		}
		want(w.t, "running", running(), 0)
	})
}

// A pause holds from its commit on, whatever was rung before it.
func TestPauseHoldsAtOnce(t *testing.T) {
	eachLimit(t, func(w *world, set func(task.Limits, bool), _ func() int) {
		_, bells := w.submit(10, keyed("k"))
		set(task.Limits{}, true)
		c := w.claim(10, bellIDs(bells)...)
		if len(c.Tasks) != 0 || !c.Bells[0].Limited {
			w.t.Errorf("claimed while paused: %+v", c)
		}
		set(task.Limits{}, false)
		want(w.t, "won after that", len(w.claim(10, bellIDs(bells)...).Tasks), 10)
	})
}

// A limited key keeps nobody else from starting, also not in the same claim.
func TestLimitsOfSeveralKeys(t *testing.T) {
	eachWorld(t, func(w *world) {
		w.must2(w.s.PutLimitKey(w.ctx, 1, "a", task.Limits{Concurrency: 2}, false))
		w.must2(w.s.PutLimitKey(w.ctx, 1, "b", task.Limits{}, true))
		w.must(w.s.PutQueue(w.ctx, "default", task.Limits{Concurrency: 7}, false))
		var all []task.Bell
		for _, key := range []string{"b", "a", "c", ""} {
			_, bells := w.submit(5, keyed(key))
			want(w.t, "bells", len(bells), 1)
			all = append(all, bells...)
		}
		c := w.claim(100, bellIDs(all)...)
		won := map[int64]int{}
		for _, one := range c.Tasks {
			won[one.Flow]++
		}
		a, other := task.FlowOf(1, "a"), task.FlowOf(1, "c")
		if len(c.Tasks) != 7 || won[a] != 2 || won[other] != 5 {
			w.t.Errorf("won %v", won)
		}
		for _, one := range c.Tasks {
			if one.Places != task.InQueueLimit && one.Places != task.InQueueLimit|task.InKeyLimit {
				w.t.Errorf("places %b", one.Places)
			}
		}
		w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseReleased))
		want(w.t, "places left", w.count("SELECT SUM(running) FROM limits"), 0)
	})
}

// While a limit is set, changed and taken away, and claims run in two processes, no more than the limit run at once.
func TestLimitsAreExactAcrossProcesses(t *testing.T) {
	for _, kind := range []string{"sqlite", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			url := sqldbtest.URL(t, kind)
			s := sqldbtest.Open(t, url)
			w := newWorld(t, s)
			stores := []*sqldb.Store{s}
			if kind == "mysql" {
				stores = append(stores, sqldbtest.Open(t, url))
			}
			_, bells := w.submit(400, keyed("k"))
			w.must2(s.PutLimitKey(w.ctx, 1, "k", task.Limits{Concurrency: 3}, false))
			var wg sync.WaitGroup
			var mu sync.Mutex
			running, most, done := 0, 0, 0
			for i := range 6 {
				st := stores[i%len(stores)]
				worker := w.newWorker()
				wg.Go(func() {
					for range 150 {
						c, err := st.Claim(context.Background(), task.ClaimRequest{WorkerID: worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 1 + i%3, Kinds: w.kinds})
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						running += len(c.Tasks)
						most = max(most, running)
						running -= len(c.Tasks) // before the database hears of it: what it starts meanwhile comes on top
						done += len(c.Tasks)
						mu.Unlock()
						if len(c.Tasks) == 0 {
							continue
						}
						n := w.count("SELECT COUNT(*) FROM tasks WHERE state=3")
						if n > 3 {
							t.Errorf("%d tasks run", n)
						}
						var ends []*task.Ending
						for k := range c.Tasks {
							e := w.ending(c, k)
							e.WorkerID = worker
							ends = append(ends, e)
						}
						if _, err := st.Finish(context.Background(), task.FinishBatch{WorkerID: worker, Endings: ends, Emptied: []int64{c.ClaimID}}); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if done < 100 || most > 3 {
				t.Errorf("%d done, %d at once", done, most)
			}
			want(t, "running", w.count("SELECT running FROM limits WHERE k LIKE 'k:%'"), 0)
		})
	}
}

// What is set is read back, listed by name, and ends.
func TestLimitKeysAreKept(t *testing.T) {
	eachWorld(t, func(w *world) {
		some := task.Limits{Concurrency: 5, RateTasks: 7, RatePerMs: 60_000, RateBurst: 2}
		for _, key := range []string{"b", "a", "c"} {
			l, err := w.s.PutLimitKey(w.ctx, 1, key, some, key == "a")
			w.must(err)
			if l.Name != key || l.Limits != some || l.Paused != (key == "a") {
				w.t.Errorf("set %+v", l)
			}
		}
		l, err := w.s.LimitKey(w.ctx, 1, "a")
		w.must(err)
		if l.Limits != some || !l.Paused {
			w.t.Errorf("read %+v", l)
		}
		_, err = w.s.LimitKey(w.ctx, 2, "a")
		wantKind(w.t, err, task.NotFound, "limit_key_not_found")
		w.must(w.s.DeleteLimitKey(w.ctx, 1, "b"))
		wantKind(w.t, w.s.DeleteLimitKey(w.ctx, 1, "b"), task.NotFound, "limit_key_not_found")
		page, err := w.s.LimitKeys(w.ctx, 1, "", 10)
		w.must(err)
		var names []string
		for _, l := range page {
			names = append(names, l.Name)
		}
		if !slices.Equal(names, []string{"a", "c"}) {
			w.t.Errorf("listed %v", names)
		}
		rest, err := w.s.LimitKeys(w.ctx, 1, "a", 10)
		w.must(err)
		want(w.t, "behind a", len(rest), 1)
	})
}
