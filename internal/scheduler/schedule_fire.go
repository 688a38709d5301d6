package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	lateShots  = 100                   // slots of one schedule that catches up, in one transaction
	planAtMost = 50 * time.Millisecond // a transaction is written when planning it took so long: one plan may pass over half a million slots
	shotBytes  = 512                   // about what a slot costs in a transaction beside its payload
)

// planned is one schedule's part of a transaction.
type planned struct {
	d     *dueSchedule
	slots []schedule.Slot
	next  int64
	fires int // of slots: those that make a task
}

// fire writes one transaction of what is ready.
func (f *firing) fire(ctx context.Context, ready []*dueSchedule, now int64) error {
	batch := f.plan(ready, now)
	if len(batch) == 0 {
		return nil
	}
	return f.write(ctx, batch)
}

// plan fills a transaction.
func (f *firing) plan(ready []*dueSchedule, now int64) (batch []planned) {
	began, room, bytes := time.Now(), task.MaxFlushTasks, task.MaxFlushBytes
	for _, d := range ready {
		if room <= 0 || bytes <= 0 || len(batch) > 0 && time.Since(began) > planAtMost {
			break
		}
		weight := len(d.table.Task.Payload) + shotBytes
		most := min(room, max(1, bytes/weight))
		if d.row.NextAt < now-schedule.GraceMs {
			most = min(most, lateShots)
		}
		slots, next := planOne(d, now, most)
		d.turns++
		if next == d.row.NextAt {
			d.gone = true // not ready after all, by a clock that was set back: the next reading tells
			continue
		}
		one := planned{d: d, slots: slots, next: next}
		for _, s := range slots {
			if s.Outcome == schedule.Fired {
				one.fires++
			}
		}
		bytes -= one.fires*weight + (len(slots)-one.fires)*shotBytes
		room -= len(slots)
		batch = append(batch, one)
	}
	return batch
}

// planOne lists at most so many slots that a schedule owes, and the first one after them. More are planned than are taken, so
// that a long row of skipped slots is seen to be one.
func planOne(d *dueSchedule, now int64, most int) (slots []schedule.Slot, next int64) {
	limit := most
	if d.row.NextAt < now-schedule.GraceMs {
		limit += schedule.RangeOver + 1
	}
	p := d.table.Plan(d.row.NextAt, now, limit)
	if len(p.Slots) > most {
		return p.Slots[:most], p.Slots[most].At
	}
	return p.Slots, p.Next
}

// write hands a plan to the store. What the store refuses is cut in halves until the schedule that is at fault is alone, and
// is set aside.
func (f *firing) write(ctx context.Context, batch []planned) error {
	fires, written, err := f.try(ctx, batch)
	switch {
	case err == nil:
		f.s.wrote(fires, written, true)
		for i, one := range batch {
			f.moveOn(one, fires[i])
		}
		return nil
	case stops(ctx, err):
		return err
	case len(batch) == 1:
		d := batch[0].d
		d.gone = true
		f.spoilt.note(d.row.ID, d.row.Version, "fire", err)
		return nil
	}
	half := len(batch) / 2
	if err := f.write(ctx, batch[:half]); err != nil {
		return err
	}
	return f.write(ctx, batch[half:])
}

// try makes the tasks of a plan and writes them in one transaction.
func (f *firing) try(ctx context.Context, batch []planned) ([]*schedule.Fire, schedule.Written, error) {
	ctx, cancel := f.s.query(ctx)
	defer cancel()
	tasks := 0
	for _, one := range batch {
		tasks += one.fires
	}
	id := int64(0)
	if tasks > 0 {
		var err error
		if id, err = f.s.o.Schedules.TaskIDs(ctx, tasks); err != nil {
			return nil, schedule.Written{}, err
		}
	}
	fires := make([]*schedule.Fire, len(batch))
	for i, one := range batch {
		d := one.d
		fires[i] = &schedule.Fire{ID: d.row.ID, Version: d.row.Version, AppID: d.row.AppID, From: d.row.NextAt, Next: one.next,
			Overlap: d.table.Overlap, Tracked: d.table.Tracked(), Shots: make([]schedule.Shot, len(one.slots))}
		for k, s := range one.slots {
			fires[i].Shots[k] = d.table.Shot(&d.row, s, id)
			if s.Outcome == schedule.Fired {
				id++
			}
		}
	}
	written, err := f.s.o.Schedules.Fire(ctx, fires)
	return fires, written, err
}

// moveOn takes over what was written of a schedule.
func (f *firing) moveOn(one planned, fire *schedule.Fire) {
	d := one.d
	if fire.Lost {
		d.gone = true
		if !d.stranger {
			f.readSoon() // somebody changed it: its next slot may be near
		}
		return
	}
	f.spoilt.well(d.row.ID, "fire")
	d.row.NextAt = one.next
	// What is not within the look-ahead of the last reading is seen by the next one, which comes in time.
	d.gone = d.row.NextAt > f.s.o.Clock.Now()+schedule.LookAheadMs || d.stranger && d.row.NextAt > f.s.o.Clock.Now()-strangersLateMs
}
