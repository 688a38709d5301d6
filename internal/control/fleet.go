package control

import (
	"context"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// KindInfo is a kind that tasks may have.
type KindInfo struct {
	Name    string
	BuiltIn bool
}

// Kinds lists every declared kind by name; Taskweir's own are an admin's to see. Needs scope read.
func (s *Service) Kinds(ctx context.Context, p Principal) ([]KindInfo, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	// The table declares the built-in kinds when they are missing.
	if len(s.kinds.builtins) > 0 {
		if _, _, err := s.kinds.id(ctx, s.kinds.builtins[0]); err != nil {
			return nil, err
		}
	}
	rows, err := s.store.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]KindInfo, 0, len(rows))
	for _, k := range rows {
		if p.Scope >= task.ScopeAdmin || !task.IsSystemKind(k.Name) {
			out = append(out, s.kindInfo(k.Name))
		}
	}
	slices.SortFunc(out, func(a, b KindInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Kind gives one declared kind. Missing when there is none of the name. Needs scope read.
func (s *Service) Kind(ctx context.Context, p Principal, name string) (KindInfo, error) {
	kinds, err := s.Kinds(ctx, p)
	if err != nil {
		return KindInfo{}, err
	}
	if i := slices.IndexFunc(kinds, func(k KindInfo) bool { return k.Name == name }); i >= 0 {
		return kinds[i], nil
	}
	return KindInfo{}, task.Missing("kind")
}

func (s *Service) kindInfo(name string) KindInfo {
	_, builtin := s.checks[name]
	return KindInfo{Name: name, BuiltIn: builtin}
}

// DeclareKind makes a kind known for ever, so that its tasks are accepted before any worker runs it. Needs scope manage.
func (s *Service) DeclareKind(ctx context.Context, p Principal, name string) (KindInfo, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return KindInfo{}, err
	}
	if !ValidKind(name) {
		return KindInfo{}, task.InvalidField("name", "pattern", "must be 1–64 of a-z, 0-9 and . _ -")
	}
	if task.IsSystemKind(name) {
		return KindInfo{}, task.InvalidField("name", "reserved", "kinds that begin with "+task.SystemKind+" are Taskweir's own")
	}
	if err := s.kinds.declare(ctx, name); err != nil {
		return KindInfo{}, err
	}
	_, e := s.trail(ctx, p, "kind.declare", name)
	s.recorded(ctx, p, e)
	return s.kindInfo(name), nil
}

// Queues tells how every queue stands, by name; depths count the principal's tasks. Who is no admin sees Taskweir's own queue
// only while tasks of theirs are in it. Needs scope read.
func (s *Service) Queues(ctx context.Context, p Principal) ([]task.QueueDepth, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	qs, err := s.store.Queues(ctx, p.appID(), s.clock.Now())
	if p.Scope < task.ScopeAdmin {
		qs = slices.DeleteFunc(qs, func(q task.QueueDepth) bool {
			return q.Queue == task.SystemQueue && q.Waiting+q.Scheduled+q.Running == 0
		})
	}
	slices.SortFunc(qs, func(a, b task.QueueDepth) int { return strings.Compare(a.Queue, b.Queue) })
	return qs, err
}

// Queue tells how one queue stands. Needs scope read.
func (s *Service) Queue(ctx context.Context, p Principal, name string) (task.QueueDepth, error) {
	qs, err := s.Queues(ctx, p)
	if err != nil {
		return task.QueueDepth{}, err
	}
	for _, q := range qs {
		if q.Queue == name {
			return q, nil
		}
	}
	return task.QueueDepth{}, task.Missing("queue")
}

// SetQueuePaused pauses or resumes a queue for every app: nothing new starts, what runs goes on. Needs scope manage, and for
// Taskweir's own queue, on which every app's completions and the purge depend, scope admin.
func (s *Service) SetQueuePaused(ctx context.Context, p Principal, name string, paused bool) (task.QueueDepth, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.QueueDepth{}, err
	}
	if name == task.SystemQueue {
		if err := p.need(task.ScopeAdmin); err != nil {
			return task.QueueDepth{}, err
		}
	}
	if !ValidQueue(name) {
		return task.QueueDepth{}, task.Missing("queue")
	}
	action := "queue.resume"
	if paused {
		action = "queue.pause"
	}
	tctx, e := s.trail(ctx, p, action, name)
	lanes, err := s.store.Lanes(ctx)
	if err != nil {
		return task.QueueDepth{}, err
	}
	if i := slices.IndexFunc(lanes, func(l task.Lane) bool { return l.Queue == name }); i >= 0 {
		e.Before = document(map[string]bool{"paused": lanes[i].Paused})
	}
	e.After = document(map[string]bool{"paused": paused})
	if err := s.store.SetQueuePaused(tctx, name, paused); err != nil {
		return task.QueueDepth{}, err
	}
	s.recorded(ctx, p, e)
	return s.Queue(ctx, p, name)
}

// Workers lists workers, with all also those that went in the last hour. Needs scope read.
func (s *Service) Workers(ctx context.Context, p Principal, all bool) ([]task.Worker, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	ws, err := s.store.Workers(ctx, all)
	slices.SortFunc(ws, func(a, b task.Worker) int { return int(min(1, max(-1, a.ID-b.ID))) })
	return ws, err
}

// Worker gives one worker and, unless it is gone, what it has been running for 200 ms or more: the principal's tasks, for
// an admin everybody's. Unavailable with code live_view_unavailable when the live view cannot be read. Needs scope read.
func (s *Service) Worker(ctx context.Context, p Principal, id int64) (task.Worker, []task.LiveEntry, error) {
	w, err := s.worker(ctx, p, id)
	if err != nil || w.State == task.WorkerGone || s.signals == nil {
		return w, nil, err
	}
	entries, err := s.signals.Running(ctx, id)
	if err != nil {
		return w, nil, liveGone(err)
	}
	if p.Scope < task.ScopeAdmin {
		entries = slices.DeleteFunc(entries, func(e task.LiveEntry) bool { return e.AppID != p.App.ID })
	}
	slices.SortFunc(entries, func(a, b task.LiveEntry) int { return int(min(1, max(-1, a.StartedAt-b.StartedAt))) })
	return w, entries, nil
}

func (s *Service) worker(ctx context.Context, p Principal, id int64) (task.Worker, error) {
	ws, err := s.Workers(ctx, p, true)
	if err != nil {
		return task.Worker{}, err
	}
	for _, w := range ws {
		if w.ID == id {
			return w, nil
		}
	}
	return task.Worker{}, task.Missing("worker")
}

// DrainWorker asks a worker to take nothing new, to finish or hand back what it runs, and to end. Needs scope manage.
func (s *Service) DrainWorker(ctx context.Context, p Principal, id int64) (task.Worker, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return task.Worker{}, err
	}
	tctx, e := s.trail(ctx, p, "worker.drain", id)
	if err := s.store.DrainWorker(tctx, id); err != nil {
		return task.Worker{}, err
	}
	s.recorded(ctx, p, e)
	s.signal(ctx, id, task.Signal{Kind: "drain"})
	return s.worker(ctx, p, id)
}
