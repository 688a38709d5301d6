package history

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// moved makes the schedule one of a run in which clocks were moved: which slots there must be is not known. Some are missing.
func moved(seed uint64) *History {
	h := legal(seed)
	h.End.Schedules[0].From, h.End.Schedules[0].To = 0, -1
	gone := h.End.Slots[2].Task
	drop(&h.End.Slots, func(s *Slot) bool { return s.Task == gone })
	row := pickRow(h, rand.New(rand.NewPCG(1, 1)), func(r *Row) bool { return r.ID == gone })
	for i := range h.End.Stats {
		if c := &h.End.Stats[i]; c.Queue == row.Queue {
			c.Submitted, c.Succeeded = c.Submitted-1, c.Succeeded-1
		}
	}
	drop(&h.End.Tasks, func(r *Row) bool { return r.ID == gone })
	drop(&h.Effects, func(e *Effect) bool { return e.Task == gone })
	return h
}

// Where clocks were moved a slot may be missing, and none may come twice.
func TestSlotsWhereClocksWereMoved(t *testing.T) {
	if r := Check(moved(1)); !r.OK() {
		t.Fatal(r.Summary(3))
	}
	for _, name := range []string{"a slot with two rows", "a slot with two tasks", "a slot that is none of its schedule"} {
		at := slices.IndexFunc(everything, func(p planted) bool { return p.name == name })
		for seed := range uint64(20) {
			h := moved(seed)
			everything[at].plant(h, rand.New(rand.NewPCG(seed, 29)))
			if r := Check(h); !slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Rule == RuleSlot }) {
				t.Fatalf("%s, seed %d: not found; found: %s", name, seed, r.Summary(3))
			}
		}
	}
}
