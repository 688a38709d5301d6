package sqldb_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// commitFault makes the answers to COMMITs get lost.
type commitFault struct {
	losing   atomic.Int32 // so many more COMMITs are answered by a broken connection
	happen   atomic.Bool  // and yet they happen
	blackout atomic.Int32 // so many statements after that fail; < 0: all
	lost     atomic.Int32
}

func (f *commitFault) hook(query string, _ func() ([][2]string, error), run func() error) error {
	if sqldb.IsCommit(query) && f.losing.Load() > 0 {
		f.losing.Add(-1)
		f.lost.Add(1)
		if f.happen.Load() {
			if err := run(); err != nil {
				return err
			}
		}
		return driver.ErrBadConn
	}
	if n := f.blackout.Load(); f.lost.Load() > 0 && n != 0 && !strings.HasPrefix(query, "SET SESSION") && query != "ROLLBACK" {
		if n > 0 {
			f.blackout.Add(-1)
		}
		return driver.ErrBadConn
	}
	return run()
}

func newFaulty(t *testing.T) (*world, *commitFault) {
	url := sqldbtest.URL(t, "mysql")
	w := newWorld(t, sqldbtest.Open(t, url))
	f := &commitFault{}
	sqldb.HookMySQL(t, w.s, url, f.hook)
	return w, f
}

// Whether the lost COMMIT happened or not, and also when the first look-ups fail, the caller hears the truth: what it is
// told to have won it holds, and what it is told to have committed is there once.
func TestUnknownCommitsAreLookedUp(t *testing.T) {
	for _, happen := range []bool{true, false} {
		for _, blackout := range []int32{0, 2} {
			t.Run(fmt.Sprintf("happened %v, %d look-ups fail", happen, blackout), func(t *testing.T) {
				w, f := newFaulty(t)
				lose := func() {
					f.lost.Store(0)
					f.happen.Store(happen)
					f.blackout.Store(blackout)
					f.losing.Store(1)
				}
				_, bells := w.submit(10, nil)
				lose()
				c := w.claim(10, bellIDs(bells)...)
				want(t, "won", len(c.Tasks), 10)
				want(t, "claims", w.count("SELECT COUNT(*) FROM claims WHERE id=?", c.ClaimID), 1)
				var ends []*task.Ending
				for i := range 8 {
					e := w.ending(c, i)
					if i%2 == 0 {
						e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, w.now()
					}
					ends = append(ends, e)
				}
				w.must2(w.s.Cancel(w.ctx, 1, ends[0].TaskID)) // so that the careful path runs too
				lose()
				retry := w.finish(ends)
				for i, e := range ends {
					states := []task.State{task.Cancelled, task.Succeeded, task.Waiting, task.Succeeded, task.Waiting, task.Succeeded, task.Waiting, task.Succeeded}
					want(t, fmt.Sprint("final ", i), e.Final, states[i])
					want(t, fmt.Sprint("fenced ", i), e.Fenced, false)
					want(t, fmt.Sprint("row ", i), w.row(e.TaskID).state, int64(states[i]))
				}
				want(t, "failures", w.row(ends[2].TaskID).failures, 1)
				want(t, "stats", w.count("SELECT SUM(succeeded) FROM stats"), 4)
				lose()
				w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost))
				want(t, "losses", w.row(c.Tasks[9].ID).losses, 1)
				want(t, "claims", w.count("SELECT COUNT(*) FROM claims"), 0)
				lose()
				again := w.claim(10, bellIDs(retry)...)
				want(t, "won again", len(again.Tasks), 3)
				lose()
				id, err := w.s.NewWorker(w.ctx, task.WorkerInfo{})
				w.must(err)
				want(t, "worker rows", w.count("SELECT COUNT(*) FROM workers WHERE id=?", id), 1)
				want(t, "lost answers", f.lost.Load(), 1)
			})
		}
	}
}

// While it stays unknown, nothing is guessed: the claim is named, and a finish may be given again.
func TestUnknownStaysUnknown(t *testing.T) {
	w, f := newFaulty(t)
	w.s.SetPatience(200 * time.Millisecond)
	_, bells := w.submit(2, nil)
	lose := func() {
		f.lost.Store(0)
		f.happen.Store(true)
		f.blackout.Store(-1)
		f.losing.Store(1)
	}
	lose()
	c, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 5, Kinds: w.kinds})
	f.blackout.Store(0)
	if !errors.Is(err, task.ErrOutcomeUnknown) || c.ClaimID == 0 || len(c.Tasks) != 0 {
		t.Fatalf("claim: %v, %+v", err, c)
	}
	claims, err := w.s.ClaimsOf(w.ctx, w.worker)
	w.must(err)
	if len(claims) != 1 || claims[0].ID != c.ClaimID {
		t.Fatalf("claims: %+v", claims)
	}
	back, err := w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)
	w.must(err)
	c = w.claim(5, bellIDs(back)...)
	ends := []*task.Ending{w.ending(c, 0), w.ending(c, 1)}
	lose()
	_, err = w.s.Finish(w.ctx, task.FinishBatch{WorkerID: w.worker, Endings: ends, Emptied: []int64{c.ClaimID}})
	f.blackout.Store(0)
	if !errors.Is(err, task.ErrOutcomeUnknown) {
		t.Fatalf("finish: %v", err)
	}
	w.finish(ends, c.ClaimID)
	want(t, "state", w.row(ends[0].TaskID).state, 4)
	want(t, "succeeded", w.count("SELECT SUM(succeeded) FROM stats"), 2)
}
