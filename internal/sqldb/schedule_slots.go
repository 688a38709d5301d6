package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/schedule"
)

// keyedTable is a table whose rows are named by the numbers of their primary key.
type keyedTable struct {
	name    string
	columns [3]string
}

var (
	slotRows = keyedTable{"slots", [3]string{"schedule_id", "origin", "slot_at"}}
	heldRows = keyedTable{"held_slots", [3]string{"schedule_id", "slot_at", "origin"}}
)

// dropRows deletes rows by their keys. On MySQL the list is joined first, for the reason that listDelete gives.
func (s *Store) dropRows(ctx context.Context, t tx, of keyedTable, keys [][]int64) error {
	for len(keys) > 0 {
		part := keys[:min(len(keys), maxList)]
		keys = keys[len(part):]
		x := newText(4 * len(part))
		switch {
		case len(part) == 1:
			x.s("DELETE FROM ").s(of.name).s(" WHERE ")
			for i, c := range of.columns {
				if i > 0 {
					x.s(" AND ")
				}
				x.s(c).s("=").n(part[0][i])
			}
		case s.mysql:
			for i, key := range part {
				if i == 0 {
					x.s("DELETE d FROM (SELECT ").n(key[0]).s(" AS a,").n(key[1]).s(" AS b,").n(key[2]).s(" AS c")
					continue
				}
				x.s(" UNION ALL SELECT ").ids(key)
			}
			x.s(") l STRAIGHT_JOIN ").s(of.name).s(" d FORCE INDEX (PRIMARY) ON d.").s(of.columns[0]).s("=l.a AND d.").s(of.columns[1]).
				s("=l.b AND d.").s(of.columns[2]).s("=l.c")
		default:
			x.s("DELETE FROM ").s(of.name).s(" WHERE (").s(strings.Join(of.columns[:], ",")).s(") IN (VALUES ")
			for i, key := range part {
				x.row(i == 0, key...)
			}
			x.s(")")
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

const slotColumns = "schedule_id,origin,slot_at,last_at,n,task_id,outcome,fired_at,detail"

func scanSlot(rows *sql.Rows) (out schedule.Slot, err error) {
	err = rows.Scan(&out.ScheduleID, &out.Origin, &out.At, &out.LastAt, &out.Count, &out.TaskID, &out.Outcome, &out.FiredAt, &out.Detail)
	return out, err
}

// slotsSQL is the rows of slots, after "INSERT INTO" or what stands for it.
func (s *Store) slotsSQL(verb string, slots []schedule.Slot) *text {
	x := newText(9 * len(slots)).s(verb).s(" INTO slots (" + slotColumns + ") VALUES ")
	for i := range slots {
		r := &slots[i]
		x.row(i == 0, r.ScheduleID, r.Origin, r.At, r.LastAt, r.Count, r.TaskID, int64(r.Outcome), r.FiredAt)
		x.b = append(x.b[:len(x.b)-1], ',')
		s.literal(x, r.Detail).s(")")
	}
	return x
}

// literal appends a short text as a literal.
func (s *Store) literal(x *text, v string) *text {
	v = strings.ToValidUTF8(v, "?")
	switch {
	case v == "":
		return x.s("''")
	case s.mysql:
		return s.blob(x, []byte(v))
	}
	return x.s("CAST(").hex([]byte(v)).s(" AS TEXT)")
}

// putSlots makes the rows of slots what they are now.
func (s *Store) putSlots(ctx context.Context, t tx, slots []schedule.Slot) error {
	for len(slots) > 0 {
		part := slots[:min(len(slots), maxList)]
		slots = slots[len(part):]
		x := s.slotsSQL("INSERT", part)
		if s.mysql {
			x.s(" ON DUPLICATE KEY UPDATE task_id=VALUES(task_id),outcome=VALUES(outcome),fired_at=VALUES(fired_at),detail=VALUES(detail)")
		} else {
			x.s(" ON CONFLICT (schedule_id,origin,slot_at) DO UPDATE SET task_id=excluded.task_id,outcome=excluded.outcome," +
				"fired_at=excluded.fired_at,detail=excluded.detail")
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

// insertSlots inserts the rows of all shots, those that would start as fired with their task. What is there already is left
// as it is: its shot is Known.
func (f *firing) insertSlots(ctx context.Context, t tx) error {
	var shots []*schedule.Shot
	var slots []schedule.Slot
	for _, one := range f.won {
		for i := range one.Shots {
			shot := &one.Shots[i]
			shots = append(shots, shot)
			row := shot.Slot
			if row.Outcome == schedule.Fired {
				row.TaskID = shot.Sub.ID
			}
			slots = append(slots, row)
		}
	}
	short := false
	for from := 0; from < len(slots); from += maxList {
		part := slots[from:min(from+maxList, len(slots))]
		inserted, err := t.exec(ctx, f.s.slotsSQL(f.s.insertIgnore(), part).String())
		if err != nil {
			return err
		}
		short = short || int(inserted) != len(part)
	}
	if !short {
		return nil
	}
	return f.markKnown(ctx, t, shots, slots)
}

// slotKey names a slot.
type slotKey struct{ id, origin, at int64 }

func keyOf(s *schedule.Slot) slotKey { return slotKey{s.ScheduleID, s.Origin, s.At} }

// markKnown finds the shots whose rows are somebody else's. slots is what was sent for them.
func (f *firing) markKnown(ctx context.Context, t tx, shots []*schedule.Shot, slots []schedule.Slot) error {
	there := make(map[slotKey]schedule.Slot, len(slots))
	for from := 0; from < len(slots); from += maxList {
		query := slotsQuery(slots[from:min(from+maxList, len(slots))])
		if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
			row, err := scanSlot(rows)
			there[keyOf(&row)] = row
			return err
		}); err != nil {
			return err
		}
	}
	for i, shot := range shots {
		row := there[keyOf(&slots[i])]
		if row.TaskID == slots[i].TaskID && row.Outcome == slots[i].Outcome {
			continue
		}
		shot.Known, shot.Slot = true, row
	}
	return nil
}

// slotsQuery reads the rows of slots.
func slotsQuery(slots []schedule.Slot) string {
	x := newText(2 * len(slots)).s("SELECT " + slotColumns + " FROM slots WHERE ")
	for i := range slots {
		r := &slots[i]
		switch {
		case i > 0 && slots[i-1].ScheduleID == r.ScheduleID && slots[i-1].Origin == r.Origin:
			x.s(",").n(r.At)
			continue
		case i > 0:
			x.s(")) OR ")
		}
		x.s("(schedule_id=").n(r.ScheduleID).s(" AND origin=").n(r.Origin).s(" AND slot_at IN (").n(r.At)
	}
	return x.s("))").String()
}

// correct writes what became of slots whose rows were inserted as fired, and the slots that wait. A manual trigger that was
// refused leaves no row: it changed nothing.
func (f *firing) correct(ctx context.Context, t tx) error {
	var rows []schedule.Slot
	var refused, held [][]int64
	for _, shot := range f.changed {
		switch {
		case refusedTrigger(shot):
			refused = append(refused, []int64{shot.ScheduleID, shot.Origin, shot.At})
			continue
		case shot.Outcome == schedule.Held:
			held = append(held, []int64{shot.ScheduleID, shot.At, shot.Origin})
		}
		rows = append(rows, shot.Slot)
	}
	slices.SortFunc(rows, func(a, b schedule.Slot) int { return compareSlots(&a, &b) })
	if err := f.s.putSlots(ctx, t, rows); err != nil {
		return err
	}
	if err := f.s.insertHeld(ctx, t, held); err != nil {
		return err
	}
	return f.s.dropRows(ctx, t, slotRows, refused)
}

func compareSlots(a, b *schedule.Slot) int {
	switch {
	case a.ScheduleID != b.ScheduleID:
		return cmpInt(a.ScheduleID, b.ScheduleID)
	case a.Origin != b.Origin:
		return cmpInt(a.Origin, b.Origin)
	}
	return cmpInt(a.At, b.At)
}

// refusedTrigger reports whether a shot is a manual trigger that its overlap policy refused.
func refusedTrigger(shot *schedule.Shot) bool {
	return shot.Origin == schedule.Manual && shot.Outcome == schedule.SkippedOverlap && shot.TaskID == 0
}

func (s *Store) insertHeld(ctx context.Context, t tx, held [][]int64) error {
	for len(held) > 0 {
		part := held[:min(len(held), maxList)]
		held = held[len(part):]
		x := newText(3 * len(part)).s(s.insertIgnore()).s(" INTO held_slots (schedule_id,slot_at,origin) VALUES ")
		for i, key := range part {
			x.row(i == 0, key...)
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

// maxDetail is the size of slots.detail.
const maxDetail = 255

// cutDetail cuts a text to what its column holds, not within a character.
func cutDetail(v string) string {
	if len(v) <= maxDetail {
		return v
	}
	n := maxDetail
	for n > 0 && v[n]&0xC0 == 0x80 {
		n--
	}
	return v[:n]
}
