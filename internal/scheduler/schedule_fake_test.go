package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// shelf is a store of schedules in memory that keeps what ScheduleStore promises.
type shelf struct {
	m     *memStore
	clock Clock

	mu       sync.Mutex
	nextID   int64
	rows     map[int64]schedule.Row
	slots    map[slotKey]schedule.Slot
	tasks    map[int64]shelfTask
	open     map[int64]map[int64]bool // by schedule: runs that have not ended
	ended    []schedule.Run
	refuse   map[int64]error // schedules that no transaction may hold
	reads    int             // calls of DueSchedules
	calls    int             // all calls
	fires    int             // transactions
	releases int             // … of ReleaseSlot
	whole    int             // definitions read
	settled  int
	piled    bool                       // a slot replaces more runs than its transaction ends
	rests    int                        // calls of EndPrevious
	wasHeld  map[slotKey]bool           // slots that waited for a run
	waiting  map[int64]map[slotKey]bool // by schedule: slots that wait now
}

type slotKey struct{ id, origin, at int64 }

// compare orders the held slots of one schedule, the oldest first.
func (k slotKey) compare(other slotKey) int {
	return cmp.Or(cmp.Compare(k.at, other.at), cmp.Compare(k.origin, other.origin))
}

type shelfTask struct {
	scheduleID, slot, due, created int64
}

func newShelf(m *memStore, clock Clock) *shelf {
	return &shelf{m: m, clock: clock, nextID: 100, rows: map[int64]schedule.Row{}, slots: map[slotKey]schedule.Slot{}, tasks: map[int64]shelfTask{},
		open: map[int64]map[int64]bool{}, refuse: map[int64]error{}, wasHeld: map[slotKey]bool{}, waiting: map[int64]map[slotKey]bool{}}
}

// lock also says when the database is gone.
func (h *shelf) lock() (func(), error) {
	unlock, err := h.m.lock()
	if err != nil {
		return nil, &task.Error{Kind: task.Unavailable, Code: "database_unavailable", Message: err.Error()}
	}
	unlock()
	h.mu.Lock()
	h.calls++
	return h.mu.Unlock, nil
}

// add makes a schedule. Its next slot is the first after the clock's now.
func (h *shelf) add(t testing.TB, d schedule.Definition) schedule.Row {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nextID++
	r := schedule.Row{ID: h.nextID, AppID: 1, Name: fmt.Sprint("s", h.nextID), Version: 1, Definition: encoded(t, d)}
	r.NextAt = tableOf(t, r).Next(h.clock.Now())
	h.rows[r.ID] = r
	return r
}

// edit changes a schedule as control does: what it owes up to now is fired by the caller before.
func (h *shelf) edit(id int64, change func(*schedule.Row)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rows[id]
	change(&r)
	r.Version++
	h.rows[id] = r
	for k, s := range h.slots { // what was inserted ahead is planned anew
		if k.id == id && s.At > h.clock.Now() && s.Outcome == schedule.Fired && k.origin == schedule.Planned {
			delete(h.slots, k)
			delete(h.tasks, s.TaskID)
			delete(h.open[id], s.TaskID)
		}
	}
}

// counts gives how often due schedules, anything, and definitions were read.
func (h *shelf) counts() (reads, calls, whole int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reads, h.calls, h.whole
}

func (h *shelf) row(id int64) schedule.Row {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rows[id]
}

// slotsOf lists the slots of a schedule in order.
func (h *shelf) slotsOf(id int64) []schedule.Slot {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.slotsLocked(id)
}

func (h *shelf) slotsLocked(id int64) (out []schedule.Slot) {
	for k, s := range h.slots {
		if k.id == id {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b schedule.Slot) int { return cmp.Compare(a.At, b.At) })
	return out
}

// slotsAndTasks lists the slots and counts the tasks of each at one moment: schedulers go on firing what they held.
func (h *shelf) slotsAndTasks(id int64) (slots []schedule.Slot, tasks map[int64]int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tasks = map[int64]int{}
	for _, one := range h.tasks {
		if one.scheduleID == id {
			tasks[one.slot]++
		}
	}
	return h.slotsLocked(id), tasks
}

// end ends the open runs of a schedule.
func (h *shelf) end(id int64, state task.State) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, run := range slices.Sorted(maps.Keys(h.open[id])) {
		h.ended = append(h.ended, schedule.Run{TaskID: run, ScheduleID: id, State: state})
		n++
	}
	h.open[id] = nil
	return n
}

func (h *shelf) TaskIDs(_ context.Context, n int) (int64, error) {
	unlock, err := h.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	h.nextID += int64(n)
	return h.nextID - int64(n) + 1, nil
}

func (h *shelf) DueSchedules(_ context.Context, shards []int, until int64, limit int) (out []schedule.Row, err error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	h.reads++
	for _, r := range h.rows {
		if r.NextAt <= until && slices.Contains(shards, schedule.Shard(r.ID)) {
			r.Definition = nil
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b schedule.Row) int { return cmp.Or(cmp.Compare(a.NextAt, b.NextAt), cmp.Compare(a.ID, b.ID)) })
	return out[:min(limit, len(out))], nil
}

func (h *shelf) Schedules(_ context.Context, ids []int64) (out []schedule.Row, err error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, id := range ids {
		if r, ok := h.rows[id]; ok {
			h.whole++
			out = append(out, r)
		}
	}
	return out, nil
}

func (h *shelf) Fire(_ context.Context, fires []*schedule.Fire) (w schedule.Written, err error) {
	unlock, err := h.lock()
	if err != nil {
		return w, err
	}
	defer unlock()
	for _, f := range fires {
		if err := h.refuse[f.ID]; err != nil {
			return w, err
		}
	}
	h.fires++
	for _, f := range fires {
		r, ok := h.rows[f.ID]
		if f.Lost = !ok || r.Version != f.Version || !f.Keep && (r.NextAt != f.From || r.Pause != 0); f.Lost {
			continue
		}
		for i := range f.Shots {
			h.shoot(f, &f.Shots[i], &w)
		}
		if !f.Keep {
			r.NextAt = f.Next
			h.rows[r.ID] = r
		}
	}
	return w, nil
}

func (h *shelf) held(id int64) (out []slotKey) {
	for k := range h.waiting[id] {
		out = append(out, k)
	}
	slices.SortFunc(out, slotKey.compare)
	return out
}

// firstHeld gives the oldest of held.
func (h *shelf) firstHeld(id int64) (first slotKey, ok bool) {
	for k := range h.waiting[id] {
		if !ok || k.compare(first) < 0 {
			first, ok = k, true
		}
	}
	return first, ok
}

func (h *shelf) shoot(f *schedule.Fire, s *schedule.Shot, w *schedule.Written) {
	k := slotKey{f.ID, s.Origin, s.At}
	if _, there := h.slots[k]; there {
		s.Sub = nil
		return
	}
	if s.Outcome == schedule.Fired && f.Overlap != schedule.Allow {
		held := h.held(f.ID)
		a := schedule.Admit(f.Overlap, s.Origin, len(h.open[f.ID]), len(held))
		s.Outcome = a.Outcome
		h.wasHeld[k] = a.Outcome == schedule.Held
		switch {
		case a.CancelOpen && h.piled:
			w.Rest = append(w.Rest, schedule.Rest{ScheduleID: f.ID, Version: f.Version})
		case a.CancelOpen:
			for _, run := range slices.Sorted(maps.Keys(h.open[f.ID])) {
				w.Cancels = append(w.Cancels, schedule.Cancel{TaskID: run, WorkerID: 7, Epoch: 1})
			}
		}
		if a.DropHeld {
			for _, k := range held {
				old := h.slots[k]
				old.Outcome = schedule.SkippedOverlap
				h.set(old)
			}
		}
	}
	h.put(f, s, w)
}

// put writes a slot and its task.
func (h *shelf) put(f *schedule.Fire, s *schedule.Shot, w *schedule.Written) {
	if s.Outcome == schedule.Fired {
		s.TaskID = s.Sub.ID
		if s.Sub.DueAt == 0 {
			s.Sub.DueAt = h.clock.Now()
		}
		if _, twice := h.tasks[s.TaskID]; twice {
			panic("a task id was used twice")
		}
		h.tasks[s.TaskID] = shelfTask{scheduleID: f.ID, slot: s.At, due: s.Sub.DueAt, created: h.clock.Now()}
		if f.Tracked {
			if h.open[f.ID] == nil {
				h.open[f.ID] = map[int64]bool{}
			}
			h.open[f.ID][s.TaskID] = true
		}
		h.nextID++
		w.Bells = append(w.Bells, task.Bell{ID: h.nextID, LaneID: s.Sub.LaneID, AppID: f.AppID, DueAt: s.Sub.DueAt, Direct: true, TaskIDs: []int64{s.TaskID}})
	} else {
		s.Sub = nil
	}
	h.set(s.Slot)
}

// set writes a slot row.
func (h *shelf) set(s schedule.Slot) {
	k := slotKey{s.ScheduleID, s.Origin, s.At}
	h.slots[k] = s
	delete(h.waiting[k.id], k)
	if s.Outcome == schedule.Held {
		if h.waiting[k.id] == nil {
			h.waiting[k.id] = map[slotKey]bool{}
		}
		h.waiting[k.id][k] = true
	}
}

func (h *shelf) ReleaseSlot(_ context.Context, fires ...*schedule.Fire) (w schedule.Written, err error) {
	unlock, err := h.lock()
	if err != nil {
		return w, err
	}
	defer unlock()
	for _, f := range fires {
		if err := h.refuse[f.ID]; err != nil {
			return w, err
		}
	}
	h.releases++
	for _, f := range fires {
		s := &f.Shots[0]
		first, held := h.firstHeld(f.ID)
		r := h.rows[f.ID]
		f.Lost = !held || first != slotKey{f.ID, s.Origin, s.At} || len(h.open[f.ID]) > 0 || r.Version != f.Version || r.Pause != 0
		if !f.Lost {
			h.put(f, s, &w)
		}
	}
	return w, nil
}

// EndPrevious takes two calls.
func (h *shelf) EndPrevious(_ context.Context, rest schedule.Rest, after int64) (cancels []schedule.Cancel, next int64, err error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	if h.rests++; after == 0 {
		return nil, 1, nil
	}
	for _, run := range slices.Sorted(maps.Keys(h.open[rest.ScheduleID])) {
		cancels = append(cancels, schedule.Cancel{TaskID: run, WorkerID: 7, Epoch: 1})
	}
	return cancels, 0, nil
}

func (h *shelf) Releasable(_ context.Context, limit int) (out []schedule.Slot, err error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for id, r := range h.rows {
		if r.Pause != 0 || len(h.open[id]) > 0 || len(out) >= limit {
			continue
		}
		if first, held := h.firstHeld(id); held {
			out = append(out, h.slots[first])
		}
	}
	return out, nil
}

func (h *shelf) HasHeld(context.Context) (bool, error) {
	unlock, err := h.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	for _, w := range h.waiting {
		if len(w) > 0 {
			return true, nil
		}
	}
	return false, nil
}

func (h *shelf) EndedRuns(_ context.Context, limit int) ([]schedule.Run, error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return slices.Clone(h.ended[:min(limit, len(h.ended))]), nil
}

func (h *shelf) SettleQuiet(_ context.Context, runs []schedule.Run) (left []schedule.Run, err error) {
	unlock, err := h.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	counts := map[int64]bool{}
	for _, run := range runs {
		if err := h.refuse[run.ScheduleID]; err != nil {
			return nil, err
		}
		counts[run.ScheduleID] = counts[run.ScheduleID] || run.State == task.Failed || run.State == task.Succeeded && h.rows[run.ScheduleID].Failures > 0
	}
	for _, run := range runs {
		if i := slices.Index(h.ended, run); i >= 0 && !counts[run.ScheduleID] {
			h.ended = slices.Delete(h.ended, i, i+1)
			h.settled++
		} else if i >= 0 {
			left = append(left, run)
		}
	}
	return left, nil
}

func (h *shelf) Settle(_ context.Context, id int64, runs []schedule.Run, most int) (paused bool, err error) {
	unlock, err := h.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := h.refuse[id]; err != nil {
		return false, err
	}
	r := h.rows[id]
	for _, run := range runs {
		i := slices.Index(h.ended, run)
		if i < 0 {
			continue
		}
		h.ended = slices.Delete(h.ended, i, i+1)
		h.settled++
		var stop bool
		if r.Failures, stop = schedule.AfterRun(r.Failures, run.State, most); stop && r.Pause == 0 {
			r.Pause, r.NextAt, paused = schedule.PausedFailures, schedule.Never, true
		}
	}
	if r.ID != 0 {
		h.rows[id] = r
	}
	return paused, nil
}

func encoded(t testing.TB, d schedule.Definition) []byte {
	t.Helper()
	raw, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func tableOf(t testing.TB, r schedule.Row) *schedule.Timetable {
	t.Helper()
	d, err := schedule.DecodeDefinition(r.Definition)
	if err != nil {
		t.Fatal(err)
	}
	table, err := schedule.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// every is a definition with a slot each so often; change may alter it.
func everyMs(ms int64, change ...func(*schedule.Definition)) schedule.Definition {
	d := schedule.Definition{Spec: cron.Spec{EveryMs: ms}, Zone: "UTC", DSTGap: "shift", DSTOverlap: "first", MaxAgeMs: schedule.DefaultMaxAgeMs,
		Task: schedule.Template{Kind: "echo", KindID: 1, Queue: "q", Priority: task.Normal, LaneID: 1, TimeoutMs: 1000, Payload: []byte(`{"at":"{{slot}}"}`)}}
	for _, c := range change {
		c(&d)
	}
	return d
}

// audit holds the slots of a schedule up to an instant against its timetable: each planned one has a row, and a task exactly
// if it fired. It gives the rows.
func (h *shelf) audit(t testing.TB, id, from, until int64) []schedule.Slot {
	t.Helper()
	rows, tasks := h.slotsAndTasks(id)
	table := tableOf(t, h.row(id))
	at := table.Next(from)
	fired := 0
	for _, s := range rows {
		if s.At > until {
			break
		}
		if s.At != at {
			t.Fatalf("schedule %d: the row after %d should be %d, is %d (%v)", id, from, at, s.At, s.Outcome)
		}
		if n := tasks[s.At]; n > 1 || (n == 1) != (s.Outcome == schedule.Fired) || (s.TaskID != 0) != (s.Outcome == schedule.Fired) {
			t.Fatalf("schedule %d, slot %d: %v, %d tasks, task %d", id, s.At, s.Outcome, n, s.TaskID)
		}
		if s.Outcome == schedule.Fired {
			fired++
		}
		from, at = s.LastAt, table.Next(s.LastAt)
	}
	if at <= until {
		t.Fatalf("schedule %d: slot %d has no row", id, at)
	}
	return rows
}

// jumpClock is a clock that can be set.
type jumpClock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *jumpClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func (c *jumpClock) offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off
}

func (c *jumpClock) Now() int64       { return time.Now().Add(c.offset()).UnixMilli() }
func (c *jumpClock) NowMicros() int64 { return time.Now().Add(c.offset()).UnixMicro() }
func (c *jumpClock) Until(ms int64) time.Duration {
	return time.UnixMilli(ms).Sub(time.Now().Add(c.offset()))
}
func (*jumpClock) Uncertainty() time.Duration { return 0 }
