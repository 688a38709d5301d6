package control

import (
	"context"
	"fmt"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	// mostRaces bounds how often a change begins anew because the schedule fired or was changed meanwhile.
	mostRaces = 20
	// mostOwed bounds how many owed slots a change waits for. What is owed beyond them is skipped: whoever
	// pauses a schedule because it fires too much must not have to wait until it has.
	mostOwed = 2_000
	// slotBytes is about what a slot costs in a transaction beside its payload.
	slotBytes = 512
)

// perFlush is how many slots of a schedule one transaction may make tasks of: one that wrote large payloads by the hundred
// would hold everybody's writes up.
func perFlush(t *schedule.Timetable) int {
	return min(task.MaxFlushTasks, max(1, task.MaxFlushBytes/(len(t.Task.Payload)+slotBytes)))
}

var errScheduleBusy = &task.Error{Kind: task.Conflict, Code: schedule.CodeVersion, Message: "the schedule is being changed by others all the time; nothing was changed by this request"}

// compiled reads a stored schedule.
func compiled(row schedule.Row) (*schedule.Timetable, error) {
	d, err := schedule.DecodeDefinition(row.Definition)
	if err != nil {
		return nil, fmt.Errorf("schedule %d: %w", row.ID, err)
	}
	t, err := schedule.Compile(d)
	if err != nil {
		return nil, fmt.Errorf("schedule %d: compile: %w", row.ID, err)
	}
	return t, nil
}

// carryOut does what a transaction leaves to do.
func (s *Service) carryOut(ctx context.Context, w schedule.Written) {
	if len(w.Bells) > 0 {
		rungs := make([]task.Rung, len(w.Bells))
		for i, b := range w.Bells {
			rungs[i] = task.Rung{Bell: b}
		}
		s.ringer.Ring(rungs...)
	}
	s.signalCancels(ctx, w.Cancels)
	for _, r := range w.Rest {
		for after := int64(0); ; {
			cancels, next, err := s.schedules.EndPrevious(ctx, r, after)
			if err != nil {
				s.log.WarnContext(ctx, "runs that a slot replaces were not ended, the next slot tries it again", "schedule", r.ScheduleID, "err", err)
			}
			s.signalCancels(ctx, cancels)
			if after = next; next == 0 {
				break
			}
		}
	}
}

func (s *Service) signalCancels(ctx context.Context, cancels []schedule.Cancel) {
	for _, c := range cancels {
		s.signal(ctx, c.WorkerID, task.Signal{Kind: "cancel", TaskID: c.TaskID, Epoch: c.Epoch})
	}
}

// ahead sets the first slot after now, and gives what of it must be written with the schedule itself: the slots of the next
// 2 s, which nobody may find in time otherwise.
func (s *Service) ahead(ctx context.Context, row *schedule.Row, t *schedule.Timetable, now int64) (*schedule.Fire, error) {
	if row.Pause != schedule.NotPaused {
		row.NextAt = schedule.Never
		return nil, nil
	}
	plan := t.Plan(t.Next(now), now, task.MaxFlushTasks)
	row.NextAt = plan.Next
	return s.fire(ctx, row, t, plan)
}

// fire turns a plan into what the store writes; nil when it has no slots.
func (s *Service) fire(ctx context.Context, row *schedule.Row, t *schedule.Timetable, plan schedule.Plan) (*schedule.Fire, error) {
	if len(plan.Slots) == 0 {
		return nil, nil
	}
	first, err := s.store.TaskIDs(ctx, len(plan.Slots))
	if err != nil {
		return nil, err
	}
	f := &schedule.Fire{ID: row.ID, Version: row.Version, AppID: row.AppID, From: row.NextAt, Next: plan.Next, Overlap: t.Overlap, Tracked: t.Tracked()}
	for i, slot := range plan.Slots {
		f.Shots = append(f.Shots, t.Shot(row, slot, first+int64(i)))
	}
	return f, nil
}

// fireOwed fires what a schedule owes up to now, as its scheduler would have in the same moment, so that a change that acts
// after now loses no slot. lost says that somebody else was first: read the schedule again.
func (s *Service) fireOwed(ctx context.Context, row *schedule.Row, t *schedule.Timetable, now int64) (lost bool, err error) {
	if row.Pause != schedule.NotPaused {
		return false, nil
	}
	for slots := 0; row.NextAt <= now; {
		plan := owed(t, row.NextAt, now)
		if slots >= mostOwed {
			plan = skipped(t, row.NextAt, now)
		}
		if n := len(plan.Slots); n < perFlush(t) {
			slots += task.MaxFlushTasks // it is the last one, or passed very many missed ones over
		} else {
			slots += n
		}
		f, err := s.fire(ctx, row, t, plan)
		if err != nil {
			return false, err
		}
		w, err := s.schedules.Fire(ctx, []*schedule.Fire{f})
		if err != nil {
			return false, err
		}
		s.carryOut(ctx, w)
		if f.Lost {
			return true, nil
		}
		row.NextAt = plan.Next
	}
	return false, nil
}

// owed is the next transaction of what is owed. More is planned than is taken, so that a long row of skipped slots is seen to
// be one.
func owed(t *schedule.Timetable, next, now int64) schedule.Plan {
	most := perFlush(t)
	p := upTo(now, t.Plan(next, now, most+schedule.RangeOver+1))
	if len(p.Slots) > most {
		p.Slots, p.Next = p.Slots[:most], p.Slots[most].At
	}
	return p
}

// upTo leaves out what a plan looks ahead: each slot is decided by itself, so that a plan may end anywhere.
func upTo(now int64, p schedule.Plan) schedule.Plan {
	for i, slot := range p.Slots {
		if slot.At > now {
			p.Slots, p.Next = p.Slots[:i], slot.At
			break
		}
	}
	return p
}

// skipped is every slot from next to now as one line of the history, skipped by the person who changed the schedule.
func skipped(t *schedule.Timetable, next, now int64) schedule.Plan {
	slot := schedule.Slot{Origin: schedule.Planned, At: next, Outcome: schedule.SkippedByUser, FiredAt: now}
	for ; next <= now; next = t.Next(next) {
		slot.LastAt, slot.Count = next, slot.Count+1
	}
	return schedule.Plan{Slots: []schedule.Slot{slot}, Next: next}
}

// change reads a schedule, asks the guard, fires what it owes up to now and writes what edit makes of it. It begins anew
// when the schedule fired or was changed meanwhile.
func (s *Service) change(ctx context.Context, p Principal, id int64, guard Guard,
	write func(row schedule.Row, t *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error)) (schedule.Row, error) {
	for range mostRaces {
		row, err := s.schedules.ScheduleByID(ctx, p.appID(), id)
		if err != nil {
			return row, err
		}
		if guard != nil {
			if err := guard(row); err != nil {
				return row, err
			}
		}
		t, err := compiled(row)
		if err != nil {
			return row, err
		}
		now := s.clock.Now()
		lost, err := s.fireOwed(ctx, &row, t, now)
		if err != nil {
			return row, err
		}
		if lost {
			continue
		}
		got, w, err := write(row, t, now)
		if task.CodeOf(err) == schedule.CodeVersion {
			continue
		}
		if err != nil {
			return row, err
		}
		s.carryOut(ctx, w)
		return got, nil
	}
	return schedule.Row{}, errScheduleBusy
}

// ReplaceSchedule gives a schedule another definition, which acts from the next slot on: what has begun goes on, the tasks
// that wait for slots after now are cancelled. Paused stays as it is unless the input says so. Needs scope manage.
func (s *Service) ReplaceSchedule(ctx context.Context, p Principal, id int64, in *ScheduleInput, guard Guard) (Schedule, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return Schedule{}, err
	}
	tctx, e := s.trail(ctx, p, "schedule.replace", id)
	row, err := s.change(tctx, p, id, guard, func(row schedule.Row, _ *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error) {
		owner, err := s.owner(ctx, p, row)
		if err != nil {
			return row, schedule.Written{}, err
		}
		t, err := s.definition(ctx, owner, in, now)
		if err != nil {
			return row, schedule.Written{}, err
		}
		after := row
		after.Name = in.Name.V
		if after.Definition, err = t.Encode(); err != nil {
			return row, schedule.Written{}, err
		}
		if in.Paused.Set {
			setPaused(&after, in.Paused.V)
		}
		return s.write(tctx, row, after, t, now)
	})
	if err != nil {
		return Schedule{}, err
	}
	s.recorded(ctx, p, e, "version", row.Version)
	return s.showSchedule(ctx, p, row)
}

// owner is the principal as the app that a schedule belongs to. The schedules of the system app are refused.
func (s *Service) owner(ctx context.Context, p Principal, row schedule.Row) (Principal, error) {
	if row.AppID != p.App.ID {
		app, err := s.store.AppByID(ctx, row.AppID)
		if err != nil {
			return p, err
		}
		p.App, p.all = app, false
	}
	if p.App.Key == task.SystemApp {
		return p, errSystemSchedule
	}
	return p, nil
}

// write stores a change that acts after now.
func (s *Service) write(ctx context.Context, before, after schedule.Row, t *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error) {
	after.Version, after.UpdatedAt = before.Version+1, now
	fire, err := s.ahead(ctx, &after, t, now)
	if err == nil && after.NextAt != schedule.Never {
		err = s.passSkipped(ctx, &after, t, fire, now)
	}
	if err != nil {
		return before, schedule.Written{}, err
	}
	changes(ctx, before, after)
	return s.schedules.ChangeSchedule(ctx, before, after, now, fire)
}

// passSkipped moves the next slot of a row on to one that nobody took out: what was skipped stays skipped.
func (s *Service) passSkipped(ctx context.Context, row *schedule.Row, t *schedule.Timetable, fire *schedule.Fire, now int64) error {
	skipped, err := s.skippedAfter(ctx, row.ID, now)
	if err != nil {
		return err
	}
	for skipped[row.NextAt] {
		row.NextAt = t.Next(row.NextAt)
	}
	if fire != nil {
		fire.Next = row.NextAt
	}
	return nil
}

// setPaused changes who paused a row. Resuming forgets its failures: else the first one would pause it again.
func setPaused(row *schedule.Row, paused bool) {
	switch {
	case !paused:
		row.Pause, row.Failures = schedule.NotPaused, 0
	case row.Pause == schedule.NotPaused:
		row.Pause = schedule.PausedByUser
	}
}

// PauseSchedule pauses or resumes a schedule. A pause acts after now: slots that are due fire, tasks that wait for later ones
// are cancelled, slots that wait for earlier runs go on waiting. After a resume the first slot is the first one later than
// now; what lay in between is no slot. Doing it twice changes nothing. Needs scope manage.
func (s *Service) PauseSchedule(ctx context.Context, p Principal, id int64, paused bool, guard Guard) (Schedule, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return Schedule{}, err
	}
	changed, action := true, "schedule.resume"
	if paused {
		action = "schedule.pause"
	}
	tctx, e := s.trail(ctx, p, action, id)
	row, err := s.change(tctx, p, id, guard, func(row schedule.Row, t *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error) {
		if changed = paused != (row.Pause != schedule.NotPaused); !changed {
			return row, schedule.Written{}, nil
		}
		after := row
		setPaused(&after, paused)
		return s.write(tctx, row, after, t, now)
	})
	if err != nil {
		return Schedule{}, err
	}
	if changed {
		s.recorded(ctx, p, e)
	}
	return s.showSchedule(ctx, p, row)
}

// DeleteSchedule ends a schedule: slots that are due fire, tasks that wait for later ones and slots that wait for earlier runs
// are dropped, what runs goes on. Needs scope manage.
func (s *Service) DeleteSchedule(ctx context.Context, p Principal, id int64, guard Guard) error {
	if err := p.need(task.ScopeManage); err != nil {
		return err
	}
	tctx, e := s.trail(ctx, p, "schedule.delete", id)
	_, err := s.change(tctx, p, id, guard, func(row schedule.Row, _ *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error) {
		if _, err := s.owner(ctx, p, row); err != nil {
			return row, schedule.Written{}, err
		}
		e.AppID, e.Before = row.AppID, scheduleDocument(row)
		return row, schedule.Written{}, s.schedules.DeleteSchedule(tctx, row, now)
	})
	if err != nil {
		return err
	}
	s.recorded(ctx, p, e)
	return nil
}
