package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	pollMin     = 2 * time.Millisecond
	pollBusy    = 50 * time.Millisecond
	pollMax     = 100 * time.Millisecond
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

// poll asks which rung bells of a lane are still in the table: rung and gone is claimed.
func (p *loop) poll(ctx context.Context, l *laneState, now time.Time) error {
	if len(l.rung) == 0 {
		l.pollAt = time.Time{}
		return nil
	}
	if now.Before(l.pollAt) {
		return nil
	}
	claimed := 0
	ids := make([]int64, 0, min(len(l.rung), idsPerQuery))
	ask := func() error {
		n, err := p.askLeft(ctx, l, ids)
		claimed += n
		ids = ids[:0]
		return err
	}
	for id, r := range l.rung {
		if r.pressing {
			continue
		}
		if ids = append(ids, id); len(ids) == idsPerQuery {
			if err := ask(); err != nil {
				return err
			}
		}
	}
	if len(ids) > 0 {
		if err := ask(); err != nil {
			return err
		}
	}
	l.pollNext(time.Now(), claimed)
	return nil
}

// pollNext looks again after about an eighth of a window was claimed; less and less often while nothing is.
func (l *laneState) pollNext(now time.Time, claimed int) {
	if claimed > 0 {
		eighth := time.Duration(float64(l.window(now)) / 8 / max(l.meter.rate(now), 1) * float64(time.Second))
		l.pollWait = min(max(pollMin, eighth), pollBusy)
	} else {
		l.pollWait = min(max(pollMin, l.pollWait*3/2), pollMax)
	}
	l.pollAt = now.Add(l.pollWait)
}

// askLeft asks about some bells and gives how many tasks were claimed.
func (p *loop) askLeft(ctx context.Context, l *laneState, ids []int64) (claimed int, err error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	left, err := p.s.o.Store.BellsLeft(ctx, ids)
	if err != nil {
		return 0, err
	}
	now := time.Now()
	for _, id := range ids {
		r := l.rung[id]
		n, still := left[id]
		switch {
		case r == nil:
		case !still:
			claimed += r.n
			l.forget(now, r, true)
		case n < r.n:
			claimed += r.n - n
			l.meter.add(now, r.n-n)
			l.unclaimed -= r.n - n
			r.n, r.direct = n, false
			r.nextAt, r.interval = now.Add(p.s.o.Intervals.Rering), 0 // somebody has it and takes it bit by bit
		}
	}
	return claimed, nil
}

func earlier(x, y time.Time) time.Time {
	if x.Before(y) {
		return x
	}
	return y
}

// reringInterval is how long a rung bell may stay before it is rung again for the first time.
func reringInterval(least, most time.Duration, window int, perSecond float64) time.Duration {
	if perSecond < 1 {
		return least
	}
	return min(max(least, time.Duration(4*float64(window)/perSecond*float64(time.Second))), most)
}

// rering rings bells again that stayed too long, or that may be lost because a broker vanished.
func (p *loop) rering(ctx context.Context, l *laneState, now time.Time) error {
	if now.Before(l.reringAt) && p.gen == l.pubGen {
		return nil
	}
	l.reringAt, l.pubGen = now.Add(reringLook), p.gen
	if now.Before(l.stalled) || l.lane.Paused {
		return nil
	}
	var again []*rungBell
	for _, r := range l.rung {
		lost := !r.direct && r.gen < p.gen
		if r.pressing || r.direct || !lost && now.Before(r.nextAt) || p.apps[r.bell.AppID].Paused {
			continue
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
	ids := make([]int64, len(bells))
	for i, r := range bells {
		ids[i] = r.bell.ID
	}
	if _, err := p.askLeft(ctx, l, ids); err != nil {
		return err
	}
	var again, retried []task.Rung
	for _, r := range bells {
		if l.rung[r.bell.ID] != r {
			continue
		}
		r.pressing = true
		if r.failed {
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
	} else if l.stall != 0 {
		l.stall, l.stalled = 0, time.Time{}
		p.s.o.Logger.Info("bells are published again", "lane", l.lane.Topic())
	}
	w, rate := l.window(now), l.rate(now)
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
		if r.interval == 0 {
			r.interval = reringInterval(p.s.o.Intervals.Rering, p.s.o.Intervals.ReringMax, w, rate)
		} else {
			r.interval = min(2*r.interval, p.s.o.Intervals.ReringMax)
		}
		r.gen, r.nextAt = res.gen, now.Add(r.interval)
	}
	l.pollSoon(now)
}
