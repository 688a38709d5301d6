package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	purgeRows  = 500
	purgeSlow  = time.Second
	purgeQuick = 10 * time.Millisecond
)

// purgeWalk is the position and pace of the purge.
type purgeWalk struct {
	next  int64
	pause time.Duration
}

// runPurge deletes tasks whose time is over. It follows the load: a step that finds much halves the pause before the next
// one, a step that finds little doubles it, between 500 and 50,000 rows a second. After a walk it rests.
func (s *Scheduler) runPurge(ctx context.Context) {
	w := purgeWalk{pause: purgeSlow}
	s.chore(ctx, "purge", s.o.Intervals.Purge, func(ctx context.Context) (time.Duration, error) { return s.purgeStep(ctx, &w) })
}

func (s *Scheduler) purgeStep(ctx context.Context, w *purgeWalk) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	now := s.o.Clock.Now()
	report, err := s.o.Store.Purge(ctx, task.PurgeRequest{FromID: w.next, Now: now, Limit: purgeRows,
		SucceededBefore: now - s.o.Retention.SucceededMs, OthersBefore: now - s.o.Retention.OthersMs})
	if err != nil {
		return 0, err
	}
	w.next = report.NextID
	if w.next == 0 {
		w.pause = purgeSlow
		return s.o.Intervals.Purge, nil
	}
	w.pause = purgePause(w.pause, report.Deleted)
	return w.pause, nil
}

// purgePause is the pause after a step that deleted some of the rows it looked at.
func purgePause(last time.Duration, deleted int) time.Duration {
	if deleted >= purgeRows/4 {
		return max(purgeQuick, last/2)
	}
	return min(purgeSlow, last*2)
}
