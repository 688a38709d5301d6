package worker

import (
	"math/rand/v2"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxClaims  = 4                      // claim transactions at once
	secondFrom = 50                     // tasks from which a lane that is alone gets a second claim beside the one under way
	claimSlow  = 100 * time.Millisecond // a claim that takes longer waits for a lock, and is not waited for
	peakWindow = 20 * time.Millisecond  // readiness follows the most free slots of the last two windows
	holdAtMost = 5                      // × HoldFor: a bell that is taken bit by bit is given back after that

	enough      = 8                // a claim of a backlog waits for the last 1/8 of the slots that it could have no longer
	gatherRuns  = 8                // a claim of a backlog waits for more free slots for at most 1/8 of the mean run time,
	gatherLeast = time.Millisecond // but at least this, and at most Options.GatherAtMost
)

// plan is one claim to be made.
type plan struct {
	lane   *lane
	bells  []*held
	slots  int // reserved
	shell  int // of those, shell slots
	req    task.ClaimRequest
	call   int64
	madeNs int64
	charge float64
}

// answer is a message to be answered after the lock is given up.
type answer struct {
	h       *held
	delayMs int64 // < 0: finish
}

// deliver is called by the source for each message; it never blocks.
func (e *Engine) deliver(l *lane, d Delivery) {
	e.mu.Lock()
	if e.phase != serving {
		e.mu.Unlock()
		return // dropped, not answered: its row is there
	}
	now := e.mono.ns()
	delay := e.unfit(l, d)
	if delay > 0 {
		l.heardNs, l.quietNs = now, 0
		e.mu.Unlock()
		d.Requeue(delay)
		return
	}
	spare := l.push(d, now, e.limited, e.refused)
	e.mu.Unlock()
	if spare {
		d.Finish()
		return
	}
	e.calling.ring()
}

// unfit gives the delay with which a message goes back at once, and 0 for one to keep. A bell that cannot be claimed here
// must not use up the few messages that a lane has in flight, or everything behind it waits as well. Engine.mu is held.
func (e *Engine) unfit(l *lane, d Delivery) int64 {
	rung := d.Rung()
	if len(rung.Items) == 0 || len(rung.Items) < len(rung.TaskIDs) {
		return 0 // what it holds is seen when it is claimed
	}
	strange, limited := true, false
	for i := range rung.Items {
		k := e.kinds[rung.Items[i].KindID]
		if k == nil {
			continue
		}
		strange, limited = false, k.limited
		if limited || len(e.limited) == 0 {
			break
		}
	}
	switch n := int64(d.Attempts()); {
	case strange && n%askAgain != 0:
		return strangeDelay(n)
	case limited && e.shellFree == 0 && l.byBell[rung.ID] == nil && l.blocked() >= e.shellAhead():
		return e.shellDelay(n)
	}
	return 0
}

// askAgain: every so many deliveries a bell of kinds that are not run here is claimed all the same, for only that shows
// that its row is gone and the message can be finished.
const askAgain = 8

// strangeDelay is for a bell of which this worker runs nothing: others should get it. Where workers that run different kinds
// share a lane the broker gives it to anybody, so it soon comes to the right one; it is given back quickly a few times, and
// ever more slowly when nobody seems to run it: 25 ms, doubled up to a minute. A second at first, as it once was, made every
// other task of two such workers start a second late.
func strangeDelay(attempts int64) int64 { return min(int64(25)<<min(max(0, attempts-1), 20), 60_000) }

// heldDelay is for a bell that found no slot in time.
func heldDelay(attempts int64) int64 { return min(200*max(1, attempts), 5_000) }

// shellAhead is how many bells of a lane may wait here for a shell slot while there is none: as many as the slots work off
// within HoldFor. Engine.mu is held.
func (e *Engine) shellAhead() int {
	perMs := float64(e.o.ShellSlots) / max(1, e.shellMs)
	return min(maxReady, max(e.o.ShellSlots, int(perMs*float64(e.o.HoldFor.Milliseconds()))))
}

// shellDelay is for a bell that would be one too many to wait for a shell slot: about as long as those that wait here take,
// spread so that they do not all come back at once. Engine.mu is held.
func (e *Engine) shellDelay(attempts int64) int64 {
	longest := int64(5_000)
	if e.shellMs > 0 {
		work := e.shellMs * float64(e.shellAhead()) / float64(e.o.ShellSlots)
		longest = max(200, min(longest, int64(work)))
	}
	d := min(200*max(1, attempts), longest)
	return d/2 + rand.Int64N(d/2)
}

// dispatch gives free slots to lanes until the engine ends.
func (e *Engine) dispatch() {
	for {
		select {
		case <-e.calling.wake:
		case <-e.calling.timer.C:
		case <-e.ctx.Done():
			return
		}
		plans, answers, next := e.step()
		for _, p := range plans {
			e.bg.Go(func() { e.claim(p) })
		}
		if len(answers) > 0 {
			e.bg.Go(func() { reply(answers) })
		}
		e.calling.set(next)
	}
}

func reply(answers []answer) {
	for _, a := range answers {
		if a.delayMs < 0 {
			a.h.finish()
		} else {
			a.h.requeue(a.delayMs)
		}
	}
}

// step looks at everything once: what to claim, what to give back, and when to look again (ns from now).
func (e *Engine) step() (plans []*plan, answers []answer, next int64) {
	now, clock := e.mono.ns(), e.o.Clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.phase != serving {
		e.setReady(now)
		return nil, nil, never
	}
	answers = e.giveBack(now, clock)
	e.hungry = 0
	plans = e.share(now, clock)
	if e.free == 0 {
		e.want(1)
	}
	e.setReady(now)
	return plans, answers, e.nextLook(now, clock)
}

// giveBack takes out the bells that waited too long, or that may not start now.
func (e *Engine) giveBack(now, clock int64) (out []answer) {
	hold := int64(e.o.HoldFor)
	for _, l := range e.order {
		blocked := 0
		for i := 0; i < len(l.queue); i++ {
			h := l.queue[i]
			if h.claiming {
				continue
			}
			if h.limited && e.shellFree == 0 {
				blocked++
			}
			delay, back := int64(0), false
			ahead := h.rung.DueAt - clock
			switch {
			case l.Paused:
				delay, back = 1_000, true
			case ahead > e.o.HoldFor.Milliseconds():
				delay, back = min(ahead, 5_000), true
			case ahead > 0:
				h.sinceNs, h.arrivedNs = now, now
			case h.limited && blocked > e.shellAhead():
				delay, back = e.shellDelay(h.attempts()), true
			case now-h.sinceNs >= hold || now-h.arrivedNs >= holdAtMost*hold:
				delay, back = heldDelay(h.attempts()), true
			}
			if back {
				if h.limited {
					blocked--
				}
				l.drop(h)
				i--
				out = append(out, answer{h, delay})
			}
		}
	}
	return out
}

// mayClaim reports whether anything may be claimed now. Engine.mu is held.
func (e *Engine) mayClaim(now int64) bool {
	return e.id != 0 && !e.fenced && e.free > 0 && len(e.calls.open) < maxClaims && now >= e.pauseNs && !e.full()
}

// share gives the free slots to lanes, bell by bell, each to the lane that has paid least, and gathers what a lane got into
// one claim. Engine.mu is held.
func (e *Engine) share(now, clock int64) []*plan {
	if !e.mayClaim(now) {
		e.gatherNs = 0 // what it waits for is not slots
		return nil
	}
	var plans []*plan
	open := make([]*turn, 0, len(e.order))
	for _, l := range e.order {
		if t := e.turn(l, clock); t != nil {
			open = append(open, t)
		}
	}
	if len(open) == 0 {
		e.gatherNs = 0
		return nil
	}
	if len(open) == 1 && open[0].lane.claiming == 1 && open[0].waiting < secondFrom && e.claimsNow(open[0].lane, now) {
		e.gatherNs = 0
		return nil // alone, it gathers a batch meanwhile; among others, its share of the slots must not pass to them
	}
	if e.gathers(open, now) {
		return nil
	}
	for e.free > 0 && len(open) > 0 {
		at := 0
		for i, t := range open {
			if l, best := t.lane, open[at].lane; l.pass < best.pass || l.pass == best.pass && l.weight() > best.weight() {
				at = i
			}
		}
		t := open[at]
		if t.lane.claiming > 1 && e.free < e.o.Slots/2 {
			break // slots are scarce and this turn is its: its claims return in a moment
		}
		if t.lane.claiming > 1 || t.plan == nil && len(e.calls.open)+len(plans) >= maxClaims || !e.take(t, clock) {
			open = append(open[:at], open[at+1:]...)
			continue
		}
		if t.plan != nil && len(t.plan.bells) == 1 {
			plans = append(plans, t.plan)
		}
	}
	for _, p := range plans {
		e.commitPlan(p)
	}
	return plans
}

// gathers reports whether to wait for more free slots before a backlog is claimed: a claim and the commit of what it ran
// cost the database nearly as much for ten tasks as for a hundred, and handlers that take less than a claim free the next
// slots in a moment. The wait is short beside the run time, so that slots which are the bottleneck do not stand empty. Slots
// of handlers that run for long are not waited for. Engine.mu is held.
func (e *Engine) gathers(open []*turn, now int64) bool {
	waiting, runMs := 0, open[0].lane.runMs
	for _, t := range open {
		waiting += t.waiting
		runMs = min(runMs, t.lane.runMs)
	}
	goal := min(waiting, maxClaim, e.o.Slots-e.long)
	patience := min(max(int64(runMs*float64(time.Millisecond))/gatherRuns, int64(gatherLeast)), int64(e.o.GatherAtMost))
	if e.free >= goal-goal/enough {
		e.gatherNs = 0
		return false
	}
	if len(open) == 1 && e.claimsNow(open[0].lane, now) && runMs < e.claimMs {
		e.gatherNs = 0
		return true // what is being claimed ends sooner than another claim would
	}
	if e.gatherNs != 0 && now-e.gatherNs >= patience {
		e.gatherNs = 0
		return false
	}
	if e.gatherNs == 0 {
		e.gatherNs = now
	}
	e.gatherEnd = e.gatherNs + patience
	e.want(goal)
	return true
}

// claimsNow reports whether a claim of a lane is under way that will return in a moment. Engine.mu is held.
func (e *Engine) claimsNow(l *lane, now int64) bool {
	for _, p := range e.calls.open {
		if p.lane == l && now-p.madeNs < int64(claimSlow) {
			return true
		}
	}
	return false
}

// turn is a lane while slots are shared out.
type turn struct {
	lane    *lane
	next    int // in lane.queue
	waiting int // tasks that could be claimed, as far as it matters
	plan    *plan
}

// turn starts the sharing for a lane; nil when it has nothing to claim now. A lane that was idle is lifted to the pass of
// the others: it has no claim on slots that it did not want.
func (e *Engine) turn(l *lane, clock int64) *turn {
	if l.Paused {
		return nil
	}
	t := &turn{lane: l, next: -1}
	for i, h := range l.queue {
		if !e.takes(h, clock) {
			continue
		}
		if t.next < 0 {
			t.next = i
		}
		if t.waiting += h.left; t.waiting >= maxClaim {
			break
		}
	}
	if t.next < 0 {
		return nil
	}
	if l.claiming == 0 && l.pass < e.vtime {
		l.pass = e.vtime
	}
	return t
}

// take adds the lane's next bell, or what the free slots can take of it, to its plan and reserves the slots; false when the
// lane gets no more this time.
func (e *Engine) take(t *turn, clock int64) bool {
	l := t.lane
	for ; t.next < len(l.queue); t.next++ {
		h := l.queue[t.next]
		if !e.takes(h, clock) || (h.limited || h.alone) && t.plan != nil {
			continue
		}
		have := 0
		if t.plan != nil {
			have = t.plan.slots
		}
		room := min(e.free, maxClaim-have)
		if h.limited {
			room = min(room, e.shellFree)
		}
		n := h.left
		if n > room {
			if t.plan != nil && have+n > maxClaim {
				return false
			}
			n = room
		}
		e.add(t, h, n)
		t.next++
		return true
	}
	return false
}

// add puts a bell into the lane's plan.
func (e *Engine) add(t *turn, h *held, n int) {
	l := t.lane
	if t.plan == nil {
		t.plan = &plan{lane: l}
	}
	p := t.plan
	h.claiming = true
	p.bells = append(p.bells, h)
	p.slots += n
	e.free -= n
	if h.limited {
		p.shell += n
		e.shellFree -= n
	}
	if h.limited || h.alone {
		t.next = len(l.queue) // what else the lane has is claimed without it
	}
	e.vtime = max(e.vtime, l.pass)
	charge := float64(n) / l.weight()
	l.pass += charge
	p.charge += charge
}

// takes reports whether a bell can be claimed at all at this moment.
func (e *Engine) takes(h *held, clock int64) bool {
	return !h.claiming && h.rung.DueAt <= clock && (!h.limited || e.shellFree > 0)
}

// want asks to be woken when that many slots are free.
func (e *Engine) want(n int) {
	if e.hungry == 0 || n < e.hungry {
		e.hungry = n
	}
}

// commitPlan makes the claim request of a plan. Engine.mu is held.
func (e *Engine) commitPlan(p *plan) {
	ids := make([]int64, len(p.bells))
	for i, h := range p.bells {
		ids[i] = h.rung.ID
	}
	kinds := e.openKind
	if p.shell > 0 {
		kinds = e.allKinds
	}
	p.lane.claiming++
	p.lane.inClaim += len(p.bells)
	e.calls.next++
	p.call = e.calls.next
	p.madeNs = e.mono.ns()
	e.calls.open[p.call] = p
	p.req = task.ClaimRequest{WorkerID: e.id, LaneID: p.lane.ID, Bells: ids, Max: p.slots, Kinds: kinds}
}

// nextLook is when the dispatcher must look again by itself, in ns from now.
func (e *Engine) nextLook(now, clock int64) int64 {
	next := int64(never)
	if e.free < e.o.Slots || e.full() {
		next = int64(peakWindow)
	}
	if e.gatherNs != 0 {
		next = min(next, max(e.gatherEnd-now, 0))
	}
	micros := int64(-1)
	for _, l := range e.order {
		for _, h := range l.queue {
			if h.claiming {
				continue
			}
			if h.rung.DueAt > clock {
				if micros < 0 {
					micros = e.o.Clock.NowMicros()
				}
				next = min(next, max(0, h.rung.DueAt*1_000-micros)*1_000)
				continue
			}
			next = min(next, h.sinceNs+int64(e.o.HoldFor)-now)
		}
		if len(l.queue) > 0 && e.pauseNs > now {
			next = min(next, e.pauseNs-now)
		}
	}
	return max(next, 0)
}
