package scheduler

import (
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// maxPollGap is how far apart two polls may be and still count as watching: a scheduler that was stopped itself has not
// watched anybody.
const maxPollGap = 4 * time.Second

// deathWatch decides who is dead (protocol section 3, "Death is watched, not computed"): who shows the same beat in polls
// of this process that all succeeded, for as long as after by its own monotonic clock. No clock of anybody else is asked.
type deathWatch struct {
	after time.Duration
	last  time.Time // of the last good poll
	seen  map[int64]beat
}

type beat struct {
	at    int64     // beat_at as read
	since time.Time // when it was first read
}

// observe takes a good poll and gives the workers that are dead, as they were watched.
func (d *deathWatch) observe(now time.Time, workers []task.Worker) (dead []task.Worker) {
	if d.seen == nil || now.Sub(d.last) > maxPollGap {
		d.seen = make(map[int64]beat)
	}
	d.last = now
	alive := make(map[int64]bool, len(workers))
	for _, w := range workers {
		if w.State == task.WorkerGone {
			continue
		}
		alive[w.ID] = true
		b, known := d.seen[w.ID]
		if !known || b.at != w.BeatAt {
			d.seen[w.ID] = beat{w.BeatAt, now}
			continue
		}
		if now.Sub(b.since) >= d.after {
			dead = append(dead, w)
		}
	}
	for id := range d.seen {
		if !alive[id] {
			delete(d.seen, id)
		}
	}
	return dead
}

// failed takes a poll that failed: the watch starts again, so that after an outage of the database nobody is dead.
func (d *deathWatch) failed() { d.seen = nil }
