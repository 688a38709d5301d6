package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// The states of schedule_runs.
const (
	runOpen    = 0 // its task has not ended
	runEnded   = 1 // it has, and nobody counted it yet
	runSettled = 2
)

// endRuns tells schedules that runs of theirs have ended, in the transaction that ends the tasks. It touches rows of these
// tasks only, never a schedule's: whoever ends a task must not wait for somebody who fires.
func (s *Store) endRuns(ctx context.Context, t tx, ends []ending) error {
	for state := task.Succeeded; state <= task.Cancelled; state++ {
		var ids []int64
		for i := range ends {
			if ends[i].state == state && ends[i].flags.Has(task.TracksSchedule) {
				ids = append(ids, ends[i].id)
			}
		}
		slices.Sort(ids)
		for len(ids) > 0 {
			part := ids[:min(len(ids), maxList)]
			ids = ids[len(part):]
			if err := t.add(ctx, s.markRuns(runEnded, state, part).String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// reopenRun makes the run of a re-opened task open again, so that it counts as one for the overlap policy and will be
// counted anew when it ends.
func (s *Store) reopenRun(ctx context.Context, t tx, id int64) error {
	return t.add(ctx, s.markRuns(runOpen, 0, []int64{id}).String())
}

// markRuns is the change of runs by the ids of their tasks.
func (s *Store) markRuns(state int64, result task.State, ids []int64) *text {
	return newText(len(ids)).s("UPDATE schedule_runs").s(s.force()).s(" SET state=").n(state).s(",result=").n(int64(result)).
		s(" WHERE task_id IN (").ids(ids).s(")")
}

// insertRuns writes the rows of new runs.
func insertRuns(ctx context.Context, t tx, runs []schedule.Run) error {
	for len(runs) > 0 {
		part := runs[:min(len(runs), maxList)]
		runs = runs[len(part):]
		x := newText(3 * len(part)).s("INSERT INTO schedule_runs (task_id,schedule_id,state,result) VALUES ")
		for i := range part {
			x.row(i == 0, part[i].TaskID, part[i].ScheduleID, runOpen, 0)
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

// EndedRuns lists runs that ended and are not settled yet, by task.
func (s *Store) EndedRuns(ctx context.Context, limit int) (out []schedule.Run, err error) {
	query := newText(2).s("SELECT task_id,schedule_id,result FROM schedule_runs WHERE state=1 ORDER BY task_id LIMIT ").n(int64(max(1, limit))).String()
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		var r schedule.Run
		err := rows.Scan(&r.TaskID, &r.ScheduleID, &r.State)
		out = append(out, r)
		return err
	})
	return out, err
}

// OpenRuns lists tasks of a schedule that have not ended, oldest first, at most limit. A schedule that keeps no track of its
// runs has none here.
func (s *Store) OpenRuns(ctx context.Context, scheduleID int64, limit int) ([]int64, error) {
	return s.ids(ctx, newText(3).s("SELECT task_id FROM schedule_runs WHERE schedule_id=").n(scheduleID).s(" AND state=0 ORDER BY task_id LIMIT ").
		n(int64(max(1, limit))).String())
}

// Settle counts runs of a schedule that ended, in the order given, and pauses the schedule when maxFailures (0: no limit)
// failed in a row; its waiting look-ahead tasks are cancelled then. What was counted before, was re-opened since, or is not
// the schedule's is left out. paused says that this call paused it. Runs of a schedule that is gone count as settled.
func (s *Store) Settle(ctx context.Context, scheduleID int64, runs []schedule.Run, maxFailures int) (paused bool, err error) {
	for len(runs) > maxList {
		p, err := s.Settle(ctx, scheduleID, runs[:maxList], maxFailures)
		if paused = paused || p; err != nil {
			return paused, err
		}
		runs = runs[maxList:]
	}
	if len(runs) == 0 {
		return paused, nil
	}
	one := settling{s: s, id: scheduleID, runs: runs, limit: maxFailures}
	for try := 0; ; try++ {
		if err = s.writeAgain(ctx, one.run); !errors.Is(err, errShort) || try == settleRuns {
			return paused || one.paused, err
		}
	}
}

// SettleQuiet settles, in one transaction for up to 500 of them, the ended runs that change nothing of their schedules: those that succeeded
// where nothing failed before, and cancelled ones, of schedules none of whose given runs failed. It gives those that Settle
// must count.
func (s *Store) SettleQuiet(ctx context.Context, runs []schedule.Run) (left []schedule.Run, err error) {
	for len(runs) > 0 {
		one := quiet{s: s, runs: runs[:min(len(runs), maxList)]}
		runs = runs[len(one.runs):]
		for try := 0; ; try++ {
			if err = s.writeAgain(ctx, one.run); !errors.Is(err, errShort) || try == settleRuns {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		left = append(left, one.left...)
	}
	return left, nil
}

// quiet is one transaction of SettleQuiet.
type quiet struct {
	s    *Store
	runs []schedule.Run
	left []schedule.Run
}

func (c *quiet) run(ctx context.Context, t tx) error {
	c.left = nil
	ids, schedules := make([]int64, len(c.runs)), make([]int64, len(c.runs))
	for i, r := range c.runs {
		ids[i], schedules[i] = r.TaskID, r.ScheduleID
	}
	rows, err := c.s.lockSchedules(ctx, t, sortedIDs(schedules))
	if err != nil {
		return err
	}
	var ended []schedule.Run
	counts := map[int64]bool{} // schedules that one of the runs changes
	query := newText(len(ids)).s("SELECT task_id,schedule_id,result FROM schedule_runs WHERE task_id IN (").ids(sortedIDs(ids)).s(") AND state=1").String()
	if err := forEach(ctx, t, query, func(rs *sql.Rows) error {
		var r schedule.Run
		err := rs.Scan(&r.TaskID, &r.ScheduleID, &r.State)
		ended = append(ended, r)
		row := rows[r.ScheduleID]
		counts[r.ScheduleID] = counts[r.ScheduleID] || row != nil && (r.State == task.Failed || r.State == task.Succeeded && row.failures > 0)
		return err
	}); err != nil {
		return err
	}
	var done []int64
	for _, r := range ended {
		if counts[r.ScheduleID] {
			c.left = append(c.left, r)
		} else {
			done = append(done, r.TaskID)
		}
	}
	if len(done) == 0 {
		return nil
	}
	slices.Sort(done)
	matched, err := t.exec(ctx, newText(len(done)).s("UPDATE schedule_runs").s(c.s.force()).s(" SET state=2 WHERE task_id IN (").ids(done).s(") AND state=1").String())
	if err == nil && int(matched) != len(done) {
		err = errShort // one was re-opened since it was read
	}
	return err
}

// settling is one call of Settle.
type settling struct {
	s      *Store
	id     int64
	runs   []schedule.Run
	limit  int
	tried  bool // some earlier try may have been committed
	paused bool
}

func (c *settling) run(ctx context.Context, t tx) error {
	again := c.tried
	c.tried, c.paused = true, false
	row, err := c.s.lockSchedule(ctx, t, c.id)
	if err != nil {
		return err
	}
	ended, err := c.ended(ctx, t)
	if err != nil {
		return err
	}
	if len(ended) == 0 {
		c.paused = again && row.pause == schedule.PausedFailures
		return nil
	}
	failures, stop, counted := row.failures, false, make([]int64, 0, len(ended))
	for i := range c.runs {
		state, ok := ended[c.runs[i].TaskID]
		if !ok {
			continue
		}
		delete(ended, c.runs[i].TaskID) // twice in the list counts once
		counted = append(counted, c.runs[i].TaskID)
		var now bool
		failures, now = schedule.AfterRun(failures, state, c.limit)
		stop = stop || now
	}
	if err := c.write(ctx, t, row, failures, stop); err != nil {
		return err
	}
	slices.Sort(counted)
	query := newText(len(counted)).s("UPDATE schedule_runs").s(c.s.force()).s(" SET state=2 WHERE task_id IN (").ids(counted).s(") AND state=1").String()
	matched, err := t.exec(ctx, query)
	if err == nil && int(matched) != len(counted) {
		err = errShort // one was re-opened since it was read
	}
	return err
}

// ended reads which of the runs are to be counted, and how they ended. Reading does not lock: runs are locked after tasks.
func (c *settling) ended(ctx context.Context, t tx) (map[int64]task.State, error) {
	ids := make([]int64, len(c.runs))
	for i := range c.runs {
		ids[i] = c.runs[i].TaskID
	}
	out := make(map[int64]task.State, len(ids))
	query := newText(len(ids)).s("SELECT task_id,result FROM schedule_runs WHERE task_id IN (").ids(sortedIDs(ids)).
		s(") AND state=1 AND schedule_id+0=").n(c.id).String()
	err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var id int64
		var state task.State
		err := rows.Scan(&id, &state)
		out[id] = state
		return err
	})
	return out, err
}

// write stores the new count, and the pause.
func (c *settling) write(ctx context.Context, t tx, row *lockedSchedule, failures int, stop bool) error {
	if row.id == 0 {
		return nil
	}
	x := newText(6).s("UPDATE schedules").s(c.s.force()).s(" SET failures=").n(int64(failures))
	if c.paused = stop && row.pause == schedule.NotPaused; c.paused {
		x.s(",pause=").n(int64(schedule.PausedFailures)).s(",next_at=").n(schedule.Never)
	}
	if err := t.add(ctx, x.s(" WHERE id=").n(c.id).String()); err != nil || !c.paused {
		return err
	}
	var set statSet
	now := c.s.now()
	if _, err := c.s.cancelAhead(ctx, t, c.id, now, now, &set); err != nil {
		return err
	}
	return c.s.addStats(ctx, t, now, c.s.statsWriter(), &set)
}
