package history

import (
	"fmt"
	"slices"
	"time"
)

// Check looks for contradictions in a history. It changes nothing of it, apart from the order of End's lists.
func Check(h *History) *Report {
	c := newChecker(h)
	if len(h.Clock.Database) == 0 {
		c.violate(RuleWitness, 0, "the database's clock was never read: nothing can be compared with it")
		return c.report
	}
	for _, rules := range []func(){
		c.accepted, c.answers, c.finals, c.retries, c.outcomes, c.epochs, c.results, c.effects, c.attempts, c.duplicates, c.late,
		c.early, c.uniques, c.limits, c.counters, c.slots, c.told, c.left, c.byKind,
	} {
		rules()
	}
	c.report.Error, c.report.After = c.clock.largest, c.faults.after
	c.report.Reach = c.faults.reach(h.Clock.Database[len(h.Clock.Database)-1].At)
	return c.report
}

// checker is one run of Check: the history by its keys, and what was found.
type checker struct {
	h      *History
	clock  *clocks
	faults *explainer
	report *Report

	rows     map[int64]*Row
	tagged   map[string][]*Row
	attempt  map[int64][]*Attempt // by task, by epoch
	effect   map[int64][]*Effect  // by task, by the time they began
	reopened map[int64]int        // explicit retries, by task
	wants    map[string]*Want
	made     map[string]*Op // the submit that a tag was first sent with
	about    map[int64][]*Op
	lost     map[int64]bool
	doubled  map[int64]bool
	lateBy   []int // Fault.N of each late effect
}

func newChecker(h *History) *checker {
	c := &checker{h: h, clock: newClocks(h), report: &Report{}, rows: map[int64]*Row{}, tagged: map[string][]*Row{}, attempt: map[int64][]*Attempt{},
		effect: map[int64][]*Effect{}, reopened: map[int64]int{}, wants: map[string]*Want{}, made: map[string]*Op{}, about: map[int64][]*Op{},
		lost: map[int64]bool{}, doubled: map[int64]bool{}}
	c.faults = newExplainer(h, c.clock)
	c.indexEnd()
	c.indexOps()
	for i := range h.Effects {
		e := &h.Effects[i]
		c.effect[e.Task] = append(c.effect[e.Task], e)
	}
	for _, list := range c.effect {
		slices.SortStableFunc(list, func(a, b *Effect) int { return int(a.Began - b.Began) })
	}
	c.report.Effects = len(h.Effects)
	return c
}

func (c *checker) indexEnd() {
	end := &c.h.End
	slices.SortFunc(end.Tasks, func(a, b Row) int { return int(a.ID - b.ID) })
	for i := range end.Tasks {
		r := &end.Tasks[i]
		c.rows[r.ID] = r
		c.report.Attempts += r.Epoch
		if r.Tag != "" {
			c.tagged[r.Tag] = append(c.tagged[r.Tag], r)
		}
	}
	slices.SortFunc(end.Attempts, func(a, b Attempt) int {
		if a.Task != b.Task {
			return int(a.Task - b.Task)
		}
		return a.Epoch - b.Epoch
	})
	for i := range end.Attempts {
		a := &end.Attempts[i]
		c.attempt[a.Task] = append(c.attempt[a.Task], a)
	}
	for _, a := range end.Audit {
		c.reopened[a.Task] += a.Retries
	}
}

func (c *checker) indexOps() {
	for i := range c.h.Ops {
		o := &c.h.Ops[i]
		if o.Kind == OpSubmit || o.Kind == OpBatch {
			for j := range o.Wants {
				c.wants[o.Wants[j].Tag], c.made[o.Wants[j].Tag] = &o.Wants[j], o
			}
		}
		if o.Task != 0 {
			c.about[o.Task] = append(c.about[o.Task], o)
		}
	}
}

// violate notes a contradiction. What it says of a task ends with what is known of it.
func (c *checker) violate(rule Rule, task int64, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if task != 0 {
		text += c.known(task)
		switch rule {
		case RuleLost:
			c.lost[task] = true
		case RuleDouble:
			c.doubled[task] = true
		}
	}
	c.report.Violations = append(c.report.Violations, Violation{Rule: rule, Task: task, Text: text})
}

// known says in short what the witnesses know of a task.
func (c *checker) known(id int64) string {
	text := ""
	if r := c.rows[id]; r != nil {
		text += fmt.Sprintf(" | row: %s %s tag %s queue %s epoch %d failures %d losses %d worker %d", r.State, r.Reason, r.Tag, r.Queue, r.Epoch, r.Failures, r.Losses, r.Worker)
	}
	for _, a := range c.attempt[id] {
		text += fmt.Sprintf(" | attempt %d: %s %s by %s(%d) %v–%v", a.Epoch, a.Outcome, a.Code, c.faults.names[a.Worker], a.Worker, short(c.clock.of(a.Started).lo), short(c.clock.of(a.Finished).lo))
	}
	for _, e := range c.effect[id] {
		text += fmt.Sprintf(" | call of epoch %d: %d %v–%v", e.Epoch, e.Status, short(e.Began), short(e.Ended))
	}
	for _, o := range c.about[id] {
		text += fmt.Sprintf(" | %s %d: %d %s after %d tries %v–%v", o.Kind, o.N, o.Status, o.Code, o.Tries, short(o.Sent), short(o.Answered))
	}
	return text
}

func short(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// final reports whether nothing automatic leaves a state.
func final(state string) bool {
	return state == "succeeded" || state == "failed" || state == "cancelled"
}

// attemptOf is the attempt of an epoch; nil when it has no row.
func (c *checker) attemptOf(task int64, epoch int) *Attempt {
	list := c.attempt[task]
	at, found := slices.BinarySearchFunc(list, epoch, func(a *Attempt, epoch int) int { return a.Epoch - epoch })
	if !found {
		return nil
	}
	return list[at]
}

// claimed tells when, by the database's clock, an epoch was claimed, and by whom.
func (c *checker) claimed(r *Row, epoch int) (ms, worker int64, ok bool) {
	if epoch == r.Epoch && r.Started != 0 {
		return r.Started, r.Worker, true
	}
	if a := c.attemptOf(r.ID, epoch); a != nil {
		return a.Started, a.Worker, true
	}
	return 0, 0, false
}

// effectOf is the call of an epoch; nil when the sink saw none.
func (c *checker) effectOf(task int64, epoch int) *Effect {
	for _, e := range c.effect[task] {
		if e.Epoch == epoch {
			return e
		}
	}
	return nil
}

// calls reports whether tasks of this kind call the sink.
func calls(kind string) bool { return kind == "http" || kind == "callback" || kind == completionKind }

// completionKind is the kind of deliveries that tell an end.
const completionKind = "completion"
