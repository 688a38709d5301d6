package history

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// damage changes one thing that a witness says, at random, and tells what.
func damage(h *History, r *rand.Rand) string {
	switch r.IntN(14) {
	case 0:
		i := r.IntN(len(h.End.Tasks))
		row := h.End.Tasks[i]
		h.End.Tasks = append(h.End.Tasks[:i], h.End.Tasks[i+1:]...)
		return fmt.Sprintf("row %+v is gone", row)
	case 1:
		row := &h.End.Tasks[r.IntN(len(h.End.Tasks))]
		was := row.State
		row.State = other(r, was, "succeeded", "failed", "cancelled", "waiting", "running")
		return fmt.Sprintf("row %d is %s, not %s", row.ID, row.State, was)
	case 2:
		row := pickRow(h, r, func(x *Row) bool { return x.Reason != "" })
		was := row.Reason
		row.Reason = other(r, was, "exhausted", "permanent", "expired", "lost", "replaced", "by_user")
		return fmt.Sprintf("row %d ended as %s, not %s", row.ID, row.Reason, was)
	case 3:
		row := &h.End.Tasks[r.IntN(len(h.End.Tasks))]
		row.Epoch += 1 - 2*r.IntN(2)
		return fmt.Sprintf("row %d has epoch %d", row.ID, row.Epoch)
	case 4:
		i := r.IntN(len(h.End.Attempts))
		a := h.End.Attempts[i]
		h.End.Attempts = append(h.End.Attempts[:i], h.End.Attempts[i+1:]...)
		return fmt.Sprintf("attempt %+v is gone", a)
	case 5:
		a := &h.End.Attempts[r.IntN(len(h.End.Attempts))]
		was := a.Outcome
		a.Outcome = other(r, was, "succeeded", "failed", "timed_out", "lost", "cancelled", "released")
		return fmt.Sprintf("attempt %d of task %d ended %s, not %s", a.Epoch, a.Task, a.Outcome, was)
	case 6:
		a := &h.End.Attempts[r.IntN(len(h.End.Attempts))]
		a.Epoch++
		return fmt.Sprintf("attempt %d of task %d is of epoch %d", a.ID, a.Task, a.Epoch)
	case 7:
		e := pick(r, h.Effects, func(e *Effect) bool { return e.Status >= 200 && e.Status <= 299 })
		gone := *e
		drop(&h.Effects, func(x *Effect) bool { return x.Call == gone.Call })
		return fmt.Sprintf("effect %+v is gone", gone)
	case 8:
		e := &h.Effects[r.IntN(len(h.Effects))]
		e.Epoch++
		return fmt.Sprintf("effect of task %d is of epoch %d", e.Task, e.Epoch)
	case 9:
		e := &h.Effects[r.IntN(len(h.Effects))]
		e.Began, e.Ended = e.Began-2*time.Second, e.Ended-2*time.Second
		return fmt.Sprintf("effect of task %d, epoch %d, came 2 s before", e.Task, e.Epoch)
	case 10:
		return counter(h, r)
	case 11:
		o := pick(r, h.Ops, func(o *Op) bool { return o.Done() && (o.Kind == OpSubmit || o.Kind == OpReplay) })
		o.Items[0].Task += 1 + r.Int64N(3)
		return fmt.Sprintf("op %d was answered task %d", o.N, o.Items[0].Task)
	case 12:
		s := &h.End.Slots[r.IntN(len(h.End.Slots))]
		s.Task++
		return fmt.Sprintf("slot %d has task %d", s.At, s.Task)
	}
	e := pick(r, h.Effects, func(e *Effect) bool { return e.Kind != completionKind })
	e.Call += 1000
	row := pickRow(h, r, func(x *Row) bool { return x.HasResult })
	row.ResultCall++
	return fmt.Sprintf("result of task %d is of call %d", row.ID, row.ResultCall)
}

func other(r *rand.Rand, was string, of ...string) string {
	for {
		if s := of[r.IntN(len(of))]; s != was {
			return s
		}
	}
}

// counter changes one of the counters that must be exact, by one.
func counter(h *History, r *rand.Rand) string {
	c := &h.End.Stats[r.IntN(len(h.End.Stats))]
	for _, n := range []*int64{&c.Submitted, &c.Succeeded, &c.Failed, &c.TimedOut, &c.Cancelled, &c.Lost} {
		if r.IntN(6) == 0 {
			*n += 1 - 2*r.Int64N(2)
			return fmt.Sprintf("counters of %s are %+v", c.Queue, *c)
		}
	}
	c.Submitted++
	return fmt.Sprintf("counters of %s are %+v", c.Queue, *c)
}

// Whatever a witness says otherwise, some rule finds it.
func TestDamagedHistoriesAreFound(t *testing.T) {
	for seed := range uint64(1500) {
		h := legal(seed % 150)
		what := damage(h, rand.New(rand.NewPCG(seed, 13)))
		if r := Check(h); r.OK() {
			t.Errorf("seed %d: not found: %s", seed, what)
		}
	}
}
