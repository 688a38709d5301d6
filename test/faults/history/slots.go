package history

import "slices"

// slots checks that each slot of a schedule that had to fire has one row and one task, and that each task of a schedule has a slot.
func (c *checker) slots() {
	type slotKey struct{ schedule, origin, at int64 }
	owner := map[int64]slotKey{} // task → slot
	rows := map[slotKey]int{}
	bySchedule := map[int64][]Slot{}
	for _, s := range c.h.End.Slots {
		k := slotKey{s.Schedule, s.Origin, s.At}
		if rows[k]++; rows[k] > 1 {
			c.violate(RuleSlot, s.Task, "slot %d of schedule %d has %d rows", s.At, s.Schedule, rows[k])
		}
		if s.Origin == 0 {
			bySchedule[s.Schedule] = append(bySchedule[s.Schedule], s)
		}
		if s.Task == 0 {
			continue
		}
		if other, taken := owner[s.Task]; taken {
			c.violate(RuleSlot, s.Task, "is the task of slot %d of schedule %d and of slot %d", s.At, s.Schedule, other.at)
		}
		owner[s.Task] = k
		if r := c.rows[s.Task]; r == nil || r.Schedule != s.Schedule || r.Slot != s.At {
			c.violate(RuleSlot, s.Task, "is named by slot %d of schedule %d and is not of it", s.At, s.Schedule)
		}
	}
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		if r.Schedule == 0 {
			continue
		}
		if c.takenBack(r) {
			continue
		}
		if k, ok := owner[r.ID]; !ok || k.schedule != r.Schedule || k.at != r.Slot {
			c.violate(RuleSlot, r.ID, "was made by slot %d of schedule %d, which does not name it", r.Slot, r.Schedule)
		}
	}
	for _, s := range c.h.End.Schedules {
		c.complete(s, bySchedule[s.ID])
	}
}

// complete checks that each slot is one of its schedule, that none between From and To is missing and that each of those has fired.
func (c *checker) complete(s Schedule, list []Slot) {
	slices.SortFunc(list, func(a, b Slot) int { return int(a.At - b.At) })
	next := s.From
	for _, slot := range list {
		if (slot.At-s.Anchor)%s.EveryMs != 0 {
			c.violate(RuleSlot, slot.Task, "slot %d is none of schedule %d", slot.At, s.ID)
		}
		if slot.At < s.From || next > s.To {
			continue
		}
		if slot.At > next {
			c.violate(RuleSlot, 0, "schedule %d has no slot from %d to %d", s.ID, next, slot.At-s.EveryMs)
		}
		if slot.Outcome != "fired" || slot.Task == 0 {
			c.violate(RuleSlot, slot.Task, "slot %d of schedule %d is %s", slot.At, s.ID, slot.Outcome)
		}
		next = max(slot.At, slot.Last) + s.EveryMs
	}
	if next <= s.To {
		c.violate(RuleSlot, 0, "schedule %d has no slot from %d to %d", s.ID, next, s.To)
	}
}

// takenBack reports whether a task was made ahead of its slot and cancelled when its schedule was paused: the slot goes with it.
func (c *checker) takenBack(r *Row) bool {
	if r.State != "cancelled" || r.Reason != "by_schedule" || r.Epoch != 0 {
		return false
	}
	return slices.ContainsFunc(c.h.End.Schedules, func(s Schedule) bool { return s.ID == r.Schedule && r.Slot > s.To })
}
