package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	bulkLook   = 2_000 // index entries that one step reads
	bulkFaults = 100   // tasks that fail before an operation gives up
)

// StepBulk does one bounded step of an operation, with at most limit tasks (≤ 500) in one transaction. When the change fails and
// that is not the database's state (task.Transient), the step says so in Failed and nothing was changed: call it again with a
// smaller limit. With a limit of 1 the one task at fault is stepped over, and counted as skipped.
func (s *Store) StepBulk(ctx context.Context, id int64, limit int) (task.BulkStep, error) {
	op, err := s.BulkByID(ctx, 0, id)
	if err != nil {
		return task.BulkStep{}, err
	}
	switch op.State {
	case task.BulkStopping:
		return task.BulkStep{Ended: true}, s.endBulk(ctx, op, task.BulkStopped, "")
	case task.BulkRunning:
	default:
		return task.BulkStep{Ended: true}, nil
	}
	w, err := s.bulkWalk(ctx, op, min(max(limit, 1), maxList))
	if err != nil {
		return task.BulkStep{}, err
	}
	step := task.BulkStep{Looked: w.looked}
	err = w.commit(ctx, &step)
	switch {
	case err == nil:
		step.Ended = w.end
		return step, nil
	case task.Transient(err) || ctx.Err() != nil:
		return step, err
	}
	step.Failed = err
	if limit == 1 {
		return step, w.stepOver(ctx, err)
	}
	return step, nil
}

// endBulk ends an operation that stands as it was read.
func (s *Store) endBulk(ctx context.Context, op task.Bulk, state task.BulkState, why string) error {
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, "UPDATE bulk_operations SET state=?,finished_at=?,error=? WHERE id=? AND state=? AND next_id=?", state, s.now(), clip(why, 500), op.ID, op.State, op.NextID)
		return err
	})
}

// bulkWalk is one step.
type bulkWalk struct {
	s      *Store
	op     task.Bulk
	ids    []int64 // chosen, in order
	next   int64   // where the next step begins
	looked int
	end    bool // nothing is left behind next
	apply  int  // with a dry run: how many the action applies to
}

// bulkWalk reads on from where the operation stands, until it has chosen enough or read enough.
func (s *Store) bulkWalk(ctx context.Context, op task.Bulk, limit int) (*bulkWalk, error) {
	w := &bulkWalk{s: s, op: op, next: op.UntilID + 1, end: true}
	f := &op.Filter
	l := &list{s: s, now: op.CreatedAt, f: task.Filter{AppID: op.AppID, State: f.State, Queue: f.Queue, Kind: f.Kind, UniqueKey: f.UniqueKey, From: f.From, To: op.CreatedAt + 1, Limit: limit}}
	if f.To != 0 {
		l.f.To = min(l.f.To, f.To)
	}
	if f.Label != nil {
		l.f.Label = *f.Label
	}
	if op.DryRun {
		l.f.Limit = bulkLook
	}
	possible, err := l.resolve(ctx)
	if err != nil || !possible || op.NextID > op.UntilID {
		return w, err
	}
	ids, rows, more, err := l.bulkRows(ctx, &op)
	if err != nil {
		return nil, err
	}
	w.looked = len(ids)
	for _, id := range ids {
		row, ok := rows[id]
		if !ok {
			continue
		}
		if len(w.ids) == l.f.Limit {
			w.next, w.end = id, false
			return w, nil
		}
		w.ids = append(w.ids, id)
		if op.Action.Applies(&row) {
			w.apply++
		}
	}
	if more {
		w.next, w.end = ids[len(ids)-1]+1, false
	}
	return w, nil
}

// bulkRows reads on along the narrowest index, and those rows that match the filter.
func (l *list) bulkRows(ctx context.Context, op *task.Bulk) (ids []int64, rows map[int64]task.Task, more bool, err error) {
	rows = map[int64]task.Task{}
	n := bulkLook
	switch {
	case len(op.Filter.IDs) > 0:
		at, _ := slices.BinarySearch(op.Filter.IDs, op.NextID)
		ids = op.Filter.IDs[at:min(at+n, len(op.Filter.IDs))]
	case l.byLabel() || l.byEnd() != 0:
		x, args := newText(8), []any(nil)
		if l.byLabel() {
			x.s("SELECT id FROM task_labels").s(l.s.use("PRIMARY")).s(" WHERE app_id=").n(int64(op.AppID)).s(" AND k=? AND v=?")
			args = []any{l.f.Label.Key, l.f.Label.Value}
		} else {
			x.s("SELECT id FROM ends").s(l.s.use("PRIMARY")).s(" WHERE app_id=").n(int64(op.AppID)).s(" AND state=").n(int64(l.byEnd()))
		}
		x.s(" AND id>=").n(op.NextID).s(" AND id<=").n(op.UntilID).s(" ORDER BY id LIMIT ").n(int64(n))
		err = l.s.readEach(ctx, x.String(), func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		}, args...)
	default:
		x := newText(8).s("SELECT " + bulkRowColumns + " FROM tasks").s(l.s.use("app")).s(" WHERE app_id=").n(int64(op.AppID)).s(" AND id>=").n(op.NextID).
			s(" AND id<=").n(op.UntilID).s(" ORDER BY id LIMIT ").n(int64(n))
		err = l.s.readEach(ctx, x.String(), func(r *sql.Rows) error {
			id, err := l.bulkScan(r, rows)
			ids = append(ids, id)
			return err
		})
		if err == nil {
			err = l.checkBodiesOf(ctx, rows)
		}
		return ids, rows, len(ids) == n, err
	}
	for part := range slices.Chunk(ids, maxList) {
		if err == nil {
			err = l.s.readEach(ctx, newText(len(part)).s("SELECT "+bulkRowColumns+" FROM tasks WHERE id IN (").ids(part).s(")").String(), func(r *sql.Rows) error {
				_, err := l.bulkScan(r, rows)
				return err
			})
		}
	}
	if err == nil {
		err = l.checkBodiesOf(ctx, rows)
	}
	return ids, rows, len(ids) == n && len(op.Filter.IDs) == 0, err
}

// bulkRowColumns are matchColumns and what an action looks at.
const bulkRowColumns = matchColumns + ",cancel_at"

func (l *list) bulkScan(r *sql.Rows, rows map[int64]task.Task) (int64, error) {
	var t task.Task
	err := r.Scan(&t.ID, &t.AppID, &t.LaneID, &t.KindID, &t.State, &t.Flags, &t.CreatedAt, &t.DueAt, &t.Holder, &t.CancelAt)
	if l.matches(&t) {
		rows[t.ID] = t
	}
	return t.ID, err
}

// checkBodiesOf is checkBodies for any number of rows.
func (l *list) checkBodiesOf(ctx context.Context, rows map[int64]task.Task) error {
	if l.f.UniqueKey == "" && l.f.Label.Key == "" || len(rows) <= maxList {
		return l.checkBodies(ctx, rows)
	}
	part := make(map[int64]task.Task, maxList)
	check := func() error {
		before := make([]int64, 0, len(part))
		for id := range part {
			before = append(before, id)
		}
		if err := l.checkBodies(ctx, part); err != nil {
			return err
		}
		for _, id := range before {
			if _, ok := part[id]; !ok {
				delete(rows, id)
			}
		}
		clear(part)
		return nil
	}
	ids := make([]int64, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	for _, id := range ids {
		part[id] = rows[id]
		if len(part) == maxList {
			if err := check(); err != nil {
				return err
			}
		}
	}
	return check()
}

const lockBulkSQL = "SELECT next_id,state FROM bulk_operations WHERE id="

const moveBulkSQL = "UPDATE bulk_operations SET next_id=?,matched=matched+?,changed=changed+?,skipped=skipped+?,faults=faults+?,state=?,finished_at=?,error=? WHERE id=?"

// commit changes the chosen tasks and moves the operation on.
func (w *bulkWalk) commit(ctx context.Context, step *task.BulkStep) error {
	c, err := w.s.newBulkChange(ctx, w)
	if err != nil {
		return err
	}
	err = w.s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		step.Changed, step.Cancels = 0, nil
		if mine, err := w.locked(ctx, t); err != nil || !mine {
			return err
		}
		changed := w.apply
		if !w.op.DryRun && len(w.ids) > 0 {
			c.begin()
			if err := c.run(ctx, t); err != nil {
				return err
			}
			changed = c.changed
		}
		step.Changed, step.Cancels = changed, c.asked
		state, finished := task.BulkRunning, int64(0)
		if w.end {
			state, finished = task.BulkDone, w.s.now()
		}
		_, err := t.exec(ctx, moveBulkSQL, w.next, len(w.ids), changed, len(w.ids)-changed, 0, state, finished, w.op.Error, w.op.ID)
		return err
	})
	if err != nil {
		step.Changed, step.Cancels = 0, nil
	}
	return err
}

// locked locks the operation and reports whether it stands as it was read: else another made the step, or somebody stopped it.
func (w *bulkWalk) locked(ctx context.Context, t tx) (mine bool, err error) {
	x := newText(2).s(lockBulkSQL).n(w.op.ID)
	if w.s.mysql {
		x.s(" FOR UPDATE")
	}
	err = forEach(ctx, t, x.String(), func(rows *sql.Rows) error {
		var next int64
		var state task.BulkState
		err := rows.Scan(&next, &state)
		mine = next == w.op.NextID && state == task.BulkRunning
		return err
	})
	return mine, err
}

// stepOver leaves the one task of a step out, which cannot be changed. Too many of them end the operation.
func (w *bulkWalk) stepOver(ctx context.Context, cause error) error {
	why := cause.Error()
	if len(w.ids) > 0 {
		why = "task " + newText(1).n(w.ids[0]).String() + ": " + why
	}
	w.s.log.ErrorContext(ctx, "a bulk operation steps over a task", "bulk", w.op.ID, "err", why)
	return w.s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		if mine, err := w.locked(ctx, t); err != nil || !mine {
			return err
		}
		state, finished, text := task.BulkRunning, int64(0), "a task could not be changed; the server's log says why"
		switch {
		case w.op.Faults+1 >= bulkFaults:
			state, finished, text = task.BulkFailed, w.s.now(), "gave up: too many tasks could not be changed; the server's log says why"
		case w.end:
			state, finished = task.BulkDone, w.s.now()
		}
		_, err := t.exec(ctx, moveBulkSQL, w.next, len(w.ids), 0, len(w.ids), 1, state, finished, text, w.op.ID)
		return err
	})
}
