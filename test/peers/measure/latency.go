package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// latencyRate is the rate at which latencies are measured: the system is awake, not loaded.
const latencyRate = 200

// pickup measures from before the call that submits to the start of the handler.
func (r *round) pickup(ctx context.Context) error {
	if err := r.work(ctx); err != nil {
		return err
	}
	if err := pause(ctx, 4*r.o.Settle); err != nil {
		return err
	}
	n := r.paces()
	s, err := r.section(ctx, n, true)
	if err != nil {
		return err
	}
	began := make([]time.Duration, n)
	if err := r.paced(ctx, n, func(i int, t system.Task) system.Task {
		began[i] = r.rec.now()
		return t
	}); err != nil {
		return err
	}
	if _, err := r.finish(ctx, Pickup, s); err != nil {
		return err
	}
	var took []float64
	for i := range n {
		if at, ok := s.startOf(s.from + int64(i)); ok {
			took = append(took, ms(at-began[i]))
		}
	}
	r.res.quantiles(Pickup, took)
	return nil
}

// paces is how many tasks a measure of latencies submits.
func (r *round) paces() int { return int(r.o.Latency.Seconds() * latencyRate) }

// paced submits single tasks at latencyRate, each by a call of its own. change is called right before the call.
func (r *round) paced(ctx context.Context, n int, change func(i int, t system.Task) system.Task) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / latencyRate)
	defer tick.Stop()
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		t := r.next(system.Noop)
		wg.Go(func() { errs[i] = r.sys.Submit(ctx, change(i, t)) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// instants measures tasks due in one instant: submitted in bulk where the system has that for delayed tasks, and singly. Stock
// settings are shown by one of the two.
func (r *round) instants(ctx context.Context) error {
	if err := r.work(ctx); err != nil {
		return err
	}
	if !r.hasBulk[true] {
		r.noInstant(InstantBulk)
	} else {
		if err := r.instant(ctx, InstantBulk, r.fillBulk); err != nil {
			return err
		}
		if r.adapter.Tuned != "" {
			return nil
		}
	}
	return r.instant(ctx, InstantSingle, r.fillSingly)
}

// The figures of an instant.
const (
	FirstLate = ": first late"
	P50Late   = ": p50 late"
	P99Late   = ": p99 late"
	LastLate  = ": last late"
)

func (r *round) noInstant(name string) {
	for _, figure := range []string{FirstLate, P50Late, P99Late, LastLate} {
		r.res.none(name+figure, "ms")
	}
}

type filler func(ctx context.Context, n int, kind system.Kind, due time.Time) (time.Duration, error)

var errAheadTooShort = errors.New("the instant came before all tasks were submitted, thrice")

// instant submits tasks due at a whole second that is far enough ahead. How far that is depends on the system, and on the
// minute: a try for which it was not far enough is thrown away.
func (r *round) instant(ctx context.Context, name string, fill filler) error {
	ahead := 1500 * time.Millisecond
	for range 3 {
		s, err := r.section(ctx, r.o.Instant, true)
		if err != nil {
			return err
		}
		due := time.Now().Add(ahead + r.fillTime(name)).Truncate(time.Second).Add(time.Second)
		if _, err := fill(ctx, r.o.Instant, system.Noop, due); err != nil {
			return err
		}
		left := time.Until(due)
		if err := r.arrive(ctx, name, s, due); err != nil { // what became of the tasks counts also where the figures do not
			return err
		}
		late := r.lateness(s, func(int64) time.Time { return due })
		if left > 300*time.Millisecond {
			r.instantFigures(name, late)
			return nil
		}
		ahead += 4 * time.Second
	}
	return errAheadTooShort
}

// fillTime guesses from earlier figures how long submitting takes.
func (r *round) fillTime(name string) time.Duration {
	figure := "submit, 32 callers"
	if name == InstantBulk {
		figure = "submit, bulk of 500, 2 callers"
	}
	rate, ok := r.res.figure(figure)
	if !ok {
		rate = 4_000
	}
	return time.Duration(1.3 * float64(r.o.Instant) / rate * float64(time.Second))
}

// arrive waits until every task of the section has started, but not for ever: what has not started long after its time is
// thrown away. What became of them is the last fate.
func (r *round) arrive(ctx context.Context, name string, s *section, due time.Time) error {
	want := r.submitted(s)
	for deadline := due.Add(r.o.Late); s.handled.Load() < want && time.Now().Before(deadline); {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	fate := Fate{Measure: name, Submitted: want}
	var err error
	if s.handled.Load() < want {
		err = r.discard(ctx)
	} else {
		fate.Lost, _, err = r.recorded(ctx, want)
	}
	if err != nil {
		return err
	}
	fate.Doubled, fate.Late = s.extra.Load(), want-s.handled.Load()
	r.res.Fates = append(r.res.Fates, fate)
	return nil
}

// discard throws away what is left, so that it does not come in between later.
func (r *round) discard(ctx context.Context) error {
	if err := r.hold(ctx); err != nil {
		return err
	}
	if err := r.sys.Reset(ctx); err != nil {
		return fmt.Errorf("reset: %w", err)
	}
	return r.work(ctx)
}

// instantFigures takes sorted ms.
func (r *round) instantFigures(name string, late []float64) {
	if len(late) == 0 {
		r.noInstant(name)
		return
	}
	r.res.add(name+FirstLate, "ms", late[0])
	r.res.add(name+P50Late, "ms", quantile(late, 0.50))
	r.res.add(name+P99Late, "ms", quantile(late, 0.99))
	r.res.add(name+LastLate, "ms", late[len(late)-1])
}

// lateness gives, sorted, how many ms after its due time each task started. One that has not started is as late as the measure
// waited, at least. The early ones are counted in the last fate.
func (r *round) lateness(s *section, due func(number int64) time.Time) []float64 {
	var late []float64
	fate := &r.res.Fates[len(r.res.Fates)-1]
	for number := s.from; number <= r.number.Load(); number++ {
		at, ok := s.startOf(number)
		if !ok {
			late = append(late, ms(r.o.Late))
			continue
		}
		l := ms(r.wall(at).Sub(due(number)))
		if l < 0 {
			fate.Early++
		}
		late = append(late, l)
	}
	slices.Sort(late)
	return late
}

// wall is an instant by the wall clock.
func (r *round) wall(at time.Duration) time.Time { return r.rec.zero.Round(0).Add(at) }

// spread measures tasks that are due one after another, each 2 s after it was submitted.
func (r *round) spread(ctx context.Context) error {
	if err := r.work(ctx); err != nil {
		return err
	}
	n := r.paces()
	s, err := r.section(ctx, n, true)
	if err != nil {
		return err
	}
	due := make([]time.Time, n)
	if err := r.paced(ctx, n, func(i int, t system.Task) system.Task {
		due[i] = time.Now().Add(2 * time.Second).Truncate(time.Millisecond)
		t.Due = due[i]
		return t
	}); err != nil {
		return err
	}
	if err := r.arrive(ctx, Spread, s, time.Now().Add(2*time.Second)); err != nil {
		return err
	}
	late := r.lateness(s, func(number int64) time.Time { return due[number-s.from] })
	r.res.quantiles(Spread, late)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
