package rest

import (
	"context"
	"net/http"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (a *api) listKinds(ctx context.Context, c call) (httpkit.Response, error) {
	kinds, err := a.svc.Kinds(ctx, c.who)
	return list(c, kinds, err, func(k control.KindInfo) apiv1.Kind { return apiv1.Kind(k) }, func(k control.KindInfo) string { return k.Name })
}

func (a *api) declareKind(ctx context.Context, c call) (httpkit.Response, error) {
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	k, err := a.svc.DeclareKind(ctx, c.who, c.Param("name"))
	return one(apiv1.Kind(k), err)
}

func (a *api) listQueues(ctx context.Context, c call) (httpkit.Response, error) {
	qs, err := a.svc.Queues(ctx, c.who)
	return list(c, qs, err, a.queueOf, func(q task.QueueDepth) string { return q.Queue })
}

func (a *api) getQueue(ctx context.Context, c call) (httpkit.Response, error) {
	q, err := a.svc.Queue(ctx, c.who, c.Param("name"))
	return tagged(a.queueOf(q), err)
}

func (a *api) pauseQueue(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setPaused(ctx, c, true)
}

func (a *api) resumeQueue(ctx context.Context, c call) (httpkit.Response, error) {
	return a.setPaused(ctx, c, false)
}

func (a *api) setPaused(ctx context.Context, c call, paused bool) (httpkit.Response, error) {
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	q, err := a.svc.SetQueuePaused(ctx, c.who, c.Param("name"), paused)
	return one(a.queueOf(q), err)
}

func (a *api) queueOf(q task.QueueDepth) apiv1.Queue {
	out := apiv1.Queue{Name: q.Queue, Paused: q.Paused, OldestDueAt: apiv1.Time(q.OldestDueAt),
		Depth:     apiv1.Count{Value: q.Waiting, AtLeast: q.AtLeast},
		Scheduled: apiv1.Count{Value: q.Scheduled, AtLeast: q.AtLeast},
		Running:   apiv1.Count{Value: q.Running, AtLeast: q.AtLeast}}
	out.Limits = limitsOf(q.Limits)
	if q.OldestDueAt != 0 {
		out.OldestDueAgeMs = max(0, a.svc.Now()-q.OldestDueAt)
	}
	return out
}

func (a *api) listWorkers(ctx context.Context, c call) (httpkit.Response, error) {
	all, err := flag(c, "all")
	if err != nil {
		return httpkit.Response{}, err
	}
	ws, err := a.svc.Workers(ctx, c.who, all)
	return listNewest(c, ws, err, workerOf, func(w task.Worker) int64 { return w.ID })
}

func (a *api) getWorker(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "worker")
	if err != nil {
		return httpkit.Response{}, err
	}
	w, entries, err := a.svc.Worker(ctx, c.who, id)
	out := workerOf(w)
	out.Running = make([]apiv1.RunningTask, 0, len(entries))
	for _, e := range entries {
		out.Running = append(out.Running, apiv1.RunningTask{Task: apiv1.ID(e.TaskID), Attempt: apiv1.ID(e.AttemptID), Epoch: int(e.Epoch),
			Kind: e.Kind, Queue: e.Queue, StartedAt: apiv1.Time(e.StartedAt), Zombie: e.Zombie})
	}
	return tagged(out, err)
}

func (a *api) drainWorker(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "worker")
	if err != nil {
		return httpkit.Response{}, err
	}
	if err := noBody(c); err != nil {
		return httpkit.Response{}, err
	}
	w, err := a.svc.DrainWorker(ctx, c.who, id)
	return one(workerOf(w), err)
}

func workerOf(w task.Worker) apiv1.Worker {
	out := apiv1.Worker{ID: apiv1.ID(w.ID), State: w.State.String(), Host: w.Info.Host, PID: w.Info.PID, Version: w.Info.Version,
		StartedAt: apiv1.Time(w.Info.StartedAt), BeatAt: apiv1.Time(w.BeatAt), Slots: w.Info.Slots, ShellSlots: w.Info.ShellSlots,
		Busy: w.Info.Busy, Zombies: w.Info.Zombies, Queues: w.Info.Queues, Kinds: w.Info.Kinds}
	if out.Queues == nil {
		out.Queues = []string{}
	}
	if out.Kinds == nil {
		out.Kinds = []string{}
	}
	return out
}

// one answers with one thing.
func one(v any, err error) (httpkit.Response, error) {
	if err != nil {
		return httpkit.Response{}, err
	}
	return httpkit.JSON(http.StatusOK, v)
}

// tagged answers with one thing that was asked for, and its tag.
func tagged(v any, err error) (httpkit.Response, error) {
	resp, err := one(v, err)
	resp.ETag = true
	return resp, err
}
