package scheduler

import (
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Bells that nobody can claim must not fill a window, or everybody else in the lane stands still. Two kinds of them are
// set aside. Parked is what only kinds wait in that no live worker of the queue runs: it is not published at all until that
// changes. Stuck is what was published and stays although the workers have had free slots all the time: some of them may run
// it, but not those that are free. What is set aside counts for its app alone, which rings nothing more while it has as much
// of it as a window.
type aside uint8

const (
	notAside aside = iota
	stuck
	parked
)

const (
	stuckApps  = 8     // so many apps may have a whole window stuck; more of them share as much
	parkedMost = 8_192 // bells parked in a lane, shared by its apps
	parkedApp  = 64    // … of which each has so many at the least
	stuckPoll  = 500 * time.Millisecond
	alarmAgain = time.Minute
)

// count adds n tasks of a bell to what it counts in.
func (l *laneState) count(r *rungBell, n int) {
	app := r.bell.AppID
	switch r.aside {
	case stuck:
		if l.stuck[app] += n; l.stuck[app] <= 0 {
			delete(l.stuck, app)
		}
	case parked:
		if n == r.n || n == -r.n { // the whole bell comes or goes
			if n > 0 {
				l.parked[app]++
			} else if l.parked[app]--; l.parked[app] <= 0 {
				delete(l.parked, app)
			}
		}
	default:
		l.unclaimed += n
	}
}

// setAside changes what a bell counts in.
func (l *laneState) setAside(r *rungBell, to aside) {
	if r.aside != to {
		l.count(r, -r.n)
		r.aside = to
		l.count(r, r.n)
	}
}

// full reports whether so much of an app is set aside that it rings nothing more.
func (l *laneState) full(app int32) bool { return l.fullWith(app, 1) }

// fullWith is full for as many times what is set aside.
func (l *laneState) fullWith(app int32, times int) bool {
	if n := l.stuck[app] * times; n > 0 && n >= max(minWindow, windowSize(l.slots, l.done)*stuckApps/max(stuckApps, len(l.stuck))) {
		return true
	}
	n := l.parked[app] * times
	return n > 0 && n >= max(parkedApp, parkedMost/len(l.parked))
}

// anyHalfFull reports whether some app has so much set aside that its writers must not ring more of it.
func (l *laneState) anyHalfFull() bool {
	for app := range l.stuck {
		if l.fullWith(app, 2) {
			return true
		}
	}
	for app := range l.parked {
		if l.fullWith(app, 2) {
			return true
		}
	}
	return false
}

// findStuck sets aside what stays although slots are free. A bell that is taken bit by bit does not stay.
func (l *laneState) findStuck(now time.Time, least, most time.Duration) {
	if l.freeFrom.IsZero() || l.kind.Shell() { // free slots say nothing of those for commands
		return
	}
	interval := reringInterval(least, most, l.window(now), l.rate(now))
	if l.freeTo.Sub(l.freeFrom) < interval {
		return
	}
	for _, r := range l.rung {
		if r.aside == notAside && !r.pressing && !r.failed && !r.direct && !r.limited() && l.freeTo.Sub(r.rungAt) >= interval {
			l.setAside(r, stuck)
		}
	}
}

// measureFree notes from when to when slots were free, as of a beat. What the workers did after their beats nobody knows: a
// burst takes all their slots at once, and what waits behind it is not stuck.
func (l *laneState) measureFree(free int, beat time.Time) {
	if free <= 0 {
		l.freeFrom = time.Time{}
		return
	}
	if l.freeFrom.IsZero() {
		l.freeFrom = beat
	}
	l.freeTo = beat
}

// unpark lets what is parked be read and admitted again: other workers are there.
func (l *laneState) unpark(now time.Time) {
	for app := range l.parked {
		if a := l.apps[app]; a != nil {
			a.cursor, a.tail = task.BellAfter{}, false
		}
	}
	if len(l.parked) > 0 {
		for _, r := range l.rung {
			if r.aside == parked {
				l.forget(now, r, false)
			}
		}
	}
}

// leave forgets an app that was paused: what was rung of it may run or be lost, but none of it holds others up. All is read
// again when it goes on.
func (l *laneState) leave(now time.Time, app int32) {
	for _, r := range l.rung {
		if r.bell.AppID == app {
			l.forget(now, r, false)
		}
	}
	if a := l.apps[app]; a != nil {
		for _, r := range a.ahead {
			l.held -= bodyBytes(r)
		}
		l.drr.deactivate(app)
		delete(l.apps, app)
	}
}

// leaveAll forgets everything of a lane that was paused, as leave does.
func (l *laneState) leaveAll(now time.Time) {
	for app := range l.apps {
		l.leave(now, app)
	}
	for _, r := range l.rung {
		l.forget(now, r, false)
	}
}

// alarm says that tasks wait for a worker that runs their kind, once in a while for each queue and kind.
func (p *loop) alarm(l *laneState, kind string, now time.Time) {
	at := [2]string{l.lane.Queue, kind}
	if last, said := p.alarmed[at]; said && now.Sub(last) < alarmAgain {
		return
	}
	p.alarmed[at] = now
	p.s.o.Logger.Warn("tasks wait, but no live worker of their queue runs their kind", "queue", l.lane.Queue, "kind", kind)
}
