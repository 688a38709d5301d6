package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const orphansPerQuery = 50

func (s *Scheduler) runRescue(ctx context.Context) {
	s.every(ctx, "rescue", s.o.Intervals.Rescue, func(ctx context.Context) (time.Duration, error) {
		found, err := s.rescueOnce(ctx)
		if found == orphansPerQuery {
			return time.Millisecond, err
		}
		return 0, err
	})
}

// rescueOnce releases claims whose worker is gone and gives how many it released. Rescue is a query repeated each second,
// not an event: whatever was missed once is found the next time. Schedulers share the claims by shard; for a claim whose
// shard nobody holds the others wait, for a lease's time at most.
func (s *Scheduler) rescueOnce(ctx context.Context) (int, error) {
	qctx, cancel := s.query(ctx)
	defer cancel()
	claims, err := s.o.Store.OrphanClaims(qctx, orphansPerQuery)
	if err != nil {
		return 0, err
	}
	released := 0
	for i, id := range claims {
		// The first of a full page is anybody's: a page of claims of a shard without owner must not hide the others.
		if !s.leases.holds(int(uint64(id)%task.Shards)) && (i > 0 || len(claims) < orphansPerQuery) {
			continue
		}
		rctx, cancel := s.query(ctx)
		bells, err := s.o.Store.Release(rctx, id, nil, task.CauseLost)
		cancel()
		if err != nil {
			return released, err
		}
		released++
		s.rescuedBells(id, bells)
	}
	return released, nil
}

// rescuedBells counts and rings what a release gave back: the bells of own lanes at once or at their time; those of other
// lanes are seen by their owners.
func (s *Scheduler) rescuedBells(claimID int64, bells []task.Bell) {
	n := 0
	for _, b := range bells {
		n += len(b.TaskIDs)
	}
	s.o.Metrics.Lost(n)
	s.o.Logger.Warn("tasks taken from a dead worker", "claim", claimID, "again", n)
	s.ringNew(bells)
}

// ringNew takes care of bells that this scheduler caused to be written: it is their writer, so it rings them. What is due
// later than the horizon is seen when it comes near.
func (s *Scheduler) ringNew(bells []task.Bell) {
	now := s.o.Clock.Now()
	var due, soon []task.Rung
	for _, b := range bells {
		switch {
		case !s.leases.owns(b.LaneID) || b.DueAt > now+horizonMs:
		case b.DueAt > now:
			soon = append(soon, task.Rung{Bell: b})
		default:
			due = append(due, task.Rung{Bell: b})
		}
	}
	if len(soon) > 0 {
		s.ahead.push(soon)
	}
	if len(due) > 0 {
		s.inbox.put(func(i *inbox) { i.due = append(i.due, due...) })
	}
}
