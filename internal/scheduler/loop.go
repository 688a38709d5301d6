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
	aheadMax  = 16_384                // bells of one (lane, app) held with their payloads
	lookBusy  = 10 * time.Millisecond // between two looks for due pairs while lanes are refilled
	lookShare = 20                    // at most one part in this of the time is spent looking …
	lookRare  = 50 * time.Millisecond // … as long as that does not mean to look more rarely than this
)

// loop is the bell loop. Its fields belong to its goroutine, but rooms and busy.
type loop struct {
	s     *Scheduler
	lanes map[int32]*laneState
	apps  map[int32]task.App

	gen      int64 // the publisher's generation
	wokeAt   time.Time
	lookAt   time.Time // next look
	lookedAt time.Time
	lookCost time.Duration
	dueNext  int64 // earliest due time that is in the future, as of the last look
	views    *lanesView
	workers  *workersView
	metricAt time.Time
	b        backoff

	rooms sync.Map    // lane id to *atomic.Int64
	busy  atomic.Bool // something is due or rung
}

func newLoop(s *Scheduler) *loop {
	return &loop{s: s, lanes: make(map[int32]*laneState), b: backoff{log: s.o.Logger, what: "ring bells"}}
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
	for _, l := range p.lanes {
		if err := p.poll(ctx, l, time.Now()); err != nil {
			return 0, err
		}
	}
	if err := p.look(ctx); err != nil {
		return 0, err
	}
	for _, l := range p.lanes {
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
	if l.backlog() > 0 || l.lane.Paused || now.Before(l.stalled) {
		return 0
	}
	return l.window(now) - l.unclaimed
}

// room is the same for other goroutines.
func (p *loop) room(laneID int32) int {
	if v, ok := p.rooms.Load(laneID); ok {
		return int(v.(*atomic.Int64).Load())
	}
	lane, ok := p.s.view.lanes.Load().lanes[laneID]
	if !ok || lane.Paused {
		return 0
	}
	workers := p.s.view.workers.Load()
	return windowSize(workers.slots(lane.Queue), workers.rate[laneID])
}

// took says that the instants rang n tasks.
func (p *loop) took(laneID int32, n int) {
	if v, ok := p.rooms.Load(laneID); ok {
		v.(*atomic.Int64).Add(int64(-n))
	}
}

// refreshViews takes over new readings of lanes, apps and workers, and drops lanes that are not this scheduler's.
func (p *loop) refreshViews() {
	views, workers := p.s.view.lanes.Load(), p.s.view.workers.Load()
	for id := range p.lanes {
		if !p.s.leases.owns(id) {
			delete(p.lanes, id)
			p.rooms.Delete(id)
		}
	}
	if views == p.views && workers == p.workers {
		return
	}
	p.views, p.workers, p.apps = views, workers, views.apps
	for id, l := range p.lanes {
		if lane, ok := views.lanes[id]; ok {
			l.lane = lane
		}
		p.measureWorkers(l)
	}
}

func (p *loop) measureWorkers(l *laneState) {
	l.slots, l.done = p.workers.slots(l.lane.Queue), p.workers.rate[l.lane.ID]
	if ms := p.workers.runMs[l.lane.ID]; ms > 0 {
		l.runMs = ms
	}
}

// lane gives the state of a lane that this scheduler owns and knows; nil for others.
func (p *loop) lane(id int32) *laneState {
	if l := p.lanes[id]; l != nil {
		return l
	}
	lane, ok := p.views.lanes[id]
	if !ok || !p.s.leases.owns(id) {
		return nil
	}
	l := newLaneState(lane)
	p.measureWorkers(l)
	p.lanes[id] = l
	p.rooms.Store(id, l.room)
	return l
}

// takeInbox takes in what others did.
func (p *loop) takeInbox(now time.Time) {
	results, due, rung := p.s.inbox.take()
	for _, j := range rung {
		if l := p.lane(j.lane.ID); l != nil {
			for _, r := range j.rungs {
				l.track(&rungBell{bell: r.Bell, n: len(r.TaskIDs), pressing: true, rungAt: now})
			}
		}
		p.s.ahead.taken(j.rungs)
	}
	for _, r := range due {
		if l := p.lane(r.LaneID); l != nil {
			// What may not be rung, or is too much, is read again when its turn comes.
			if a := l.app(r.AppID); !l.known(a, r.ID) && len(a.ahead) < aheadMax && p.admit(l, r.AppID, 1) > 0 {
				a.enqueue(r)
			}
		}
	}
	p.s.ahead.taken(due)
	for _, res := range results {
		if l := p.lanes[res.laneID]; l != nil {
			p.pressedResult(l, res, now)
		}
	}
}

// look asks which pairs have bells, often while there is work and rarely while there is none.
func (p *loop) look(ctx context.Context) error {
	start := time.Now()
	if start.Before(p.lookAt) && start.Before(p.dueAt()) && !p.lookNow(start) {
		return nil
	}
	qctx, cancel := p.s.query(ctx)
	defer cancel()
	pairs, err := p.s.o.Store.DuePairs(qctx)
	if err != nil {
		return err
	}
	p.s.sawDatabase()
	p.s.ahead.pairs.Store(&pairs)
	p.lookedAt = time.Now()
	p.learnCost(p.lookedAt.Sub(start))
	p.lookAt = p.lookedAt.Add(p.s.o.Intervals.Look)
	if err := p.readViews(ctx, pairs); err != nil {
		return err
	}
	p.takePairs(pairs)
	return nil
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
	return min(max(least, p.lookCost*lookShare), lookRare)
}

// lookNow reports whether to look before its time: often while a lane is about to be refilled, so that a new app is seen
// before more of an old one is rung; now and then while tasks are claimed.
func (p *loop) lookNow(now time.Time) bool {
	since := now.Sub(p.lookedAt)
	if since < p.lookPause(lookBusy) {
		return false
	}
	for _, l := range p.lanes {
		if p.refillable(l, now) || since >= lookRare && l.meter.rate(now) > 0 {
			return true
		}
	}
	return false
}

// refillable reports whether a lane has bells that may be rung and room for them.
func (p *loop) refillable(l *laneState, now time.Time) bool {
	if l.lane.Paused || now.Before(l.stalled) || l.unclaimed >= l.window(now) {
		return false
	}
	for id, a := range l.apps {
		if (len(a.ahead) > 0 || !a.tail) && p.admit(l, id, 1) > 0 {
			return true
		}
	}
	return false
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

// takePairs notes which apps have due bells and when the next becomes due.
func (p *loop) takePairs(pairs []task.LaneApp) {
	now := p.s.o.Clock.Now()
	p.dueNext = 0
	seen := make(map[laneApp]bool, len(pairs))
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
		seen[laneApp{pair.LaneID, pair.AppID}] = true
		if l := p.lane(pair.LaneID); l != nil {
			a := l.app(pair.AppID)
			a.look, a.minDue = true, pair.MinDue
		}
	}
	for id, l := range p.lanes {
		for app, a := range l.apps {
			if !seen[laneApp{id, app}] {
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
	dbNow := p.s.o.Clock.Now()
	debug := p.s.o.Logger.Enabled(context.Background(), slog.LevelDebug)
	for _, l := range p.lanes {
		if debug && !l.idle() {
			p.s.o.Logger.Debug("lane", "topic", l.lane.Topic(), "window", l.window(now), "unclaimed", l.unclaimed, "perSecond", int(l.rate(now)),
				"reported", int(l.done), "runMs", l.runMs, "slots", l.slots, "apps", l.backlog(), "credit", p.creditOf(l), "bellSize", l.lane.BellSize, "poll", l.pollWait)
		}
		q := queues[l.lane.Queue]
		q.slots += p.workers.busy[l.lane.ID] + float64(l.unclaimed)
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
	for queue, q := range queues {
		var age time.Duration
		if q.minDue > 0 {
			age = time.Duration(max(0, dbNow-q.minDue)) * time.Millisecond
		}
		p.s.o.Metrics.Queue(queue, age, int(q.slots+0.999))
	}
	p.s.o.Metrics.Unclaimed(now.Sub(oldestRung))
}

// queueLoad adds up the lanes of one queue that this scheduler owns.
type queueLoad struct {
	minDue int64
	slots  float64
}
