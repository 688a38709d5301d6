package control

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

// How long a completion waits for the worker to store that the attempt awaits it: the receiver may well be quicker than that.
const (
	storedWithin = 3 * time.Second
	storedLook   = 20 * time.Millisecond
)

// CompletionInput is how a receiver says that an attempt which it took over has ended.
type CompletionInput struct {
	Epoch        Maybe[int64] // required: the attempt's
	Outcome      string       // required: succeeded or failed
	Result       []byte       // with succeeded: raw JSON, ≤ 64 KiB; nil: none
	ErrCode      string       // with failed: 1–64 of a-z, 0-9, . _ -; "": failed
	ErrMessage   string       // with failed, ≤ 2 KiB
	Permanent    bool         // with failed: no retry
	RetryAfterMs Maybe[int64] // with failed: 0 … 1 h
	Broken       []task.FieldError
}

func (in *CompletionInput) check() (c task.Completion, err error) {
	f := faults{fields: in.Broken}
	if !in.Epoch.Set && !f.has("epoch") {
		f.add("epoch", "required", "is required: the Taskweir-Epoch of the call")
	}
	f.inRange("epoch", in.Epoch, 1, 1<<31-1)
	switch in.Outcome {
	case "succeeded":
		c.Outcome = task.OutcomeSucceeded
		if in.ErrCode != "" || in.ErrMessage != "" || in.Permanent || in.RetryAfterMs.Set {
			f.add("outcome", "conflict", "error, permanent and retryAfterMs only go with failed")
		}
	case "failed":
		c.Outcome = task.OutcomeFailed
		if in.Result != nil {
			f.add("result", "conflict", "only goes with succeeded")
		}
	default:
		if !f.has("outcome") {
			f.add("outcome", "one_of", "must be succeeded or failed")
		}
	}
	if len(in.Result) > task.MaxResult {
		f.tooLarge = true
		f.add("result", "max_length", fmt.Sprintf("must be at most %d bytes", task.MaxResult))
	}
	if in.ErrCode != "" && !validName(in.ErrCode, 64, kindChars) {
		f.add("error.code", "pattern", "must be 1 … 64 of a-z, 0-9, '.', '_' and '-'")
	}
	if len(in.ErrMessage) > task.MaxErrorText || !utf8.ValidString(in.ErrMessage) {
		f.add("error.message", "max_length", fmt.Sprintf("must be at most %d bytes of text", task.MaxErrorText))
	}
	f.inRange("retryAfterMs", in.RetryAfterMs, 0, 3_600_000)
	if err := f.err(); err != nil {
		return c, err
	}
	c.Epoch, c.Result, c.ErrCode, c.ErrMessage, c.Permanent, c.RetryAfterMs = int32(in.Epoch.V), in.Result, in.ErrCode, in.ErrMessage, in.Permanent, in.RetryAfterMs.V
	if c.Outcome == task.OutcomeFailed && c.ErrCode == "" {
		c.ErrCode = "failed"
	}
	return c, nil
}

// Complete ends an attempt that its receiver took over (202 with Taskweir-Complete-Within). The same completion again is fine.
// Conflict with a code that says why when it comes to nothing: epoch_mismatch, completion_too_late, task_cancelled, already_ended,
// not_awaited; attempt_running when it may come to something later. Needs scope submit.
func (s *Service) Complete(ctx context.Context, p Principal, id int64, in *CompletionInput) (task.View, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.View{}, err
	}
	c, err := in.check()
	if err != nil {
		return task.View{}, err
	}
	c.TaskID = id
	rep, err := s.store.Complete(ctx, p.appID(), c)
	if err == nil && rep.Running {
		rep, err = s.completeSoon(ctx, p, c)
	}
	if err != nil {
		return task.View{}, settled(err)
	}
	if !rep.Repeated {
		s.log.InfoContext(ctx, "audit", "action", "task.complete", "app", p.App.Key, "key", p.KeyID, "task", id, "epoch", c.Epoch, "outcome", in.Outcome)
		if rep.Bell != nil {
			s.ringer.Ring(task.Rung{Bell: *rep.Bell})
		}
		s.waiting.finished([]int64{id})
	}
	return s.changed(ctx, p, id)
}

// completeSoon waits until the worker has stored the answer that handed the attempt over, and completes it then. It looks without a
// lock: a receiver that asks for an attempt which is never handed over must cost others nothing.
func (s *Service) completeSoon(ctx context.Context, p Principal, c task.Completion) (task.CompletionReport, error) {
	over := time.NewTimer(storedWithin)
	defer over.Stop()
	look := time.NewTicker(storedLook)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-ctx.Done():
			return task.CompletionReport{}, ctx.Err()
		case <-over.C:
			return task.CompletionReport{}, &task.Error{Kind: task.Conflict, Code: "attempt_running", TaskID: c.TaskID, RetryAfter: time.Second,
				Message: "the attempt runs on its worker: complete it after its call was answered (202 with Taskweir-Complete-Within)"}
		}
		row, err := s.store.State(ctx, p.appID(), c.TaskID)
		if err != nil {
			return task.CompletionReport{}, err
		}
		if row.State == task.Running && row.Epoch == c.Epoch {
			continue
		}
		if rep, err := s.store.Complete(ctx, p.appID(), c); err != nil || !rep.Running {
			return rep, err
		}
	}
}
