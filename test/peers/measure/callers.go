package measure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// callers runs n goroutines that each repeat do until the time is up, and gives for how long. The first error ends all of
// them. do gets the caller's number.
func callers(ctx context.Context, n int, d time.Duration, do func(ctx context.Context, caller int) error) (took time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		wg.Go(func() {
			for time.Since(began) < d && ctx.Err() == nil {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	if ctx.Err() != nil {
		return took, fmt.Errorf("caller: %w", context.Cause(ctx))
	}
	return took, nil
}

// The callers that fill a queue.
const (
	bulkCallers   = 2
	singleCallers = 64
)

// askBulk finds out whether the system takes tasks in bulk, for now or delayed, by submitting one so.
func (r *round) askBulk(ctx context.Context, delayed bool) error {
	var due time.Time
	if delayed {
		due = time.Now().Add(time.Second).Truncate(time.Millisecond)
	}
	err := r.sys.SubmitBulk(ctx, r.many(1, system.Noop, due))
	if errors.Is(err, system.ErrNone) {
		r.number.Add(-1) // it was not taken, so there is none of that number
		return nil
	}
	if err != nil {
		return fmt.Errorf("submit in bulk: %w", err)
	}
	r.hasBulk[delayed] = true
	return nil
}

// fill submits n tasks as fast as the system takes them, and gives how long that took.
func (r *round) fill(ctx context.Context, n int, kind system.Kind, due time.Time) (time.Duration, error) {
	if r.hasBulk[!due.IsZero()] {
		return r.fillBulk(ctx, n, kind, due)
	}
	return r.fillSingly(ctx, n, kind, due)
}

func (r *round) fillBulk(ctx context.Context, n int, kind system.Kind, due time.Time) (time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	return r.each(ctx, bulkCallers, func(ctx context.Context) (more bool, err error) {
		size := min(left.Add(-system.BulkSize)+system.BulkSize, system.BulkSize)
		if size <= 0 {
			return false, nil
		}
		return true, r.sys.SubmitBulk(ctx, r.many(int(size), kind, due))
	})
}

func (r *round) fillSingly(ctx context.Context, n int, kind system.Kind, due time.Time) (time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	return r.each(ctx, singleCallers, func(ctx context.Context) (more bool, err error) {
		if left.Add(-1) < 0 {
			return false, nil
		}
		t := r.next(kind)
		t.Due = due
		return true, r.sys.Submit(ctx, t)
	})
}

// each lets n callers repeat do until there is no more to do. The first error ends all of them.
func (r *round) each(ctx context.Context, n int, do func(ctx context.Context) (more bool, err error)) (time.Duration, error) {
	began := time.Now()
	errs := make([]error, n)
	var failed atomic.Bool
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for more := true; more && errs[i] == nil && !failed.Load(); {
				if more, errs[i] = do(ctx); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil { // the first will do: the others say the same
			return 0, fmt.Errorf("submit: %w", err)
		}
	}
	return time.Since(began), nil
}

// perSecond is a rate.
func perSecond(n int64, took time.Duration) float64 { return float64(n) / took.Seconds() }
