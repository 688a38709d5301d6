package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
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

// stops reports whether an error says that nothing can be done now: the database is away, or this process stops. Any other
// is the fault of what was tried; a chore says so and goes on with the rest, so that one row never holds up all others.
func stops(ctx context.Context, err error) bool {
	return ctx.Err() != nil || task.Transient(err)
}

// splitsMost bounds how often one step of a walk is cut in two. That finds three or four tasks that are alone at fault;
// when all are, it costs no more than this.
const splitsMost = 40

// steppedOver is what one step of a walk over tasks had to leave as it is.
type steppedOver struct {
	splits, tasks int
	from          int64 // of the first part
	err           error
}

// split decides about a part of n tasks (at most) that failed: true to cut it in two, false when it was stepped over.
func (o *steppedOver) split(n int, from int64, err error) bool {
	if n > 1 && o.splits < splitsMost {
		o.splits++
		return true
	}
	if o.err == nil {
		o.from, o.err = from, err
	}
	o.tasks += n
	return false
}

func (o *steppedOver) tell(s *Scheduler, walk string) {
	if o.err != nil {
		s.o.Logger.Error("tasks were stepped over, the next walk tries them again", "walk", walk, "at_most", o.tasks, "from", o.from, "err", o.err)
	}
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
