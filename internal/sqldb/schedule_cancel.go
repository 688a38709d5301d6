package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// cancelAhead cancels the tasks of a schedule's planned slots after an instant as far as they wait, and deletes the rows of
// those slots, so that they can be planned again. Slots whose task was started keep it. The schedule is locked.
func (s *Store) cancelAhead(ctx context.Context, t tx, id, after, now int64, set *statSet) (cancelled int, err error) {
	slots := map[int64]int64{} // task → slot
	var ids []int64
	query := newText(3).s("SELECT slot_at,task_id FROM slots WHERE schedule_id=").n(id).s(" AND origin=0 AND slot_at>").n(after).
		s(" AND outcome=1").String()
	if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var slot, taskID int64
		err := rows.Scan(&slot, &taskID)
		slots[taskID] = slot
		ids = append(ids, taskID)
		return err
	}); err != nil {
		return 0, err
	}
	ended, _, err := s.endOpen(ctx, t, ids, false, now, set)
	if err != nil {
		return 0, err
	}
	keys := make([][]int64, len(ended))
	for i, taskID := range ended {
		keys[i] = []int64{id, schedule.Planned, slots[taskID]}
	}
	return len(ended), s.dropRows(ctx, t, slotRows, keys)
}

// EndPrevious ends runs of a schedule with more of them than the transaction of the slot ended that replaces them: those after
// the task id after, a bounded number. next is where to go on, 0 when none is left. Nothing is ended when the schedule has another version
// or no slot waits any more: then it is not known what was to be replaced.
func (s *Store) EndPrevious(ctx context.Context, rest schedule.Rest, after int64) (cancels []schedule.Cancel, next int64, err error) {
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		cancels, next = nil, 0
		row, err := s.lockSchedule(ctx, t, rest.ScheduleID)
		if err != nil || row.id == 0 || row.version != rest.Version {
			return err
		}
		waits := false
		held := newText(2).s("SELECT 1 FROM held_slots WHERE schedule_id=").n(row.id).s(" AND origin<").n(schedule.FirstBackfill).s(" LIMIT 1").String()
		if err := forEach(ctx, t, held, func(rows *sql.Rows) error { waits = true; return nil }); err != nil || !waits {
			return err
		}
		var ids []int64
		query := newText(4).s("SELECT task_id FROM schedule_runs WHERE schedule_id=").n(row.id).s(" AND state=0 AND task_id>").n(after).
			s(" ORDER BY task_id LIMIT ").n(endsAtOnce).String()
		if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		}); err != nil || len(ids) == 0 {
			return err
		}
		if len(ids) == endsAtOnce {
			next = ids[len(ids)-1]
		}
		var set statSet
		now := s.now()
		if _, cancels, err = s.endOpen(ctx, t, ids, true, now, &set); err != nil {
			return err
		}
		return s.addStats(ctx, t, now, s.statsWriter(), &set)
	})
	return cancels, next, err
}

// endOpen ends those of some tasks that have not ended, for their schedule: what waits is cancelled at once; with running,
// so is what awaits its completion, and what a worker runs is asked to end. It gives the ids of what was cancelled and what
// workers are to be told.
func (s *Store) endOpen(ctx context.Context, t tx, ids []int64, running bool, now int64, set *statSet) (ended []int64, open []schedule.Cancel, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	condition := " AND state IN (1,2)"
	if running {
		condition = " AND state IN (1,2,3)"
	}
	var ends []ending
	var asked []int64
	var awaiting []*task.Task
	if err := s.lockTasks(ctx, t, sortedIDs(ids), condition, func(row *task.Task) {
		if row.Awaits() {
			if running {
				awaiting = append(awaiting, row)
			}
			return
		}
		if row.State != task.Running {
			ended = append(ended, row.ID)
			ends = append(ends, ending{id: row.ID, app: row.AppID, lane: row.LaneID, kind: row.KindID, state: task.Cancelled,
				reason: task.BySchedule, flags: row.Flags, epoch: row.Epoch})
			return
		}
		if row.CancelAt == 0 {
			asked = append(asked, row.ID)
		}
		open = append(open, schedule.Cancel{TaskID: row.ID, WorkerID: row.WorkerID, Epoch: row.Epoch})
	}); err != nil {
		return nil, nil, err
	}
	if err := s.askToEnd(ctx, t, asked, now); err != nil {
		return nil, nil, err
	}
	for rest := ended; len(rest) > 0; {
		part := rest[:min(len(rest), maxList)]
		rest = rest[len(part):]
		query := newText(len(part)).s("UPDATE tasks").s(s.force()).s(" SET state=6,reason=").n(int64(task.BySchedule)).s(",holder=0,finished_at=").n(now).
			s(" WHERE id IN (").ids(part).s(") AND state IN (1,2)").String()
		if err := t.add(ctx, query); err != nil { // their rows are locked: it matches them all
			return nil, nil, err
		}
	}
	for _, row := range awaiting {
		if err := s.endWaiting(ctx, t, row, task.BySchedule, now, set); err != nil {
			return nil, nil, err
		}
	}
	return ended, open, s.terminateInto(ctx, t, now, ends, set)
}

// askToEnd marks running tasks, whose rows are locked. The reason stands in the row from then on, because the worker that
// ends them only knows that somebody asked.
func (s *Store) askToEnd(ctx context.Context, t tx, ids []int64, now int64) error {
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("UPDATE tasks").s(s.force()).s(" SET cancel_at=").n(now).s(",reason=").n(int64(task.BySchedule)).
			s(" WHERE id IN (").ids(part).s(") AND state=3 AND cancel_at=0").String()
		if err := t.add(ctx, query); err != nil {
			return err
		}
	}
	return nil
}
