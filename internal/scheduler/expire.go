package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const expirePerCall = 500

// runExpire executes due expire bells of own shards, as far as they have lanes.
func (s *Scheduler) runExpire(ctx context.Context) {
	s.every(ctx, "expire", s.o.Intervals.Expire, func(ctx context.Context) (time.Duration, error) {
		again := false
		for shard := range s.shardsWithLanes() {
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

// shardsWithLanes are the own shards that some lane falls into: others have no bells, and are not asked.
func (s *Scheduler) shardsWithLanes() map[int]bool {
	out := make(map[int]bool)
	for id := range s.view.lanes.Load().lanes {
		if shard := task.ShardOf(id); s.leases.holds(shard) {
			out[shard] = true
		}
	}
	return out
}
