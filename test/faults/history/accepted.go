package history

import (
	"slices"
	"time"
)

// accepted checks what clients were promised: what was answered 2xx is there and ends; what was refused, or sent by nobody, is
// not there; a key makes its tasks once.
func (c *checker) accepted() {
	answered := map[int64]bool{}
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		switch o.Kind {
		case OpSubmit, OpBatch, OpReplay:
			c.promised(o, answered)
		case OpMisuse:
			if o.Done() {
				c.violate(RuleIdempotency, o.Items[0].Task, "op %d used key %q for another request and was answered %d", o.N, o.Key, o.Status)
			}
		}
	}
	c.report.Tasks = len(answered)
	c.sameAnswers()
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		c.submitted(r, answered)
		if !final(r.State) {
			c.violate(RuleLost, r.ID, "is not final but %s", r.State)
		}
	}
	for tag, rows := range c.tagged {
		for _, r := range rows[1:] {
			c.violate(RuleIdempotency, r.ID, "%q was submitted once and is there %d times, first as %d", tag, len(rows), rows[0].ID)
		}
	}
	c.report.Lost = len(c.lost)
}

// promised checks the rows of one answer.
func (c *checker) promised(o *Op, answered map[int64]bool) {
	if !o.Done() {
		return
	}
	if len(o.Items) != len(o.Wants) {
		c.violate(RuleLost, 0, "op %d asked for %d tasks and was answered %d", o.N, len(o.Wants), len(o.Items))
		return
	}
	for i := range o.Items {
		it, want := &o.Items[i], &o.Wants[i]
		if it.Task == 0 {
			continue
		}
		answered[it.Task] = true
		r := c.rows[it.Task]
		switch {
		case r == nil:
			c.violate(RuleLost, it.Task, "op %d was answered %d for %q and there is no such task", o.N, o.Status, want.Tag)
		case it.Kept:
			if want.Unique == nil || r.UniqueKey != want.Unique.Key {
				c.violate(RuleUnique, it.Task, "op %d was given a task that has not its unique key", o.N)
			}
		case r.Tag != want.Tag || r.Queue != want.Queue || r.Kind != want.Kind || r.Priority != want.Priority:
			c.violate(RuleLost, it.Task, "op %d asked for %q (%s in %s, %s) and was given another task", o.N, want.Tag, want.Kind, want.Queue, want.Priority)
		}
	}
}

// sameAnswers checks that a key is answered the same tasks each time.
func (c *checker) sameAnswers() {
	first := map[string]*Op{}
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		if o.Key == "" || !o.Done() || len(o.Wants) == 0 || o.Kind == OpMisuse {
			continue
		}
		was := first[o.Key]
		if was == nil {
			first[o.Key] = o
			continue
		}
		for j := range min(len(o.Items), len(was.Items)) {
			if a, b := was.Items[j].Task, o.Items[j].Task; a != b && a != 0 && !was.Items[j].Kept {
				c.violate(RuleIdempotency, a, "key %q was answered task %d by op %d and task %d by op %d", o.Key, a, was.N, b, o.N)
			}
		}
	}
}

// submitted checks that somebody asked for a row.
func (c *checker) submitted(r *Row, answered map[int64]bool) {
	if r.Kind == completionKind || r.Schedule != 0 {
		return // see told and slots
	}
	o := c.made[r.Tag]
	switch {
	case o == nil:
		c.violate(RulePhantom, r.ID, "nobody submitted it")
	case answered[r.ID]:
	case o.Done():
		if !c.refusedItem(o, r.Tag) {
			return // another task was answered for it: promised has said so
		}
		c.violate(RulePhantom, r.ID, "op %d was refused for %q and yet it is there", o.N, r.Tag)
	case !o.Unknown():
		c.violate(RulePhantom, r.ID, "op %d was refused with %d %s and yet it is there", o.N, o.Status, o.Code)
	default:
		c.report.Found++
	}
}

func (c *checker) refusedItem(o *Op, tag string) bool {
	i := slices.IndexFunc(o.Wants, func(w Want) bool { return w.Tag == tag })
	return i < len(o.Items) && (o.Items[i].Task == 0 || o.Items[i].Kept)
}

// answers checks that calls fail near faults only, and are refused only where a client had to expect it.
func (c *checker) answers() {
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		for _, t := range o.Failed {
			if t.Status == 500 {
				c.violate(RuleAnswer, o.Task, "op %d (%s) was answered 500 %s", o.N, o.Kind, t.Code)
				continue
			}
			during := span{t.Sent, t.Over}
			if c.faults.part(during, answersAgain, PartAPI, PartDatabase, PartDisk) == nil && c.faults.holds(during) == nil {
				c.violate(RuleAnswer, o.Task, "op %d (%s) failed without a fault that explains it, %v–%v: %d %s %s", o.N, o.Kind, short(t.Sent), short(t.Over), t.Status, t.Code, t.Err)
			}
		}
		c.refusals(o)
	}
}

// seen is a look at a task.
type seen struct {
	op           *Op
	it           *Item
	sent, answer time.Duration
}

// looks gives what clients saw of each task, by the time of the answer.
func (c *checker) looks() map[int64][]seen {
	all := map[int64][]seen{}
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		if !o.Done() {
			continue
		}
		for j := range o.Items {
			if it := &o.Items[j]; it.Task != 0 && it.State != "" {
				all[it.Task] = append(all[it.Task], seen{o, it, o.LastSent, o.Answered})
			}
		}
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b seen) int { return int(a.answer - b.answer) })
	}
	return all
}
