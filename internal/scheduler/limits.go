package scheduler

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// What limits leave room for is decided twice. The claim decides what starts, under the lock of the limit's row, and is exact. Here it
// is decided what is rung, so that what may not start lies in the database and not with the broker: from how the rows stood a moment
// ago, less what was rung since. A guess that is wrong costs one message, never a place too many.

const (
	limitsEvery   = 100 * time.Millisecond // between two looks for limits that changed, while there is work
	countsEvery   = 3 * time.Millisecond   // between two readings of how limits stand that somebody waits for
	placeEvery    = 15 * time.Millisecond  // between two looks for a place that became free …
	placeShare    = 4                      // … or so many in the mean run time of the lanes' tasks, where these are short
	limitedRering = 50 * time.Millisecond  // a limited bell that stays was refused, or waits for a slot: rung again then, later at double the interval
)

// limits is what is known of limits. The maps are written by whoever hears of changes; what is in a limit belongs to the bell loop.
type limits struct {
	s *Scheduler

	mu      sync.RWMutex
	version int64
	at      time.Time
	queues  map[string]*limit
	apps    map[int32]*limit
	keys    map[flowKey]*limit
	changed []flowKey // keys that changed and the bell loop has not heard of

	// The bell loop's own.
	place  time.Duration // between two looks for a place that became free
	wanted []*limit      // somebody waits for them: read how they stand
	freeAt time.Time     // when one of them may have room; zero: none is waited for
}

type flowKey struct {
	app  int32
	flow int64
}

// limit is one limit.
type limit struct {
	task.Limit
	countAt time.Time // of its counts; zero: they are not known, or old
	asked   bool      // in wanted
	pending int       // tasks rung and not seen to be claimed, as many as it had room for
}

func newLimits(s *Scheduler) *limits {
	return &limits{s: s, queues: map[string]*limit{}, apps: map[int32]*limit{}, keys: map[flowKey]*limit{}}
}

// hearAt is when to hear again where anything is limited; zero where nothing is.
func (m *limits) hearAt() time.Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.queues)+len(m.apps)+len(m.keys) == 0 {
		return time.Time{}
	}
	return m.at.Add(limitsEvery)
}

// changedMost bounds the keys of which it is remembered that they changed: warm flows are no more.
const changedMost = warmMost

// changedSince gives the version and the keys that changed behind another one, as far as remembered.
func (m *limits) changedSince(version int64) (is int64, keys []flowKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if version != m.version {
		keys, m.changed = m.changed, nil
	}
	return m.version, keys
}

// hear takes changes over.
func (m *limits) hear(ctx context.Context) error {
	m.mu.RLock()
	since, at := m.version, m.at
	m.mu.RUnlock()
	if time.Since(at) > 30*time.Minute {
		since = 0
	}
	ctx, cancel := m.s.query(ctx)
	defer cancel()
	rows, version, err := m.s.o.Store.LimitsSince(ctx, since)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if version < m.version {
		return nil
	}
	if m.at = time.Now(); since == 0 {
		m.queues, m.apps, m.keys = map[string]*limit{}, map[int32]*limit{}, map[flowKey]*limit{}
	}
	m.version = version
	for i := range rows {
		r := rows[i]
		switch {
		case r.Flow != 0:
			learn(m.keys, flowKey{r.AppID, r.Flow}, r)
			if len(m.changed) < changedMost {
				m.changed = append(m.changed, flowKey{r.AppID, r.Flow})
			}
		case r.AppID != 0:
			learn(m.apps, r.AppID, r)
		default:
			learn(m.queues, r.Name, r)
		}
	}
	return nil
}

// learn replaces a limit. What was rung under the one before counts there until it is gone; the claim guards what is rung meanwhile.
func learn[K comparable](in map[K]*limit, k K, l task.Limit) {
	if l.Idle() {
		delete(in, k)
	} else {
		in[k] = &limit{Limit: l}
	}
}

// limitsOf are the limits of a bell: of its queue, its app and its key; nil where nothing limits.
type limitsOf [3]*limit

// of gives what limits tasks of a queue, an app and a flow.
func (m *limits) of(queue string, app int32, flow int64) (out limitsOf, any bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out[0], out[1] = m.queues[queue], m.apps[app]
	if flow != 0 {
		out[2] = m.keys[flowKey{app, flow}]
	}
	return out, out[0] != nil || out[1] != nil || out[2] != nil
}

// room is how many tasks may be rung now as far as limits go. Limits of which it is not known how they stand have none, and are read
// before the next look.
func (m *limits) room(of limitsOf, now time.Time) int {
	n := math.MaxInt32
	for _, l := range of {
		if l != nil {
			n = min(n, m.roomIn(l, now))
		}
	}
	return n
}

func (m *limits) roomIn(l *limit, now time.Time) int {
	if l.Paused {
		return 0
	}
	if l.None() {
		return math.MaxInt32
	}
	if l.countAt.IsZero() {
		m.want(l, now)
		return 0
	}
	nowNs := m.s.o.Clock.NowMicros() * 1000
	n := l.Allows(l.LimitCount, nowNs, false, math.MaxInt32) - l.pending
	if n > 0 {
		return n
	}
	at := now.Add(m.place)
	if l.Concurrency == 0 || l.Running+l.pending < l.Concurrency {
		at = now.Add(max(pollMin, time.Duration(l.NextAt(l.LimitCount, nowNs)-nowNs)))
	}
	if l.pending > 0 {
		at = earlier(at, now.Add(m.place)) // what was rung may be claimed already
	}
	m.want(l, at)
	return 0
}

// want asks for a limit to be looked at again.
func (m *limits) want(l *limit, at time.Time) {
	if m.freeAt.IsZero() || at.Before(m.freeAt) {
		m.freeAt = at
	}
	if !l.asked {
		l.asked = true
		m.wanted = append(m.wanted, l)
	}
}

// setPlace finds out how often to look for a place that became free: as the lane's tasks run that are shortest.
func (p *loop) setPlace() {
	every := placeEvery
	for _, l := range p.lanes {
		if l.runMs > 0 {
			every = min(every, time.Duration(l.runMs/placeShare*float64(time.Millisecond)))
		}
	}
	p.s.limits.place = max(every, countsEvery)
}

// pollLimited sees to it that what was rung under limits is looked at before these are read: what is claimed would count twice.
func (p *loop) pollLimited(now time.Time) {
	for _, w := range p.s.limits.wanted {
		if w.pending == 0 || now.Sub(w.countAt) < countsEvery {
			continue
		}
		for _, l := range p.lanes {
			for _, r := range l.rung {
				if r.limited() {
					l.pollAt = now
					break
				}
			}
		}
		return
	}
}

// count reads how the limits stand that somebody waits for.
func (m *limits) count(ctx context.Context, now time.Time) error {
	var ask []*limit
	for _, l := range m.wanted {
		if now.Sub(l.countAt) >= countsEvery {
			ask = append(ask, l)
		}
		l.asked = false
	}
	m.wanted, m.freeAt = m.wanted[:0], time.Time{}
	return m.read(ctx, ask)
}

// read reads how limits stand.
func (m *limits) read(ctx context.Context, ask []*limit) error {
	for part := range slices.Chunk(ask, idsPerQuery) {
		scopes := make([]task.LimitScope, len(part))
		for i, l := range part {
			scopes[i] = l.Scope
		}
		ctx, cancel := m.s.query(ctx)
		counts, err := m.s.o.Store.LimitCounts(ctx, scopes)
		cancel()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, l := range part {
			l.LimitCount, l.countAt = counts[l.Scope], now
		}
	}
	return nil
}

// hold counts a bell that is about to be rung.
func (r *rungBell) hold(of limitsOf, room int) {
	r.limits, r.quota = of, min(r.n, room)
	for _, l := range of {
		if l != nil {
			l.pending += r.quota
		}
	}
}

// unhold is for a bell that is gone or given up. How its limits stand is to be read anew.
func (r *rungBell) unhold() {
	for _, l := range r.limits {
		if l != nil {
			l.pending -= r.quota
			l.countAt = time.Time{}
		}
	}
	r.quota = 0
}

// limited reports whether a bell was rung under limits.
func (r *rungBell) limited() bool { return r.limits != limitsOf{} }

// limitsOfBell gives what limits a bell.
func (p *loop) limitsOfBell(l *laneState, b *task.Bell) (limitsOf, bool) {
	return p.s.limits.of(l.lane.Queue, b.AppID, b.Flow)
}

// laneOrder is the order in which lanes are served. Lanes that share a limit get their parts of it by priority, as they get slots.
func (p *loop) laneOrder() []*laneState {
	type placed struct {
		l  *laneState
		at float64
	}
	order := make([]placed, 0, len(p.lanes))
	for _, l := range p.lanes {
		weight := 3.0
		switch l.lane.Priority {
		case task.High:
			weight = 6
		case task.Low:
			weight = 1
		}
		order = append(order, placed{l, rand.ExpFloat64() / weight})
	}
	slices.SortFunc(order, func(a, b placed) int {
		if a.at < b.at {
			return -1
		}
		return 1
	})
	out := make([]*laneState, len(order))
	for i := range order {
		out[i] = order[i].l
	}
	return out
}

// hearLimits looks for changed limits while there is work. A change may be a pause: lanes and apps are read again.
func (p *loop) hearLimits(ctx context.Context, now time.Time) error {
	m := p.s.limits
	m.mu.RLock()
	at := m.at
	m.mu.RUnlock()
	if !p.busy.Load() || now.Sub(at) < limitsEvery {
		return nil
	}
	if err := m.hear(ctx); err != nil {
		return err
	}
	version, changed := m.changedSince(p.limits)
	if version == p.limits {
		return nil // whoever reads the lanes hears of limits too: what they heard is looked at here all the same
	}
	if err := p.s.view.readLanes(ctx); err != nil {
		return err
	}
	p.limits = version
	p.refreshViews()
	for _, l := range p.lanes {
		for _, a := range l.apps {
			a.sweepAt, a.warm.at = time.Time{}, time.Time{}
			for _, key := range changed {
				if key.app == a.id && l.kind.Flows() {
					a.warm.add(key.flow)
				}
			}
		}
		for _, r := range l.rung {
			if _, any := p.limitsOfBell(l, &r.bell); (any || r.held) && !r.limited() {
				r.held = true
				r.nextAt, r.interval = now.Add(limitedRering), 0 // the limit may have refused it
			}
		}
	}
	p.lookAt = earlier(p.lookAt, p.lookedAt.Add(p.lookPause(lookBusy)))
	return nil
}

// runAuditLimits holds the counts of limits against the running tasks, again and again. None ever should be off.
func (s *Scheduler) runAuditLimits(ctx context.Context) {
	var after task.LimitScope
	s.chore(ctx, "audit of limits", auditMost, func(ctx context.Context) (time.Duration, error) {
		qctx, cancel := s.query(ctx)
		defer cancel()
		mended, next, err := s.o.Store.AuditLimits(qctx, after, idsPerQuery)
		if err != nil {
			return 0, err
		}
		if mended > 0 {
			s.o.Metrics.Mended(mended)
			s.o.Logger.Error("limits that counted wrongly were mended: this is a fault, please report it", "limits", mended)
		}
		if after = next; next != "" {
			return auditLeast, nil
		}
		return s.o.Intervals.AuditLimits, nil
	})
}
