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

var errOneShot = errors.New("release a slot: one shot of one schedule")

// ReleaseSlot starts a held slot, or makes it failed when its shot says so. The fire is Lost when the schedule has another
// version, is paused or has an open run, and when the slot is not its oldest held one.
func (s *Store) ReleaseSlot(ctx context.Context, one *schedule.Fire) (schedule.Written, error) {
	if len(one.Shots) != 1 {
		return schedule.Written{}, errOneShot
	}
	one.Keep = true
	f, err := s.newFiring(ctx, []*schedule.Fire{one})
	if err != nil {
		return schedule.Written{}, err
	}
	return f.commit(ctx, f.release)
}

// release is the transaction of ReleaseSlot.
func (f *firing) release(ctx context.Context, t tx) error {
	f.begin()
	one := f.fires[0]
	shot := &one.Shots[0]
	row, err := f.s.lockSchedule(ctx, t, one.ID)
	if err != nil {
		return err
	}
	one.Lost = row.id == 0 || row.version != one.Version || row.pause != schedule.NotPaused
	if !one.Lost {
		if one.Lost, err = f.notNext(ctx, t, row, shot); err != nil {
			return err
		}
	}
	if one.Lost {
		return nil
	}
	f.won = append(f.won, one)
	if err := f.insertTasks(ctx, t); err != nil {
		return err
	}
	if err := f.s.putSlots(ctx, t, []schedule.Slot{shot.Slot}); err != nil {
		return err
	}
	if err := f.s.dropRows(ctx, t, heldRows, [][]int64{{one.ID, shot.At, shot.Origin}}); err != nil {
		return err
	}
	return f.s.addStats(ctx, t, f.u.now, f.u.writer, &f.set)
}

// notNext reports whether it is not a held slot's turn. The schedule is locked.
func (f *firing) notNext(ctx context.Context, t tx, row *lockedSchedule, shot *schedule.Shot) (bool, error) {
	if err := f.s.countRuns(ctx, t, map[int64]*lockedSchedule{row.id: row}); err != nil || row.open > 0 {
		return true, err
	}
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
