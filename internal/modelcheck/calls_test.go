package modelcheck_test

import (
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// callKind is which arrow a call takes.
type callKind uint8

const (
	noArrow callKind = iota
	submitting
	claiming
	finishing
	releasing
	expiring
	cancelling
	reopening
	runningNow
	completing
	auditing
)

// submitCall submits tasks of the scenario in one request; again: once more, as a client does that never heard of the first
// time, with the same idempotency key and new ids.
func (w *world) submitCall(again bool, tasks ...int) *call {
	label := fmt.Sprintf("submit %v", tasks)
	if again {
		label += " again"
	}
	return &call{label, submitting, func(w *world, a *answer) {
		req := &task.Request{AppID: 1, Idem: &task.Idempotency{Key: [32]byte{byte(tasks[0]) + 1}, Body: [32]byte{1}, First: true}}
		for _, i := range tasks {
			req.Tasks = append(req.Tasks, w.submission(i, again))
			req.Idem.ItemIDs = append(req.Idem.ItemIDs, req.Tasks[len(req.Tasks)-1].ID)
		}
		_, a.err = w.s.Submit(w.ctx, []*task.Request{req})
		a.requests = append(a.requests, *req)
		for _, sub := range req.Tasks {
			a.subs = append(a.subs, *sub)
		}
	}}
}

func (w *world) submission(i int, again bool) *task.Submission {
	of := &w.sc.tasks[i]
	sub := &task.Submission{ID: int64(i) + 1, AppID: 1, LaneID: w.lane, KindID: w.kind, TimeoutMs: 1000, DelayMs: of.delayMs, Flags: task.HasRetryPolicy}
	if again {
		sub.ID += againID
	}
	if of.expiresMs != 0 {
		sub.ExpiresAt = w.now + of.expiresMs
	}
	head := w.heads[sub.ID]
	if sub.Unique = head.Unique(1); sub.Unique != nil {
		sub.Unique.OnConflict = of.onConflict
		sub.Flags |= task.HasUnique
		if of.scope == task.ScopeUntilStarted || of.scope == task.ScopeUntilDue {
			sub.Flags |= task.UntilStarted
		}
	}
	sub.Body = w.bodies[sub.ID]
	return sub
}

// claimCall claims bells and reads what their tasks need to run.
func (w *world) claimCall(worker int64, most int, bells ...int64) *call {
	return &call{fmt.Sprintf("worker %d claims at most %d of bells %v", worker, most, bells), claiming, func(w *world, a *answer) {
		if w.plant != nil && w.plant.claim != nil {
			w.plant.claim(w, bells)
		}
		a.claimed, a.err = w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: worker, LaneID: w.lane, Bells: bells, Max: most, Kinds: []int32{w.kind}})
		if len(a.claimed.Tasks) == 0 || a.err != nil {
			return
		}
		ids := make([]int64, len(a.claimed.Tasks))
		for i, one := range a.claimed.Tasks {
			ids[i] = one.ID
		}
		a.loaded, a.err = w.s.Load(w.ctx, ids)
	}}
}

// finishCall commits ended attempts of one worker id.
func (w *world) finishCall(worker int64, runs []run, emptied []int64) *call {
	label := fmt.Sprintf("worker %d finishes", worker)
	for i := range runs {
		r := &runs[i]
		label += fmt.Sprintf(" task %d epoch %d as %s %s (retry %d, expires %d, reason %d, flags %#x, places %#x, await %v);", r.task, r.epoch,
			task.Outcome(r.end.outcome), stateNames[r.end.to], r.end.retry, r.expires, r.end.reason, r.flags, r.places, r.end.await)
	}
	if len(emptied) > 0 {
		label += fmt.Sprintf(" drops claims %v", emptied)
	}
	runs, emptied = slices.Clone(runs), slices.Clone(emptied)
	return &call{label, finishing, func(w *world, a *answer) {
		batch := task.FinishBatch{WorkerID: worker, Emptied: emptied}
		for i := range runs {
			batch.Endings = append(batch.Endings, w.report(&runs[i]))
		}
		if w.plant != nil && w.plant.finish != nil {
			w.plant.finish(w, &batch)
		}
		_, a.err = w.s.Finish(w.ctx, batch)
		for i, e := range batch.Endings {
			a.endings = append(a.endings, *e)
			a.endings[i].Epoch = int32(runs[i].epoch)
		}
	}}
}

// releaseCall takes tasks from a claim; all of it when only is nil.
func (w *world) releaseCall(who string, claim int64, only []int64, cause task.ReleaseCause) *call {
	how := "as lost"
	if cause == task.CauseReleased {
		how = "back"
	}
	return &call{fmt.Sprintf("%s releases %v of claim %d %s", who, only, claim, how), releasing, func(w *world, a *answer) {
		_, a.err = w.s.Release(w.ctx, claim, only, cause)
	}}
}

func (w *world) heldCall(worker int64, ids []int64) *call {
	return &call{fmt.Sprintf("worker %d looks at tasks %v", worker, ids), noArrow, func(w *world, a *answer) {
		a.held, a.err = w.s.Held(w.ctx, ids)
	}}
}

// strangerCall is the part of a beat in which a worker lists its claims and releases one that it does not hold.
func (w *world) strangerCall(worker, claim int64, cause task.ReleaseCause) *call {
	release := w.releaseCall(fmt.Sprintf("worker %d finds a claim that it does not hold, and", worker), claim, nil, cause)
	return &call{release.label, releasing, func(w *world, a *answer) {
		a.claims, a.err = w.s.ClaimsOf(w.ctx, worker)
		if slices.ContainsFunc(a.claims, func(c task.Claim) bool { return c.ID == claim }) {
			release.run(w, a)
		}
	}}
}

// beatCall renews the worker's row; when that is gone it registers anew, as the worker does.
func (w *world) beatCall(worker int64) *call {
	return &call{fmt.Sprintf("worker %d beats", worker), noArrow, func(w *world, a *answer) {
		_, a.err = w.s.Beat(w.ctx, worker, task.WorkerInfo{Host: "model"})
		if a.err == task.ErrFenced { //nolint:errorlint // it comes as it is
			a.id, a.err = w.s.NewWorker(w.ctx, task.WorkerInfo{Host: "model"})
		}
	}}
}

func (w *world) registerCall() *call {
	return &call{"a new worker registers", noArrow, func(w *world, a *answer) {
		a.id, a.err = w.s.NewWorker(w.ctx, task.WorkerInfo{Host: "model"})
	}}
}

// declareCall declares a worker dead as a scheduler does that has watched its beat.
func (w *world) declareCall(worker int64) *call {
	return &call{fmt.Sprintf("a scheduler declares worker %d dead", worker), noArrow, func(w *world, a *answer) {
		all, err := w.s.Workers(w.ctx, false)
		a.err = err
		for _, x := range all {
			if x.ID == worker {
				_, a.err = w.s.DeclareGone(w.ctx, worker, x.BeatAt)
			}
		}
	}}
}

// orphansCall lists what a scheduler would rescue.
func (w *world) orphansCall() *call {
	return &call{"a scheduler looks for claims of the dead", noArrow, func(w *world, a *answer) {
		ids, err := w.s.OrphanClaims(w.ctx, 50)
		a.err = err
		for _, id := range ids {
			a.claims = append(a.claims, task.Claim{ID: id})
		}
	}}
}

func (w *world) expireCall() *call {
	return &call{"a scheduler executes expire and deadline bells", expiring, func(w *world, a *answer) {
		_, _, a.err = w.s.Expire(w.ctx, w.shard, 10)
	}}
}

func (w *world) cancelCall(id int64) *call {
	return &call{fmt.Sprintf("cancel task %d", id), cancelling, func(w *world, a *answer) {
		a.report, a.err = w.s.Cancel(w.ctx, 1, id)
	}}
}

func (w *world) reopenCall(id int64) *call {
	return &call{fmt.Sprintf("retry task %d", id), reopening, func(w *world, a *answer) {
		_, a.err = w.s.Reopen(w.ctx, 1, id, true)
	}}
}

func (w *world) runNowCall(id int64) *call {
	return &call{fmt.Sprintf("run task %d now", id), runningNow, func(w *world, a *answer) {
		_, a.err = w.s.RunNow(w.ctx, 1, id)
	}}
}

func (w *world) completeCall(id, epoch int64, well bool) *call {
	return &call{fmt.Sprintf("its receiver completes task %d epoch %d, well: %v", id, epoch, well), completing, func(w *world, a *answer) {
		c := task.Completion{TaskID: id, Epoch: int32(epoch), Outcome: task.OutcomeFailed, ErrCode: "model"}
		if well {
			c = task.Completion{TaskID: id, Epoch: int32(epoch), Outcome: task.OutcomeSucceeded, Result: []byte("1")}
		}
		a.complete, a.err = w.s.Complete(w.ctx, 1, c)
	}}
}

// auditCall walks over all tasks. It must never find anything.
func (w *world) auditCall() *call {
	return &call{"a scheduler audits", auditing, func(w *world, a *answer) {
		a.mended, _, a.err = w.s.Audit(w.ctx, 1, 100)
	}}
}

// dueCall asks which bells a scheduler would ring now.
func (w *world) dueCall() *call {
	return &call{"a scheduler looks for due bells", noArrow, func(w *world, a *answer) { w.due(a) }}
}

func (w *world) due(a *answer) (bells []int64) {
	pairs, err := w.s.DuePairs(w.ctx)
	if a.err = err; err != nil {
		return nil
	}
	for _, p := range pairs {
		page, err := w.s.DueBells(w.ctx, p.LaneID, p.AppID, p.Kind, w.now, task.BellAfter{}, 100)
		if err != nil {
			a.err = err
			return nil
		}
		for _, b := range page {
			if w.plant != nil && w.plant.deaf && b.Epoch > 0 {
				continue
			}
			bells = append(bells, b.ID)
			a.claimed.Bells = append(a.claimed.Bells, task.ClaimedBell{ID: b.ID})
		}
	}
	return bells
}

// claimDueCall lets a worker claim what a scheduler finds due at that moment, and rings.
func (w *world) claimDueCall(worker int64) *call {
	return &call{fmt.Sprintf("a scheduler rings what is due, and worker %d claims it", worker), claiming, func(w *world, a *answer) {
		if bells := w.due(a); len(bells) > 0 {
			w.claimCall(worker, maxTasks, bells...).run(w, a)
		}
	}}
}

// rescueCall releases the first claim that a scheduler finds at that moment whose worker is gone.
func (w *world) rescueCall() *call {
	return &call{"a scheduler rescues what it finds", releasing, func(w *world, a *answer) {
		ids, err := w.s.OrphanClaims(w.ctx, 50)
		if a.err = err; len(ids) > 0 {
			_, a.err = w.s.Release(w.ctx, ids[0], nil, task.CauseLost)
		}
	}}
}
