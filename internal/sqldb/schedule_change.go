package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// ChangeSchedule writes name, definition, pause and next slot of a schedule that is still as it was read: the same version,
// next slot and pause, else a Conflict (schedule.CodeVersion). The version grows by one; a schedule that is resumed has no failures. The waiting tasks of its planned slots after now are cancelled
// and the rows of those slots deleted, so that they can be planned again; then fire is written, as by CreateSchedule.
func (s *Store) ChangeSchedule(ctx context.Context, before, after schedule.Row, now int64, fire *schedule.Fire) (schedule.Row, schedule.Written, error) {
	f, err := s.newFiring(ctx, firesOf(fire))
	if err != nil {
		return schedule.Row{}, schedule.Written{}, err
	}
	c := changing{firing: f, before: before, after: after, now: now}
	c.after.ID, c.after.AppID, c.after.CreatedAt = before.ID, before.AppID, before.CreatedAt
	c.after.Version, c.after.UpdatedAt = before.Version+1, f.u.now
	err = s.writeSettled(ctx, c.run, c.committed)
	switch {
	case errors.Is(err, errNameTaken):
		return schedule.Row{}, schedule.Written{}, s.nameTaken(ctx, before.AppID, after.Name, err)
	case err != nil:
		return schedule.Row{}, schedule.Written{}, f.u.failed(err)
	case c.overtaken:
		return schedule.Row{}, schedule.Written{}, unknown(errOvertaken)
	}
	return c.after, f.written(), nil
}

var errOvertaken = errors.New("the schedule was changed again before it could be looked up")

// changing is one change.
type changing struct {
	*firing
	before, after schedule.Row
	now           int64
	overtaken     bool // the outcome was unknown and can not be told any more
}

const updateScheduleSQL = " SET name=?,version=?,pause=?,next_at=?,failures=?,updated_at=?,definition=? WHERE id=?"

func (c *changing) run(ctx context.Context, t tx) error {
	c.begin()
	row, err := c.s.lockAsRead(ctx, t, &c.before, true)
	if err != nil {
		return err
	}
	if _, err := c.s.cancelAhead(ctx, t, row.id, c.now, c.u.now, &c.set); err != nil {
		return err
	}
	r := &c.after
	if r.Failures = row.failures; c.before.Pause != schedule.NotPaused && r.Pause == schedule.NotPaused {
		r.Failures = 0
	}
	for _, one := range c.fires {
		if !one.Keep {
			r.NextAt = one.Next
		}
	}
	if _, err := t.exec(ctx, "UPDATE schedules"+c.s.force()+updateScheduleSQL, r.Name, r.Version, r.Pause, r.NextAt, r.Failures, r.UpdatedAt,
		r.Definition, r.ID); err != nil {
		if duplicate(err) {
			err = errNameTaken
		}
		return err
	}
	row.version, row.nextAt, row.pause = r.Version, r.NextAt, r.Pause
	if err := c.s.noteOn(ctx, t, row.appID); err != nil {
		return err
	}
	c.winAll(row)
	return c.write(ctx, t)
}

// committed looks a change of unknown outcome up: by a task of it, else by the version and what was written with it.
func (c *changing) committed(ctx context.Context) (bool, error) {
	if len(c.u.created) > 0 {
		return c.u.committed(ctx)
	}
	var version, updatedAt int64
	var name string
	var definition []byte
	err := c.s.db.QueryRowContext(ctx, "SELECT version,updated_at,name,definition FROM schedules WHERE id=?"+c.s.shared(), c.after.ID).
		Scan(&version, &updatedAt, &name, &definition)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil // deleted: running it again says so
	}
	if err != nil {
		return false, err
	}
	c.overtaken = version > c.after.Version
	return c.overtaken || version == c.after.Version && updatedAt == c.after.UpdatedAt && name == c.after.Name &&
		slices.Equal(definition, c.after.Definition), nil
}

// lockAsRead locks a schedule that must be as it was read; moved says whether its next slot and pause are compared too.
func (s *Store) lockAsRead(ctx context.Context, t tx, read *schedule.Row, moved bool) (*lockedSchedule, error) {
	row, err := s.lockSchedule(ctx, t, read.ID)
	switch {
	case err != nil:
		return nil, err
	case row.id == 0 || read.AppID != 0 && row.appID != read.AppID:
		return nil, task.Missing("schedule")
	case row.version != read.Version, moved && (row.nextAt != read.NextAt || row.pause != read.Pause):
		return nil, notAsRead()
	}
	return row, nil
}

func notAsRead() *task.Error {
	return &task.Error{Kind: task.Conflict, Code: schedule.CodeVersion, Message: "the schedule fired or was changed since it was read"}
}

// SkipSlot makes a planned slot skipped. When it is the schedule's next one its row is inserted and the schedule moved on to
// next; when it has a row with a task that waits, the task is cancelled. A Conflict (schedule.CodeVersion) when it is
// neither, or when the schedule is not as it was read. The version stays: nothing of the definition changes.
func (s *Store) SkipSlot(ctx context.Context, row schedule.Row, slot, next int64) (schedule.Row, error) {
	now := s.now()
	skipped := schedule.Slot{ScheduleID: row.ID, Origin: schedule.Planned, At: slot, LastAt: slot, Count: 1, Outcome: schedule.SkippedByUser, FiredAt: now}
	got := row
	err := s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		var set statSet
		if _, err := s.lockAsRead(ctx, t, &row, true); err != nil {
			return err
		}
		got.NextAt = row.NextAt
		if slot != row.NextAt {
			if err := s.skipAhead(ctx, t, &skipped, now, &set); err != nil {
				return err
			}
		} else {
			got.NextAt = next
			query := newText(2).s("UPDATE schedules").s(s.force()).s(" SET next_at=").n(next).s(" WHERE id=").n(row.ID).String()
			if err := t.add(ctx, query); err != nil {
				return err
			}
		}
		if err := s.putSlots(ctx, t, []schedule.Slot{skipped}); err != nil {
			return err
		}
		if err := s.noteOn(ctx, t, row.AppID); err != nil {
			return err
		}
		return s.addStats(ctx, t, now, s.statsWriter(), &set)
	}, s.found("SELECT 1 FROM slots WHERE schedule_id=? AND origin=0 AND slot_at=? AND outcome=?", row.ID, slot, schedule.SkippedByUser))
	if err != nil {
		return schedule.Row{}, err
	}
	return got, nil
}

// skipAhead cancels the task of a slot that has a row.
func (s *Store) skipAhead(ctx context.Context, t tx, slot *schedule.Slot, now int64, set *statSet) error {
	var ids []int64
	if err := forEach(ctx, t, slotsQuery([]schedule.Slot{*slot}), func(rows *sql.Rows) error {
		there, err := scanSlot(rows)
		if there.Outcome == schedule.Fired {
			ids = append(ids, there.TaskID)
		}
		return err
	}); err != nil {
		return err
	}
	ended, _, err := s.endOpen(ctx, t, ids, false, now, set)
	if err == nil && len(ended) == 0 {
		err = notAsRead()
	}
	return err
}

// DeleteSchedule deletes a schedule of the version that was read (else a Conflict, schedule.CodeVersion), with the slots that
// wait, and cancels the waiting tasks of its planned slots after now. Runs that have begun go on; its slots are purged later.
func (s *Store) DeleteSchedule(ctx context.Context, row schedule.Row, now int64) error {
	return s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		var set statSet
		if _, err := s.lockAsRead(ctx, t, &row, false); err != nil {
			return err
		}
		at := s.now()
		if _, err := s.cancelAhead(ctx, t, row.ID, now, at, &set); err != nil {
			return err
		}
		for _, query := range []string{
			newText(1).s("DELETE FROM held_slots WHERE schedule_id=").n(row.ID).String(),
			newText(1).s(s.insertIgnore()).s(" INTO schedules_deleted (id) VALUES (").n(row.ID).s(")").String(),
			newText(1).s("DELETE FROM schedules WHERE id=").n(row.ID).String(),
		} {
			if err := t.add(ctx, query); err != nil {
				return err
			}
		}
		if err := s.noteOn(ctx, t, row.AppID); err != nil {
			return err
		}
		return s.addStats(ctx, t, at, s.statsWriter(), &set)
	}, s.found("SELECT 1 FROM schedules_deleted WHERE id=?", row.ID))
}
