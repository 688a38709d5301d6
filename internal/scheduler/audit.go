package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	auditStep  = 1000 // task ids looked at in one step
	auditLeast = 100 * time.Millisecond
	auditMost  = 10 * time.Second
)

// auditWalk is the position of the walk over all task ids.
type auditWalk struct{ next int64 }

// runAudit walks over all tasks, again and again, and mends those that wait without a bell or run without a claim. None
// ever should: a number above 0 is a fault that was healed. A walk takes about the interval of the options; with few tasks
// it is quicker, with more than six million slower, because it never looks at more than 10,000 ids a second.
func (s *Scheduler) runAudit(ctx context.Context) {
	var w auditWalk
	s.chore(ctx, "audit", auditMost, func(ctx context.Context) (time.Duration, error) { return s.auditStep(ctx, &w) })
}

func (s *Scheduler) auditStep(ctx context.Context, w *auditWalk) (time.Duration, error) {
	qctx, cancel := s.query(ctx)
	first, last, err := s.o.Store.TaskIDRange(qctx)
	cancel()
	if err != nil || last == 0 {
		return auditMost, err
	}
	if w.next < first || w.next > last {
		w.next = first
	}
	to := min(w.next+auditStep-1, last)
	var over steppedOver
	mended, bells, err := s.audit(ctx, w.next, to, &over)
	over.tell(s, "audit")
	if mended > 0 {
		s.o.Metrics.Mended(mended)
		s.o.Logger.Error("the audit mended tasks that would have been forgotten: this is a fault, please report it", "tasks", mended)
		s.ringNew(bells)
	}
	if err != nil {
		return 0, err
	}
	w.next = to + 1
	return auditPause(last-first+1, s.o.Intervals.AuditWalk), nil
}

// audit looks at a range of ids. Where something cannot be mended it halves the range until that is alone.
func (s *Scheduler) audit(ctx context.Context, from, to int64, over *steppedOver) (mended int, bells []task.Bell, err error) {
	qctx, cancel := s.query(ctx)
	mended, bells, err = s.o.Store.Audit(qctx, from, to)
	cancel()
	if err == nil || stops(ctx, err) {
		return mended, bells, err
	}
	if !over.split(int(to-from+1), from, err) {
		return 0, nil, nil
	}
	middle := from + (to-from)/2
	mended, bells, err = s.audit(ctx, from, middle, over)
	if err != nil {
		return mended, bells, err
	}
	n, more, err := s.audit(ctx, middle+1, to, over)
	return mended + n, append(bells, more...), err
}

// auditPause spreads the steps of a walk over ids.
func auditPause(ids int64, walk time.Duration) time.Duration {
	steps := (ids + auditStep - 1) / auditStep
	return min(max(auditLeast, walk/time.Duration(max(1, steps))), auditMost)
}
