package scheduler_test

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// instant claims every bell at the moment that it is rung: what is left is what the scheduler itself can do.
type instant struct {
	*sqldb.Store
	mu    sync.Mutex
	rung  map[int64]int
	tasks int
	all   int
	done  chan struct{}
}

func (i *instant) Publish(_ context.Context, _ task.Lane, rungs []task.Rung) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range rungs {
		if i.rung[r.ID]++; i.rung[r.ID] == 1 {
			if i.tasks += len(r.Items); i.tasks == i.all {
				close(i.done)
			}
		}
	}
	return nil
}

func (i *instant) Generation() int64 { return 1 }

func (i *instant) gone(id int64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rung[id] > 0
}

func (i *instant) BellsLeft(ctx context.Context, ids []int64) (map[int64]int, error) {
	left, err := i.Store.BellsLeft(ctx, ids)
	for id := range left {
		if i.gone(id) {
			delete(left, id)
		}
	}
	return left, err
}

func (i *instant) DueBells(ctx context.Context, lane, app int32, kind task.BellKind, now int64, after task.BellAfter, limit int) ([]task.Bell, error) {
	bells, err := i.Store.DueBells(ctx, lane, app, kind, now, after, limit)
	if len(bells) == limit {
		return bells, err // a full page stays one
	}
	out := bells[:0]
	for _, b := range bells {
		if !i.gone(b.ID) {
			out = append(out, b)
		}
	}
	return out, err
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// How many queued tasks per second the scheduler can ring, payloads read and all, in bells of 100.
func BenchmarkRinging(b *testing.B) {
	for _, kind := range []string{"sqlite", "mysql"} {
		b.Run(kind, func(b *testing.B) {
			s := sqldbtest.New(b, kind)
			x := newSite(b, s)
			if err := s.TuneLane(context.Background(), x.lane.ID, 0, 100); err != nil {
				b.Fatal(err)
			}
			if _, err := s.NewWorker(context.Background(), task.WorkerInfo{Slots: 256}); err != nil {
				b.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond) // the submitter re-reads the size of bells
			const n = 50_000
			x.submit(n, nil)
			b.ResetTimer()
			var spent time.Duration
			for range b.N {
				i := &instant{Store: s, rung: make(map[int64]int), all: n, done: make(chan struct{})}
				sch, err := scheduler.New(scheduler.Options{Store: i, Publisher: i, Clock: s.Clock(), Alone: true})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				before := cpu()
				go func() { done <- sch.Run(ctx) }()
				<-i.done
				spent += cpu() - before
				cancel()
				<-done
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			b.ReportMetric(float64(spent.Microseconds())/float64(n)/float64(b.N), "cpu-µs/task")
		})
	}
}

// An idle scheduler on SQLite costs next to nothing.
func TestIdleCost(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for 6 s")
	}
	if racing {
		t.Skip("the race detector runs: costs mean nothing")
	}
	s := sqldbtest.New(t, "sqlite")
	x := newSite(t, s)
	for _, q := range []string{"a", "b", "c"} {
		if _, err := s.EnsureLane(context.Background(), q, task.Normal); err != nil {
			t.Fatal(err)
		}
	}
	x.submit(10, func(sub *task.Submission) { sub.DelayMs = 3_600_000 })
	pub := &instant{Store: s, rung: make(map[int64]int), all: -1}
	sch := run(t, scheduler.Options{Store: s, Publisher: pub, Clock: s.Clock(), Alone: true})
	x.eventually("ready", 5*time.Second, sch.Ready)
	time.Sleep(time.Second)
	before, begin := cpu(), time.Now()
	time.Sleep(5 * time.Second)
	share := float64(cpu()-before) / float64(time.Since(begin))
	t.Logf("idle: %.2f %% of a core", share*100)
	if share > 0.02 {
		t.Errorf("an idle scheduler uses %.2f %% of a core", share*100)
	}
}
