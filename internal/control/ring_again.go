package control

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// RingAgain announces a task that is due and waits once more, runs a final one again, also a succeeded one, and leaves one
// alone that runs or is due later. Conflict when another task has a final one's unique key. Needs scope submit.
//
// A bell that is rung twice is harmless, and so is one that was claimed meanwhile: the claim is guarded by the database.
func (s *Service) RingAgain(ctx context.Context, p Principal, id int64) (task.View, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.View{}, err
	}
	row, err := s.store.State(ctx, p.appID(), id)
	if err != nil {
		return task.View{}, err
	}
	switch {
	case row.State.Final():
		v, err := s.Retry(ctx, p, id, true)
		if task.CodeOf(err) == "not_retryable" { // somebody was quicker
			return s.view(ctx, p, id)
		}
		return v, err
	case row.State == task.Waiting && row.DueAt <= s.clock.Now():
		s.ringer.Ring(task.Rung{Bell: task.Bell{ID: row.Holder, LaneID: row.LaneID, AppID: row.AppID, Epoch: row.Epoch, DueAt: row.DueAt, TaskIDs: []int64{id}}})
	}
	return s.view(ctx, p, id)
}
