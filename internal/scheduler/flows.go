package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Bells of limit keys (flows) are found by key, not by due time, so that those of a key that is paused or at its limit are never read,
// however many there are. A sweep goes over the keys of a (lane, app) that have bells, some at a time, by an index: it reads one entry
// for each key, how the limits among them stand, and the first bells of those that may start. Nothing is kept of a key but its limit. A
// sweep that found nothing waits ten times as long as it took, so that 100,000 keys that all wait cost a tenth of a connection; they are
// gone round in about 10 s then, a thousand in 100 ms. Keys of which something happened lately do not wait for that (warm.go).

const (
	flowPage   = 256                    // flows looked at in one step of a sweep
	sweepShare = 10                     // a step that found nothing waits for so many times as it took
	sweepMost  = 200 * time.Millisecond // … and the last one at most this, when no limit is about to have room
)

// sweep does one step of an app's sweep and reports whether there is anything to ring.
func (p *loop) sweep(ctx context.Context, l *laneState, a *appState, want int) (bool, error) {
	if err := p.lookAtWarm(ctx, l, a, want); err != nil {
		return false, err
	}
	begin := time.Now()
	if begin.Before(a.sweepAt) {
		return len(a.ahead) > 0, nil
	}
	flows, err := p.dueFlows(ctx, l, a)
	if err != nil {
		return false, err
	}
	last := len(flows) < flowPage
	if a.flowAt = 0; !last {
		a.flowAt = flows[len(flows)-1].Flow
	}
	wants, err := p.wantedFlows(ctx, l, a, flows, want)
	if err != nil {
		return false, err
	}
	before := len(a.ahead)
	if err := p.readFlows(ctx, l, a, wants, nil); err != nil {
		return false, err
	}
	now := time.Now()
	switch pause := sweepShare * now.Sub(begin); {
	case len(a.ahead) > before:
		a.sweepAt = now
	case !last:
		a.sweepAt = now.Add(pause)
	default:
		at := now.Add(sweepMost)
		if free := p.s.limits.freeAt; !free.IsZero() {
			at = earlier(at, free)
		}
		if at.Before(now.Add(pause)) {
			at = now.Add(pause)
		}
		a.sweepAt = at
	}
	return len(a.ahead) > 0, nil
}

func (p *loop) dueFlows(ctx context.Context, l *laneState, a *appState) ([]task.FlowDue, error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	return p.s.o.Store.DueFlows(ctx, l.lane.ID, a.id, l.kind, a.flowAt, flowPage)
}

// wantedFlows says how many bells to read of each flow that may start something.
func (p *loop) wantedFlows(ctx context.Context, l *laneState, a *appState, flows []task.FlowDue, want int) ([]task.FlowWant, error) {
	m, dbNow := p.s.limits, p.s.o.Clock.Now()
	var ask []*limit
	due := flows[:0]
	for _, f := range flows {
		if f.MinDue > dbNow {
			continue
		}
		due = append(due, f)
		if key := p.keyLimit(a.id, f.Flow); key != nil && !key.None() && time.Since(key.countAt) >= countsEvery {
			ask = append(ask, key)
		}
	}
	if err := m.read(ctx, ask); err != nil {
		return nil, err
	}
	wants := make([]task.FlowWant, 0, len(due))
	now := time.Now()
	for _, f := range due {
		n := want
		if key := p.keyLimit(a.id, f.Flow); key != nil {
			n = min(n, m.roomIn(key, now))
		}
		if n > 0 {
			wants = append(wants, task.FlowWant{Flow: f.Flow, Bells: n})
		}
	}
	known := l.knownFlows()
	for i := range wants {
		w := &wants[i]
		w.Bells = min(w.Bells, max(1, 2*want/len(wants)/max(1, l.lane.BellSize)))
		w.Bells = min(w.Bells+known[w.Flow], readMax)
	}
	return wants, nil
}

func (p *loop) keyLimit(app int32, flow int64) *limit {
	m := p.s.limits
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.keys[flowKey{app, flow}]
}

// knownFlows counts the bells of each flow that are rung or about to be: they come first when a flow's bells are read.
func (l *laneState) knownFlows() map[int64]int {
	out := make(map[int64]int)
	for _, r := range l.rung {
		out[r.bell.Flow]++
	}
	for _, a := range l.apps {
		for i := range a.ahead {
			out[a.ahead[i].Flow]++
		}
	}
	return out
}
