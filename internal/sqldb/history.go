package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/task"
)

// historyPage is how many attempts one reading of a history gives at most.
const historyPage = 64

// History reads what a task's events are made of: its row, its names and its attempts from an epoch on, at most 64 of them;
// Body and Result are empty. More: there are further attempts. Missing when there is no such task or it is another app's.
func (s *Store) History(ctx context.Context, appID int32, id int64, from int32) (v task.View, more bool, err error) {
	if v.Task, err = s.State(ctx, appID, id); err != nil {
		return v, false, err
	}
	if v.Flags.Has(task.HasAttempts) {
		query := newText(4).s("SELECT task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail FROM attempts WHERE task_id=").n(id).
			s(" AND epoch>=").n(int64(from)).s(" ORDER BY epoch LIMIT ").n(historyPage + 1).String()
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			a, err := scanAttempt(rows)
			a.Log, a.Delivery = nil, nil
			v.Attempts = append(v.Attempts, a)
			return err
		}); err != nil {
			return v, false, err
		}
	}
	if more = len(v.Attempts) > historyPage; more {
		v.Attempts = v.Attempts[:historyPage]
	} else {
		addOwnAttempt(&v)
	}
	return v, more, s.fillNames(ctx, map[int64]*task.View{id: &v})
}

// Names gives what an app, lane and kind are called, from memory after their first use; empty for an id that is 0.
func (s *Store) Names(ctx context.Context, app, lane, kind int32) (appKey, queue, kindName string, err error) {
	if app != 0 {
		if appKey, err = s.appKey(ctx, app); err != nil {
			return "", "", "", err
		}
	}
	if lane != 0 {
		l, err := s.lane(ctx, lane)
		if err != nil {
			return "", "", "", err
		}
		queue = l.Queue
	}
	if kind != 0 {
		kindName, err = s.kindName(ctx, kind)
	}
	return appKey, queue, kindName, err
}
