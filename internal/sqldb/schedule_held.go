package sqldb

import (
	"context"
	"database/sql"
	"errors"

	"github.com/taskweir/taskweir/internal/schedule"
)

// HasHeld reports whether any slot is held.
func (s *Store) HasHeld(ctx context.Context) (found bool, err error) {
	err = s.readEach(ctx, "SELECT 1 FROM held_slots LIMIT 1", func(rows *sql.Rows) error {
		found = true
		return rows.Scan(new(int))
	})
	return found, err
}

// oldestHeld gives each schedule that has held slots the instant of its oldest one: on MySQL by a loose index scan, on
// SQLite, which has none, by one dive for each schedule. It never reads a row per held slot.
const (
	oldestHeldMySQL  = "SELECT schedule_id AS s,MIN(slot_at) AS m FROM held_slots GROUP BY schedule_id"
	oldestHeldSQLite = "WITH RECURSIVE p(s) AS (SELECT MIN(schedule_id) FROM held_slots" +
		" UNION ALL SELECT (SELECT MIN(schedule_id) FROM held_slots WHERE schedule_id>p.s) FROM p WHERE p.s IS NOT NULL)" +
		" SELECT p.s AS s,(SELECT MIN(slot_at) FROM held_slots WHERE schedule_id=p.s) AS m FROM p WHERE p.s IS NOT NULL"
)

// Releasable lists the oldest held slot of each schedule that is not paused and has no open run, oldest first, at most
// limit. Of slots of one instant the smallest origin comes first.
func (s *Store) Releasable(ctx context.Context, limit int) (out []schedule.Slot, err error) {
	oldest := oldestHeldSQLite
	if s.mysql {
		oldest = oldestHeldMySQL
	}
	query := newText(2).s("SELECT h.s,h.m,(SELECT MIN(origin) FROM held_slots x WHERE x.schedule_id=h.s AND x.slot_at=h.m) FROM (").s(oldest).
		s(") h JOIN schedules c ON c.id=h.s AND c.pause=0 WHERE NOT EXISTS (SELECT 1 FROM schedule_runs r WHERE r.schedule_id=h.s AND r.state=0)" +
			" ORDER BY h.m,h.s LIMIT ").n(int64(max(1, limit))).String()
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		one := schedule.Slot{Outcome: schedule.Held, Count: 1}
		err := rows.Scan(&one.ScheduleID, &one.At, &one.Origin)
		one.LastAt = one.At
		out = append(out, one)
		return err
	})
	return out, err
}

var errOneShot = errors.New("release slots: one shot of each of some schedules")

// ReleaseSlot starts held slots of several schedules, one of each, or makes them failed when their shots say so: one transaction.
// A fire is Lost when its schedule has another version, is paused or has an open run, and when the slot is not its oldest
// held one.
func (s *Store) ReleaseSlot(ctx context.Context, fires ...*schedule.Fire) (schedule.Written, error) {
	seen := make(map[int64]bool, len(fires))
	for _, one := range fires {
		if len(one.Shots) != 1 || seen[one.ID] {
			return schedule.Written{}, errOneShot
		}
		one.Keep, seen[one.ID] = true, true
	}
	f, err := s.newFiring(ctx, fires)
	if err != nil {
		return schedule.Written{}, err
	}
	return f.commit(ctx, f.release)
}

// release is the transaction of ReleaseSlot.
func (f *firing) release(ctx context.Context, t tx) error {
	f.begin()
	ids := make([]int64, len(f.fires))
	for i, one := range f.fires {
		ids[i] = one.ID
	}
	var err error
	if f.rows, err = f.s.lockSchedules(ctx, t, sortedIDs(ids)); err != nil {
		return err
	}
	if err := f.s.countRuns(ctx, t, f.rows); err != nil {
		return err
	}
	var slots []schedule.Slot
	var keys [][]int64
	for _, one := range f.fires {
		row, shot := f.rows[one.ID], &one.Shots[0]
		one.Lost = row == nil || row.version != one.Version || row.pause != schedule.NotPaused || row.open > 0
		if !one.Lost {
			if one.Lost, err = f.notNext(ctx, t, row, shot); err != nil {
				return err
			}
		}
		if !one.Lost {
			f.won, keys = append(f.won, one), append(keys, []int64{one.ID, shot.At, shot.Origin})
		}
	}
	if err := f.insertTasks(ctx, t); err != nil {
		return err
	}
	for _, one := range f.won {
		slots = append(slots, one.Shots[0].Slot)
	}
	if err := f.s.putSlots(ctx, t, slots); err != nil {
		return err
	}
	if err := f.s.dropRows(ctx, t, heldRows, keys); err != nil {
		return err
	}
	return f.s.addStats(ctx, t, f.u.now, f.u.writer, &f.set)
}

// notNext reports whether it is not a held slot's turn. The schedule is locked.
func (f *firing) notNext(ctx context.Context, t tx, row *lockedSchedule, shot *schedule.Shot) (bool, error) {
	not := true
	query := newText(1).s("SELECT slot_at,origin FROM held_slots WHERE schedule_id=").n(row.id).s(" ORDER BY slot_at,origin LIMIT 1").String()
	err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var at, origin int64
		err := rows.Scan(&at, &origin)
		not = at != shot.At || origin != shot.Origin
		return err
	})
	return not, err
}
