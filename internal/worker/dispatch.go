package worker

import (
	"math"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxClaims  = 4                     // claim transactions at once
	secondFrom = 50                    // tasks from which a lane gets a second claim beside the one under way
	peakWindow = 20 * time.Millisecond // readiness follows the most free slots of the last two windows
	holdAtMost = 5                     // × HoldFor: a bell that is taken bit by bit is given back after that
)

// plan is one claim to be made.
type plan struct {
	lane   *lane
	bells  []*held
	slots  int // reserved
	shell  int // of those, shell slots
	req    task.ClaimRequest
	call   int64
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
	spare := l.push(d, e.mono.ns(), e.limited)
	e.mu.Unlock()
	if spare {
		d.Finish()
		return
	}
	e.calling.ring()
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
	for {
		p := e.nextPlan(now, clock)
		if p == nil {
			break
		}
		plans = append(plans, p)
	}
	e.setReady(now)
	return plans, answers, e.nextLook(now, clock)
}

// giveBack takes out the bells that waited too long, or that may not start now.
func (e *Engine) giveBack(now, clock int64) (out []answer) {
	hold := int64(e.o.HoldFor)
	for _, l := range e.order {
		for i := 0; i < len(l.queue); i++ {
			h := l.queue[i]
			if h.claiming {
				continue
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
			case now-h.sinceNs >= hold || now-h.arrivedNs >= holdAtMost*hold:
				delay, back = min(200*h.attempts(), 5_000), true
			}
			if back {
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
	return e.id != 0 && !e.fenced && e.free > 0 && len(e.calls.open) < maxClaims && now >= e.pauseNs && e.fin.size() < e.o.MaxResults
}

// nextPlan reserves slots for one claim of the lane whose turn it is; nil when there is nothing to claim.
func (e *Engine) nextPlan(now, clock int64) *plan {
	if !e.mayClaim(now) {
		return nil
	}
	var best *lane
	sum := 0.0
	for _, l := range e.order {
		if !e.wants(l, now, clock) {
			continue
		}
		sum += l.weight()
		if best == nil || l.pass < best.pass || l.pass == best.pass && l.weight() > best.weight() {
			best = l
		}
	}
	if best == nil {
		return nil
	}
	limit := e.free
	if sum > best.weight() {
		limit = max(1, int(math.Ceil(float64(e.free)*best.weight()/sum)))
	}
	return e.plan(best, limit, now, clock)
}

// wants reports whether the lane has a bell that can be claimed now, and lifts a lane that was idle to the others' pass.
func (e *Engine) wants(l *lane, now, clock int64) bool {
	if l.Paused {
		return false
	}
	first, n := (*held)(nil), 0
	for _, h := range l.queue {
		if e.takes(h, clock) {
			if first == nil {
				first = h
			}
			if n += h.left; l.claiming == 0 || n >= secondFrom {
				break
			}
		}
	}
	if first == nil || l.claiming > 1 || l.claiming == 1 && n < secondFrom {
		return false
	}
	if need := min(first.left, e.o.Slots); !first.limited && need > e.free && now-first.sinceNs < int64(e.o.PartWait) {
		e.want(need)
		return false
	}
	if l.claiming == 0 && l.pass < e.vtime {
		l.pass = e.vtime
	}
	return true
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

// plan gathers bells of a lane for up to limit slots; one bell may be taken whole beyond the limit.
func (e *Engine) plan(l *lane, limit int, now, clock int64) *plan {
	p := &plan{lane: l}
	limit = min(limit, maxClaim)
	for _, h := range l.queue {
		if !e.takes(h, clock) {
			continue
		}
		if h.limited {
			if p.slots > 0 {
				continue
			}
			p.slots = min(h.left, e.free, e.shellFree, maxClaim)
			p.shell = p.slots
			p.bells = append(p.bells, h)
			break
		}
		n := h.left
		if p.slots > 0 && p.slots+n > limit || len(p.bells) >= maxClaim {
			break
		}
		if n > limit && n > e.free {
			n = limit // a part: it did not fit for PartWait
		}
		p.slots += min(n, maxClaim)
		p.bells = append(p.bells, h)
	}
	if p.slots == 0 {
		return nil
	}
	e.reserve(p, now)
	return p
}

// reserve takes the slots and marks the bells. Engine.mu is held.
func (e *Engine) reserve(p *plan, now int64) {
	l := p.lane
	ids := make([]int64, len(p.bells))
	for i, h := range p.bells {
		h.claiming = true
		ids[i] = h.rung.ID
	}
	kinds := e.openKind
	if p.shell > 0 {
		kinds = e.allKinds
	}
	e.free -= p.slots
	e.shellFree -= p.shell
	l.claiming++
	l.inClaim += len(p.bells)
	p.charge = float64(p.slots) / l.weight()
	e.vtime = max(e.vtime, l.pass)
	l.pass += p.charge
	e.calls.next++
	p.call = e.calls.next
	e.calls.open[p.call] = struct{}{}
	p.req = task.ClaimRequest{WorkerID: e.id, LaneID: l.ID, Bells: ids, Max: p.slots, Kinds: kinds}
	_ = now
}

// nextLook is when the dispatcher must look again by itself, in ns from now.
func (e *Engine) nextLook(now, clock int64) int64 {
	next := int64(never)
	if e.free < e.o.Slots {
		next = int64(peakWindow)
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
			if wait := h.sinceNs + int64(e.o.PartWait) - now; wait > 0 {
				next = min(next, wait)
			}
		}
		if len(l.queue) > 0 && e.pauseNs > now {
			next = min(next, e.pauseNs-now)
		}
	}
	return max(next, 0)
}
