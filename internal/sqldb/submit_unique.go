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
	inserted, err := u.insertUnique(ctx, t, keyed)
	if err != nil || inserted == int64(len(keyed)) {
		return err
	}
	rows, err := readUnique(ctx, t, keyed)
	if err != nil {
		return err
	}
	for _, sub := range keyed {
		row := rows[sub.Unique.Key]
		if row.taskID == sub.ID {
			continue
		}
		if err := u.contest(ctx, t, sub, row, set); err != nil {
			return err
		}
	}
	return nil
}

// until is when a key ends by time; 0: not by time.
func until(k *task.Unique, now int64) int64 {
	if k.Scope == task.ScopeWindow {
		return now + k.WindowMs
	}
	return 0
}

func (u *submit) insertUnique(ctx context.Context, t tx, keyed []*task.Submission) (int64, error) {
	x := newText(6 * len(keyed)).s(u.s.insertIgnore()).s(" INTO unique_keys (k,task_id,scope,expires_at) VALUES ")
	for i, sub := range keyed {
		if i > 0 {
			x.s(",")
		}
		x.s("(").hex(sub.Unique.Key[:]).s(",").n(sub.ID).s(",").n(int64(sub.Unique.Scope)).s(",").n(until(sub.Unique, u.now)).s(")")
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
	if row.expiresAt != 0 && row.expiresAt <= u.now {
		return u.s.takeKey(ctx, t, sub.Unique, row.taskID, sub.ID, u.now)
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

// takeKey moves a key from one task to another.
func (s *Store) takeKey(ctx context.Context, t tx, k *task.Unique, from, to, now int64) error {
	query := newText(8).s("UPDATE unique_keys SET task_id=").n(to).s(",scope=").n(int64(k.Scope)).s(",expires_at=").n(until(k, now)).
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
	if err := u.s.takeKey(ctx, t, sub.Unique, row.taskID, sub.ID, u.now); err != nil {
		return err
	}
	old, err := u.s.lockTask(ctx, t, row.taskID)
	if err != nil {
		return err
	}
	if old.ID == 0 { // purged: nothing is left to replace
		return nil
	}
	if old.State != task.Waiting && old.State != task.Blocked {
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
