package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	orphansPerQuery = 50
	refusedMost     = 1000             // claims remembered as refused
	refusedFirst    = time.Second      // how long a refused claim is left alone,
	refusedLongest  = 10 * time.Minute // at twice the time after each try;
	awayLongest     = 5 * time.Second  // … or this, when the database seemed to be away: that may end any moment
)

// rescue remembers the claims that the store refused to release, so that they do not fill the page of orphans. It belongs
// to one goroutine: Recover's, then runRescue's.
type rescue struct {
	refused map[int64]refusal
}

type refusal struct {
	wait  time.Duration
	until time.Time
	times int
}

// refuse notes a claim that was refused.
func (r *rescue) refuse(id int64, now time.Time, longest time.Duration) refusal {
	if r.refused == nil {
		r.refused = map[int64]refusal{}
	}
	f := r.refused[id]
	f.wait = min(max(refusedFirst, 2*f.wait), longest)
	f.until = now.Add(f.wait)
	f.times++
	r.refused[id] = f
	return f
}

// forget drops the refused claims that are not orphans any more, given all there are up to a limit.
func (r *rescue) forget(claims []int64) {
	for id := range r.refused {
		if _, found := slices.BinarySearch(claims, id); !found {
			delete(r.refused, id)
		}
	}
}

// order puts claims that were never refused first, and then those that were refused least often.
func (r *rescue) order(claims []int64) {
	if len(r.refused) > 0 {
		slices.SortStableFunc(claims, func(a, b int64) int { return r.refused[a].times - r.refused[b].times })
	}
}

func (s *Scheduler) runRescue(ctx context.Context) {
	s.every(ctx, "rescue", s.o.Intervals.Rescue, func(ctx context.Context) (time.Duration, error) {
		more, err := s.rescueOnce(ctx)
		if more {
			return time.Millisecond, err
		}
		return 0, err
	})
}

// rescueOnce releases claims whose worker is gone, a page of them, and reports whether it is worth to go on at once.
// Rescue is a query repeated each second, not an event: whatever was missed once is found the next time. Schedulers share
// the claims by shard; for a claim whose shard nobody holds the others wait, for a lease's time at most. A claim that the
// store refuses to release is tried again later; it holds up nobody else's.
func (s *Scheduler) rescueOnce(ctx context.Context) (more bool, err error) {
	limit := orphansPerQuery + min(len(s.rescue.refused), refusedMost)
	qctx, cancel := s.query(ctx)
	claims, err := s.o.Store.OrphanClaims(qctx, limit)
	cancel()
	if err != nil {
		return false, err
	}
	s.rescue.forget(claims)
	s.rescue.order(claims)
	now, released, first := time.Now(), 0, true
	for _, id := range claims {
		if now.Before(s.rescue.refused[id].until) {
			continue
		}
		// The first of a full page is anybody's: a page of claims of a shard without owner must not hide the others.
		anybodys := first && len(claims) == limit
		first = false
		if !anybodys && !s.leases.holds(int(uint64(id)%task.Shards)) {
			continue
		}
		rctx, cancel := s.query(ctx)
		bells, err := s.o.Store.Release(rctx, id, nil, task.CauseLost)
		cancel()
		if err != nil {
			if stops(ctx, err) {
				s.rescue.refuse(id, now, awayLongest) // though nothing is refused: the others come first the next time
				return false, err
			}
			f := s.rescue.refuse(id, now, refusedLongest)
			s.o.Logger.Error("a dead worker's tasks cannot be released", "claim", id, "again_in", f.wait, "err", err)
			continue
		}
		released++
		s.rescuedBells(id, bells)
	}
	return released > 0 && len(claims) == limit, nil
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
