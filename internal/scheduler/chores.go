package scheduler

import (
	"context"
	"time"
)

// choreTTL is how long a chore stays with a scheduler that does not come back to it.
const choreTTL = 30 * time.Second

// chore runs step as every does, while this scheduler has the chore's lease. Others ask for it now and then.
func (s *Scheduler) chore(ctx context.Context, name string, pause time.Duration, step func(context.Context) (time.Duration, error)) {
	var mine time.Time // the lease is surely held until then
	s.every(ctx, name, pause, func(ctx context.Context) (time.Duration, error) {
		if now := time.Now(); now.After(mine.Add(-choreTTL / 2)) {
			qctx, cancel := s.query(ctx)
			granted, err := s.leases.chore(qctx, name, choreTTL)
			cancel()
			if err != nil {
				return 0, err
			}
			if !granted {
				return choreTTL / 3, nil
			}
			mine = now.Add(choreTTL)
		}
		return step(ctx)
	})
}

// runPurgeKeys deletes keys that have ended and rows of workers that are long gone.
func (s *Scheduler) runPurgeKeys(ctx context.Context) {
	const limit = 500
	s.chore(ctx, "keys", s.o.Intervals.PurgeKeys, func(ctx context.Context) (time.Duration, error) {
		ctx, cancel := s.query(ctx)
		defer cancel()
		n, err := s.o.Store.PurgeKeys(ctx, s.o.Clock.Now(), limit)
		if err != nil || n < limit {
			return 0, err
		}
		return 20 * time.Millisecond, nil
	})
}

// runFold sums up the statistics of closed minutes. Two minutes are left to writers that are late.
func (s *Scheduler) runFold(ctx context.Context) {
	const limit = 500
	s.chore(ctx, "fold", s.o.Intervals.Fold, func(ctx context.Context) (time.Duration, error) {
		ctx, cancel := s.query(ctx)
		defer cancel()
		n, err := s.o.Store.FoldStats(ctx, s.o.Clock.Now()/60_000-2, limit)
		if err != nil || n < limit {
			return 0, err
		}
		return 50 * time.Millisecond, nil
	})
}
