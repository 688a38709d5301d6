package riverpeer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/tally"
)

var errUnknown = errors.New("not a task that waits for its cancel")

// peer is River, opened.
type peer struct {
	pool     *pgxpool.Pool // of the worker
	inserts  *pgxpool.Pool // of the sender
	client   *river.Client[pgx.Tx]
	sender   *river.Client[pgx.Tx] // inserts only
	recorded *tally.Tally          // jobs that River says to have completed

	working   bool
	listening sync.WaitGroup // for those events
	firstID   int64          // the largest at Mark
	before    int64          // of recorded at Mark

	mu      sync.Mutex
	waiting map[int64]int64 // River's ids of tasks of kind Wait
}

func open(ctx context.Context, url string, h system.Handler, with tuning) (system.System, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("configure pgx: %w", err)
	}
	if with.conns > 0 {
		config.MaxConns = with.conns
	}
	p := &peer{recorded: tally.New(), waiting: map[int64]int64{}}
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if p.inserts, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		p.pool.Close()
		return nil, fmt.Errorf("connect: %w", err)
	}
	err = p.make(ctx, h, with)
	if err == nil {
		err = p.Reset(ctx)
	}
	if err != nil {
		p.pool.Close()
		p.inserts.Close()
		return nil, err
	}
	return p, nil
}

// make brings the schema up to date and makes the client.
func (p *peer) make(ctx context.Context, h system.Handler, with tuning) error {
	driver := riverpgxv5.New(p.pool)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: log})
	if err != nil {
		return fmt.Errorf("make river's migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("make river's schema: %w", err)
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, &runner{handler: h}); err != nil {
		return fmt.Errorf("add river's worker: %w", err)
	}
	p.client, err = river.NewClient(driver, &river.Config{Workers: workers, Logger: log, FetchCooldown: with.cooldown, FetchPollInterval: with.poll,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: with.workers}}})
	if err != nil {
		return fmt.Errorf("make river's client: %w", err)
	}
	if p.sender, err = river.NewClient(riverpgxv5.New(p.inserts), &river.Config{Logger: log}); err != nil {
		return fmt.Errorf("make river's client for inserts: %w", err)
	}
	return nil
}

// runner hands jobs to the benchmark.
type runner struct {
	river.WorkerDefaults[args]
	handler system.Handler
}

// Work implements river.Worker.
func (r *runner) Work(ctx context.Context, job *river.Job[args]) error {
	return r.handler.Handle(ctx, system.Task{Number: job.Args.Number, Kind: job.Args.What}.Payload())
}

// Submit implements system.System.
func (p *peer) Submit(ctx context.Context, t system.Task) error {
	args, options := insert(t)
	done, err := p.sender.Insert(ctx, args, options)
	if err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	if t.Kind == system.Wait {
		p.mu.Lock()
		p.waiting[t.Number] = done.Job.ID
		p.mu.Unlock()
	}
	return nil
}

// SubmitBulk implements system.System.
func (p *peer) SubmitBulk(ctx context.Context, tasks []system.Task) error {
	many := make([]river.InsertManyParams, len(tasks))
	for i, t := range tasks {
		many[i].Args, many[i].InsertOpts = insert(t)
	}
	if _, err := p.sender.InsertManyFast(ctx, many); err != nil {
		return fmt.Errorf("insert many: %w", err)
	}
	return nil
}

// Work implements system.System.
func (p *peer) Work(ctx context.Context) error {
	if p.working {
		return nil
	}
	events, _ := p.client.SubscribeConfig(&river.SubscribeConfig{Kinds: []river.EventKind{river.EventKindJobCompleted}, ChanSize: 100_000})
	if err := p.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start river: %w", err)
	}
	p.working = true
	p.listening.Go(func() {
		for range events { // a stop closes it
			p.recorded.Add()
		}
	})
	return nil
}

// Hold implements system.System.
func (p *peer) Hold(ctx context.Context) error {
	if !p.working {
		return nil
	}
	if err := p.client.Stop(ctx); err != nil {
		return fmt.Errorf("stop river: %w", err)
	}
	p.working = false
	p.listening.Wait()
	return nil
}

// Mark implements system.System.
func (p *peer) Mark(ctx context.Context) error {
	p.before = p.recorded.Count()
	if err := p.pool.QueryRow(ctx, "SELECT coalesce(max(id), 0) FROM river_job").Scan(&p.firstID); err != nil {
		return fmt.Errorf("read the last id: %w", err)
	}
	return nil
}

// patience is after how long without enough events the table is asked all the same.
const patience = 500 * time.Millisecond

// Await implements system.System.
func (p *peer) Await(ctx context.Context, n int64) error {
	for {
		soon, cancel := context.WithTimeout(ctx, patience)
		err := p.recorded.Wait(soon, p.before+n)
		cancel()
		if ctx.Err() != nil {
			return fmt.Errorf("await river's events: %w", context.Cause(ctx))
		}
		if err != nil && p.recorded.Count() == p.before {
			continue // nothing has ended yet: what is due later is waited for
		}
		if done, err := p.Completed(ctx); err != nil || done >= n {
			return err
		}
	}
}

// Completed implements system.System.
func (p *peer) Completed(ctx context.Context) (n int64, err error) {
	if err := p.pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state = 'completed' AND id > $1", p.firstID).Scan(&n); err != nil {
		return 0, fmt.Errorf("count completed jobs: %w", err)
	}
	return n, nil
}

// Cancel implements system.System.
func (p *peer) Cancel(ctx context.Context, number int64) error {
	p.mu.Lock()
	id, ok := p.waiting[number]
	p.mu.Unlock()
	if !ok {
		return fmt.Errorf("cancel %d: %w", number, errUnknown)
	}
	if _, err := p.sender.JobCancel(ctx, id); err != nil {
		return fmt.Errorf("cancel: %w", err)
	}
	return nil
}

// Reset implements system.System.
func (p *peer) Reset(ctx context.Context) error {
	if _, err := p.pool.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return fmt.Errorf("empty river's table: %w", err)
	}
	p.mu.Lock()
	clear(p.waiting)
	p.mu.Unlock()
	return nil
}

// Close implements system.System.
func (p *peer) Close(ctx context.Context) error {
	if p.working {
		if err := p.client.StopAndCancel(ctx); err != nil {
			return fmt.Errorf("stop river: %w", err)
		}
		p.listening.Wait()
	}
	p.pool.Close()
	p.inserts.Close()
	return nil
}
