package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// BulkStore is what bulk operations need of the database.
type BulkStore interface {
	// ActiveBulks lists operations that are not over, oldest first.
	ActiveBulks(ctx context.Context) ([]int64, error)
	// StepBulk does one step of an operation, one transaction for at most limit tasks. See task.BulkStep for what fails.
	StepBulk(ctx context.Context, id int64, limit int) (task.BulkStep, error)
}

const (
	bulkMost = 500 // tasks of one transaction
	bulkIdle = 500 * time.Millisecond
	bulkStep = 20 * time.Second // most time of one step
	bulkRest = 2 * time.Millisecond
)

// bulks works on bulk operations, in turns: one step each. Between two steps it rests as long as the step took, so that at least half
// of the database's time is everybody else's; a step that only read rests less.
type bulks struct {
	s      *Scheduler
	limits map[int64]int // of operations whose last step failed: how many tasks the next one has
	last   int64         // whose turn it was
}

func (s *Scheduler) runBulks(ctx context.Context) {
	b := &bulks{s: s, limits: map[int64]int{}}
	s.chore(ctx, "bulk", bulkIdle, b.turn)
}

// turn does a step of the operation whose turn it is, and gives the pause before the next; 0: the usual one.
func (b *bulks) turn(ctx context.Context) (time.Duration, error) {
	qctx, cancel := b.s.query(ctx)
	ids, err := b.s.o.Bulks.ActiveBulks(qctx)
	cancel()
	if err != nil || len(ids) == 0 {
		clear(b.limits)
		return 0, err
	}
	id := ids[0]
	for _, next := range ids {
		if next > b.last {
			id = next
			break
		}
	}
	b.last = id
	limit, ok := b.limits[id]
	if !ok {
		limit = bulkMost
	}
	begin := time.Now()
	sctx, cancel := context.WithTimeout(ctx, bulkStep)
	defer cancel()
	step, err := b.s.o.Bulks.StepBulk(sctx, id, limit)
	took := time.Since(begin)
	if err != nil {
		return 0, err
	}
	b.signal(sctx, step.Cancels)
	switch {
	case step.Ended:
		delete(b.limits, id)
	case step.Failed != nil && limit > 1:
		b.s.o.Logger.Warn("a step of a bulk operation failed, smaller ones are tried", "bulk", id, "tasks", limit, "err", step.Failed)
		b.limits[id] = limit / 2
	case limit < bulkMost:
		b.limits[id] = min(2*limit, bulkMost)
	}
	if step.Changed == 0 {
		took /= 4
	}
	return max(bulkRest, took), nil
}

// signal tells workers at once; they see it at their next beat too.
func (b *bulks) signal(ctx context.Context, asked []task.Asked) {
	if b.s.o.Signals == nil {
		return
	}
	for _, a := range asked {
		if err := b.s.o.Signals.Signal(ctx, a.WorkerID, task.Signal{Kind: "cancel", TaskID: a.TaskID, Epoch: a.Epoch}); err != nil {
			b.s.o.Logger.Debug("workers could not be signalled, they will see at their next beat", "err", err)
			return
		}
	}
}
