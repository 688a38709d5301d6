package modelcheck_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// search visits every state that can be reached, breadth first, so that what it finds it finds by the shortest way.
type search struct {
	w       *world
	seen    map[string]struct{}
	next    []*state
	steps   int
	most    int // states; 0: no bound
	good    map[string]bool
	audited map[string]bool
}

// violation is a broken rule and the way to it.
type violation struct {
	rule  error
	trace string
}

func (v *violation) Error() string { return v.rule.Error() + "\n" + v.trace }

// start is the state in which nothing has happened but that two workers registered.
func (w *world) start() *state {
	s := &state{left: w.sc.bounds}
	for i := range s.procs {
		o := w.takeAnew(&rows{limits: w.limitRows(), workers: s.workersSoFar()}, w.registerCall())
		s.d, s.procs[i].id = o.after, o.ans.id
	}
	return s
}

func (s *state) workersSoFar() []workerRow {
	if s.d == nil {
		return nil
	}
	return s.d.workers
}

// limitRows are those of the scenario, before anything runs.
func (w *world) limitRows() []limitRow {
	d, _, err := w.dump()
	w.must(err)
	return d.limits
}

// run visits everything and gives the first violation.
func (x *search) run() *violation {
	first := x.w.start()
	x.add(first, x.w.canonical(first))
	for len(x.next) > 0 {
		s := x.next[0]
		x.next[0] = nil
		x.next = x.next[1:]
		if v := x.expand(s); v != nil {
			return v
		}
		if x.most > 0 && len(x.seen) > x.most {
			return &violation{fmt.Errorf("more than %d states", x.most), ""}
		}
	}
	return nil
}

func (x *search) add(s *state, key string) bool {
	key = s.wholeKey(key)
	if _, known := x.seen[key]; known {
		return false
	}
	x.seen[key] = struct{}{}
	x.next = append(x.next, s)
	return true
}

func (x *search) expand(s *state) *violation {
	if v := x.audit(s); v != nil {
		return v
	}
	if v := x.canEnd(s); v != nil {
		return v
	}
	for _, a := range x.w.actions(s) {
		n, key, v := x.step(s, &a)
		if v != nil {
			return v
		}
		if n != nil {
			x.steps++
			x.add(n, key)
		}
	}
	return nil
}

// step takes an action: nil when it came to nothing.
func (x *search) step(s *state, a *action) (*state, string, *violation) {
	n := s.clone()
	n.from, n.via, n.sub = s, a.label, nil
	var ans *answer
	if a.call != nil {
		o := x.w.take(s.d, a.call)
		if o.ans.skipped {
			return nil, "", nil
		}
		broken := o.broken
		if broken == nil {
			broken = judgeAnswer(o, a.call.kind, o.ans)
		}
		if broken == nil && o.sub != nil {
			broken = judgeAnswer(o, o.subKind, o.sub)
		}
		n.d, ans, n.sub = o.after, o.ans, o.sub
		if broken != nil {
			return nil, "", &violation{broken, n.trace()}
		}
	}
	a.apply(n, ans)
	if n.sub = nil; n.left.spent() {
		return nil, "", nil
	}
	return n, x.w.canonical(n), nil
}

// audit asks the Store itself whether the rows are whole.
func (x *search) audit(s *state) *violation {
	if x.audited[s.d.key] {
		return nil
	}
	x.audited[s.d.key] = true
	c := x.w.auditCall()
	o := x.w.takeAnew(s.d, c)
	if err := judgeAnswer(o, auditing, o.ans); err != nil {
		return &violation{err, s.trace()}
	}
	return nil
}

// trace tells the way to a state, with the rows after each step.
func (s *state) trace() string {
	var way []*state
	for at := s; at != nil; at = at.from {
		way = append(way, at)
	}
	slices.Reverse(way)
	var b strings.Builder
	for i, at := range way {
		if i == 0 {
			b.WriteString("start\n")
		} else {
			fmt.Fprintf(&b, "%d. %s\n", i, at.via)
		}
		b.WriteString(at.d.String())
		for k := range at.procs {
			b.WriteString(at.procs[k].String())
		}
	}
	return b.String()
}

// String shows a worker's memory; nothing when it is empty.
func (p *proc) String() string {
	var b strings.Builder
	for _, r := range p.runs {
		how := "runs"
		if r.ended {
			how = "ended, to become " + stateNames[r.end.to]
		}
		fmt.Fprintf(&b, "    memory of worker %d: task %d epoch %d of claim %d %s, told to stop %d\n", p.id, r.task, r.epoch, r.claim, how, r.cause)
	}
	for _, id := range p.unknown {
		fmt.Fprintf(&b, "    memory of worker %d: does not know claim %d\n", p.id, id)
	}
	return b.String()
}

// canEnd follows one fair continuation: no faults any more, workers end what they hold and look after themselves, schedulers
// rescue, expire and ring what the Store says is due, time passes. Each task must come to an end, and nothing may be left over. The
// audit takes no part.
func (x *search) canEnd(s *state) *violation {
	var way []string
	for n := s; ; {
		key := x.w.canonical(n)
		if x.good[key] {
			break
		}
		way = append(way, key)
		a, over := x.w.fair(n)
		if over {
			if err := x.w.judgeEnd(n); err != nil {
				return &violation{err, n.trace()}
			}
			break
		}
		if slices.Contains(way[:len(way)-1], key) || len(way) > 300 {
			return &violation{fmt.Errorf("a fair continuation never comes to an end"), n.trace()}
		}
		next, _, v := x.step(n, &a)
		if v != nil {
			return v
		}
		n = next
	}
	for _, key := range way {
		x.good[key] = true
	}
	return nil
}

// fair gives the next step of a fair continuation; over when there is none.
func (w *world) fair(s *state) (a action, over bool) {
	for i := range s.procs {
		p := &s.procs[i]
		if x := s.d.worker(p.id); x == nil || x.state == 3 {
			return w.beat(p.id, i), false
		}
		if a, ok := w.look(s, i); ok {
			return a, false
		}
		for k := range p.runs {
			if r := &p.runs[k]; !r.ended {
				list := w.handlerEnds(s, i, r)
				return list[0], false
			}
		}
		if a, ok := w.finish(s, i); ok {
			return a, false
		}
		if list := w.strangers(s, i); len(list) > 0 {
			return list[0], false
		}
	}
	for _, x := range s.d.workers {
		if x.state != 3 && x.id != s.procs[0].id && x.id != s.procs[1].id {
			return of(others, w.declareCall(x.id), nil), false
		}
	}
	if orphans := w.take(s.d, w.orphansCall()); len(orphans.ans.claims) > 0 {
		return of(others, w.releaseCall("a scheduler", orphans.ans.claims[0].ID, nil, task.CauseLost), nil), false
	}
	for _, b := range s.d.bells {
		if !task.BellKind(b.kind).Starts() && b.due == past {
			return of(others, w.expireCall(), nil), false
		}
	}
	if a, ok := w.ringDue(s); ok {
		return a, false
	}
	if a, ok := w.tick(s); ok {
		return a, false
	}
	return action{}, true
}

// ringDue lets the first worker claim what a scheduler finds due, one bell at a time where a limit leaves room for one.
func (w *world) ringDue(s *state) (action, bool) {
	due := w.take(s.d, w.dueCall())
	if len(due.ans.claimed.Bells) == 0 {
		return action{}, false
	}
	c := w.claimCall(s.procs[0].id, 1, due.ans.claimed.Bells[0].ID)
	return of(0, c, func(s *state, a *answer) { w.claimed(s, 0, a) }), true
}

// judgeEnd looks whether all is final and nothing is left over.
func (w *world) judgeEnd(s *state) error {
	for i := range s.d.tasks {
		if t := &s.d.tasks[i]; !task.State(t.state).Final() {
			return fmt.Errorf("task %d is lost: a fair continuation leaves it %s", t.id, stateNames[t.state])
		}
	}
	if n := len(s.d.bells) + len(s.d.claims); n > 0 {
		return fmt.Errorf("%d bells and claims are left over when all tasks have ended", n)
	}
	return nil
}

// explore runs a scenario and gives what it found.
func explore(t testing.TB, dir string, sc *scenario, p *plant, most int) (*search, *violation) {
	w := newWorld(t, dir, sc, p)
	defer w.close()
	x := &search{w: w, seen: map[string]struct{}{}, good: map[string]bool{}, audited: map[string]bool{}, most: most}
	return x, x.run()
}
