package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// schedules measures how late tasks of schedules start that fire each second: all in one instant, as expressions make them, and
// spread over the second. Once in a run it also measures what schedules cost that sleep.
func (b *bench) schedules(ctx context.Context) error {
	for _, spread := range []bool{false, true} {
		if err := b.firing(ctx, spread); err != nil {
			return err
		}
	}
	if b.round > 0 || b.o.Sleeping == 0 {
		return nil
	}
	return b.sleeping(ctx)
}

// firingFigure names what is measured.
func firingFigure(n int, spread bool) string {
	if spread {
		return fmt.Sprintf("%d schedules each second, spread", n)
	}
	return fmt.Sprintf("%d schedules each second, in one instant", n)
}

func (b *bench) firing(ctx context.Context, spread bool) error {
	begin := (b.sys.Now()+b.o.InstantAhead.Milliseconds())/1000*1000 + 1000
	seconds := max(1, int64(b.o.Latency/time.Second))
	list := make([]Schedule, b.o.Schedules)
	for i := range list {
		list[i] = Schedule{Name: fmt.Sprintf("bench %d %v %d", b.round, spread, i), EveryMs: 1000, StartAt: begin, EndAt: begin + seconds*1000,
			Task: Task{Kind: Kind, Queue: latencyQueue, Payload: noop}}
		if spread {
			list[i].Anchor = int64(i * 1000 / len(list))
		}
	}
	notes := b.runner.take()
	defer b.runner.stop()
	ids, err := b.client.Schedule(ctx, list...)
	if err != nil {
		return fmt.Errorf("make schedules: %w", err)
	}
	if b.sys.Now() >= begin {
		return errAheadTooShort
	}
	want := int(seconds) * len(list)
	if err := until(ctx, b.o.InstantAhead+b.o.Latency+b.o.Patience, func() bool { return notes.starts() >= want }); err != nil && ctx.Err() != nil {
		return err
	}
	slot, s, err := b.slots(ctx, ids)
	if err != nil {
		return err
	}
	name := firingFigure(len(list), spread)
	s.n = int64(want) // what is missing of them is lost
	if err := b.account(ctx, b.rep.figure(name+": late, p99", "ms"), s); err != nil {
		return err
	}
	late := b.lateness(notes, func(id int64) int64 { return slot[id] })
	if len(late) != want {
		return fmt.Errorf("%w: %d of %d slots started", errTooSlow, len(late), want)
	}
	b.rep.quantiles(name+": late", late)
	return b.client.Unschedule(ctx, ids...)
}

// slots reads which task belongs to which slot of schedules.
func (b *bench) slots(ctx context.Context, ids []int64) (map[int64]int64, span, error) {
	var s span
	rows, err := b.sys.DB().QueryContext(ctx, "SELECT task_id, slot_at FROM slots WHERE schedule_id BETWEEN ? AND ? AND outcome = 1", slices.Min(ids), slices.Max(ids))
	if err != nil {
		return nil, s, fmt.Errorf("read slots: %w", err)
	}
	defer rows.Close()
	slot := map[int64]int64{}
	for rows.Next() {
		var id, at int64
		if err := rows.Scan(&id, &at); err != nil {
			return nil, s, fmt.Errorf("read slots: %w", err)
		}
		slot[id] = at
		s.add(id)
	}
	if err := rows.Err(); err != nil {
		return nil, s, fmt.Errorf("read slots: %w", err)
	}
	return slot, s, nil
}

// sleeping measures the processor time and the memory that an idle system needs more with schedules that sleep than without.
func (b *bench) sleeping(ctx context.Context) error {
	cpu, heap, err := b.idle(ctx)
	if err != nil {
		return err
	}
	at := b.sys.Now() + 30*86_400_000
	list := make([]Schedule, b.o.Sleeping)
	for i := range list {
		list[i] = Schedule{Name: fmt.Sprintf("sleeper %d", i), At: at + int64(i), Task: Task{Kind: Kind, Queue: latencyQueue, Payload: noop}}
	}
	if _, err := b.client.Schedule(ctx, list...); err != nil {
		return fmt.Errorf("make schedules: %w", err)
	}
	list = nil
	if err := pause(ctx, b.o.Known); err != nil {
		return err
	}
	cpu2, heap2, err := b.idle(ctx)
	if err != nil {
		return err
	}
	b.rep.figure("idle, all processes", "% of a core").add(cpu)
	b.rep.figure(sleepingFigure(b.o.Sleeping)+": processor, all processes", "% of a core").add(max(0, cpu2-cpu))
	b.rep.figure(sleepingFigure(b.o.Sleeping)+": memory", "MiB").add(max(0, heap2-heap))
	return nil
}

func sleepingFigure(n int) string { return fmt.Sprintf("%d sleeping schedules", n) }

// idle measures a while in which nothing is asked: percent of a core of all processes, and the live heap of this one in MiB.
func (b *bench) idle(ctx context.Context) (percent, heap float64, err error) {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	before, began := b.processors(), time.Now()
	if err := pause(ctx, b.o.Idle); err != nil {
		return 0, 0, err
	}
	return float64(b.processors()-before) * 100 / float64(time.Since(began)), float64(mem.HeapAlloc) / (1 << 20), nil
}

// processors is the processor time of all processes so far.
func (b *bench) processors() (sum time.Duration) {
	for _, used := range b.cpu() {
		sum += used
	}
	return sum
}
