package scheduler

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// submitKind writes bells of one task each of a kind, with the kind of bell that they have.
func (m *memStore) submitKind(app int32, bell task.BellKind, kind int32, bells int) []int64 {
	ids := m.submit(1, app, bells, 1, time.Now(), false)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		b := m.bells[id]
		b.Kind = bell
		m.bells[id], m.kindOf[id] = b, kind
	}
	return ids
}

// crew is a worker that says which kinds it runs.
func crew(id int64, slots, shell, busy int, kinds ...string) task.Worker {
	w := alive(id, slots)
	w.Info.Kinds, w.Info.ShellSlots, w.Info.Busy = kinds, shell, busy
	return w
}

// keepAlive renews a worker's beat until the test ends, as a live one does.
func keepAlive(t *testing.T, m *memStore, w task.Worker) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			w.BeatAt = time.Now().UnixMilli()
			m.setWorker(w)
			_ = sleep(ctx, 3*time.Second)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// takeOnly claims what is rung of the wanted bells, until ctx ends; all others are requeued for ever.
func takeOnly(ctx context.Context, m *memStore, b *broker, want func(id int64) bool) (wait func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			r, ok := b.take()
			if !ok {
				select {
				case <-ctx.Done():
				case <-b.more:
				}
				continue
			}
			if want(r.ID) {
				m.claim(0, r.ID, 1)
			}
		}
	})
	return wg.Wait
}

func (m *memStore) gone(ids []int64) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if _, left := m.bells[id]; !left {
			n++
		}
	}
	return n
}

const echoKind, ghostKind, shellKind, otherKind = 1, 2, 3, 4

var allKinds = []task.KindRow{{ID: echoKind, Name: "echo"}, {ID: ghostKind, Name: "ghost"}, {ID: shellKind, Name: "shell"}, {ID: otherKind, Name: "other"}}

// What no worker runs is not published, holds up nobody, not even tasks of its own app, and is rung when a worker comes
// that runs it.
func TestUnknownKindHoldsUpNobody(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.kinds = allKinds
		m.setWorker(crew(1, 256, 4, 0, "echo", "shell"))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		wait := takeOnly(ctx, m, b, func(int64) bool { return true })
		defer wait()
		defer cancel()
		ghosts := m.submitKind(1, task.StartBell, ghostKind, 1_200)
		time.Sleep(500 * time.Millisecond)
		same := m.submitKind(1, task.StartBell, echoKind, 20)
		other := m.submitKind(2, task.StartBell, echoKind, 20)
		time.Sleep(time.Second)
		if m.gone(same) != 20 || m.gone(other) != 20 {
			t.Fatalf("%d of 20 of the same app ran, %d of 20 of the other", m.gone(same), m.gone(other))
		}
		for _, id := range ghosts {
			if n := len(b.rung(id)); n != 0 {
				t.Fatalf("a bell that nobody can take was rung %d times", n)
			}
		}
		m.setWorker(crew(2, 16, 0, 0, "ghost"))
		time.Sleep(5 * time.Second)
		if n := m.gone(ghosts); n != len(ghosts) {
			t.Errorf("%d of %d ran when a worker came that runs them", n, len(ghosts))
		}
		synctest.Wait()
		if l := s.loop.lanes[laneKey{id: 1}]; l.unclaimed != 0 || len(l.stuck)+len(l.parked)+len(l.rung) != 0 {
			t.Errorf("afterwards %d unclaimed, %v stuck, %v parked", l.unclaimed, l.stuck, l.parked)
		}
	})
}

// More parked than the lane keeps: the app waits, others do not, and what is kept is bounded.
func TestParkedIsBounded(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.kinds = allKinds
		keepAlive(t, m, crew(1, 256, 4, 0, "echo"))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		wait := takeOnly(ctx, m, b, func(int64) bool { return true })
		defer wait()
		defer cancel()
		m.submitKind(1, task.StartBell, ghostKind, parkedMost+3_000)
		time.Sleep(2 * time.Minute)
		other := m.submitKind(2, task.StartBell, echoKind, 20)
		time.Sleep(time.Second)
		if m.gone(other) != 20 {
			t.Errorf("%d of 20 of the other app ran", m.gone(other))
		}
		synctest.Wait()
		l := s.loop.lanes[laneKey{id: 1}]
		if l.parked[1] > parkedMost+2*l.window(time.Now()) || l.parked[1] < parkedMost {
			t.Errorf("%d parked", l.parked[1])
		}
	})
}

// What some worker runs, but none that has a free slot, is published, and after a while out of the others' way. Its app
// rings no more than a window of it.
func TestStuckHoldsUpNobodyElse(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.kinds = allKinds
		keepAlive(t, m, crew(1, 256, 4, 4, "echo"))
		keepAlive(t, m, crew(2, 4, 0, 4, "other"))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		slow := map[int64]bool{}
		all := m.submitKind(1, task.StartBell, otherKind, 3_000)
		for _, id := range all {
			slow[id] = true
		}
		wait := takeOnly(ctx, m, b, func(id int64) bool { return !slow[id] })
		defer wait()
		defer cancel()
		time.Sleep(10 * time.Second)
		other := m.submitKind(2, task.StartBell, echoKind, 1_000)
		time.Sleep(2 * time.Second)
		if m.gone(other) != 1_000 {
			t.Errorf("%d of 1000 of the other app ran", m.gone(other))
		}
		synctest.Wait()
		l := s.loop.lanes[laneKey{id: 1}]
		rung := 0
		for _, id := range all {
			if len(b.rung(id)) > 0 {
				rung++
			}
		}
		if w := windowSize(260, 0); rung > 2*w || l.stuck[1] < w {
			t.Errorf("%d rung, %d stuck, W = %d", rung, l.stuck[1], w)
		}
		for _, id := range all[:rung] { // its workers get on: it goes on too
			m.claim(0, id, 1)
		}
		time.Sleep(2 * time.Second)
		if n := len(b.rung(all[rung])); n == 0 {
			t.Error("nothing more is rung after what was stuck is claimed")
		}
	})
}

// While every slot is busy nothing is stuck: the window is the window.
func TestBusyIsNotStuck(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		keepAlive(t, m, crew(1, 8, 0, 8))
		time.Sleep(2 * time.Second)
		ids := m.submit(1, 1, 500, 1, time.Now(), false)
		time.Sleep(10 * time.Minute)
		rung := 0
		for _, id := range ids {
			if len(b.rung(id)) > 0 {
				rung++
			}
		}
		if rung != minWindow {
			t.Errorf("%d rung, the window is %d", rung, minWindow)
		}
	})
}

// A burst that takes every slot between two beats leaves nothing stuck: what the workers said before it does not count.
func TestWhatWaitsBehindABurstIsNotStuck(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		var busy atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var beats sync.WaitGroup
		beats.Go(func() {
			for ctx.Err() == nil {
				m.setWorker(crew(1, 8, 0, int(busy.Load())))
				_ = sleep(ctx, 3*time.Second)
			}
		})
		defer beats.Wait()
		defer cancel()
		first := m.submit(1, 1, 1, 1, time.Now(), false)[0] // so that the lane is known when the burst comes
		time.Sleep(6100 * time.Millisecond)
		m.claim(0, first, 1)
		ids := m.submit(1, 1, 500, 1, time.Now(), false)
		time.Sleep(200 * time.Millisecond)
		busy.Store(8)
		for _, id := range ids[:8] {
			m.claim(0, id, 1)
		}
		time.Sleep(time.Minute)
		rung := 0
		for _, id := range ids {
			if len(b.rung(id)) > 0 {
				rung++
			}
		}
		if rung != minWindow+8 {
			t.Errorf("%d rung, 8 of them claimed; the window is %d", rung, minWindow)
		}
	})
}

// Commands have a window of their own, of their slots: others do not wait behind them, not even of the same app.
func TestCommandsHaveTheirOwnWindow(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.kinds = allKinds
		m.setWorker(crew(1, 256, 4, 4, "echo", "shell"))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		commands := m.submitKind(1, task.ShellBell, shellKind, 1_200)
		isCommand := map[int64]bool{}
		for _, id := range commands {
			isCommand[id] = true
		}
		wait := takeOnly(ctx, m, b, func(id int64) bool { return !isCommand[id] })
		defer wait()
		defer cancel()
		time.Sleep(300 * time.Millisecond)
		same := m.submitKind(1, task.StartBell, echoKind, 20)
		other := m.submitKind(2, task.StartBell, echoKind, 20)
		time.Sleep(500 * time.Millisecond)
		if m.gone(same) != 20 || m.gone(other) != 20 {
			t.Fatalf("%d of 20 of the same app ran, %d of 20 of the other", m.gone(same), m.gone(other))
		}
		rung := func() (n int) {
			for _, id := range commands {
				if len(b.rung(id)) > 0 {
					n++
				}
			}
			return n
		}
		if n := rung(); n != minWindow {
			t.Errorf("%d commands rung for 4 slots, want %d", n, minWindow)
		}
		before := rung()
		theirs := m.submitKind(2, task.ShellBell, shellKind, 1)
		for range 8 { // four slots, one after the other
			n := 0
			for _, id := range commands {
				if n < 4 && len(b.rung(id)) > 0 && m.claim(0, id, 1) > 0 {
					n++
				}
			}
			time.Sleep(time.Second)
		}
		if len(b.rung(theirs[0])) == 0 || rung() > before+40 {
			t.Errorf("another app's command rung %d times, %d more of the first", len(b.rung(theirs[0])), rung()-before)
		}
	})
}

// An app that is paused while its messages are lost does not hold the window, and goes on where it was.
func TestPausedAppLeavesTheWindow(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.setWorker(crew(1, 8, 0, 8))
		time.Sleep(2 * time.Second)
		b.set(func(b *broker) { b.lose = true })
		mine := m.submit(1, 1, 200, 1, time.Now(), false)
		time.Sleep(time.Second)
		b.set(func(b *broker) { b.lose = false })
		m.mu.Lock()
		m.apps[1] = task.App{ID: 1, Weight: 1, Paused: true}
		m.mu.Unlock()
		time.Sleep(2 * time.Second)
		theirs := m.submit(1, 2, 10, 1, time.Now(), false)
		time.Sleep(time.Second)
		for _, id := range theirs {
			if len(b.rung(id)) == 0 {
				t.Fatal("an app was not rung because another is paused")
			}
			m.claim(0, id, 1)
		}
		m.addApp(1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		wait := takeOnly(ctx, m, b, func(int64) bool { return true })
		time.Sleep(3 * time.Second)
		cancel()
		wait()
		if n := m.gone(mine); n != 200 {
			t.Errorf("%d of 200 ran after the pause", n)
		}
	})
}

// Many lanes with a little each that nobody takes cost a few reads a second, not some for each lane.
func TestManyIdleLanesCostLittle(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		for id := int32(1); id <= 300; id++ {
			m.addLane(id, "q")
		}
		time.Sleep(5 * time.Second)
		for id := int32(1); id <= 300; id++ {
			m.submit(id, 1, 1, 1, time.Now(), false)
			time.Sleep(3 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		m.mu.Lock()
		before := m.lefts
		m.mu.Unlock()
		time.Sleep(10 * time.Second)
		m.mu.Lock()
		defer m.mu.Unlock()
		if n := m.lefts - before; n > 500 { // each lane rings its bell again once, at most, and asks before that
			t.Errorf("asked %d times in 10 s what is left", n)
		}
	})
}

// An idle system is asked what is due by a question whose cost does not grow with apps and lanes.
func TestIdleNeverListsPairs(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		for app := int32(1); app <= 5_000; app++ {
			m.addApp(app, 1)
			m.submit(1, app, 1, 1, time.Now().Add(time.Hour), false)
		}
		time.Sleep(2 * time.Second)
		count := func() (pairs, glances int) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.pairs, m.glances
		}
		pairs, glances := count()
		time.Sleep(time.Minute)
		p, g := count()
		if p != pairs || g-glances > 400 || g-glances < 100 {
			t.Errorf("in an idle minute: pairs listed %d times, %d glances", p-pairs, g-glances)
		}
		at := time.Now().Add(10 * time.Second)
		soon := m.submit(1, 7, 1, 1, at, false)[0]
		time.Sleep(10*time.Second + 50*time.Millisecond)
		if r := b.rung(soon); len(r) != 1 || r[0].Before(at.Truncate(time.Millisecond)) {
			t.Errorf("a bell that became due is rung %v, due %v", r, at)
		}
	})
}

// While the broker is away no payloads pile up.
func TestNoPayloadsPileUpWithoutBroker(t *testing.T) {
	bubble(t, true, func(t *testing.T, m *memStore, b *broker, s *Scheduler) {
		m.body = make([]byte, 4096)
		b.set(func(b *broker) { b.fail = errDown })
		m.submit(1, 1, 1, 1, time.Now(), false)
		for i := range 20 {
			m.submit(1, 1, 1_000, 1, time.Now().Add(time.Duration(2500+i*500)*time.Millisecond), false)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		l := s.loop.lanes[laneKey{id: 1}]
		held := 0
		for _, a := range l.apps {
			for _, r := range a.ahead {
				held += bodyBytes(r)
			}
		}
		if held != l.held || held > 1<<20 {
			t.Errorf("%d bytes of payloads held, counted as %d", held, l.held)
		}
		b.set(func(b *broker) { b.fail = nil })
		ctx, cancel := context.WithCancel(t.Context())
		wait := takeOnly(ctx, m, b, func(int64) bool { return true })
		time.Sleep(30 * time.Second)
		cancel()
		wait()
		if n := m.left(); n != 0 {
			t.Errorf("%d bells are left", n)
		}
		synctest.Wait()
		if l.held != 0 {
			t.Errorf("counts %d bytes of nothing", l.held)
		}
	})
}
