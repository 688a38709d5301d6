package control

import (
	"context"
	"fmt"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// TriggerSchedule makes one run now, beside the planned ones: the next slot stays what it is, and a paused schedule can be
// triggered too. The overlap policy decides as it does about planned slots: the slot that is answered is fired or held.
// Conflict with code schedule_overlap when it is to be skipped (TaskID is what still runs), with code slot_failed when no
// task could be made, with code idempotency_key_reused when the key was used for another request. Needs scope manage.
func (s *Service) TriggerSchedule(ctx context.Context, p Principal, id int64, idem *IdempotencyKey) (slot schedule.Slot, replayed bool, err error) {
	if err := p.need(task.ScopeManage); err != nil {
		return slot, false, err
	}
	if err := idem.check(); err != nil {
		return slot, false, err
	}
	for race := range int64(mostRaces) {
		row, t, err := s.readSchedule(ctx, p, id)
		if err != nil {
			return slot, false, err
		}
		// Each millisecond has one manual slot: of several triggers at once the later ones take the next.
		f, err := s.trigger(ctx, row, t, s.clock.Now()+race, idem)
		switch {
		case err != nil:
			return slot, false, err
		case f.Repeated != 0:
			slot, err = s.manualSlot(ctx, id, f.Repeated)
			return slot, true, err
		case f.Lost || f.Shots[0].Known:
			continue
		}
		slot = f.Shots[0].Slot
		_, e := s.trail(ctx, p, "schedule.trigger", id)
		e.AppID, e.After = row.AppID, document(map[string]any{"slot": rfc3339(slot.At), "outcome": slot.Outcome.String(), "task": slot.TaskID})
		s.recorded(ctx, p, e)
		return slot, false, s.refusedSlot(ctx, slot)
	}
	return slot, false, errScheduleBusy
}

// remembered is what the store keeps of a key; nil without one.
func (k *IdempotencyKey) remembered(appID int32) *task.Idempotency {
	if k == nil {
		return nil
	}
	return &task.Idempotency{Key: task.IdempotencyHash(appID, k.Key), Body: k.Body, First: true}
}

// manualSlot reads the slot of an earlier trigger, as it is now.
func (s *Service) manualSlot(ctx context.Context, id, at int64) (schedule.Slot, error) {
	slots, _, err := s.schedules.ListSlots(ctx, schedule.SlotFilter{ScheduleID: id, From: at, To: at + 1, Limit: 1000})
	if err != nil {
		return schedule.Slot{}, err
	}
	for _, slot := range slots {
		if slot.Origin == schedule.Manual && slot.At == at {
			return slot, nil
		}
	}
	return schedule.Slot{}, task.Missing("slot")
}

func (s *Service) readSchedule(ctx context.Context, p Principal, id int64) (schedule.Row, *schedule.Timetable, error) {
	row, err := s.schedules.ScheduleByID(ctx, p.appID(), id)
	if err != nil {
		return row, nil, err
	}
	t, err := compiled(row)
	return row, t, err
}

// trigger writes one manual slot. It is Lost when the schedule was changed meanwhile, and its shot Known when another trigger
// took the same millisecond.
func (s *Service) trigger(ctx context.Context, row schedule.Row, t *schedule.Timetable, now int64, idem *IdempotencyKey) (*schedule.Fire, error) {
	f, err := s.fire(ctx, &row, t, schedule.Plan{Slots: []schedule.Slot{
		{Origin: schedule.Manual, At: now, LastAt: now, Count: 1, Outcome: schedule.Fired, FiredAt: now},
	}})
	if err != nil {
		return nil, err
	}
	f.Keep, f.Idem, f.Repeats = true, idem.remembered(row.AppID), now
	w, err := s.schedules.Fire(ctx, []*schedule.Fire{f})
	if err != nil {
		return nil, err
	}
	s.carryOut(ctx, w)
	return f, nil
}

// refusedSlot is the conflict of a slot that made no task and never will; nil for one that did, or waits.
func (s *Service) refusedSlot(ctx context.Context, slot schedule.Slot) error {
	switch slot.Outcome {
	case schedule.SkippedOverlap:
		e := &task.Error{Kind: task.Conflict, Code: "schedule_overlap", Message: "an earlier run has not ended, and the overlap policy is skip"}
		if runs, err := s.schedules.OpenRuns(ctx, slot.ScheduleID, 1); err == nil && len(runs) > 0 {
			e.TaskID = runs[0]
		}
		return e
	case schedule.FailedTemplate:
		return &task.Error{Kind: task.Conflict, Code: "slot_failed", Message: "no task could be made: " + slot.Detail}
	}
	return nil
}

// BackfillInput is the range of a backfill: the planned slots of [From, To).
type BackfillInput struct {
	From, To Maybe[int64] // ms since 1970; To is not later than now
	Broken   []task.FieldError
}

// Backfill is what a backfill made.
type Backfill struct {
	ID    int64 // 0: the range has no slots
	Slots []schedule.Slot
}

// BackfillSchedule makes a run for every planned slot of [from, to) once more, whether it fired or not, also while the
// schedule is paused. All are due now; where the overlap policy allows none beside another they run one after the other.
// At most 1,000 slots. A repetition under the same idempotency key makes what is missing of the first and answers with
// all of it. Needs scope manage.
func (s *Service) BackfillSchedule(ctx context.Context, p Principal, id int64, in *BackfillInput, idem *IdempotencyKey) (out Backfill, replayed bool, err error) {
	if err := p.need(task.ScopeManage); err != nil {
		return out, false, err
	}
	if err := idem.check(); err != nil {
		return out, false, err
	}
	row, t, err := s.readSchedule(ctx, p, id)
	if err != nil {
		return out, false, err
	}
	if _, err := s.owner(ctx, p, row); err != nil { // a thousand purges, one after the other
		return out, false, err
	}
	f := faults{fields: in.Broken}
	ats := s.backfillSlots(t, in.From, in.To, &f)
	if err := f.err(); err != nil || len(ats) == 0 {
		return out, false, err
	}
	if out.ID, err = s.schedules.ScheduleIDs(ctx, 1); err != nil {
		return Backfill{}, false, err
	}
	key := idem.remembered(row.AppID)
	for races := 0; len(out.Slots) < len(ats); {
		part := ats[len(out.Slots):min(len(ats), len(out.Slots)+perFlush(t))]
		fire, err := s.backfill(ctx, row, t, out.ID, part, key)
		if err == nil && fire.Lost {
			if races++; races > mostRaces {
				err = errScheduleBusy
			} else if row, t, err = s.readSchedule(ctx, p, id); err == nil {
				continue
			}
		}
		if err != nil {
			return Backfill{}, false, incomplete(out, part[0], err)
		}
		key = nil // it is remembered
		if fire.Repeated != 0 {
			out.ID, replayed = fire.Repeated, true
			continue
		}
		for i := range fire.Shots {
			out.Slots = append(out.Slots, fire.Shots[i].Slot)
		}
	}
	_, e := s.trail(ctx, p, "schedule.backfill", id)
	e.AppID, e.After = row.AppID, document(map[string]any{"backfill": out.ID, "slots": len(out.Slots), "replayed": replayed})
	s.recorded(ctx, p, e)
	return out, replayed, nil
}

// backfillSlots lists the planned slots of a range.
func (s *Service) backfillSlots(t *schedule.Timetable, from, to Maybe[int64], f *faults) []int64 {
	if !from.Set {
		f.required("from")
	}
	if !to.Set {
		f.required("to")
	}
	if len(f.fields) > 0 {
		return nil
	}
	switch now := s.clock.Now(); {
	case to.V <= from.V:
		f.add("to", "after", "must be later than from")
	case to.V > now:
		f.add("to", "before", "must not be later than now: slots to come fire by themselves")
	default:
		ats, more := t.Between(max(from.V, 0), to.V, schedule.MaxBackfill)
		if more {
			f.add("to", "max_items", fmt.Sprintf("the range has more than %d slots; the %dth is at %s", schedule.MaxBackfill, schedule.MaxBackfill, rfc3339(ats[len(ats)-1])))
		}
		return ats
	}
	return nil
}

// backfill writes some slots of a backfill in one transaction.
func (s *Service) backfill(ctx context.Context, row schedule.Row, t *schedule.Timetable, id int64, ats []int64, key *task.Idempotency) (*schedule.Fire, error) {
	now := s.clock.Now()
	plan := schedule.Plan{Slots: make([]schedule.Slot, len(ats))}
	for i, at := range ats {
		plan.Slots[i] = schedule.Slot{Origin: id, At: at, LastAt: at, Count: 1, Outcome: schedule.Fired, FiredAt: now}
	}
	f, err := s.fire(ctx, &row, t, plan)
	if err != nil {
		return nil, err
	}
	f.Keep, f.Idem, f.Repeats = true, key, id
	w, err := s.schedules.Fire(ctx, []*schedule.Fire{f})
	if err != nil {
		return nil, err
	}
	s.carryOut(ctx, w)
	return f, nil
}

// incomplete says how far a backfill came: what was written stays.
func incomplete(b Backfill, next int64, cause error) error {
	if len(b.Slots) == 0 {
		return cause
	}
	return &task.Error{Kind: task.Unavailable, Code: "backfill_incomplete", Cause: cause,
		Message: fmt.Sprintf("backfill %d made its first %d slots and no more; go on with from %s", b.ID, len(b.Slots), rfc3339(next))}
}

// SkipNext takes the next planned slot out: its row of the history says skipped. Called again it takes out the one after.
// Conflict with code schedule_paused while nothing is planned, with code no_next_slot when none is left. Needs scope manage.
func (s *Service) SkipNext(ctx context.Context, p Principal, id int64, guard Guard) (schedule.Slot, error) {
	if err := p.need(task.ScopeManage); err != nil {
		return schedule.Slot{}, err
	}
	var slot schedule.Slot
	var refused, passed int64 // a slot that could not be taken out, and the NextAt of then
	tctx, e := s.trail(ctx, p, "schedule.skip_next", id)
	_, err := s.change(tctx, p, id, guard, func(row schedule.Row, t *schedule.Timetable, now int64) (schedule.Row, schedule.Written, error) {
		if row.NextAt == passed { // nobody changed the schedule: the slot was written ahead, and its task was begun or ended since
			now = max(now, refused)
		}
		at, err := s.nextPlanned(ctx, row, t, now)
		if err != nil {
			return row, schedule.Written{}, err
		}
		next := row.NextAt
		if at == next {
			next = t.Next(at)
		}
		slot = schedule.Slot{ScheduleID: id, Origin: schedule.Planned, At: at, LastAt: at, Count: 1, Outcome: schedule.SkippedByUser, FiredAt: now}
		e.After = document(map[string]string{"slot": rfc3339(at)})
		got, err := s.schedules.SkipSlot(tctx, row, at, next)
		if err != nil && at < row.NextAt {
			refused, passed = at, row.NextAt
		}
		return got, schedule.Written{}, err
	})
	if err != nil {
		return schedule.Slot{}, err
	}
	s.recorded(ctx, p, e)
	return slot, nil
}

// nextPlanned is the first slot after now that has not been skipped. It may be inserted already, up to 2 s ahead.
func (s *Service) nextPlanned(ctx context.Context, row schedule.Row, t *schedule.Timetable, now int64) (int64, error) {
	if row.Pause != schedule.NotPaused {
		return 0, &task.Error{Kind: task.Conflict, Code: "schedule_paused", Message: "a paused schedule has no next slot"}
	}
	skipped, err := s.skippedAfter(ctx, row.ID, now)
	if err != nil {
		return 0, err
	}
	at := t.Next(now)
	for at < row.NextAt && skipped[at] {
		at = t.Next(at)
	}
	if at == schedule.Never {
		return 0, &task.Error{Kind: task.Conflict, Code: "no_next_slot", Message: "no slot is left"}
	}
	return at, nil
}

// skippedAfter lists the slots after an instant that a person skipped, up to 1,000.
func (s *Service) skippedAfter(ctx context.Context, id, after int64) (map[int64]bool, error) {
	slots, _, err := s.schedules.ListSlots(ctx, schedule.SlotFilter{ScheduleID: id, From: after + 1, Outcome: schedule.SkippedByUser, Limit: 1000})
	if err != nil {
		return nil, err
	}
	out := make(map[int64]bool, len(slots))
	for _, x := range slots {
		if x.Origin == schedule.Planned {
			out[x.At] = true
		}
	}
	return out, nil
}
