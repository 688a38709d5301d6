package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// The tasks that run at once when they are cancelled, fewer than any system's slots, and the callers that cancel.
const (
	cancelBatch   = 32
	cancelCallers = 4
)

// cancels measures from before the request to the moment when the handler's context ends.
func (r *round) cancels(ctx context.Context) error {
	if err := r.sys.Cancel(ctx, 0); errors.Is(err, system.ErrNone) {
		for _, q := range quantiles {
			r.res.none(Cancel+", "+q.name, "ms")
		}
		return nil
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	s, err := r.section(ctx, r.o.Cancels, true)
	if err != nil {
		return err
	}
	asked := make([]time.Duration, r.o.Cancels)
	for done := 0; done < r.o.Cancels; done += cancelBatch {
		if err := r.cancelSome(ctx, s, min(cancelBatch, r.o.Cancels-done), asked); err != nil {
			return err
		}
	}
	took, deaf := r.cancelTimes(s, asked)
	r.res.quantiles(Cancel, took)
	r.res.add(Cancel+NeverEnded, "tasks", float64(deaf))
	want := r.submitted(s)
	r.res.Fates = append(r.res.Fates, Fate{Measure: Cancel, Submitted: want, Lost: want - s.handled.Load(), Doubled: s.extra.Load(), Deaf: deaf})
	return nil
}

// cancelTimes are, in ms, how long the contexts of the tasks that started took to end. One that never did took as long as the
// measure waited, at least.
func (r *round) cancelTimes(s *section, asked []time.Duration) (took []float64, deaf int64) {
	for i, at := range asked {
		number := s.from + int64(i)
		if _, started := s.startOf(number); !started {
			continue // lost
		}
		ended, ok := s.endOf(number)
		if !ok {
			deaf++
			took = append(took, ms(r.o.Patience))
			continue
		}
		took = append(took, ms(ended-at))
	}
	return took, deaf
}

// cancelSome lets n tasks start and cancels each.
func (r *round) cancelSome(ctx context.Context, s *section, n int, asked []time.Duration) error {
	tasks := r.many(n, system.Wait, time.Time{})
	for _, t := range tasks {
		if err := r.sys.Submit(ctx, t); err != nil {
			return fmt.Errorf("submit: %w", err)
		}
	}
	all := r.submitted(s)
	if err := r.handled(ctx, s, all); err != nil {
		return err
	}
	work := make(chan int64, n)
	for _, t := range tasks {
		if _, ok := s.startOf(t.Number); ok { // one that did not start is lost
			work <- t.Number
		}
	}
	close(work)
	errs := make([]error, cancelCallers)
	var wg sync.WaitGroup
	for i := range cancelCallers {
		wg.Go(func() {
			for number := range work {
				asked[number-s.from] = r.rec.now()
				if err := r.sys.Cancel(ctx, number); err != nil {
					errs[i] = fmt.Errorf("cancel: %w", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for deadline := time.Now().Add(r.o.Patience); s.cancelled.Load() < s.handled.Load() && time.Now().Before(deadline); {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
