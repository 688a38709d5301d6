package history

import (
	"slices"
	"time"
)

// limits checks that every limit is there, that nobody holds a place of it in the end, and that the sink never saw more of its tasks at
// once than may run.
func (c *checker) limits() {
	if len(c.h.End.Limits) < c.h.Limited {
		c.violate(RuleLimit, 0, "%d limits were made, and %d are there in the end", c.h.Limited, len(c.h.End.Limits))
	}
	for _, l := range c.h.End.Limits {
		if l.Running != 0 {
			c.violate(RuleLimit, 0, "limit %s still counts %d as running", l.Key, l.Running)
		}
		if l.Max > 0 {
			c.atOnce(l)
		}
	}
}

// holds reports whether the limit is one of the task's.
func (l *Limit) holds(r *Row) bool {
	return l.Queue != "" && l.Queue == r.Queue || l.LimitKey != "" && l.LimitKey == r.LimitKey
}

// step is the begin or the end of a call.
type step struct {
	at time.Duration
	by int
	e  *Effect
}

// atOnce counts calls that surely ran at once. A call begins for certain when the sink says so. It holds a place until its attempt
// ended, of which the sink hears later: the place is given up at the latest when the call ended, at the earliest when the database
// says that the attempt had ended, which is much before the call's end when a worker was given up for dead.
func (c *checker) atOnce(l Limit) {
	var steps []step
	for i := range c.h.Effects {
		e := &c.h.Effects[i]
		r := c.rows[e.Task]
		if r == nil || !l.holds(r) || e.Stale || e.Cancelled {
			continue
		}
		end := e.Ended
		if a := c.attemptOf(e.Task, e.Epoch); a != nil {
			end = min(end, c.clock.of(a.Finished).lo)
		} else if e.Epoch == r.Epoch && r.Finished != 0 {
			end = min(end, c.clock.of(r.Finished).lo)
		}
		if end -= c.clock.lag(e.Ended); end > e.Began {
			steps = append(steps, step{e.Began, 1, e}, step{end, -1, e})
		}
	}
	slices.SortFunc(steps, func(a, b step) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.by - b.by
	})
	running := 0
	for _, s := range steps {
		if running += s.by; running > l.Max && s.by > 0 {
			c.violate(RuleLimit, s.e.Task, "ran under limit %s at %v as number %d; %d may run at once", l.Key, short(s.at), running, l.Max)
		}
	}
}
