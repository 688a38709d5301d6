// Package basic runs the two kinds that need nothing: sleep and echo.
package basic

import (
	"bytes"
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// MaxSleepMs is the longest sleep: seven days.
const MaxSleepMs = 604_800_000

// Sleep runs kind sleep: {"ms": 0 … 604,800,000}. It stores no result.
type Sleep struct{}

// Kind is sleep.
func (Sleep) Kind() string { return "sleep" }

// CheckSleep finds what is wrong with a payload of kind sleep; the fields are paths within it. Nil: nothing.
func CheckSleep(raw []byte) []task.FieldError {
	_, wrong := decodeSleep(raw)
	if wrong == nil {
		return nil
	}
	return []task.FieldError{*wrong}
}

// Run sleeps until the time is over or ctx ends.
func (Sleep) Run(ctx context.Context, job worker.Job) task.Result {
	ms, wrong := decodeSleep(job.Payload)
	if wrong != nil {
		return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "invalid_payload", ErrMessage: payload.Text(*wrong)}
	}
	if ms == 0 {
		return task.Result{Outcome: task.OutcomeSucceeded}
	}
	t := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return task.Result{Outcome: task.OutcomeSucceeded}
	case <-ctx.Done():
		return task.Result{Outcome: task.OutcomeFailed, ErrCode: "interrupted", ErrMessage: "the sleep was interrupted"}
	}
}

// zero is by far the most frequent sleep of benchmarks and probes; it need not be parsed.
var zero = []byte(`{"ms":0}`)

func decodeSleep(raw []byte) (int64, *task.FieldError) {
	if bytes.Equal(raw, zero) {
		return 0, nil
	}
	var p struct {
		Ms *int64 `json:"ms"`
	}
	if wrong := payload.Decode(raw, &p); wrong != nil {
		return 0, wrong
	}
	if p.Ms == nil {
		return 0, &task.FieldError{Field: "ms", Rule: "required", Message: "is required"}
	}
	if *p.Ms < 0 || *p.Ms > MaxSleepMs {
		return 0, &task.FieldError{Field: "ms", Rule: "range", Message: "must be 0 to 604800000"}
	}
	return *p.Ms, nil
}

// Echo runs kind echo: it answers its payload, whatever that is.
type Echo struct{}

// Kind is echo.
func (Echo) Kind() string { return "echo" }

// CheckEcho accepts every payload.
func CheckEcho([]byte) []task.FieldError { return nil }

// Run answers the payload. A payload that is larger than a result may be is cut.
func (Echo) Run(_ context.Context, job worker.Job) task.Result {
	res := task.Result{Outcome: task.OutcomeSucceeded, Body: job.Payload}
	if len(job.Payload) > task.MaxResult {
		res.Body, res.Truncated = job.Payload[:task.MaxResult], true
	}
	if len(job.Payload) == 0 {
		res.Body = nil
	}
	return res
}
