package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/schedule"
)

// admit decides which slots start, where runs of a schedule must not overlap. The schedules are locked, so nobody else
// starts a run of theirs or holds a slot meanwhile; a run that ends after it was counted has ended after this transaction.
func (f *firing) admit(ctx context.Context, t tx) error {
	apart := map[int64]*lockedSchedule{}
	for _, one := range f.won {
		if one.Overlap == schedule.Allow {
			continue
		}
		for i := range one.Shots {
			if shot := &one.Shots[i]; shot.Outcome == schedule.Fired && !shot.Known {
				apart[one.ID] = f.rows[one.ID]
				break
			}
		}
	}
	if len(apart) == 0 {
		return nil
	}
	if err := f.s.countRuns(ctx, t, apart); err != nil {
		return err
	}
	if err := f.cancelPrevious(ctx, t); err != nil {
		return err
	}
	var decided []*schedule.Shot
	for _, one := range f.won {
		if apart[one.ID] == nil || one.Overlap == schedule.Allow {
			continue
		}
		for i := range one.Shots {
			if shot := &one.Shots[i]; shot.Outcome == schedule.Fired && !shot.Known {
				apart[one.ID].admit(one.Overlap, shot)
				decided = append(decided, shot)
			}
		}
	}
	for _, shot := range decided { // a later shot may have changed what became of an earlier one
		if shot.Outcome != schedule.Fired {
			f.changed = append(f.changed, shot)
		}
	}
	return nil
}

// admit decides about one shot. What ran before was ended by cancelPrevious already, as far as it could be ended at once.
func (r *lockedSchedule) admit(o schedule.Overlap, shot *schedule.Shot) {
	a := schedule.Admit(o, shot.Origin, r.open, r.held+r.backfills)
	if a.CancelOpen {
		for _, earlier := range r.pending { // of this transaction: they never start
			if earlier.Outcome == schedule.Fired {
				r.open--
			} else {
				r.held--
			}
			earlier.Outcome = schedule.SkippedOverlap
		}
		r.pending = nil
		if r.open == 0 {
			a.Outcome = schedule.Fired
		}
	}
	shot.Outcome = a.Outcome
	backfill := shot.Origin >= schedule.FirstBackfill
	switch {
	case a.Outcome == schedule.Fired:
		r.open++
	case a.Outcome == schedule.Held && backfill:
		r.backfills++
	case a.Outcome == schedule.Held:
		r.held++
	default:
		return
	}
	if !backfill {
		r.pending = append(r.pending, shot)
	}
}

// countRuns reads how many runs of schedules have not ended and how many slots wait. It does not lock: see admit.
func (s *Store) countRuns(ctx context.Context, t tx, rows map[int64]*lockedSchedule) error {
	ids := make([]int64, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	ids = sortedIDs(ids)
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(3 * len(part)).s("SELECT schedule_id,0,COUNT(*) FROM schedule_runs WHERE schedule_id IN (").ids(part).
			s(") AND state=0 GROUP BY schedule_id UNION ALL SELECT schedule_id,1,COUNT(*) FROM held_slots WHERE schedule_id IN (").ids(part).
			s(") AND origin<").n(schedule.FirstBackfill).s(" GROUP BY schedule_id UNION ALL SELECT schedule_id,2,COUNT(*) FROM held_slots WHERE schedule_id IN (").
			ids(part).s(") AND origin>=").n(schedule.FirstBackfill).s(" GROUP BY schedule_id").String()
		if err := forEach(ctx, t, query, func(r *sql.Rows) error {
			var id int64
			var what, n int
			err := r.Scan(&id, &what, &n)
			if row := rows[id]; row != nil {
				*[]*int{&row.open, &row.held, &row.backfills}[what] = n
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// cancelPrevious ends what runs of the schedules whose next slot takes its place: all of them together, so that tasks are
// locked in the order of their ids. Runs that have begun are asked to end and stay open until they have; planned and manual
// slots that waited are skipped. A schedule with more runs than the transaction has room for keeps them for now (Rest): a
// transaction that grew with what somebody let pile up would hold everybody's slots up, and above the time of a query for ever.
func (f *firing) cancelPrevious(ctx context.Context, t tx) error {
	var running, waiting []int64
	room := endsAtOnce
	for _, one := range f.won {
		row := f.rows[one.ID]
		if one.Overlap != schedule.CancelPrevious || !starts(one) {
			continue
		}
		switch {
		case row.open > room:
			f.rest = append(f.rest, schedule.Rest{ScheduleID: row.id, Version: row.version})
		case row.open > 0:
			running = append(running, one.ID)
			room -= row.open
		}
		if row.held > 0 {
			waiting = append(waiting, one.ID)
		}
	}
	if err := f.endPrevious(ctx, t, sortedIDs(running)); err != nil {
		return err
	}
	return f.dropHeld(ctx, t, sortedIDs(waiting))
}

// endsAtOnce is how many runs one transaction ends.
const endsAtOnce = 1_000

// starts reports whether a fire has a planned or manual slot that would start.
func starts(one *schedule.Fire) bool {
	for i := range one.Shots {
		if shot := &one.Shots[i]; shot.Outcome == schedule.Fired && !shot.Known && shot.Origin < schedule.FirstBackfill {
			return true
		}
	}
	return false
}

func (f *firing) endPrevious(ctx context.Context, t tx, schedules []int64) error {
	if len(schedules) == 0 {
		return nil
	}
	of := map[int64]int64{} // task → schedule
	var ids []int64
	query := newText(len(schedules)).s("SELECT task_id,schedule_id FROM schedule_runs WHERE schedule_id IN (").ids(schedules).s(") AND state=0").String()
	if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var id, of1 int64
		err := rows.Scan(&id, &of1)
		ids, of[id] = append(ids, id), of1
		return err
	}); err != nil {
		return err
	}
	for _, id := range schedules {
		f.rows[id].open = 0
	}
	_, open, err := f.s.endOpen(ctx, t, ids, true, f.u.now, &f.set)
	for i := range open {
		f.rows[of[open[i].TaskID]].open++
	}
	f.cancels = append(f.cancels, open...)
	return err
}

func (f *firing) dropHeld(ctx context.Context, t tx, schedules []int64) error {
	if len(schedules) == 0 {
		return nil
	}
	var rows []schedule.Slot
	var keys [][]int64
	query := newText(len(schedules)).s("SELECT schedule_id,slot_at,origin FROM held_slots WHERE schedule_id IN (").ids(schedules).
		s(") AND origin<").n(schedule.FirstBackfill).String()
	if err := forEach(ctx, t, query, func(r *sql.Rows) error {
		one := schedule.Slot{Outcome: schedule.SkippedOverlap, Count: 1, FiredAt: f.u.now}
		err := r.Scan(&one.ScheduleID, &one.At, &one.Origin)
		one.LastAt = one.At
		rows = append(rows, one)
		keys = append(keys, []int64{one.ScheduleID, one.At, one.Origin})
		return err
	}); err != nil {
		return err
	}
	for _, id := range schedules {
		f.rows[id].held = 0
	}
	if err := f.s.putSlots(ctx, t, rows); err != nil {
		return err
	}
	return f.s.dropRows(ctx, t, heldRows, keys)
}
