package bench

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/procstat"
)

// yardsticks measures I or S, and H.
func (b *bench) yardsticks(ctx context.Context) error {
	rate, err := insertRate(ctx, b.sys, b.o.Yard)
	if err != nil {
		return err
	}
	b.rep.figure(b.rep.insertYard(), "rows/s").add(rate)
	for _, clients := range []int{256, 16} {
		if rate, err = bareRate(ctx, clients, b.o.Yard); err != nil {
			return err
		}
		b.rep.figure(bareYard(clients), "requests/s").add(rate)
	}
	return nil
}

// submits measures every way of submitting into a paused queue, and then drains what it submitted.
func (b *bench) submits(ctx context.Context) error {
	queue := queue("submit")
	ran, err := b.hold(ctx, queue)
	if err != nil {
		return err
	}
	var all span
	one := Task{Kind: Kind, Queue: queue, Payload: noop}
	for _, n := range []int{1, 32, 256} {
		s, err := b.submitInProcess(ctx, b.rep.figure(fmt.Sprintf("submit, in process, %d callers", n), "tasks/s"), n, one)
		if err != nil {
			return err
		}
		all.merge(s)
	}
	for _, n := range []int{1, 16, 32, 256} {
		s, err := b.submitHTTP(ctx, b.rep.figure(fmt.Sprintf("submit, HTTP, %d clients", n), "tasks/s"), n, "/v1/tasks", submitBody(queue, noop))
		if err != nil {
			return err
		}
		all.merge(s)
	}
	s, err := b.submitHTTP(ctx, b.rep.figure("submit, HTTP, 2 clients, batches of 500", "tasks/s"), 2, "/v1/tasks/batch", batchBody(queue, noop, batchSize))
	if err != nil {
		return err
	}
	all.merge(s)
	return b.drainOf(ctx, b.rep.figure("drain of what these submits wrote", "tasks/s"), queue, all, ran)
}

func (b *bench) submitInProcess(ctx context.Context, f *Figure, callerCount int, t Task) (span, error) {
	got := make(submitted, callerCount)
	n, took, err := callers(ctx, callerCount, b.o.Submit, func(ctx context.Context, i int) error {
		ids, err := b.client.Submit(ctx, t)
		got[i].add(ids...)
		return err
	})
	f.add(perSecond(n, took))
	return got.all(), err
}

func (b *bench) submitHTTP(ctx context.Context, f *Figure, clients int, path string, body []byte) (span, error) {
	s, took, err := b.overHTTP(ctx, clients, b.o.Submit, path, body)
	f.add(perSecond(s.n, took))
	return s, err
}

// overHTTP posts the same body from many clients for some time.
func (b *bench) overHTTP(ctx context.Context, clients int, d time.Duration, path string, body []byte) (span, time.Duration, error) {
	p := newPost(b.sys.BaseURL(), b.client.Key(), clients)
	defer p.close()
	got, buffers := make(submitted, clients), make([]bytes.Buffer, clients)
	single := path == "/v1/tasks"
	_, took, err := callers(ctx, clients, d, func(ctx context.Context, i int) error {
		if err := p.send(ctx, path, body, &buffers[i]); err != nil {
			return err
		}
		if single {
			id, err := singleID(buffers[i].Bytes())
			got[i].add(id)
			return err
		}
		ids, err := batchIDs(buffers[i].Bytes())
		got[i].add(ids...)
		return err
	})
	return got.all(), took, err
}

// drain measures how fast a backlog of no-op tasks is worked off, and what that costs each process.
func (b *bench) drain(ctx context.Context) error {
	queue := queue("drain")
	ran, err := b.hold(ctx, queue)
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := b.fill(ctx, queue, b.o.Drain, Task{Kind: Kind, Payload: noop})
	if err != nil {
		return err
	}
	b.rep.figure("submit, in process, 2 callers, batches of 500", "tasks/s").add(perSecond(s.n, time.Since(began)))
	before := b.cpu()
	if err := b.drainOf(ctx, b.rep.figure(drainFigure, "tasks/s"), queue, s, ran); err != nil {
		return err
	}
	for name, used := range b.cpu() {
		if start, ok := before[name]; ok {
			b.rep.figure("CPU per 1,000 drained: "+name, "ms").add(float64((used - start).Milliseconds()) * 1000 / float64(s.n))
		}
	}
	return nil
}

// drainOf lets a paused queue go and measures from the first start to the last committed end. ran is what hold gave.
func (b *bench) drainOf(ctx context.Context, f *Figure, queue string, s span, ran int64) error {
	if err := b.sys.Resume(ctx, queue); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	// The handlers are watched first, since looking into the database costs what is being measured.
	if err := until(ctx, b.o.Patience, func() bool { return b.runner.ran.Load()-ran >= s.n }); err != nil && ctx.Err() != nil {
		return err
	}
	return b.rateOf(ctx, f, s)
}

// rateOf waits for the rest and adds the rate of committed ends.
func (b *bench) rateOf(ctx context.Context, f *Figure, s span) error {
	got, err := settle(ctx, b.sys, s, b.o.Patience, 50*time.Millisecond)
	if err != nil {
		return err
	}
	f.add(got.rate())
	b.rep.fate(f, s, got)
	return nil
}

func (b *bench) cpu() map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, pid := range b.o.processes() {
		if d, err := procstat.CPU(pid); err == nil {
			used[name] = d
		}
	}
	return used
}

// ahead is how many tasks a steady submitter may be ahead of the handlers: work in balance, not a growing backlog.
const ahead = 10_000

// steady measures submitting, executing and completing at once.
func (b *bench) steady(ctx context.Context) error {
	if err := b.steadyInProcess(ctx, "steady, in process, 2 callers, batches of 500", 2, batchSize); err != nil {
		return err
	}
	if err := b.steadyInProcess(ctx, "steady, in process, 256 callers", 256, 1); err != nil {
		return err
	}
	s, _, err := b.overHTTP(ctx, 256, b.o.Steady, "/v1/tasks", submitBody(queue("steady"), noop))
	if err != nil {
		return err
	}
	return b.rateOf(ctx, b.rep.figure(steadyHTTPFigure, "tasks/s"), s)
}

func (b *bench) steadyInProcess(ctx context.Context, name string, callerCount, batch int) error {
	tasks := make([]Task, batch)
	for i := range tasks {
		tasks[i] = Task{Kind: Kind, Queue: queue("steady"), Payload: noop}
	}
	got := make(submitted, callerCount)
	ran := b.runner.ran.Load()
	limit := int64(ahead / callerCount)
	_, _, err := callers(ctx, callerCount, b.o.Steady, func(ctx context.Context, i int) error {
		for got[i].n-(b.runner.ran.Load()-ran)/int64(callerCount) > limit {
			if err := pause(ctx, time.Millisecond); err != nil {
				return err
			}
		}
		ids, err := b.client.Submit(ctx, tasks...)
		got[i].add(ids...)
		return err
	})
	if err != nil {
		return err
	}
	return b.rateOf(ctx, b.rep.figure(name, "tasks/s"), got.all())
}

// callbacks drains HTTP tasks that call a bare server.
func (b *bench) callbacks(ctx context.Context) error {
	server, err := newBareServer()
	if err != nil {
		return err
	}
	defer server.close()
	queue := queue("callback")
	if _, err := b.hold(ctx, queue); err != nil {
		return err
	}
	s, err := b.fill(ctx, queue, b.o.Callbacks, Task{Kind: "http", Payload: fmt.Appendf(nil, `{"url":"%s/","body":%s}`, server.url, noop)})
	if err != nil {
		return err
	}
	if err := b.sys.Resume(ctx, queue); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := until(ctx, b.o.Patience, func() bool { return server.calls.Load() >= s.n }); err != nil && ctx.Err() != nil {
		return err
	}
	f := b.rep.figure(callbackFigure, "tasks/s")
	if err := b.rateOf(ctx, f, s); err != nil {
		return err
	}
	if more := server.calls.Load() - s.n; more > f.Doubled {
		f.Doubled = more
	}
	return nil
}
