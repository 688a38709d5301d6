package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Bulk operations walk through the ids that were there when they were asked for, upwards and once, a bounded step at a time. A step
// is one transaction: it changes its tasks and moves the operation on, guarded by where it stood. So an operation that is cut off
// anywhere goes on where it was, each task is changed once, and two that work on it by mistake do no harm.

const bulkColumns = "id,app_id,action,state,dry_run,next_id,until_id,matched,changed,skipped,faults,created_at,finished_at,error,filter"

const insertBulkSQL = "INSERT INTO bulk_operations (" + bulkColumns + ") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"

// CreateBulk stores a bulk operation, running, for what is there now of its app. Throttled when most of the app's operations run.
// A known idempotency key with the same body gives the operation that it made, replayed; with another body it is a Conflict.
func (s *Store) CreateBulk(ctx context.Context, b task.Bulk, idem *task.Idempotency, most int) (got task.Bulk, replayed bool, err error) {
	filter, err := json.Marshal(b.Filter)
	if err != nil {
		return got, false, fmt.Errorf("encode filter: %w", err)
	}
	if b.ID, err = s.allocate(ctx, "bulk", 1); err != nil {
		return got, false, err
	}
	b.State, b.CreatedAt = task.BulkRunning, s.now()
	if err := s.bulkBounds(ctx, &b); err != nil {
		return got, false, err
	}
	u := &submit{s: s, now: b.CreatedAt}
	known := int64(0)
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) (err error) {
		if known = 0; idem != nil {
			req := &task.Request{AppID: b.AppID, Idem: &task.Idempotency{Key: idem.Key, Body: idem.Body}, Tasks: []*task.Submission{{ID: b.ID}}}
			if known, err = u.rememberSchedule(ctx, t, req); err != nil || known != 0 {
				return err
			}
		}
		active, err := scanInt(ctx, t, "SELECT COUNT(*) FROM bulk_operations WHERE state IN (1,2) AND app_id=?", b.AppID)
		if err == nil && active >= int64(most) {
			err = &task.Error{Kind: task.Throttled, Code: "too_many_bulk_operations", RetryAfter: 10 * time.Second,
				Message: fmt.Sprintf("%d bulk operations of this app are running: wait for one of them, or stop it", active)}
		}
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, insertBulkSQL, b.ID, b.AppID, b.Action, b.State, b.DryRun, b.NextID, b.UntilID, 0, 0, 0, 0, b.CreatedAt, 0, "", filter); err != nil {
			return err
		}
		if e := task.AuditOf(ctx); e != nil {
			e.Target = fmt.Sprint(b.ID)
		}
		return s.noteOn(ctx, t, b.AppID)
	}, s.found("SELECT 1 FROM bulk_operations WHERE id=?", b.ID))
	if err == nil && known != 0 {
		got, err = s.BulkByID(ctx, b.AppID, known)
		return got, true, err
	}
	if err != nil {
		return got, false, err
	}
	got, err = s.BulkByID(ctx, b.AppID, b.ID)
	return got, false, err
}

// bulkBounds sets the ids that an operation looks at: nothing that comes later.
func (s *Store) bulkBounds(ctx context.Context, b *task.Bulk) error {
	first, last, err := s.TaskIDRange(ctx)
	if err != nil {
		return err
	}
	b.NextID, b.UntilID = first, last
	l, at := &list{s: s, f: task.Filter{From: b.Filter.From, To: b.Filter.To}}, cursor{id: math.MaxInt64}
	if err := l.timeBounds(ctx, &at); err != nil {
		return err
	}
	b.NextID, b.UntilID = max(first, l.lowest), min(last, at.id)
	if n := len(b.Filter.IDs); n > 0 {
		b.NextID, b.UntilID = max(b.NextID, b.Filter.IDs[0]), min(b.UntilID, b.Filter.IDs[n-1])
	}
	return nil
}

// BulkByID gives an operation. Missing when there is none or it is another app's; appID 0 sees every app.
func (s *Store) BulkByID(ctx context.Context, appID int32, id int64) (task.Bulk, error) {
	ops, err := s.bulks(ctx, newText(1).s("id=").n(id).String())
	if err != nil {
		return task.Bulk{}, err
	}
	if len(ops) == 0 || appID != 0 && ops[0].AppID != appID {
		return task.Bulk{}, task.Missing("bulk")
	}
	return ops[0], nil
}

// Bulks gives a page of an app's operations, newest first; appID 0 sees every app's.
func (s *Store) Bulks(ctx context.Context, appID int32, from string, limit int) (page task.BulkPage, err error) {
	at, resumed, err := decodeCursor(from, bulkByID)
	if err != nil {
		return page, err
	}
	if !resumed {
		at.id = math.MaxInt64
	}
	x := newText(4).s("id<").n(at.id)
	if appID != 0 {
		x.s(" AND app_id=").n(int64(appID))
	}
	if page.Items, err = s.bulks(ctx, x.s(" ORDER BY id DESC LIMIT ").n(int64(limit)+1).String()); err != nil {
		return page, err
	}
	if len(page.Items) > limit {
		page.Items = page.Items[:limit]
		page.Next = cursor{mode: bulkByID, id: page.Items[limit-1].ID}.encode()
	}
	return page, nil
}

func (s *Store) bulks(ctx context.Context, where string) (out []task.Bulk, err error) {
	err = s.readEach(ctx, "SELECT "+bulkColumns+" FROM bulk_operations WHERE "+where, func(rows *sql.Rows) error {
		var b task.Bulk
		var filter []byte
		if err := rows.Scan(&b.ID, &b.AppID, &b.Action, &b.State, &b.DryRun, &b.NextID, &b.UntilID, &b.Matched, &b.Changed, &b.Skipped, &b.Faults,
			&b.CreatedAt, &b.FinishedAt, &b.Error, &filter); err != nil {
			return err
		}
		if err := json.Unmarshal(filter, &b.Filter); err != nil {
			return fmt.Errorf("filter of bulk operation %d: %w", b.ID, err)
		}
		out = append(out, b)
		return nil
	})
	for i := range out {
		if err != nil {
			return nil, err
		}
		out[i].App, err = s.keyOfApp(ctx, out[i].AppID)
	}
	return out, err
}

// StopBulk asks an operation to end: what it has done stays done. One that is over stays as it is. Missing when there is none.
func (s *Store) StopBulk(ctx context.Context, appID int32, id int64) (task.Bulk, error) {
	if _, err := s.BulkByID(ctx, appID, id); err != nil {
		return task.Bulk{}, err
	}
	err := s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, "UPDATE bulk_operations SET state=2 WHERE id=? AND state=1", id)
		if err != nil || n == 0 {
			return err
		}
		return s.note(ctx, t)
	})
	if err != nil {
		return task.Bulk{}, err
	}
	return s.BulkByID(ctx, appID, id)
}

// ActiveBulks lists operations that are not over, oldest first, at most 100.
func (s *Store) ActiveBulks(ctx context.Context) ([]int64, error) {
	return s.ids(ctx, "SELECT id FROM bulk_operations WHERE state IN (1,2) ORDER BY id LIMIT 100")
}

// PurgeBulks forgets operations that ended before an instant, at most limit, and gives how many.
func (s *Store) PurgeBulks(ctx context.Context, before int64, limit int) (int, error) {
	return s.purgeByTime(ctx, "bulk_operations", "finished", "finished_at>0 AND finished_at<", before, limit)
}
