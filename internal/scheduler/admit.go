package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	readMin = 32
	readMax = 500

	rescanPages = 32
)

// admit says whether n tasks of an app may be rung in a lane now: n, or 0. It is the one place for pauses, rates and concurrency of
// queues and apps (those of keys: limitsOfBell): what may not run is not rung, so nothing spins and no attempt is used. Of a bell that holds
// more than limits have room for the claim takes what there is room for.
func (p *loop) admit(l *laneState, app int32, n int) int {
	if l.lane.Paused || p.apps[app].Paused || l.full(app) {
		return 0
	}
	if of, any := p.s.limits.of(l.lane.Queue, app, 0); any && p.s.limits.room(of, time.Now()) == 0 {
		return 0
	}
	return n
}

// fill rings bells of a lane until its window is full or nothing is left to ring.
func (p *loop) fill(ctx context.Context, l *laneState, now time.Time) error {
	if now.Before(l.stalled) {
		return nil
	}
	p.reclaimDirect(l, now)
	p.takeTurns(l)
	var batch []task.Rung
	defer func() { p.ring(l, batch, now) }()
	w, refused := l.window(now), 0
	for l.unclaimed < w {
		id, ok := l.drr.next()
		if !ok || refused > len(l.drr.turns) {
			return nil
		}
		a := l.apps[id]
		if len(a.ahead) == 0 {
			more, err := p.readAhead(ctx, l, a, w)
			if err != nil {
				return err
			}
			if !more {
				l.drr.deactivate(id)
			}
			continue
		}
		n := len(a.ahead[0].TaskIDs)
		if p.admit(l, id, n) < n {
			l.drr.skip(id)
			refused++
			continue
		}
		if l.unclaimed > 0 && l.unclaimed+n > w {
			return nil
		}
		of, limited := p.limitsOfBell(l, &a.ahead[0].Bell)
		room := n
		if limited {
			if room = p.s.limits.room(of, now); room == 0 {
				l.dequeue(a) // its key waits: the sweep finds it when there is room
				continue
			}
		}
		r := l.dequeue(a)
		if l.rung[r.ID] != nil {
			continue // rung at its instant since it was read
		}
		a.warm.add(r.Flow)
		l.drr.charge(id, min(n, room))
		rung := &rungBell{bell: r.Bell, n: n, pressing: true, rungAt: now}
		if limited {
			rung.hold(of, room)
		}
		l.track(rung)
		batch, refused = append(batch, r), 0
	}
	return nil
}

// takeTurns lets every app take part that has bells to ring or to read.
func (p *loop) takeTurns(l *laneState) {
	for id, a := range l.apps {
		if len(a.ahead) > 0 || !a.tail || a.look {
			if p.admit(l, id, 1) > 0 {
				l.drr.activate(id, p.weight(id))
			} else {
				l.drr.deactivate(id)
			}
		}
	}
}

func (p *loop) weight(app int32) int { return max(1, p.apps[app].Weight) }

// readAhead reads due bells of an app after its cursor and reports whether there is anything to ring.
//
// At the end of what is due, a little is read again each time: bells become visible in the order of their commits, not of
// their due times. What is older than that is found by the rescan.
func (p *loop) readAhead(ctx context.Context, l *laneState, a *appState, want int) (bool, error) {
	if a.tail && !a.look {
		return false, nil
	}
	if l.kind.Flows() {
		return p.sweep(ctx, l, a, want)
	}
	a.look = false
	after := a.cursor
	if a.tail {
		after = task.BellAfter{DueAt: min(a.cursor.DueAt-overlapMs, a.minDue-1)}
	}
	limit := readLimit(l, want)
	bells, err := p.dueBells(ctx, l, a, after, limit)
	if err != nil {
		a.look = true
		return false, err
	}
	a.advance(bells, limit)
	p.takeIn(l, a, bells)
	return len(a.ahead) > 0 || !a.tail && len(bells) > 0, nil
}

// readLimit is how many bells to read for about two windows of tasks.
func readLimit(l *laneState, want int) int {
	return min(max(readMin, 2*want/max(1, l.lane.BellSize)), readMax)
}

// dueBells reads one page after a position.
func (p *loop) dueBells(ctx context.Context, l *laneState, a *appState, after task.BellAfter, limit int) ([]task.Bell, error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	return p.s.o.Store.DueBells(ctx, l.lane.ID, a.id, l.kind, p.s.o.Clock.Now(), after, limit)
}

// advance notes how far a page went that follows on the cursor, or covers it.
func (a *appState) advance(bells []task.Bell, limit int) {
	if n := len(bells); n > 0 {
		if last := positionOf(bells[n-1]); later(last, a.cursor) {
			a.cursor = last
		}
	}
	a.tail = len(bells) < limit
}

func positionOf(b task.Bell) task.BellAfter { return task.BellAfter{DueAt: b.DueAt, ID: b.ID} }

func later(x, y task.BellAfter) bool { return x.DueAt > y.DueAt || x.DueAt == y.DueAt && x.ID > y.ID }

// takeIn sorts bells that were read: known ones are left, direct ones are left to their writers for a while, the others
// wait to be rung.
func (p *loop) takeIn(l *laneState, a *appState, bells []task.Bell) {
	now := time.Now()
	for _, b := range bells {
		if l.known(a, b.ID) || p.s.ahead.holding(b.ID) {
			continue
		}
		if b.Direct && p.leaveToWriter(l, b, now) {
			continue
		}
		l.enqueue(a, task.Rung{Bell: b})
	}
}

// rescan reads an app's due bells from the start up to its cursor: bells that became due or visible behind it. What it
// reads is bounded by what is rung and by stragglers, not by the backlog. It does not read on where the backlog is deep, so
// that no more is held in memory than about to be rung.
func (p *loop) rescan(ctx context.Context, l *laneState, a *appState, now time.Time) error {
	if l.kind.Flows() || now.Before(a.rescan) || p.admit(l, a.id, 1) == 0 {
		return nil
	}
	begin := time.Now()
	defer func() { a.rescan = now.Add(max(p.s.o.Intervals.Rescan, lookShare*time.Since(begin))) }()
	var after task.BellAfter
	for range rescanPages {
		bells, err := p.dueBells(ctx, l, a, after, readMax)
		if err != nil {
			return err
		}
		if a.tail {
			a.look = false
			a.advance(bells, readMax)
			p.takeIn(l, a, bells)
			return nil
		}
		n := len(bells)
		behind := slices.IndexFunc(bells, func(b task.Bell) bool { return later(positionOf(b), a.cursor) })
		if behind >= 0 {
			bells = bells[:behind]
		}
		p.takeIn(l, a, bells)
		if behind >= 0 || n < readMax {
			return nil
		}
		after = positionOf(bells[n-1])
	}
	return nil
}

// ring gives bells that were tracked to the press.
func (p *loop) ring(l *laneState, batch []task.Rung, now time.Time) {
	pack(batch, func(part []task.Rung) {
		p.s.press.add(job{lane: l.lane, rungs: part, loaded: loaded(part)})
	})
	if len(batch) > 0 {
		l.pollSoon(now)
	}
}
