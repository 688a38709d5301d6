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
	var took []float64
	for i, at := range asked {
		if ended, ok := s.endOf(s.from + int64(i)); ok {
			took = append(took, ms(ended-at))
		}
	}
	r.res.quantiles(Cancel, took)
	want := r.submitted(s)
	r.res.Fates = append(r.res.Fates, Fate{Measure: Cancel, Submitted: want, Lost: want - s.cancelled.Load(), Doubled: s.extra.Load()})
	return nil
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
