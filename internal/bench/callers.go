package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// callers runs n goroutines that each repeat do until the time is up, and gives how often it was done and for how long.
// The first error ends all of them. do gets the caller's number.
func callers(ctx context.Context, n int, d time.Duration, do func(ctx context.Context, caller int) error) (done int64, took time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for i := range n {
		wg.Go(func() {
			for time.Since(began) < d {
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	if ctx.Err() != nil {
		return 0, took, fmt.Errorf("caller: %w", context.Cause(ctx))
	}
	return count.Load(), took, nil
}

// submitted collects the spans of many callers without making them wait for each other.
type submitted []struct {
	span
	_ [64]byte // callers write side by side: each to a cache line of its own
}

func (s submitted) all() span {
	var total span
	for _, one := range s {
		total.merge(one.span)
	}
	return total
}

// perSecond is a rate.
func perSecond(n int64, took time.Duration) float64 { return float64(n) / took.Seconds() }
