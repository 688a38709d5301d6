package scheduler

import (
	"context"
	"time"
)

const expirePerCall = 500

// runExpire executes due expire bells of own shards.
func (s *Scheduler) runExpire(ctx context.Context) {
	s.every(ctx, "expire", s.o.Intervals.Expire, func(ctx context.Context) (time.Duration, error) {
		again := false
		for _, shard := range s.leases.held() {
			qctx, cancel := s.query(ctx)
			_, more, err := s.o.Store.Expire(qctx, shard, expirePerCall)
			cancel()
			if err != nil {
				return 0, err
			}
			again = again || more
		}
		if again {
			return time.Millisecond, nil
		}
		return 0, nil
	})
}
