package machinerypeer

import (
	"context"
	"errors"
	"fmt"
	"os"

	stdlog "log"

	"github.com/RichardKnop/machinery/v2"
	"github.com/RichardKnop/machinery/v2/backends/iface"
	"github.com/RichardKnop/machinery/v2/backends/null"
	backend "github.com/RichardKnop/machinery/v2/backends/redis"
	broker "github.com/RichardKnop/machinery/v2/brokers/redis"
	"github.com/RichardKnop/machinery/v2/config"
	"github.com/RichardKnop/machinery/v2/locks/eager"
	"github.com/RichardKnop/machinery/v2/log"
	"github.com/RichardKnop/machinery/v2/tasks"
	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/tally"
)

const name = "task"

// peer is machinery, opened.
type peer struct {
	addr    string
	with    tuning
	handler system.Handler
	sender  *machinery.Server
	redis   *redis.Client // for Reset only: machinery has no such order
	done    *tally.Tally
	running context.Context // of handlers; ends with Close, since machinery never ends one
	end     context.CancelFunc

	worker *machinery.Worker // while it works
	ended  chan error        // what the worker ended with
	base   int64             // of done at Mark
}

func open(ctx context.Context, addr string, h system.Handler, with tuning) (system.System, error) {
	quiet()
	p := &peer{addr: addr, with: with, handler: h, done: tally.New(), redis: redis.NewClient(&redis.Options{Addr: addr})}
	p.running, p.end = context.WithCancel(context.WithoutCancel(ctx))
	p.sender = p.server()
	if err := p.Reset(ctx); err != nil { // a round begins with an empty system
		return nil, errors.Join(err, p.Close(ctx))
	}
	return p, nil
}

// quiet leaves only errors of what machinery says; its log is global.
func quiet() {
	none := stdlog.New(discard{}, "", 0)
	log.Set(none)
	log.SetError(stdlog.New(os.Stderr, "machinery ", 0))
	log.SetFatal(stdlog.New(os.Stderr, "machinery ", 0))
}

type discard struct{}

// Write implements io.Writer.
func (discard) Write(p []byte) (int, error) { return len(p), nil }

// server makes a machinery server with connections of its own.
func (p *peer) server() *machinery.Server {
	c := &config.Config{DefaultQueue: "tasks", NoUnixSignals: true, Redis: &config.RedisConfig{DelayedTasksPollPeriod: p.with.delayedPoll}}
	var results iface.Backend = null.New()
	if p.with.results {
		results = backend.NewGR(c, []string{p.addr}, 0)
	}
	return machinery.NewServer(c, broker.NewGR(c, []string{p.addr}, 0), results, eager.New())
}

// Submit implements system.System.
func (p *peer) Submit(ctx context.Context, t system.Task) error {
	signature := &tasks.Signature{Name: name, Args: []tasks.Arg{{Type: "string", Value: string(t.Payload())}}}
	if !t.Due.IsZero() {
		due := t.Due.UTC()
		signature.ETA = &due
	}
	if _, err := p.sender.SendTaskWithContext(ctx, signature); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// SubmitBulk implements system.System.
func (p *peer) SubmitBulk(context.Context, []system.Task) error { return system.ErrNone }

// Work implements system.System.
func (p *peer) Work(context.Context) error {
	if p.worker != nil {
		return nil
	}
	server := p.server()
	if err := server.RegisterTask(name, p.handle); err != nil {
		return fmt.Errorf("register the task: %w", err)
	}
	p.worker, p.ended = server.NewWorker("worker", p.with.concurrency), make(chan error, 1)
	p.worker.LaunchAsync(p.ended)
	return nil
}

func (p *peer) handle(payload string) error {
	if err := p.handler.Handle(p.running, []byte(payload)); err != nil {
		return err
	}
	p.done.Add()
	return nil
}

// Hold implements system.System.
func (p *peer) Hold(ctx context.Context) error {
	if p.worker == nil {
		return nil
	}
	worker := p.worker
	p.worker = nil
	go worker.Quit()
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("stop the worker: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the worker: %w", context.Cause(ctx))
	}
}

// Mark implements system.System.
func (p *peer) Mark(context.Context) error {
	p.base = p.done.Count()
	return nil
}

// Await implements system.System by handlers that have returned: without a result backend there is no record.
func (p *peer) Await(ctx context.Context, n int64) error {
	if err := p.done.Wait(ctx, p.base+n); err != nil {
		return fmt.Errorf("await handlers: %w", err)
	}
	return nil
}

// Completed implements system.System.
func (p *peer) Completed(context.Context) (int64, error) { return 0, system.ErrNone }

// Cancel implements system.System.
func (p *peer) Cancel(context.Context, int64) error { return system.ErrNone }

// Reset implements system.System.
func (p *peer) Reset(ctx context.Context) error {
	if err := p.redis.FlushAll(ctx).Err(); err != nil {
		return fmt.Errorf("empty redis: %w", err)
	}
	return nil
}

// Close implements system.System. A broker closes its connections when it is told to stop, also one that never worked.
func (p *peer) Close(ctx context.Context) error {
	p.end()
	err := p.Hold(ctx)
	p.sender.GetBroker().StopConsuming()
	return errors.Join(err, p.redis.Close())
}
