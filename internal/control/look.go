package control

import (
	"context"
	"encoding/json"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// lookAgain is the pause before a task is looked at again whose attempt is just about to start or has just ended.
const lookAgain = 30 * time.Millisecond

// Look gives what the worker sees of a task's running attempt at this moment, goroutine stacks included, and the task's row.
// Conflict "task_not_running" when none runs; Unavailable "live_view_unavailable" when Redis is gone or the worker does not
// answer within about a second. Needs scope read.
func (s *Service) Look(ctx context.Context, p Principal, id int64) (task.LiveDetail, task.Task, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.LiveDetail{}, task.Task{}, err
	}
	for try := 0; ; try++ {
		row, err := s.store.State(ctx, p.appID(), id)
		if err != nil {
			return task.LiveDetail{}, row, err
		}
		if row.State != task.Running {
			return task.LiveDetail{}, row, &task.Error{Kind: task.Conflict, Code: "task_not_running", TaskID: id,
				Message: "the task does not run: it is " + row.State.Shown(row.DueAt, s.Now())}
		}
		if s.signals == nil {
			return task.LiveDetail{}, row, liveGone(nil)
		}
		d, err := s.signals.Look(ctx, row.WorkerID, id, row.Epoch)
		switch {
		case err != nil && ctx.Err() != nil:
			return task.LiveDetail{}, row, err
		case err != nil:
			return task.LiveDetail{}, row, liveGone(err)
		case !d.Gone:
			return d, row, nil
		case try == 3: // its claim or its end is being written
			return task.LiveDetail{}, row, &task.Error{Kind: task.Conflict, Code: "task_not_running", TaskID: id, Message: "the task's attempt is just starting or ending"}
		}
		select {
		case <-ctx.Done():
			return task.LiveDetail{}, row, ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// Reports reads what running attempts reported. Signals that can do it do.
type Reports interface {
	// Reported gives what an attempt reported last, and nil when it reported nothing that is shown. It answers soon, also when
	// Redis does not.
	Reported(ctx context.Context, workerID, taskID int64, epoch int32) (json.RawMessage, error)
}

// reportsFrom is the age in ms from which an attempt's reports can be seen: younger ones are in no live view (worker.Live).
const reportsFrom = 200

// Progress gives what a task's running attempt reported last, as far as the live view shows it; nil when it does not run, reported
// nothing, or Redis does not answer within about 50 ms.
func (s *Service) Progress(ctx context.Context, v *task.View) json.RawMessage {
	r, ok := s.signals.(Reports)
	if !ok || v.State != task.Running || s.Now()-v.StartedAt < reportsFrom {
		return nil
	}
	raw, err := r.Reported(ctx, v.WorkerID, v.ID, v.Epoch)
	if err != nil {
		return nil // it is no part of what the task is
	}
	return raw
}

func liveGone(cause error) *task.Error {
	e := task.Gone("live_view_unavailable", cause)
	e.Message = "what workers are running cannot be read at the moment"
	return e
}

// TaskOfAttempt gives the task that an attempt belongs to: one that runs, or one that ended otherwise than by a plain first
// success. Missing "attempt_not_found" otherwise. Needs scope read.
func (s *Service) TaskOfAttempt(ctx context.Context, p Principal, attemptID int64) (int64, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return 0, err
	}
	return s.store.TaskOfAttempt(ctx, p.appID(), attemptID)
}
