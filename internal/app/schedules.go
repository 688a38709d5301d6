package app

import (
	"context"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
)

// controlStore is the store of the use cases. Where a scheduler is in the same process it hears at once of schedules that
// were changed and of slots that wait; a scheduler elsewhere sees them within a second.
type controlStore struct {
	*sqldb.Store
	a *App
}

func (a *App) controlStore() controlStore { return controlStore{a.store, a} }

func (s controlStore) heard(err error) {
	if sched := s.a.scheduler.Load(); sched != nil && err == nil {
		sched.WakeSchedules()
	}
}

// CreateSchedule is the store's.
func (s controlStore) CreateSchedule(ctx context.Context, row schedule.Row, fire *schedule.Fire, idem *task.Idempotency) (schedule.Row, bool, schedule.Written, error) {
	got, replayed, w, err := s.Store.CreateSchedule(ctx, row, fire, idem)
	s.heard(err)
	return got, replayed, w, err
}

// ChangeSchedule is the store's.
func (s controlStore) ChangeSchedule(ctx context.Context, before, after schedule.Row, now int64, fire *schedule.Fire) (schedule.Row, schedule.Written, error) {
	got, w, err := s.Store.ChangeSchedule(ctx, before, after, now, fire)
	s.heard(err)
	return got, w, err
}

// Fire is the store's.
func (s controlStore) Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	w, err := s.Store.Fire(ctx, fires)
	s.heard(err)
	return w, err
}
