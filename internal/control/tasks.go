package control

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// viewChunk is how many tasks are read by one query.
const viewChunk = 500

// Now is the database's clock, for showing whether a waiting task is due.
func (s *Service) Now() int64 { return s.clock.Now() }

// Get gives a task whole. Needs scope read.
func (s *Service) Get(ctx context.Context, p Principal, id int64) (task.View, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.View{}, err
	}
	return s.view(ctx, p, id)
}

func (s *Service) view(ctx context.Context, p Principal, id int64) (task.View, error) {
	vs, err := s.store.Views(ctx, p.appID(), []int64{id})
	if err != nil {
		return task.View{}, err
	}
	if len(vs) == 0 {
		return task.View{}, task.Missing("task")
	}
	return vs[0], nil
}

func (s *Service) views(ctx context.Context, p Principal, ids []int64) (map[int64]task.View, error) {
	m := make(map[int64]task.View, len(ids))
	for chunk := range slices.Chunk(ids, viewChunk) {
		vs, err := s.store.Views(ctx, p.appID(), chunk)
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			m[v.ID] = v
		}
	}
	return m, nil
}

const (
	manyChunk = 50       // tasks of one query of GetMany: what it may read beyond its limit
	manyBytes = 32 << 20 // payloads and results of one answer
)

// GetMany gives tasks in the order of ids, at most 1,000 and each once; unknown ones are left out. TooLarge when together
// they are more than a process can hold for everybody who asks. Needs scope read.
func (s *Service) GetMany(ctx context.Context, p Principal, ids []int64) ([]task.View, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	if len(ids) > MaxBatch {
		return nil, task.InvalidField("ids", "max_items", "must be at most 1000")
	}
	seen := make(map[int64]bool, len(ids))
	ids = slices.DeleteFunc(slices.Clone(ids), func(id int64) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
	out, size := make([]task.View, 0, len(ids)), 0
	for chunk := range slices.Chunk(ids, manyChunk) {
		vs, err := s.store.Views(ctx, p.appID(), chunk)
		if err != nil {
			return nil, err
		}
		for i := range vs {
			size += len(vs[i].Body.Payload) + len(vs[i].Result)
		}
		if size > manyBytes {
			return nil, &task.Error{Kind: task.TooLarge, Code: "answer_too_large", Message: "these tasks are too large for one answer; ask for fewer ids at once"}
		}
		out = append(out, vs...)
	}
	return out, nil
}

// Wait gives the task when it is final or d (≤ MaxWait) is over, whichever comes first. Needs scope read.
func (s *Service) Wait(ctx context.Context, p Principal, id int64, d time.Duration) (task.View, error) {
	if d > MaxWait {
		d = MaxWait
	}
	v, err := s.Get(ctx, p, id)
	if err != nil || d <= 0 || v.State.Final() {
		return v, err
	}
	if err := s.waiting.wait(ctx, id, d); err != nil {
		return v, err
	}
	return s.view(ctx, p, id)
}

// List gives a page of tasks. f.AppID is set from the principal. Needs scope read.
func (s *Service) List(ctx context.Context, p Principal, f task.Filter) (task.Page, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.Page{}, err
	}
	var bad faults
	if f.State != "" && !slices.Contains(shownStates, f.State) {
		bad.add("state", "one_of", "must be scheduled, queued, running, succeeded, failed, cancelled or blocked")
	}
	checkName(&bad, "queue", f.Queue, MaxQueue, queueChars, false)
	checkName(&bad, "kind", f.Kind, MaxKind, kindChars, false)
	if f.Limit < 1 || f.Limit > 1000 {
		bad.add("limit", "range", "must be 1 … 1000")
	}
	if f.From != 0 && f.To != 0 && f.To <= f.From {
		bad.add("to", "after", "must be later than from")
	}
	if len(f.UniqueKey) > MaxUniqueKey {
		bad.add("uniqueKey", "length", "must be 1 … 255 bytes")
	}
	if len(f.Cursor) > 512 {
		bad.add("cursor", "format", "is not a cursor of this list")
	}
	if err := bad.err(); err != nil {
		return task.Page{}, err
	}
	f.AppID = p.appID()
	return s.store.List(ctx, f)
}

var shownStates = []string{"scheduled", "queued", "running", "succeeded", "failed", "cancelled", "blocked"}

// Cancel ends a waiting task at once, asks the worker of a running one to stop and waits up to d (≤ MaxWait) for it, and
// leaves a final one as it is. The task as it is then: still running means that the worker has not confirmed. Needs scope
// submit.
func (s *Service) Cancel(ctx context.Context, p Principal, id int64, d time.Duration) (task.View, error) {
	v, _, err := s.cancel(ctx, p, id, d)
	return v, err
}

// cancel is Cancel, and says what was found.
func (s *Service) cancel(ctx context.Context, p Principal, id int64, d time.Duration) (v task.View, rep task.CancelReport, err error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return v, rep, err
	}
	tctx, e := s.trail(ctx, p, "task.cancel", id)
	if rep, err = s.store.Cancel(tctx, p.appID(), id); err != nil {
		return v, rep, settled(err)
	}
	if e.Written { // else nothing was left to do
		s.recorded(ctx, p, e)
	}
	if rep.State != task.Running {
		s.waiting.finished([]int64{id})
		v, err = s.changed(ctx, p, id)
		return v, rep, err
	}
	s.signal(ctx, rep.WorkerID, task.Signal{Kind: "cancel", TaskID: id, Epoch: rep.Epoch})
	if d > 0 {
		// The change is made. Where nobody more can wait, the answer is what the task is now: "too many" would say that nothing was done.
		if err := s.waiting.wait(ctx, id, min(d, MaxWait)); err != nil && task.KindOf(err) != task.Throttled {
			return v, rep, err
		}
	}
	v, err = s.changed(ctx, p, id)
	return v, rep, err
}

// changed gives a task that was just changed. A database that went away since then must not be answered as one that was away: the
// answer to that says that nothing was changed.
func (s *Service) changed(ctx context.Context, p Principal, id int64) (task.View, error) {
	v, err := s.view(ctx, p, id)
	if err != nil && task.KindOf(err) == task.Unavailable {
		err = changeUnknown(err)
	}
	return v, err
}

// settled is the error of a change, with its own code when nobody knows whether it was made.
func settled(err error) error {
	if errors.Is(err, task.ErrOutcomeUnknown) {
		return changeUnknown(err)
	}
	return err
}

func changeUnknown(cause error) error {
	return &task.Error{Kind: task.Unavailable, Code: "outcome_unknown", RetryAfter: time.Second, Cause: cause,
		Message: "it is not known whether the task was changed; look at it before you ask again"}
}

// signal tells a worker. Best effort: it reads the database at its next beat.
func (s *Service) signal(ctx context.Context, workerID int64, sig task.Signal) {
	if s.signals == nil || workerID == 0 {
		return
	}
	if err := s.signals.Signal(ctx, workerID, sig); err != nil {
		s.log.Debug("a worker could not be signalled, it will see at its next beat", "worker", workerID, "signal", sig.Kind, "error", err)
	}
}

// Retry re-opens a final task: failed and cancelled ones, succeeded ones with force. It keeps its id and attempts and
// starts its retry budget anew. Conflict otherwise, and when another task has its unique key. Needs scope submit.
func (s *Service) Retry(ctx context.Context, p Principal, id int64, force bool) (task.View, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.View{}, err
	}
	tctx, e := s.trail(ctx, p, "task.retry", id)
	bell, err := s.store.Reopen(tctx, p.appID(), id, force)
	if err != nil {
		return task.View{}, settled(err)
	}
	s.recorded(ctx, p, e, "force", force)
	s.ringer.Ring(task.Rung{Bell: bell})
	return s.changed(ctx, p, id)
}

// RetryWith makes a new task like a final one, due now, with another payload: payloads are written once. It takes over
// kind, queue, priority, timeout, retry policy and labels, and names the old task in RetryOf. Conflict when the old task
// is not final, or succeeded without force. Needs scope submit.
func (s *Service) RetryWith(ctx context.Context, p Principal, id int64, force bool, payload []byte, idem *IdempotencyKey) (Submitted, error) {
	if err := s.maySubmit(p, idem); err != nil {
		return Submitted{}, err
	}
	old, err := s.view(ctx, p, id)
	if err != nil {
		return Submitted{}, err
	}
	switch {
	case !old.State.Final():
		return Submitted{}, &task.Error{Kind: task.Conflict, Code: "task_not_final", Message: "only a final task can be retried", TaskID: id}
	case old.State == task.Succeeded && !force:
		return Submitted{}, &task.Error{Kind: task.Conflict, Code: "task_succeeded", Message: "a succeeded task is only retried with force", TaskID: id}
	}
	in := &Input{Kind: old.Kind, Queue: old.Queue, Payload: payload, Priority: old.Priority.String(), TimeoutMs: Some(int64(old.TimeoutMs)), retryOf: id, Name: old.Body.Head.Name}
	if r := old.Body.Head.Retry; r != nil {
		in.Retry = &RetryInput{Policy: r.Policy, BaseMs: Some(r.BaseMs), CapMs: Some(r.CapMs), Jitter: Some(r.Jitter), Max: Some(int64(r.Max)), DelaysMs: r.DelaysMs}
	}
	if url := old.Body.Head.CompletionURL; url != "" {
		in.CompletionURL = Some(url)
	}
	for k, v := range old.Body.Head.Labels {
		in.Labels = append(in.Labels, task.Label{Key: k, Value: v})
	}
	return s.Submit(ctx, p, in, idem)
}

// RunNow pulls a waiting task forward. Conflict when it does not wait. Needs scope submit.
func (s *Service) RunNow(ctx context.Context, p Principal, id int64) (task.View, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.View{}, err
	}
	tctx, e := s.trail(ctx, p, "task.run_now", id)
	bell, err := s.store.RunNow(tctx, p.appID(), id)
	if err != nil {
		return task.View{}, settled(err)
	}
	s.recorded(ctx, p, e)
	s.ringer.Ring(task.Rung{Bell: bell})
	return s.changed(ctx, p, id)
}

// Abandon closes a zombie, an attempt whose handler ignores that it was cancelled or timed out; the handler may still
// run. Conflict when the task is none. Needs scope manage.
func (s *Service) Abandon(ctx context.Context, p Principal, id int64) (task.View, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.View{}, err
	}
	before, err := s.store.State(ctx, p.appID(), id)
	if err != nil {
		return task.View{}, err
	}
	bell, err := s.store.Abandon(ctx, p.appID(), id)
	if err != nil {
		return task.View{}, settled(err)
	}
	_, e := s.trail(ctx, p, "task.abandon", id)
	e.AppID = before.AppID
	s.recorded(ctx, p, e, "epoch", before.Epoch)
	s.signal(ctx, before.WorkerID, task.Signal{Kind: "abandon", TaskID: id, Epoch: before.Epoch})
	if bell != nil {
		s.ringer.Ring(task.Rung{Bell: *bell})
	}
	s.waiting.finished([]int64{id})
	return s.changed(ctx, p, id)
}

// Log gives the last 64 KiB that an attempt wrote (0: the newest attempt that has a log); empty when there is none. Needs
// scope read.
func (s *Service) Log(ctx context.Context, p Principal, id, attemptID int64) ([]byte, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	log, err := s.store.Log(ctx, p.appID(), id, attemptID)
	if err != nil {
		return nil, err
	}
	return log[max(0, len(log)-task.MaxLog):], nil
}
