package history

import "time"

// effects checks each call that the sink saw against the attempts that there are.
func (c *checker) effects() {
	for id, list := range c.effect {
		r := c.rows[id]
		if r == nil {
			c.violate(RuleEffect, id, "called the sink and is not there")
			continue
		}
		epochs := map[int]bool{}
		for _, e := range list {
			c.effectOfRow(r, e, epochs)
			epochs[e.Epoch] = true
		}
		c.fence(id, list)
	}
}

func (c *checker) effectOfRow(r *Row, e *Effect, before map[int]bool) {
	if before[e.Epoch] {
		c.violate(RuleEffect, r.ID, "called the sink twice in epoch %d", e.Epoch)
	}
	if e.Epoch < 1 || e.Epoch > r.Epoch {
		c.violate(RuleEffect, r.ID, "called the sink in epoch %d; it was claimed %d times", e.Epoch, r.Epoch)
		return
	}
	id := r.Attempt
	if a := c.attemptOf(r.ID, e.Epoch); a != nil {
		id = a.ID
	} else if e.Epoch != r.Epoch {
		return // epochs says that the attempt is missing
	}
	if id != e.Attempt {
		c.violate(RuleEffect, r.ID, "called the sink in epoch %d as attempt %d; that epoch is attempt %d", e.Epoch, e.Attempt, id)
	}
	if e.Tag != r.Tag {
		c.violate(RuleEffect, r.ID, "called the sink with the payload of %q", e.Tag)
	}
	if ms, _, ok := c.claimed(r, e.Epoch); ok && c.clock.of(ms).lo > e.Began {
		c.violate(RuleEffect, r.ID, "called the sink at %v in epoch %d, which was not claimed before %v", short(e.Began), e.Epoch, short(c.clock.of(ms).lo))
	}
}

// fence checks what the sink says of staleness against what it had seen, and that it refused what it could.
func (c *checker) fence(id int64, list []*Effect) {
	highest := 0
	for _, e := range list {
		if stale := e.Epoch < highest; stale != e.Stale {
			c.violate(RuleWitness, id, "the sink took the call of epoch %d for stale: %v; it had seen epoch %d", e.Epoch, e.Stale, highest)
		}
		if c.h.Fenced && (e.Stale || e.Cancelled) && e.Status != 409 && e.Status != 0 {
			c.violate(RuleFence, id, "the sink let a stale call of epoch %d happen", e.Epoch)
		}
		highest = max(highest, e.Epoch)
	}
}

// attempts checks that each attempt that ended badly did so because the sink said so, because it took longer than it may, because
// somebody cancelled it, or because a fault hit its worker or its call at that time.
func (c *checker) attempts() {
	for i := range c.h.End.Attempts {
		a := &c.h.End.Attempts[i]
		r := c.rows[a.Task]
		if r == nil || a.Outcome == "succeeded" || a.Outcome == "snoozed" {
			continue
		}
		if a.Outcome == "cancelled" {
			if !c.cancelAsked(r) {
				c.violate(RuleAttempt, a.Task, "epoch %d was cancelled, and nobody asked for it", a.Epoch)
			}
			continue
		}
		if c.byPolicy(r, a) || c.faultOf(a) != nil {
			continue
		}
		c.violate(RuleAttempt, a.Task, "epoch %d ended %s (%s), which neither the sink nor a fault explains", a.Epoch, a.Outcome, a.Code)
	}
}

// byPolicy reports whether an attempt ended as the task's plan wanted: the sink refused the call, or held it for longer than the
// attempt may take, or took it over and nobody completed it as well as planned.
func (c *checker) byPolicy(r *Row, a *Attempt) bool {
	if a.Outcome == "snoozed" {
		return true
	}
	e := c.effectOf(a.Task, a.Epoch)
	if e == nil {
		return false
	}
	want := c.wants[r.Tag]
	switch a.Outcome {
	case "failed":
		return e.Status >= 400 && e.Status != 409 || e.Status == 202 && want != nil && want.Plan.Fail != 0
	case "timed_out":
		return want != nil && want.TimeoutMs > 0 && want.Plan.Hold >= time.Duration(want.TimeoutMs)*time.Millisecond
	case "cancelled":
		return true
	}
	return false
}

// faultOf finds the fault that explains why an attempt did not end by itself: one that touched its worker while it ran (its own way to
// the sink is part of it), or, for one that was taken over, the way of its completion.
func (c *checker) faultOf(a *Attempt) *Fault {
	ran := c.ran(a)
	if f := c.faults.worker(a.Worker, ran); f != nil {
		return f
	}
	if e := c.effectOf(a.Task, a.Epoch); e != nil && e.Status == 202 && (a.Outcome == "failed" || a.Outcome == "timed_out") {
		return c.faults.part(ran, oneTry, PartAPI, PartDatabase)
	}
	return nil
}

// ran is when an attempt was under way.
func (c *checker) ran(a *Attempt) span {
	return span{c.clock.of(a.Started).lo, c.clock.of(a.Finished).hi}
}

// duplicates explains each effect that came again in a later epoch.
func (c *checker) duplicates() {
	for id, list := range c.effect {
		r := c.rows[id]
		if r == nil || len(list) < 2 {
			continue
		}
		asked := map[int]bool{} // epochs that an explicit retry explains
		for i, e := range list[1:] {
			was := list[i]
			if e.Epoch == was.Epoch {
				continue // effects has said so
			}
			c.duplicate(r, min(was.Epoch, e.Epoch), max(was.Epoch, e.Epoch), asked)
		}
	}
}

// duplicate explains one. Each explicit retry explains one epoch.
func (c *checker) duplicate(r *Row, epoch, later int, asked map[int]bool) {
	d := Duplicate{Task: r.ID, Epoch: epoch, Later: later, By: ByNothing}
	a := c.attemptOf(r.ID, epoch)
	again := asked[epoch] || len(asked) < c.reopened[r.ID]
	switch {
	case a == nil:
	case c.byPolicy(r, a):
		d.By = ByPolicy
	case (a.Outcome == "succeeded" || a.Outcome == "cancelled") && again:
		d.By = ByRetry
	default:
		if f := c.faultOf(a); f != nil {
			d.By, d.Fault = ByFault, f.N
		} else if again {
			d.By = ByRetry
		}
	}
	if d.By == ByRetry {
		asked[epoch] = true
	}
	if d.By == ByNothing {
		c.violate(RuleDuplicate, r.ID, "its effect of epoch %d came again in epoch %d, which nothing explains", epoch, later)
	}
	c.report.Duplicates = append(c.report.Duplicates, d)
}
