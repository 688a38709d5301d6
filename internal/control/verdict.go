package control

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Verdict says in one word and one sentence why a task is where it is.
type Verdict struct{ Code, Text string }

// workerTable is the list of live workers, read again each second, for verdicts.
type workerTable struct {
	store Store
	mu    sync.Mutex
	list  []task.Worker
	at    time.Time
	ok    bool
}

func (t *workerTable) alive(ctx context.Context) ([]task.Worker, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ok && time.Since(t.at) < time.Second {
		return t.list, nil
	}
	all, err := t.store.Workers(ctx, false)
	if err != nil {
		return nil, err
	}
	t.list = slices.DeleteFunc(all, func(w task.Worker) bool { return w.State != task.WorkerAlive })
	t.at, t.ok = time.Now(), true
	return t.list, nil
}

// Verdict explains a task. The view is a moment old, so what it says may be over by the time it is read.
func (s *Service) Verdict(ctx context.Context, v task.View) (Verdict, error) {
	now := s.clock.Now()
	switch {
	case v.State.Final():
		return finalVerdict(v), nil
	case v.State == task.Running && v.CancelAt != 0:
		return Verdict{"cancelling", fmt.Sprintf("cancel was asked for at %s; worker %d has not confirmed yet", clock(v.CancelAt), v.WorkerID)}, nil
	case v.State == task.Running && v.Flags.Has(task.Zombie):
		return Verdict{"running", fmt.Sprintf("its handler on worker %d ignores that its time is over; abandon closes the attempt", v.WorkerID)}, nil
	case v.State == task.Running:
		return Verdict{"running", fmt.Sprintf("worker %d runs it since %s", v.WorkerID, clock(v.StartedAt))}, nil
	case v.Awaits():
		return Verdict{"running", fmt.Sprintf("its receiver took it over and has until %s to complete epoch %d", clock(v.DueAt), v.Epoch)}, nil
	case v.State == task.Blocked:
		return Verdict{"blocked_by_parent", "it waits for the tasks before it"}, nil
	case v.DueAt > now:
		return notDue(v), nil
	}
	return s.dueVerdict(ctx, v)
}

func finalVerdict(v task.View) Verdict {
	text := fmt.Sprintf("it %s at %s", map[task.State]string{task.Succeeded: "succeeded", task.Failed: "failed", task.Cancelled: "was cancelled"}[v.State], clock(v.FinishedAt))
	switch v.Reason {
	case task.Exhausted:
		text += fmt.Sprintf(" after %d failed attempts: no retry is left", v.Failures)
	case task.Permanent:
		text += ": the error was one that no retry can mend"
	case task.Expired:
		again := ""
		if v.Epoch > 0 {
			again = " again"
		}
		text += ": nothing started it" + again + " before it expired"
	case task.LostWorker:
		text += fmt.Sprintf(": %d workers died with it", v.Losses)
	case task.Replaced:
		text += ": another task took its unique key"
	case task.Abandoned:
		text += ": its attempt was closed by hand"
	}
	return Verdict{"final", text}
}

func notDue(v task.View) Verdict {
	if n := len(v.Attempts); n > 0 && v.Attempts[n-1].Outcome == task.OutcomeSnoozed && v.Attempts[n-1].ErrMessage != "" {
		return Verdict{"not_due", fmt.Sprintf("it was postponed until %s: %s", clock(v.DueAt), v.Attempts[n-1].ErrMessage)}
	}
	if v.Failures > 0 {
		return Verdict{"not_due", fmt.Sprintf("retry %d is due at %s", v.Failures, clock(v.DueAt))}
	}
	return Verdict{"not_due", "it is due at " + clock(v.DueAt)}
}

// dueVerdict is for a task that is due and not running.
func (s *Service) dueVerdict(ctx context.Context, v task.View) (Verdict, error) {
	if limit, held, err := s.limitVerdict(ctx, v); held || err != nil {
		return limit, err
	}
	app, err := s.store.AppByID(ctx, v.AppID)
	if err != nil {
		return Verdict{}, err
	}
	if app.Paused {
		return Verdict{"app_paused", "its app is paused"}, nil
	}
	workers, err := s.workers.alive(ctx)
	if err != nil {
		return Verdict{}, err
	}
	serves := slices.DeleteFunc(slices.Clone(workers), func(w task.Worker) bool {
		return len(w.Info.Queues) > 0 && !slices.Contains(w.Info.Queues, v.Queue)
	})
	if len(serves) == 0 {
		return Verdict{"no_worker_for_queue", fmt.Sprintf("no live worker serves queue %q (%d workers are alive)", v.Queue, len(workers))}, nil
	}
	if !slices.ContainsFunc(serves, func(w task.Worker) bool { return slices.Contains(w.Info.Kinds, v.Kind) }) {
		return Verdict{"no_worker_for_kind", fmt.Sprintf("none of the %d workers that serve queue %q runs kind %q", len(serves), v.Queue, v.Kind)}, nil
	}
	if s.broker != nil && !s.broker() {
		return Verdict{"broker_unreachable", "no nsqd can be reached; the task is safe and starts when one is back"}, nil
	}
	return behind(v, serves), nil
}

func behind(v task.View, serves []task.Worker) Verdict {
	slots, busy := 0, 0
	for _, w := range serves {
		slots, busy = slots+w.Info.Slots, busy+w.Info.Busy
	}
	return Verdict{"behind_older", fmt.Sprintf("it waits for its turn in queue %q (at the last heartbeat %d of %d slots of %d workers were busy)", v.Queue, busy, slots, len(serves))}
}

func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
