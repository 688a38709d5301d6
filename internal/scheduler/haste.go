package scheduler

import (
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// A worker that died with its connections open (stopped, cut off, its machine gone) goes on being sent messages until nsqd
// misses its heartbeats, and what it was sent comes back only when nsqd's message timeout ends. So when a worker is gone,
// any bell that is rung and unclaimed in the lanes that it served may be one of those, and so may the next ones that are
// rung, those of the tasks taken from it above all. For a while such lanes are in haste: what stays is rung again after a
// short, even interval instead of a growing one.
//
// This costs little. A bell that was claimed meanwhile is not rung again, where no slot is free only the first round is
// rung, and a bell is rung in haste hasteMost times at the most, however many workers go, before it is left to its growing
// interval for hasteRest.
const (
	hasteFor   = 5 * time.Second        // a lane is in haste for so long after a worker of it is gone
	hasteFirst = 300 * time.Millisecond // a bell that was rung before is rung again then, if nobody claimed it meanwhile
	hasteEvery = time.Second            // … and then so often, like those that are rung since
	hasteMost  = 4                      // times that a bell is rung in haste
	hasteRest  = 30 * time.Second       // … before it is not for so long
)

// deserters lists workers that were alive in one reading and are in the next one not even draining: they died, or went
// while nobody looked.
func deserters(was []task.Worker, is []task.Worker) (out []task.Worker) {
	for _, w := range was {
		if !slices.ContainsFunc(is, func(o task.Worker) bool { return o.ID == w.ID && o.State != task.WorkerGone }) {
			out = append(out, w)
		}
	}
	return out
}

// hasten puts the lanes that gone workers served in haste.
func (p *loop) hasten(gone []task.Worker, now time.Time) {
	if len(gone) == 0 {
		return
	}
	for _, l := range p.lanes {
		if slices.ContainsFunc(gone, func(w task.Worker) bool { return serves(&w, l.lane.Queue) }) {
			l.hasten(now)
		}
	}
	// A lane that is not known yet may be the first to get a bell back.
	p.hastened = append(slices.DeleteFunc(p.hastened, func(h haste) bool { return !now.Before(h.until) }), haste{now.Add(hasteFor), gone})
}

// haste remembers who is gone until the haste is over.
type haste struct {
	until time.Time
	gone  []task.Worker
}

// hasteOf is until when a lane that was just made is in haste.
func (p *loop) hasteOf(queue string) (until time.Time) {
	for _, h := range p.hastened {
		if slices.ContainsFunc(h.gone, func(w task.Worker) bool { return serves(&w, queue) }) {
			until = h.until // the last one ends last
		}
	}
	return until
}

// hasten lets the lane ring again soon what it has rung. Jobs under way see it when they end.
func (l *laneState) hasten(now time.Time) {
	l.hasteTill = now.Add(hasteFor)
	for _, r := range l.rung {
		if r.pressing || r.failed || r.direct || r.aside == parked {
			continue
		}
		if at := now.Add(hasteFirst); at.Before(r.nextAt) && r.mayHaste(now) {
			r.nextAt = at
		}
	}
}

// hastyAgain reports whether a bell that was just rung is to be rung again in haste, and counts it.
func (l *laneState) hastyAgain(r *rungBell, now time.Time) bool {
	if !now.Before(l.hasteTill) || r.aside == parked {
		return false
	}
	if !l.kind.Shell() && l.freeFrom.IsZero() {
		return false // nobody could take it; of the slots for commands it is not known
	}
	return r.mayHaste(now)
}

// mayHaste takes one of the times that a bell may be rung in haste.
func (r *rungBell) mayHaste(now time.Time) bool {
	if now.Sub(r.hastyAt) >= hasteRest {
		r.hasty = 0
	}
	if r.hasty >= hasteMost {
		return false
	}
	r.hasty, r.hastyAt = r.hasty+1, now
	return true
}
