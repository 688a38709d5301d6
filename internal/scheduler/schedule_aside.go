package scheduler

import (
	"sync"
	"time"
)

const (
	spoiltFirst = time.Second // how long a schedule that cannot be fired is left alone,
	spoiltMost  = 10 * time.Minute
	spoiltKept  = 10_000 // schedules remembered as such
)

// spoilt remembers the schedules that cannot be fired for a reason of their own: a definition that nobody understands, a
// transaction that the store refuses. They are tried again at twice the time after each try, at once when somebody changes
// them, and never stand in the way of others.
type spoilt struct {
	s *Scheduler

	mu  sync.Mutex
	ids map[spoiltKey]spoil
}

// spoiltKey says of which schedule what fails.
type spoiltKey struct {
	id   int64
	what string // fire, settle or release
}

type spoil struct {
	version int64
	wait    time.Duration
	until   time.Time
}

func newSpoilt(s *Scheduler) *spoilt { return &spoilt{s: s, ids: make(map[spoiltKey]spoil)} }

// aside reports whether this version of a schedule is left alone for now. Version 0 is any.
func (p *spoilt) aside(id, version int64, what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.ids[spoiltKey{id, what}]
	return ok && one.version == version && time.Now().Before(one.until)
}

// note sets a schedule aside and says so.
func (p *spoilt) note(id, version int64, what string, err error) {
	now, key := time.Now(), spoiltKey{id, what}
	p.mu.Lock()
	one, known := p.ids[key]
	if one.version != version {
		one = spoil{version: version}
	}
	one.wait = min(max(spoiltFirst, 2*one.wait), spoiltMost)
	one.until = now.Add(one.wait)
	if known || len(p.ids) < spoiltKept {
		p.ids[key] = one
	}
	n := len(p.ids)
	p.mu.Unlock()
	p.s.o.Metrics.SchedulesAside(n)
	p.s.o.Logger.Error("a schedule is set aside", "schedule", id, "at", what, "again_in", one.wait, "err", err)
}

// well forgets a schedule that did what it should.
func (p *spoilt) well(id int64, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.ids[spoiltKey{id, what}]; known {
		delete(p.ids, spoiltKey{id, what})
		p.s.o.Metrics.SchedulesAside(len(p.ids))
	}
}

// forget drops those that were not met for so long that they are paused, deleted or somebody else's by now.
func (p *spoilt) forget(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, one := range p.ids {
		if now.Sub(one.until) > spoiltMost {
			delete(p.ids, key)
		}
	}
	p.s.o.Metrics.SchedulesAside(len(p.ids))
}

// count is how many are set aside: they still stand in what is read.
func (p *spoilt) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ids)
}
