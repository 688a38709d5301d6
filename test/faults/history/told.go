package history

// told checks that each final state of a task with a completion URL was announced once, and that what was announced reached the
// sink. A delivery is itself a task: it may be repeated like any other.
func (c *checker) told() {
	deliveries := map[int64][]*Row{} // by the task that they tell of
	for i := range c.h.End.Tasks {
		if r := &c.h.End.Tasks[i]; r.Tells != 0 {
			deliveries[r.Tells] = append(deliveries[r.Tells], r)
		}
	}
	reached := map[int64]Told{}
	for _, t := range c.h.End.Told {
		reached[t.By] = t
	}
	for tag, want := range c.wants {
		if !want.Completion {
			continue
		}
		for _, r := range c.tagged[tag] {
			c.announced(r, deliveries[r.ID], reached)
			delete(deliveries, r.ID)
		}
	}
	for id, list := range deliveries {
		c.violate(RuleTold, id, "asked for no completion and was told %d times", len(list))
	}
}

func (c *checker) announced(r *Row, list []*Row, reached map[int64]Told) {
	if want := 1 + c.reopened[r.ID]; final(r.State) && len(list) > want {
		c.violate(RuleDouble, r.ID, "became final %d times and was told %d times", want, len(list))
	} else if final(r.State) && len(list) < want {
		c.violate(RuleTold, r.ID, "became final %d times and was told %d times", want, len(list))
	}
	same := false
	for _, d := range list {
		same = same || d.TellsState == r.State
		t, ok := reached[d.ID]
		switch {
		case d.State != "succeeded":
			c.violate(RuleTold, r.ID, "delivery %d of its end is %s", d.ID, d.State)
		case !ok:
			c.violate(RuleTold, r.ID, "delivery %d of its end never reached the sink", d.ID)
		case t.Task != r.ID || t.State != d.TellsState:
			c.violate(RuleTold, r.ID, "delivery %d told the end %q of task %d", d.ID, t.State, t.Task)
		}
	}
	if final(r.State) && len(list) > 0 && !same {
		c.violate(RuleTold, r.ID, "is %s, of which nobody was told", r.State)
	}
}

// left checks that nothing is left over.
func (c *checker) left() {
	l := &c.h.End.Left
	for _, b := range l.Bells {
		c.violate(RuleLeft, 0, "bell %d is due and still there", b)
	}
	for _, id := range l.Claims {
		c.violate(RuleLeft, 0, "claim %d is still there", id)
	}
	if l.Held > 0 {
		c.violate(RuleLeft, 0, "%d slots wait for runs that have ended", l.Held)
	}
	for _, s := range c.h.End.Stuck {
		c.violate(RuleLost, s.Task, "was %s at the deadline: %s %s %s", s.State, s.Verdict, s.Text, s.Rows)
	}
}
