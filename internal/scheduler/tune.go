package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	tuneEvery = 200 * time.Millisecond
	calm      = time.Second // uncontended for this long before writers get credit again
	tuneStale = 3 * time.Second
)

// tuning is what writers re-read of a lane.
type tuning struct{ credit, bellSize int }

// creditFor is what writers may ring of one app in 200 ms: a quarter of the window, or, for a lane that is quiet, what
// its throughput needs with some room, so that a steady load is rung by its writers.
func creditFor(window int, perSecond float64) int {
	return max(window/4, int(0.4*perSecond))
}

// usualSlots is a worker's default number of slots, for which the classes of bellSizeFor are.
const usualSlots = 256

// bellSizeFor is how many tasks a bell of the lane may hold, from the mean run time and the slots of one worker. It changes only
// when the mean has clearly left the class of the current size.
//
// A bell goes to one worker, so that what counts is for how long it keeps that one busy: a worker of 1,024 slots is done with a
// bell in a quarter of the time, and calls to one endpoint run longer the more of them run at once. Without that, more slots made
// bells of one task, and a message for each, of work that is over in a moment. A bell of the middle class is a sixteenth of the
// slots: callbacks with 1,024 of them are an eighth faster with bells of 64 than with 16. A worker with fewer slots keeps the
// classes: it leaves in the bell what it cannot take.
func bellSizeFor(current int, runMs float64, slots int) int {
	if runMs <= 0 {
		return current
	}
	times := max(1, float64(slots)/usualSlots)
	runMs /= times
	class := func(ms float64) int {
		switch {
		case ms < 5:
			return task.MaxBellTasks
		case ms < 50:
			return min(int(16*times), task.MaxBellTasks)
		}
		return 1
	}
	low, high := class(runMs*0.8), class(runMs*1.25)
	if low == current || high == current {
		return current
	}
	return class(runMs)
}

// creditOf is the credit that writers have now, as far as known here.
func (p *loop) creditOf(l *laneState) int {
	if l.main != nil {
		l = l.main
	}
	if !l.writtenAt.IsZero() {
		return l.written.credit
	}
	return l.lane.Credit
}

// tune writes credit and bell size when they have changed in a way that matters.
func (p *loop) tune(ctx context.Context, l *laneState, now time.Time) error {
	apps := p.waiting(l)
	if l.contended = apps > 1 || apps > 0 && l.unclaimed >= l.window(now)/2 || l.anyHalfFull(); l.contended {
		l.busyAt = now
	}
	if l.main != nil { // writers know one credit for the lane
		if l.contended {
			l.main.busyAt = now
		}
		return nil
	}
	if now.Before(l.tunedAt.Add(tuneEvery)) && !(l.contended && p.creditOf(l) > 0) {
		return nil
	}
	l.tunedAt = now
	if !l.writtenAt.IsZero() && (now.Sub(l.writtenAt) > tuneStale || l.lane.Credit == l.written.credit && l.lane.BellSize == l.written.bellSize) {
		l.writtenAt = time.Time{}
	}
	current := tuning{p.creditOf(l), l.lane.BellSize}
	if !l.writtenAt.IsZero() {
		current = l.written
	}
	want := tuning{p.wantCredit(l, now), bellSizeFor(current.bellSize, l.runMs, p.workers.slotsOfOne(l.lane.Queue))}
	if !matters(current, want) {
		return nil
	}
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	if err := p.s.o.Store.TuneLane(ctx, l.lane.ID, want.credit, want.bellSize); err != nil {
		return err
	}
	l.written, l.writtenAt = want, now
	return nil
}

func (p *loop) wantCredit(l *laneState, now time.Time) int {
	if l.lane.Paused || l.contended || now.Sub(l.busyAt) < calm || l.slots == 0 {
		return 0
	}
	return creditFor(windowSize(l.slots, 0), l.rate(now))
}

// matters reports whether writers would behave differently.
func matters(is, want tuning) bool {
	if is.bellSize != want.bellSize || (is.credit == 0) != (want.credit == 0) {
		return true
	}
	return want.credit*2 > is.credit*3 || want.credit*3 < is.credit
}
