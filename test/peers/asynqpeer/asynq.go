package asynqpeer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/tally"
)

const queue = "default"

var errUnknown = errors.New("not a task that waits for its cancel")

// tuning is what differs from asynq's defaults; a zero is the default.
type tuning struct {
	servers, concurrency int
	check, delayed       time.Duration
}

// peer is asynq, opened.
type peer struct {
	conn      asynq.RedisConnOpt
	with      tuning
	handler   system.Handler
	client    *asynq.Client
	inspector *asynq.Inspector
	redis     *redis.Client // for Reset only: asynq has no such order
	done      *tally.Tally

	servers  []*asynq.Server // while it works
	doneBase int64           // of done at Mark
	base     int64           // of the record at Mark

	mu      sync.Mutex
	waiting map[int64]string // asynq's ids of tasks of kind Wait
}

func open(ctx context.Context, addr string, h system.Handler, with tuning) (system.System, error) {
	p := &peer{conn: asynq.RedisClientOpt{Addr: addr}, with: with, handler: h, done: tally.New(), waiting: map[int64]string{}}
	p.redis = redis.NewClient(&redis.Options{Addr: addr})
	p.client, p.inspector = asynq.NewClient(p.conn), asynq.NewInspector(p.conn)
	if err := p.Reset(ctx); err != nil { // a round begins with an empty system
		return nil, errors.Join(err, p.Close(ctx))
	}
	return p, nil
}

// Submit implements system.System.
func (p *peer) Submit(ctx context.Context, t system.Task) error {
	var options []asynq.Option
	if !t.Due.IsZero() {
		options = append(options, asynq.ProcessAt(t.Due))
	}
	if t.Kind == system.Wait {
		options = append(options, asynq.MaxRetry(0)) // a cancelled execution counts as failed, and would be tried again
	}
	info, err := p.client.EnqueueContext(ctx, asynq.NewTask("task", t.Payload(), options...))
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if t.Kind == system.Wait {
		p.mu.Lock()
		p.waiting[t.Number] = info.ID
		p.mu.Unlock()
	}
	return nil
}

// SubmitBulk implements system.System: asynq has no bulk enqueue.
func (p *peer) SubmitBulk(context.Context, []system.Task) error { return system.ErrNone }

// Work implements system.System.
func (p *peer) Work(context.Context) error {
	if len(p.servers) > 0 {
		return nil
	}
	for range p.with.servers {
		s := asynq.NewServer(p.conn, asynq.Config{Concurrency: p.with.concurrency, TaskCheckInterval: p.with.check, DelayedTaskCheckInterval: p.with.delayed,
			Logger: logger{slog.New(slog.NewTextHandler(os.Stderr, nil))}, LogLevel: asynq.WarnLevel, ShutdownTimeout: 30 * time.Second})
		if err := s.Start(asynq.HandlerFunc(p.handle)); err != nil {
			p.hold()
			return fmt.Errorf("start a server: %w", err)
		}
		p.servers = append(p.servers, s)
	}
	return nil
}

// Hold implements system.System.
func (p *peer) Hold(context.Context) error {
	p.hold()
	return nil
}

func (p *peer) hold() {
	var ended sync.WaitGroup
	for _, s := range p.servers {
		ended.Go(s.Shutdown)
	}
	ended.Wait()
	p.servers = nil
}

func (p *peer) handle(ctx context.Context, t *asynq.Task) error {
	if err := p.handler.Handle(ctx, t.Payload()); err != nil {
		return err
	}
	p.done.Add()
	return nil
}

// Mark implements system.System.
func (p *peer) Mark(context.Context) (err error) {
	p.doneBase = p.done.Count()
	p.base, err = p.record()
	return err
}

// Await implements system.System. The record follows a handler's return within a round trip.
func (p *peer) Await(ctx context.Context, n int64) error {
	if err := p.done.Wait(ctx, p.doneBase+n); err != nil {
		return fmt.Errorf("await handlers: %w", err)
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		if recorded, err := p.record(); err != nil || recorded-p.base >= n {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("await asynq's record: %w", context.Cause(ctx))
		}
	}
}

// Completed implements system.System.
func (p *peer) Completed(context.Context) (int64, error) {
	recorded, err := p.record()
	return recorded - p.base, err
}

// record is how many tasks have ended well since Redis was empty.
func (p *peer) record() (int64, error) {
	info, err := p.inspector.GetQueueInfo(queue)
	if err != nil {
		if known, kerr := p.inspector.Queues(); kerr == nil && !slices.Contains(known, queue) {
			return 0, nil // nothing was submitted yet
		}
		return 0, fmt.Errorf("ask for the queue's totals: %w", err)
	}
	return int64(info.ProcessedTotal - info.FailedTotal), nil
}

// Cancel implements system.System.
func (p *peer) Cancel(_ context.Context, number int64) error {
	p.mu.Lock()
	id, ok := p.waiting[number]
	p.mu.Unlock()
	if !ok {
		return fmt.Errorf("cancel %d: %w", number, errUnknown)
	}
	if err := p.inspector.CancelProcessing(id); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	return nil
}

// Reset implements system.System. A client remembers that it made its queue known, so a new one takes its place.
func (p *peer) Reset(ctx context.Context) error {
	if err := p.client.Close(); err != nil {
		return fmt.Errorf("close the client: %w", err)
	}
	p.client = asynq.NewClient(p.conn)
	if err := p.redis.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty redis: %w", err)
	}
	p.base = 0
	p.mu.Lock()
	clear(p.waiting)
	p.mu.Unlock()
	return nil
}

// Close implements system.System.
func (p *peer) Close(context.Context) error {
	p.hold()
	return errors.Join(p.client.Close(), p.inspector.Close(), p.redis.Close())
}

// logger passes on what asynq says.
type logger struct{ to *slog.Logger }

func (l logger) Debug(args ...any) { l.to.Debug(fmt.Sprint(args...)) }
func (l logger) Info(args ...any)  { l.to.Info(fmt.Sprint(args...)) }
func (l logger) Warn(args ...any)  { l.to.Warn(fmt.Sprint(args...)) }
func (l logger) Error(args ...any) { l.to.Error(fmt.Sprint(args...)) }
func (l logger) Fatal(args ...any) { l.to.Error(fmt.Sprint(args...)) }
