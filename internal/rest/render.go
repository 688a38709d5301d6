package rest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

const logTail = 4 << 10 // of an attempt's log inside a task

// taskOf is a task as the API shows it at now.
func taskOf(v *task.View, now int64) apiv1.Task {
	head := &v.Body.Head
	t := apiv1.Task{
		ID: apiv1.ID(v.ID), App: v.AppKey, Kind: v.Kind, Queue: v.Queue, Priority: v.Priority.String(),
		State: v.Shown(now), Reason: v.Reason.String(),
		Payload: v.Body.Payload, Result: resultOf(v.Result), ResultTruncated: v.Flags.Has(task.Truncated), Error: errorOf(v),
		Failures: int(v.Failures), Losses: int(v.Losses), RetryOf: apiv1.ID(head.RetryOf),
		ScheduleID: apiv1.ID(head.ScheduleID), Slot: apiv1.Time(head.SlotAt), UniqueKey: head.UniqueKey, LimitKey: head.LimitKey,
		ExpiresAt: apiv1.Time(v.ExpiresAt), Zombie: v.Flags.Has(task.Zombie), RunAt: apiv1.Time(v.DueAt),
		CreatedAt: apiv1.Time(v.CreatedAt), StartedAt: apiv1.Time(v.StartedAt), FinishedAt: apiv1.Time(v.FinishedAt),
		TimeoutMs: int64(v.TimeoutMs), Retry: retryOf(head.RetryPolicy()), Labels: head.Labels, CancelRequestedAt: apiv1.Time(v.CancelAt),
		CompletionURL: head.CompletionURL,
	}
	if v.Awaits() {
		t.CompleteBy, t.RunAt = apiv1.Time(v.DueAt), apiv1.Time(v.StartedAt)
	}
	for i := range v.Attempts {
		t.Attempts = append(t.Attempts, attemptOf(&v.Attempts[i]))
	}
	return t
}

func retryOf(p task.RetryPolicy) apiv1.RetryInForce {
	return apiv1.RetryInForce{Policy: p.Policy, BaseMs: p.BaseMs, CapMs: p.CapMs, Jitter: p.Jitter, Max: p.Max, DelaysMs: p.DelaysMs}
}

// resultOf shows JSON as it is, other text as a string and other bytes in base64.
func resultOf(b []byte) json.RawMessage {
	switch {
	case b == nil:
		return nil
	case httpkit.ValidJSON(b):
		return b
	case utf8.Valid(b):
		s, _ := json.Marshal(string(b))
		return s
	}
	return json.RawMessage(`{"base64":"` + base64.StdEncoding.EncodeToString(b) + `"}`)
}

// errorOf is the error of the last attempt that ended badly, while the task has not succeeded.
func errorOf(v *task.View) *apiv1.TaskError {
	if v.State == task.Succeeded {
		return nil
	}
	if v.Reason == task.Expired {
		e := &apiv1.TaskError{Code: apiv1.ReasonExpired, Message: "it was not started before it expired"}
		if v.Epoch > 0 {
			e.Message = "it was not started again before it expired"
		}
		return e
	}
	for i := len(v.Attempts) - 1; i >= 0; i-- {
		if e := attemptError(&v.Attempts[i]); e != nil {
			return e
		}
	}
	return nil
}

func attemptError(a *task.Attempt) *apiv1.TaskError {
	switch a.Outcome {
	case task.OutcomeFailed, task.OutcomeTimedOut, task.OutcomeLost:
	default:
		if a.ErrCode == "" {
			return nil
		}
	}
	e := &apiv1.TaskError{Code: a.ErrCode, Message: a.ErrMessage, HTTPStatus: int(a.HTTPStatus)}
	if e.Code == "" {
		e.Code = a.Outcome.String()
	}
	return e
}

func attemptOf(a *task.Attempt) apiv1.Attempt {
	return apiv1.Attempt{ID: apiv1.ID(a.ID), Epoch: int(a.Epoch), Worker: apiv1.ID(a.WorkerID), StartedAt: apiv1.Time(a.StartedAt),
		FinishedAt: apiv1.Time(a.FinishedAt), Outcome: a.Outcome.String(), Error: attemptError(a), HTTPStatus: int(a.HTTPStatus), LogTail: tail(a.Log)}
}

func tail(log []byte) string {
	if len(log) > logTail {
		log = log[len(log)-logTail:]
		for len(log) > 0 && !utf8.RuneStart(log[0]) {
			log = log[1:]
		}
	}
	return strings.ToValidUTF8(string(log), "\ufffd")
}

// respondTask answers with one task.
func (a *api) respondTask(c call, status int, v *task.View) httpkit.Response {
	t := taskOf(v, a.svc.Now())
	return httpkit.Appended(status, t.AppendJSON(c.Scratch()))
}

// respondTasks answers with a list of tasks.
func (a *api) respondTasks(c call, vs []task.View, next string) httpkit.Response {
	now := a.svc.Now()
	b := append(c.Scratch(), `{"items":[`...)
	for i := range vs {
		if i > 0 {
			b = append(b, ',')
		}
		t := taskOf(&vs[i], now)
		b = t.AppendJSON(b)
	}
	b = append(b, `],"nextCursor":`...)
	if next == "" {
		b = append(b, "null"...)
	} else {
		s, _ := json.Marshal(next)
		b = append(b, s...)
	}
	return httpkit.Appended(200, append(b, '}'))
}

// respondBatch answers item by item: {"task": …} or {"error": …}.
func (a *api) respondBatch(c call, items []control.BatchItem) (httpkit.Response, error) {
	now := a.svc.Now()
	b := append(c.Scratch(), `{"items":[`...)
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		if items[i].Err == nil {
			t := taskOf(&items[i].View, now)
			b = append(t.AppendJSON(append(b, `{"task":`...)), '}')
			continue
		}
		p, err := json.Marshal(httpkit.ProblemOf(items[i].Err))
		if err != nil {
			return httpkit.Response{}, err
		}
		b = append(append(append(b, `{"error":`...), p...), '}')
	}
	return httpkit.Appended(200, append(b, `]}`...)), nil
}
