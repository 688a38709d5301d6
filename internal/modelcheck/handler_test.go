package modelcheck_test

import (
	"context"
	"encoding/binary"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// endAsked is what the end of an attempt depends on.
type endAsked struct {
	how               ending
	cause             cause
	task              int64
	failures, expires int64
	epoch             int64
	flags             int64
}

// endDecided is what the worker's own code made of it.
type endDecided struct {
	outcome, to, reason int64
	retry               int64 // relative to now, when it was decided
	await, back         bool  // back: it is given back and not reported
	code                string
}

func (e *endDecided) encode(b []byte) []byte {
	for _, v := range []int64{e.outcome, e.to, e.reason, e.retry} {
		b = binary.AppendVarint(b, v)
	}
	if e.await {
		b = append(b, 'a')
	}
	return append(b, e.code...)
}

// handler reports a result, but not before its context ended when it was told to stop.
type handler struct {
	res  task.Result
	wait bool
}

func (handler) Kind() string { return "model" }

func (h handler) Run(ctx context.Context, _ worker.Job) task.Result {
	if h.wait {
		<-ctx.Done()
	}
	return h.res
}

// decide asks the worker's code how an attempt ends whose handler ended so (worker.Trial: what an engine does, without one).
func (w *world) decide(q endAsked) endDecided {
	if known, ok := w.ends[q]; ok {
		return known
	}
	ctx, stop := context.WithCancelCause(w.ctx)
	defer stop(nil)
	switch q.cause {
	case cancelled:
		stop(worker.ErrCancelled)
	case fenced:
		stop(worker.ErrFenced)
	}
	t := worker.Trial{Runner: handler{q.how.result(), q.cause != notStopped}, Head: w.heads[q.task], Clock: w.s.Clock(), Jitter: 0.5,
		Job: worker.Job{TaskID: q.task, AppID: 1, Epoch: int32(q.epoch), Retry: int(q.failures), Kind: "model", TimeoutMs: 1000, Payload: []byte("null")}}
	if q.expires != 0 {
		t.ExpiresAt = w.now + q.expires
	}
	e := t.Run(ctx)
	d := endDecided{outcome: int64(e.Outcome), to: int64(e.To), reason: int64(e.Reason), await: e.Await, code: e.ErrCode}
	if e.To == task.Waiting {
		d.retry = e.RetryAt - w.now
	}
	d.back = e.Outcome == task.OutcomeReleased
	w.ends[q] = d
	return d
}

// report is the ending that the worker's flusher gives to the Store.
func (w *world) report(r *run) *task.Ending {
	e := &task.Ending{TaskID: r.task, ClaimID: r.claim, AttemptID: r.attempt, WorkerID: r.worker, AppID: 1, LaneID: w.lane, KindID: w.kind,
		Epoch: int32(r.epoch), Flags: task.Flags(r.flags), DueAt: w.now, StartedAt: w.now, FinishedAt: w.now, Flow: r.flow, Places: task.Flags(r.places),
		Outcome: task.Outcome(r.end.outcome), To: task.State(r.end.to), Reason: task.Reason(r.end.reason), ErrCode: r.end.code, Await: r.end.await}
	if r.expires != 0 {
		e.ExpiresAt = w.now + r.expires
	}
	if e.To == task.Waiting {
		e.RetryAt = w.now + r.end.retry
	}
	if e.Flags.Has(task.HasUnique) {
		head := w.heads[r.task]
		e.Unique = head.Unique(1)
	}
	if e.To == task.Succeeded {
		e.Result = []byte{'0' + byte(r.epoch)}
	}
	return e
}
