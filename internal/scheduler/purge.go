package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	purgeRows     = 500
	purgeSlow     = time.Second
	purgeQuickest = 10 * time.Millisecond
)

// purgeWalk is the positions and the pace of the purge.
//
// What is old stands in front: a quick walk from the smallest id finds it and ends when it has found nothing for a while.
// Since kept tasks can stand before old ones in any number, a full walk goes through everything, slowly, beside it.
type purgeWalk struct {
	quick, full int64
	dry         int // steps of the quick walk in a row that deleted nothing
	restUntil   time.Time
	pause       time.Duration
}

const dryEnd = 40

// runPurge deletes tasks whose time is over. It follows the load: a step that finds much halves the pause before the next
// one, a step that finds little doubles it, between 500 and 50,000 rows a second.
func (s *Scheduler) runPurge(ctx context.Context) {
	w := purgeWalk{pause: purgeSlow}
	s.chore(ctx, "purge", s.o.Intervals.Purge, func(ctx context.Context) (time.Duration, error) {
		if now := time.Now(); now.Before(w.restUntil) {
			return s.purgeFull(ctx, &w, now)
		}
		return s.purgeQuick(ctx, &w)
	})
}

// purgeQuick does a step of the quick walk.
func (s *Scheduler) purgeQuick(ctx context.Context, w *purgeWalk) (time.Duration, error) {
	report, err := s.purgeStep(ctx, w.quick)
	if err != nil {
		return 0, err
	}
	w.quick, w.dry = report.NextID, w.dry+1
	if report.Deleted > 0 {
		w.dry = 0
	}
	if w.quick != 0 && w.dry < dryEnd {
		w.pause = purgePause(w.pause, report.Deleted)
		return w.pause, nil
	}
	if w.quick == 0 {
		w.full = 0 // it went through everything itself
	}
	w.full = max(w.full, w.quick)
	w.quick, w.dry, w.pause = 0, 0, purgeSlow
	w.restUntil = time.Now().Add(s.o.Intervals.Purge)
	if w.full == 0 {
		return s.o.Intervals.Purge, nil
	}
	return purgeSlow, nil
}

// purgeFull does a step of the full walk, while the quick one rests.
func (s *Scheduler) purgeFull(ctx context.Context, w *purgeWalk, now time.Time) (time.Duration, error) {
	rest := w.restUntil.Sub(now)
	if w.full == 0 {
		return rest, nil
	}
	report, err := s.purgeStep(ctx, w.full)
	if err != nil {
		return 0, err
	}
	if w.full = report.NextID; w.full == 0 {
		return rest, nil
	}
	return min(rest, purgePause(purgeSlow, report.Deleted)), nil
}

// purgeStep does one step. What cannot be deleted is stepped over and stays until the next walk tries it again.
func (s *Scheduler) purgeStep(ctx context.Context, from int64) (task.PurgeReport, error) {
	var over steppedOver
	report, err := s.purgeSome(ctx, from, purgeRows, &over)
	over.tell(s, "purge")
	return report, err
}

// purgeSome goes on in smaller parts where something cannot be deleted, until that is alone.
func (s *Scheduler) purgeSome(ctx context.Context, from int64, limit int, over *steppedOver) (task.PurgeReport, error) {
	report, err := s.purgeOnce(ctx, from, limit)
	switch {
	case err == nil:
		return report, nil
	case stops(ctx, err), limit == 1 && report.NextID == 0:
		return task.PurgeReport{}, err
	case !over.split(limit, from, err):
		return report, nil
	}
	first, err := s.purgeSome(ctx, from, limit/2, over)
	if err != nil || first.NextID == 0 {
		return first, err
	}
	second, err := s.purgeSome(ctx, first.NextID, limit-limit/2, over)
	second.Deleted += first.Deleted
	return second, err
}

func (s *Scheduler) purgeOnce(ctx context.Context, from int64, limit int) (task.PurgeReport, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	now := s.o.Clock.Now()
	return s.o.Store.Purge(ctx, task.PurgeRequest{FromID: from, Now: now, Limit: limit,
		SucceededBefore: now - s.o.Retention.SucceededMs, OthersBefore: now - s.o.Retention.OthersMs})
}

// purgePause is the pause after a step that deleted some of the rows it looked at.
func purgePause(last time.Duration, deleted int) time.Duration {
	if deleted >= purgeRows/4 {
		return max(purgeQuickest, last/2)
	}
	return min(purgeSlow, last*2)
}
