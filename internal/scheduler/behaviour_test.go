package scheduler

import (
	"context"
	"math/bits"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

// bubble runs a test with one scheduler on a store in memory, in virtual time.
func bubble(t *testing.T, alone bool, f func(t *testing.T, m *memStore, b *broker, s *Scheduler)) {
	t.Helper()
	testkit.Bubble(t, func(t *testing.T) {
		m, b := newMemStore(), newBroker()
		m.addLane(1, "q")
		m.addApp(1, 1)
		m.addApp(2, 1)
		s, stop := start(t, Options{Store: m, Publisher: b, Clock: hostClock{}, Alone: alone, Intervals: Intervals{Look: 200 * time.Millisecond}})
		defer stop()
		time.Sleep(10 * time.Millisecond)
		f(t, m, b, s)
	})
}

func alive(id int64, slots int) task.Worker {
	return task.Worker{ID: id, State: task.WorkerAlive, BeatAt: time.Now().UnixMilli(), Info: task.WorkerInfo{Slots: slots}}
}

// work runs a worker with slots that each need d per task, until ctx ends. started is told of each task.
func work(ctx context.Context, m *memStore, b *broker, slots int, d time.Duration, started func(r task.Rung, n int)) {
	free := make(chan struct{}, slots)
	for range slots {
		free <- struct{}{}
	}
	for ctx.Err() == nil {
		r, ok := b.take()
		if !ok {
			select {
			case <-ctx.Done():
			case <-b.more:
			}
			continue
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-free:
			}
			if m.claim(0, r.ID, 1) == 0 {
				free <- struct{}{}
				break
			}
			started(r, 1)
			time.AfterFunc(d, func() { free <- struct{}{} })
		}
	}
}

// The promise of admission: while app A has any backlog, a task of app B starts before more than W + credit further
// tasks of A have started.
func TestPromise(t *testing.T) {
	for _, c := range []struct {
		slots, bell int
		run         time.Duration
	}{{8, 1, 10 * time.Millisecond}, {8, 16, 10 * time.Millisecond}, {64, 16, 20 * time.Millisecond}, {256, 100, 25 * time.Millisecond}} {
		bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
			ctx, cancel := context.WithCancel(t.Context())
			m.setWorker(alive(1, c.slots))
			m.submit(1, 1, 40_000/c.bell, c.bell, time.Now(), false)
			var mu sync.Mutex
			startedA := 0
			waiting := map[int64]int{} // bell of B to tasks of A started when it was written
			worst := 0
			done := make(chan struct{})
			go func() {
				defer close(done)
				work(ctx, m, b, c.slots, c.run, func(r task.Rung, n int) {
					mu.Lock()
					defer mu.Unlock()
					if r.AppID == 1 {
						startedA += n
						return
					}
					if at, first := waiting[r.ID]; first {
						worst = max(worst, startedA-at)
						delete(waiting, r.ID)
					}
				})
			}()
			time.Sleep(1200 * time.Millisecond)
			rnd := rand.New(rand.NewPCG(1, 2))
			for range 12 {
				synctest.Wait()
				mu.Lock()
				waiting[m.submit(1, 2, 1, 1, time.Now(), false)[0]] = startedA
				mu.Unlock()
				time.Sleep(time.Duration(150+rnd.IntN(100)) * time.Millisecond)
			}
			time.Sleep(500 * time.Millisecond)
			cancel()
			<-done
			perSecond := float64(c.slots) / c.run.Seconds()
			if m.left() == 0 {
				t.Fatal("A has no backlog: nothing was tested")
			}
			// The throughput that is measured wavers around the true one when all slots end at once; a lane with a backlog has
			// credit 0.
			bound := windowSize(c.slots, perSecond*1.12)
			if len(waiting) != 0 || worst > bound {
				t.Errorf("slots %d bells of %d: worst %d further tasks of A, W = %d; %d of B never started", c.slots, c.bell, worst, bound, len(waiting))
			}
			t.Logf("slots %d bells of %d: worst %d, W = %d", c.slots, c.bell, worst, bound)
		})
	}
}

// The window keeps the workers busy: a backlog is drained at the speed of the slots.
func TestWindowNeverStarvesWorkers(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		ctx, cancel := context.WithCancel(t.Context())
		m.setWorker(alive(1, 256))
		time.Sleep(time.Second)
		m.submit(1, 1, 500, 100, time.Now(), false)
		begin, n := time.Now(), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			work(ctx, m, b, 256, 2*time.Millisecond, func(_ task.Rung, k int) { n += k })
		}()
		for m.left() > 0 && time.Since(begin) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		ideal := 50_000 / 256.0 * 2 * float64(time.Millisecond)
		if took := time.Since(begin); float64(took) > ideal*1.1+float64(250*time.Millisecond) {
			t.Errorf("50,000 tasks took %v, the slots alone need %v", took, time.Duration(ideal))
		}
		cancel()
		<-done
		if n != 50_000 {
			t.Errorf("%d tasks started", n)
		}
	})
}

func TestRingsWhatIsDueAndLeavesDirectBellsToWriters(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.setWorker(alive(1, 64))
		time.Sleep(3 * time.Second) // the lane is calm: writers get credit
		plain := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		direct := m.submit(1, 1, 1, 1, time.Now(), true)[0]
		begin := time.Now()
		time.Sleep(250 * time.Millisecond)
		if r := b.rung(plain); len(r) != 1 || r[0].Sub(begin) > 210*time.Millisecond {
			t.Errorf("plain bell rung %v", r)
		}
		m.claim(0, plain, 1)
		time.Sleep(2 * time.Second)
		r := b.rung(direct)
		if len(r) == 0 {
			t.Fatal("a direct bell that its writer does not ring is forgotten")
		}
		if d := r[0].Sub(begin); d < graceFree-10*time.Millisecond || d > graceMax+300*time.Millisecond {
			t.Errorf("a direct bell was rung after %v", d)
		}
	})
}

// Where writers have no credit, the owner does not wait for them.
func TestDirectBellsWithoutCreditAreTheOwners(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		id := m.submit(1, 1, 1, 1, time.Now(), true)[0] // no worker: credit 0
		s.Wake()
		time.Sleep(20 * time.Millisecond)
		if len(b.rung(id)) != 1 {
			t.Errorf("rung %v", b.rung(id))
		}
	})
}

func TestPausedRingsNothing(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.mu.Lock()
		m.apps[2] = task.App{ID: 2, Paused: true}
		m.mu.Unlock()
		m.addLane(2, "r")
		m.mu.Lock()
		l := m.lanes[2]
		l.Paused = true
		m.lanes[2] = l
		m.mu.Unlock()
		time.Sleep(time.Second)
		app := m.submit(1, 2, 1, 1, time.Now(), false)[0]
		lane := m.submit(2, 1, 1, 1, time.Now(), false)[0]
		later := m.submit(2, 1, 1, 1, time.Now().Add(1500*time.Millisecond), false)[0]
		ok := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		time.Sleep(3 * time.Second)
		if len(b.rung(app))+len(b.rung(lane))+len(b.rung(later)) != 0 || len(b.rung(ok)) == 0 {
			t.Fatalf("paused app %v, paused lane %v and %v, other %v", b.rung(app), b.rung(lane), b.rung(later), b.rung(ok))
		}
		m.addApp(2, 1)
		m.addLane(2, "r")
		time.Sleep(time.Second)
		if len(b.rung(app)) == 0 || len(b.rung(lane)) == 0 || len(b.rung(later)) == 0 {
			t.Fatal("not rung after the pause")
		}
	})
}

func TestRingsAgain(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		time.Sleep(40 * time.Second)
		rings := b.rung(id)
		if len(rings) < 4 || len(rings) > 6 {
			t.Fatalf("rung %d times in 40 s", len(rings))
		}
		want := 2 * time.Second
		for i := 1; i < len(rings); i++ {
			if d := rings[i].Sub(rings[i-1]); d < want || d > want+300*time.Millisecond {
				t.Errorf("ring %d after %v, want %v", i, d, want)
			}
			want *= 2
		}
		b.set(func(b *broker) { b.gen++ })
		time.Sleep(300 * time.Millisecond)
		if got := len(b.rung(id)); got != len(rings)+1 {
			t.Errorf("%d rings after a broker vanished, want %d", got, len(rings)+1)
		}
		m.claim(0, id, 1)
		time.Sleep(time.Hour)
		if got := len(b.rung(id)); got != len(rings)+1 {
			t.Errorf("a claimed bell was rung %d times more", got-len(rings)-1)
		}
	})
}

// A bell that the broker lost without a word is rung again after seconds also in a lane of a few tasks a second, whose window stands for
// minutes of them. (An nsqd whose disk had been full lost one so.)
func TestRingsAgainSoonInASlowLane(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.setWorker(alive(7, 512))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			work(ctx, m, b, 512, time.Millisecond, func(task.Rung, int) {})
		}()
		for range 30 { // three a second
			m.submit(1, 1, 1, 1, time.Now(), false)
			m.setWorker(alive(7, 512)) // it beats
			time.Sleep(time.Second / 3)
		}
		b.set(func(b *broker) { b.lose = true })
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		time.Sleep(time.Second)
		if n := len(b.rung(id)); n != 1 {
			t.Fatalf("rung %d times within a second", n)
		}
		b.set(func(b *broker) { b.lose = false })
		time.Sleep(4 * time.Second)
		if n := m.left(); n != 0 {
			t.Errorf("%d tasks still wait 5 s after the broker lost their bell", n)
		}
		cancel()
		b.more <- struct{}{}
		<-done
	})
}

// A broker that is gone: nothing is forgotten, it is asked with pauses, and all is rung when it is back.
func TestBrokerGone(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		b.set(func(b *broker) { b.fail = errDown })
		ids := m.submit(1, 1, 30, 1, time.Now(), false)
		time.Sleep(10 * time.Second)
		b.set(func(b *broker) { b.fail = nil })
		time.Sleep(stallMax + 500*time.Millisecond)
		for _, id := range ids {
			if len(b.rung(id)) == 0 {
				t.Fatal("a bell is not rung after the broker is back")
			}
		}
	})
}

// A broker that does not answer for one lane holds nobody else up.
func TestHangingPublishBlocksNobody(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.addLane(2, "r")
		b.set(func(b *broker) { b.hang[2] = true })
		m.submit(2, 1, 1, 1, time.Now(), false)
		time.Sleep(500 * time.Millisecond)
		for range 10 {
			id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
			time.Sleep(220 * time.Millisecond)
			if len(b.rung(id)) == 0 {
				t.Fatal("another lane waits")
			}
		}
		b.set(func(b *broker) { b.hang[2] = false })
		time.Sleep(5 * time.Second)
	})
}

func TestDatabaseGone(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		if !s.Ready() {
			t.Error("not ready")
		}
		m.setDown(true)
		time.Sleep(time.Minute)
		if s.Ready() {
			t.Error("ready without a database")
		}
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		m.setDown(false)
		time.Sleep(1500 * time.Millisecond)
		if len(b.rung(id)) == 0 || !s.Ready() {
			t.Errorf("after the outage: rung %v, ready %v", b.rung(id), s.Ready())
		}
	})
}

func TestStartsWithoutDatabase(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m, b := newMemStore(), newBroker()
		m.addLane(1, "q")
		m.setDown(true)
		_, stop := start(t, Options{Store: m, Publisher: b, Clock: hostClock{}})
		defer stop()
		time.Sleep(time.Minute)
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		m.setDown(false)
		time.Sleep(5 * time.Second)
		if len(b.rung(id)) == 0 {
			t.Fatal("not rung")
		}
	})
}

// 10,000 tasks due in one instant: none early, the first at once, all as fast as they are claimed.
func TestInstant(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m, b := newMemStore(), newBroker()
		m.addLane(1, "q")
		m.addApp(1, 1)
		m.setWorker(alive(1, 256))
		const uncertain = 3 * time.Millisecond
		_, stop := start(t, Options{Store: m, Publisher: b, Clock: hostClock{uncertain}, Alone: true})
		defer stop()
		due := time.Now().Add(5 * time.Second).Truncate(time.Millisecond)
		ids := append(m.submit(1, 1, 5000, 1, due, false), m.submit(1, 1, 50, 100, due, false)...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			work(ctx, m, b, 256, time.Millisecond, func(task.Rung, int) {})
		}()
		time.Sleep(10 * time.Second)
		var first, last time.Time
		for _, id := range ids {
			r := b.rung(id)
			if len(r) == 0 {
				t.Fatal("a bell was not rung")
			}
			if r[0].Before(due.Add(uncertain)) {
				t.Fatalf("rung %v early", due.Sub(r[0]))
			}
			if first.IsZero() || r[0].Before(first) {
				first = r[0]
			}
			if r[0].After(last) {
				last = r[0]
			}
		}
		if d := first.Sub(due); d > 10*time.Millisecond {
			t.Errorf("the first is %v late", d)
		}
		if d := last.Sub(due); d > 200*time.Millisecond {
			t.Errorf("the last is %v late", d)
		}
		if m.left() != 0 {
			t.Errorf("%d bells left", m.left())
		}
		cancel()
		<-done
	})
}

func TestDelayedOnesAreNeverEarly(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		due := map[int64]time.Time{}
		r := rand.New(rand.NewPCG(3, 4))
		for range 500 {
			at := time.Now().Add(time.Duration(2001+r.IntN(4000)) * time.Millisecond).Truncate(time.Millisecond)
			id := m.submit(1, 1, 1, 1, at, false)[0]
			due[id] = at
			time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
		}
		go func() {
			for {
				rung, ok := b.take()
				if !ok {
					if m.left() == 0 {
						return
					}
					time.Sleep(time.Millisecond)
					continue
				}
				m.claim(0, rung.ID, 1)
			}
		}()
		time.Sleep(10 * time.Second)
		var worst time.Duration
		for id, at := range due {
			rings := b.rung(id)
			if len(rings) == 0 || rings[0].Before(at) {
				t.Fatalf("due %v, rung %v", at, rings)
			}
			worst = max(worst, rings[0].Sub(at))
		}
		if worst > 10*time.Millisecond {
			t.Errorf("worst lateness %v", worst)
		}
	})
}

func TestDeadWorkersTasksRunElsewhere(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.setWorker(alive(7, 8))
		m.setWorker(alive(8, 8))
		id := m.submit(1, 1, 1, 3, time.Now(), false)[0]
		time.Sleep(300 * time.Millisecond)
		if m.claim(7, id, 3) != 3 {
			t.Fatal("not claimed")
		}
		began := time.Now()
		before := len(b.rings)
		for time.Since(began) < 25*time.Second {
			m.setWorker(alive(8, 8))
			time.Sleep(time.Second)
			if b.set(func(b *broker) { before = len(b.rings) }); before > 1 {
				break
			}
		}
		if d := time.Since(began); d > 16*time.Second || d < 12*time.Second {
			t.Errorf("rung again after %v", d)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.workers[7].State != task.WorkerGone || m.workers[8].State != task.WorkerAlive {
			t.Errorf("dead %v, living %v", m.workers[7].State, m.workers[8].State)
		}
	})
}

func TestAloneRescuesAtOnce(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m, b := newMemStore(), newBroker()
		m.addLane(1, "q")
		m.setWorker(alive(7, 8))
		id := m.submit(1, 1, 1, 3, time.Now(), false)[0]
		m.claim(7, id, 3)
		s, err := New(Options{Store: m, Publisher: b, Clock: hostClock{}, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m.left() != 1 || m.workers[7].State != task.WorkerGone {
			t.Fatal("not rescued")
		}
		m.setWorker(alive(9, 8)) // this process's own worker registers after that and stays
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		time.Sleep(500 * time.Millisecond)
		cancel()
		<-done
		if len(b.queue) == 0 || m.workers[9].State != task.WorkerAlive {
			t.Errorf("%d bells rung, own worker %v", len(b.queue), m.workers[9].State)
		}
	})
}

func TestSchedulersShareShards(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m, b := newMemStore(), newBroker()
		for id := range int32(16) {
			m.addLane(id, "q")
		}
		var all []*Scheduler
		var stops []func()
		for range 3 {
			s, stop := start(t, Options{Store: m, Publisher: b, Clock: hostClock{}})
			all, stops = append(all, s), append(stops, stop)
			time.Sleep(300 * time.Millisecond)
		}
		held := func() (sum uint32, counts []int) {
			for _, s := range all {
				sum |= s.leases.mask.Load()
				counts = append(counts, bits.OnesCount32(s.leases.mask.Load()))
			}
			return sum, counts
		}
		time.Sleep(10 * time.Second)
		sum, counts := held()
		if sum != allShards || counts[0]+counts[1]+counts[2] != 16 || max(counts[0], counts[1], counts[2]) > 6 {
			t.Fatalf("shards held %v, together %016b", counts, sum)
		}
		stops[0]() // leaves in order
		all = all[1:]
		time.Sleep(3 * time.Second)
		if sum, counts = held(); sum != allShards || max(counts[0], counts[1]) > 8 {
			t.Fatalf("after one left: %v", counts)
		}
		m.mu.Lock() // and one that dies: its leases stay, nobody renews them
		dead := all[0].owner.Load()
		for name, l := range m.leases {
			if l.owner == dead {
				m.leases[name] = memLease{-1, l.until}
			}
		}
		m.mu.Unlock()
		stops[1]()
		all = all[1:]
		time.Sleep(9 * time.Second)
		if sum, _ = held(); sum != allShards {
			t.Fatalf("after one died: %016b", sum)
		}
		id := m.submit(15, 1, 1, 1, time.Now(), false)[0]
		time.Sleep(time.Second)
		if len(b.rung(id)) == 0 {
			t.Fatal("not rung")
		}
		stops[2]()
		if n := len(m.leases); n > 8 {
			for name, l := range m.leases {
				if time.Now().Before(l.until) && l.owner > 0 && name[:5] == "shard" {
					t.Errorf("lease %s is still held after shutdown", name)
				}
			}
		}
	})
}

// While the database is gone a shard is held no longer than its lease.
func TestShardsEndWithTheirLease(t *testing.T) {
	bubble(t, false, func(t *testing.T, m *memStore, _ *broker, s *Scheduler) {
		time.Sleep(3 * time.Second)
		if s.leases.mask.Load() != allShards {
			t.Fatal("does not hold all")
		}
		m.setDown(true)
		s.leases.until[3].Store(int64(time.Since(s.start) - 1)) // and the next look, which drops it, hangs
		if s.leases.mask.Load() != allShards || s.leases.holds(3) || !s.leases.holds(4) {
			t.Error("holds a shard whose lease is over, or not one whose lease is not")
		}
		time.Sleep(7 * time.Second)
		if s.leases.mask.Load() != 0 {
			t.Error("still believes to hold shards")
		}
		m.setDown(false)
	})
}

func TestTuning(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		lane := func() task.Lane {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.lanes[1]
		}
		m.setWorker(alive(1, 256))
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0] // the owner looks at lanes that have work
		time.Sleep(500 * time.Millisecond)
		m.claim(0, id, 1)
		time.Sleep(3 * time.Second)
		if c := lane().Credit; c != 128 {
			t.Errorf("credit of a quiet lane %d", c)
		}
		m.submit(1, 1, 600, 1, time.Now(), false)
		m.submit(1, 2, 1, 1, time.Now(), false)
		time.Sleep(400 * time.Millisecond)
		if c := lane().Credit; c != 0 {
			t.Errorf("credit of a contended lane %d", c)
		}
		w := alive(1, 256)
		w.Info.Loads = []task.LaneLoad{{LaneID: 1, RunMs: 500, Done: 10}}
		m.setWorker(w)
		time.Sleep(2 * time.Second)
		if n := lane().BellSize; n != 1 {
			t.Errorf("bell size %d for long tasks", n)
		}
		before := m.tuned
		time.Sleep(5 * time.Second)
		if m.tuned != before {
			t.Errorf("written %d times although nothing changed", m.tuned-before)
		}
	})
}

// Bells that become visible behind the cursor are found.
func TestStragglers(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.setWorker(alive(1, 8))
		m.submit(1, 1, 3000, 1, time.Now(), false)
		time.Sleep(time.Second)
		old := m.submit(1, 1, 1, 1, time.Now().Add(-time.Minute), false)[0]
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			work(ctx, m, b, 8, 20*time.Millisecond, func(task.Rung, int) {})
		}()
		time.Sleep(2 * time.Second)
		if len(b.rung(old)) == 0 {
			t.Error("a straggler behind a deep backlog is not rung")
		}
		cancel()
		<-done
	})
}

func TestAuditRingsWhatItMends(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		m.mu.Lock()
		m.lost = []task.Bell{{ID: m.id(), LaneID: 1, AppID: 1, DueAt: time.Now().UnixMilli(), Direct: true, TaskIDs: []int64{5}}}
		id := m.lost[0].ID
		m.mu.Unlock()
		time.Sleep(2 * auditMost)
		if len(b.rung(id)) == 0 {
			t.Error("not rung")
		}
	})
}

// A paused lane holds no more in memory than it would ring, however much becomes due.
func TestPausedLaneStaysSmall(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.mu.Lock()
		l := m.lanes[1]
		l.Paused = true
		m.lanes[1] = l
		m.mu.Unlock()
		for i := range 10 {
			m.submit(1, 1, 300, 1, time.Now().Add(time.Duration(2100+i*500)*time.Millisecond), false)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if l := s.loop.lanes[laneKey{id: 1}]; l != nil && l.apps[1] != nil && len(l.apps[1].ahead) > 600 {
			t.Errorf("holds %d bells", len(l.apps[1].ahead))
		}
		m.addLane(1, "q")
		for end := time.Now().Add(20 * time.Second); m.left() > 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			for r, ok := b.take(); ok; r, ok = b.take() {
				m.claim(0, r.ID, 1)
			}
		}
		if n := m.left(); n != 0 {
			t.Errorf("%d bells are not rung after the pause", n)
		}
	})
}
