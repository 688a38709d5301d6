package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Warm flows are those of which something happened lately: a bell of theirs became due, was rung, or their limit changed. They are
// looked at in every round, before the sweep goes on, so that how soon a task of a limit key starts does not depend on how many other
// keys wait. The sweep finds what is left out here: what waited when this scheduler came, and bells that became visible late.

const (
	warmMost  = 1_024                 // flows of a (lane, app) that are warm at once: the sweep has the others
	warmEvery = 10 * time.Millisecond // between two looks at the warm flows that found nothing
	freshSoon = 40 * time.Millisecond // … and at what became due, when no flow is warm
	freshMost = 500                   // bells that became due and are read at once
	freshBack = 50                    // ms by which bells may become visible after later ones
)

// warm is what is known of the warm flows of a (lane, app).
type warm struct {
	flows map[int64]bool
	queue []int64 // the same, in the order in which they are looked at

	fresh task.BellAfter // the last bell that was seen to become due …
	full  bool           // … and more are due behind it
	at    time.Time      // next look
}

// add makes a flow warm.
func (w *warm) add(flow int64) {
	if flow == 0 || w.flows[flow] || len(w.flows) >= warmMost {
		return
	}
	if w.flows == nil {
		w.flows = map[int64]bool{}
	}
	w.flows[flow] = true
	w.queue = append(w.queue, flow)
}

// nextAt is when to look again.
func (w *warm) nextAt() time.Time {
	if len(w.queue) > 0 {
		return w.at.Add(pollMin)
	}
	return w.at.Add(freshSoon)
}

// next takes up to n flows from the front of the queue.
func (w *warm) next(n int) []task.FlowDue {
	n = min(n, len(w.queue))
	out := make([]task.FlowDue, n)
	for i, flow := range w.queue[:n] {
		out[i].Flow = flow
		delete(w.flows, flow)
	}
	w.queue = w.queue[n:]
	return out
}

// lookAtWarm reads bells that may start of the warm flows.
func (p *loop) lookAtWarm(ctx context.Context, l *laneState, a *appState, want int) error {
	begin := time.Now()
	if begin.Before(a.warm.at) {
		return nil
	}
	if err := p.readFresh(ctx, l, a); err != nil {
		return err
	}
	before := len(a.ahead)
	flows := a.warm.next(flowPage)
	cold := make(map[int64]bool)
	for _, f := range flows {
		key := p.keyLimit(a.id, f.Flow)
		cold[f.Flow] = key != nil && key.Paused // until its limit changes
	}
	wants, err := p.wantedFlows(ctx, l, a, append([]task.FlowDue(nil), flows...), want)
	if err == nil {
		err = p.readFlows(ctx, l, a, wants, cold)
	}
	for _, f := range flows {
		if !cold[f.Flow] {
			a.warm.add(f.Flow)
		}
	}
	if a.warm.at = time.Now(); len(a.ahead) == before {
		a.warm.at = a.warm.at.Add(max(warmEvery, sweepShare*a.warm.at.Sub(begin)/2))
	}
	return err
}

// readFresh makes the flows warm of which a bell became due since the last time.
func (p *loop) readFresh(ctx context.Context, l *laneState, a *appState) error {
	w, now := &a.warm, p.s.o.Clock.Now()
	after := w.fresh
	if !w.full {
		after = task.BellAfter{DueAt: max(after.DueAt, now-1000) - freshBack}
	}
	bells, err := p.dueBells(ctx, l, a, after, freshMost)
	if err != nil {
		return err
	}
	for i := range bells {
		if key := p.keyLimit(a.id, bells[i].Flow); key == nil || !key.Paused {
			w.add(bells[i].Flow)
		}
	}
	if w.full = len(bells) == freshMost; len(bells) > 0 {
		if last := positionOf(bells[len(bells)-1]); w.full || later(last, w.fresh) {
			w.fresh = last
		}
	}
	if w.full && w.fresh.DueAt < now-1000 {
		w.full = false // too much at once: the sweep finds it
	}
	return nil
}

// readFlows reads the first bells of flows; those that have none are noted in cold, if it is there.
func (p *loop) readFlows(ctx context.Context, l *laneState, a *appState, wants []task.FlowWant, cold map[int64]bool) error {
	if len(wants) == 0 {
		return nil
	}
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	bells, err := p.s.o.Store.FlowBells(ctx, l.lane.ID, a.id, l.kind, p.s.o.Clock.Now(), wants)
	if err != nil {
		return err
	}
	if cold != nil {
		for _, w := range wants {
			cold[w.Flow] = true
		}
		for i := range bells {
			cold[bells[i].Flow] = false
		}
	}
	p.takeIn(l, a, bells)
	return nil
}
