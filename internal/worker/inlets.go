package worker

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// openLanes reads the table of lanes and opens those of the worker's queues that are new.
func (e *Engine) openLanes() {
	for {
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		lanes, err := e.o.Store.Lanes(ctx)
		cancel()
		if err != nil && e.ctx.Err() == nil {
			e.log.Warn("lanes not read", "err", err)
		}
		for _, l := range lanes {
			e.openLane(l)
		}
		if !e.sleep(e.o.LanesEvery, e.drain) {
			return
		}
	}
}

// openLane opens a lane, or takes over what changed in one that is open.
func (e *Engine) openLane(row task.Lane) {
	if e.queue != nil && !e.queue[row.Queue] {
		return
	}
	e.mu.Lock()
	l := e.lanes[row.ID]
	if l != nil {
		changed := l.Paused != row.Paused
		// Its name never changes, and handlers read it without the lock.
		l.Paused, l.Credit, l.BellSize = row.Paused, row.Credit, row.BellSize
		e.mu.Unlock()
		if changed {
			e.calling.ring()
		}
		return
	}
	e.mu.Unlock()
	l = &lane{Lane: row, byBell: map[int64]*held{}, perBell: float64(max(1, row.BellSize)), heardNs: e.mono.ns(), applied: 0}
	in, err := e.o.Source.Open(row, func(d Delivery) { e.deliver(l, d) })
	if err != nil {
		e.log.Warn("lane not opened", "lane", row.Topic(), "err", err)
		return
	}
	l.inlet = in
	e.mu.Lock()
	l.pass = e.vtime
	e.lanes[row.ID] = l
	e.order = append(e.order, l)
	e.mu.Unlock()
	e.calling.ring()
}

// setReady computes how many messages of each lane should be in flight. Engine.mu is held.
func (e *Engine) setReady(now int64) {
	free := e.free
	if e.full() {
		free = 0
	}
	if now-e.peakNs >= int64(peakWindow) {
		e.peak[1], e.peak[0], e.peakNs = e.peak[0], free, now
	}
	e.peak[0] = max(e.peak[0], free)
	free = max(e.peak[0], e.peak[1])
	shut := e.phase != serving || e.id == 0 || e.fenced
	changed := false
	for _, l := range e.order {
		was := l.want
		if shut || l.Paused {
			l.want = 0
		} else {
			blocked := 0
			if e.shellFree == 0 {
				blocked = l.blocked()
			}
			l.ready(free, blocked)
		}
		changed = changed || l.want != was
	}
	if changed {
		e.ready.ring()
	}
}

// readiness applies what setReady computed. The inlet talks to the broker, so nothing else waits for it. A lane that is
// raised is raised at once; small changes between two numbers wait for peakWindow to pass.
func (e *Engine) readiness() {
	for {
		select {
		case <-e.ready.wake:
		case <-e.ctx.Done():
			return
		}
		type set struct {
			l *lane
			n int
		}
		var todo []set
		e.mu.Lock()
		for _, l := range e.order {
			if l.want != l.applied {
				todo = append(todo, set{l, l.want})
				l.applied = l.want
			}
		}
		e.mu.Unlock()
		for _, s := range todo {
			s.l.inlet.SetReady(s.n)
		}
		if !e.sleep(peakWindow/4, nil) {
			return
		}
	}
}

// watchdog looks for inlets that are dead without knowing it: messages may be in flight, none came for WatchdogAfter, and
// the database has bells of the lane that are due for longer than that. Reconnecting that did not help is repeated at
// double the interval, up to five minutes: an app that is paused has due bells too.
func (e *Engine) watchdog() {
	for e.sleep(e.o.WatchdogAfter, e.drain) {
		silent := e.silent()
		if len(silent) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
		pairs, err := e.o.Store.DuePairs(ctx)
		cancel()
		if err != nil {
			continue
		}
		old := e.o.Clock.Now() - e.o.WatchdogAfter.Milliseconds()
		for _, p := range pairs {
			if l := silent[p.LaneID]; l != nil && p.MinDue < old {
				delete(silent, p.LaneID)
				e.log.Warn("lane is silent though it has due tasks: reconnecting", "lane", e.bear(l))
				l.inlet.Reconnect()
			}
		}
	}
}

// silent lists the lanes that should have been heard of.
func (e *Engine) silent() map[int32]*lane {
	now := e.mono.ns()
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[int32]*lane{}
	for _, l := range e.order {
		bear := max(l.quietNs, int64(e.o.WatchdogAfter))
		if l.applied > 0 && len(l.queue) == 0 && l.claiming == 0 && now-l.heardNs >= bear {
			out[l.ID] = l
		}
	}
	return out
}

// bear notes that a lane was reconnected: its silence is borne twice as long from now on, until it is heard of. It gives
// the lane's topic, which is read under the lock because the rest of the row may change.
func (e *Engine) bear(l *lane) (topic string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l.heardNs = e.mono.ns()
	l.quietNs = min(2*max(l.quietNs, int64(e.o.WatchdogAfter)), int64(5*time.Minute))
	return l.Topic()
}
