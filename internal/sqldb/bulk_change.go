package sqldb

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// bulkChange does an action to the tasks of one step: at most 500, in one transaction, by the statements that the same action on one
// task has, for all of them at once. Tasks with extras (a unique or a limit key, an awaited completion, a schedule that keeps track of them)
// go one by one.
type bulkChange struct {
	s      *Store
	action task.BulkAction
	app    int32
	ids    []int64

	sizes   *laneSizes // with retry
	bellIDs int64      // as many as tasks

	now     int64
	writer  int64
	set     statSet
	changed int
	asked   []task.Asked
}

func (s *Store) newBulkChange(ctx context.Context, w *bulkWalk) (c *bulkChange, err error) {
	c = &bulkChange{s: s, action: w.op.Action, app: w.op.AppID, ids: w.ids, writer: s.statsWriter()}
	if w.op.DryRun || c.action != task.BulkRetry || len(w.ids) == 0 {
		return c, nil
	}
	if c.sizes, err = s.bellSizes(ctx); err != nil {
		return nil, err
	}
	c.bellIDs, err = s.runIDs(ctx, len(w.ids))
	return c, err
}

func (c *bulkChange) begin() {
	c.now, c.set, c.changed, c.asked = c.s.now(), statSet{}, 0, nil
}

func (c *bulkChange) run(ctx context.Context, t tx) error {
	var rows []task.Task
	mine := newText(1).s(" AND app_id=").n(int64(c.app)).String()
	if err := c.s.lockTasks(ctx, t, c.ids, mine, func(one *task.Task) {
		if c.action.Applies(one) {
			rows = append(rows, *one)
		}
	}); err != nil || len(rows) == 0 {
		return err
	}
	var err error
	switch c.action {
	case task.BulkCancel:
		err = c.cancel(ctx, t, rows)
	case task.BulkRetry:
		err = c.retry(ctx, t, rows)
	case task.BulkDelete:
		p := purging{s: c.s, t: t}
		for i := range rows {
			p.add(&rows[i])
		}
		c.changed = len(rows)
		err = p.run(ctx)
	}
	if err != nil {
		return err
	}
	return c.s.addStats(ctx, t, c.now, c.writer, &c.set)
}

// cancel ends tasks that wait and asks those that run to end.
func (c *bulkChange) cancel(ctx context.Context, t tx, rows []task.Task) error {
	var waiting, running []int64
	var ends []ending
	for i := range rows {
		row := &rows[i]
		switch {
		case row.State == task.Running:
			running = append(running, row.ID)
			c.asked = append(c.asked, task.Asked{TaskID: row.ID, WorkerID: row.WorkerID, Epoch: row.Epoch})
		case row.Awaits():
			if err := c.s.endWaiting(ctx, t, row, task.ByUser, c.now, &c.set); err != nil {
				return err
			}
		default:
			waiting = append(waiting, row.ID)
			ends = append(ends, ending{id: row.ID, app: row.AppID, lane: row.LaneID, kind: row.KindID, state: task.Cancelled, reason: task.ByUser, flags: row.Flags, epoch: row.Epoch})
		}
	}
	c.changed = len(rows)
	if len(running) > 0 {
		query := newText(len(running)).s("UPDATE tasks").s(c.s.force()).s(" SET cancel_at=").n(c.now).s(" WHERE id IN (").ids(running).s(") AND state=3").String()
		if _, err := t.exec(ctx, query); err != nil {
			return err
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	query := newText(len(waiting)).s("UPDATE tasks").s(c.s.force()).s(" SET state=").n(int64(task.Cancelled)).s(",reason=").n(int64(task.ByUser)).
		s(",holder=0,finished_at=").n(c.now).s(",cancel_at=").n(c.now).s(" WHERE id IN (").ids(waiting).s(") AND state IN (1,2)").String()
	if _, err := t.exec(ctx, query); err != nil {
		return err
	}
	return c.s.terminateInto(ctx, t, c.now, ends, &c.set)
}

// retry re-opens failed and cancelled tasks. One whose unique key another task has is passed over.
func (c *bulkChange) retry(ctx context.Context, t tx, rows []task.Task) error {
	bells := c.bellIDs
	var waits []again
	var ids []int64
	p := purging{s: c.s, t: t}
	for i := range rows {
		row := &rows[i]
		flow, err := flowOf(ctx, t, row)
		if err != nil {
			return err
		}
		if row.Flags&(task.HasUnique|task.TracksSchedule) != 0 {
			bell := c.s.bellNow(bells, row, flow, c.now)
			bell.Direct = false
			bells++
			switch err := c.s.reopen(ctx, t, row, bell, c.now); {
			case task.KindOf(err) == task.Conflict && err != nil:
				continue
			case err != nil:
				return err
			}
			c.changed++
			continue
		}
		c.changed++
		noteWaiting(t, row, task.OutcomeNone, c.now, c.now, "", "")
		waits = append(waits, again{id: row.ID, dueAt: c.now, lane: row.LaneID, app: row.AppID, epoch: row.Epoch, bell: c.sizes.bellKind(row.KindID), flow: flow})
		ids = append(ids, row.ID)
		p.fileEnd(row)
	}
	if len(waits) == 0 {
		return nil
	}
	made, holders := c.s.bellsFor(waits, c.now, bells, c.sizes)
	for i := range made {
		made[i].Direct = false // the lanes' owners ring them, as fast as they may run
	}
	query := newText(2*len(ids)).s("UPDATE tasks").s(c.s.force()).s(" SET state=2,reason=0,failures=0,losses=0,cancel_at=0,finished_at=0,expires_at=0,due_at=").n(c.now).
		s(",holder=").perID(ids, holders).s(",flags=flags&").n(without(task.Zombie)).s(" WHERE id IN (").ids(ids).s(") AND state IN (5,6)").String()
	if _, err := t.exec(ctx, query); err != nil {
		return err
	}
	if err := p.deleteEnds(ctx); err != nil {
		return err
	}
	return insertBells(ctx, t, made)
}
