package sqldb

import (
	"context"
	"database/sql"
	"math"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// ScheduleIDs takes n consecutive ids of schedules or backfills and gives the first. No id is given twice.
func (s *Store) ScheduleIDs(ctx context.Context, n int) (int64, error) {
	return s.allocate(ctx, "schedule", int64(max(1, n)))
}

const (
	scheduleHead    = "id,app_id,name,version,pause,next_at,failures,created_at,updated_at"
	scheduleColumns = scheduleHead + ",definition"
)

func scanSchedule(rows *sql.Rows, whole bool) (r schedule.Row, err error) {
	to := []any{&r.ID, &r.AppID, &r.Name, &r.Version, &r.Pause, &r.NextAt, &r.Failures, &r.CreatedAt, &r.UpdatedAt}
	if whole {
		to = append(to, &r.Definition)
	}
	err = rows.Scan(to...)
	return r, err
}

// DueSchedules lists schedules of the shards whose next slot is at or before until, in the order of next slots, without
// their definitions. It reads index entries of due schedules only: those that sleep cost nothing.
func (s *Store) DueSchedules(ctx context.Context, shards []int, until int64, limit int) (out []schedule.Row, err error) {
	if len(shards) == 0 {
		return nil, nil
	}
	ids := make([]int64, len(shards))
	for i, shard := range shards {
		ids[i] = int64(shard)
	}
	x := newText(len(ids)).s("SELECT " + scheduleHead + " FROM schedules")
	if s.mysql {
		x.s(" FORCE INDEX (due)")
	}
	query := x.s(" WHERE next_at<=").n(until).s(" AND shard IN (").ids(sortedIDs(ids)).s(") ORDER BY next_at LIMIT ").n(int64(max(1, limit))).String()
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		r, err := scanSchedule(rows, false)
		out = append(out, r)
		return err
	})
	return out, err
}

// Schedules reads rows whole, by id; unknown ones are left out.
func (s *Store) Schedules(ctx context.Context, ids []int64) (out []schedule.Row, err error) {
	ids = sortedIDs(ids)
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("SELECT " + scheduleColumns + " FROM schedules WHERE id IN (").ids(part).s(") ORDER BY id").String()
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			r, err := scanSchedule(rows, true)
			out = append(out, r)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ScheduleByID reads one row whole. Missing when there is none or it is another app's; appID 0 sees every app's.
func (s *Store) ScheduleByID(ctx context.Context, appID int32, id int64) (schedule.Row, error) {
	rows, err := s.Schedules(ctx, []int64{id})
	switch {
	case err != nil:
		return schedule.Row{}, err
	case len(rows) == 0 || appID != 0 && rows[0].AppID != appID:
		return schedule.Row{}, task.Missing("schedule")
	}
	return rows[0], nil
}

// ListSchedules lists rows whole, newest first. It reads a bounded number of index entries and bytes: a page may be shorter
// than the limit, even empty, and have a cursor to go on. A wrong cursor is Malformed.
func (s *Store) ListSchedules(ctx context.Context, f schedule.Filter) (out []schedule.Row, next string, err error) {
	at, resumed, err := decodeCursor(f.Cursor, schedulesByID)
	if err != nil {
		return nil, "", err
	}
	if !resumed {
		at.id = math.MaxInt64
	}
	ids, next, err := s.scheduleIDs(ctx, f, at.id)
	if err != nil {
		return nil, "", err
	}
	size := 0
	for from := 0; from < len(ids); from += listViews {
		rows, err := s.Schedules(ctx, ids[from:min(from+listViews, len(ids))])
		if err != nil {
			return nil, "", err
		}
		for i := len(rows) - 1; i >= 0; i-- {
			out = append(out, rows[i])
			size += len(rows[i].Definition)
		}
		if last := min(from+listViews, len(ids)); size > listBytes && last < len(ids) {
			return out, cursor{mode: schedulesByID, id: ids[last-1]}.encode(), nil
		}
	}
	return out, next, nil
}

// pager decides how a list that reads step by step goes on.
type pager struct {
	limit, step int
	kept        int  // of the page
	found       int  // rows of this step
	read        int  // of all steps before
	more        bool // a row was seen that is behind the page
}

// newPager reads one row more than the page has, or large steps when not every row is wanted.
func newPager(limit int, filtered bool) *pager {
	if limit <= 0 {
		limit = 50
	}
	p := &pager{limit: limit, step: limit + 1}
	if filtered {
		p.step = max(p.step, listStep)
	}
	return p
}

// row reports whether one more row is to be looked at; kept is to be raised when it is wanted.
func (p *pager) row() bool {
	p.found++
	p.more = p.more || p.kept == p.limit
	return p.kept < p.limit
}

// end reports, after a step, whether the page is complete, and whether there may be something behind it.
func (p *pager) end() (done, more bool) {
	full := p.found == p.step
	p.read += p.found
	p.found = 0
	switch {
	case p.kept == p.limit:
		return true, p.more || full
	case !full:
		return true, false
	}
	return p.read >= listBudget, true
}

// scheduleIDs finds ids below one that match, newest first.
func (s *Store) scheduleIDs(ctx context.Context, f schedule.Filter, below int64) (ids []int64, next string, err error) {
	p := newPager(f.Limit, f.Paused != nil)
	for done, more := false, false; !done; {
		x := newText(4).s("SELECT id,pause FROM schedules WHERE id<").n(below)
		var args []any
		if f.AppID != 0 {
			x.s(" AND app_id=").n(int64(f.AppID))
		}
		if f.Name != "" {
			x.s(" AND name=?")
			args = append(args, f.Name)
		}
		if err := s.readEach(ctx, x.s(" ORDER BY id DESC LIMIT ").n(int64(p.step)).String(), func(rows *sql.Rows) error {
			var id int64
			var pause schedule.PauseReason
			if err := rows.Scan(&id, &pause); err != nil || !p.row() {
				return err
			}
			if below = id; f.Paused == nil || *f.Paused == (pause != schedule.NotPaused) {
				ids = append(ids, id)
				p.kept++
			}
			return nil
		}, args...); err != nil {
			return nil, "", err
		}
		if done, more = p.end(); done && more {
			next = cursor{mode: schedulesByID, id: below}.encode()
		}
	}
	return ids, next, nil
}

// ListSlots lists slots of a schedule, newest slot first. With Outcome it reads a bounded number of them: a page may be
// shorter than the limit and have a cursor to go on. A range of skipped slots that begins before From and ends after it is
// the last of the list.
func (s *Store) ListSlots(ctx context.Context, f schedule.SlotFilter) (out []schedule.Slot, next string, err error) {
	at, resumed, err := decodeCursor(f.Cursor, slotsByTime)
	if err != nil {
		return nil, "", err
	}
	if !resumed {
		at.id, at.due = 0, math.MaxInt64
		if f.To > 0 {
			at.due = f.To
		}
	}
	p := newPager(f.Limit, f.Outcome != 0)
	for done, more := false, false; !done; {
		if err := s.readEach(ctx, slotsBehind(f, at, p.step), func(rows *sql.Rows) error {
			one, err := scanSlot(rows)
			if err != nil || !p.row() {
				return err
			}
			at.due, at.id = one.At, one.Origin
			if f.Outcome == 0 || one.Outcome == f.Outcome {
				out = append(out, one)
				p.kept++
			}
			return nil
		}); err != nil {
			return nil, "", err
		}
		if done, more = p.end(); done && more {
			return out, at.encode(), nil
		}
	}
	out, err = s.rangeInto(ctx, f, out)
	return out, "", err
}

// slotsBehind is the next slots behind a position.
func slotsBehind(f schedule.SlotFilter, at cursor, n int) string {
	x := newText(6).s("SELECT " + slotColumns + " FROM slots WHERE schedule_id=").n(f.ScheduleID).s(" AND slot_at<=").n(at.due)
	if at.due != math.MaxInt64 {
		x.s(" AND (slot_at<").n(at.due).s(" OR origin<").n(at.id).s(")")
	}
	if f.From > 0 {
		x.s(" AND slot_at>=").n(f.From)
	}
	return x.s(" ORDER BY slot_at DESC,origin DESC LIMIT ").n(int64(n)).String()
}

// rangeInto appends the range of skipped slots that reaches into the time asked for.
func (s *Store) rangeInto(ctx context.Context, f schedule.SlotFilter, out []schedule.Slot) ([]schedule.Slot, error) {
	if f.From <= 0 {
		return out, nil
	}
	query := newText(4).s("SELECT " + slotColumns + " FROM slots WHERE schedule_id=").n(f.ScheduleID).s(" AND origin=0 AND slot_at<").n(f.From).
		s(" ORDER BY slot_at DESC LIMIT 1").String()
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		one, err := scanSlot(rows)
		if err == nil && one.LastAt >= f.From && (f.Outcome == 0 || one.Outcome == f.Outcome) {
			out = append(out, one)
		}
		return err
	})
	return out, err
}
