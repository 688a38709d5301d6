//go:build faults

package sqldb_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// arm puts a rule at a point for the rest of the test and gives how often it has acted since.
func arm(t testing.TB, p failpoint.Point, r failpoint.Rule) (acted func() int64) {
	t.Helper()
	before := failpoint.Counts()[p.String()].Acted
	if err := failpoint.Set(p, r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { failpoint.Clear(p) })
	return func() int64 { return failpoint.Counts()[p.String()].Acted - before }
}

// cycle runs ten tasks from submit to finish, with the stage named between before and after, and checks that everything happened
// once.
func cycle(w *world, before, after func(stage string)) {
	w.t.Helper()
	rows := w.count("SELECT COUNT(*) FROM tasks")
	before("submit")
	ids, bells := w.submit(10, nil)
	after("submit")
	want(w.t, "rows", w.count("SELECT COUNT(*) FROM tasks")-rows, 10)
	before("claim")
	c := w.claim(10, bellIDs(bells)...)
	after("claim")
	want(w.t, "won", len(c.Tasks), 10)
	want(w.t, "claim rows", w.count("SELECT COUNT(*) FROM claims WHERE id=?", c.ClaimID), 1)
	ends := make([]*task.Ending, len(c.Tasks))
	for i := range ends {
		ends[i] = w.ending(c, i)
	}
	sum := w.count("SELECT SUM(succeeded) FROM stats")
	before("finish")
	w.finish(ends, c.ClaimID)
	after("finish")
	for i, id := range ids {
		want(w.t, "state", w.row(id).state, 4)
		want(w.t, "epoch", w.row(id).epoch, 1)
		want(w.t, "fenced", ends[i].Fenced, false)
	}
	want(w.t, "counted", w.count("SELECT SUM(succeeded) FROM stats")-sum, 10)
	want(w.t, "claims left", w.count("SELECT COUNT(*) FROM claims"), 0)
	want(w.t, "bells left", w.count("SELECT COUNT(*) FROM bells"), 0)
}

// The answer of a commit is lost: the commit is there, the store looks it up, and the caller is told the truth.
func TestFailpointAnswersAreLostAfterTheCommit(t *testing.T) {
	points := map[string]failpoint.Point{"submit": failpoint.SubmitAnswer, "claim": failpoint.ClaimAnswer, "finish": failpoint.FinishAnswer}
	eachWorld(t, func(w *world) {
		acted := map[string]func() int64{}
		cycle(w, func(stage string) {
			acted[stage] = arm(w.t, points[stage], failpoint.Rule{Action: failpoint.Fail, Times: 1})
		}, func(stage string) { want(w.t, stage+" answers lost", acted[stage](), 1) })
	})
}

// everyFault are those of statements and commits.
var everyFault = []string{"deadlock", "lock_wait", "busy", "lost_before", "lost_after"}

// Whatever a commit meets, it happens once.
func TestFailpointOfCommits(t *testing.T) {
	eachWorld(t, func(w *world) {
		for _, fault := range everyFault {
			acted := func() int64 { return 0 }
			cycle(w, func(string) {
				acted = arm(w.t, failpoint.DBCommit, failpoint.Rule{Action: failpoint.Fail, Error: fault, Times: 1})
			}, func(stage string) { want(w.t, fault+" "+stage+": commits failed", acted(), 1) })
		}
	})
}

// Any statement may fail: the caller is told, or it is done again; nothing is done by half.
func TestFailpointOfStatements(t *testing.T) {
	eachWorld(t, func(w *world) {
		for _, fault := range everyFault {
			for skip := range int64(6) {
				subs := w.subs(1, nil)
				acted := arm(w.t, failpoint.DBExec, failpoint.Rule{Action: failpoint.Fail, Error: fault, Skip: skip, Times: 1})
				_, err := w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Tasks: subs}})
				failpoint.Clear(failpoint.DBExec)
				stored := w.count("SELECT COUNT(*) FROM tasks WHERE id=?", subs[0].ID)
				switch {
				case err == nil:
					want(w.t, "stored", stored, 1)
					want(w.t, "bells", w.count("SELECT COUNT(*) FROM bells WHERE task_ids=?", fmt.Sprint(subs[0].ID)), 1)
				case task.KindOf(err) != task.Unavailable || errors.Is(err, task.ErrOutcomeUnknown) || acted() != 1:
					w.t.Fatalf("%s, skip %d: %v", fault, skip, err)
				default:
					want(w.t, "stored", stored, 0)
				}
			}
		}
	})
}

// The server itself says no, with the number that the fault stands for, and after a lock wait the transaction is still open with
// what came before: it must be rolled back, not gone on with.
func TestFailpointErrorsAreTheServers(t *testing.T) {
	eachWorld(t, func(w *world) {
		if !w.s.IsMySQL() {
			return // SQLite's own answer is asked of SQLite: TestFailpointOfCommits saw it repeated
		}
		for fault, number := range map[string]uint16{"deadlock": 1213, "lock_wait": 1205} {
			arm(w.t, failpoint.DBExec, failpoint.Rule{Action: failpoint.Fail, Error: fault, Times: 1})
			_, err := w.s.DB().ExecContext(w.ctx, "UPDATE tasks SET reason=0 WHERE id=0")
			var m *mysql.MySQLError
			if !errors.As(err, &m) || m.Number != number {
				t.Errorf("%s: %v", fault, err)
			}
		}
	})
}

// A block of ids whose answer is lost is never used; another one is taken, and nobody hears of it.
func TestFailpointIDsOfWhichNobodyHeard(t *testing.T) {
	eachWorld(t, func(w *world) {
		p := failpoint.DBExec
		if !w.s.IsMySQL() {
			p = failpoint.DBCommit
		}
		last := int64(0)
		for _, fault := range []string{"lost_before", "lost_after"} {
			acted := arm(w.t, p, failpoint.Rule{Action: failpoint.Fail, Error: fault, Times: 1})
			first, err := w.s.TaskIDs(w.ctx, 1000) // more than the block has
			if err != nil || first <= last || acted() != 1 {
				w.t.Errorf("%s: ids from %d after %d, %v, acted %d", fault, first, last, err, acted())
			}
			last = first + 999
			arm(w.t, p, failpoint.Rule{Action: failpoint.Fail, Error: fault})
			_, err = w.s.TaskIDs(w.ctx, 20_000)
			wantKind(w.t, err, task.Unavailable, "database_unavailable")
			if errors.Is(err, task.ErrOutcomeUnknown) {
				w.t.Errorf("%s: nothing was asked for of which the outcome could be unknown: %v", fault, err)
			}
		}
	})
}

// Inside the claim's transaction its rows are locked: whoever is stopped there keeps others waiting, and no longer than that.
func TestFailpointInsideTheClaim(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, bells := w.submit(1, nil)
		acted := arm(w.t, failpoint.ClaimTx, failpoint.Rule{Action: failpoint.Delay, DelayMs: 1500, Times: 1})
		claimed := make(chan int, 1)
		go func() { claimed <- len(w.claim(1, bellIDs(bells)...).Tasks) }()
		for acted() == 0 {
			<-time.After(time.Millisecond)
		}
		want(t, "state as others see it", w.row(ids[0]).state, 2)
		if w.s.IsMySQL() {
			_, err := w.s.DB().ExecContext(w.ctx, "SET STATEMENT innodb_lock_wait_timeout=0 FOR UPDATE tasks SET reason=1 WHERE id=?", ids[0])
			var m *mysql.MySQLError
			if !errors.As(err, &m) || m.Number != 1205 {
				t.Errorf("the row is not locked: %v", err)
			}
		}
		want(t, "won", <-claimed, 1)
		want(t, "state", w.row(ids[0]).state, 3)
	})
}

// The clock is off as this process reads it, and so is what statements compare with the database's own time.
func TestFailpointMovesTheClock(t *testing.T) {
	eachWorld(t, func(w *world) {
		granted, _, err := w.s.Lease(w.ctx, "shard/1", 1, time.Minute)
		w.must(err)
		want(t, "granted", granted, true)
		before := w.now()
		arm(w.t, failpoint.DBClock, failpoint.Rule{Action: failpoint.Offset, DelayMs: 3_600_000})
		w.must(w.s.Clock().Sync(w.ctx))
		if ahead := w.now() - before; ahead < 3_599_000 || ahead > 3_660_000 {
			t.Errorf("the clock is ahead by %d ms", ahead)
		}
		owners, err := w.s.LeaseOwners(w.ctx)
		w.must(err)
		want(t, "owner of a lease that is over", owners["shard/1"], 0)
		failpoint.Clear(failpoint.DBClock)
		w.must(w.s.Clock().Sync(w.ctx))
		if off := w.now() - before; off < 0 || off > 60_000 {
			t.Errorf("the clock is off by %d ms afterwards", off)
		}
	})
}
