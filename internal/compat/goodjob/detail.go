package goodjob

import (
	"context"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// The numbers of a task's status.
const (
	statusWaiting   = 0 // scheduled, before its first run
	statusRunning   = 1 // due, running, or waiting for a retry
	statusProcessed = 2 // succeeded, or failed for good: the log tells which
	statusCancelled = 3
)

// detail is what a client reads of a task. Times are seconds since 1970.
type detail struct {
	TaskID    string `json:"taskId"`
	TaskNo    string `json:"taskNo"`
	Status    int    `json:"status"`
	Step      int64  `json:"step"`
	Runtime   int64  `json:"runtime"`
	Content   string `json:"content"`
	CreatedAt int64  `json:"createdAt"`
	UpdatedAt int64  `json:"updatedAt"` // 0: never
	Logs      []log  `json:"logs"`
}

// log is one run.
type log struct {
	Retry     int    `json:"retry"` // number of the run, 1 for the first
	Remark    string `json:"remark"`
	CreatedAt int64  `json:"createdAt"`
	UpdatedAt int64  `json:"updatedAt"`
}

const maxLogRemark = 255 // characters

func (a *api) taskDetail(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := taskID(c, textDetailMissing)
	if err != nil {
		return httpkit.Response{}, err
	}
	v, err := a.svc.Get(ctx, c.who, id)
	if err != nil {
		return httpkit.Response{}, missing(err, textDetailMissing)
	}
	return ok(detailOf(&v, a.svc.Now()))
}

func detailOf(v *task.View, now int64) detail {
	head := &v.Body.Head
	d := detail{
		TaskID: strconv.FormatInt(v.ID, 10), TaskNo: head.UniqueKey, Status: statusOf(v, now), Content: string(v.Body.Payload),
		Runtime: compat.Seconds(plannedFor(v)), CreatedAt: compat.Seconds(v.CreatedAt), Logs: logsOf(v.Attempts),
	}
	if p := head.RetryPolicy(); p.Policy == "linear" {
		d.Step = p.BaseMs / 1000
	}
	d.UpdatedAt = compat.Seconds(max(v.StartedAt, v.FinishedAt, v.CancelAt))
	return d
}

// plannedFor is when the task was to run first.
func plannedFor(v *task.View) int64 {
	switch {
	case v.Body.Head.RunAt != 0:
		return v.Body.Head.RunAt
	case v.Epoch == 0:
		return v.DueAt
	}
	return v.CreatedAt
}

func statusOf(v *task.View, now int64) int {
	switch v.State {
	case task.Blocked:
		return statusWaiting
	case task.Waiting:
		if v.Epoch == 0 && v.DueAt > now {
			return statusWaiting
		}
		return statusRunning
	case task.Running:
		return statusRunning
	case task.Cancelled:
		return statusCancelled
	}
	return statusProcessed
}

// logsOf lists the runs that ended.
func logsOf(attempts []task.Attempt) []log {
	out := make([]log, 0, len(attempts))
	for i := range attempts {
		t := &attempts[i]
		switch t.Outcome {
		case task.OutcomeNone, task.OutcomeReleased, task.OutcomeSnoozed:
			continue
		}
		out = append(out, log{Retry: len(out) + 1, Remark: remark(t), CreatedAt: compat.Seconds(t.FinishedAt)})
	}
	return out
}

// remark says how a run ended: by what the receiver answered, where it answered something.
func remark(t *task.Attempt) string {
	switch {
	case t.Outcome == task.OutcomeSucceeded:
		return success
	case t.Outcome == task.OutcomeCancelled:
		return remarkIntercepted
	case t.Outcome == task.OutcomeLost:
		return remarkLost
	case t.ErrCode == codeEmptyAnswer:
		return ""
	case t.Outcome != task.OutcomeFailed || t.ErrCode != codeOtherAnswer:
		return remarkFailed
	}
	return cut(t.ErrMessage, maxLogRemark)
}

// cut keeps the first characters of a text.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return strings.ToValidUTF8(s[:i], "")
		}
		n++
	}
	return s
}
