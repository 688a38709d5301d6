package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// State reads only what waiting for a task needs. Missing when there is none or it is another app's.
func (s *Store) State(ctx context.Context, appID int32, id int64) (out task.Task, err error) {
	err = s.readEach(ctx, newText(2).s("SELECT "+taskColumns+" FROM tasks WHERE id=").n(id).String(), func(rows *sql.Rows) error {
		return scanTask(rows, &out)
	})
	if err == nil && (out.ID == 0 || appID != 0 && out.AppID != appID) {
		return task.Task{}, task.Missing("task")
	}
	return out, err
}

// Views reads tasks whole, in the order of ids; unknown ids and those of other apps are left out. What is read of one task
// comes from several statements: a task that moves meanwhile may show its state of before with an attempt of after.
func (s *Store) Views(ctx context.Context, appID int32, ids []int64) ([]task.View, error) {
	out := make([]task.View, 0, len(ids))
	for part := range slices.Chunk(ids, maxList) {
		views, err := s.viewsOf(ctx, appID, sortedIDs(part))
		if err != nil {
			return nil, err
		}
		for _, id := range part {
			if v := views[id]; v != nil {
				out = append(out, *v)
			}
		}
	}
	return out, nil
}

// viewsOf reads up to 500 tasks by their sorted ids.
func (s *Store) viewsOf(ctx context.Context, appID int32, ids []int64) (map[int64]*task.View, error) {
	views := make(map[int64]*task.View, len(ids))
	err := s.readEach(ctx, newText(len(ids)).s("SELECT "+taskColumns+" FROM tasks WHERE id IN (").ids(ids).s(")").String(), func(rows *sql.Rows) error {
		var row task.Task
		err := scanTask(rows, &row)
		if err == nil && (appID == 0 || row.AppID == appID) {
			views[row.ID] = &task.View{Task: row}
		}
		return err
	})
	if err != nil || len(views) == 0 {
		return views, err
	}
	ids = slices.DeleteFunc(ids, func(id int64) bool { return views[id] == nil })
	if err := s.fillBodies(ctx, views, ids); err != nil {
		return nil, err
	}
	if err := s.fillResults(ctx, views, having(views, ids, task.HasResult)); err != nil {
		return nil, err
	}
	if err := s.fillAttempts(ctx, views, having(views, ids, task.HasAttempts)); err != nil {
		return nil, err
	}
	return views, s.fillNames(ctx, views)
}

// having gives those of the ids whose task has a flag.
func having(views map[int64]*task.View, ids []int64, f task.Flags) (out []int64) {
	for _, id := range ids {
		if views[id].Flags.Has(f) {
			out = append(out, id)
		}
	}
	return out
}

func (s *Store) fillBodies(ctx context.Context, views map[int64]*task.View, ids []int64) error {
	return s.readEach(ctx, newText(len(ids)).s("SELECT id,body FROM payloads WHERE id IN (").ids(ids).s(")").String(), func(rows *sql.Rows) error {
		var id int64
		var raw []byte
		if err := rows.Scan(&id, &raw); err != nil {
			return err
		}
		body, err := task.DecodeBody(raw)
		if err != nil {
			return err
		}
		views[id].Body = body
		return nil
	})
}

// fillResults reads results, but not those of an earlier attempt than the one that ended the task.
func (s *Store) fillResults(ctx context.Context, views map[int64]*task.View, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return s.readEach(ctx, newText(len(ids)).s("SELECT id,epoch,body FROM results WHERE id IN (").ids(ids).s(")").String(), func(rows *sql.Rows) error {
		var id int64
		var epoch int32
		var body []byte
		if err := rows.Scan(&id, &epoch, &body); err != nil {
			return err
		}
		if v := views[id]; v.State.Final() && v.Epoch == epoch {
			v.Result = body
		}
		return nil
	})
}

// fillAttempts reads the attempts that have a row and adds the one that lives in the task's own row. How their calls went is kept
// of a single task only: of a list of tasks that were tried a hundred times it would be what a receiver wants it to be.
func (s *Store) fillAttempts(ctx context.Context, views map[int64]*task.View, ids []int64) error {
	if len(ids) > 0 {
		err := s.readEach(ctx, newText(len(ids)).s("SELECT task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail FROM attempts WHERE task_id IN (").
			ids(ids).s(") ORDER BY task_id,epoch").String(), func(rows *sql.Rows) error {
			a, err := scanAttempt(rows)
			if err == nil {
				if len(ids) > 1 {
					a.Delivery = nil
				}
				views[a.TaskID].Attempts = append(views[a.TaskID].Attempts, a)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, v := range views {
		addOwnAttempt(v)
	}
	return nil
}

func scanAttempt(rows *sql.Rows) (a task.Attempt, err error) {
	var raw []byte
	if err = rows.Scan(&a.TaskID, &a.Epoch, &a.ID, &a.WorkerID, &a.StartedAt, &a.FinishedAt, &a.Outcome, &a.HTTPStatus, &raw); err != nil {
		return a, err
	}
	d := decodeDetail(raw)
	a.ErrCode, a.ErrMessage, a.Log, a.LogSkipped, a.Delivery = d.Code, d.Message, d.Log, d.Skipped, d.Delivery
	return a, nil
}

// addOwnAttempt shows the attempt that goes on, or the success that needed no row of its own.
func addOwnAttempt(v *task.View) {
	if v.State != task.Running && v.State != task.Succeeded && !v.Awaits() || v.AttemptID == 0 {
		return
	}
	if n := len(v.Attempts); n > 0 && v.Attempts[n-1].Epoch >= v.Epoch {
		return
	}
	a := task.Attempt{ID: v.AttemptID, TaskID: v.ID, Epoch: v.Epoch, WorkerID: v.WorkerID, StartedAt: v.StartedAt}
	if v.State == task.Succeeded {
		a.FinishedAt, a.Outcome, a.HTTPStatus = v.FinishedAt, task.OutcomeSucceeded, v.HTTPStatus
	}
	v.Attempts = append(v.Attempts, a)
}

// fillNames turns ids into names, from memory after their first use.
func (s *Store) fillNames(ctx context.Context, views map[int64]*task.View) error {
	for _, v := range views {
		lane, err := s.lane(ctx, v.LaneID)
		if err != nil {
			return err
		}
		v.Queue, v.Priority = lane.Queue, lane.Priority
		if v.Kind, err = s.kindName(ctx, v.KindID); err != nil {
			return err
		}
		if v.AppKey, err = s.appKey(ctx, v.AppID); err != nil {
			return err
		}
	}
	return nil
}

// Log gives the log of an attempt (0: the newest that has one); nil when there is none. Missing when the task is, or
// when it has no such attempt.
func (s *Store) Log(ctx context.Context, appID int32, id, attemptID int64) ([]byte, error) {
	if _, err := s.State(ctx, appID, id); err != nil {
		return nil, err
	}
	x := newText(4).s("SELECT task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail FROM attempts WHERE task_id=").n(id)
	if attemptID != 0 {
		x.s(" AND id=").n(attemptID)
	}
	var log []byte
	known := attemptID == 0
	err := s.readEach(ctx, x.s(" ORDER BY epoch DESC").String(), func(rows *sql.Rows) error {
		known = true
		if log != nil {
			return nil
		}
		a, err := scanAttempt(rows)
		if len(a.Log) > 0 {
			log = a.Log
		}
		return err
	})
	if err == nil && !known { // a running attempt and a plain first success have no row
		query := newText(2).s("SELECT id FROM tasks WHERE id=").n(id).s(" AND attempt_id=").n(attemptID).String()
		if err = s.readEach(ctx, query, func(*sql.Rows) error { known = true; return nil }); err == nil && !known {
			return nil, task.Missing("attempt")
		}
	}
	return log, err
}
