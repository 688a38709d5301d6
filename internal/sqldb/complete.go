package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"math/rand/v2"

	"github.com/taskweir/taskweir/internal/task"
)

// An attempt that a receiver took over (flag Awaiting) is a waiting task whose holder is a deadline bell: no worker, claim or
// slot has to outlive it. It ends by Complete, by its deadline, or by a cancel; each locks the row, and the first one wins.

// Complete ends an attempt that awaits it, by the task's retry policy when it failed. The same completion again is answered
// as before (Repeated). Conflict: the attempt is over in another way, or is not the one that waits; Code says which.
func (s *Store) Complete(ctx context.Context, appID int32, c task.Completion) (task.CompletionReport, error) {
	var out task.CompletionReport
	bellID, err := s.runIDs(ctx, 1)
	if err != nil {
		return out, err
	}
	writer := s.statsWriter()
	// Completing twice is the same as once, so an unknown outcome is settled by doing it again.
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		out = task.CompletionReport{}
		row, err := s.lockOwn(ctx, t, appID, c.TaskID)
		if err != nil {
			return err
		}
		now := s.now()
		out.Final = row.State
		switch {
		case row.State == task.Running && row.Epoch == c.Epoch:
			out.Running = true
			return nil
		case !row.Awaits() || row.Epoch != c.Epoch:
			out.Repeated, err = s.completedSo(ctx, t, &row, &c)
			if err == nil && !out.Repeated {
				err = s.notAwaited(ctx, t, &row, &c, now)
			}
			return err
		}
		res := task.Result{Outcome: c.Outcome, Permanent: c.Permanent, RetryAfterMs: c.RetryAfterMs, Body: c.Result, ErrCode: c.ErrCode, ErrMessage: c.ErrMessage}
		var set statSet
		bell, err := s.endAwaiting(ctx, t, &row, &res, bellID, now, &set)
		if err != nil {
			return err
		}
		if out.Bell, out.Final = bell, row.State; bell != nil {
			bell.Direct = false
		}
		return s.addStats(ctx, t, now, writer, &set)
	})
	return out, err
}

// completedSo reports whether an attempt ended by this very completion.
func (s *Store) completedSo(ctx context.Context, t tx, row *task.Task, c *task.Completion) (same bool, err error) {
	a, err := readAttempt(ctx, t, row.ID, c.Epoch)
	if err != nil || a.ID == 0 || a.Outcome != c.Outcome {
		return false, err
	}
	if c.Outcome == task.OutcomeFailed {
		return a.ErrCode == c.ErrCode && a.ErrMessage == c.ErrMessage, nil
	}
	if row.State != task.Succeeded || row.Epoch != c.Epoch {
		return false, nil // re-opened since: the result is that of another attempt, or will be
	}
	body, err := readResult(ctx, t, row)
	return err == nil && bytes.Equal(body, c.Result) && (body == nil) == (c.Result == nil), err
}

// notAwaited says why a completion comes to nothing.
func (s *Store) notAwaited(ctx context.Context, t tx, row *task.Task, c *task.Completion, now int64) error {
	if row.Epoch != c.Epoch {
		return conflictState(row, now, "epoch_mismatch", "the epoch is not that of the newest attempt")
	}
	a, err := readAttempt(ctx, t, row.ID, c.Epoch)
	switch {
	case err != nil:
		return err
	case a.ErrCode == task.CodeCompletionTimeout:
		return conflictState(row, now, "completion_too_late", "the time to complete this attempt was over")
	case row.State == task.Cancelled:
		return conflictState(row, now, "task_cancelled", "a cancelled task cannot be completed")
	case a.ID != 0 || row.State.Final():
		return conflictState(row, now, "already_ended", "this attempt has ended in another way")
	}
	return conflictState(row, now, "not_awaited", "no attempt of this task awaits its completion")
}

// endAwaiting ends the attempt of a locked row that awaits completion: the row, its attempt, result, bell and everything that an end
// brings with it. It gives the bell of a retry, and sets row.State to where the task went. The 202 of its call is no part of why it failed.
func (s *Store) endAwaiting(ctx context.Context, t tx, row *task.Task, res *task.Result, bellID, now int64, set *statSet) (*task.Bell, error) {
	body, err := readBody(ctx, t, row.ID)
	if err != nil {
		return nil, err
	}
	next := task.Decide(*res, body.Head.RetryPolicy(), int(row.Failures), row.ExpiresAt, now, false, rand.Float64())
	flags := row.Flags&^(task.Awaiting|task.HasResult|task.Truncated) | task.HasAttempts
	if next.To == task.Succeeded && res.Body != nil {
		flags |= task.HasResult
		if res.Truncated {
			flags |= task.Truncated
		}
	}
	x := newText(12).s("UPDATE tasks").s(s.force()).s(" SET state=").n(int64(next.To)).s(",reason=").n(int64(next.Reason)).s(",flags=").n(int64(flags))
	if next.Counts {
		x.s(",failures=failures+1")
	}
	var bell *task.Bell
	if next.To == task.Waiting {
		b := s.bellNow(bellID, row, task.FlowOf(row.AppID, body.Head.LimitKey), now)
		b.DueAt, b.Keyed = next.RetryAt, false
		bell = &b
		x.s(",due_at=").n(b.DueAt).s(",holder=").n(b.ID)
		set.of(row.AppID, row.LaneID, row.KindID).retried++
	} else {
		x.s(",finished_at=").n(now).s(",holder=0,due_at=").n(row.StartedAt) // it is not the deadline any more
	}
	if _, err := t.exec(ctx, x.s(" WHERE id=").n(row.ID).s(" AND state=2").String()); err != nil {
		return nil, err
	}
	if flags.Has(task.HasResult) {
		p := planned{Ending: &task.Ending{TaskID: row.ID, Epoch: row.Epoch, Result: res.Body}, to: task.Succeeded}
		if err := s.insertResults(ctx, t, []planned{p}); err != nil {
			return nil, err
		}
	}
	if bell != nil {
		if err := insertBells(ctx, t, []task.Bell{{ID: bell.ID, Kind: bell.Kind, LaneID: bell.LaneID, AppID: bell.AppID, Epoch: bell.Epoch, DueAt: bell.DueAt, Flow: bell.Flow, TaskIDs: bell.TaskIDs}}); err != nil {
			return nil, err
		}
	}
	if err := s.endAttempt(ctx, t, row, res.Outcome, now, res.ErrCode, res.ErrMessage); err != nil {
		return nil, err
	}
	row.State = next.To
	if !next.To.Final() {
		noteWaiting(t, row, res.Outcome, now, bell.DueAt, res.ErrCode, res.ErrMessage)
		return bell, nil
	}
	return nil, s.terminateInto(ctx, t, now, []ending{{id: row.ID, app: row.AppID, lane: row.LaneID, kind: row.KindID, state: next.To,
		reason: next.Reason, flags: flags, unique: body.Head.Unique(row.AppID), errCode: res.ErrCode, errMessage: res.ErrMessage,
		epoch: row.Epoch, outcome: res.Outcome, worker: row.WorkerID}}, set)
}

// endAttempt closes the row of an attempt that awaited its completion, and drops its deadline bell when it lists nothing else. (The
// bell comes after the tasks here. Whoever executes a due deadline bell locks it first; of two that meet, one is repeated.)
func (s *Store) endAttempt(ctx context.Context, t tx, row *task.Task, o task.Outcome, now int64, code, message string) error {
	was, err := readAttempt(ctx, t, row.ID, row.Epoch)
	if err != nil {
		return err
	}
	if was.ID != 0 {
		if _, err := t.exec(ctx, newText(2).s("DELETE FROM attempts WHERE task_id=").n(row.ID).s(" AND epoch=").n(int64(row.Epoch)).String()); err != nil {
			return err
		}
	}
	if err := s.insertAttempts(ctx, t, []attemptRow{{task.Attempt{ID: row.AttemptID, TaskID: row.ID, Epoch: row.Epoch, WorkerID: row.WorkerID,
		StartedAt: row.StartedAt, FinishedAt: now, Outcome: o, HTTPStatus: row.HTTPStatus}, encodeWhole(detail{Code: code, Message: message, Log: was.Log, Skipped: was.LogSkipped, Delivery: was.Delivery})}}); err != nil {
		return err
	}
	_, err = t.exec(ctx, newText(2).s("DELETE FROM bells WHERE id=").n(row.Holder).s(" AND kind=3 AND n=1").String())
	return err
}

// readAttempt reads the row of a task's attempt within a transaction; its ID is 0 when there is none.
func readAttempt(ctx context.Context, t tx, id int64, epoch int32) (a task.Attempt, err error) {
	query := newText(4).s("SELECT task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail FROM attempts WHERE task_id=").n(id).
		s(" AND epoch=").n(int64(epoch)).String()
	err = forEach(ctx, t, query, func(rows *sql.Rows) error {
		a, err = scanAttempt(rows)
		return err
	})
	return a, err
}

// readResult reads a task's result within a transaction; nil when it has none.
func readResult(ctx context.Context, t tx, row *task.Task) (body []byte, err error) {
	if !row.Flags.Has(task.HasResult) {
		return nil, nil
	}
	err = forEach(ctx, t, newText(1).s("SELECT body FROM results WHERE id=").n(row.ID).String(), func(rows *sql.Rows) error {
		return rows.Scan(&body)
	})
	return body, err
}

// passDeadlines executes due deadline bells of a shard: attempts that still await their completion have failed.
func (s *Store) passDeadlines(ctx context.Context, shard, limit int) (ended int, more bool, err error) {
	query := newText(4).s("SELECT id FROM bells WHERE shard=").n(int64(shard)).s(" AND kind=3 AND due_at<=").n(s.now()).
		s(" ORDER BY due_at LIMIT ").n(int64(limit) + 1).String()
	due, err := s.ids(ctx, query)
	if more = len(due) > limit; more {
		due = due[:limit]
	}
	for _, bell := range due {
		n, err := s.passDeadline(ctx, bell)
		if ended += n; err == nil {
			continue
		}
		if ctx.Err() != nil || task.Transient(err) {
			return ended, true, err
		}
		if err := s.postpone(ctx, bell, err); err != nil {
			return ended, true, err
		}
	}
	return ended, more, err
}

// passDeadline executes one deadline bell: at most 100 tasks.
func (s *Store) passDeadline(ctx context.Context, bell int64) (ended int, err error) {
	firstID, err := s.runIDs(ctx, task.MaxBellTasks)
	if err != nil {
		return 0, err
	}
	late := task.Result{Outcome: task.OutcomeFailed, ErrCode: task.CodeCompletionTimeout, ErrMessage: "nobody completed the attempt in time"}
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		ended = 0
		now := s.now()
		var ids []int64
		x := newText(2).s("SELECT task_ids FROM bells").s(s.force()).s(" WHERE id IN (").n(bell).s(") AND kind=3 AND due_at<=").n(now)
		if err := forEach(ctx, t, s.locked(x, "id", 1).String(), func(rows *sql.Rows) error {
			var list sql.RawBytes
			err := rows.Scan(&list)
			ids = appendParsed(ids, []byte(list))
			return err
		}); err != nil || len(ids) == 0 {
			return err
		}
		var rows []task.Task
		if err := s.lockTasks(ctx, t, sortedIDs(ids), newText(1).s(" AND state=2 AND holder=").n(bell).String(), func(one *task.Task) { rows = append(rows, *one) }); err != nil {
			return err
		}
		var set statSet
		for i := range rows {
			if !rows[i].Awaits() {
				continue
			}
			if _, err := s.endAwaiting(ctx, t, &rows[i], &late, firstID+int64(i), now, &set); err != nil {
				return err
			}
			ended++
		}
		if _, err := s.deleteIDs(ctx, t, listDelete{table: "bells", column: "id"}, []int64{bell}); err != nil {
			return err
		}
		return s.addStats(ctx, t, now, s.statsWriter(), &set)
	})
	return ended, err
}
