package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	pollMin     = 2 * time.Millisecond
	pollBusy    = 50 * time.Millisecond
	pollMax     = 100 * time.Millisecond
	pollRare    = time.Second // … in a lane in which nothing was claimed for pollQuiet
	pollQuiet   = 2 * time.Second
	idsPerQuery = 500
	reringLook  = 100 * time.Millisecond
	reringBatch = jobBells
	stallMin    = 100 * time.Millisecond
	stallMax    = 2 * time.Second
)

// pollSoon sees to it that the lane is looked at in a moment.
func (l *laneState) pollSoon(now time.Time) {
	if at := now.Add(pollMin); l.pollAt.IsZero() || l.pollAt.After(at) {
		l.pollAt, l.pollWait = at, pollMin
	}
}

// pollAll asks which rung bells are still in the table: rung and gone is claimed. Lanes whose time is near come along, so
// that many lanes with a little each cost a few reads and not one for each.
func (p *loop) pollAll(ctx context.Context, now time.Time) error {
	var lanes []*laneState
	due := false
	for _, l := range p.lanes {
		switch {
		case len(l.rung) == 0:
			l.pollAt = time.Time{}
		case !now.Before(l.pollAt.Add(-l.pollWait / 2)):
			lanes = append(lanes, l)
			due = due || !now.Before(l.pollAt)
		}
	}
	if !due {
		return nil
	}
	var asked []rungIn
	for _, l := range lanes {
		withStuck := len(l.stuck) > 0 && now.Sub(l.stuckAt) >= stuckPoll
		if l.taken = 0; withStuck {
			l.stuckAt = now
		}
		for _, r := range l.rung {
			if !r.pressing && (r.aside == notAside || r.aside == stuck && withStuck) {
				asked = append(asked, rungIn{l, r})
			}
		}
	}
	for part := range slices.Chunk(asked, idsPerQuery) {
		if err := p.askLeft(ctx, part); err != nil {
			return err
		}
	}
	now = time.Now()
	for _, l := range lanes {
		l.pollNext(now, l.taken)
	}
	return nil
}

// rungIn is a rung bell of a lane.
type rungIn struct {
	l *laneState
	r *rungBell
}

// pollNext looks again after about an eighth of a window was claimed; less and less often while nothing is. At the start of
// a burst the rate that this follows from is not known yet: the pause no more than doubles, or the workers would have
// nothing for the rest of it.
func (l *laneState) pollNext(now time.Time, claimed int) {
	if claimed > 0 {
		eighth := time.Duration(float64(l.window(now)) / 8 / max(l.meter.rate(now), 1) * float64(time.Second))
		l.pollWait = min(max(pollMin, eighth), pollBusy, max(pollMin, 2*l.pollWait))
	} else {
		most := pollMax
		if now.Sub(l.claimedAt) > pollQuiet {
			most = pollRare
		}
		l.pollWait = min(max(pollMin, l.pollWait*3/2), most)
	}
	l.pollAt = now.Add(l.pollWait)
}

// askLeft asks about some bells and notes in their lanes what was claimed.
func (p *loop) askLeft(ctx context.Context, asked []rungIn) error {
	ids := make([]int64, len(asked))
	for i, x := range asked {
		ids[i] = x.r.bell.ID
	}
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	left, err := p.s.o.Store.BellsLeft(ctx, ids)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, x := range asked {
		n, still := left[x.r.bell.ID]
		if still && n < x.r.n && !x.r.limited() {
			x.r.limits, _ = p.limitsOfBell(x.l, &x.r.bell) // set since it was rung
		}
		x.l.settle(now, x.r, n, still, p.s.o.Intervals.Rering)
	}
	return nil
}

// settle notes what is left of a bell.
func (l *laneState) settle(now time.Time, r *rungBell, n int, still bool, again time.Duration) {
	switch {
	case !still:
		l.taken += r.n
		l.claimedAt = now
		l.forget(now, r, true)
	case n < r.n && r.limited():
		l.taken += r.n - n
		l.claimedAt = now
		l.meter.add(now, r.n-n)
		l.putBack(now, r, n)
	case n < r.n:
		l.taken += r.n - n
		l.claimedAt = now
		l.meter.add(now, r.n-n)
		l.count(r, n-r.n)
		r.n, r.direct = n, false
		r.rungAt, r.nextAt, r.interval = now, now.Add(again), 0 // somebody has it and takes it bit by bit
	}
}

// putBack lets a bell that was rung under limits wait for its turn again, with what is left of it. Bells of flows are found by the sweep.
func (l *laneState) putBack(now time.Time, r *rungBell, n int) {
	l.forget(now, r, false)
	if l.kind.Flows() {
		return
	}
	b := r.bell
	b.TaskIDs = b.TaskIDs[max(0, len(b.TaskIDs)-n):] // what was taken stood before what is left
	l.enqueue(l.app(b.AppID), task.Rung{Bell: b})
}

func earlier(x, y time.Time) time.Time {
	if x.Before(y) {
		return x
	}
	return y
}

// reringInterval is how long a rung bell may stay before it is rung again for the first time: four times as long as the lane takes for so
// many tasks.
func reringInterval(least, most time.Duration, tasks int, perSecond float64) time.Duration {
	if perSecond < 1 {
		return least
	}
	return min(max(least, time.Duration(4*float64(tasks)/perSecond*float64(time.Second))), most)
}

// rering rings bells again that stayed too long, or that may be lost because a broker vanished.
func (p *loop) rering(ctx context.Context, l *laneState, now time.Time) error {
	if now.Before(l.reringAt.Add(-reringLook/2)) && p.gen == l.pubGen { // lanes whose time is near come along
		return nil
	}
	l.reringAt, l.pubGen = now.Add(reringLook), p.gen
	l.findStuck(now, p.s.o.Intervals.Rering, p.s.o.Intervals.ReringMax)
	if now.Before(l.stalled) || l.lane.Paused {
		return nil
	}
	var again []*rungBell
	for _, r := range l.rung {
		lost := !r.direct && r.aside != parked && r.gen < p.gen
		if r.pressing || r.direct || !lost && now.Before(r.nextAt) || p.apps[r.bell.AppID].Paused {
			continue
		}
		if of, any := p.limitsOfBell(l, &r.bell); any || r.limited() {
			if r.unhold(); p.s.limits.room(of, now) == 0 {
				l.putBack(now, r, r.n)
				continue
			} else if any {
				r.hold(of, min(r.n, p.s.limits.room(of, now)))
			}
		}
		if again = append(again, r); len(again) == reringBatch {
			l.reringAt = now
			break
		}
	}
	if len(again) == 0 {
		return nil
	}
	return p.ringAgain(ctx, l, again)
}

// ringAgain rings those that are still there.
func (p *loop) ringAgain(ctx context.Context, l *laneState, bells []*rungBell) error {
	asked := make([]rungIn, len(bells))
	for i, r := range bells {
		asked[i] = rungIn{l, r}
	}
	if err := p.askLeft(ctx, asked); err != nil {
		return err
	}
	var again, retried []task.Rung
	for _, r := range bells {
		if l.rung[r.bell.ID] != r {
			continue
		}
		r.pressing = true
		if r.failed || r.aside == parked {
			retried = append(retried, task.Rung{Bell: r.bell})
		} else {
			again = append(again, task.Rung{Bell: r.bell})
		}
	}
	pack(again, func(part []task.Rung) { p.s.press.add(job{lane: l.lane, rungs: part, rerung: true}) })
	pack(retried, func(part []task.Rung) { p.s.press.add(job{lane: l.lane, rungs: part}) })
	return nil
}

// pressedResult notes what became of a job.
func (p *loop) pressedResult(l *laneState, res pressed, now time.Time) {
	if res.err != nil {
		if l.stall == 0 {
			p.s.o.Logger.Warn("bells not published, will try again", "lane", l.lane.Topic(), "err", res.err)
		}
		l.stall = min(max(stallMin, 2*l.stall), stallMax)
		l.stalled = now.Add(l.stall)
		l.unload()
	} else if l.stall != 0 {
		l.stall, l.stalled = 0, time.Time{}
		p.s.o.Logger.Info("bells are published again", "lane", l.lane.Topic())
	}
	rate := l.rate(now)
	for _, id := range res.ids {
		r := l.rung[id]
		if r == nil {
			continue
		}
		r.pressing, r.failed = false, res.err != nil
		if r.failed {
			r.nextAt, r.interval, r.gen = l.stalled, 0, p.gen
			continue
		}
		r.gen = res.gen
		if kind, not := res.parked[id]; not {
			l.setAside(r, parked)
			p.alarm(l, kind, now)
		} else if r.aside == parked {
			l.setAside(r, notAside)
			r.rungAt = now
		}
		r.nextAt = now.Add(p.nextRing(l, r, now, rate))
	}
	l.pollSoon(now)
}

// nextRing is how long a bell that was just rung may stay before it is rung again: at double the interval each time, but for when the lane is
// in haste. It starts with what the lane takes for the tasks that are rung and not claimed, of which this bell is the last. (The protocol,
// section 3, says W, which is the most that these may be. In a lane of a few tasks a second W stands for minutes, and so long a bell
// that a broker lost without a word would wait beside idle workers.)
func (p *loop) nextRing(l *laneState, r *rungBell, now time.Time, perSecond float64) time.Duration {
	i := &p.s.o.Intervals
	switch {
	case l.hastyAgain(r, now):
		return min(hasteEvery, i.Rering)
	case r.interval == 0 && (r.limited() || r.held):
		r.interval = limitedRering
	case r.interval == 0:
		r.interval = reringInterval(i.Rering, i.ReringMax, max(l.unclaimed, r.n), perSecond)
	default:
		r.interval = min(2*r.interval, i.ReringMax)
	}
	return r.interval
}
