package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// freeStore claims and finishes without doing anything, so that the engine's own cost is seen.
type freeStore struct {
	*fakeStore
	next, worker atomic.Int64
	done         atomic.Int64
	want         int64
	taken        map[int64]int64
	parts        int64
	end          chan struct{}
}

func (s *freeStore) Claim(_ context.Context, req task.ClaimRequest) (task.Claimed, error) {
	s.worker.Store(req.WorkerID)
	id := s.next.Add(1000)
	now := wall{}.Now()
	out := task.Claimed{ClaimID: id, LaneID: req.LaneID, Now: now, Tasks: make([]task.ClaimedTask, 0, req.Max)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range req.Bells {
		for i := s.taken[b]; i < 100 && len(out.Tasks) < req.Max; i++ {
			s.taken[b]++
			out.Tasks = append(out.Tasks, task.ClaimedTask{ID: b*1000 + i, BellID: b, AppID: 1, Epoch: 1, AttemptID: id + i, DueAt: now})
		}
		out.Bells = append(out.Bells, task.ClaimedBell{ID: b, Gone: s.taken[b] == 100, Remaining: int(100 - s.taken[b])})
		s.parts += int64(1)
	}
	return out, nil
}

func (s *freeStore) Finish(_ context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	if s.done.Add(int64(len(fb.Endings))) >= s.want {
		select {
		case <-s.end:
		default:
			close(s.end)
		}
	}
	return nil, nil
}

// Held says that everything is held as claimed.
func (s *freeStore) Held(_ context.Context, ids []int64) ([]task.Held, error) {
	out := make([]task.Held, len(ids))
	for i, id := range ids {
		out[i] = task.Held{ID: id, State: task.Running, WorkerID: s.worker.Load(), Epoch: 1}
	}
	return out, nil
}

// BenchmarkNoOp measures what the engine itself costs per no-op task in bells of 100 with their payloads.
func BenchmarkNoOp(b *testing.B) { drainFree(b, fakeRunner{"k", succeed}, `{"ms":0}`) }

// BenchmarkWaiting measures handlers that wait, as for an answer from elsewhere, and need next to no processor: at best 256 slots ÷ the
// time that one waits. How runs begin must not hold them up.
func BenchmarkWaiting(b *testing.B) {
	for _, wait := range []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
		b.Run(wait.String(), func(b *testing.B) {
			drainFree(b, fakeRunner{"k", func(context.Context, Job) task.Result {
				time.Sleep(wait)
				return task.Result{Outcome: task.OutcomeSucceeded}
			}}, `{"ms":0}`)
		})
	}
}

// DrainFree is for the benchmarks of what is built on the engine.
var DrainFree = drainFree

// drainFree drains tasks of a runner from a store and a broker that cost nothing.
func drainFree(b *testing.B, with Runner, payload string) {
	bells := (b.N + 99) / 100
	s := &freeStore{fakeStore: newFakeStore(), want: int64(bells * 100), end: make(chan struct{}), taken: map[int64]int64{}}
	bus := newFakeBus()
	body, _ := task.Body{Payload: []byte(payload)}.Encode()
	kind := s.kindID(with.Kind())
	for i := range bells {
		r := task.Rung{Bell: task.Bell{ID: int64(i + 1), LaneID: 1, AppID: 1}}
		for k := range int64(100) {
			id := r.ID*1000 + k
			r.TaskIDs = append(r.TaskIDs, id)
			r.Items = append(r.Items, task.Item{ID: id, KindID: kind, TimeoutMs: 60_000, Body: body})
		}
		bus.publish(r)
	}
	e, err := New(Options{Store: s, Source: bus, Clock: wall{}, Runners: []Runner{with}, Host: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { done <- e.Run(context.Background()) }()
	select {
	case <-s.end:
	case <-time.After(time.Minute):
		e.mu.Lock()
		l, in := e.order[0], bus.inlet(1)
		b.Fatalf("it stands still: %d of %d done, free %d, claims %d, hungry %d, results %d; lane: queue %d want %d applied %d claiming %d; broker: queue %d in flight %d ready %d",
			s.done.Load(), s.want, e.free, len(e.calls.open), e.hungry, e.fin.size(), len(l.queue), l.want, l.applied, l.claiming, len(in.queue), in.inflight, in.ready)
	}
	b.StopTimer()
	b.ReportMetric(float64(s.want)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(s.parts)/float64(bells), "claims/bell")
	e.Drain()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
