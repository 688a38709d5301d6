package control

import (
	"context"
	"fmt"

	"github.com/taskweir/taskweir/internal/task"
)

// LimitStore is what limits need of the database. A limit that is set holds from the answer on, also for what was rung before.
type LimitStore interface {
	// PutQueue makes a queue if it is not there and sets its limits and whether it is paused.
	PutQueue(ctx context.Context, queue string, limits task.Limits, paused bool) error
	// LimitKey gives what is set for a limit key. Missing when nothing is.
	LimitKey(ctx context.Context, app int32, key string) (task.Limit, error)
	// LimitKeys lists the limit keys of an app for which something is set, by name, behind a name.
	LimitKeys(ctx context.Context, app int32, after string, limit int) ([]task.Limit, error)
	PutLimitKey(ctx context.Context, app int32, key string, limits task.Limits, paused bool) (task.Limit, error)
	// PauseLimitKey pauses or resumes a limit key, also one for which nothing was set.
	PauseLimitKey(ctx context.Context, app int32, key string, paused bool) (task.Limit, error)
	// DeleteLimitKey takes every limit away from a key. Missing when there is none.
	DeleteLimitKey(ctx context.Context, app int32, key string) error
	// LimitsOf lists what limits tasks of a queue, an app and a flow, with how it stands.
	LimitsOf(ctx context.Context, queue string, app int32, flow int64) ([]task.Limit, error)
}

// LimitsInput is limits as a client asks for them. The zero value bounds nothing.
type LimitsInput struct {
	Concurrency Maybe[int64]
	Rate        bool // the fields below count
	Tasks       Maybe[int64]
	PerMs       Maybe[int64] // default 1,000
	Burst       Maybe[int64] // default what 100 ms allow
}

// limits checks an input, whose fields are named behind prefix.
func (in LimitsInput) limits(f *faults, prefix string) (out task.Limits) {
	f.inRange(prefix+"concurrency", in.Concurrency, 1, task.MaxConcurrency)
	out.Concurrency = int(in.Concurrency.V)
	if !in.Rate {
		return out
	}
	if !in.Tasks.Set && !f.has(prefix+"rate.tasks") {
		f.add(prefix+"rate.tasks", "required", "is required")
	}
	f.inRange(prefix+"rate.tasks", in.Tasks, 1, task.MaxRate)
	f.inRange(prefix+"rate.perMs", in.PerMs, task.MinRatePerMs, task.MaxRatePerMs)
	f.inRange(prefix+"rate.burst", in.Burst, 1, task.MaxRate)
	out.RateTasks, out.RatePerMs = int(in.Tasks.V), in.PerMs.or(1000)
	out.RateBurst = int(in.Burst.or(int64(task.DefaultBurst(out.RateTasks, out.RatePerMs))))
	return out
}

const limitKeyChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-:@"

// ValidLimitKey reports whether a text can be a limit key: 1–64 of A-Z a-z 0-9 . _ - : @.
func ValidLimitKey(key string) bool { return validName(key, task.MaxLimitKey, limitKeyChars) }

func checkLimitKey(f *faults, field string, key Maybe[string]) {
	if key.Set && !ValidLimitKey(key.V) {
		f.add(field, "pattern", fmt.Sprintf("must be 1–%d of A-Z, a-z, 0-9 and . _ - : @", task.MaxLimitKey))
	}
}

// PutQueue makes a queue or changes what is set of it: limits, for all apps together, and whether it is paused. Needs what
// SetQueuePaused needs.
func (s *Service) PutQueue(ctx context.Context, p Principal, name string, in LimitsInput, paused bool, brokenFields []task.FieldError) (task.QueueDepth, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.QueueDepth{}, err
	}
	if name == task.SystemQueue {
		if err := p.need(task.ScopeAdmin); err != nil {
			return task.QueueDepth{}, err
		}
	}
	f := faults{fields: brokenFields}
	checkName(&f, "name", name, MaxQueue, queueChars, true)
	limits := in.limits(&f, "limits.")
	if err := f.err(); err != nil {
		return task.QueueDepth{}, err
	}
	tctx, e := s.trail(ctx, p, "queue.update", name)
	e.After = limitsDocument(limits, paused)
	was, err := s.store.LimitsOf(ctx, name, 0, 0)
	if err != nil {
		return task.QueueDepth{}, err
	}
	for _, l := range was {
		e.Before = limitsDocument(l.Limits, l.Paused)
	}
	if err := s.store.PutQueue(tctx, name, limits, paused); err != nil {
		return task.QueueDepth{}, err
	}
	s.recorded(ctx, p, e)
	return s.Queue(ctx, p, name)
}

// LimitKeys lists the limit keys of the principal's app for which something is set, by name. Needs scope read.
func (s *Service) LimitKeys(ctx context.Context, p Principal, after string, limit int) ([]task.Limit, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	return s.store.LimitKeys(ctx, p.App.ID, after, limit)
}

// LimitKey tells what holds for a limit key, and how many of its tasks hold a place. Needs scope read.
func (s *Service) LimitKey(ctx context.Context, p Principal, key string) (task.Limit, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return task.Limit{}, err
	}
	if !ValidLimitKey(key) {
		return task.Limit{}, task.Missing("limit_key")
	}
	return s.store.LimitKey(ctx, p.App.ID, key)
}

// PutLimitKey sets what holds for the tasks of the principal's app that carry a limit key. Needs scope manage.
func (s *Service) PutLimitKey(ctx context.Context, p Principal, key string, in LimitsInput, paused bool, brokenFields []task.FieldError) (task.Limit, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.Limit{}, err
	}
	f := faults{fields: brokenFields}
	checkLimitKey(&f, "key", Some(key))
	limits := in.limits(&f, "limits.")
	if err := f.err(); err != nil {
		return task.Limit{}, err
	}
	return s.changeKey(ctx, p, "limit_key.update", key, func(ctx context.Context) (task.Limit, error) {
		return s.store.PutLimitKey(ctx, p.App.ID, key, limits, paused)
	})
}

// PauseLimitKey pauses or resumes a limit key: nothing new of it starts, what runs goes on. Needs scope manage.
func (s *Service) PauseLimitKey(ctx context.Context, p Principal, key string, paused bool) (task.Limit, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.Limit{}, err
	}
	var f faults
	if checkLimitKey(&f, "key", Some(key)); len(f.fields) > 0 {
		return task.Limit{}, f.err()
	}
	action := "limit_key.resume"
	if paused {
		action = "limit_key.pause"
	}
	return s.changeKey(ctx, p, action, key, func(ctx context.Context) (task.Limit, error) {
		return s.store.PauseLimitKey(ctx, p.App.ID, key, paused)
	})
}

// DeleteLimitKey takes every limit away from a limit key; its tasks go on without. Needs scope manage.
func (s *Service) DeleteLimitKey(ctx context.Context, p Principal, key string) error {
	if err := p.need(task.ScopeManage); err != nil {
		return err
	}
	if !ValidLimitKey(key) {
		return task.Missing("limit_key")
	}
	_, err := s.changeKey(ctx, p, "limit_key.delete", key, func(ctx context.Context) (task.Limit, error) {
		return task.Limit{}, s.store.DeleteLimitKey(ctx, p.App.ID, key)
	})
	return err
}

// changeKey changes a limit key and records it.
func (s *Service) changeKey(ctx context.Context, p Principal, action, key string, change func(context.Context) (task.Limit, error)) (task.Limit, error) {
	tctx, e := s.trail(ctx, p, action, key)
	was, err := s.store.LimitKey(ctx, p.App.ID, key)
	if err == nil {
		e.Before = limitsDocument(was.Limits, was.Paused)
	} else if task.KindOf(err) != task.NotFound {
		return task.Limit{}, err
	}
	l, err := change(tctx)
	if err != nil {
		return l, err
	}
	if action != "limit_key.delete" {
		e.After = limitsDocument(l.Limits, l.Paused)
	}
	s.recorded(ctx, p, e)
	return l, nil
}

// lately is for how long after the last start a rate still counts as what a task waits for, in ns.
const lately = 250_000_000

// limitVerdict explains a task by the limits that hold for it; ok is false when none keeps it back.
func (s *Service) limitVerdict(ctx context.Context, v task.View) (out Verdict, ok bool, err error) {
	flow := task.FlowOf(v.AppID, v.Body.Head.LimitKey)
	limits, err := s.store.LimitsOf(ctx, v.Queue, v.AppID, flow)
	now := s.clock.Now() * 1e6
	for _, l := range limits {
		what, code := fmt.Sprintf("queue %q", v.Queue), "queue_paused"
		switch {
		case l.Flow != 0:
			what, code = fmt.Sprintf("limit key %q", l.Name), "limit_key_paused"
		case l.AppID != 0:
			what, code = "its app", "app_paused"
		}
		switch {
		case l.Paused:
			return Verdict{code, what + " is paused"}, true, nil
		case l.Concurrency > 0 && l.Running >= l.Concurrency:
			return Verdict{"concurrency_limited", fmt.Sprintf("%d tasks of %s run, of at most %d", l.Running, what, l.Concurrency)}, true, nil
		case l.RateTasks > 0 && l.Tat > now-lately:
			return Verdict{"rate_limited", fmt.Sprintf("%s may start %d tasks in %d ms", what, l.RateTasks, l.RatePerMs)}, true, nil
		}
	}
	return Verdict{}, false, err
}
