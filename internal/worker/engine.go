package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// phase is how far the engine is on its way out.
type phase int

const (
	serving  phase = iota
	draining       // nothing is claimed; handlers go on
	ending         // contexts are cancelled; what returns now may be released
)

// Engine executes tasks. Make it with New, start it once with Run.
type Engine struct {
	o     Options
	log   *slog.Logger
	mono  mono
	queue map[string]bool // nil: every queue

	kinds              map[int32]*kind
	limited            map[int32]bool
	allKinds, openKind []int32 // ids of all kinds, and of those without a limit of their own

	mu        sync.Mutex
	phase     phase
	id        int64 // worker id; 0 while it is registering
	fenced    bool  // fenced itself; nothing is claimed until a beat succeeds
	free      int   // slots neither running nor reserved by a claim under way
	shellFree int
	shellMs   float64 // weighted mean run time of the limited kind; 0: none has ended
	slots     []*run
	idle      []int32 // indexes of empty entries of slots
	running   int     // handlers that have not returned
	zombies   int
	long      int // handlers that run for LiveAfter or longer, zombies included
	lanes     map[int32]*lane
	order     []*lane
	vtime     float64
	claims    map[int64]*claim
	emptied   []*claim // nothing left in memory; the next flush deletes their rows
	calls     calls
	suspects  map[int64]int64 // claim rows not in memory → the youngest claim call under way when seen
	unknown   map[int64]bool  // claims whose outcome is unknown; never started
	refused   map[int64]bool  // bells whose claims the store refuses for good
	early     map[int64]early // cancels that came before their task
	peak      [2]int          // most free slots in this and the last window
	peakNs    int64
	gatherNs  int64   // since when a claim waits for more free slots; 0: none does
	gatherEnd int64   // until when
	claimMs   float64 // weighted mean time of a claim
	hungry    int     // wake the dispatcher when that many slots are free; 0: no need
	pauseNs   int64   // no claim before
	pause     time.Duration
	beatNs    int64 // when the last good beat was sent
	watchNs   int64 // when the watch looks next
	quiet     chan struct{}

	fin     results
	live    liveQueue
	looks   chan task.Signal // signals of kind look that were not answered yet
	peeks   chan task.Signal // the same of kind peek
	chores  choreQueue
	pool    pool
	calling *alarm // dispatcher
	watch   *alarm
	ready   *alarm

	drain     chan struct{}
	drainOnce sync.Once
	kill      chan struct{}
	killOnce  sync.Once
	started   atomic.Bool
	bg        sync.WaitGroup // every goroutine but handlers
	ctx       context.Context
	cancel    context.CancelCauseFunc

	registered     chan struct{} // closed when the worker has its first id
	registeredOnce sync.Once

	checking              sync.Mutex // one self-check at a time
	choresDone, flushDone latch
	closeQueues           sync.Once
}

// calls numbers claim transactions under way, so that the self-check can leave their claims alone.
type calls struct {
	next int64
	open map[int64]*plan
}

// early is a cancel whose task is not here yet: its claim may still be under way.
type early struct {
	epoch int32
	atNs  int64
}

// New makes an engine. It does nothing until Run.
func New(o Options) (*Engine, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		o: o, log: o.Logger, mono: newMono(), free: o.Slots, shellFree: o.ShellSlots,
		slots: make([]*run, o.Slots), idle: make([]int32, o.Slots),
		lanes: map[int32]*lane{}, claims: map[int64]*claim{}, suspects: map[int64]int64{}, unknown: map[int64]bool{}, refused: map[int64]bool{},
		early: map[int64]early{}, calls: calls{open: map[int64]*plan{}},
		calling: newAlarm(), watch: newAlarm(), ready: newAlarm(),
		drain: make(chan struct{}), kill: make(chan struct{}), quiet: make(chan struct{}, 1), watchNs: never,
		registered: make(chan struct{}), choresDone: make(latch), flushDone: make(latch), looks: make(chan task.Signal, maxLooks), peeks: make(chan task.Signal, maxLooks),
	}
	for i := range e.idle {
		e.idle[i] = int32(o.Slots - 1 - i)
	}
	if len(o.Queues) > 0 {
		e.queue = map[string]bool{}
		for _, q := range o.Queues {
			e.queue[q] = true
		}
	}
	e.fin.init(o.MaxFlush)
	e.live.init()
	e.chores.init()
	e.pool.init(e.mono, e.loop)
	return e, nil
}

// Run registers the worker and serves until it was drained (nil) or killed (ErrKilled). The end of ctx is a Drain. It
// waits for a database that is not there; an error that waiting cannot mend ends it.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return fmt.Errorf("worker: run twice")
	}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer e.cancel(ErrKilled)
	stop := context.AfterFunc(ctx, e.Drain)
	defer stop()
	if err := e.register(); err != nil {
		return err
	}
	if e.killed() {
		return e.abort()
	}
	e.begin()
	select {
	case <-e.drain:
	case <-e.kill:
		return e.abort()
	}
	return e.leave()
}

// begin starts every goroutine but the handlers'.
func (e *Engine) begin() {
	for _, f := range []func(){e.dispatch, e.watching, e.readiness, e.flushing, e.doChores, e.beating, e.openLanes, e.watchdog} {
		e.bg.Go(f)
	}
	if e.o.Live != nil {
		e.bg.Go(e.showing)
		e.bg.Go(e.listening)
		e.bg.Go(e.looking)
		e.bg.Go(e.peeking)
	}
}

// ended reports whether a drain or kill was asked for.
func (e *Engine) ended() bool {
	select {
	case <-e.drain:
		return true
	case <-e.kill:
		return true
	default:
		return false
	}
}

// register declares the kinds and takes a worker id, as often as it needs to reach the database.
func (e *Engine) register() error {
	names := make([]string, 0, len(e.o.Runners))
	for _, r := range e.o.Runners {
		names = append(names, r.Kind())
	}
	var ids map[string]int32
	err := e.persist("declare kinds", func(ctx context.Context) (err error) {
		ids, err = e.o.Store.DeclareKinds(ctx, names)
		return err
	})
	if err != nil || ids == nil {
		return err
	}
	kinds, limited := map[int32]*kind{}, map[int32]bool{}
	for _, r := range e.o.Runners {
		id, ok := ids[r.Kind()]
		if !ok {
			return fmt.Errorf("worker: kind %q has no id", r.Kind())
		}
		k := &kind{id: id, name: r.Kind(), runner: r, limited: r.Kind() == shellKind}
		if b, ok := r.(Bounded); ok {
			k.maxMs = max(0, b.MaxRunMs())
		}
		kinds[id] = k
		e.allKinds = append(e.allKinds, id)
		if k.limited {
			limited[id] = true
		} else {
			e.openKind = append(e.openKind, id)
		}
	}
	e.mu.Lock()
	e.kinds, e.limited = kinds, limited
	e.mu.Unlock()
	return e.enrol()
}

// enrol takes a new worker id.
func (e *Engine) enrol() error {
	var id, sent int64
	err := e.persist("register worker", func(ctx context.Context) (err error) {
		sent = e.mono.ns()
		id, err = e.o.Store.NewWorker(ctx, e.info())
		return err
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.id, e.beatNs, e.fenced = id, sent, false
	e.mu.Unlock()
	if id != 0 {
		e.registeredOnce.Do(func() { close(e.registered) })
		e.log.Info("worker registered", "worker", id, "slots", e.o.Slots, "queues", e.o.Queues)
	}
	e.calling.ring()
	return nil
}

// persist repeats what failed because the database is gone, until the engine ends: then it gives nil, with nothing done.
func (e *Engine) persist(what string, do func(context.Context) error) error {
	pause := 50 * time.Millisecond
	for {
		ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
		err := do(ctx)
		late := ctx.Err() != nil
		cancel()
		if err == nil || e.ended() || e.ctx.Err() != nil {
			return nil
		}
		if task.KindOf(err) != task.Unavailable && !late {
			return fmt.Errorf("worker: %s: %w", what, err)
		}
		e.log.Warn("database not reached", "while", what, "err", err)
		if !e.sleep(pause, e.drain) {
			return nil
		}
		pause = min(2*pause, 2*time.Second)
	}
}

// sleep pauses; false when the engine ended or until was closed meanwhile. until may be nil.
func (e *Engine) sleep(d time.Duration, until <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.ctx.Done():
	case <-e.kill:
	case <-until:
	}
	return false
}

// Drain asks for a graceful end: nothing more is claimed, running tasks get DrainTime. It does not wait; Run returns.
func (e *Engine) Drain() { e.drainOnce.Do(func() { close(e.drain) }) }

// Kill ends at once: contexts are cancelled and Run returns without waiting for handlers, results or the database.
func (e *Engine) Kill() { e.killOnce.Do(func() { close(e.kill) }) }

// Registered is closed once the worker is known to the database: its kinds are declared, and tasks of them are accepted.
func (e *Engine) Registered() <-chan struct{} { return e.registered }

// Stats is what the engine does at this moment.
type Stats struct {
	WorkerID int64
	Slots    int
	Busy     int // slots in use, zombies included, and those reserved by claims under way
	Zombies  int
	Results  int // ended, not committed yet
	Draining bool
}

// Stats may be called at any time.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Stats{WorkerID: e.id, Slots: e.o.Slots, Busy: e.o.Slots - e.free, Zombies: e.zombies, Results: e.fin.size(), Draining: e.phase != serving}
}

// Running lists the attempts whose handlers have not returned, zombies included.
func (e *Engine) Running() []task.LiveEntry {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]task.LiveEntry, 0, e.running)
	for _, r := range e.slots {
		if r != nil {
			out = append(out, r.live())
		}
	}
	return out
}

// info is what the worker says of itself. Loads of lanes are part of it, so that owners can size bells.
func (e *Engine) info() task.WorkerInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := make([]string, 0, len(e.o.Runners))
	for _, r := range e.o.Runners {
		names = append(names, r.Kind())
	}
	slices.Sort(names)
	return task.WorkerInfo{
		Host: e.o.Host, PID: os.Getpid(), Version: e.o.Version, StartedAt: e.startedAt(),
		Slots: e.o.Slots, ShellSlots: e.shellSlots(), Queues: e.o.Queues, Kinds: names,
		Busy: e.running, Zombies: e.zombies, Loads: e.loads(),
	}
}

// loads tells what the worker saw of each lane. Engine.mu is held.
func (e *Engine) loads() []task.LaneLoad {
	out := make([]task.LaneLoad, 0, len(e.order))
	for _, l := range e.order {
		if l.done > 0 {
			out = append(out, task.LaneLoad{LaneID: l.ID, RunMs: l.runMs, Done: l.done})
		}
	}
	return out
}

// startedAt is when the engine was made, by the database's clock.
func (e *Engine) startedAt() int64 {
	return e.o.Clock.Now() - (e.mono.ns()-int64(time.Second))/int64(time.Millisecond)
}

// shellSlots is 0 for a worker that runs no shell commands.
func (e *Engine) shellSlots() int {
	if len(e.limited) == 0 {
		return 0
	}
	return e.o.ShellSlots
}
