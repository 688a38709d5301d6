package history

import "time"

// finals checks that nothing but an explicit retry leaves a final state, in what clients saw meanwhile and in the end.
func (c *checker) finals() {
	for id, list := range c.looks() {
		for i := range list {
			was := &list[i]
			if !final(was.it.State) {
				continue
			}
			// The next looks that were asked for after this answer.
			for j := i + 1; j < len(list); j++ {
				now := &list[j]
				if now.sent < was.answer {
					continue
				}
				c.stays(id, was, now.it.State, now.answer)
				if now.it.Epoch < was.it.Epoch {
					c.violate(RuleEpoch, id, "op %d saw epoch %d, op %d later %d", was.op.N, was.it.Epoch, now.op.N, now.it.Epoch)
				}
				break
			}
		}
		c.last(id, list)
	}
}

// stays checks that a task seen in a final state is in the same one later, unless somebody may have re-opened it since.
func (c *checker) stays(id int64, was *seen, state string, at time.Duration) {
	if state == was.it.State || c.mayReopen(id, was.sent, at) {
		return
	}
	rule := RuleFinal
	if final(state) {
		rule = RuleDouble
	}
	c.violate(rule, id, "seen %s by op %d at %v, later it is %s, and nobody asked for a retry", was.it.State, was.op.N, short(was.answer), state)
}

// last compares the row with the last look.
func (c *checker) last(id int64, list []seen) {
	r := c.rows[id]
	if r == nil || len(list) == 0 {
		return
	}
	l := &list[len(list)-1]
	if final(l.it.State) {
		c.stays(id, l, r.State, 1<<62)
	}
	if r.Epoch < l.it.Epoch {
		c.violate(RuleEpoch, id, "op %d saw epoch %d and the row has %d", l.op.N, l.it.Epoch, r.Epoch)
	}
}

// mayReopen reports whether a retry of the task may have been carried out between two times.
func (c *checker) mayReopen(id int64, from, to time.Duration) bool {
	for _, o := range c.about[id] {
		if o.Kind == OpRetry && (o.Done() || o.Unknown()) && o.Sent <= to && o.Answered >= from {
			return true
		}
	}
	return false
}

// retries compares the audit trail's count of explicit retries with what clients asked for.
func (c *checker) retries() {
	for id, list := range c.about {
		least, most := 0, 0
		for _, o := range list {
			if o.Kind != OpRetry {
				continue
			}
			if o.Done() {
				least, most = least+1, most+1
			}
			most += o.Maybe
		}
		if n := c.reopened[id]; n < least || n > most {
			c.violate(RuleRetry, id, "clients were answered %d explicit retries, and at most %d can have happened; the audit trail has %d", least, most, n)
		}
	}
	for id, n := range c.reopened {
		if _, ok := c.about[id]; !ok && n > 0 {
			c.violate(RuleRetry, id, "was re-opened %d times and nobody asked for it", n)
		}
	}
}

// outcomes checks that each final state is the one that the calls, the clients and the limits of the task led to.
func (c *checker) outcomes() {
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		switch r.State {
		case "succeeded":
			c.hasSucceeded(r)
		case "failed":
			c.hasFailed(r)
		case "cancelled":
			c.wasCancelled(r)
		}
	}
}

func (c *checker) hasSucceeded(r *Row) {
	if r.Reason != "" {
		c.violate(RuleOutcome, r.ID, "succeeded, with the reason %q", r.Reason)
	}
	if !calls(r.Kind) {
		return
	}
	e := c.effectOf(r.ID, r.Epoch)
	switch {
	case e == nil:
		c.violate(RuleOutcome, r.ID, "succeeded in epoch %d, and the sink saw no call of it", r.Epoch)
	case e.Status < 200 || e.Status > 299:
		c.violate(RuleOutcome, r.ID, "succeeded in epoch %d, whose call was answered %d", r.Epoch, e.Status)
	case e.Status == 202 && !c.completed(r.ID, r.Epoch):
		c.violate(RuleOutcome, r.ID, "succeeded in epoch %d, which was taken over and which nobody completed", r.Epoch)
	}
}

// completed reports whether a client may have completed an epoch.
func (c *checker) completed(id int64, epoch int) bool {
	for _, o := range c.about[id] {
		if o.Kind == OpComplete && o.Epoch == epoch && (o.Done() || o.Unknown()) {
			return true
		}
	}
	return false
}

func (c *checker) hasFailed(r *Row) {
	a := c.attemptOf(r.ID, r.Epoch)
	switch r.Reason {
	case "exhausted":
		if r.Failures <= r.RetryMax {
			c.violate(RuleOutcome, r.ID, "failed as exhausted after %d failures; %d retries are allowed", r.Failures, r.RetryMax)
		}
	case "permanent":
		if a == nil || a.Outcome != "failed" || a.HTTPStatus < 400 || a.HTTPStatus > 499 {
			c.violate(RuleOutcome, r.ID, "failed as permanent, and the sink did not answer its last attempt 4xx")
		}
	case "expired":
		if r.Expires == 0 && c.reopened[r.ID] == 0 {
			c.violate(RuleOutcome, r.ID, "failed as expired and has no expiry")
		} else if r.Finished < r.Expires && r.Epoch == 0 {
			c.violate(RuleOutcome, r.ID, "failed as expired %d ms before it expires", r.Expires-r.Finished)
		}
	case "lost":
		if r.Losses <= 3 {
			c.violate(RuleOutcome, r.ID, "failed as lost after %d losses; three count nothing", r.Losses)
		}
	default:
		c.violate(RuleOutcome, r.ID, "failed, with the reason %q", r.Reason)
	}
}

func (c *checker) wasCancelled(r *Row) {
	switch r.Reason {
	case "by_user":
		if !c.cancelAsked(r) {
			c.violate(RuleOutcome, r.ID, "was cancelled, and nobody asked for it")
		}
	case "replaced":
		if r.UniqueKey == "" {
			c.violate(RuleOutcome, r.ID, "was replaced and has no unique key")
		}
	case "by_schedule":
		if r.Schedule == 0 {
			c.violate(RuleOutcome, r.ID, "was cancelled by its schedule and has none")
		}
	default:
		c.violate(RuleOutcome, r.ID, "was cancelled, with the reason %q", r.Reason)
	}
}

// cancelAsked reports whether somebody may have asked for the end of a task: a client, or its schedule.
func (c *checker) cancelAsked(r *Row) bool {
	for _, o := range c.about[r.ID] {
		if o.Kind == OpCancel && (o.Done() || o.Unknown()) {
			return true
		}
	}
	return r.Reason == "by_schedule"
}
