package modelcheck_test

import (
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// others is who acts beside the two workers: clients and schedulers, which keep nothing in memory that matters here.
const others = 2

// action is a step that may be taken in a state.
type action struct {
	label string
	actor int   // 0 and 1: the workers
	call  *call // nil: it is a matter of memory or time
	// apply changes the memory by what the call answered. It gets a copy of the state, with the rows as they are after it.
	apply func(s *state, a *answer)
	gap   int  // how many of its transactions begin with what was read before them: there another call may come between
	row   bool // it changes nothing but a worker's row
}

func of(actor int, c *call, apply func(s *state, a *answer)) action {
	if apply == nil {
		apply = func(*state, *answer) {}
	}
	return action{label: c.label, actor: actor, call: c, apply: apply}
}

// actions lists what may happen next.
func (w *world) actions(s *state) []action {
	list := w.clients(s)
	for i := range s.procs {
		list = append(list, w.workerActions(s, i)...)
	}
	list = append(list, w.schedulers(s)...)
	single := len(list)
	if w.sc.pairs {
		list = append(list, w.meetings(list[:single])...)
	}
	if s.left.losts > 0 {
		list = append(list, w.losses(s, list[:single])...)
	}
	if a, ok := w.tick(s); ok {
		list = append(list, a)
	}
	return list
}

func (w *world) clients(s *state) (list []action) {
	submit := func(again bool, tasks ...int) {
		list = append(list, of(others, w.submitCall(again, tasks...), func(s *state, _ *answer) {
			for _, i := range tasks {
				s.submitted |= 1 << i
			}
			if again {
				s.left.resubmits--
			}
		}))
	}
	all := make([]int, len(w.sc.tasks))
	for i := range all {
		all[i] = i
		if bit := s.submitted >> i & 1; !w.sc.together && (bit == 0 || s.left.resubmits > 0) {
			submit(bit == 1, i)
		}
	}
	if w.sc.together && (s.submitted == 0 || s.left.resubmits > 0) {
		submit(s.submitted != 0, all...)
	}
	for i := range s.d.tasks {
		list = append(list, w.requests(s, &s.d.tasks[i])...)
	}
	return list
}

// requests are what a client may ask for of a task.
func (w *world) requests(s *state, t *taskRow) (list []action) {
	final := task.State(t.state).Final()
	if s.left.cancels > 0 && !final {
		list = append(list, of(others, w.cancelCall(t.id), func(s *state, _ *answer) { s.left.cancels-- }))
	}
	if s.left.reopens > 0 && final {
		list = append(list, of(others, w.reopenCall(t.id), func(s *state, _ *answer) { s.left.reopens-- }))
	}
	if s.left.runNows > 0 && t.state == int64(task.Waiting) {
		list = append(list, of(others, w.runNowCall(t.id), func(s *state, _ *answer) { s.left.runNows-- }))
	}
	if slices.Contains(w.sc.outcomes, awaits) && t.epoch > 0 {
		list = append(list, of(others, w.completeCall(t.id, t.epoch, true), nil), of(others, w.completeCall(t.id, t.epoch, false), nil))
	}
	return list
}

// goneBell is the bell of a message that comes when its row is long gone.
const goneBell = 999

func (w *world) workerActions(s *state, i int) (list []action) {
	p := &s.procs[i]
	list = append(list, w.claims(s, i)...)
	if a, ok := w.finish(s, i); ok {
		list = append(list, a)
		if s.left.unknowns > 0 {
			list = append(list, action{label: a.label + ", and nobody knows whether it did", actor: i, call: a.call, apply: func(s *state, _ *answer) {
				s.left.unknowns--
			}})
		}
	}
	for k := range p.runs {
		if !p.runs[k].ended {
			list = append(list, w.handlerEnds(s, i, &p.runs[k])...)
		}
	}
	if a, ok := w.look(s, i); ok {
		list = append(list, a)
	}
	list = append(list, w.strangers(s, i)...)
	if x := s.d.worker(p.id); w.sc.pairs || x == nil || x.state == 3 {
		list = append(list, w.beat(p.id, i))
	}
	if s.left.crashes > 0 && len(p.runs)+len(p.claims)+len(p.unknown) > 0 {
		c := w.registerCall()
		list = append(list, action{label: fmt.Sprintf("worker %d is killed; %s", p.id, c.label), actor: i, call: c, row: true, apply: func(s *state, a *answer) {
			s.left.crashes--
			s.procs[i] = proc{id: a.id}
		}})
	}
	return list
}

// claims are the bells that a message may make the worker claim: each, all that start tasks, and one that is gone.
func (w *world) claims(s *state, i int) (list []action) {
	most := w.sc.maxes
	if most == nil {
		most = []int{maxTasks}
	}
	var all []int64
	claim := func(n int, bells ...int64) {
		c := w.claimCall(s.procs[i].id, n, bells...)
		list = append(list, of(i, c, func(s *state, a *answer) { w.claimed(s, i, a) }))
		if s.left.unknowns > 0 {
			list = append(list, action{label: c.label + ", and nobody knows whether it did", actor: i, call: c, apply: func(s *state, a *answer) {
				s.left.unknowns--
				if a.claimed.ClaimID != 0 {
					s.procs[i].unknown = append(s.procs[i].unknown, a.claimed.ClaimID)
				}
			}})
		}
	}
	for _, b := range s.d.bells {
		if b.epoch >= w.sc.epochs {
			continue
		}
		if task.BellKind(b.kind).Starts() {
			all = append(all, b.id)
		}
		for _, n := range most {
			claim(n, b.id)
		}
	}
	if len(all) > 1 {
		for _, n := range most {
			claim(n, all...)
		}
	}
	if i == 0 {
		claim(1, goneBell)
	}
	return list
}

// claimed puts what was won into memory.
func (w *world) claimed(s *state, i int, a *answer) {
	if a.err != nil || a.claimed.ClaimID == 0 {
		return
	}
	p := &s.procs[i]
	p.claims = append(p.claims, held{id: a.claimed.ClaimID, worker: p.id, left: len(a.claimed.Tasks), known: true})
	for _, one := range a.claimed.Tasks {
		r := run{task: one.ID, epoch: int64(one.Epoch), claim: a.claimed.ClaimID, worker: p.id, attempt: one.AttemptID, flow: one.Flow, places: int64(one.Places)}
		for _, l := range a.loaded {
			if l.ID == one.ID {
				r.failures, r.flags = int64(l.Failures), int64(l.Flags&^task.PlaceFlags)
				if l.ExpiresAt != 0 {
					r.expires = l.ExpiresAt - w.now
				}
			}
		}
		p.runs = append(p.runs, r)
	}
}

// handlerEnds are the ways in which a handler may end.
func (w *world) handlerEnds(s *state, i int, r *run) (list []action) {
	who, epoch, claim := r.task, r.epoch, r.claim
	find := func(s *state) *run {
		p := &s.procs[i]
		at := slices.IndexFunc(p.runs, func(r run) bool { return r.task == who && r.epoch == epoch && !r.ended })
		return &p.runs[at]
	}
	back := false
	for _, how := range w.sc.outcomes {
		d := w.decide(endAsked{how, r.cause, r.task, r.failures, r.expires, r.epoch, r.flags})
		if d.back {
			back = true
			continue
		}
		list = append(list, action{label: fmt.Sprintf("handler of task %d epoch %d at worker %d %s", who, epoch, s.procs[i].id, endingNames[how]), actor: i,
			apply: func(s *state, _ *answer) { r := find(s); r.ended, r.end = true, d }})
	}
	if !back && s.left.releases == 0 {
		return list
	}
	c := w.releaseCall(fmt.Sprintf("worker %d", s.procs[i].id), claim, []int64{who}, task.CauseReleased)
	return append(list, of(i, c, func(s *state, _ *answer) {
		if !back {
			s.left.releases--
		}
		p := &s.procs[i]
		p.drop(claim)
		p.runs = slices.DeleteFunc(p.runs, func(r run) bool { return r.task == who && r.epoch == epoch && !r.ended })
	}))
}

// drop counts a task of a claim as not in memory any more.
func (p *proc) drop(claim int64) {
	for k := range p.claims {
		if p.claims[k].id == claim {
			p.claims[k].left--
		}
	}
}

// finish is the next flush: all ends of one worker id, with the claims of which nothing is left in memory.
func (w *world) finish(s *state, i int) (action, bool) {
	p := &s.procs[i]
	worker := int64(0)
	var runs []run
	left := map[int64]int{}
	for _, c := range p.claims {
		left[c.id] = c.left
	}
	for _, r := range p.runs {
		if r.ended && (worker == 0 || r.worker == worker) {
			worker = r.worker
			runs = append(runs, r)
			left[r.claim]--
		}
	}
	var emptied []int64
	for _, c := range p.claims {
		if left[c.id] <= 0 && (worker == 0 || c.worker == worker) {
			worker = c.worker
			emptied = append(emptied, c.id)
		}
	}
	if worker == 0 {
		return action{}, false
	}
	if w.plant != nil && w.plant.emptyEarly {
		emptied = emptied[:0]
		for _, r := range runs {
			emptied = append(emptied, r.claim)
		}
	}
	return of(i, w.finishCall(worker, runs, emptied), func(s *state, a *answer) {
		p := &s.procs[i]
		for _, r := range runs {
			p.drop(r.claim)
		}
		p.runs = slices.DeleteFunc(p.runs, func(r run) bool { return r.ended && r.worker == worker })
		p.claims = slices.DeleteFunc(p.claims, func(c held) bool { return slices.Contains(emptied, c.id) })
	}), true
}

// look is the part of a beat that compares what runs with the rows, when it would find anything.
func (w *world) look(s *state, i int) (action, bool) {
	p := &s.procs[i]
	var ids []int64
	news := false
	for _, r := range p.runs {
		if r.ended || r.cause != notStopped {
			continue
		}
		ids = append(ids, r.task)
		t := s.d.task(r.task)
		news = news || t.state != int64(task.Running) || t.worker != r.worker || t.epoch != r.epoch || t.cancel != 0
	}
	if !news {
		return action{}, false
	}
	return of(i, w.heldCall(p.id, ids), func(s *state, a *answer) {
		for k := range s.procs[i].runs {
			r := &s.procs[i].runs[k]
			at := slices.IndexFunc(a.held, func(h task.Held) bool { return h.ID == r.task })
			if r.ended || r.cause != notStopped || at < 0 {
				continue
			}
			switch h := a.held[at]; {
			case h.State != task.Running || h.WorkerID != r.worker || int64(h.Epoch) != r.epoch:
				r.cause = fenced
			case h.CancelAt > 0:
				r.cause = cancelled
			}
		}
	}), true
}

// strangers releases claims of the worker that it does not hold in memory: one is committed although nobody told it.
func (w *world) strangers(s *state, i int) (list []action) {
	p := &s.procs[i]
	if w.plant != nil && w.plant.noCheck {
		return nil
	}
	for _, c := range s.d.claims {
		if c.worker != p.id || slices.ContainsFunc(p.claims, func(h held) bool { return h.id == c.id && h.known }) {
			continue
		}
		cause := task.CauseLost
		if slices.Contains(p.unknown, c.id) {
			cause = task.CauseReleased
		}
		a := of(i, w.strangerCall(p.id, c.id, cause), func(s *state, _ *answer) {
			s.procs[i].unknown = slices.DeleteFunc(s.procs[i].unknown, func(id int64) bool { return id == c.id })
		})
		a.gap = 1
		list = append(list, a)
	}
	return list
}

// beat finds out that the worker was declared dead: it stops everything and goes on under a new id.
func (w *world) beat(worker int64, i int) action {
	a := of(i, w.beatCall(worker), func(s *state, a *answer) {
		if a.id == 0 {
			return
		}
		p := &s.procs[i]
		p.id, p.unknown = a.id, nil
		for k := range p.claims {
			p.claims[k].known = false
		}
		for k := range p.runs {
			if r := &p.runs[k]; !r.ended && r.cause == notStopped {
				r.cause = fenced
			}
		}
	})
	a.row = true
	return a
}

func (w *world) schedulers(s *state) (list []action) {
	for _, x := range s.d.workers {
		current := s.procs[0].id == x.id || s.procs[1].id == x.id
		if x.state == 3 || current && s.left.stops <= 0 {
			continue
		}
		a := of(others, w.declareCall(x.id), func(s *state, _ *answer) {
			if current { // it is only stopped, or cut off, for longer than the lease
				s.left.stops--
			}
		})
		a.gap, a.row = 1, true
		list = append(list, a)
	}
	for _, c := range s.d.claims {
		if x := s.d.worker(c.worker); x == nil || x.state == 3 {
			a := of(others, w.releaseCall("a scheduler", c.id, nil, task.CauseLost), nil)
			a.gap = 1
			list = append(list, a)
		}
	}
	if slices.ContainsFunc(s.d.bells, func(b bellRow) bool { return !task.BellKind(b.kind).Starts() && b.due == past }) {
		a := of(others, w.expireCall(), nil)
		a.gap = 2
		list = append(list, a)
	}
	return list
}

// meetings are two at once: another call comes between what a call read and its transaction. All the others read nothing
// before, so for them any order is one that is tried anyway; and nothing that concerns tasks reads what concerns workers only.
func (w *world) meetings(singles []action) (list []action) {
	for _, a := range singles {
		for at := 1; at <= a.gap; at++ {
			for _, b := range singles {
				if b.call == nil || b.actor == a.actor && a.actor != others || b.row != a.row || sameSubmit(a.call, b.call) {
					continue
				}
				c := around(a.call, at, b.call)
				list = append(list, both(a, b, c))
			}
		}
	}
	return list
}

// losses are calls whose transaction is committed, but the connection dies before the answer comes: the Store looks it up,
// or does it again. What was committed is there for everybody, so what comes before the look-up may build on it.
func (w *world) losses(s *state, singles []action) (list []action) {
	then := slices.Clone(singles)
	for i := range s.procs {
		then = append(then, of(i, w.claimDueCall(s.procs[i].id), func(s *state, a *answer) { w.claimed(s, i, a) }))
	}
	then = append(then, of(others, w.rescueCall(), nil))
	for _, a := range singles {
		if a.call == nil || a.call.kind == noArrow {
			continue
		}
		spend := a
		spend.apply = func(s *state, ans *answer) { s.left.losts--; a.apply(s, ans) }
		spend.call = lost(a.call, nil)
		spend.label = spend.call.label
		list = append(list, spend)
		if !w.sc.lostWith {
			continue
		}
		for _, b := range then {
			// A worker claims and finishes at the same time, and does nothing else so.
			own := b.actor == a.actor && a.actor != others && (a.call.kind != finishing || b.call == nil || b.call.kind != claiming)
			if b.call == nil || own || b.row || sameSubmit(a.call, b.call) {
				continue
			}
			list = append(list, both(spend, b, lost(a.call, b.call)))
		}
	}
	return list
}

// sameSubmit: ids of tasks are drawn for each request, so no two write the same ones.
func sameSubmit(a, b *call) bool { return a.kind == submitting && a.label == b.label }

func both(a, b action, c *call) action {
	return action{label: c.label, actor: a.actor, call: c, apply: func(s *state, ans *answer) {
		if s.sub != nil {
			b.apply(s, s.sub)
		}
		a.apply(s, ans)
	}}
}

// tick lets time pass until the next instant that anything depends on.
func (w *world) tick(s *state) (action, bool) {
	next := int64(0)
	look := func(at int64) {
		if at > 0 && (next == 0 || at < next) {
			next = at
		}
	}
	for i := range s.d.tasks {
		look(s.d.tasks[i].due)
		look(s.d.tasks[i].expires)
	}
	for i := range s.d.bells {
		look(s.d.bells[i].due)
	}
	for i := range s.d.keys {
		look(s.d.keys[i].expires)
	}
	for i := range s.procs {
		for _, r := range s.procs[i].runs {
			look(r.expires)
			if r.ended {
				look(r.end.retry)
			}
		}
	}
	if next == 0 {
		return action{}, false
	}
	return action{label: fmt.Sprintf("%d ms pass", next), actor: others, apply: func(s *state, _ *answer) { s.pass(next) }}, true
}

// pass moves every instant by so many ms.
func (s *state) pass(by int64) {
	move := func(at *int64) {
		if *at > 0 {
			if *at -= by; *at <= 0 {
				*at = past
			}
		}
	}
	s.d = s.d.clone()
	for i := range s.d.tasks {
		move(&s.d.tasks[i].due)
		move(&s.d.tasks[i].expires)
	}
	for i := range s.d.bells {
		move(&s.d.bells[i].due)
	}
	for i := range s.d.keys {
		move(&s.d.keys[i].expires)
	}
	for i := range s.procs {
		for k := range s.procs[i].runs {
			r := &s.procs[i].runs[k]
			if r.expires != 0 {
				if r.expires -= by; r.expires == 0 {
					r.expires = past
				}
			}
			if r.ended {
				r.end.retry -= by
			}
		}
	}
}
