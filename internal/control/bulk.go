package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// maxBulks is how many bulk operations of one app run at once.
const maxBulks = 5

// BulkInput is a bulk operation as a client asks for it.
type BulkInput struct {
	Action    string
	State     string
	Queue     string
	Kind      string
	Labels    []task.Label // one
	UniqueKey string
	IDs       []int64 // ≤ 1,000; alone
	From, To  Maybe[int64]
	DryRun    bool
	HasIDs    bool // IDs were given, even none
	Broken    []task.FieldError
}

// CreateBulk begins a bulk operation on what is there now of the principal's app: it goes on in the background, on the schedulers. Every
// broken rule is named. Throttled when five of the app's run. Needs scope submit, for deleting manage.
func (s *Service) CreateBulk(ctx context.Context, p Principal, in *BulkInput, idem *IdempotencyKey) (op task.Bulk, replayed bool, err error) {
	if err := p.need(bulkScope(in.Action)); err != nil {
		return op, false, err
	}
	if err := p.one(); err != nil {
		return op, false, err
	}
	if err := idem.check(); err != nil {
		return op, false, err
	}
	if op, err = in.bulk(s.clock.Now()); err != nil {
		return op, false, err
	}
	op.AppID = p.App.ID
	tctx, e := s.trail(ctx, p, "bulk."+op.Action.String(), "")
	e.After = document(map[string]any{"action": op.Action.String(), "filter": op.Filter, "dryRun": op.DryRun})
	got, replayed, err := s.store.CreateBulk(tctx, op, idem.remembered(p.App.ID), maxBulks)
	if err == nil && !replayed {
		s.recorded(ctx, p, e)
	}
	return got, replayed, err
}

func bulkScope(action string) task.Scope {
	if action == task.BulkDelete.String() {
		return task.ScopeManage
	}
	return task.ScopeSubmit
}

// bulk checks the input.
func (in *BulkInput) bulk(now int64) (op task.Bulk, err error) {
	f := faults{fields: in.Broken}
	for _, a := range [...]task.BulkAction{task.BulkCancel, task.BulkRetry, task.BulkDelete} {
		if a.String() == in.Action {
			op.Action = a
		}
	}
	switch {
	case in.Action == "" && !f.has("action"):
		f.add("action", "required", "is required")
	case in.Action != "" && op.Action == 0:
		f.add("action", "one_of", "must be cancel, retry or delete")
	}
	if in.State != "" && !slices.Contains(shownStates, in.State) {
		f.add("filter.state", "one_of", "must be scheduled, queued, running, succeeded, failed, cancelled or blocked")
	}
	checkName(&f, "filter.queue", in.Queue, MaxQueue, queueChars, false)
	checkName(&f, "filter.kind", in.Kind, MaxKind, kindChars, false)
	if len(in.UniqueKey) > MaxUniqueKey {
		f.add("filter.uniqueKey", "length", "must be 1 … 255 bytes")
	}
	if len(in.Labels) > 1 {
		f.add("filter.labels", "max_items", "must be one label")
	}
	checkBulkTimes(in, now, &f)
	others := in.State != "" || in.Queue != "" || in.Kind != "" || in.UniqueKey != "" || len(in.Labels) > 0 || in.From.Set || in.To.Set
	switch {
	case in.HasIDs && others:
		f.add("filter.ids", "alone", "goes without other members")
	case in.HasIDs && len(in.IDs) == 0 && len(in.Broken) == 0:
		f.add("filter.ids", "min_items", "must not be empty")
	case len(in.IDs) > MaxBatch:
		f.add("filter.ids", "max_items", fmt.Sprintf("must be at most %d", MaxBatch))
	case !in.HasIDs && !others && len(f.fields) == 0:
		f.add("filter", "required", "must say which tasks: at least one of state, queue, kind, labels, uniqueKey, ids, from, to")
	}
	op.DryRun = in.DryRun
	op.Filter = task.BulkFilter{State: in.State, Queue: in.Queue, Kind: in.Kind, UniqueKey: in.UniqueKey, From: in.From.V, To: in.To.V}
	if len(in.Labels) == 1 {
		op.Filter.Label = &in.Labels[0]
	}
	if in.HasIDs {
		op.Filter.IDs = slices.Clone(in.IDs)
		slices.Sort(op.Filter.IDs)
		op.Filter.IDs = slices.Compact(op.Filter.IDs)
	}
	return op, f.err()
}

func checkBulkTimes(in *BulkInput, now int64, f *faults) {
	if in.From.Set && in.From.V < 1 {
		f.add("filter.from", "range", "must be later than 1970")
	}
	if in.To.Set && in.To.V < 1 {
		f.add("filter.to", "range", "must be later than 1970")
	}
	if in.From.Set && in.From.V > now {
		f.add("filter.from", "range", "must not be in the future: only tasks that are there now can be chosen")
	}
	if in.From.Set && in.To.Set && in.To.V <= in.From.V {
		f.add("filter.to", "after", "must be later than from")
	}
}

// Bulks gives a page of the principal's bulk operations, newest first. Needs scope read.
func (s *Service) Bulks(ctx context.Context, p Principal, cursor string, limit int) (task.BulkPage, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.BulkPage{}, err
	}
	if limit < 1 || limit > 1000 {
		return task.BulkPage{}, task.InvalidField("limit", "range", "must be 1 … 1000")
	}
	return s.store.Bulks(ctx, p.appID(), cursor, limit)
}

// Bulk gives a bulk operation as it stands. Needs scope read.
func (s *Service) Bulk(ctx context.Context, p Principal, id int64) (task.Bulk, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.Bulk{}, err
	}
	return s.store.BulkByID(ctx, p.appID(), id)
}

// StopBulk ends a bulk operation before its time: what it has done stays done. One that is over stays as it is. Needs the scope that
// beginning it needs.
func (s *Service) StopBulk(ctx context.Context, p Principal, id int64) (task.Bulk, error) {
	if err := p.need(task.ScopeSubmit); err != nil {
		return task.Bulk{}, err
	}
	op, err := s.store.BulkByID(ctx, p.appID(), id)
	if err != nil {
		return op, err
	}
	if err := p.need(bulkScope(op.Action.String())); err != nil {
		return task.Bulk{}, err
	}
	tctx, e := s.trail(ctx, p, "bulk.stop", id)
	e.AppID = op.AppID
	if op, err = s.store.StopBulk(tctx, p.appID(), id); err == nil && e.Written {
		s.recorded(ctx, p, e)
	}
	return op, err
}
