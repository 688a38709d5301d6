package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	aheadMax   = 16_384                // bells of one (lane, app) that wait to be rung
	aheadBytes = 16 << 20              // bytes of payloads held for bells that wait to be rung; bells beyond are held without
	lookBusy   = 10 * time.Millisecond // between two looks for due pairs while lanes are refilled
	lookShare  = 20                    // at most one part in this of the time is spent looking …
	lookRare   = 50 * time.Millisecond // … as long as that does not mean to look more rarely than this
	lookMost   = 2 * time.Second       // … which is no bound where nothing says that more may be due; then it is this
	lookLeast  = 4                     // … or to spend more than one part in this and one of the time
)

// loop is the bell loop. Its fields belong to its goroutine, but rooms and busy.
type loop struct {
	s     *Scheduler
	lanes map[laneKey]*laneState
	apps  map[int32]task.App

	alarmed map[[2]string]time.Time // queue and kind, and when it was last said that no worker runs it

	hastened []haste // workers that went a moment ago

	limits   int64 // the version of the limits that was looked at last
	gen      int64 // the publisher's generation
	wokeAt   time.Time
	lookAt   time.Time // next look
	lookedAt time.Time
	lookCost time.Duration
	dueNext  int64 // earliest due time that is in the future, as of the last look
	views    *lanesView
	workers  *workersView
	metricAt time.Time
	gauges   queueGauges
	b        backoff

	rooms sync.Map    // laneKey to *atomic.Int64
	busy  atomic.Bool // something is due or rung
}

func newLoop(s *Scheduler) *loop {
	return &loop{s: s, lanes: make(map[laneKey]*laneState), alarmed: make(map[[2]string]time.Time), b: backoff{log: s.o.Logger, what: "ring bells"}}
}

func (p *loop) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-p.s.wake:
			p.wokeAt = time.Now()
			p.lookAt = earlier(p.lookAt, p.lookedAt.Add(p.lookPause(pollMin)))
		case <-p.s.inbox.notify:
		}
		wait, err := p.tick(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = p.b.failed(err)
			if sleep(ctx, wait) != nil {
				return
			}
			wait = 0
		} else {
			p.b.ok()
		}
		t.Reset(wait)
	}
}

// tick does one round over all lanes and gives how long nothing needs to be done.
func (p *loop) tick(ctx context.Context) (time.Duration, error) {
	p.gen = p.s.o.Publisher.Generation()
	p.refreshViews()
	p.takeInbox(time.Now())
	p.setPlace()
	p.pollLimited(time.Now())
	if err := p.pollAll(ctx, time.Now()); err != nil {
		return 0, err
	}
	if err := p.look(ctx); err != nil {
		return 0, err
	}
	if err := p.hearLimits(ctx, time.Now()); err != nil {
		return 0, err
	}
	if err := p.s.limits.count(ctx, time.Now()); err != nil {
		return 0, err
	}
	for _, l := range p.laneOrder() {
		if err := p.serve(ctx, l); err != nil {
			return 0, err
		}
	}
	p.measure(time.Now())
	return p.wait(time.Now()), nil
}

// serve does what one lane needs.
func (p *loop) serve(ctx context.Context, l *laneState) error {
	now := time.Now()
	for _, a := range l.apps {
		if a.look || len(a.ahead) > 0 || !a.tail {
			if err := p.rescan(ctx, l, a, now); err != nil {
				return err
			}
		}
	}
	if err := p.fill(ctx, l, now); err != nil {
		return err
	}
	if err := p.rering(ctx, l, now); err != nil {
		return err
	}
	l.room.Store(int64(p.roomOf(l, now)))
	return p.tune(ctx, l, now)
}

// roomOf is how many tasks the instants may ring without asking.
func (p *loop) roomOf(l *laneState, now time.Time) int {
	if len(l.stuck)+len(l.parked) > 0 || l.backlog() > 0 || l.lane.Paused || now.Before(l.stalled) {
		return 0
	}
	return l.window(now) - l.unclaimed
}

// room is the same for other goroutines.
func (p *loop) room(key laneKey) int {
	if v, ok := p.rooms.Load(key); ok {
		return int(v.(*atomic.Int64).Load())
	}
	lane, ok := p.s.view.lanes.Load().lanes[key.id]
	if !ok || lane.Paused {
		return 0
	}
	workers := p.s.view.workers.Load()
	if key.kind.Shell() {
		return windowSize(workers.shellSlots(lane.Queue), 0)
	}
	return windowSize(workers.slots(lane.Queue), workers.rate[key.id])
}

// took says that the instants rang n tasks.
func (p *loop) took(key laneKey, n int) {
	if v, ok := p.rooms.Load(key); ok {
		v.(*atomic.Int64).Add(int64(-n))
	}
}

// refreshViews takes over new readings of lanes, apps and workers, and drops lanes that are not this scheduler's.
func (p *loop) refreshViews() {
	views, workers := p.s.view.lanes.Load(), p.s.view.workers.Load()
	for key, l := range p.lanes {
		if !p.s.leases.owns(key.id) {
			l.lose()
			delete(p.lanes, key)
			p.rooms.Delete(key)
		}
	}
	if views == p.views && workers == p.workers {
		return
	}
	now := time.Now()
	paused := newlyPaused(p.apps, views.apps)
	crew := p.workers != nil && p.workers.crew != workers.crew
	p.views, p.workers, p.apps = views, workers, views.apps
	for key, l := range p.lanes {
		if lane, ok := views.lanes[key.id]; ok {
			if lane.Paused && !l.lane.Paused {
				l.leaveAll(now)
			}
			l.lane = lane
		}
		p.measureWorkers(l)
		for _, app := range paused {
			l.leave(now, app)
		}
		if crew {
			l.unpark(now)
		}
	}
}

// newlyPaused lists apps that are paused since the last reading.
func newlyPaused(was, is map[int32]task.App) (out []int32) {
	for id, a := range is {
		if a.Paused && !was[id].Paused {
			out = append(out, id)
		}
	}
	return out
}

func (p *loop) measureWorkers(l *laneState) {
	if l.kind.Shell() {
		l.slots = p.workers.shellSlots(l.lane.Queue)
		return
	}
	l.slots, l.done = p.workers.slots(l.lane.Queue), p.workers.rate[l.lane.ID]
	free, beatAt := p.workers.free(l.lane.Queue)
	l.measureFree(free, time.Now().Add(min(0, time.Duration(beatAt-p.s.o.Clock.Now())*time.Millisecond)))
	if ms := p.workers.runMs[l.lane.ID]; ms > 0 {
		l.runMs = ms
	}
}

// lane gives the state of a lane that this scheduler owns and knows; nil for others.
func (p *loop) lane(key laneKey) *laneState {
	if l := p.lanes[key]; l != nil {
		return l
	}
	lane, ok := p.views.lanes[key.id]
	if !ok || !p.s.leases.owns(key.id) {
		return nil
	}
	l := newLaneState(lane, key.kind)
	if key.kind != task.StartBell {
		l.main = p.lane(laneKey{key.id, task.StartBell})
	}
	p.measureWorkers(l)
	l.hasteTill = p.hasteOf(lane.Queue)
	p.lanes[key] = l
	p.rooms.Store(key, l.room)
	return l
}

// takeInbox takes in what others did.
func (p *loop) takeInbox(now time.Time) {
	results, due, rung, gone := p.s.inbox.take()
	p.hasten(gone, now)
	for _, j := range rung {
		if l := p.lane(keyOf(j.rungs[0].Bell)); l != nil {
			for _, r := range j.rungs {
				if p.apps[r.AppID].Paused || l.lane.Paused {
					continue // read again when it goes on
				}
				l.track(&rungBell{bell: r.Bell, n: len(r.TaskIDs), pressing: true, rungAt: now})
			}
		}
		p.s.ahead.taken(j.rungs)
	}
	held := p.held(due)
	for _, r := range due {
		if l := p.lane(keyOf(r.Bell)); l != nil {
			// What may not be rung, or is too much, is read again when its turn comes; so are payloads, where they would wait.
			if a := l.app(r.AppID); !l.known(a, r.ID) && len(a.ahead) < aheadMax && p.admit(l, r.AppID, 1) > 0 {
				if held >= aheadBytes || now.Before(l.stalled) || l.unclaimed >= l.window(now) {
					r.Items = nil
				}
				held += bodyBytes(r)
				l.enqueue(a, r)
			}
		}
	}
	p.s.ahead.taken(due)
	for _, res := range results {
		if l := p.lanes[res.lane]; l != nil {
			p.pressedResult(l, res, now)
		}
	}
}

// held is how many bytes of payloads wait to be rung, if it matters for what comes.
func (p *loop) held(coming []task.Rung) (n int) {
	if len(coming) > 0 {
		for _, l := range p.lanes {
			n += l.held
		}
	}
	return n
}

// look asks which pairs have bells, often while there is work and rarely while there is none.
func (p *loop) look(ctx context.Context) error {
	start := time.Now()
	if start.Before(p.lookAt) && start.Before(p.dueAt()) && !p.lookNow(start) {
		return nil
	}
	if !p.busy.Load() {
		if due, err := p.glance(ctx); err != nil || !due {
			return err
		}
		start = time.Now()
	}
	qctx, cancel := p.s.query(ctx)
	defer cancel()
	pairs, err := p.s.o.Store.DuePairs(qctx)
	if err != nil {
		return err
	}
	p.s.sawDatabase()
	shards := shardsOf(pairs)
	p.s.ahead.due.Store(&shards)
	p.lookedAt = time.Now()
	p.learnCost(p.lookedAt.Sub(start))
	p.lookAt = p.lookedAt.Add(max(p.s.o.Intervals.Look, min(p.lookCost*lookShare, lookMost)))
	if err := p.readViews(ctx, pairs); err != nil {
		return err
	}
	p.takePairs(pairs)
	return nil
}

// glance asks an idle system whether anything is due. It costs the same however many apps and lanes have bells that are due
// later; only when some are due now the pairs are listed.
func (p *loop) glance(ctx context.Context) (due bool, err error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	shards, err := p.s.o.Store.ShardsDue(ctx)
	if err != nil {
		return false, err
	}
	p.s.sawDatabase()
	p.s.ahead.due.Store(&shards)
	p.lookedAt = time.Now()
	p.lookAt = p.lookedAt.Add(p.s.o.Intervals.Look)
	p.dueNext = 0
	now := p.s.o.Clock.Now()
	for shard, at := range shards {
		switch {
		case !p.s.leases.holds(shard):
		case at <= now:
			due = true
		case p.dueNext == 0 || at < p.dueNext:
			p.dueNext = at
		}
	}
	return due, nil
}

// dueAt is when to look because something becomes due that was not seen to be held for its instant.
func (p *loop) dueAt() time.Time {
	if p.dueNext == 0 {
		return p.lookAt
	}
	at := time.Now().Add(p.s.o.Clock.Until(p.dueNext) + pollMin)
	if least := p.lookedAt.Add(p.lookPause(lookBusy)); at.Before(least) {
		return least
	}
	return at
}

// learnCost notes what a look costs: what it takes when nothing disturbs it.
func (p *loop) learnCost(took time.Duration) {
	if p.lookCost == 0 || took < p.lookCost {
		p.lookCost = took
		return
	}
	p.lookCost = min(took, p.lookCost+p.lookCost/8)
}

// lookPause is how long after a look the next one may be, at the least.
func (p *loop) lookPause(least time.Duration) time.Duration {
	return min(max(least, p.lookCost*lookShare), p.rare())
}

// rare is how rarely to look at the most: where a look costs much, because very many apps have bells, more rarely.
func (p *loop) rare() time.Duration { return max(lookRare, lookLeast*p.lookCost) }

// lookNow reports whether to look before its time: often while a lane is about to be refilled, so that a new app is seen
// before more of an old one is rung; now and then while tasks are claimed.
func (p *loop) lookNow(now time.Time) bool {
	since := now.Sub(p.lookedAt)
	if since < p.lookPause(lookBusy) {
		return false
	}
	for _, l := range p.lanes {
		if p.refillable(l, now) || since >= p.rare() && l.meter.rate(now) > 0 {
			return true
		}
	}
	return false
}

// waiting tells how many apps have bells that are due and may be rung.
func (p *loop) waiting(l *laneState) (apps int) {
	for id, a := range l.apps {
		if (len(a.ahead) > 0 || !a.tail) && p.admit(l, id, 1) > 0 {
			apps++
		}
	}
	return apps
}

// refillable reports whether a lane has bells that may be rung and room for them.
func (p *loop) refillable(l *laneState, now time.Time) bool {
	if l.lane.Paused || now.Before(l.stalled) || l.unclaimed >= l.window(now) {
		return false
	}
	return p.waiting(l) > 0
}

// readViews sees to it that what is known of lanes and apps is good enough to ring what is due.
func (p *loop) readViews(ctx context.Context, pairs []task.LaneApp) error {
	now, due, unknown := p.s.o.Clock.Now(), false, false
	for _, pair := range pairs {
		if p.s.leases.owns(pair.LaneID) {
			_, known := p.views.lanes[pair.LaneID]
			due, unknown = due || pair.MinDue <= now, unknown || !known
		}
	}
	p.busy.Store(due || len(p.lanes) > 0 && !p.idle())
	var err error
	switch {
	case unknown:
		err = p.s.view.readLanes(ctx)
	case due:
		err = p.s.view.refreshLanes(ctx)
	}
	p.refreshViews()
	return err
}

// idle reports whether nothing is rung or to be rung.
func (p *loop) idle() bool {
	for _, l := range p.lanes {
		if !l.idle() {
			return false
		}
	}
	return true
}

// pairKey names the bells of one kind of an app in a lane.
type pairKey struct {
	laneKey
	app int32
}

// takePairs notes which apps have due bells and when the next becomes due.
func (p *loop) takePairs(pairs []task.LaneApp) {
	now := p.s.o.Clock.Now()
	p.dueNext = 0
	seen := make(map[pairKey]bool)
	for _, pair := range pairs {
		if !p.s.leases.owns(pair.LaneID) {
			continue
		}
		if pair.MinDue > now {
			if p.dueNext == 0 || pair.MinDue < p.dueNext {
				p.dueNext = pair.MinDue
			}
			continue
		}
		key := laneKey{pair.LaneID, pair.Kind}
		seen[pairKey{key, pair.AppID}] = true
		if l := p.lane(key); l != nil {
			a := l.app(pair.AppID)
			a.look, a.minDue = true, pair.MinDue
		}
	}
	for key, l := range p.lanes {
		for app, a := range l.apps {
			if !seen[pairKey{key, app}] {
				a.minDue, a.look, a.tail = 0, false, true
				if len(a.ahead) == 0 {
					l.drr.deactivate(app)
					delete(l.apps, app)
				}
			}
		}
	}
}

// wait is how long nothing needs to be done.
func (p *loop) wait(now time.Time) time.Duration {
	next := earlier(p.lookAt, p.dueAt())
	for _, l := range p.lanes {
		if len(l.rung) > 0 {
			next = earlier(next, l.pollAt)
			next = earlier(next, l.reringAt)
		}
		if !l.stalled.IsZero() && now.Before(l.stalled) {
			next = earlier(next, l.stalled)
		}
		for _, a := range l.apps {
			if l.kind.Flows() && a.look && !l.lane.Paused && l.unclaimed < l.window(now) && a.sweepAt.After(now) {
				next = earlier(earlier(next, a.sweepAt), a.warm.nextAt())
			}
		}
	}
	if at := p.s.limits.freeAt; !at.IsZero() {
		next = earlier(next, at)
	}
	if at := p.s.limits.hearAt(); p.busy.Load() && !at.IsZero() {
		next = earlier(next, at)
	}
	return max(pollMin, next.Sub(now))
}

// measure sets the metrics, once a second.
func (p *loop) measure(now time.Time) {
	if now.Before(p.metricAt) {
		return
	}
	p.metricAt = now.Add(time.Second)
	queues := make(map[string]queueLoad)
	oldestRung := now
	debug := p.s.o.Logger.Enabled(context.Background(), slog.LevelDebug)
	for _, l := range p.lanes {
		if debug && !l.idle() {
			p.s.o.Logger.Debug("lane", "topic", l.lane.Topic(), "window", l.window(now), "unclaimed", l.unclaimed, "stuck", len(l.stuck), "parked", len(l.parked), "perSecond", int(l.rate(now)),
				"reported", int(l.done), "runMs", l.runMs, "slots", l.slots, "apps", l.backlog(), "credit", p.creditOf(l), "bellSize", l.lane.BellSize, "poll", l.pollWait)
		}
		q := queues[l.lane.Queue]
		if q.slots += float64(l.unclaimed); l.main == nil {
			q.slots += p.workers.busy[l.lane.ID]
		}
		for _, a := range l.apps {
			if a.minDue > 0 && (q.minDue == 0 || a.minDue < q.minDue) {
				q.minDue = a.minDue
			}
			for _, r := range a.ahead {
				q.slots += float64(len(r.TaskIDs))
			}
		}
		queues[l.lane.Queue] = q
		for _, r := range l.rung {
			oldestRung = earlier(oldestRung, r.rungAt)
		}
	}
	p.gauges.set = p.s.o.Metrics
	p.gauges.show(queues, p.s.o.Clock.Now())
	p.s.o.Metrics.Unclaimed(now.Sub(oldestRung))
}
