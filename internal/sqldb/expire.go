package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// expireAtOnce is the most expire bells of one transaction: at 100 tasks each they make a full list.
const expireAtOnce = maxList / task.MaxBellTasks

// expirePostponed is how long a bell waits that could not be executed, so that it is not in the way of the others.
const expirePostponed = 60_000

// expireAgain is for how long after its time an expire bell is kept while some of its tasks run or await their completion. Whoever puts one of them back to
// wait decides by a clock of its own, before its change: the task may not have expired yet by that, and have no other bell that
// ends it. So this is longer than clocks differ and than a change waits for its locks.
const expireAgain = 10_000

// Expire executes due expire bells of a shard, at most limit of them: tasks that still wait (or are blocked) at their
// expires_at fail without an attempt (protocol section 2, EXPIRE). A task that runs is not touched, and its bell is
// executed once more after expireAgain; one that was re-opened has no expiry any more. The start bells keep the ids; a claim drops them (I3).
//
// It executes due deadline bells too: attempts that were not completed in time have failed.
//
// A bell that the database refuses for another reason than not being there is put off for a minute, and the others go on.
func (s *Store) Expire(ctx context.Context, shard int, limit int) (ended int, more bool, err error) {
	limit = max(1, limit)
	query := newText(4).s("SELECT id FROM bells WHERE shard=").n(int64(shard)).s(" AND kind=1 AND due_at<=").n(s.now()).
		s(" ORDER BY due_at LIMIT ").n(int64(limit) + 1).String()
	due, err := s.ids(ctx, query)
	if err != nil {
		return 0, false, err
	}
	if more = len(due) > limit; more {
		due = due[:limit]
	}
	for len(due) > 0 {
		part := sortedIDs(due[:min(len(due), expireAtOnce)])
		due = due[min(len(due), expireAtOnce):]
		n, err := s.expirePart(ctx, part)
		if ended += n; err != nil {
			return ended, true, err
		}
	}
	n, late, err := s.passDeadlines(ctx, shard, limit)
	return ended + n, more || late, err
}

// expirePart executes a few expire bells in one transaction, or each in its own when that fails for good.
func (s *Store) expirePart(ctx context.Context, bells []int64) (ended int, err error) {
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) (err error) {
		ended, err = s.expireBells(ctx, t, bells)
		return err
	})
	switch {
	case err == nil:
		return ended, nil
	case ctx.Err() != nil || task.Transient(err):
		return 0, err
	case len(bells) == 1:
		return 0, s.postpone(ctx, bells[0], err)
	}
	ended = 0
	for i := range bells {
		n, err := s.expirePart(ctx, bells[i:i+1])
		if ended += n; err != nil {
			return ended, err
		}
	}
	return ended, nil
}

// postpone puts an expire or deadline bell off. Its tasks cannot be started meanwhile: the claim looks at their expiry itself, and
// wins none that awaits its completion.
func (s *Store) postpone(ctx context.Context, bell int64, why error) error {
	s.log.Error("tasks could not be ended in time, will try again in a minute", "bell", bell, "err", why)
	query := newText(2).s("UPDATE bells SET due_at=").n(s.now() + expirePostponed).s(" WHERE id=").n(bell).s(" AND kind IN (1,3)").String()
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query)
		return err
	})
}

// expireBells executes expire bells in a transaction: those that are there, and still due when the clock was set back.
func (s *Store) expireBells(ctx context.Context, t tx, bells []int64) (int, error) {
	now := s.now()
	x := newText(len(bells)).s("SELECT id,task_ids FROM bells").s(s.force()).s(" WHERE id IN (").ids(bells).s(") AND kind=1 AND due_at<=").n(now)
	var due, ids []int64
	lists := map[int64][]int64{}
	if err := forEach(ctx, t, s.locked(x, "id", len(bells)).String(), func(rows *sql.Rows) error {
		var id int64
		var list sql.RawBytes
		err := rows.Scan(&id, &list)
		lists[id] = appendParsed(nil, []byte(list))
		due, ids = append(due, id), append(ids, lists[id]...)
		return err
	}); err != nil {
		return 0, err
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	ends, err := s.expireTasks(ctx, t, now, ids)
	if err != nil {
		return 0, err
	}
	if len(ends) < len(ids) {
		if due, err = s.keepExpiring(ctx, t, now, due, ids, lists); err != nil {
			return 0, err
		}
	}
	if _, err := s.deleteIDs(ctx, t, listDelete{table: "bells", column: "id"}, due); err != nil {
		return 0, err
	}
	return len(ends), s.terminate(ctx, t, now, ends)
}

// keepExpiring puts those of the bells off that list a task which has expired just now and is not over, and gives the others. Such a
// task runs, or awaits its completion, or did when those that wait were locked.
func (s *Store) keepExpiring(ctx context.Context, t tx, now int64, bells, ids []int64, lists map[int64][]int64) (done []int64, err error) {
	open := map[int64]bool{}
	for part := range slices.Chunk(ids, maxList) {
		query := newText(len(part)).s("SELECT id FROM tasks").s(s.force()).s(" WHERE id IN (").ids(part).s(") AND state IN (1,2,3) AND expires_at>").
			n(now - expireAgain).String()
		if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			open[id] = true
			return err
		}); err != nil {
			return nil, err
		}
	}
	var kept []int64
	for _, bell := range bells {
		if slices.ContainsFunc(lists[bell], func(id int64) bool { return open[id] }) {
			kept = append(kept, bell)
		} else {
			done = append(done, bell)
		}
	}
	if len(kept) > 0 {
		err = t.add(ctx, newText(len(kept)).s("UPDATE bells").s(s.force()).s(" SET due_at=").n(now+expireAgain).s(" WHERE id IN (").ids(kept).s(")").String())
	}
	return done, err
}

// expireTasks fails those of the sorted ids that have not started in time and gives their endings, for terminate.
func (s *Store) expireTasks(ctx context.Context, t tx, now int64, ids []int64) ([]ending, error) {
	var ends []ending
	late := make([]int64, 0, len(ids))
	condition := newText(2).s(" AND state IN (1,2) AND expires_at>0 AND expires_at<=").n(now).s(" AND flags&").n(int64(task.Awaiting)).s("=0").String()
	if err := s.lockTasks(ctx, t, ids, condition, func(one *task.Task) {
		late = append(late, one.ID)
		ends = append(ends, ending{id: one.ID, app: one.AppID, lane: one.LaneID, kind: one.KindID, state: task.Failed,
			reason: task.Expired, flags: one.Flags, errCode: "expired", epoch: one.Epoch})
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
