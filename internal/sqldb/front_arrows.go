package sqldb

import (
	"context"
	"database/sql"
	"math/rand/v2"

	"github.com/taskweir/taskweir/internal/task"
)

// Arrows that people and clients ask for one task: cancel, run now, re-open, abandon. Each locks the task's row first and
// then decides; they are not hot (protocol section 2, "CANCEL / RUN-NOW / RE-OPEN").

// lockTask reads a task and locks its row. ID is 0 when there is none.
func (s *Store) lockTask(ctx context.Context, t tx, id int64) (out task.Task, err error) {
	x := newText(2).s("SELECT " + taskColumns + " FROM tasks").s(s.force()).s(" WHERE id=").n(id)
	if s.mysql {
		x.s(" FOR UPDATE")
	}
	err = forEach(ctx, t, x.String(), func(rows *sql.Rows) error {
		return scanTask(rows, &out)
	})
	return out, err
}

// lockOwn is lockTask for an app: task.Missing when there is none or it is another app's.
func (s *Store) lockOwn(ctx context.Context, t tx, appID int32, id int64) (task.Task, error) {
	row, err := s.lockTask(ctx, t, id)
	if err == nil && (row.ID == 0 || appID != 0 && row.AppID != appID) {
		err = task.Missing("task")
	}
	return row, err
}

// endWaiting cancels a waiting or blocked task whose row is locked. Its id stays in the bell (I3).
func (s *Store) endWaiting(ctx context.Context, t tx, row *task.Task, why task.Reason, now int64, set *statSet) error {
	x := newText(6).s("UPDATE tasks").s(s.force()).s(" SET state=").n(int64(task.Cancelled)).s(",reason=").n(int64(why)).
		s(",holder=0,finished_at=").n(now)
	if why == task.ByUser {
		x.s(",cancel_at=").n(now)
	}
	if row.Awaits() {
		// Its due time was its deadline. What it was due by before is what tells an end of an attempt from one that came later.
		x.s(",due_at=").n(row.StartedAt).s(",flags=").n(int64(row.Flags&^task.Awaiting | task.HasAttempts))
	}
	if _, err := t.exec(ctx, x.s(" WHERE id=").n(row.ID).s(" AND state IN (1,2)").String()); err != nil {
		return err
	}
	outcome := task.OutcomeNone
	if row.Awaits() {
		outcome = task.OutcomeCancelled
		if err := s.endAttempt(ctx, t, row, task.OutcomeCancelled, now, "cancelled", "cancelled while its completion was awaited"); err != nil {
			return err
		}
	}
	return s.terminateInto(ctx, t, now, []ending{{id: row.ID, app: row.AppID, lane: row.LaneID, kind: row.KindID,
		state: task.Cancelled, reason: why, flags: row.Flags, epoch: row.Epoch, outcome: outcome}}, set)
}

// Cancel ends a waiting task, marks a running one, and leaves a final one as it is. Asking twice is asking once.
func (s *Store) Cancel(ctx context.Context, appID int32, id int64) (out task.CancelReport, err error) {
	writer := s.statsWriter()
	before := task.State(0) // what an earlier try found that may have been committed
	fn := func(ctx context.Context, t tx) error {
		row, err := s.lockOwn(ctx, t, appID, id)
		if err != nil {
			return err
		}
		now := s.now()
		out = task.CancelReport{State: row.State, Found: row.State, Asked: row.CancelAt != 0, Epoch: row.Epoch}
		if before != 0 {
			out.Found, out.Asked = before, false
		} else if !row.State.Final() && row.CancelAt == 0 {
			before = row.State
		}
		switch row.State {
		case task.Waiting, task.Blocked:
			var set statSet
			out.State = task.Cancelled
			if err := s.endWaiting(ctx, t, &row, task.ByUser, now, &set); err != nil {
				return err
			}
			if err := s.noteOn(ctx, t, row.AppID); err != nil {
				return err
			}
			return s.addStats(ctx, t, now, writer, &set)
		case task.Running:
			out.WorkerID = row.WorkerID
			query := newText(4).s("UPDATE tasks").s(s.force()).s(" SET cancel_at=").n(now).s(" WHERE id=").n(id).s(" AND cancel_at=0").String()
			if _, err := t.exec(ctx, query); err != nil || row.CancelAt != 0 {
				return err
			}
			return s.noteOn(ctx, t, row.AppID)
		}
		return nil
	}
	// Cancelling is the same when done twice: an unknown outcome is settled by doing it again.
	err = s.writeAgain(ctx, fn)
	return out, err
}

// RunNow pulls a waiting task forward. Conflict when it does not wait or has expired. The old bell's listing is dead: a
// claim checks which bell holds the task.
func (s *Store) RunNow(ctx context.Context, appID int32, id int64) (task.Bell, error) {
	bellID, err := s.runIDs(ctx, 1)
	if err != nil {
		return task.Bell{}, err
	}
	var bell task.Bell
	var row task.Task
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		var err error
		if row, err = s.lockOwn(ctx, t, appID, id); err != nil {
			return err
		}
		now := s.now()
		if row.State != task.Waiting || row.Awaits() || row.ExpiresAt != 0 && row.ExpiresAt <= now {
			return conflictState(&row, now, "not_waiting", "only a task that waits can be pulled forward")
		}
		flow, err := flowOf(ctx, t, &row)
		if err != nil {
			return err
		}
		bell = s.bellNow(bellID, &row, flow, now)
		query := newText(4).s("UPDATE tasks").s(s.force()).s(" SET holder=").n(bellID).s(",due_at=").n(now).
			s(" WHERE id=").n(id).s(" AND state=2").String()
		if _, err := t.exec(ctx, query); err != nil {
			return err
		}
		if err := s.noteOn(ctx, t, row.AppID); err != nil {
			return err
		}
		if err := insertBells(ctx, t, []task.Bell{bell}); err != nil || !row.Flags.Has(task.UntilStarted) {
			return err
		}
		keys, err := uniqueKeysOf(ctx, t, []int64{id})
		if err != nil {
			return err
		}
		return s.deleteKeys(ctx, t, keys, []int64{id}, " AND scope=5") // held until due
	}, s.bellWritten(bellID, &row))
	return bell, err
}

// flowOf reads the flow of a task; 0 without a limit key.
func flowOf(ctx context.Context, t tx, row *task.Task) (int64, error) {
	if !row.Flags.Has(task.HasLimitKey) {
		return 0, nil
	}
	body, err := readBody(ctx, t, row.ID)
	return task.FlowOf(row.AppID, body.Head.LimitKey), err
}

// bellNow is a bell for one task that is due now.
func (s *Store) bellNow(id int64, row *task.Task, flow, now int64) task.Bell {
	kinds := laneSizes{shell: s.kinds.shell.Load()}
	limited := s.limited(row.LaneID, row.AppID, flow)
	return task.Bell{ID: id, Kind: kinds.bellKind(row.KindID).WithFlow(flow), LaneID: row.LaneID, AppID: row.AppID, Epoch: row.Epoch, DueAt: now,
		Direct: !limited, Limited: limited, Flow: flow,
		Keyed: row.Flags.Has(task.UntilStarted), TaskIDs: []int64{row.ID}}
}

// bellWritten looks up whether a transaction that gave a task a new bell, due at another time, was committed; before is
// the row that it locked. Since then the task may have been claimed (a higher epoch), ended, even cancelled (its due time
// stays the new one) or moved on: what counts is that the row is not what it was. Ids do not tell, each process takes them
// from a block of its own. Should somebody else have done the same, then it is done too.
func (s *Store) bellWritten(bellID int64, before *task.Task) func(context.Context) (bool, error) {
	return func(ctx context.Context) (found bool, err error) {
		query := newText(2).s("SELECT holder,epoch,due_at FROM tasks").s(s.force()).s(" WHERE id=").n(before.ID).s(s.shared()).String()
		err = s.readEach(ctx, query, func(rows *sql.Rows) error {
			var holder, due int64
			var epoch int32
			err := rows.Scan(&holder, &epoch, &due)
			found = holder == bellID || epoch > before.Epoch || due != before.DueAt
			return err
		})
		return found, err
	}
}

func conflictState(row *task.Task, now int64, code, message string) *task.Error {
	return &task.Error{Kind: task.Conflict, Code: code, TaskID: row.ID, Message: message + "; this one is " + row.Shown(now)}
}

// Reopen is the explicit retry: failed and cancelled tasks, succeeded ones with force, wait again with a new retry
// budget, no expiry and the growing epoch. Conflict for others, and when another task has its unique key.
func (s *Store) Reopen(ctx context.Context, appID int32, id int64, force bool) (task.Bell, error) {
	bellID, err := s.runIDs(ctx, 1)
	if err != nil {
		return task.Bell{}, err
	}
	var bell task.Bell
	var row task.Task
	err = s.writeSettled(ctx, func(ctx context.Context, t tx) error {
		var err error
		if row, err = s.lockOwn(ctx, t, appID, id); err != nil {
			return err
		}
		now := s.now()
		if !row.State.Final() || row.State == task.Succeeded && !force {
			return conflictState(&row, now, "not_retryable", "only a failed or cancelled task can be retried (a succeeded one with force)")
		}
		flow, err := flowOf(ctx, t, &row)
		if err != nil {
			return err
		}
		bell = s.bellNow(bellID, &row, flow, now)
		if err := s.reopen(ctx, t, &row, bell, now); err != nil {
			return err
		}
		return s.noteOn(ctx, t, row.AppID)
	}, s.bellWritten(bellID, &row))
	return bell, err
}

func (s *Store) reopen(ctx context.Context, t tx, row *task.Task, bell task.Bell, now int64) error {
	if row.Flags.Has(task.HasUnique) {
		if err := s.retakeKey(ctx, t, row, now); err != nil {
			return err
		}
	}
	flags := row.Flags &^ task.Zombie
	if row.State == task.Succeeded && row.AttemptID != 0 {
		if err := s.keepAttempt(ctx, t, row); err != nil {
			return err
		}
		flags |= task.HasAttempts
	}
	query := newText(8).s("UPDATE tasks").s(s.force()).s(" SET state=2,reason=0,failures=0,losses=0,cancel_at=0,finished_at=0,expires_at=0,due_at=").
		n(now).s(",holder=").n(bell.ID).s(",flags=").n(int64(flags)).s(" WHERE id=").n(row.ID).s(" AND state=").n(int64(row.State)).String()
	if _, err := t.exec(ctx, query); err != nil {
		return err
	}
	if row.State != task.Succeeded {
		query := newText(4).s("DELETE FROM ends WHERE app_id=").n(int64(row.AppID)).s(" AND state=").n(int64(row.State)).s(" AND id=").n(row.ID).String()
		if _, err := t.exec(ctx, query); err != nil {
			return err
		}
	}
	if row.Flags.Has(task.TracksSchedule) {
		if err := s.reopenRun(ctx, t, row.ID); err != nil {
			return err
		}
	}
	noteWaiting(t, row, task.OutcomeNone, now, now, "", "")
	return insertBells(ctx, t, []task.Bell{bell})
}

// retakeKey takes the task's unique key again. A window that is over stays over.
func (s *Store) retakeKey(ctx context.Context, t tx, row *task.Task, now int64) error {
	body, err := readBody(ctx, t, row.ID)
	if err != nil {
		return err
	}
	k := body.Head.Unique(row.AppID)
	if k == nil || k.Scope == task.ScopeUntilDue { // due now
		return nil
	}
	sub := &task.Submission{ID: row.ID, Unique: k}
	u := &submit{s: s, now: now}
	if n, err := u.insertUnique(ctx, t, []*task.Submission{sub}); err != nil || n == 1 {
		return err
	}
	rows, err := readUnique(ctx, t, []*task.Submission{sub})
	if err != nil {
		return err
	}
	held := rows[k.Key]
	switch {
	case held.taskID == row.ID:
		return nil
	case held.expiresAt != 0 && held.expiresAt <= now:
		return s.takeKey(ctx, t, k, held.taskID, row.ID, u.until(sub))
	}
	return keyTaken(held.taskID)
}

// readBody reads a task's body within a transaction. A task whose body is gone has an empty one.
func readBody(ctx context.Context, t tx, id int64) (body task.Body, err error) {
	err = forEach(ctx, t, newText(1).s("SELECT body FROM payloads WHERE id=").n(id).String(), func(rows *sql.Rows) error {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		body, err = task.DecodeBody(raw)
		return err
	})
	return body, err
}

// keepAttempt writes the row of a plain success, which lives in the task's row until that is used again.
func (s *Store) keepAttempt(ctx context.Context, t tx, row *task.Task) error {
	query := newText(8).s(s.insertIgnore()).s(" INTO attempts (task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail) VALUES ").
		row(true, row.ID, int64(row.Epoch), row.AttemptID, row.WorkerID, row.StartedAt, row.FinishedAt,
			int64(task.OutcomeSucceeded), int64(row.HTTPStatus))
	query.b = query.b[:len(query.b)-1]
	_, err := t.exec(ctx, query.s(",NULL)").String())
	return err
}

// Abandon closes a zombie at once, as timed out, or as cancelled when that was asked for. Conflict when the task is none.
// The bell is set when it is retried. Its worker's slot stays in use until the handler returns; what that says is fenced.
func (s *Store) Abandon(ctx context.Context, appID int32, id int64) (*task.Bell, error) {
	row, err := s.State(ctx, appID, id)
	if err != nil {
		return nil, err
	}
	now := s.now()
	if row.State != task.Running || !row.Flags.Has(task.Zombie) {
		return nil, conflictState(&row, now, "not_a_zombie", "only a task whose handler ignores its end can be abandoned")
	}
	body, err := s.bodyOf(ctx, id)
	if err != nil {
		return nil, err
	}
	res := task.Result{Outcome: task.OutcomeTimedOut, ErrCode: "abandoned", ErrMessage: "closed by hand; its handler may still run"}
	if row.CancelAt != 0 {
		res.Outcome = task.OutcomeCancelled
	}
	next := task.Decide(res, body.Head.RetryPolicy(), int(row.Failures), row.ExpiresAt, now, row.CancelAt != 0, rand.Float64())
	if next.To.Final() {
		next.Reason = task.Abandoned
	}
	end := &task.Ending{TaskID: id, AttemptID: row.AttemptID, WorkerID: row.WorkerID, AppID: row.AppID, LaneID: row.LaneID,
		KindID: row.KindID, Epoch: row.Epoch, Flags: row.Flags &^ task.Zombie, DueAt: row.DueAt, StartedAt: row.StartedAt,
		ExpiresAt: row.ExpiresAt, FinishedAt: now, Outcome: res.Outcome, To: next.To, Reason: next.Reason, RetryAt: next.RetryAt,
		ErrCode: res.ErrCode, ErrMessage: res.ErrMessage, Unique: body.Head.Unique(row.AppID),
		Flow: task.FlowOf(row.AppID, body.Head.LimitKey), Places: row.Flags & task.PlaceFlags}
	bells, err := s.Finish(ctx, task.FinishBatch{WorkerID: row.WorkerID, Endings: []*task.Ending{end}})
	if err != nil {
		return nil, err
	}
	if end.Fenced {
		return nil, &task.Error{Kind: task.Conflict, Code: "not_a_zombie", TaskID: id, Message: "its attempt has just ended"}
	}
	if len(bells) == 0 {
		return nil, nil
	}
	return &bells[0], nil
}

// bodyOf reads a task's body.
func (s *Store) bodyOf(ctx context.Context, id int64) (body task.Body, err error) {
	err = s.readEach(ctx, newText(1).s("SELECT body FROM payloads WHERE id=").n(id).String(), func(rows *sql.Rows) error {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		body, err = task.DecodeBody(raw)
		return err
	})
	return body, err
}
