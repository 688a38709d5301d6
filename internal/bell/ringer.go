package bell

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	// horizon is how far ahead a bell is kept, ms: the store marks Direct what is due within 2 s; the rest is tolerance.
	horizon = 2_500
	// vanguard is how many tasks of an instant go out alone, so that the first start while the rest is encoded.
	vanguard = 32
	// salvo is the most bells of one Publish, and the most tasks of an instant taken at a time: while the broker takes one,
	// workers start the one before.
	salvo = 512
)

// Options of a Ringer.
type Options struct {
	Publisher Publisher
	Lanes     Lanes
	Clock     Clock
	Wake      func()               // tells the scheduler in this process that bells were left to it; nil: there is none. Must not block
	Skip      func(app int32) bool // apps whose bells are left to the owner although in credit (paused apps); nil: none
	Logger    *slog.Logger         // nil discards
	Metrics   *metrics.Set         // nil: none
}

// Ringer publishes the bells of its process (worker.Ringer, control.Ringer). Ring may be called from anywhere, before, while
// and after Run; what comes when Run is not running is dropped, as is everything a Ringer holds when Run ends.
type Ringer struct {
	o    Options
	log  *slog.Logger
	poke chan struct{}

	mu      sync.Mutex
	running bool
	credits credits
	ready   map[int32][]task.Rung // by lane: due, to be published
	count   int                   // bells in ready
	held    held
	armed   int64 // the instant that Run sleeps for, ms; 0: none

	burst   bool // Run's own: the last look left bells whose instant had come
	failing bool // Run's own
}

// New makes a Ringer. Nothing is published before Run.
func New(o Options) *Ringer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ringer{o: o, log: o.Logger, poke: make(chan struct{}, 1), ready: map[int32][]task.Rung{}}
}

// Ring takes bells that were just committed. It never blocks on the broker and never fails.
func (r *Ringer) Ring(bells ...task.Rung) {
	if len(bells) == 0 {
		return
	}
	now := r.o.Clock.NowMicros()
	var poke, wake bool
	r.mu.Lock()
	for i := range bells {
		switch r.admit(bells[i], now) {
		case rung:
			poke = true
		case kept:
			// Only an instant before the one that Run sleeps for shortens its sleep.
			poke = poke || r.armed == 0 || bells[i].DueAt < r.armed
		case left:
			wake = true
		}
	}
	r.mu.Unlock()
	if poke {
		r.nudge()
	}
	if wake && r.o.Wake != nil {
		r.o.Wake()
	}
}

func (r *Ringer) nudge() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// verdict is what becomes of a bell.
type verdict uint8

const (
	dropped verdict = iota // nobody has to hurry: it is not to be rung now, or the owner will find it in time
	rung
	kept
	left // to the owner, which should look at once
)

// admit decides about one bell. The lock is held.
func (r *Ringer) admit(b task.Rung, nowMicros int64) verdict {
	if !b.Kind.Starts() {
		return dropped
	}
	lane, known := r.o.Lanes.Lane(b.LaneID)
	if known && lane.Paused {
		return dropped
	}
	ahead := b.DueAt - nowMicros/1000
	if ahead > 0 {
		if !b.Direct || ahead > horizon {
			return dropped
		}
		if !r.running || len(r.held.entries)+r.count >= maxHeld {
			return dropped
		}
		r.held.add(b)
		return kept
	}
	switch {
	case b.Limited || !known || !r.running || r.count >= maxHeld:
		return left
	case r.o.Skip != nil && r.o.Skip(b.AppID):
		return left
	case !r.credits.take(pair{b.LaneID, b.AppID}, max(1, len(b.TaskIDs)), lane.Credit, nowMicros):
		return left
	}
	r.ready[b.LaneID] = append(r.ready[b.LaneID], b)
	r.count++
	return rung
}

// Run publishes until ctx ends.
func (r *Ringer) Run(ctx context.Context) {
	r.mu.Lock()
	r.running = true
	r.mu.Unlock()
	defer r.reset()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		batch, sleep := r.collect()
		if len(batch) > 0 {
			r.publish(ctx, batch)
			continue
		}
		timer.Reset(sleep)
		select {
		case <-ctx.Done():
		case <-r.poke:
		case <-timer.C:
		}
	}
}

// reset drops everything when Run ends.
func (r *Ringer) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.count, r.armed = false, 0, 0
	r.ready, r.held = map[int32][]task.Rung{}, held{}
}

// lot is the bells of one lane that go out together.
type lot struct {
	lane  task.Lane
	rungs []task.Rung
}

// clockAgain is how long to trust that the database's clock goes on as it does: a bell that is farther ahead than what is kept is so
// because the clock was set back, and that may be set right at any time.
const clockAgain = time.Second

// collect takes what is to be published now, by priority; when there is nothing, it says how long to sleep.
func (r *Ringer) collect() (batch []lot, sleep time.Duration) {
	// The instant is over for certain when even the earliest time that the clock may stand for has reached it.
	now := r.o.Clock.NowMicros() - r.o.Clock.Uncertainty().Microseconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ripen(floorMs(now))
	for id, rungs := range r.ready {
		// Asked again: the lane may have been paused since.
		if lane, ok := r.o.Lanes.Lane(id); ok && !lane.Paused {
			batch = append(batch, lot{lane, rungs})
		}
		delete(r.ready, id)
	}
	r.count = 0
	if len(batch) > 0 {
		slices.SortFunc(batch, func(a, b lot) int { return int(a.lane.Priority) - int(b.lane.Priority) })
		return batch, 0
	}
	due, ok := r.held.next()
	if !ok {
		r.armed = 0
		return nil, time.Hour
	}
	r.armed = due
	return nil, min(time.Duration(due*1000-now)*time.Microsecond, clockAgain)
}

// ripen moves bells whose instant has come to ready: the first few tasks of an instant, then salvo by salvo. The lock is
// held.
func (r *Ringer) ripen(nowMs int64) {
	most := salvo
	if !r.burst {
		most = vanguard
	}
	for most > 0 {
		b, ok := r.held.due(nowMs)
		if !ok {
			break
		}
		r.ready[b.LaneID] = append(r.ready[b.LaneID], b)
		r.count++
		most -= max(1, len(b.TaskIDs))
	}
	due, ok := r.held.next()
	r.burst = ok && due <= nowMs
}

// floorMs turns µs into the ms that has surely begun.
func floorMs(micros int64) int64 { return micros / 1000 }

// publish sends every lot, in salvos.
func (r *Ringer) publish(ctx context.Context, batch []lot) {
	for _, l := range batch {
		for rungs := range slices.Chunk(l.rungs, salvo) {
			if ctx.Err() != nil {
				return
			}
			r.send(ctx, l.lane, rungs)
		}
	}
}

func (r *Ringer) send(ctx context.Context, lane task.Lane, rungs []task.Rung) {
	err := r.o.Publisher.Publish(ctx, lane, rungs)
	if err != nil {
		if ctx.Err() == nil && !r.failing && !errors.Is(err, context.Canceled) {
			r.log.Warn("bells could not be rung, the scheduler rings them", "topic", lane.Topic(), "bells", len(rungs), "error", err)
		}
		r.failing = true
		if r.o.Wake != nil {
			r.o.Wake()
		}
		return
	}
	if r.failing {
		r.failing = false
		r.log.Info("bells can be rung again")
	}
	if r.o.Metrics == nil {
		return
	}
	now := r.o.Clock.NowMicros()
	for i := range rungs {
		if rungs[i].Direct {
			r.o.Metrics.Lateness(time.Duration(now-rungs[i].DueAt*1000) * time.Microsecond)
		}
	}
}
