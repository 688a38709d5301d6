package sqldb_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

func TestClaimWinsAndEmptiesBells(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, bells := w.submit(150, nil)
		if len(bells) != 2 || !bells[0].Direct {
			t.Fatalf("bells: %+v", bells)
		}
		c := w.claim(500, append(bellIDs(bells), 999_999)...)
		want(t, "won", len(c.Tasks), 150)
		for p, one := range c.Tasks {
			r := w.row(one.ID)
			want(t, "id", one.ID, ids[p])
			want(t, "epoch", one.Epoch, 1)
			want(t, "attempt", one.AttemptID, c.ClaimID+int64(p))
			want(t, "row", r, row{state: 3, epoch: 1, dueAt: one.DueAt, holder: c.ClaimID, worker: w.worker, startedAt: c.Now,
				attempt: one.AttemptID, flags: r.flags})
		}
		want(t, "reported bells", len(c.Bells), 3)
		for _, b := range c.Bells {
			want(t, fmt.Sprint("bell gone ", b.ID), b.Gone, true)
		}
		want(t, "bells left", w.count("SELECT COUNT(*) FROM bells"), 0)
		claims, err := w.s.ClaimsOf(w.ctx, w.worker)
		w.must(err)
		if len(claims) != 1 || claims[0].ID != c.ClaimID || claims[0].LaneID != w.lane.ID || !slices.Equal(claims[0].TaskIDs, ids) {
			t.Errorf("claims: %+v", claims)
		}
		again := w.claimAs(w.newWorker(), 500, bellIDs(bells)...)
		want(t, "won again", len(again.Tasks), 0)
		want(t, "claim of nothing", again.ClaimID, 0)
	})
}

func TestClaimLeavesWhatItCannotRun(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, bells := w.submit(9, func(i int, sub *task.Submission, _ *task.BodyHead) {
			if i < 4 {
				sub.KindID = w.kinds[1]
			}
		})
		w.must2(w.s.Cancel(w.ctx, 1, ids[5]))
		ask := task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 6, Kinds: w.kinds[:1]}
		c, err := w.s.Claim(w.ctx, ask)
		w.must(err)
		want(t, "won", len(c.Tasks), 1) // of the first six: four of another kind, one cancelled
		want(t, "bell", c.Bells[0], task.ClaimedBell{ID: bells[0].ID, DueAt: bells[0].DueAt, Remaining: 7, NoRunner: 4})
		left, err := w.s.BellsLeft(w.ctx, append(bellIDs(bells), 77))
		w.must(err)
		want(t, "bells left", fmt.Sprint(left), fmt.Sprint(map[int64]int{bells[0].ID: 7}))
		c, err = w.s.Claim(w.ctx, ask) // what it can run comes first now
		w.must(err)
		want(t, "won then", len(c.Tasks), 3)
		want(t, "left then", c.Bells[0].Remaining, 4)
		want(t, "no runner then", c.Bells[0].NoRunner, 4)
		c = w.claim(2, bells[0].ID)
		want(t, "won by who can", len(c.Tasks), 2)
		c = w.claim(500, bells[0].ID)
		want(t, "won last", len(c.Tasks), 2)
		want(t, "gone last", c.Bells[0].Gone, true)
	})
}

func TestClaimKeepsBellsOfTheFutureAndOfOtherLanes(t *testing.T) {
	eachWorld(t, func(w *world) {
		_, later := w.submit(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.DelayMs = 60_000 })
		_, now := w.submit(2, nil)
		c := w.claim(10, later[0].ID, now[0].ID)
		want(t, "won", len(c.Tasks), 2)
		for _, b := range c.Bells {
			if b.ID == later[0].ID && (b.Gone || b.DueAt != later[0].DueAt || b.Remaining != 1) {
				t.Errorf("bell of the future: %+v", b)
			}
		}
		_, other := w.submit(1, nil)
		c, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID + 1, Bells: bellIDs(other), Max: 1, Kinds: w.kinds})
		w.must(err)
		want(t, "bell of another lane", c.Bells[0].Gone, true)
		want(t, "its task", len(c.Tasks), 0)
	})
}

// What is asked for first is won first, whatever is due longer and whatever has the lower id: a worker that holds what was
// left of a small app's bell beside a large app's older ones would never get to it otherwise.
func TestClaimTakesBellsInTheOrderOfTheRequest(t *testing.T) {
	eachWorld(t, func(w *world) {
		_, older := w.submit(16, nil)
		small, newer := w.submit(2, nil)
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET due_at=1 WHERE id=%d", older[0].ID)))
		c := w.claim(8, newer[0].ID, older[0].ID, newer[0].ID)
		want(t, "won", len(c.Tasks), 8)
		for _, id := range small {
			want(t, "state of the small one's", w.row(id).state, 3)
		}
		for _, b := range c.Bells {
			want(t, fmt.Sprint("left of ", b.ID), b.Remaining, map[int64]int{older[0].ID: 10}[b.ID])
		}
		_, newer = w.submit(2, nil)
		_, last := w.submit(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.DelayMs = 60_000 })
		c = w.claim(11, last[0].ID, older[0].ID, newer[0].ID)
		want(t, "won", len(c.Tasks), 11)
		for _, b := range c.Bells {
			want(t, fmt.Sprint("left of ", b.ID), b.Remaining, map[int64]int{newer[0].ID: 1, last[0].ID: 1}[b.ID])
		}
	})
}

// A task may be listed by an old bell and by the one that holds it: it is started once, in the epoch of its row.
func TestClaimOfATaskInTwoBells(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, old := w.submit(2, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.DelayMs = 60_000 })
		forward, err := w.s.RunNow(w.ctx, 1, ids[0])
		w.must(err)
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET due_at=1 WHERE id=%d", old[0].ID)))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET n=2,task_ids='%d,%d' WHERE id=%d", ids[0], ids[1], old[0].ID)))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET holder=%d WHERE id=%d", old[0].ID, ids[1])))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM bells WHERE id=%d", old[1].ID)))
		c := w.claim(3, old[0].ID, forward.ID)
		want(t, "won", len(c.Tasks), 2)
		for _, id := range ids {
			want(t, "epoch", w.row(id).epoch, 1)
		}
		want(t, "bells left", w.count("SELECT COUNT(*) FROM bells"), 0)
	})
}

func TestClaimReleasesKeysThatEndWithTheStart(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(4, func(i int, _ *task.Submission, head *task.BodyHead) {
			head.UniqueKey, head.UniqueScope, head.UniqueWindowMs = fmt.Sprint("k", i), task.UniqueScope(1+i), 60_000
		})
		want(t, "keys after the start", w.count("SELECT COUNT(*) FROM unique_keys WHERE scope=1"), 0)
		want(t, "other keys", w.count("SELECT COUNT(*) FROM unique_keys"), 3)
		var ends []*task.Ending
		for i := range c.Tasks {
			e := w.ending(c, i)
			e.Flags = task.HasUnique
			ends = append(ends, e)
		}
		w.finish(ends, c.ClaimID)
		want(t, "keys after the end", w.count("SELECT COUNT(*) FROM unique_keys"), 2)
		want(t, "of them until finished", w.count("SELECT COUNT(*) FROM unique_keys WHERE scope=2"), 0)
		w.purgeAll()
		want(t, "keys after the purge", w.count("SELECT COUNT(*) FROM unique_keys"), 1) // the window ends by time
		n, err := w.s.PurgeKeys(w.ctx, w.now()+100_000, 10)
		w.must(err)
		want(t, "purged keys", n, 1)
	})
}

func (w *world) purgeAll() {
	w.t.Helper()
	_, err := w.s.Purge(w.ctx, task.PurgeRequest{SucceededBefore: w.now() + 1000, OthersBefore: w.now() + 1000, Limit: 500})
	w.must(err)
}

func (w *world) must2(_ any, err error) {
	w.t.Helper()
	w.must(err)
}

func TestFinishCommitsEveryKindOfEnd(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(8, nil)
		ends := make([]*task.Ending, 8)
		for i := range ends {
			ends[i] = w.ending(c, i)
		}
		at := w.now() + 50
		ends[1].Result, ends[1].Truncated, ends[1].HTTPStatus = []byte(`{"a":1}`), true, 200
		ends[2].Log = []byte("said something")
		set := func(e *task.Ending, o task.Outcome, to task.State, why task.Reason, code string) {
			e.Outcome, e.To, e.Reason, e.ErrCode, e.ErrMessage, e.HTTPStatus = o, to, why, code, "it failed", 503
		}
		set(ends[3], task.OutcomeFailed, task.Waiting, 0, "http_503")
		ends[3].RetryAt = at
		set(ends[4], task.OutcomeFailed, task.Failed, task.Permanent, "http_503")
		set(ends[5], task.OutcomeCancelled, task.Cancelled, task.ByUser, "")
		set(ends[6], task.OutcomeSnoozed, task.Waiting, 0, "")
		ends[6].RetryAt = w.now() + 3_600_000
		set(ends[7], task.OutcomeTimedOut, task.Failed, task.Exhausted, "timeout")
		slices.Reverse(ends)
		bells := w.finish(ends, c.ClaimID)
		slices.Reverse(ends)
		want(t, "bells", len(bells), 2)
		has := func(i int, f task.Flags) bool { return task.Flags(w.row(ends[i].TaskID).flags).Has(f) }
		states := []int64{4, 4, 4, 2, 5, 6, 2, 5}
		reasons := []int64{0, 0, 0, 0, 2, 6, 0, 1}
		failures := []int64{0, 0, 0, 1, 1, 0, 0, 1}
		attempts := []int64{0, 0, 1, 1, 1, 1, 1, 1}
		for i, e := range ends {
			r := w.row(e.TaskID)
			want(t, fmt.Sprint("state ", i), r.state, states[i])
			want(t, fmt.Sprint("reason ", i), r.reason, reasons[i])
			want(t, fmt.Sprint("failures ", i), r.failures, failures[i])
			want(t, fmt.Sprint("status ", i), r.status, int64(e.HTTPStatus))
			want(t, fmt.Sprint("final ", i), e.Final, task.State(states[i]))
			want(t, fmt.Sprint("attempts ", i), w.count("SELECT COUNT(*) FROM attempts WHERE task_id=? AND id=? AND outcome=?", e.TaskID, e.AttemptID, e.Outcome), attempts[i])
			want(t, fmt.Sprint("has attempts ", i), has(i, task.HasAttempts), attempts[i] == 1)
			if states[i] != 2 && (r.holder != 0 || r.finishedAt < c.Now) || states[i] == 2 && r.dueAt != e.RetryAt {
				t.Errorf("row %d: %+v", i, r)
			}
		}
		want(t, "result flags", has(1, task.HasResult|task.Truncated), true)
		want(t, "log flag", has(2, task.HasLog), true)
		want(t, "results", w.count("SELECT COUNT(*) FROM results WHERE epoch=1"), 1)
		want(t, "filed", w.count("SELECT COUNT(*) FROM ends"), 3)
		want(t, "prints", w.count("SELECT COUNT(DISTINCT fingerprint) FROM ends WHERE state=5"), 2)
		want(t, "claims", w.count("SELECT COUNT(*) FROM claims"), 0)
		want(t, "direct retry", bells[0].Direct && bells[0].Epoch == 1 && bells[0].DueAt == at, true)
		want(t, "stats", w.count("SELECT SUM(succeeded*1000+failed*100+cancelled*10+retried) FROM stats"), 3211)
		view, err := w.s.Views(w.ctx, 1, []int64{ends[2].TaskID, ends[4].TaskID})
		w.must(err)
		if len(view) != 2 || string(view[0].Attempts[0].Log) != "said something" || view[1].Attempts[0].ErrCode != "http_503" || view[1].Attempts[0].ErrMessage != "it failed" {
			t.Errorf("views: %+v", view)
		}
		// The retry is won by its new bell, in the next epoch.
		w.must(w.s.Exec(w.ctx, "UPDATE bells SET due_at=1"))
		c2 := w.claim(5, bellIDs(bells)...)
		want(t, "won again", len(c2.Tasks), 2)
		want(t, "epoch", c2.Tasks[0].Epoch, 2)
	})
}

func TestFinishFencesAndCancels(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(6, nil)
		e := make([]*task.Ending, 6)
		for i := range e {
			e[i] = w.ending(c, i)
		}
		fail := func(e *task.Ending, to task.State) {
			e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, to, w.now()
			if to == task.Failed {
				e.Reason = task.Permanent
			}
		}
		fail(e[1], task.Waiting)
		fail(e[2], task.Failed)
		for i := range 3 { // cancel of a success, a retry, a failure
			w.must2(w.s.Cancel(w.ctx, 1, e[i].TaskID))
		}
		bells, err := w.s.Release(w.ctx, c.ClaimID, []int64{e[3].TaskID, e[4].TaskID}, task.CauseLost)
		w.must(err)
		c2 := w.claim(1, bellIDs(bells)...) // the same worker wins one of them again
		want(t, "won", len(c2.Tasks), 1)
		stale, fresh := e[3], w.ending(c2, 0)
		alone := *stale
		w.finish([]*task.Ending{&alone}) // the task runs again under the same worker, in the next epoch
		want(t, "stale alone", alone.Fenced, true)
		want(t, "still running", w.row(alone.TaskID).state, 3)
		w.finish([]*task.Ending{e[0], e[1], e[2], stale, e[4], e[5], fresh}, c.ClaimID, c2.ClaimID)
		finals := []task.State{4, 6, 6, 0, 0, 4}
		for i := range e {
			want(t, fmt.Sprint("final ", i), e[i].Final, finals[i])
			want(t, fmt.Sprint("fenced ", i), e[i].Fenced, finals[i] == 0)
		}
		want(t, "fresh", fresh.Final, task.Succeeded)
		want(t, "reason", w.row(e[1].TaskID).reason, int64(task.ByUser))
		want(t, "failures of a cancelled", w.row(e[2].TaskID).failures, 0)
		want(t, "released waits", w.row(e[4].TaskID).state, 2)
		want(t, "claims", w.count("SELECT COUNT(*) FROM claims"), 0)
		late := w.ending(c, 5) // the same success again
		w.finish([]*task.Ending{late})
		want(t, "twice", late.Fenced, true)
		if bells := w.finish(nil); bells != nil {
			t.Errorf("bells of nothing: %v", bells)
		}
	})
}

func TestFinishNeverWaitsBeyondTheExpiry(t *testing.T) {
	eachWorld(t, func(w *world) {
		expires := w.now() + 60_000
		c := w.running(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = expires })
		e := w.ending(c, 0)
		e.Outcome, e.To, e.RetryAt, e.ExpiresAt = task.OutcomeFailed, task.Waiting, expires, expires
		want(t, "bells", len(w.finish([]*task.Ending{e}, c.ClaimID)), 0)
		want(t, "reason", w.row(e.TaskID).reason, int64(task.Expired))
	})
}

// A failure that could be retried in time, but is committed after the task has expired: its expire bell was executed while it
// ran, so nobody would ever end it (found by internal/modelcheck).
func TestLateFailureOfAnExpiredTaskEndsIt(t *testing.T) {
	eachWorld(t, func(w *world) {
		at := w.now() + inAnHour
		c := w.running(1, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = at })
		at = w.letExpire(at, at)
		_, _, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
		w.must(err)
		want(t, "running stays", w.row(c.Tasks[0].ID).state, 3)
		e := w.ending(c, 0)
		e.Outcome, e.To, e.RetryAt, e.ExpiresAt = task.OutcomeFailed, task.Waiting, at-1, at
		want(t, "bells", len(w.finish([]*task.Ending{e}, c.ClaimID)), 0)
		row := w.row(e.TaskID)
		want(t, "state", fmt.Sprint(row.state, row.reason, row.holder), "5 3 0")
		want(t, "told", e.Final, task.Failed)
	})
}

func TestManyRetriesShareBells(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(250, nil)
		at := w.now() + 500
		var ends []*task.Ending
		for i := range c.Tasks {
			e := w.ending(c, i)
			e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, at+int64(i%2)
			ends = append(ends, e)
		}
		bells := w.finish(ends, c.ClaimID)
		want(t, "bells", len(bells), 4)
		for _, b := range bells {
			for _, id := range b.TaskIDs {
				r := w.row(id)
				if r.holder != b.ID || r.dueAt != b.DueAt || r.state != 2 || r.failures != 1 {
					t.Fatalf("task %d in %+v: %+v", id, b, r)
				}
			}
		}
	})
}

func TestReleaseDecidesByCause(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(6, func(i int, sub *task.Submission, head *task.BodyHead) {
			switch i {
			case 1:
				head.Retry = &task.RetryPolicy{Policy: "fixed", BaseMs: 50_000, CapMs: 50_000}
			case 2:
				sub.ExpiresAt = w.now() + 300
			case 5:
				head.UniqueKey, head.UniqueScope = "k", task.ScopeUntilFinished
			}
		})
		id := func(i int) int64 { return c.Tasks[i].ID }
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET losses=2 WHERE id=%d", id(0))))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET losses=3,failures=0 WHERE id=%d", id(1))))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET losses=1 WHERE id=%d", id(2))))
		w.must2(w.s.Cancel(w.ctx, 1, id(5)))
		back, err := w.s.Release(w.ctx, c.ClaimID, []int64{id(3)}, task.CauseReleased)
		w.must(err)
		want(t, "handed back", len(back), 1)
		want(t, "listed", w.count("SELECT n FROM claims WHERE id=?", c.ClaimID), 5)
		want(t, "losses of a hand-back", w.row(id(3)).losses, 0)
		w.must(w.s.RetireWorker(w.ctx, w.worker))
		orphans, err := w.s.OrphanClaims(w.ctx, 10)
		w.must(err)
		want(t, "orphans", fmt.Sprint(orphans), fmt.Sprint([]int64{c.ClaimID}))
		bells, err := w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)
		w.must(err)
		want(t, "bells", len(bells), 2)
		states, reasons, losses := []int64{2, 5, 5, 2, 2, 6}, []int64{0, 4, 3, 0, 0, 6}, []int64{3, 4, 2, 0, 1, 1}
		for i := range states {
			r := w.row(id(i))
			want(t, fmt.Sprint("state ", i), r.state, states[i])
			want(t, fmt.Sprint("reason ", i), r.reason, reasons[i])
			want(t, fmt.Sprint("losses ", i), r.losses, losses[i])
		}
		if due := w.row(id(0)).dueAt; due < w.now()+1000 {
			t.Errorf("the third loss is due at once")
		}
		if due := w.row(id(4)).dueAt; due > w.now() {
			t.Errorf("the first loss is not due at once")
		}
		want(t, "attempts", w.count("SELECT COUNT(*) FROM attempts WHERE outcome=5"), 5)
		want(t, "handed back attempts", w.count("SELECT COUNT(*) FROM attempts WHERE outcome=6"), 1)
		want(t, "keys", w.count("SELECT COUNT(*) FROM unique_keys"), 0)
		want(t, "filed", w.count("SELECT COUNT(*) FROM ends"), 3)
		want(t, "lost in stats", w.count("SELECT SUM(lost) FROM stats"), 5)
		again, err := w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)
		w.must(err)
		want(t, "released again", len(again), 0)
	})
}

func TestExpireEndsWhatWaits(t *testing.T) {
	eachWorld(t, func(w *world) {
		at := w.now() + inAnHour
		f := func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.ExpiresAt = at }
		c := w.running(2, f)
		ids, bells := w.submit(120, f)
		shard := task.ShardOf(w.lane.ID)
		n, more, err := w.s.Expire(w.ctx, shard, 10)
		w.must(err)
		if n != 0 || more {
			t.Fatalf("expired early: %d %v", n, more)
		}
		w.letExpire(at, at)
		late := w.claim(5, bellIDs(bells)...)
		want(t, "won after the expiry", len(late.Tasks), 0)
		n, more, err = w.s.Expire(w.ctx, shard, 2)
		w.must(err)
		want(t, "more", more, true)
		n2, more, err := w.s.Expire(w.ctx, shard, 10)
		w.must(err)
		want(t, "expired", n+n2, 120)
		want(t, "more then", more, false)
		want(t, "running stays", w.row(c.Tasks[0].ID).state, 3)
		r := w.row(ids[119])
		want(t, "state", fmt.Sprint(r.state, r.reason, r.holder, r.epoch), "5 3 0 0")
		want(t, "filed", w.count("SELECT COUNT(*) FROM ends WHERE state=5"), 120)
	})
}

func TestAuditMends(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(2, nil)
		ids, bells := w.submit(3, nil)
		first, last, err := w.s.TaskIDRange(w.ctx)
		w.must(err)
		want(t, "range", fmt.Sprint(first, last), fmt.Sprint(c.Tasks[0].ID, ids[2]))
		mended, _, err := w.s.Audit(w.ctx, first, last)
		w.must(err)
		want(t, "mended nothing", mended, 0)
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM bells WHERE id=%d", bells[0].ID)))
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM claims WHERE id=%d", c.ClaimID)))
		mended, rung, err := w.s.Audit(w.ctx, first, last)
		w.must(err)
		want(t, "mended", mended, 5)
		won := w.claim(10, bellIDs(rung)...)
		want(t, "won", len(won.Tasks), 5)
		want(t, "lost", w.row(c.Tasks[0].ID).losses, 1)
		mended, _, err = w.s.Audit(w.ctx, first, last)
		w.must(err)
		want(t, "mended again", mended, 0)
	})
}

func TestPurgeTakesEverythingOfATask(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(40, func(_ int, sub *task.Submission, _ *task.BodyHead) {
			sub.Flags |= task.HasLabels
			sub.Labels = []task.Label{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}
		})
		var ends []*task.Ending
		for i := range 30 {
			e := w.ending(c, i)
			e.Flags |= task.HasLabels
			e.Result = []byte("1")
			if i%3 == 0 {
				e.Outcome, e.To, e.Reason, e.Result = task.OutcomeFailed, task.Failed, task.Permanent, nil
			}
			ends = append(ends, e)
		}
		w.finish(ends)
		future := w.now() + 1000
		rep, err := w.s.Purge(w.ctx, task.PurgeRequest{SucceededBefore: future, Limit: 20})
		w.must(err)
		want(t, "deleted", rep.Deleted, 13)
		want(t, "next", rep.NextID, c.Tasks[19].ID+1)
		rep, err = w.s.Purge(w.ctx, task.PurgeRequest{SucceededBefore: future, OthersBefore: future, Limit: 500})
		w.must(err)
		want(t, "deleted then", rep.Deleted, 17)
		want(t, "next then", rep.NextID, 0)
		for table, n := range map[string]int64{"tasks": 10, "payloads": 10, "results": 0, "attempts": 0, "ends": 0, "task_labels": 20} {
			want(t, "rows of "+table, w.count("SELECT COUNT(*) FROM "+table), n)
		}
	})
}

func TestWorkersLiveAndDie(t *testing.T) {
	eachWorld(t, func(w *world) {
		state, err := w.s.Beat(w.ctx, w.worker, task.WorkerInfo{Host: "there", Slots: 3, Busy: 2})
		w.must(err)
		want(t, "state", state, task.WorkerAlive)
		list, err := w.s.Workers(w.ctx, false)
		w.must(err)
		if len(list) != 1 || list[0].Info.Busy != 2 || list[0].State != task.WorkerAlive {
			t.Fatalf("workers: %+v", list)
		}
		gone, err := w.s.DeclareGone(w.ctx, w.worker, list[0].BeatAt-1)
		w.must(err)
		want(t, "gone by another beat", gone, false)
		gone, err = w.s.DeclareGone(w.ctx, w.worker, list[0].BeatAt)
		w.must(err)
		want(t, "gone", gone, true)
		if _, err := w.s.Beat(w.ctx, w.worker, task.WorkerInfo{}); !errors.Is(err, task.ErrFenced) {
			t.Errorf("beat of the dead: %v", err)
		}
		second := w.newWorker()
		if second == w.worker {
			t.Error("an id was used twice")
		}
		list, err = w.s.Workers(w.ctx, true)
		w.must(err)
		want(t, "all workers", len(list), 2)
		n, err := w.s.DeclareAllGone(w.ctx)
		w.must(err)
		want(t, "declared", n, 1)
		list, err = w.s.Workers(w.ctx, false)
		w.must(err)
		want(t, "left", len(list), 0)
		purged, err := w.s.PurgeKeys(w.ctx, w.now()+2*86_400_000, 10)
		w.must(err)
		want(t, "purged rows", purged, 2)
	})
}

func TestHeldAndZombies(t *testing.T) {
	eachWorld(t, func(w *world) {
		c := w.running(2, nil)
		id := c.Tasks[0].ID
		w.must(w.s.MarkZombie(w.ctx, w.worker, id, 2, true))
		want(t, "another epoch's", task.Flags(w.row(id).flags).Has(task.Zombie), false)
		w.must(w.s.MarkZombie(w.ctx, w.worker, id, 1, true))
		want(t, "zombie", task.Flags(w.row(id).flags).Has(task.Zombie), true)
		w.must(w.s.MarkZombie(w.ctx, w.worker, c.Tasks[1].ID, 1, true))
		w.must(w.s.MarkZombie(w.ctx, w.worker, c.Tasks[1].ID, 1, false))
		want(t, "no zombie", task.Flags(w.row(c.Tasks[1].ID).flags).Has(task.Zombie), false)
		w.must2(w.s.Cancel(w.ctx, 1, id))
		held, err := w.s.Held(w.ctx, []int64{id, 424242})
		w.must(err)
		if len(held) != 1 || held[0].State != task.Running || held[0].WorkerID != w.worker || held[0].Epoch != 1 || held[0].CancelAt == 0 {
			t.Errorf("held: %+v", held)
		}
		e := w.ending(c, 0)
		e.Outcome, e.To, e.Reason = task.OutcomeTimedOut, task.Failed, task.Exhausted
		w.finish([]*task.Ending{e}, c.ClaimID)
		want(t, "flags at the end", task.Flags(w.row(id).flags), task.HasAttempts)
		want(t, "state at the end", w.row(id).state, int64(task.Cancelled))
	})
}

func TestLeasesHaveOneOwner(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		w := newWorld(t, s)
		take := func(owner int64, ttl time.Duration) (bool, int64) {
			t.Helper()
			ok, term, err := s.Lease(w.ctx, "shard-1", owner, ttl)
			w.must(err)
			return ok, term
		}
		a, err := s.NewOwner(w.ctx)
		w.must(err)
		b, err := s.NewOwner(w.ctx)
		w.must(err)
		ok, term := take(a, 50*time.Millisecond)
		want(t, "first", fmt.Sprint(ok, term), "true 1")
		ok, _ = take(b, time.Minute)
		want(t, "second while held", ok, false)
		ok, term = take(a, 50*time.Millisecond)
		want(t, "renewed", fmt.Sprint(ok, term), "true 1")
		for ok = false; !ok; ok, term = take(b, time.Minute) {
			time.Sleep(5 * time.Millisecond)
		}
		want(t, "term of the next", term, 2)
		ok, _ = take(a, time.Minute)
		want(t, "first again", ok, false)
		owners, err := s.LeaseOwners(w.ctx)
		w.must(err)
		want(t, "owners", fmt.Sprint(owners), fmt.Sprint(map[string]int64{"shard-1": b}))
		w.must(s.GiveUpLease(w.ctx, "shard-1", a))
		ok, _ = take(a, time.Minute)
		want(t, "given up by another", ok, false)
		w.must(s.GiveUpLease(w.ctx, "shard-1", b))
		ok, term = take(a, time.Minute)
		want(t, "given up", fmt.Sprint(ok, term), "true 3")
	})
}

func TestRingQueries(t *testing.T) {
	eachWorld(t, func(w *world) {
		other, err := w.s.EnsureLane(w.ctx, "other", task.Low)
		w.must(err)
		base := w.now()
		set := func(lane, app int32, due int64) func(int, *task.Submission, *task.BodyHead) {
			return func(_ int, sub *task.Submission, _ *task.BodyHead) {
				sub.LaneID, sub.AppID, sub.DueAt, sub.ExpiresAt = lane, app, due, due+3_600_000
			}
		}
		_, a := w.submit(250, set(w.lane.ID, 1, base+1000))
		_, b := w.submit(1, set(w.lane.ID, 2, base+2000))
		_, c := w.submit(1, set(other.ID, 1, base+3000))
		pairs, err := w.s.DuePairs(w.ctx)
		w.must(err)
		want(t, "pairs", fmt.Sprint(pairs), fmt.Sprint([]task.LaneApp{{LaneID: w.lane.ID, AppID: 1, MinDue: base + 1000},
			{LaneID: w.lane.ID, AppID: 2, MinDue: base + 2000}, {LaneID: other.ID, AppID: 1, MinDue: base + 3000}}))
		var got []int64
		for after := (task.BellAfter{}); ; {
			bells, err := w.s.DueBells(w.ctx, w.lane.ID, 1, task.StartBell, base+1000, after, 2)
			w.must(err)
			if len(bells) == 0 {
				break
			}
			got = append(got, bellIDs(bells)...)
			after = task.BellAfter{DueAt: bells[len(bells)-1].DueAt, ID: got[len(got)-1]}
		}
		want(t, "due bells", fmt.Sprint(got), fmt.Sprint(bellIDs(a)))
		ahead, err := w.s.LookAhead(w.ctx, task.ShardOf(w.lane.ID), base+1000, base+2500, 10)
		w.must(err)
		want(t, "ahead", fmt.Sprint(ahead[0].ID, len(ahead), ahead[0].TaskIDs, ahead[0].Direct), fmt.Sprint(b[0].ID, 1, b[0].TaskIDs, b[0].Direct))
		w.must2(w.s.Cancel(w.ctx, 0, c[0].TaskIDs[0]))
		rungs, err := w.s.Rungs(w.ctx, []task.Bell{c[0], a[0]})
		w.must(err)
		want(t, "items of the cancelled", len(rungs[0].Items), 0)
		want(t, "items", len(rungs[1].Items), len(a[0].TaskIDs))
		item := rungs[1].Items[0]
		want(t, "item", fmt.Sprint(item.ID, item.KindID, item.TimeoutMs, item.ExpiresAt), fmt.Sprint(a[0].TaskIDs[0], w.kinds[0], 1000, base+3_601_000))
		if _, err := task.DecodeBody(item.Body); err != nil {
			t.Error(err)
		}
		big, _ := w.submit(1, nil)
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE payloads SET body=x'%s' WHERE id=%d", fmt.Sprintf("%0*x", 2*5000, 1), big[0])))
		rungs, err = w.s.Rungs(w.ctx, []task.Bell{{ID: w.row(big[0]).holder, TaskIDs: big}})
		w.must(err)
		want(t, "large body in a message", len(rungs[0].Items[0].Body), 0)
		loaded, err := w.s.Load(w.ctx, []int64{big[0], 31337})
		w.must(err)
		want(t, "loaded", len(loaded), 1)
		want(t, "large body loaded", len(loaded[0].Body), 5000)
		want(t, "its lane", loaded[0].LaneID, w.lane.ID)
	})
}
