package sqldb

import (
	"context"
	"errors"
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

// changeLog collects what a transaction changes, for those who listen to events. It is part of every transaction: what is rolled
// back is forgotten with it, what is repeated is collected anew, and only a commit passes it on. While nobody listens it
// costs one look at a flag.
type changeLog struct {
	on   bool
	list []task.Change
}

// noting reports whether anybody wants to know.
func (c *changeLog) noting() bool { return c.on }

// note collects a change.
func (c *changeLog) note(one task.Change) {
	if c.on {
		c.list = append(c.list, one)
	}
}

func (c *changeLog) log() *changeLog { return c }

// TellChanges says where the changes of committed transactions go. To be called before the store is used by others.
func (s *Store) TellChanges(to task.ChangeSink) { s.changes.Store(&to) }

// sink is where changes go; nil: nowhere.
func (s *Store) sink() task.ChangeSink {
	if p := s.changes.Load(); p != nil {
		return *p
	}
	return nil
}

// writeTold runs one transaction and tells what it changed. Of one whose outcome is unknown nobody knows what to tell.
func (s *Store) writeTold(ctx context.Context, run func(context.Context, func(context.Context, tx) error) error, fn func(context.Context, tx) error) error {
	to := s.sink()
	if to == nil || !to.Listening() {
		return run(ctx, fn)
	}
	var made *changeLog
	room := changeRooms.Get().(*[]task.Change)
	err := run(ctx, func(ctx context.Context, t tx) error {
		made = t.log()
		made.on, made.list = true, (*room)[:0]
		return fn(ctx, t)
	})
	switch {
	case err == nil && made != nil && len(made.list) > 0:
		to.Changed(made.list)
	case errors.Is(err, task.ErrOutcomeUnknown):
		to.Missed()
	}
	if made != nil {
		clear(made.list) // of texts
		*room = made.list
	}
	changeRooms.Put(room)
	return err
}

// changeRooms keeps room for the changes of a flush.
var changeRooms = sync.Pool{New: func() any { return new([]task.Change) }}

// noteEnds notes the ends of a transaction.
func noteEnds(t tx, now int64, ends []ending) {
	if !t.noting() {
		return
	}
	for i := range ends {
		e := &ends[i]
		at := e.finishedAt
		if at == 0 {
			at = now
		}
		t.note(task.Change{Type: task.ChangeEnded, State: e.state, Outcome: e.outcome, Reason: e.reason, HTTPStatus: e.httpStatus, Epoch: e.epoch,
			AppID: e.app, LaneID: e.lane, KindID: e.kind, TaskID: e.id, WorkerID: e.worker, At: at, ErrCode: e.errCode, ErrMessage: e.errMessage})
	}
}

// noteWaiting notes that a task waits again.
func noteWaiting(t tx, row *task.Task, o task.Outcome, now, due int64, code, message string) {
	t.note(task.Change{Type: task.ChangeRetrying, State: task.Waiting, Outcome: o, Epoch: row.Epoch, AppID: row.AppID, LaneID: row.LaneID,
		KindID: row.KindID, TaskID: row.ID, WorkerID: row.WorkerID, At: now, DueAt: due, ErrCode: code, ErrMessage: message})
}

// noteSubmitted notes new tasks.
func noteSubmitted(t tx, now int64, subs []*task.Submission, due func(*task.Submission) int64) {
	if !t.noting() {
		return
	}
	for _, sub := range subs {
		t.note(task.Change{Type: task.ChangeSubmitted, State: task.Waiting, AppID: sub.AppID, LaneID: sub.LaneID, KindID: sub.KindID,
			TaskID: sub.ID, At: now, DueAt: due(sub)})
	}
}

// note notes what a flush of a worker changes beside the ends that terminateInto knows of.
func (f *finishing) note(t tx) {
	if !t.noting() {
		return
	}
	for i := range f.plan {
		p := &f.plan[i]
		plain := p.to == task.Succeeded && p.Flags&extraFlags == 0
		if !plain && p.to != task.Waiting || p.awaits() {
			continue
		}
		c := task.Change{Type: task.ChangeEnded, State: p.to, Outcome: p.outcome(), Reason: p.reason, HTTPStatus: p.HTTPStatus, Epoch: p.Epoch,
			AppID: p.AppID, LaneID: p.LaneID, KindID: p.KindID, TaskID: p.TaskID, WorkerID: f.worker, At: f.now, ErrCode: p.ErrCode, ErrMessage: p.ErrMessage}
		if p.to == task.Waiting {
			c.Type, c.DueAt = task.ChangeRetrying, p.RetryAt
		}
		t.note(c)
	}
}
