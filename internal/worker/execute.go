package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// start hands runs to handlers. Those that nobody here can run, and all of them once the engine ends, are released.
func (e *Engine) start(runs []*run) {
	if len(runs) == 0 {
		return
	}
	e.mu.Lock()
	leaving := e.phase != serving
	e.mu.Unlock()
	if leaving {
		e.giveUp(runs, "claimed while draining")
		return
	}
	least := int64(e.o.LiveAfter)
	for _, r := range runs {
		if t := r.limitMs(); t > 0 {
			least = min(least, int64(t)*int64(time.Millisecond))
		}
	}
	e.lookBy(e.mono.ns() + least)
	e.tellStarted(runs)
	for _, r := range runs {
		e.begin1(r)
	}
}

// begin1 starts one run.
func (e *Engine) begin1(r *run) {
	var err error
	if r.kind == nil {
		e.giveUp([]*run{r}, "kind not run here")
		return
	}
	if r.body, err = task.DecodeBody(r.item.Body); err != nil {
		e.log.Error("stored body not readable", "task", r.end.TaskID, "err", err)
		e.conclude(r, failed("body_unreadable", "the task's stored body cannot be read", true))
		return
	}
	e.pool.give(r)
}

// loop is the life of a handler goroutine.
func (e *Engine) loop(r *run, h *hand) {
	for r != nil {
		e.execute(r)
		e.pool.back(r, h)
		r = <-h.work
	}
}

// execute runs one attempt to its end.
func (e *Engine) execute(r *run) {
	ctx := pprof.WithLabels(&r.ctx, pprof.Labels(taskLabel, strconv.FormatInt(r.end.TaskID, 10)))
	pprof.SetGoroutineLabels(ctx)
	now := e.mono.ns()
	if t := r.limitMs(); t > 0 {
		r.ctx.deadline = e.mono.at(now + int64(t)*int64(time.Millisecond))
	}
	r.startedNs.Store(now)
	returned := false
	defer func() {
		if !returned { // the handler ended its goroutine
			e.conclude(r, failed("goexit", "the handler ended its goroutine", false))
			e.pool.lost(r)
		}
	}()
	res := e.call(ctx, r)
	returned = true
	failpoint.At(failpoint.RunEffect)
	e.conclude(r, res)
}

// call runs the handler and turns a panic into a failure.
func (e *Engine) call(ctx context.Context, r *run) task.Result {
	if r.ctx.Err() != nil {
		return task.Result{} // ended before it began; the cause decides
	}
	failpoint.At(failpoint.ClaimRun)
	panicked := func(p any) {
		e.log.Error("handler panicked", "task", r.end.TaskID, "kind", r.kind.name, "panic", fmt.Sprint(p))
	}
	if e.o.Tracer == nil {
		return r.guarded(ctx, e.o.Clock, panicked)
	}
	ctx, end := e.o.Tracer.Run(ctx, r.job(e.o.Clock), r.body.Head.Trace)
	res := task.Result{Outcome: task.OutcomeFailed, ErrCode: "goexit"} // what stands if the handler ends its goroutine
	defer func() { end(res) }()
	res = r.guarded(ctx, e.o.Clock, panicked)
	return res
}

// failed is a failure that the engine itself reports.
func failed(code, message string, permanent bool) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: permanent, ErrCode: code, ErrMessage: message}
}

// conclude takes a run out of its slot and passes its end on: as a result, to be released, or nowhere.
func (e *Engine) conclude(r *run, res task.Result) {
	now := e.mono.ns()
	e.mu.Lock()
	e.leaveSlot(r, now)
	cause, closed := r.cause, r.closed
	e.mu.Unlock()
	switch {
	case closed:
		e.log.Info("late return of a closed attempt dropped", "task", r.end.TaskID, "epoch", r.end.Epoch)
	case handsBack(cause, res):
		e.chores.add(chore{r: r, do: releaseBack})
	default:
		r.settle(res, cause, e.o.Clock.Now())
		r.shed()
		e.fin.add(r)
	}
}

// handsBack reports whether an attempt that the worker itself broke off is given to somebody else. A success is kept: it
// happened, and the store's guards decide whether it still counts.
func handsBack(cause error, res task.Result) bool {
	return (cause == ErrFenced || cause == ErrDrained) && res.Outcome != task.OutcomeSucceeded && res.AwaitMs == 0
}

// leaveSlot frees the slot. Engine.mu is held.
func (e *Engine) leaveSlot(r *run, now int64) {
	if r.slot < 0 {
		return
	}
	e.slots[r.slot] = nil
	e.idle = append(e.idle, r.slot)
	r.slot = -1
	e.running--
	e.free++
	e.peak[0] = max(e.peak[0], e.free)
	if r.shell {
		e.giveShell()
	}
	if r.zombie {
		e.zombies--
	}
	if r.shown {
		e.long--
		e.live.leave(r.end.TaskID)
	}
	if start := r.startedNs.Load(); start > 0 {
		ms := float64(now-start) / 1e6
		r.lane.done++
		r.lane.runMs += (ms - r.lane.runMs) / 32
		if r.shell {
			e.shellMs += (ms - e.shellMs) / 8
		}
	}
	r.stop(nil)
	if e.hungry > 0 && e.free >= e.hungry {
		e.hungry = 0
		e.calling.ring()
	}
	e.checkQuiet()
}

// giveShell frees a shell slot, and wakes who waits for one. Engine.mu is held.
func (e *Engine) giveShell() {
	if e.shellFree++; e.shellFree == 1 {
		e.calling.ring()
	}
}

// checkQuiet tells a draining engine that every slot is free. Engine.mu is held.
func (e *Engine) checkQuiet() {
	if e.phase != serving && e.free == e.o.Slots {
		select {
		case e.quiet <- struct{}{}:
		default:
		}
	}
}

// settle fills the ending in: what the runner said, seen through why its context ended, decided by the retry policy.
func (r *run) settle(res task.Result, cause error, now int64) {
	r.settleAt(res, cause, now, rand.Float64())
}

// settleAt is settle with the place of a delay within its jitter, in [0, 1).
func (r *run) settleAt(res task.Result, cause error, now int64, u float64) {
	limitSizes(&res)
	r.keepOutput(&res)
	switch {
	case res.Outcome == task.OutcomeSucceeded && res.AwaitMs == 0:
	case res.AwaitMs > 0 && cause != ErrCancelled:
		res.Outcome, res.ErrCode, res.ErrMessage = task.OutcomeNone, "", "" // its receiver took it over in time
	case cause == ErrTimeout:
		res.Outcome, res.Permanent = task.OutcomeTimedOut, false
		res.ErrCode, res.ErrMessage = "timeout", "timed out after "+strconv.Itoa(int(r.limitMs()))+" ms"
	case cause == ErrCancelled:
		res.Outcome, res.AwaitMs = task.OutcomeCancelled, 0
		res.ErrCode, res.ErrMessage = "cancelled", "cancelled while it ran"
	case res.Outcome == task.OutcomeFailed, res.Outcome == task.OutcomeSnoozed, res.Outcome == task.OutcomeTimedOut:
	default:
		res = failed("bad_outcome", "the handler reported "+res.Outcome.String(), false)
	}
	n := task.Decide(res, r.body.Head.RetryPolicy(), int(r.item.Failures), r.item.ExpiresAt, now, cause == ErrCancelled, u)
	e := &r.end
	e.FinishedAt, e.Outcome, e.To, e.Reason, e.RetryAt = now, res.Outcome, n.To, n.Reason, n.RetryAt
	e.HTTPStatus, e.ErrCode, e.ErrMessage, e.Log = res.HTTPStatus, res.ErrCode, res.ErrMessage, res.Log
	e.Await = n.To == task.Waiting && res.AwaitMs > 0
	if n.To != task.Succeeded || e.Epoch > 1 || res.Keep {
		e.Delivery = res.Delivery
	}
	if e.Flags.Has(task.HasUnique) {
		e.Unique = r.body.Head.Unique(e.AppID)
	}
	if n.To == task.Succeeded {
		e.Result, e.Truncated = res.Body, res.Truncated
	}
}

// shed lets go of a payload that no message can carry: the end may have to wait for the database for long.
func (r *run) shed() {
	if len(r.item.Body) > task.MaxInlineBody {
		r.item.Body, r.body = nil, task.Body{}
	}
}

// maxCode is the longest code of an error, in bytes.
const maxCode = 64

// textOf is the beginning of s as text: bytes that are none, and a character that was cut, are left out.
func textOf(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }

// limitSizes keeps what a runner reports within the core's limits.
func limitSizes(res *task.Result) {
	if len(res.Body) > task.MaxResult {
		res.Body, res.Truncated = res.Body[:task.MaxResult], true
	}
	res.ErrMessage, res.ErrCode = textOf(res.ErrMessage, task.MaxErrorText), textOf(res.ErrCode, maxCode)
	if len(res.Delivery) > task.MaxDelivery {
		res.Delivery = nil
	}
	res.AwaitMs = min(res.AwaitMs, task.MaxTimeoutMs)
	if len(res.Log) > task.MaxLog {
		res.Log = res.Log[len(res.Log)-task.MaxLog:]
	}
}
