package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// expireBells is the most expire bells of one transaction: at 100 tasks each they make a full list.
const expireBells = maxList / task.MaxBellTasks

// Expire executes due expire bells of a shard, at most limit of them: tasks that still wait (or are blocked) at their
// expires_at fail without an attempt (protocol section 2, EXPIRE). A task that runs is not touched, and one that was
// re-opened has no expiry any more. The start bells keep the ids; a claim drops them (I3).
func (s *Store) Expire(ctx context.Context, shard int, limit int) (ended int, more bool, err error) {
	limit = max(1, limit)
	now := s.now()
	var due []int64
	query := newText(4).s("SELECT id FROM bells WHERE shard=").n(int64(shard)).s(" AND kind=1 AND due_at<=").n(now).
		s(" ORDER BY due_at LIMIT ").n(int64(limit) + 1).String()
	if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		due = append(due, id)
		return err
	}); err != nil {
		return 0, false, err
	}
	if more = len(due) > limit; more {
		due = due[:limit]
	}
	for len(due) > 0 {
		part := sortedIDs(due[:min(len(due), expireBells)])
		due = due[min(len(due), expireBells):]
		n := 0
		if err := s.writeAgain(ctx, func(ctx context.Context, t tx) (err error) {
			n, err = s.expirePart(ctx, t, part)
			return err
		}); err != nil {
			return ended, true, err
		}
		ended += n
	}
	return ended, more, nil
}

// expirePart executes a few expire bells in one transaction.
func (s *Store) expirePart(ctx context.Context, t tx, bells []int64) (int, error) {
	x := newText(len(bells)).s("SELECT task_ids FROM bells").s(s.force()).s(" WHERE id IN (").ids(bells).s(") AND kind=1")
	var ids []int64
	if err := forEach(ctx, t, s.locked(x, "id", len(bells)).String(), func(rows *sql.Rows) error {
		var list sql.RawBytes
		err := rows.Scan(&list)
		ids = appendParsed(ids, []byte(list))
		return err
	}); err != nil {
		return 0, err
	}
	now := s.now()
	slices.Sort(ids)
	ends, err := s.expireTasks(ctx, t, now, slices.Compact(ids))
	if err != nil {
		return 0, err
	}
	if _, err := s.deleteIDs(ctx, t, listDelete{table: "bells", column: "id"}, bells); err != nil {
		return 0, err
	}
	return len(ends), s.terminate(ctx, t, now, ends)
}

// expireTasks fails those of the sorted ids that have not started in time and gives their endings, for terminate.
func (s *Store) expireTasks(ctx context.Context, t tx, now int64, ids []int64) ([]ending, error) {
	var ends []ending
	late := make([]int64, 0, len(ids))
	condition := newText(1).s(" AND state IN (1,2) AND expires_at>0 AND expires_at<=").n(now).String()
	if err := s.lockTasks(ctx, t, ids, condition, func(one *task.Task) {
		late = append(late, one.ID)
		ends = append(ends, ending{id: one.ID, app: one.AppID, lane: one.LaneID, kind: one.KindID, state: task.Failed,
			reason: task.Expired, flags: one.Flags, errCode: "expired"})
	}); err != nil {
		return nil, err
	}
	for len(late) > 0 {
		part := late[:min(len(late), maxList)]
		late = late[len(part):]
		query := newText(len(part)).s("UPDATE tasks").s(s.force()).s(" SET state=5,reason=").n(int64(task.Expired)).s(",finished_at=").n(now).
			s(",holder=0 WHERE id IN (").ids(part).s(") AND state IN (1,2) AND expires_at<=").n(now).String()
		matched, err := t.exec(ctx, query)
		if err != nil {
			return nil, err
		}
		if int(matched) != len(part) {
			return nil, errShort
		}
	}
	return ends, nil
}
