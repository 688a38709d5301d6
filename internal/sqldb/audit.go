package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/task"
)

// auditSQL finds, in one statement and so in one snapshot, waiting tasks without their bell and running tasks without
// their claim. Bells and claims draw ids from one sequence, so a holder names one row.
const auditSQL = "SELECT t.id FROM tasks t LEFT JOIN bells b ON b.id=t.holder AND t.state=2 LEFT JOIN claims c ON c.id=t.holder AND t.state=3" +
	" WHERE t.id BETWEEN ? AND ? AND ((t.state=2 AND b.id IS NULL) OR (t.state=3 AND c.id IS NULL)) ORDER BY t.id LIMIT 500"

// Audit looks for tasks in [from, to] that no bell and no claim will ever bring on, and mends them: a waiting one gets a
// new bell, a running one is released as lost. What the one statement finds is looked at again under lock. It should
// never find anything: each find is a bug or a damaged database, is logged, and is why this walk exists. At most 500 are
// mended per call.
func (s *Store) Audit(ctx context.Context, from, to int64) (mended int, bells []task.Bell, err error) {
	var suspects []int64
	if err := s.readEach(ctx, auditSQL, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		suspects = append(suspects, id)
		return err
	}, from, to); err != nil || len(suspects) == 0 {
		return 0, nil, err
	}
	r := releasing{s: s, cause: task.CauseLost}
	if err := r.prepare(ctx, 2*len(suspects)); err != nil {
		return 0, nil, err
	}
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		r.reset()
		mended, bells, err = s.mend(ctx, t, &r, suspects)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	if mended > 0 {
		s.log.Error("audit mended tasks without bell or claim", "tasks", mended, "from", from, "to", to)
	}
	s.metrics.Lost(len(r.rows))
	return mended, bells, nil
}

// mend looks at the suspects again, under lock. While a task's row is locked its holder cannot change, and bell and claim
// are written and deleted in the same transaction as the holder, so a holder that is not visible now does not exist.
func (s *Store) mend(ctx context.Context, t tx, r *releasing, suspects []int64) (int, []task.Bell, error) {
	var waiting, running []task.Task
	if err := s.lockTasks(ctx, t, suspects, " AND state IN (2,3)", func(one *task.Task) {
		if one.State == task.Waiting {
			waiting = append(waiting, *one)
		} else {
			running = append(running, *one)
		}
	}); err != nil {
		return 0, nil, err
	}
	waiting, err := withoutHolder(ctx, t, "bells", waiting)
	if err != nil {
		return 0, nil, err
	}
	if running, err = withoutHolder(ctx, t, "claims", running); err != nil {
		return 0, nil, err
	}
	for _, one := range running {
		r.rows = append(r.rows, runningRow{Task: one})
	}
	if err := r.commit(ctx, t); err != nil {
		return 0, nil, err
	}
	n, rung, err := s.rebell(ctx, t, r, waiting)
	if err != nil {
		return 0, nil, err
	}
	return len(running) + n, append(r.bells, rung...), s.addStats(ctx, t, r.now, s.statsWriter(), &r.set)
}

// withoutHolder keeps the tasks whose holder is not in a table.
func withoutHolder(ctx context.Context, t tx, table string, tasks []task.Task) ([]task.Task, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	holders := make([]int64, len(tasks))
	for i := range tasks {
		holders[i] = tasks[i].Holder
	}
	there := map[int64]bool{}
	query := newText(len(holders)).s("SELECT id FROM ").s(table).s(" WHERE id IN (").ids(sortedIDs(holders)).s(")").String()
	if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		there[id] = true
		return err
	}); err != nil {
		return nil, err
	}
	kept := tasks[:0]
	for _, one := range tasks {
		if !there[one.Holder] {
			kept = append(kept, one)
		}
	}
	return kept, nil
}

// rebell gives waiting tasks a new bell at their due time and gives how many it mended. Those that are past their expiry
// are not ill, only late (I1): they end here.
func (s *Store) rebell(ctx context.Context, t tx, r *releasing, tasks []task.Task) (int, []task.Bell, error) {
	var late, ids []int64
	var waits []again
	for i := range tasks {
		one := &tasks[i]
		if one.ExpiresAt != 0 && one.ExpiresAt <= r.now && !one.Awaits() {
			late = append(late, one.ID)
			continue
		}
		ids = append(ids, one.ID)
		bell := r.sizes.bellKind(one.KindID)
		if one.Awaits() {
			bell = task.DeadlineBell
		}
		flow, err := flowOf(ctx, t, one)
		if err != nil {
			return 0, nil, err
		}
		waits = append(waits, again{id: one.ID, dueAt: one.DueAt, lane: one.LaneID, app: one.AppID, epoch: one.Epoch, flow: flow,
			bell: bell, keyed: one.Flags.Has(task.HasUnique | task.UntilStarted)})
	}
	ends, err := s.expireTasks(ctx, t, r.now, late)
	if err != nil {
		return 0, nil, err
	}
	if len(ids) == 0 {
		return 0, nil, s.terminateInto(ctx, t, r.now, ends, &r.set)
	}
	bells, holders := s.bellsFor(waits, r.now, r.bellIDs+int64(len(r.bells)), r.sizes)
	query := newText(2*len(ids)).s("UPDATE tasks").s(s.force()).s(" SET holder=").perID(ids, holders).
		s(" WHERE id IN (").ids(ids).s(") AND state=2").String()
	if _, err := t.exec(ctx, query); err != nil {
		return 0, nil, err
	}
	if err := insertBells(ctx, t, bells); err != nil {
		return 0, nil, err
	}
	return len(ids), bells, s.terminateInto(ctx, t, r.now, ends, &r.set)
}

// TaskIDRange gives the smallest and largest task id, 0, 0 when there is none. As two statements, because SQLite reads
// the whole table for one that asks for both.
func (s *Store) TaskIDRange(ctx context.Context) (first, last int64, err error) {
	err = s.readEach(ctx, "SELECT (SELECT COALESCE(MIN(id),0) FROM tasks),(SELECT COALESCE(MAX(id),0) FROM tasks)",
		func(rows *sql.Rows) error { return rows.Scan(&first, &last) })
	return first, last, err
}
