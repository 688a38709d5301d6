package sqldb_test

import (
	"fmt"
	"testing"

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
