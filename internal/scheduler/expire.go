package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const expirePerCall = 500

// runExpire executes due expire bells of own shards, as far as they have lanes.
func (s *Scheduler) runExpire(ctx context.Context) {
	s.every(ctx, "expire", s.o.Intervals.Expire, func(ctx context.Context) (time.Duration, error) {
		again, err := s.expireOnce(ctx)
		if err == nil && again {
			return time.Millisecond, nil
		}
		return 0, err
	})
}

// expireOnce goes over the shards once and reports whether there is more to do. A shard that fails for a reason of its own
// does not keep the others from their turn; its error is given at the end.
func (s *Scheduler) expireOnce(ctx context.Context) (again bool, failed error) {
	for shard := range s.shardsWithLanes() {
		qctx, cancel := s.query(ctx)
		_, more, err := s.o.Store.Expire(qctx, shard, expirePerCall)
		cancel()
		switch {
		case err == nil:
			again = again || more
		case stops(ctx, err):
			return false, err
		default:
			failed = errors.Join(failed, fmt.Errorf("shard %d: %w", shard, err))
		}
	}
	return again, failed
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
