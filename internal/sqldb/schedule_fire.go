package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// firing is slots on their way into the database, in one transaction with their tasks. Everything that a repetition must
// forget is set anew by begin.
type firing struct {
	s     *Store
	fires []*schedule.Fire  // by schedule
	asked [][]schedule.Slot // of their shots, as the caller sent them
	u     *submit           // of the shots' tasks

	rows    map[int64]*lockedSchedule
	won     []*schedule.Fire // those that are not lost
	changed []*schedule.Shot // whose rows were inserted as fired and are something else now
	runs    []schedule.Run
	cancels []schedule.Cancel
	rest    []schedule.Rest
	set     statSet
}

// lockedSchedule is what a transaction knows of a schedule whose row it holds.
type lockedSchedule struct {
	id, version, nextAt int64
	appID               int32
	pause               schedule.PauseReason
	failures            int

	// Of schedules whose runs must not overlap.
	open      int // runs that have not ended
	held      int // planned and manual slots that wait
	backfills int // slots of backfills that wait
	pending   []*schedule.Shot
}

// Fire writes slots and the tasks of those that start: one transaction for all schedules, at most task.MaxFlushTasks tasks.
// A schedule with another version, or that was paused or moved on since it was read, is left out (Lost); with Keep only the
// version counts. A slot that has a row is left as it is (Known). A manual slot that its overlap policy refuses leaves no row.
//
// A fire with a known idempotency key writes nothing (Repeated), or is a Conflict when its body was another.
//
// When the connection dies at COMMIT a task of it is looked up, or, when there is none, what it wrote of a slot.
func (s *Store) Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	f, err := s.newFiring(ctx, fires)
	if err != nil {
		return schedule.Written{}, err
	}
	return f.commit(ctx, f.run)
}

func (s *Store) newFiring(ctx context.Context, fires []*schedule.Fire) (*firing, error) {
	f := &firing{s: s, fires: slices.Clone(fires)}
	slices.SortStableFunc(f.fires, func(a, b *schedule.Fire) int { return cmpInt(a.ID, b.ID) })
	var subs []*task.Submission
	for _, one := range f.fires {
		slots := make([]schedule.Slot, len(one.Shots))
		for i := range one.Shots {
			shot := &one.Shots[i]
			if shot.Outcome == schedule.Fired {
				if shot.Sub == nil {
					return nil, fmt.Errorf("fire schedule %d: a slot without its task", one.ID)
				}
				subs = append(subs, shot.Sub)
			}
			slots[i] = shot.Slot
		}
		f.asked = append(f.asked, slots)
	}
	if len(subs) == 0 {
		f.u = &submit{s: s, now: s.now(), writer: s.statsWriter()}
		return f, nil
	}
	var err error
	f.u, err = s.newSubmit(ctx, []*task.Request{{Tasks: subs}})
	return f, err
}

// commit runs a transaction that ends with write.
func (f *firing) commit(ctx context.Context, run func(context.Context, tx) error) (schedule.Written, error) {
	if err := f.s.writeSettled(ctx, run, f.committed); err != nil {
		return schedule.Written{}, f.u.failed(err)
	}
	return f.written(), nil
}

func (f *firing) written() schedule.Written {
	f.s.metrics.Submitted(len(f.u.created))
	return schedule.Written{Bells: f.u.bells, Cancels: f.cancels, Rest: f.rest}
}

// run is the transaction of Fire.
func (f *firing) run(ctx context.Context, t tx) error {
	f.begin()
	if repeated, err := f.remember(ctx, t); err != nil || repeated {
		return err
	}
	ids := make([]int64, len(f.fires))
	for i, one := range f.fires {
		ids[i] = one.ID
	}
	var err error
	if f.rows, err = f.s.lockSchedules(ctx, t, sortedIDs(ids)); err != nil {
		return err
	}
	for _, one := range f.fires {
		row := f.rows[one.ID]
		one.Lost = row == nil || row.version != one.Version || !one.Keep && (row.pause != schedule.NotPaused || row.nextAt != one.From)
		if one.Lost {
			continue
		}
		if !one.Keep {
			row.nextAt = one.Next
		}
		f.won = append(f.won, one)
	}
	if err := f.write(ctx, t); err != nil {
		return err
	}
	return f.forget(ctx, t)
}

func (f *firing) begin() {
	f.u.begin()
	f.rows, f.won, f.changed, f.runs, f.cancels, f.rest, f.set = map[int64]*lockedSchedule{}, nil, nil, nil, nil, nil, statSet{rows: f.set.rows[:0]}
	for i, one := range f.fires {
		one.Lost, one.Repeated = false, 0
		for j := range one.Shots {
			shot := &one.Shots[j]
			shot.Slot, shot.Known = f.asked[i][j], false
			shot.ScheduleID, shot.TaskID = one.ID, 0
			shot.LastAt, shot.Count, shot.Detail = max(shot.LastAt, shot.At), max(shot.Count, 1), cutDetail(shot.Detail)
			if shot.FiredAt == 0 {
				shot.FiredAt = f.u.now
			}
		}
	}
}

// write writes what was won, into schedules that are locked.
func (f *firing) write(ctx context.Context, t tx) error {
	if err := f.insertSlots(ctx, t); err != nil {
		return err
	}
	if err := f.admit(ctx, t); err != nil {
		return err
	}
	if err := f.insertTasks(ctx, t); err != nil {
		return err
	}
	if err := f.correct(ctx, t); err != nil {
		return err
	}
	if err := f.move(ctx, t); err != nil {
		return err
	}
	return f.s.addStats(ctx, t, f.u.now, f.u.writer, &f.set)
}

// insertTasks submits the tasks of the slots that start. One whose unique key is taken makes its slot something else.
func (f *firing) insertTasks(ctx context.Context, t tx) error {
	var shots []*schedule.Shot
	for _, one := range f.won {
		for i := range one.Shots {
			if shot := &one.Shots[i]; shot.Outcome == schedule.Fired && !shot.Known {
				shots = append(shots, shot)
				f.u.todo = append(f.u.todo, shot.Sub)
			}
		}
	}
	if len(shots) == 0 {
		return nil
	}
	if err := f.u.insert(ctx, t, &f.set); err != nil {
		return err
	}
	for _, shot := range shots {
		sub := shot.Sub
		switch {
		case sub.Created:
			shot.TaskID = sub.ID
			if sub.Flags.Has(task.TracksSchedule) {
				f.runs = append(f.runs, schedule.Run{TaskID: sub.ID, ScheduleID: shot.ScheduleID})
			}
			continue
		case sub.Kept:
			shot.Outcome, shot.TaskID = schedule.SkippedOverlap, sub.TaskID
		default:
			shot.Outcome, shot.Detail = schedule.FailedTemplate, cutDetail(refusal(sub.Err))
		}
		f.changed = append(f.changed, shot)
	}
	return insertRuns(ctx, t, f.runs)
}

// refusal says why a task of a slot was refused.
func refusal(err error) string {
	var e *task.Error
	if errors.As(err, &e) && e.Code == "unique_key_taken" {
		return fmt.Sprint("uniqueKey is taken by task ", e.TaskID)
	}
	return err.Error()
}

// move writes the schedules' next slots.
func (f *firing) move(ctx context.Context, t tx) error {
	var ids, next []int64
	for _, one := range f.won {
		switch last := len(ids) - 1; {
		case one.Keep:
		case last >= 0 && ids[last] == one.ID:
			next[last] = one.Next
		default:
			ids, next = append(ids, one.ID), append(next, one.Next)
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), maxList)
		query := newText(3*n).s("UPDATE schedules").s(f.s.force()).s(" SET next_at=").perID(ids[:n], next[:n]).
			s(" WHERE id IN (").ids(ids[:n]).s(")").String()
		if err := t.add(ctx, query); err != nil {
			return err
		}
		ids, next = ids[n:], next[n:]
	}
	return nil
}

// committed looks a transaction of unknown outcome up: by a task, whose id nobody else can have used; else by a slot that it
// wrote; else by the next slot. Where somebody else wrote the same of a slot without a task, there is no difference.
func (f *firing) committed(ctx context.Context) (bool, error) {
	if len(f.u.created) > 0 {
		return f.u.committed(ctx)
	}
	x := newText(6)
	if shot := f.witness(); shot != nil {
		x.s("SELECT 1 FROM slots WHERE schedule_id=").n(shot.ScheduleID).s(" AND origin=").n(shot.Origin).s(" AND slot_at=").n(shot.At).
			s(" AND outcome=").n(int64(shot.Outcome)).s(" AND task_id=").n(shot.TaskID)
	} else {
		moved := slices.IndexFunc(f.won, func(one *schedule.Fire) bool { return !one.Keep })
		if moved < 0 {
			return false, nil // nothing was written
		}
		x.s("SELECT 1 FROM schedules WHERE id=").n(f.won[moved].ID).s(" AND next_at=").n(f.won[moved].Next)
	}
	var one int
	err := f.s.db.QueryRowContext(ctx, x.s(f.s.shared()).String()).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// witness is a shot without a task whose row was written.
func (f *firing) witness() *schedule.Shot {
	for _, one := range f.won {
		for i := range one.Shots {
			if shot := &one.Shots[i]; !shot.Known && !refusedTrigger(shot) {
				return shot
			}
		}
	}
	return nil
}

// lockSchedules locks the rows of sorted ids and reads what decides about them.
func (s *Store) lockSchedules(ctx context.Context, t tx, ids []int64) (map[int64]*lockedSchedule, error) {
	out := make(map[int64]*lockedSchedule, len(ids))
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		x := newText(len(part)).s("SELECT id,app_id,version,pause,next_at,failures FROM schedules").s(s.force()).s(" WHERE id IN (").ids(part).s(")")
		if err := forEach(ctx, t, s.locked(x, "id", len(part)).String(), func(rows *sql.Rows) error {
			r := &lockedSchedule{}
			err := rows.Scan(&r.id, &r.appID, &r.version, &r.pause, &r.nextAt, &r.failures)
			out[r.id] = r
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// lockSchedule locks one row. Its id is 0 when there is none.
func (s *Store) lockSchedule(ctx context.Context, t tx, id int64) (*lockedSchedule, error) {
	rows, err := s.lockSchedules(ctx, t, []int64{id})
	if err != nil || rows[id] == nil {
		return &lockedSchedule{}, err
	}
	return rows[id], nil
}
