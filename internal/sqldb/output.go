package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/task"
)

// Output gives what is kept of the output of an attempt that has ended (0: the newest that has any), with where it begins. The
// attempt's id is 0 when there is none. Missing when the task is, or has no such attempt.
func (s *Store) Output(ctx context.Context, appID int32, id, attemptID int64) (out task.Attempt, err error) {
	row, err := s.State(ctx, appID, id)
	if err != nil {
		return out, err
	}
	x := newText(4).s("SELECT task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail FROM attempts WHERE task_id=").n(id)
	if attemptID != 0 {
		x.s(" AND id=").n(attemptID)
	}
	err = s.readEach(ctx, x.s(" ORDER BY epoch DESC").String(), func(rows *sql.Rows) error {
		if out.ID != 0 {
			return nil
		}
		a, err := scanAttempt(rows)
		if attemptID != 0 || len(a.Log) > 0 {
			out = a
		}
		return err
	})
	if err == nil && out.ID == 0 && attemptID != 0 && row.AttemptID != attemptID { // a running attempt and a plain first success have no row
		return out, task.Missing("attempt")
	}
	return out, err
}
