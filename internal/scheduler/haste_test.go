package scheduler

import (
	"context"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// beats renews a worker's beat each 3 s until it is told to stop: from then on the worker is frozen.
func beats(t *testing.T, m *memStore, w task.Worker) (freeze func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.BeatAt = time.Now().UnixMilli()
			m.setWorker(w)
			_ = sleep(ctx, 3*time.Second)
		}
	}()
	freeze = func() { cancel(); <-done }
	t.Cleanup(freeze)
	return freeze
}

func (m *memStore) state(worker int64) task.WorkerState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.workers[worker].State
}

// declared waits until a worker is declared gone.
func declared(t *testing.T, m *memStore, worker int64) time.Time {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); m.state(worker) != task.WorkerGone; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not declared dead")
		}
	}
	return time.Now()
}

// since gives how long after an instant a bell was rung.
func (b *broker) since(id int64, at time.Time) (out []time.Duration) {
	for _, r := range b.rung(id) {
		if !r.Before(at) {
			out = append(out, r.Sub(at))
		}
	}
	return out
}

func busyWorker(id int64, slots, busy int, queues ...string) task.Worker {
	w := alive(id, slots)
	w.Info.Busy, w.Info.Queues = busy, queues
	return w
}

// A bell that may have been delivered to a worker that is dead now is rung again soon after the declaration, a few times,
// however long its interval has grown, and so is one that the dead worker's tasks got.
func TestBellsOfADeadWorkerAreRungAgainInHaste(t *testing.T) {
	bubble(t, false, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		freeze := beats(t, m, busyWorker(7, 8, 3))
		beats(t, m, busyWorker(8, 8, 0))
		time.Sleep(2 * time.Second)
		swallowed := m.submit(1, 1, 1, 1, time.Now(), false)[0] // rung at 0, 2, 6, 14, 30 and 62 s
		claimed := m.submit(1, 1, 1, 3, time.Now(), false)[0]
		time.Sleep(300 * time.Millisecond)
		if m.claim(7, claimed, 3) != 3 {
			t.Fatal("not claimed")
		}
		time.Sleep(20 * time.Second)
		freeze()
		last := m.nextID
		dead := declared(t, m, 7)
		time.Sleep(40 * time.Second)
		got := b.since(swallowed, dead)
		if len(got) < hasteMost || got[0] > hasteFirst+200*time.Millisecond || got[3] > 4*time.Second {
			t.Fatalf("the swallowed bell was rung %v after the declaration", got)
		}
		if len(got) > hasteMost+1 {
			t.Errorf("the swallowed bell was rung too often: %v after the declaration", got)
		}
		var rescued []time.Duration
		for id := last + 1; id <= m.nextID; id++ {
			rescued = append(rescued, b.since(id, dead)...)
		}
		// The lane's haste ends 5 s after the declaration, and a rescue may begin a second after it: three even intervals are sure.
		if len(rescued) < 4 || rescued[0] > 1500*time.Millisecond || rescued[3]-rescued[0] > 3*(hasteEvery+200*time.Millisecond) {
			t.Errorf("the rescued bell was rung %v after the declaration", rescued)
		}
		if len(rescued) > hasteMost+5 { // at first, in haste, and after 2, 4, 8, 16 s
			t.Errorf("the rescued bell was rung too often: %v after the declaration", rescued)
		}
	})
}

// Every scheduler hears of the death, also those that did not declare it: their lanes are in haste as well.
func TestLanesOfOtherSchedulersAreInHasteToo(t *testing.T) {
	bubble(t, false, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		w := busyWorker(7, 8, 0)
		freeze := beats(t, m, w)
		beats(t, m, busyWorker(8, 8, 0))
		time.Sleep(2 * time.Second)
		id := m.submit(1, 1, 1, 1, time.Now(), false)[0]
		time.Sleep(7500 * time.Millisecond) // rung at 0, 2, 6 s; next at 14 s
		freeze()
		w.State = task.WorkerGone
		m.setWorker(w)
		at := time.Now()
		time.Sleep(5 * time.Second)
		if got := b.since(id, at); len(got) != hasteMost || got[0] > 1500*time.Millisecond {
			t.Errorf("rung %v after somebody declared the worker dead", got)
		}
	})
}

// Who pays for a death: only lanes that the dead worker served, with slots free only; a worker that drained leaves nothing.
func TestHasteIsForThoseWhomItConcerns(t *testing.T) {
	for _, c := range []struct {
		what  string
		dead  task.Worker
		live  task.Worker
		drain bool
		rings int // in the 3 s after the worker went, in which no other ring is due
	}{
		{"free slots", busyWorker(7, 8, 0), busyWorker(8, 8, 0), false, 3},
		{"free slots, its queue", busyWorker(7, 8, 0, "other", "q"), busyWorker(8, 8, 0), false, 3},
		{"no slot is free", busyWorker(7, 8, 0), busyWorker(8, 8, 8), false, 1},
		{"other queues", busyWorker(7, 8, 0, "other"), busyWorker(8, 8, 0), false, 0},
		{"drained", busyWorker(7, 8, 0), busyWorker(8, 8, 0), true, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
				freeze := beats(t, m, c.dead)
				beats(t, m, c.live)
				time.Sleep(2 * time.Second)
				id := m.submit(1, 1, 1, 1, time.Now(), false)[0] // rung at 0, 2, 6, 14, 30 and 62 s
				time.Sleep(20 * time.Second)
				freeze()
				var at time.Time
				if c.drain {
					c.dead.State = task.WorkerDraining
					m.setWorker(c.dead)
					time.Sleep(2 * time.Second)
					c.dead.State = task.WorkerGone
					m.setWorker(c.dead)
					at = time.Now()
				} else {
					at = declared(t, m, 7)
				}
				time.Sleep(3 * time.Second)
				got := b.since(id, at)
				rings := len(got)
				for _, d := range got {
					if r := at.Add(d).Sub(b.rung(id)[0]); r > 30*time.Second && r < 31*time.Second {
						rings-- // due anyway
					}
				}
				if rings != c.rings {
					t.Errorf("rung %v after the worker went, want %d times", got, c.rings)
				}
			})
		})
	}
}

// Workers that die one after another do not make bells be rung without bound; after a rest a bell may be hurried again.
func TestHasteIsBounded(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		beats(t, m, busyWorker(8, 8, 0))
		ids := m.submit(1, 1, 20, 1, time.Now(), false)
		time.Sleep(time.Second)
		const deaths = 60
		for n := range int64(deaths) { // one each 2 s
			w := busyWorker(100+n, 8, 0)
			m.setWorker(w)
			time.Sleep(1200 * time.Millisecond)
			w.State = task.WorkerGone
			m.setWorker(w)
			time.Sleep(800 * time.Millisecond)
		}
		for _, id := range ids {
			// In two minutes: at 0, 2, 6, 14, 30, 62, 126 s without any death, and hasteMost between two rests.
			if n := len(b.rung(id)); n > 7+4*hasteMost || n < 3+2*hasteMost {
				t.Fatalf("rung %d times while %d workers died", n, deaths)
			}
		}
		time.Sleep(2 * time.Minute)
		w := busyWorker(7, 8, 0)
		m.setWorker(w)
		time.Sleep(2 * time.Second)
		w.State = task.WorkerGone
		m.setWorker(w)
		at := time.Now()
		time.Sleep(6 * time.Second)
		if got := b.since(ids[0], at); len(got) < hasteMost {
			t.Errorf("rung %v after a death much later", got)
		}
	})
}

// What is claimed meanwhile is not rung again.
func TestHasteLeavesTrafficAlone(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, _ *Scheduler) {
		freeze := beats(t, m, busyWorker(7, 64, 8))
		beats(t, m, busyWorker(8, 64, 8))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go work(ctx, m, b, 64, 5*time.Millisecond, func(task.Rung, int) {})
		time.Sleep(2 * time.Second)
		freeze()
		var ids []int64
		for m.state(7) != task.WorkerGone {
			ids = m.submit(1, 1, 20, 1, time.Now(), false)
			time.Sleep(100 * time.Millisecond)
		}
		for range 50 {
			ids = append(ids, m.submit(1, 1, 20, 1, time.Now(), false)...)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if m.left() != 0 {
			t.Fatalf("%d bells are left", m.left())
		}
		for _, id := range ids {
			if n := len(b.rung(id)); n != 1 {
				t.Fatalf("a bell of the normal traffic was rung %d times", n)
			}
		}
	})
}
