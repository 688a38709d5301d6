package control

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// Step is the place of an event in a task's history: the epoch, and the step within it. Steps of one history grow.
//
//	0.1  submitted
//	e.1  the attempt of that epoch began
//	e.2  it ended: the task waits again, or is final
//	e.n  the task ended while it waited, n-2 ms after it was submitted
//
// A history is made of the task's row and its attempts alone, so that every process gives the same one at every time. A re-open is
// the one thing that changes what was: the end that it takes back is shown as the end of its attempt, under the same step, or not
// at all when it was the end of waiting. Whoever saw it is told what comes after it.
type Step struct {
	Epoch int32
	N     int64
}

const (
	stepBegan  = 1
	stepEnded  = 2
	stepWaited = 3 // and more
)

// String is the id on the wire: epoch.step.
func (s Step) String() string {
	return strconv.FormatInt(int64(s.Epoch), 10) + "." + strconv.FormatInt(s.N, 10)
}

// After reports whether a step comes after another.
func (s Step) After(o Step) bool { return s.Epoch > o.Epoch || s.Epoch == o.Epoch && s.N > o.N }

// ParseStep reads an id. It refuses every other way to write one.
func ParseStep(id string) (s Step, ok bool) {
	e, n, found := strings.Cut(id, ".")
	if !found || len(id) > 32 {
		return s, false
	}
	epoch, err1 := strconv.ParseInt(e, 10, 32)
	step, err2 := strconv.ParseInt(n, 10, 64)
	s = Step{int32(epoch), step}
	return s, err1 == nil && err2 == nil && epoch >= 0 && step >= 1 && s.String() == id
}

// TaskEvent is one event of a task.
type TaskEvent struct {
	Step
	task.Change
	App, Queue, Kind string
	Progress         json.RawMessage // set: a report of the running attempt, which is no part of the history; Step is that of its beginning
}

// historyOf gives the history that a row and its attempts, from some epoch on, tell. more: there are further attempts, so the
// row's own state is not reached yet.
//
// The row is read before the attempts: an attempt of the row's epoch that has ended although the row says that it runs has
// ended since, and so have attempts of later epochs. They are left for the next reading, which knows the row that goes with them.
func historyOf(v *task.View, from int32, more bool) []TaskEvent {
	out := make([]TaskEvent, 0, 2*len(v.Attempts)+2)
	add := func(s Step, c task.Change) {
		c.TaskID, c.AppID, c.LaneID, c.KindID, c.Epoch = v.ID, v.AppID, v.LaneID, v.KindID, s.Epoch
		out = append(out, TaskEvent{Step: s, Change: c, App: v.AppKey, Queue: v.Queue, Kind: v.Kind})
	}
	if from <= 0 {
		c := task.Change{Type: task.ChangeSubmitted, State: task.Waiting, At: v.CreatedAt}
		if v.Epoch == 0 && v.State == task.Waiting {
			c.DueAt = v.DueAt
		}
		add(Step{0, stepBegan}, c)
	}
	runs := v.State == task.Running || v.Awaits()
	ended := false // the task ended with its last attempt
	for i := range v.Attempts {
		a := &v.Attempts[i]
		if a.Epoch > v.Epoch {
			break
		}
		add(Step{a.Epoch, stepBegan}, task.Change{Type: task.ChangeStarted, State: task.Running, At: a.StartedAt, WorkerID: a.WorkerID})
		last := a.Epoch == v.Epoch && !more
		if a.Outcome == task.OutcomeNone || a.Epoch == v.Epoch && (runs || more) {
			continue
		}
		c := task.Change{Type: task.ChangeRetrying, State: task.Waiting, At: a.FinishedAt, WorkerID: a.WorkerID, Outcome: a.Outcome,
			HTTPStatus: a.HTTPStatus, ErrCode: a.ErrCode, ErrMessage: a.ErrMessage}
		switch {
		case last && v.State.Final() && v.DueAt <= a.StartedAt: // it was due before this attempt began, and never since
			ended = true
			c.Type, c.State, c.Reason = task.ChangeEnded, v.State, v.Reason
		case last && v.State == task.Waiting:
			c.DueAt = v.DueAt
		}
		add(Step{a.Epoch, stepEnded}, c)
	}
	if v.State.Final() && !more && !ended {
		add(Step{v.Epoch, stepWaited + max(0, v.FinishedAt-v.CreatedAt)}, task.Change{Type: task.ChangeEnded, State: v.State, Reason: v.Reason, At: v.FinishedAt})
	}
	return out
}

// complete reports whether a history ends the stream of its task: its last event is final.
func complete(events []TaskEvent) bool {
	return len(events) > 0 && events[len(events)-1].Type == task.ChangeEnded
}
