package sqldb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// ending is a task that a transaction brought to a final state.
type ending struct {
	id              int64
	app, lane, kind int32
	state           task.State // Succeeded, Failed or Cancelled
	reason          task.Reason
	flags           task.Flags
	finishedAt      int64        // 0: now
	unique          *task.Unique // with HasUnique; nil: read from the body
	errCode         string       // of the last attempt, for the fingerprint
	errMessage      string
	httpStatus      int16
	epoch           int32        // with outcome and worker, for those who listen to events
	outcome         task.Outcome // of the attempt that ended with the task; none when it waited
	worker          int64
}

// terminate does everything that the end of tasks brings with it besides their rows, which the caller has just updated in
// the same transaction: it releases the unique keys that end with the task, files failed and cancelled tasks for the lists
// of those states, tells schedules that keep track of their runs, leaves a delivery behind for those that have a completion URL, and counts. It is the only place of such extras, so that no way into a final state can forget one; a
// task with flags = 0 that succeeded costs no statement.
func (s *Store) terminate(ctx context.Context, t tx, now int64, ends []ending) error {
	var set statSet
	if err := s.terminateInto(ctx, t, now, ends, &set); err != nil {
		return err
	}
	return s.addStats(ctx, t, now, s.statsWriter(), &set)
}

// terminateInto is terminate for callers that write the counters themselves, as their last statement.
func (s *Store) terminateInto(ctx context.Context, t tx, now int64, ends []ending, set *statSet) error {
	noteEnds(t, now, ends)
	filed := 0
	keyed, tracked, heard := false, false, false
	for i := range ends {
		e := &ends[i]
		row := set.of(e.app, e.lane, e.kind)
		switch e.state {
		case task.Succeeded:
			row.succeeded++
		case task.Failed:
			row.failed++
			filed++
		case task.Cancelled:
			row.cancelled++
			filed++
		}
		keyed = keyed || e.flags.Has(task.HasUnique)
		tracked = tracked || e.flags.Has(task.TracksSchedule)
		heard = heard || e.flags.Has(task.HasCompletion)
	}
	if filed > 0 {
		if err := s.fileEnds(ctx, t, now, ends); err != nil {
			return err
		}
	}
	if tracked {
		if err := s.endRuns(ctx, t, ends); err != nil {
			return err
		}
	}
	if heard {
		if err := s.announce(ctx, t, now, ends, set); err != nil {
			return err
		}
	}
	if keyed {
		return s.releaseEndedKeys(ctx, t, ends)
	}
	return nil
}

// fileEnds writes the rows that the lists of failed and cancelled tasks read.
func (s *Store) fileEnds(ctx context.Context, t tx, now int64, ends []ending) error {
	for len(ends) > 0 {
		part := ends[:min(len(ends), maxList)]
		ends = ends[len(part):]
		x := newText(3 * len(part)).s("INSERT INTO ends (app_id,state,id,finished_at,fingerprint) VALUES ")
		first := true
		for i := range part {
			e := &part[i]
			if e.state == task.Succeeded {
				continue
			}
			at := e.finishedAt
			if at == 0 {
				at = now
			}
			x.row(first, int64(e.app), int64(e.state), e.id, at)
			x.b = append(x.b[:len(x.b)-1], ',')
			print := e.fingerprint()
			x.hex(print[:]).s(")")
			first = false
		}
		if first {
			continue
		}
		if s.mysql {
			x.s(" ON DUPLICATE KEY UPDATE finished_at=VALUES(finished_at),fingerprint=VALUES(fingerprint)")
		} else {
			x.s(" ON CONFLICT (app_id,state,id) DO UPDATE SET finished_at=excluded.finished_at,fingerprint=excluded.fingerprint")
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

// fingerprint groups ends that look alike: kind, reason, status, error code and the error's text with its numbers and
// hexadecimal ids taken out.
func (e *ending) fingerprint() [8]byte {
	var out [8]byte
	if e.state != task.Failed {
		return out
	}
	h := fnv.New64a()
	head := make([]byte, 0, 128)
	head = binary.AppendVarint(head, int64(e.kind))
	head = binary.AppendVarint(head, int64(e.reason))
	head = binary.AppendVarint(head, int64(e.httpStatus))
	head = append(append(head, e.errCode...), 0)
	head = appendPattern(head, e.errMessage)
	_, _ = h.Write(head)
	binary.BigEndian.PutUint64(out[:], h.Sum64())
	return out
}

// appendPattern appends at most 200 bytes of a text in which every word that holds a digit is one '#'.
func appendPattern(b []byte, text string) []byte {
	start, digit := len(b), false
	word := start
	for i := 0; i < len(text) && len(b)-start < 200; i++ {
		c := text[i]
		inWord := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
		if !inWord {
			if digit {
				b = append(b[:word], '#')
			}
			b = append(b, c)
			word, digit = len(b), false
			continue
		}
		digit = digit || c >= '0' && c <= '9'
		b = append(b, c)
	}
	if digit {
		b = append(b[:word], '#')
	}
	return b
}

// releaseEndedKeys deletes the keys that are held until due, started or finished. Keys that another task took over (replace)
// and keys of a window or for ever stay.
func (s *Store) releaseEndedKeys(ctx context.Context, t tx, ends []ending) error {
	ids := make([]int64, 0, len(ends))
	keys := make([][32]byte, 0, len(ends))
	var unknown []int64
	for i := range ends {
		e := &ends[i]
		if !e.flags.Has(task.HasUnique) {
			continue
		}
		ids = append(ids, e.id)
		if e.unique != nil {
			keys = append(keys, e.unique.Key)
		} else {
			unknown = append(unknown, e.id)
		}
	}
	read, err := uniqueKeysOf(ctx, t, unknown)
	if err != nil {
		return err
	}
	return s.deleteKeys(ctx, t, append(keys, read...), ids, " AND scope IN (1,2,5)")
}

// uniqueKeysOf reads the unique keys of tasks from their bodies.
func uniqueKeysOf(ctx context.Context, t tx, ids []int64) ([][32]byte, error) {
	var keys [][32]byte
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("SELECT t.app_id,p.body FROM payloads p JOIN tasks t ON t.id=p.id WHERE p.id IN (").ids(part).s(")").String()
		if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
			var app int32
			var raw sql.RawBytes
			if err := rows.Scan(&app, &raw); err != nil {
				return err
			}
			if body, err := task.DecodeBody(raw); err == nil && body.Head.UniqueKey != "" {
				keys = append(keys, task.UniqueHash(app, body.Head.UniqueKey))
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// deleteKeys deletes the given unique keys as far as one of the tasks holds them and the condition allows.
func (s *Store) deleteKeys(ctx context.Context, t tx, keys [][32]byte, ids []int64, condition string) error {
	slices.SortFunc(keys, compareKeys)
	keys = slices.Compact(keys)
	holders := newText(len(ids)).s(" AND task_id IN (").ids(ids).s(")").s(condition).String()
	return s.dropKeys(ctx, t, listDelete{table: "unique_keys", column: "k", after: holders}, keys)
}

func compareKeys(a, b [32]byte) int { return slices.Compare(a[:], b[:]) }
