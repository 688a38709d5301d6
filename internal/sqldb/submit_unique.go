package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// uniqueRow is a row of unique_keys.
type uniqueRow struct {
	taskID, expiresAt int64
	scope             task.UniqueScope
}

// unique takes the keys of submissions, all different. Those that lose theirs get Err or Kept.
func (u *submit) unique(ctx context.Context, t tx, subs []*task.Submission, set *statSet) error {
	var keyed []*task.Submission
	for _, sub := range subs {
		if sub.Unique != nil {
			keyed = append(keyed, sub)
		}
	}
	if len(keyed) == 0 {
		return nil
	}
	slices.SortFunc(keyed, func(a, b *task.Submission) int { return compareKeys(a.Unique.Key, b.Unique.Key) })
	ask, err := u.takeUnique(ctx, t, keyed)
	if err != nil || len(ask) == 0 {
		return err
	}
	rows, err := readUnique(ctx, t, ask)
	if err != nil {
		return err
	}
	for _, sub := range ask {
		row := rows[sub.Unique.Key]
		if row.taskID == sub.ID || u.looks(sub) && (row.taskID == 0 || row.over(u.now)) {
			continue
		}
		if err := u.contest(ctx, t, sub, row, set); err != nil {
			return err
		}
	}
	return nil
}

// takeUnique inserts the keys that are to be held and gives the submissions whose keys have to be read: those that only
// look, and all of them when a key was there.
func (u *submit) takeUnique(ctx context.Context, t tx, keyed []*task.Submission) (ask []*task.Submission, err error) {
	hold := make([]*task.Submission, 0, len(keyed))
	for _, sub := range keyed {
		if u.looks(sub) {
			ask = append(ask, sub)
		} else {
			hold = append(hold, sub)
		}
	}
	if len(hold) == 0 {
		return ask, nil
	}
	inserted, err := u.insertUnique(ctx, t, hold)
	if inserted < int64(len(hold)) {
		ask = keyed
	}
	return ask, err
}

// looks reports whether a submission is refused by a held key but holds none: it is due, and its key is held until due.
// A holder that commits later comes after this one. What replaces a holder must take the key from it, if only for a moment.
func (u *submit) looks(sub *task.Submission) bool {
	return sub.Unique.Scope == task.ScopeUntilDue && u.due(sub) <= u.now && sub.Unique.OnConflict != task.OnConflictReplace
}

// over reports whether a key's time is up.
func (r *uniqueRow) over(now int64) bool { return r.expiresAt != 0 && r.expiresAt <= now }

// until is when a submission's key ends by time; 0: not by time.
func (u *submit) until(sub *task.Submission) int64 {
	switch sub.Unique.Scope {
	case task.ScopeWindow:
		return u.now + sub.Unique.WindowMs
	case task.ScopeUntilDue:
		return u.due(sub)
	}
	return 0
}

func (u *submit) insertUnique(ctx context.Context, t tx, keyed []*task.Submission) (int64, error) {
	x := newText(6 * len(keyed)).s(u.s.insertIgnore()).s(" INTO unique_keys (k,task_id,scope,expires_at) VALUES ")
	for i, sub := range keyed {
		if i > 0 {
			x.s(",")
		}
		x.s("(").hex(sub.Unique.Key[:]).s(",").n(sub.ID).s(",").n(int64(sub.Unique.Scope)).s(",").n(u.until(sub)).s(")")
	}
	return t.exec(ctx, x.String())
}

func readUnique(ctx context.Context, t tx, keyed []*task.Submission) (map[[32]byte]uniqueRow, error) {
	keys := make([][32]byte, len(keyed))
	for i, sub := range keyed {
		keys[i] = sub.Unique.Key
	}
	out := make(map[[32]byte]uniqueRow, len(keys))
	query := newText(4 * len(keys)).s("SELECT k,task_id,scope,expires_at FROM unique_keys WHERE k IN (").keys(keys).s(")").String()
	err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var k sql.RawBytes
		var row uniqueRow
		if err := rows.Scan(&k, &row.taskID, &row.scope, &row.expiresAt); err != nil {
			return err
		}
		if len(k) != 32 {
			return fmt.Errorf("unique_keys: a key of %d bytes", len(k))
		}
		out[[32]byte(k)] = row
		return nil
	})
	return out, err
}

// contest settles a taken key.
func (u *submit) contest(ctx context.Context, t tx, sub *task.Submission, row uniqueRow, set *statSet) error {
	if row.over(u.now) {
		return u.s.takeKey(ctx, t, sub.Unique, row.taskID, sub.ID, u.until(sub))
	}
	switch sub.Unique.OnConflict {
	case task.OnConflictKeep:
		sub.Kept, sub.TaskID = true, row.taskID
		return nil
	case task.OnConflictReplace:
		return u.replace(ctx, t, sub, row, set)
	}
	sub.Err = keyTaken(row.taskID)
	return nil
}

func keyTaken(holder int64) *task.Error {
	return &task.Error{Kind: task.Conflict, Code: "unique_key_taken", TaskID: holder,
		Message: "another task has this unique key"}
}

// takeKey moves a key from one task to another, who holds it until then (0: not by time).
func (s *Store) takeKey(ctx context.Context, t tx, k *task.Unique, from, to, until int64) error {
	query := newText(8).s("UPDATE unique_keys SET task_id=").n(to).s(",scope=").n(int64(k.Scope)).s(",expires_at=").n(until).
		s(" WHERE k=").hex(k.Key[:]).s(" AND task_id+0=").n(from).String()
	n, err := t.exec(ctx, query)
	if err == nil && n != 1 {
		err = fmt.Errorf("unique key of task %d was not there to be taken", from)
	}
	return err
}

// replace takes the key first and then ends the task that had it, if that one waits. terminate deletes only keys that are
// the task's own, so the order lets the new one keep it. What runs or is over is not replaced: the key goes back.
func (u *submit) replace(ctx context.Context, t tx, sub *task.Submission, row uniqueRow, set *statSet) error {
	if err := u.s.takeKey(ctx, t, sub.Unique, row.taskID, sub.ID, u.until(sub)); err != nil {
		return err
	}
	old, err := u.s.lockTask(ctx, t, row.taskID)
	if err != nil {
		return err
	}
	if old.ID == 0 { // purged: nothing is left to replace
		return nil
	}
	if old.State != task.Waiting && old.State != task.Blocked || old.Awaits() {
		sub.Err = keyTaken(row.taskID)
		return u.giveBack(ctx, t, sub, row)
	}
	return u.s.endWaiting(ctx, t, &old, task.Replaced, u.now, set)
}

func (u *submit) giveBack(ctx context.Context, t tx, sub *task.Submission, row uniqueRow) error {
	query := newText(8).s("UPDATE unique_keys SET task_id=").n(row.taskID).s(",scope=").n(int64(row.scope)).s(",expires_at=").n(row.expiresAt).
		s(" WHERE k=").hex(sub.Unique.Key[:]).s(" AND task_id+0=").n(sub.ID).String()
	_, err := t.exec(ctx, query)
	return err
}
