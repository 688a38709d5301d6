package sqldb_test

import (
	"errors"
	"math/rand/v2"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
)

// disturb is one thing that a person does to one schedule.
func (c *fleet) disturb(r *rand.Rand) {
	x, s := c.things[r.IntN(len(c.things))], c.any(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	row, times, ok := c.read(c.ctx, s, x.id)
	if !ok {
		return
	}
	switch r.IntN(9) {
	case 0, 1:
		c.change(s, x, func(after *schedule.Row, times *schedule.Timetable) *schedule.Timetable {
			if after.Pause != schedule.NotPaused {
				after.Pause = schedule.NotPaused
				return times
			}
			after.Pause = schedule.PausedByUser
			return nil
		})
	case 2:
		phase := r.Int64N(1000)
		c.change(s, x, func(after *schedule.Row, old *schedule.Timetable) *schedule.Timetable {
			d := *old.Definition
			d.Spec.Anchor = 1 + phase
			times, err := schedule.Compile(&d)
			c.fatal(err)
			after.Definition, err = times.Encode()
			c.fatal(err)
			if after.Pause != schedule.NotPaused {
				return nil
			}
			return times
		})
	case 3, 4:
		c.skip(s, x, row, times)
	case 5:
		origin, err := s.ScheduleIDs(c.ctx, 1)
		if c.passable("ids", err) {
			return
		}
		p := schedule.Plan{}
		for i := range int64(1 + r.IntN(3)) {
			at := times.Next(x.first - 100_000 + i*1000)
			p.Slots = append(p.Slots, schedule.Slot{Origin: origin, At: at, LastAt: at, Count: 1, Outcome: schedule.Fired, FiredAt: s.Clock().Now()})
		}
		if c.keep(s, row, times, p) {
			for _, slot := range p.Slots {
				x.asked[[2]int64{origin, slot.At}] = true
			}
		}
	default:
		now := s.Clock().Now()
		c.keep(s, row, times, schedule.Plan{Slots: []schedule.Slot{{Origin: schedule.Manual, At: now, LastAt: now, Count: 1, Outcome: schedule.Fired, FiredAt: now}}})
	}
}

// keep fires slots beside the planned ones, and reports whether it is sure that they were written.
func (c *fleet) keep(s *sqldb.Store, row schedule.Row, times *schedule.Timetable, p schedule.Plan) bool {
	f := c.fireOf(c.ctx, s, row, times, p)
	if f == nil {
		return false
	}
	f.Keep = true
	_, err := s.Fire(c.ctx, []*schedule.Fire{f})
	return !c.passable("keep", err) && !f.Lost
}

// change does what the use cases do: it fires what is owed up to now, then writes what edit makes of the schedule, with the
// slots of the next 2 s. edit gives the timetable in force afterwards.
func (c *fleet) change(s *sqldb.Store, x *subject, edit func(after *schedule.Row, times *schedule.Timetable) *schedule.Timetable) bool {
	for range 50 {
		row, times, ok := c.read(c.ctx, s, x.id)
		if !ok {
			continue
		}
		now := s.Clock().Now()
		for row.Pause == schedule.NotPaused && row.NextAt <= now {
			p := times.Plan(row.NextAt, now, 100)
			for i, slot := range p.Slots {
				if slot.At > now {
					p.Slots, p.Next = p.Slots[:i], slot.At
					break
				}
			}
			f := c.fireOf(c.ctx, s, row, times, p)
			if f == nil {
				break
			}
			if _, err := s.Fire(c.ctx, []*schedule.Fire{f}); c.passable("owed", err) || f.Lost {
				break
			}
			row.NextAt = f.Next
		}
		if row.Pause == schedule.NotPaused && row.NextAt <= now {
			continue
		}
		after := row
		force := edit(&after, times)
		after.NextAt = schedule.Never
		var fire *schedule.Fire
		if force != nil {
			p := force.Plan(force.Next(now), now, 100)
			after.NextAt = p.Next
			fire = c.fireOf(c.ctx, s, after, force, p)
		}
		got, _, err := s.ChangeSchedule(c.ctx, row, after, now, fire)
		if errors.Is(err, task.ErrOutcomeUnknown) {
			c.t.Errorf("a change stayed unknown: %v", err)
		}
		if c.passable("change", err) {
			continue
		}
		if got.Version != row.Version+1 {
			c.t.Errorf("version %d after %d", got.Version, row.Version)
		}
		x.acts = append(x.acts, act{from: now, until: s.Clock().Now(), times: force})
		return true
	}
	return false
}

// skip makes the next slot skipped.
func (c *fleet) skip(s *sqldb.Store, x *subject, row schedule.Row, times *schedule.Timetable) {
	if row.Pause != schedule.NotPaused {
		return
	}
	slot := row.NextAt
	if now := s.Clock().Now(); slot > now && times.Overlap == schedule.Allow {
		slot = times.Next(now) // it may have a row already
	}
	_, err := s.SkipSlot(c.ctx, row, slot, times.Next(row.NextAt))
	c.passable("skip", err)
}

// resume ends a pause.
func (c *fleet) resume(s *sqldb.Store, x *subject) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if row, _, ok := c.read(c.ctx, s, x.id); ok && row.Pause != schedule.NotPaused {
		if !c.change(s, x, func(after *schedule.Row, times *schedule.Timetable) *schedule.Timetable {
			after.Pause = schedule.NotPaused
			return times
		}) {
			c.t.Error("could not be resumed")
		}
	}
}
