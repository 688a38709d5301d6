package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/taskweir/taskweir/internal/task"
)

// NewWorker allocates a worker id that was never used and inserts its row, alive.
func (s *Store) NewWorker(ctx context.Context, info task.WorkerInfo) (int64, error) {
	encoded, err := json.Marshal(info)
	if err != nil {
		return 0, fmt.Errorf("encode worker info: %w", err)
	}
	id, err := s.workerID(ctx)
	if err != nil {
		return 0, err
	}
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		query := newText(4).s("INSERT INTO workers (id,state,beat_at,host,slots,info) VALUES (").n(id).s(",1,").n(s.now()).
			s(",?,").n(int64(info.Slots)).s(",?)").String()
		_, err := t.exec(ctx, query, cutString(info.Host, 255), string(encoded))
		return err
	}, func(ctx context.Context) (found bool, err error) {
		query := newText(1).s("SELECT id FROM workers WHERE id=").n(id).s(s.shared()).String()
		err = s.readEach(ctx, query, func(*sql.Rows) error { found = true; return nil })
		return found, err
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// cutString cuts s to at most n bytes of whole characters.
func cutString(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// Beat renews the row and gives its state (alive or draining). task.ErrFenced: it was declared gone.
func (s *Store) Beat(ctx context.Context, workerID int64, info task.WorkerInfo) (task.WorkerState, error) {
	encoded, err := json.Marshal(info)
	if err != nil {
		return 0, fmt.Errorf("encode worker info: %w", err)
	}
	var state task.WorkerState
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		query := newText(3).s("UPDATE workers SET beat_at=").n(s.now()).s(",slots=").n(int64(info.Slots)).
			s(",info=? WHERE id=").n(workerID).s(" AND state<>3").String()
		n, err := t.exec(ctx, query, string(encoded))
		if err != nil {
			return err
		}
		if n == 0 {
			return task.ErrFenced
		}
		return forEach(ctx, t, newText(1).s("SELECT state FROM workers WHERE id=").n(workerID).String(), func(rows *sql.Rows) error {
			return rows.Scan(&state)
		})
	})
	return state, err
}

// RetireWorker sets the row to gone: what it still holds is rescued by a scheduler.
func (s *Store) RetireWorker(ctx context.Context, workerID int64) error {
	query := newText(1).s("UPDATE workers SET state=3 WHERE id=").n(workerID).String()
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query)
		return err
	})
}

// goneShown is how long a gone worker is listed with all, and goneKept how long its row is kept, in ms.
const (
	goneShown = 3_600_000
	goneKept  = 86_400_000
)

// Workers lists workers that are not gone, and with all also the gone ones of the last hour, by id.
func (s *Store) Workers(ctx context.Context, all bool) ([]task.Worker, error) {
	x := newText(1).s("SELECT id,state,beat_at,info FROM workers WHERE state<>3")
	if all {
		x.s(" OR beat_at>").n(s.now() - goneShown)
	}
	var out []task.Worker
	err := s.readEach(ctx, x.s(" ORDER BY id").String(), func(rows *sql.Rows) error {
		var w task.Worker
		var info sql.RawBytes
		if err := rows.Scan(&w.ID, &w.State, &w.BeatAt, &info); err != nil {
			return err
		}
		if err := json.Unmarshal(info, &w.Info); err != nil {
			s.log.Warn("worker row with unreadable info", "worker", w.ID, "err", err)
		}
		out = append(out, w)
		return nil
	})
	return out, err
}

// DeclareGone sets a worker to gone if its beat is still the watched one.
func (s *Store) DeclareGone(ctx context.Context, workerID, watchedBeat int64) (declared bool, err error) {
	query := newText(2).s("UPDATE workers SET state=3 WHERE id=").n(workerID).s(" AND state<>3 AND beat_at=").n(watchedBeat).String()
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		n, err := t.exec(ctx, query)
		declared = n > 0
		return err
	})
	return declared && err == nil, err
}

// DeclareAllGone sets every worker to gone: only for a standalone that holds the data folder's lock.
func (s *Store) DeclareAllGone(ctx context.Context) (int, error) {
	ids, err := s.ids(ctx, "SELECT id FROM workers WHERE state<>3 ORDER BY id")
	total := 0
	for err == nil && len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("UPDATE workers").s(s.force()).s(" SET state=3 WHERE id IN (").ids(part).s(") AND state<>3").String()
		var n int64
		err = s.writeAgain(ctx, func(ctx context.Context, t tx) (err error) {
			n, err = t.exec(ctx, query)
			return err
		})
		if err == nil {
			total += int(n)
		}
	}
	return total, err
}

// ids reads one column of ids.
func (s *Store) ids(ctx context.Context, query string) (ids []int64, err error) {
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// OrphanClaims lists claims whose worker is gone or unknown.
func (s *Store) OrphanClaims(ctx context.Context, limit int) ([]int64, error) {
	return s.ids(ctx, newText(1).s("SELECT c.id FROM claims c LEFT JOIN workers w ON w.id=c.worker_id WHERE w.id IS NULL OR w.state=3 ORDER BY c.id LIMIT ").
		n(int64(limit)).String())
}

// ClaimsOf lists the claim rows of a worker.
func (s *Store) ClaimsOf(ctx context.Context, workerID int64) ([]task.Claim, error) {
	var out []task.Claim
	err := s.readEach(ctx, newText(1).s("SELECT id,worker_id,lane_id,claimed_at,task_ids FROM claims WHERE worker_id=").n(workerID).s(" ORDER BY id").String(),
		func(rows *sql.Rows) error {
			var c task.Claim
			var list sql.RawBytes
			err := rows.Scan(&c.ID, &c.WorkerID, &c.LaneID, &c.ClaimedAt, &list)
			c.TaskIDs = appendParsed(nil, []byte(list))
			out = append(out, c)
			return err
		})
	return out, err
}

// Held tells how tasks stand. Unknown ids are left out.
func (s *Store) Held(ctx context.Context, ids []int64) ([]task.Held, error) {
	out := make([]task.Held, 0, len(ids))
	for ids = sortedIDs(ids); len(ids) > 0; {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		if err := s.readEach(ctx, newText(len(part)).s("SELECT id,state,worker_id,epoch,cancel_at FROM tasks WHERE id IN (").ids(part).s(")").String(),
			func(rows *sql.Rows) error {
				var h task.Held
				err := rows.Scan(&h.ID, &h.State, &h.WorkerID, &h.Epoch, &h.CancelAt)
				out = append(out, h)
				return err
			}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// MarkZombie sets or clears the zombie flag of a running task of this worker and epoch; a task that went on is left as
// it is.
func (s *Store) MarkZombie(ctx context.Context, workerID, taskID int64, epoch int32, on bool) error {
	x := newText(4).s("UPDATE tasks").s(s.force()).s(" SET flags=")
	if on {
		x.s("flags|").n(int64(task.Zombie))
	} else {
		x.s("flags&").n(without(task.Zombie))
	}
	query := x.s(" WHERE id=").n(taskID).s(" AND state=3 AND epoch=").n(int64(epoch)).s(" AND worker_id=").n(workerID).String()
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query)
		return err
	})
}
