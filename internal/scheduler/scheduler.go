package scheduler

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
)

// Scheduler owns lanes and does chores. Make one with New, start it with Run.
type Scheduler struct {
	o Options

	owner   atomic.Int64 // 0 until Run got one
	leases  *leases
	view    *view
	press   *press
	inbox   *inbox
	ahead   *lookAhead
	loop    *loop
	limits  *limits
	rescue  rescue
	rescued atomic.Bool // Recover ran

	firing   *firing   // nil: no schedules
	settling *settling // nil: no schedules
	signals  chan schedule.Cancel
	rest     chan schedule.Rest

	goodAt atomic.Int64 // monotonic ns since start of the last good look
	start  time.Time
	wake   chan struct{}
}

// readyFor is how long a good look at the database keeps the scheduler ready.
const readyFor = 5 * time.Second

// New makes a scheduler. Its error is a missing option.
func New(o Options) (*Scheduler, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Scheduler{o: o, start: time.Now(), wake: make(chan struct{}, 1)}
	s.goodAt.Store(-1)
	s.leases = newLeases(s)
	s.view = newView(s)
	s.limits = newLimits(s)
	s.inbox = newInbox()
	s.press = newPress(s)
	s.ahead = newLookAhead(s)
	s.loop = newLoop(s)
	if o.Schedules != nil {
		s.firing = newFiring(s)
		s.settling = newSettling(s)
		s.signals = make(chan schedule.Cancel, signalsMost)
		s.rest = make(chan schedule.Rest, restMost)
	}
	return s, nil
}

// Recover declares every worker of the database gone and releases what they ran. It is for a scheduler that is Alone, and
// must be done before this process's own worker registers; Run does it when it was not done before. Without Alone it does
// nothing. Its error is that the database is away; a claim that cannot be released is left to Run, which tries it again.
func (s *Scheduler) Recover(ctx context.Context) error {
	if !s.o.Alone || s.rescued.Load() {
		return nil
	}
	n, err := s.o.Store.DeclareAllGone(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		s.o.Logger.Info("workers of an earlier start are gone", "workers", n)
	}
	s.rescued.Store(true)
	for {
		more, err := s.rescueOnce(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// Run works until ctx ends, then gives up its leases and waits for its goroutines. It survives the loss of database,
// broker and Redis. It returns nil; it is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return nil // ctx ended before the database answered
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errors.New("scheduler stopped"))
	var wg sync.WaitGroup
	parts := []func(context.Context){
		s.leases.run, s.view.runLanes, s.view.runWorkers, s.press.run, s.ahead.runLoad, s.ahead.runInstants,
		s.loop.run, s.runExpire, s.runRescue, s.runAudit, s.runAuditLimits, s.runPurgeKeys,
	}
	if s.o.Bulks != nil {
		parts = append(parts, s.runBulks)
	}
	if s.firing != nil {
		parts = append(parts, s.firing.run, s.settling.run, s.runRest)
		if s.o.Signals != nil {
			parts = append(parts, s.runSignals)
		}
	}
	for _, run := range parts {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
	s.leases.giveUp()
	return nil
}

// begin gets an owner id and recovers; it repeats until the database answers or ctx ends.
func (s *Scheduler) begin(ctx context.Context) error {
	b := backoff{log: s.o.Logger, what: "start"}
	for {
		err := s.tryBegin(ctx)
		if err == nil {
			b.ok()
			return nil
		}
		if err := sleep(ctx, b.failed(err)); err != nil {
			return err
		}
	}
}

func (s *Scheduler) tryBegin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if s.owner.Load() == 0 && !s.o.Alone {
		id, err := s.o.Store.NewOwner(ctx)
		if err != nil {
			return err
		}
		s.owner.Store(id)
	}
	return s.Recover(ctx)
}

// Wake says that a writer wrote due bells that it did not ring: look now. It never blocks and may be called from
// anywhere, at any rate.
func (s *Scheduler) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Ready reports whether the database answered within the last 5 s.
func (s *Scheduler) Ready() bool {
	at := s.goodAt.Load()
	return at >= 0 && time.Since(s.start)-time.Duration(at) < readyFor
}

func (s *Scheduler) sawDatabase() { s.goodAt.Store(int64(time.Since(s.start))) }

// query bounds one read or write of the store.
func (s *Scheduler) query(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.o.Intervals.Query)
}
