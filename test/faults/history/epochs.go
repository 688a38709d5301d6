package history

// keptSnoozed is how many postponed attempts of a task keep their rows.
const keptSnoozed = 50

// epochs checks that epochs count claims: each has one attempt, and the row agrees with the newest.
func (c *checker) epochs() {
	ids := map[int64]int64{} // attempt id → task
	for i := range c.h.End.Attempts {
		a := &c.h.End.Attempts[i]
		r := c.rows[a.Task]
		switch {
		case r == nil:
			c.violate(RuleEpoch, a.Task, "has an attempt of epoch %d and no row", a.Epoch)
		case a.Epoch < 1 || a.Epoch > r.Epoch:
			c.violate(RuleEpoch, a.Task, "has an attempt of epoch %d; it was claimed %d times", a.Epoch, r.Epoch)
		case i > 0 && c.h.End.Attempts[i-1].Task == a.Task && c.h.End.Attempts[i-1].Epoch == a.Epoch:
			c.violate(RuleDouble, a.Task, "has two attempts of epoch %d", a.Epoch)
		}
		if other, taken := ids[a.ID]; taken {
			c.violate(RuleEpoch, a.Task, "attempt %d is also one of task %d", a.ID, other)
		}
		ids[a.ID] = a.Task
	}
	for i := range c.h.End.Tasks {
		c.epochsOf(&c.h.End.Tasks[i])
	}
}

func (c *checker) epochsOf(r *Row) {
	list := c.attempt[r.ID]
	plain := r.Epoch == 1 && r.State == "succeeded" && len(list) == 0 // lives in the row
	if e := c.effectOf(r.ID, 1); plain && e != nil && e.Status == 202 {
		plain = false // what was taken over has a row
	}
	if !plain {
		for e := 1; e <= r.Epoch; e++ {
			if c.attemptOf(r.ID, e) == nil && e > r.Epoch-keptSnoozed {
				c.violate(RuleEpoch, r.ID, "was claimed %d times and has no attempt of epoch %d", r.Epoch, e)
			}
		}
	}
	newest := c.attemptOf(r.ID, r.Epoch)
	if newest == nil || !final(r.State) {
		return
	}
	if newest.ID != r.Attempt || newest.Worker != r.Worker {
		c.violate(RuleEpoch, r.ID, "the row names attempt %d of worker %d, its newest attempt is %d of worker %d", r.Attempt, r.Worker, newest.ID, newest.Worker)
	}
	if (newest.Outcome == "succeeded") != (r.State == "succeeded") && !c.endedLater(r, newest) {
		c.violate(RuleEpoch, r.ID, "is %s, and its newest attempt %s", r.State, newest.Outcome)
	}
	c.budget(r, list)
}

// endedLater reports whether a task ended while it waited, after its newest attempt: it was re-opened, cancelled or expired then.
func (c *checker) endedLater(r *Row, a *Attempt) bool {
	return c.reopened[r.ID] > 0 && r.Finished >= a.Finished && (r.State == "cancelled" || r.Reason == "expired")
}

// budget checks what the row counts against its attempts. An explicit retry begins anew, so such tasks are left out.
func (c *checker) budget(r *Row, list []*Attempt) {
	if c.reopened[r.ID] > 0 || r.Epoch > keptSnoozed {
		return
	}
	failures, losses := 0, 0
	for _, a := range list {
		switch a.Outcome {
		case "failed", "timed_out":
			failures++
		case "lost":
			if losses++; losses > 3 {
				failures++
			}
		}
	}
	if r.Losses != losses {
		c.violate(RuleEpoch, r.ID, "counts %d losses, its attempts %d", r.Losses, losses)
	}
	// An attempt that failed when its cancel had been asked for does not count.
	if r.Failures != failures && (r.State != "cancelled" || r.Failures != failures-1) {
		c.violate(RuleEpoch, r.ID, "counts %d failures, its attempts %d", r.Failures, failures)
	}
	if most := r.RetryMax + 1; failures > most {
		c.violate(RuleOutcome, r.ID, "failed %d times; with %d retries it may %d times", failures, r.RetryMax, most)
	}
}

// results checks that a stored result is that of the epoch that succeeded, and of the call of that epoch.
func (c *checker) results() {
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		if r.State != "succeeded" {
			continue
		}
		e := c.effectOf(r.ID, r.Epoch)
		if e != nil && (e.Status == 200 || e.Status == 202) && (!r.HasResult || r.ResultCall == 0) {
			// The sink answers with the number of the call, and completes with it.
			c.violate(RuleDouble, r.ID, "succeeded in epoch %d by call %d, and its result names none", r.Epoch, e.Call)
			continue
		}
		if !r.HasResult || r.ResultCall == 0 {
			continue
		}
		if r.ResultEpoch != r.Epoch {
			c.violate(RuleDouble, r.ID, "succeeded in epoch %d with the result of epoch %d", r.Epoch, r.ResultEpoch)
		} else if e != nil && e.Call != r.ResultCall {
			c.violate(RuleDouble, r.ID, "succeeded with the result of call %d; its epoch %d made call %d", r.ResultCall, r.Epoch, e.Call)
		}
	}
	c.report.Double = len(c.doubled)
}
