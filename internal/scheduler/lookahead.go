package scheduler

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	horizonMs    = 2_000
	lookAheadMax = 16_384   // bells of one shard read at once
	heapMax      = 50_000   // bells held
	heapBytes    = 32 << 20 // bytes of bodies held; bells beyond are held without
	rungsBells   = 100      // bells whose payloads are read at once
	firstTasks   = 32       // at an instant these are rung alone, to be quick
	overlapMs    = 200
)

// lookAhead holds the start bells that will be due soon, with their payloads, and hands them over at their instant.
type lookAhead struct {
	s    *Scheduler
	wake chan struct{}

	due atomic.Pointer[map[int]int64] // earliest due time by shard, as the bell loop saw it last

	mu    sync.Mutex
	heap  bellHeap
	held  map[int64]bool // in the heap, or handed over and not yet taken in by the loop
	bytes int

	writers map[int64]int64 // direct bells seen before their time, and their time: their writers ring them
}

// bellHeap is ordered by due time.
type bellHeap []*task.Rung

func (h bellHeap) Len() int { return len(h) }
func (h bellHeap) Less(i, j int) bool {
	return h[i].DueAt < h[j].DueAt || h[i].DueAt == h[j].DueAt && h[i].ID < h[j].ID
}
func (h bellHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *bellHeap) Push(x any) { *h = append(*h, x.(*task.Rung)) }

// Pop implements heap.Interface.
func (h *bellHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

func newLookAhead(s *Scheduler) *lookAhead {
	a := &lookAhead{s: s, wake: make(chan struct{}, 1), held: make(map[int64]bool), writers: make(map[int64]int64)}
	a.due.Store(&map[int]int64{})
	return a
}

// holding reports whether a bell waits here for its instant.
func (a *lookAhead) holding(id int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held[id]
}

// kept reports whether a bell is kept by its writer until its instant.
func (a *lookAhead) kept(id int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, yes := a.writers[id]
	return yes
}

// empty reports whether nothing waits for its instant.
func (a *lookAhead) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.heap) == 0
}

// taken says that the loop knows these bells now.
func (a *lookAhead) taken(rungs []task.Rung) {
	if len(rungs) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range rungs {
		delete(a.held, r.ID)
	}
}

func (a *lookAhead) runLoad(ctx context.Context) {
	a.s.every(ctx, "look ahead", a.s.o.Intervals.LookAhead, func(ctx context.Context) (time.Duration, error) {
		return 0, a.load(ctx)
	})
}

// load reads what is due within the horizon in the shards that have anything, as of the loop's last look, so that an idle
// system is not asked sixteen times a second. What is written after that look is due in 2 s or more, or its writer keeps the
// timer.
func (a *lookAhead) load(ctx context.Context) error {
	now := a.s.o.Clock.Now()
	a.forgetWriters(now)
	for shard, due := range *a.due.Load() {
		if due > now+horizonMs || !a.s.leases.holds(shard) {
			continue
		}
		qctx, cancel := a.s.query(ctx)
		bells, err := a.s.o.Store.LookAhead(qctx, shard, now-overlapMs, now+horizonMs, lookAheadMax)
		cancel()
		if err != nil {
			return err
		}
		if err := a.add(ctx, a.wanted(bells)); err != nil {
			return err
		}
	}
	return nil
}

// forgetWriters drops bells that are the owner's by now.
func (a *lookAhead) forgetWriters(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, due := range a.writers {
		if due < now-2*graceMax.Milliseconds() {
			delete(a.writers, id)
		}
	}
}

// shardsOf gives the earliest due time of each shard that has any.
func shardsOf(pairs []task.LaneApp) map[int]int64 {
	out := make(map[int]int64)
	for _, p := range pairs {
		shard := task.ShardOf(p.LaneID)
		if due, known := out[shard]; !known || p.MinDue < due {
			out[shard] = p.MinDue
		}
	}
	return out
}

// wanted leaves out what is held already, and notes the bells whose writers keep the timer.
func (a *lookAhead) wanted(bells []task.Bell) []task.Bell {
	now := a.s.o.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	out := bells[:0]
	for _, b := range bells {
		if a.held[b.ID] || b.DueAt <= now || len(a.heap)+len(out) >= heapMax {
			continue
		}
		if b.Direct {
			a.writers[b.ID] = b.DueAt
			continue
		}
		out = append(out, b)
	}
	return out
}

// add reads payloads and puts bells into the heap.
func (a *lookAhead) add(ctx context.Context, bells []task.Bell) error {
	for len(bells) > 0 {
		k := min(len(bells), rungsBells)
		rungs, err := a.rungs(ctx, bells[:k])
		if err != nil {
			return err
		}
		bells = bells[k:]
		a.push(rungs)
	}
	return nil
}

func (a *lookAhead) rungs(ctx context.Context, bells []task.Bell) ([]task.Rung, error) {
	a.mu.Lock()
	full := a.bytes >= heapBytes
	a.mu.Unlock()
	if full {
		return bare(bells), nil
	}
	ctx, cancel := a.s.query(ctx)
	defer cancel()
	return a.s.o.Store.Rungs(ctx, bells)
}

// bare makes rungs without items.
func bare(bells []task.Bell) []task.Rung {
	out := make([]task.Rung, len(bells))
	for i, b := range bells {
		out[i].Bell = b
	}
	return out
}

func (a *lookAhead) push(rungs []task.Rung) {
	a.mu.Lock()
	for _, r := range rungs {
		if !a.held[r.ID] {
			a.held[r.ID] = true
			a.bytes += bodyBytes(r)
			heap.Push(&a.heap, &r)
		}
	}
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func bodyBytes(r task.Rung) (n int) {
	for _, it := range r.Items {
		n += 64 + len(it.Body)
	}
	return n
}
