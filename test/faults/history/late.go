package history

import "time"

// late counts effects that began after a later epoch was claimed, or after a cancel was confirmed. Both witnesses have clocks of
// their own: what is late for certain needs a fault that stopped, cut off or delayed its worker; what is late only within the
// error of the clocks is counted apart.
func (c *checker) late() {
	cancelled := c.confirmed()
	for id, list := range c.effect {
		r := c.rows[id]
		if r == nil {
			continue
		}
		for _, e := range list {
			if c.overtaken(r, e) {
				continue
			}
			if t, ok := cancelled[id]; ok && e.Epoch <= t.epoch {
				c.behind(r, e, span{t.at, t.at}, "its cancel was confirmed")
			}
		}
	}
}

// confirmation is the first answer that showed a task as cancelled, and the epoch it had then.
type confirmation struct {
	at    time.Duration
	epoch int
}

// confirmed gives the first confirmation of the last cancel of each task.
func (c *checker) confirmed() map[int64]confirmation {
	first := map[int64]confirmation{}
	for id, list := range c.looks() {
		for i := range list {
			it := list[i].it
			was, ok := first[id]
			if it.State == "cancelled" && (!ok || it.Epoch > was.epoch) {
				first[id] = confirmation{list[i].answer, it.Epoch}
			}
		}
	}
	return first
}

// overtaken looks whether a later epoch was claimed before an effect began.
func (c *checker) overtaken(r *Row, e *Effect) bool {
	for next := e.Epoch + 1; next <= r.Epoch; next++ {
		ms, _, ok := c.claimed(r, next)
		if !ok {
			continue
		}
		return c.behind(r, e, c.clock.of(ms), "a later epoch was claimed")
	}
	return false
}

// behind counts an effect that began after a moment that ended its right to begin, and reports whether it may have.
func (c *checker) behind(r *Row, e *Effect, end span, why string) bool {
	surely := e.Began-c.clock.lag(e.Began) > end.hi || e.Stale || e.Cancelled
	switch {
	case e.Began <= end.lo && !surely:
		return false
	case !surely:
		c.report.Unsure++
		return true
	}
	if e.Status == 409 {
		c.report.Refused++
	}
	c.report.Late++
	ms, worker, ok := c.claimed(r, e.Epoch)
	var f *Fault
	if ok {
		f = c.faults.late(worker, span{c.clock.of(ms).lo, e.Began})
	}
	if f == nil {
		c.violate(RuleLate, r.ID, "its effect of epoch %d began %v after %s, and no fault had stopped, cut off or delayed its worker", e.Epoch, short(e.Began-end.hi), why)
		return true
	}
	c.lateBy = append(c.lateBy, f.N)
	return true
}

// early checks that nothing starts before its time or after it has expired.
func (c *checker) early() {
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		want := c.wants[r.Tag]
		if want != nil && want.DelayMs > 0 && !c.pulledForward(r.ID) {
			due := c.clock.of(r.Created + want.DelayMs)
			for _, e := range c.effect[r.ID] {
				if e.Began < due.lo {
					c.violate(RuleEarly, r.ID, "its effect of epoch %d began %v before it was due", e.Epoch, short(due.lo-e.Began))
				}
			}
		}
		first, _, ok := c.claimed(r, 1)
		if ok && r.Expires != 0 && first >= r.Expires && c.clock.of(first).lo > c.clock.of(r.Expires).hi {
			c.violate(RuleEarly, r.ID, "was claimed %d ms after it had expired", first-r.Expires)
		}
	}
}

// pulledForward reports whether somebody may have asked to run a task at once, or again.
func (c *checker) pulledForward(id int64) bool {
	for _, o := range c.about[id] {
		if o.Kind == OpRunNow && (o.Done() || o.Unknown()) {
			return true
		}
	}
	return c.reopened[id] > 0
}
