package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	settleEvery   = time.Second           // between two looks for ended runs and for slots that wait
	releaseEvery  = 50 * time.Millisecond // … for slots that may be released, while any waits
	settlePage    = 500
	releasePage   = 200
	strangerAfter = 2 * time.Second // what its shard's owner did not do for so long, anybody does
)

// settling counts the runs that ended and releases the slots that waited for them. It belongs to one goroutine, but for wake
// and holding.
//
// Ends are not announced to it: who ends a task only marks its run, in the transaction that it writes anyway. Once a second it
// looks for marks; only while slots wait for runs it looks for those that may start, twenty times a second.
type settling struct {
	s      *Scheduler
	defs   *definitions
	spoilt *spoilt
	wake   chan struct{}

	holding  chan struct{} // something was held just now
	isHeld   bool          // as of the last look, or because of holding
	lookAt   time.Time     // of the next look
	stranger map[int64]time.Time
}

func newSettling(s *Scheduler) *settling {
	return &settling{s: s, defs: s.firing.defs, spoilt: s.firing.spoilt, wake: make(chan struct{}, 1), holding: make(chan struct{}, 1), stranger: map[int64]time.Time{}}
}

// held says that a slot was held just now.
func (p *settling) held() { ring(p.holding) }

func (p *settling) run(ctx context.Context) {
	b := backoff{log: p.s.o.Logger, what: "settle schedules"}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-p.wake:
			p.lookAt = time.Time{}
		case <-p.holding:
			p.isHeld = true
		}
		again, err := p.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			t.Reset(b.failed(err))
		default:
			b.ok()
			t.Reset(p.wait(again))
		}
	}
}

func (p *settling) wait(again bool) time.Duration {
	switch {
	case again:
		return minWait
	case p.isHeld:
		return releaseEvery
	}
	return max(minWait, time.Until(p.lookAt))
}

// step looks once, and reports whether there is more to do at once.
func (p *settling) step(ctx context.Context) (again bool, err error) {
	if now := time.Now(); !now.Before(p.lookAt) {
		if again, err = p.settle(ctx); err != nil {
			return false, err
		}
		qctx, cancel := p.s.query(ctx)
		p.isHeld, err = p.s.o.Schedules.HasHeld(qctx)
		cancel()
		if err != nil {
			return false, err
		}
		p.lookAt = now.Add(settleEvery)
		p.forgetStrangers(now)
	}
	if !p.isHeld {
		return again, nil
	}
	released, err := p.release(ctx)
	return again || released, err
}

// mine reports whether something of a schedule is to be done here: its shard is, or its owner did not do it for a while.
func (p *settling) mine(id int64) bool {
	if p.s.leases.holds(schedule.Shard(id)) {
		return true
	}
	now := time.Now()
	seen, known := p.stranger[id]
	if !known {
		p.stranger[id] = now
	}
	return known && now.Sub(seen) >= strangerAfter
}

// forgetStrangers drops what was seen long ago: since then its owner did what was to be done.
func (p *settling) forgetStrangers(now time.Time) {
	for id, at := range p.stranger {
		if now.Sub(at) > 2*strangerAfter {
			delete(p.stranger, id)
		}
	}
}

// settle counts a page of ended runs.
func (p *settling) settle(ctx context.Context) (more bool, err error) {
	limit := settlePage + p.spoilt.count()*settlePage
	qctx, cancel := p.s.query(ctx)
	runs, err := p.s.o.Schedules.EndedRuns(qctx, limit)
	cancel()
	if err != nil || len(runs) == 0 {
		return false, err
	}
	page := len(runs)
	runs = slices.DeleteFunc(runs, func(r schedule.Run) bool { return p.spoilt.aside(r.ScheduleID, 0, "settle") || !p.mine(r.ScheduleID) })
	left, err := p.settleQuiet(ctx, runs)
	if err != nil {
		return false, err
	}
	byID := make(map[int64][]schedule.Run)
	for _, r := range left {
		byID[r.ScheduleID] = append(byID[r.ScheduleID], r)
	}
	for id, runs := range byID {
		if err := p.settleOne(ctx, id, runs); err != nil {
			return false, err
		}
	}
	return len(runs) > 0 && page >= limit, nil
}

// settleQuiet settles what changes no schedule, as most runs do, together, and gives the others: all of them when the store refuses something, so
// that it is found whose fault that is.
func (p *settling) settleQuiet(ctx context.Context, runs []schedule.Run) ([]schedule.Run, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	qctx, cancel := p.s.query(ctx)
	defer cancel()
	left, err := p.s.o.Schedules.SettleQuiet(qctx, runs)
	switch {
	case err == nil:
		return left, nil
	case stops(ctx, err):
		return nil, err
	}
	return runs, nil
}

func (p *settling) settleOne(ctx context.Context, id int64, runs []schedule.Run) error {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	limit := 0
	rows, err := p.defs.load(ctx, []int64{id}, func(schedule.Row, error) {})
	if err != nil {
		return err
	}
	if len(rows) == 1 { // else it was deleted, or nobody understands it, which firing says: its runs count for nothing
		if t := p.defs.get(id, rows[0].Version); t != nil {
			limit = t.MaxFailures
		}
	}
	paused, err := p.s.o.Schedules.Settle(ctx, id, runs, limit)
	switch {
	case err == nil:
		p.spoilt.well(id, "settle")
	case stops(ctx, err):
		return err
	default:
		p.spoilt.note(id, 0, "settle", err)
	}
	if paused {
		p.s.o.Logger.Warn("a schedule was paused: too many of its runs failed in a row", "schedule", id, "failures", limit)
	}
	return nil
}

// release starts the oldest waiting slot of each schedule whose runs have ended. These are counted first, so that nothing
// starts of a schedule that is to be paused for them.
func (p *settling) release(ctx context.Context) (released bool, err error) {
	slots, err := p.releasable(ctx)
	if err != nil || len(slots) == 0 {
		return false, err
	}
	if _, err := p.settle(ctx); err != nil {
		return false, err
	}
	if slots, err = p.releasable(ctx); err != nil {
		return false, err
	}
	slots = slices.DeleteFunc(slots, func(s schedule.Slot) bool { return p.spoilt.aside(s.ScheduleID, 0, "release") || !p.mine(s.ScheduleID) })
	for some := range slices.Chunk(slots, defsRead) {
		ok, err := p.releaseSome(ctx, some)
		if err != nil {
			return false, err
		}
		released = released || ok
	}
	return released, nil
}

func (p *settling) releasable(ctx context.Context) ([]schedule.Slot, error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	return p.s.o.Schedules.Releasable(ctx, releasePage+p.spoilt.count())
}

// releaseSome fires slots that waited, of one schedule each, in one transaction. What the store refuses is cut in halves until the
// schedule that is at fault is alone, and is set aside.
func (p *settling) releaseSome(ctx context.Context, slots []schedule.Slot) (released bool, err error) {
	fires, err := p.shoot(ctx, slots)
	if err != nil || len(fires) == 0 {
		return false, err
	}
	if len(fires) == 1 || bytesOf(fires) <= task.MaxFlushBytes {
		qctx, cancel := p.s.query(ctx)
		written, err := p.s.o.Schedules.ReleaseSlot(qctx, fires...)
		cancel()
		switch {
		case err == nil:
			return p.released(fires, written), nil
		case stops(ctx, err):
			return false, err
		case len(slots) == 1:
			p.spoilt.note(slots[0].ScheduleID, 0, "release", err)
			return false, nil
		}
	}
	half := len(slots) / 2
	first, err := p.releaseSome(ctx, slots[:half])
	if err != nil {
		return false, err
	}
	second, err := p.releaseSome(ctx, slots[half:])
	return first || second, err
}

func bytesOf(fires []*schedule.Fire) (n int) {
	for _, f := range fires {
		if sub := f.Shots[0].Sub; sub != nil {
			n += len(sub.Body)
		}
	}
	return n
}

// released does what a release leaves to do.
func (p *settling) released(fires []*schedule.Fire, written schedule.Written) (any bool) {
	for _, f := range fires {
		p.spoilt.well(f.ID, "release")
		any = any || !f.Lost
	}
	p.s.wrote(fires, written, false)
	return any
}

// shoot makes the tasks of slots that waited; those whose schedule is gone or cannot be understood are left out.
func (p *settling) shoot(ctx context.Context, slots []schedule.Slot) ([]*schedule.Fire, error) {
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	ids := make([]int64, len(slots))
	of := make(map[int64]schedule.Slot, len(slots))
	for i, s := range slots {
		ids[i], of[s.ScheduleID] = s.ScheduleID, s
	}
	rows, err := p.defs.load(ctx, ids, func(r schedule.Row, err error) {
		p.spoilt.note(r.ID, 0, "release", fmt.Errorf("its definition: %w", err))
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	id, err := p.s.o.Schedules.TaskIDs(ctx, len(rows))
	if err != nil {
		return nil, err
	}
	fires := make([]*schedule.Fire, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		table := p.defs.get(row.ID, row.Version)
		if table == nil {
			continue
		}
		slot := of[row.ID]
		slot.Outcome, slot.FiredAt = schedule.Fired, p.s.o.Clock.Now()
		fires = append(fires, &schedule.Fire{ID: row.ID, Version: row.Version, AppID: row.AppID, From: row.NextAt, Next: row.NextAt, Keep: true,
			Overlap: table.Overlap, Tracked: table.Tracked(), Shots: []schedule.Shot{table.Shot(row, slot, id+int64(i))}})
	}
	return fires, nil
}
