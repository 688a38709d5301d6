package goodjob

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxTaskNo   = 50              // characters
	timeoutMs   = 30_000          // of one callback
	retryCapMs  = 3_600_000       // the longest pause
	interceptIn = 2 * time.Second // how long an abort waits for a running callback to end
)

// createTask submits a task.
func (a *api) createTask(ctx context.Context, c call) (httpkit.Response, error) {
	in, err := a.taskInput(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	done, err := a.svc.Submit(ctx, c.who, in, nil)
	if err != nil {
		return httpkit.Response{}, submitRefusal(err)
	}
	b := append(c.Scratch(), `{"code":200,"data":{"taskId":"`...)
	b = strconv.AppendInt(b, done.View.ID, 10)
	return httpkit.Appended(http.StatusOK, append(b, `"},"message":""}`...)), nil
}

// taskInput reads the parameters of a task: the first rule that is broken is answered.
func (a *api) taskInput(c call) (*control.Input, error) {
	taskNo, err := text(c.params.Get("taskNo"), nameTaskNo, true, maxTaskNo)
	if err != nil {
		return nil, err
	}
	in := &control.Input{
		Kind: Kind, UniqueKey: control.Some(taskNo), UniqueScope: "until_due", TimeoutMs: control.Some[int64](timeoutMs), Retry: retryOf(c.who.App.Legacy),
	}
	if v := c.params.Get("runtime"); v.Given() {
		s, readable := v.Scalar()
		at, ok := compat.ParseTime(s, a.zone)
		if !readable || !ok {
			return nil, rule(nameRuntime, ruleDate)
		}
		in.RunAt = control.Some(at)
	}
	in.Payload, err = content(c.params.Get("content"))
	return in, err
}

// retryOf is the policy of an app's tasks: step × n seconds, at most an hour, retryTotal times.
func retryOf(l task.Legacy) *control.RetryInput {
	step, total := l.Step, l.RetryTotal
	if step == 0 {
		step = defaultStep
	}
	if total < 0 {
		total = defaultRetryTotal
	}
	return &control.RetryInput{Policy: "linear", BaseMs: control.Some(int64(step) * 1000), CapMs: control.Some[int64](retryCapMs),
		Jitter: control.Some(0.0), Max: control.Some(int64(total))}
}

// content reads a content: the text that a client sent, which must be JSON, or the JSON text of the object that it sent.
func content(v compat.Value) ([]byte, error) {
	if !v.Given() {
		return nil, rule(nameContent, ruleRequired)
	}
	if raw, ok := v.Compact(); ok {
		return raw, nil
	}
	s, ok := v.Scalar()
	if raw := []byte(s); ok && httpkit.ValidJSON(raw) {
		return raw, nil
	}
	return nil, rule(nameContent, ruleJSON)
}

// submitRefusal says what the use case refused.
func submitRefusal(err error) error {
	switch task.KindOf(err) {
	case task.Conflict:
		return refusal(textRepeated)
	case task.TooLarge:
		return rule(nameContent, "不能超过 "+strconv.Itoa(task.MaxPayload)+" 字节")
	case task.Invalid:
		for _, f := range fields(err) {
			switch f.Field {
			case "uniqueKey":
				return rule(nameTaskNo, ruleString)
			case "runAt":
				return rule(nameRuntime, ruleDate)
			case "kind": // the app has no URL to call
				return rule(nameURL, ruleRequired)
			}
		}
		return refusal(textNotStored)
	}
	return err
}

func fields(err error) []task.FieldError {
	var e *task.Error
	if errors.As(err, &e) {
		return e.Fields
	}
	return nil
}

// abortTask intercepts a task: at once while it waits, and by breaking its callback off while it runs.
func (a *api) abortTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := taskID(c, textAbortMissing)
	if err != nil {
		return httpkit.Response{}, err
	}
	_, err = a.svc.CancelNow(ctx, c.who, id, interceptIn)
	switch {
	case err == nil:
		return ok(nothing{})
	case task.CodeOf(err) == "cancel_requested":
		return httpkit.Response{}, refusal(textAskedBefore)
	case task.KindOf(err) == task.Conflict:
		return httpkit.Response{}, refusal(textAbortLate)
	}
	return httpkit.Response{}, missing(err, textAbortMissing)
}

// retryTask runs a task again, or now.
func (a *api) retryTask(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := taskID(c, textRetryMissing)
	if err != nil {
		return httpkit.Response{}, err
	}
	_, err = a.svc.RunAgain(ctx, c.who, id)
	switch {
	case err == nil:
		return ok(nothing{})
	case task.CodeOf(err) == "task_running":
		return httpkit.Response{}, refusal(textRetryRunning)
	case task.KindOf(err) == task.Conflict: // another task has its number for ever
		return httpkit.Response{}, refusal(textRepeated)
	}
	return httpkit.Response{}, missing(err, textRetryMissing)
}

// taskID reads the id of a task. What cannot be one is a task that is not there.
func taskID(c call, unknown string) (int64, error) {
	v := c.params.Get("taskId")
	if !v.Given() {
		return 0, rule(nameTaskID, ruleRequired)
	}
	s, _ := v.Scalar()
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 || s[0] < '0' || s[0] > '9' {
		return 0, refusal(unknown)
	}
	return id, nil
}

// missing gives a verb's own text for a task that is not there, or is another app's.
func missing(err error, text string) error {
	if task.KindOf(err) == task.NotFound {
		return refusal(text)
	}
	return err
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }
