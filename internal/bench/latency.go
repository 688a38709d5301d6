package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// latencyRate is the rate at which latencies are measured: the system is awake, not loaded.
const latencyRate = 200

// pickup measures from the call that submits to the start of the handler.
func (b *bench) pickup(ctx context.Context) error {
	notes := b.runner.take()
	defer b.runner.stop()
	began, s, err := b.paced(ctx, func() Task { return Task{Kind: Kind, Queue: latencyQueue, Payload: noop} })
	if err != nil {
		return err
	}
	if err := b.account(ctx, b.rep.figure("pickup at 200/s, p99", "ms"), s); err != nil {
		return err
	}
	var took []float64
	for id, start := range began {
		if at, ok := notes.startOf(id); ok {
			took = append(took, ms(at.Sub(start)))
		}
	}
	b.rep.quantiles("pickup at 200/s", took)
	return nil
}

// paced submits single tasks at latencyRate, each by a call of its own, and gives when each call began.
func (b *bench) paced(ctx context.Context, next func() Task) (map[int64]time.Time, span, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var s span
	var errs []error
	began := map[int64]time.Time{}
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	n := int(b.o.Latency.Seconds() * latencyRate)
	for range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, s, context.Cause(ctx)
		}
		wg.Go(func() {
			start := time.Now()
			ids, err := b.client.Submit(ctx, next())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			s.add(ids...)
			began[ids[0]] = start
		})
	}
	wg.Wait()
	return began, s, errors.Join(errs...)
}

// delays measures tasks due in one instant, submitted by batches and singly, and tasks due one after another.
func (b *bench) delays(ctx context.Context) error {
	for _, how := range []struct {
		name    string
		callers int
		batch   int
	}{{instantBatches, 2, batchSize}, {instantSingly, 256, 1}} {
		if err := b.instant(ctx, how.name, how.callers, how.batch); err != nil {
			return fmt.Errorf("%s: %w", how.name, err)
		}
	}
	return b.spread(ctx)
}

var errAheadTooShort = errors.New("the instant came before all tasks were submitted: choose a longer time ahead")

func (b *bench) instant(ctx context.Context, name string, callerCount, batch int) error {
	notes := b.runner.take()
	defer b.runner.stop()
	due := b.sys.Now() + b.o.InstantAhead.Milliseconds()
	s, err := b.submitDue(ctx, due, callerCount, batch)
	if err != nil {
		return err
	}
	if b.sys.Now() >= due {
		return errAheadTooShort
	}
	if err := until(ctx, b.o.Patience, func() bool { return notes.starts() >= int(s.n) }); err != nil && ctx.Err() != nil {
		return err
	}
	first, last := b.rep.figure(name+": first late", "ms"), b.rep.figure(name+": last late", "ms")
	if err := b.account(ctx, last, s); err != nil {
		return err
	}
	late := b.lateness(notes, func(int64) int64 { return due })
	if len(late) == 0 {
		return errTooSlow
	}
	slices.Sort(late)
	first.add(late[0])
	last.add(late[len(late)-1])
	b.rep.figure(name+": p99 late", "ms").add(quantile(late, 0.99))
	return nil
}

func (b *bench) submitDue(ctx context.Context, due int64, callerCount, batch int) (span, error) {
	tasks := make([]Task, batch)
	for i := range tasks {
		tasks[i] = Task{Kind: Kind, Queue: latencyQueue, Payload: noop, DueAt: due}
	}
	left := make(chan struct{}, b.o.Instant/batch)
	for range b.o.Instant / batch {
		left <- struct{}{}
	}
	close(left)
	got := make(submitted, callerCount)
	errs := make([]error, callerCount)
	var wg sync.WaitGroup
	for i := range callerCount {
		wg.Go(func() {
			for range left {
				ids, err := b.client.Submit(ctx, tasks...)
				if err != nil {
					errs[i] = err
					return
				}
				got[i].add(ids...)
			}
		})
	}
	wg.Wait()
	return got.all(), errors.Join(errs...)
}

// spread measures tasks that are each due a second after they were submitted.
func (b *bench) spread(ctx context.Context) error {
	notes := b.runner.take()
	defer b.runner.stop()
	began, s, err := b.paced(ctx, func() Task {
		return Task{Kind: Kind, Queue: latencyQueue, Payload: noop, DueAt: b.sys.Now() + 1000}
	})
	if err != nil {
		return err
	}
	if err := b.account(ctx, b.rep.figure("delays spread at 200/s, p99", "ms"), s); err != nil {
		return err
	}
	due, err := b.dueTimes(ctx, s)
	if err != nil {
		return err
	}
	late := b.lateness(notes, func(id int64) int64 { return due[id] })
	if len(late) != len(began) {
		return fmt.Errorf("%w: %d of %d started", errTooSlow, len(late), len(began))
	}
	b.rep.quantiles("delays spread at 200/s", late)
	return nil
}

// dueTimes reads the due times of a span.
func (b *bench) dueTimes(ctx context.Context, s span) (map[int64]int64, error) {
	rows, err := b.sys.DB().QueryContext(ctx, "SELECT id, due_at FROM tasks WHERE id BETWEEN ? AND ?", s.from, s.to)
	if err != nil {
		return nil, fmt.Errorf("read due times: %w", err)
	}
	defer rows.Close()
	due := map[int64]int64{}
	for rows.Next() {
		var id, at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, fmt.Errorf("read due times: %w", err)
		}
		due[id] = at
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read due times: %w", err)
	}
	return due, nil
}

// lateness gives for each noted task how many ms after its due time its handler started, by this process's clock.
func (b *bench) lateness(n *notes, due func(id int64) int64) []float64 {
	zero := b.databaseZero()
	n.mu.Lock()
	defer n.mu.Unlock()
	late := make([]float64, 0, len(n.start))
	for id, at := range n.start {
		late = append(late, ms(at.Sub(zero))-float64(due(id)))
	}
	return late
}

// databaseZero is the instant of this process's clock at which the database's clock was 0 ms. It is found at moments when
// that clock moves on by a millisecond; such a moment can only be noticed too late, so the earliest of some is the best.
func (b *bench) databaseZero() time.Time {
	var zero time.Time
	for range 20 {
		before, now := b.sys.Now(), int64(0)
		for now = b.sys.Now(); now == before; now = b.sys.Now() {
		}
		if z := time.Now().Add(-time.Duration(now) * time.Millisecond); zero.IsZero() || z.Before(zero) {
			zero = z
		}
	}
	return zero
}

// cancels measures from the request to the moment when the handler's context ends.
func (b *bench) cancels(ctx context.Context) error {
	notes := b.runner.take()
	defer b.runner.stop()
	tasks := make([]Task, min(b.o.Cancels, b.o.Slots, batchSize))
	for i := range tasks {
		tasks[i] = Task{Kind: Kind, Queue: latencyQueue, Payload: []byte(`{"wait":true}`), NoRetry: true}
	}
	ids, err := b.client.Submit(ctx, tasks...)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	var s span
	s.add(ids...)
	if err := until(ctx, b.o.Patience, func() bool { return notes.starts() >= len(ids) }); err != nil {
		return err
	}
	asked, err := b.askToCancel(ctx, ids)
	if err != nil {
		return err
	}
	if err := until(ctx, b.o.Patience, func() bool { return notes.cancels() >= len(ids) }); err != nil {
		return err
	}
	var took []float64
	for id, at := range asked {
		if told, ok := notes.cancelOf(id); ok {
			took = append(took, ms(told.Sub(at)))
		}
	}
	b.rep.quantiles("cancel", took)
	return b.account(ctx, b.rep.figure("cancel, p99", "ms"), s)
}

// askToCancel cancels tasks over HTTP, four at a time.
func (b *bench) askToCancel(ctx context.Context, ids []int64) (map[int64]time.Time, error) {
	p := newPost(b.sys.BaseURL(), b.client.Key(), 4)
	defer p.close()
	work := make(chan int64, len(ids))
	for _, id := range ids {
		work <- id
	}
	close(work)
	asked := make(map[int64]time.Time, len(ids))
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			var answer bytes.Buffer
			for id := range work {
				mu.Lock()
				asked[id] = time.Now()
				mu.Unlock()
				if err := p.send(ctx, fmt.Sprintf("/v1/tasks/%d/cancel", id), nil, &answer); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return asked, errors.Join(errs...)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the q-quantile of sorted values; 0 for none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
