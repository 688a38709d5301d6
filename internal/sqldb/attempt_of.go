package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/task"
)

// TaskOfAttempt gives the task that an attempt belongs to: one that runs, or one that has a row of its own, which is every
// one but a plain first success. Missing when there is none such or the task is another app's (appID 0: any).
//
// A running attempt has no index entry. Its claim is found instead: a claim takes consecutive ids from the sequence that
// bells and claims share, and its own is the first of them, so that it is the last claim not above the attempt's id.
func (s *Store) TaskOfAttempt(ctx context.Context, appID int32, attemptID int64) (int64, error) {
	var held []byte
	err := s.readEach(ctx, newText(2).s("SELECT task_ids FROM claims WHERE id<=").n(attemptID).s(" ORDER BY id DESC LIMIT 1").String(), func(rows *sql.Rows) error {
		return rows.Scan(&held)
	})
	if err != nil {
		return 0, err
	}
	var found int64
	one := func(rows *sql.Rows) error { return rows.Scan(&found) }
	if ids := sortedIDs(parseIDs(string(held))); len(ids) > 0 {
		q := newText(len(ids) + 2).s("SELECT id FROM tasks WHERE id IN (").ids(ids).s(") AND state=").n(int64(task.Running)).s(" AND attempt_id=").n(attemptID)
		if err := s.readEach(ctx, q.String(), one); err != nil {
			return 0, err
		}
	}
	if found == 0 {
		if err := s.readEach(ctx, newText(2).s("SELECT task_id FROM attempts WHERE id=").n(attemptID).String(), one); err != nil {
			return 0, err
		}
	}
	if found == 0 {
		return 0, task.Missing("attempt")
	}
	if _, err := s.State(ctx, appID, found); task.KindOf(err) == task.NotFound && err != nil {
		return 0, task.Missing("attempt")
	} else if err != nil {
		return 0, err
	}
	return found, nil
}
