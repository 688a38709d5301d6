package history

// tally is what the history says of a queue: what the counters must show. Where a witness cannot tell, both ends of what is
// possible.
type tally struct {
	submitted, succeeded, timedOut, lost int64
	failed, cancelled, retried           [2]int64 // least, most
	ends                                 int64    // final states, re-opened ones too
}

// counters compares GET /v1/stats with the history, queue by queue.
func (c *checker) counters() {
	want := map[string]*tally{}
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		t := want[r.Queue]
		if t == nil {
			t = &tally{}
			want[r.Queue] = t
		}
		c.count(t, r)
	}
	got := map[string]Counters{}
	for _, s := range c.h.End.Stats {
		got[s.Queue] = s
	}
	for queue, t := range want {
		c.compare(queue, t, got[queue])
	}
	for queue, s := range got {
		if want[queue] == nil && s.Submitted > 0 {
			c.violate(RuleCounters, 0, "queue %s counts %d tasks and has none", queue, s.Submitted)
		}
	}
}

// count adds a task. Its last final state stands in the row. Those before it, which explicit retries left, are told by its
// attempts where the attempt succeeded, and were failed or cancelled otherwise.
func (c *checker) count(t *tally, r *Row) {
	t.submitted++
	again := int64(c.reopened[r.ID])
	t.ends += again
	failures := int64(0)
	for _, a := range c.attempt[r.ID] {
		switch a.Outcome {
		case "succeeded":
			t.succeeded++
			if a.Epoch != r.Epoch || r.State != "succeeded" {
				again--
			}
		case "failed":
			failures++
		case "timed_out":
			failures++
			t.timedOut++
		case "lost":
			t.lost++
		}
	}
	if r.State == "succeeded" && c.attemptOf(r.ID, r.Epoch) == nil {
		t.succeeded++
	}
	// Failures that were not the end of the task were retried.
	least, most := max(0, failures-again-1), failures
	switch r.State {
	case "succeeded":
		t.ends++
		least = max(0, failures-again)
	case "failed":
		t.ends++
		t.failed[0]++
		t.failed[1]++
		if r.Reason == "exhausted" || r.Reason == "permanent" {
			most--
		}
	case "cancelled":
		t.ends++
		t.cancelled[0]++
		t.cancelled[1]++
	}
	t.failed[1] += again
	t.cancelled[1] += again
	t.retried[0] += least
	t.retried[1] += max(most, 0)
}

func (c *checker) compare(queue string, t *tally, s Counters) {
	for _, x := range []struct {
		name        string
		least, most int64
		got         int64
	}{
		{"submitted", t.submitted, t.submitted, s.Submitted},
		{"succeeded", t.succeeded, t.succeeded, s.Succeeded},
		{"failed", t.failed[0], t.failed[1], s.Failed},
		{"cancelled", t.cancelled[0], t.cancelled[1], s.Cancelled},
		{"timedOut", t.timedOut, t.timedOut, s.TimedOut},
		{"lost", t.lost, t.lost, s.Lost},
		{"retried", t.retried[0], t.retried[1], s.Retried},
		{"succeeded, failed and cancelled together", t.ends, t.ends, s.Succeeded + s.Failed + s.Cancelled},
	} {
		if x.got < x.least || x.got > x.most {
			c.violate(RuleCounters, 0, "queue %s counts %d %s; the history has %d to %d", queue, x.got, x.name, x.least, x.most)
		}
	}
}
