package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// Signals tells workers to act at once. Best effort: the database has it already.
type Signals interface {
	Signal(ctx context.Context, workerID int64, s task.Signal) error
}

// Ringer publishes bells after a commit (worker.Ringer): bells that are due, and those of the next two seconds at their instant.
type Ringer interface {
	Ring(bells ...task.Rung)
}

// signalsMost bounds the signals that wait to be sent; workers see in the database what was not.
const signalsMost = 1_000

// restMost bounds the schedules whose runs wait to be ended; what has no place is ended for the next slot.
const restMost = 1_000

// wrote does what a transaction leaves to do. planned says that slots were decided at their instants, not released later.
func (s *Scheduler) wrote(fires []*schedule.Fire, w schedule.Written, planned bool) {
	s.ringFired(fires, w.Bells)
	s.tell(w.Cancels)
	for _, r := range w.Rest {
		select {
		case s.rest <- r:
		default:
		}
	}
	if s.countFired(fires, planned) {
		s.settling.held()
	}
}

func (s *Scheduler) tell(cancels []schedule.Cancel) {
	for _, c := range cancels {
		select {
		case s.signals <- c:
		default:
		}
	}
}

// runRest ends what slots replace where it is more than their transaction could hold, beside the firing of everybody's slots.
func (s *Scheduler) runRest(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.rest:
			s.endRest(ctx, r)
		}
	}
}

func (s *Scheduler) endRest(ctx context.Context, r schedule.Rest) {
	for after := int64(0); ; {
		qctx, cancel := s.query(ctx)
		cancels, next, err := s.o.Schedules.EndPrevious(qctx, r, after)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				s.o.Logger.Warn("runs that a slot replaces were not ended, the next slot tries it again", "schedule", r.ScheduleID, "err", err)
			}
			return
		}
		s.tell(cancels)
		if after = next; next == 0 {
			return
		}
	}
}

// ringFired rings what was written. The scheduler is its writer, so starts wait neither for a look nor for the lane's owner.
func (s *Scheduler) ringFired(fires []*schedule.Fire, bells []task.Bell) {
	if s.o.Ringer == nil {
		s.ringNew(bells)
		return
	}
	if len(bells) == 0 {
		return
	}
	subs := make(map[int64]*task.Submission)
	for _, f := range fires {
		for i := range f.Shots {
			if sub := f.Shots[i].Sub; sub != nil {
				subs[sub.ID] = sub
			}
		}
	}
	rungs := make([]task.Rung, len(bells))
	for i, b := range bells {
		rungs[i].Bell = b
		for _, id := range b.TaskIDs {
			if sub := subs[id]; sub != nil {
				rungs[i].Items = append(rungs[i].Items, itemOf(sub))
			}
		}
	}
	s.o.Ringer.Ring(rungs...)
}

// itemOf is what a message says of a task that was just written.
func itemOf(t *task.Submission) task.Item {
	it := task.Item{ID: t.ID, KindID: t.KindID, TimeoutMs: t.TimeoutMs, Flags: t.Flags, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
	if len(t.Body) <= task.MaxInlineBody {
		it.Body = t.Body
	}
	return it
}

// countFired counts what became of the slots, and reports whether some wait for earlier runs.
func (s *Scheduler) countFired(fires []*schedule.Fire, planned bool) (held bool) {
	now := s.o.Clock.Now()
	for _, f := range fires {
		if f.Lost {
			continue
		}
		for i := range f.Shots {
			shot := &f.Shots[i]
			if shot.Known {
				continue // somebody else counted it
			}
			s.o.Metrics.ScheduleSlots(shot.Outcome.String(), max(1, shot.Count))
			if planned && shot.Outcome != schedule.SkippedMisfire {
				s.o.Metrics.ScheduleLateness(time.Duration(now-shot.At) * time.Millisecond)
			}
			switch shot.Outcome {
			case schedule.Held:
				held = true
			case schedule.FailedTemplate:
				s.o.Logger.Warn("no task could be made of a slot", "schedule", f.ID, "slot", shot.At, "because", shot.Detail)
			}
		}
	}
	return held
}

// runSignals tells workers to cancel what a slot replaces.
func (s *Scheduler) runSignals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.signals:
			sctx, cancel := context.WithTimeout(ctx, time.Second)
			if err := s.o.Signals.Signal(sctx, c.WorkerID, task.Signal{Kind: "cancel", TaskID: c.TaskID, Epoch: c.Epoch}); err != nil {
				s.o.Logger.Debug("a worker was not told to cancel, it sees it at its next beat", "worker", c.WorkerID, "task", c.TaskID, "err", err)
			}
			cancel()
		}
	}
}
