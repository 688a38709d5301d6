package scheduler

import (
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	graceMax  = time.Second            // a direct bell is its writer's for this long after its time
	graceFree = 150 * time.Millisecond // … when workers have free slots, so that a bell that was rung would be gone
	graceWoke = 4 * time.Millisecond   // … when a writer just said that it had no credit
	wokeFor   = 300 * time.Millisecond
)

// grace is how long after its due time a direct bell of the lane is left to its writer. It is about bells that were due
// when they were written, which need credit. Those that were seen before their time are kept by their writer, who rings
// them at their instant without asking for credit: they are always left for the longest time.
func (p *loop) grace(l *laneState, now time.Time) time.Duration {
	switch {
	case p.creditOf(l) == 0:
		return 0
	case now.Sub(p.wokeAt) < wokeFor:
		return graceWoke
	case l.unclaimed <= l.slots:
		return graceFree
	}
	return graceMax
}

// leaveToWriter decides about a due direct bell that was just read. If its writer may be ringing it, it is tracked like
// one that was rung, so that it counts in the window and is noticed when it stays.
func (p *loop) leaveToWriter(l *laneState, b task.Bell, now time.Time) bool {
	age, kept := -p.s.o.Clock.Until(b.DueAt), p.s.ahead.kept(b.ID)
	if age >= graceMax || !kept && age >= p.grace(l, now) {
		return false
	}
	l.track(&rungBell{bell: b, n: len(b.TaskIDs), direct: true, kept: kept, rungAt: now, nextAt: now.Add(graceMax - age)})
	l.pollSoon(now)
	return true
}

// reclaimDirect takes over direct bells that their writers do not seem to ring: whose grace is over, or that are more than
// the writers' credit. They are rung in turn like all others.
func (p *loop) reclaimDirect(l *laneState, now time.Time) {
	if l.stillDirect() == 0 {
		return
	}
	grace, credit := p.grace(l, now), p.creditOf(l)
	left := make(map[int32]int)
	for _, r := range l.rung {
		if !r.direct {
			continue
		}
		age := -p.s.o.Clock.Until(r.bell.DueAt)
		if !r.kept {
			left[r.bell.AppID] += r.n
		}
		if age < graceMax && (r.kept || age < grace && left[r.bell.AppID] <= credit) {
			continue
		}
		l.forget(now, r, false)
		l.enqueue(l.app(r.bell.AppID), task.Rung{Bell: r.bell})
	}
}

// stillDirect counts bells that are left to their writers.
func (l *laneState) stillDirect() (n int) {
	for _, r := range l.rung {
		if r.direct {
			n++
		}
	}
	return n
}
