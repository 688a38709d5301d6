package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	scheduleRead    = time.Second           // between two readings of what is due soon
	scheduleReread  = 50 * time.Millisecond // … and after a hint that there is something new
	schedulePage    = 10_000                // schedules of one reading
	strangersPage   = 1_000                 // … of those of other shards
	strangersLateMs = 2_000                 // so late are slots of other shards when this scheduler fires them
	promptTurns     = 4                     // after so many transactions of punctual slots one of those that catch up has its turn
)

// firing fires the slots of schedules. It belongs to one goroutine, but for wake.
//
// Once a second it reads which schedules have a slot within the look-ahead: of its own shards, and of all others those that
// nobody fired for two seconds, as a killed scheduler's are. Those that allow overlaps are fired at once, so that their tasks
// wait for their instant like any delayed task; the others at their instant, by a timer. A schedule that sleeps is not in
// what is read, and costs nothing.
type firing struct {
	s      *Scheduler
	defs   *definitions
	spoilt *spoilt
	wake   chan struct{}

	due    []*dueSchedule
	readAt time.Time // of the next reading
	turns  int       // of punctual slots, since one that catches up had its turn
	b      backoff
}

// dueSchedule is a schedule with a slot within the look-ahead.
type dueSchedule struct {
	row      schedule.Row
	table    *schedule.Timetable
	stranger bool // of a shard of somebody else
	turns    int  // since the reading
	gone     bool // fired as far as can be, or changed by somebody
}

func newFiring(s *Scheduler) *firing {
	return &firing{s: s, defs: newDefinitions(s.o.Schedules), spoilt: newSpoilt(s), wake: make(chan struct{}, 1),
		b: backoff{log: s.o.Logger, what: "fire schedules"}}
}

// WakeSchedules says that a schedule was made or changed, or that a slot waits for a run: look now. It never blocks and may be
// called from anywhere, at any rate. Without it that is seen within a second.
func (s *Scheduler) WakeSchedules() {
	if s.firing != nil {
		ring(s.firing.wake)
		ring(s.settling.wake)
	}
}

func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *firing) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-f.wake:
			f.readSoon()
		}
		wait, err := f.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if sleep(ctx, f.b.failed(err)) != nil {
				return
			}
			f.due, f.readAt, wait = nil, time.Time{}, 0 // nobody knows what was written: read it
		default:
			f.b.ok()
		}
		t.Reset(wait)
	}
}

// readSoon moves the next reading forward, to a moment after the last one at which a burst of hints costs little.
func (f *firing) readSoon() {
	f.readAt = earlier(f.readAt, time.Now().Add(scheduleReread))
}

// step reads when it is time to, writes one transaction if anything is ready, and gives how long nothing is.
func (f *firing) step(ctx context.Context) (time.Duration, error) {
	if !time.Now().Before(f.readAt) {
		if err := f.read(ctx); err != nil {
			return 0, err
		}
	}
	now := f.s.o.Clock.Now()
	ready := f.ready(now)
	if len(ready) == 0 {
		return f.wait(), nil
	}
	return 0, f.fire(ctx, ready, now)
}

// read replaces what is known of due schedules. What this goroutine wrote itself is in it.
func (f *firing) read(ctx context.Context) error {
	own, others := f.shards()
	now := f.s.o.Clock.Now()
	f.spoilt.forget(time.Now())
	var due []*dueSchedule
	for _, part := range []struct {
		shards   []int
		until    int64
		page     int
		stranger bool
	}{{own, now + schedule.LookAheadMs, schedulePage, false}, {others, now - strangersLateMs, strangersPage, true}} {
		if len(part.shards) == 0 {
			continue
		}
		qctx, cancel := f.s.query(ctx)
		rows, err := f.s.o.Schedules.DueSchedules(qctx, part.shards, part.until, part.page+f.spoilt.count())
		cancel()
		if err != nil {
			return err
		}
		for i := range rows {
			if !f.spoilt.aside(rows[i].ID, rows[i].Version, "fire") {
				due = append(due, &dueSchedule{row: rows[i], stranger: part.stranger})
			}
		}
	}
	due, err := f.know(ctx, due)
	if err != nil {
		return err
	}
	f.due, f.readAt = due, time.Now().Add(scheduleRead)
	return nil
}

// shards gives those of this scheduler and those of others.
func (f *firing) shards() (own, others []int) {
	for i := range task.Shards {
		if f.s.leases.holds(i) {
			own = append(own, i)
		} else {
			others = append(others, i)
		}
	}
	return own, others
}

// know gives the schedules their timetables. Those that were changed or deleted since they were read are left out.
func (f *firing) know(ctx context.Context, due []*dueSchedule) ([]*dueSchedule, error) {
	var unknown []int64
	byID := make(map[int64]*dueSchedule)
	for _, d := range due {
		if d.table = f.defs.get(d.row.ID, d.row.Version); d.table == nil {
			unknown = append(unknown, d.row.ID)
			byID[d.row.ID] = d
		}
	}
	for len(unknown) > 0 { // in parts: what is learnt may be more than is kept
		n := min(len(unknown), defsRead)
		qctx, cancel := f.s.query(ctx)
		rows, err := f.defs.load(qctx, unknown[:n], func(r schedule.Row, err error) {
			f.spoilt.note(r.ID, r.Version, "fire", fmt.Errorf("its definition: %w", err))
		})
		cancel()
		if err != nil {
			return nil, err
		}
		unknown = unknown[n:]
		for _, r := range rows {
			byID[r.ID].table = f.defs.get(r.ID, byID[r.ID].row.Version)
		}
	}
	return slices.DeleteFunc(due, func(d *dueSchedule) bool { return d.table == nil }), nil
}

// readyAt is the instant from which a schedule's next slot can be written.
func (d *dueSchedule) readyAt() int64 {
	if d.table.Overlap == schedule.Allow {
		return d.row.NextAt - schedule.LookAheadMs
	}
	return d.row.NextAt
}

// ready gives what can be fired now: punctual slots first, in their order, and now and then those that catch up, in turn.
func (f *firing) ready(now int64) []*dueSchedule {
	var prompt, late []*dueSchedule
	for _, d := range f.due {
		switch {
		case d.gone || d.readyAt() > now:
		case d.row.NextAt >= now-schedule.GraceMs:
			prompt = append(prompt, d)
		default:
			late = append(late, d)
		}
	}
	if len(late) > 0 && (len(prompt) == 0 || f.turns >= promptTurns) {
		f.turns = 0
		slices.SortStableFunc(late, func(a, b *dueSchedule) int {
			return cmp.Or(cmp.Compare(a.turns, b.turns), cmp.Compare(a.row.NextAt, b.row.NextAt))
		})
		return late
	}
	if len(prompt) > 0 {
		f.turns++
	}
	slices.SortStableFunc(prompt, func(a, b *dueSchedule) int { return cmp.Compare(a.row.NextAt, b.row.NextAt) })
	return prompt
}

// wait is how long nothing can be fired and nothing is to be read.
func (f *firing) wait() time.Duration {
	wait := time.Until(f.readAt)
	f.due = slices.DeleteFunc(f.due, func(d *dueSchedule) bool { return d.gone })
	for _, d := range f.due {
		wait = min(wait, f.s.o.Clock.Until(d.readyAt()))
	}
	return max(wait, minWait)
}
