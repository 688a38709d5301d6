package sqldb_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// lostAnswer loses the answer of the next transaction; meanwhile comes before that is looked up.
type lostAnswer struct {
	armed     bool
	meanwhile func()
}

func (l *lostAnswer) Before() {}

func (l *lostAnswer) After(err error) error {
	if !l.armed || err != nil {
		return err
	}
	l.armed = false
	l.meanwhile()
	return fmt.Errorf("%w: planned", task.ErrOutcomeUnknown)
}

// A claim is committed, its answer is lost, and before that is looked up a scheduler, which had declared the worker dead, rescues
// its tasks. The look-up finds no claim, so it is claimed again: under ids of its own, or attempts of two tasks have one id, and
// the second can never be released (found by internal/modelcheck).
func TestClaimThatWasTakenBackBeforeItsLookUp(t *testing.T) {
	eachWorld(t, func(w *world) {
		_, bells := w.submit(2, nil)
		l := &lostAnswer{armed: true, meanwhile: func() {
			claims, err := w.s.OrphanClaims(w.ctx, 10)
			w.must(err)
			want(t, "orphans", len(claims), 1)
			_, err = w.s.Release(w.ctx, claims[0], nil, task.CauseLost)
			w.must(err)
		}}
		w.must(w.s.RetireWorker(w.ctx, w.worker))
		w.s.Observe(l)
		c := w.claim(1, bellIDs(bells)...)
		want(t, "lost", l.armed, false)
		want(t, "won", len(c.Tasks), 1)
		want(t, "attempts of one id", w.count("SELECT COUNT(*) FROM attempts WHERE id=?", c.Tasks[0].AttemptID), 0)
		_, err := w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)
		w.must(err)
		want(t, "claims", w.count("SELECT COUNT(*) FROM claims"), 0)
		want(t, "running", w.count("SELECT COUNT(*) FROM tasks WHERE state=3"), 0)
	})
}

// takenBack loses the answer of every claim, whose tasks are taken back before that is looked up.
type takenBack struct {
	w     *world
	inner bool
	after func(times int)
	times int
}

func (l *takenBack) Before() {}

func (l *takenBack) After(err error) error {
	if l.inner || err != nil {
		return err
	}
	l.inner = true
	defer func() { l.inner = false }()
	claims, err := l.w.s.OrphanClaims(l.w.ctx, 10)
	l.w.must(err)
	want(l.w.t, "orphans", len(claims), 1)
	l.w.must2(l.w.s.Release(l.w.ctx, claims[0], nil, task.CauseLost))
	if l.times++; l.after != nil {
		l.after(l.times)
	}
	return fmt.Errorf("%w: planned", task.ErrOutcomeUnknown)
}

// TestAnUnknownClaimNamesTheLastOne: a worker that never hears what became of its claim hands back the one that it is told of. So it
// is told of the last that was tried, also when there are no ids for another.
func TestAnUnknownClaimNamesTheLastOne(t *testing.T) {
	eachWorld(t, func(w *world) {
		w.must(w.s.RetireWorker(w.ctx, w.worker))
		for _, c := range []struct {
			name  string
			runs  int
			after func(int)
		}{
			{"every answer is lost", 3, nil},
			{"no ids", 1, func(int) {
				w.must(w.s.Exec(w.ctx, "UPDATE ids SET name='away' WHERE name='run'"))
				w.s.DropRunIDs()
			}},
		} {
			_, bells := w.submit(5, nil)
			l := &takenBack{w: w, after: c.after}
			w.s.Observe(l)
			w.s.SetPatience(100 * time.Millisecond)
			got, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 1})
			w.s.Observe(nil)
			if !errors.Is(err, task.ErrOutcomeUnknown) {
				t.Fatalf("%s: %v", c.name, err)
			}
			want(t, c.name+": runs", l.times, c.runs)
			want(t, c.name+": claim", got.ClaimID, w.count("SELECT MAX(id) FROM attempts"))
		}
	})
}
