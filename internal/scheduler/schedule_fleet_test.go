package scheduler

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

// mortal is what one scheduler sees of the stores. When it is killed nothing of it reaches them any more: no lease is given
// up, and a transaction may have been written without its answer being heard.
type mortal struct {
	*memStore
	*shelf
	dead   atomic.Bool
	unsure atomic.Bool // the next transaction is written, but its answer is lost
}

var errKilled = &task.Error{Kind: task.Unavailable, Code: "database_unavailable", Message: "killed"}

func (m *mortal) alive() error {
	if m.dead.Load() {
		return errKilled
	}
	return nil
}

func (m *mortal) Lease(ctx context.Context, name string, owner int64, ttl time.Duration) (bool, int64, error) {
	if err := m.alive(); err != nil {
		return false, 0, err
	}
	return m.memStore.Lease(ctx, name, owner, ttl)
}

func (m *mortal) GiveUpLease(ctx context.Context, name string, owner int64) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.memStore.GiveUpLease(ctx, name, owner)
}

func (m *mortal) DueSchedules(ctx context.Context, shards []int, until int64, limit int) ([]schedule.Row, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.shelf.DueSchedules(ctx, shards, until, limit)
}

func (m *mortal) Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	if err := m.alive(); err != nil {
		return schedule.Written{}, err
	}
	w, err := m.shelf.Fire(ctx, fires)
	if err == nil && m.unsure.CompareAndSwap(true, false) {
		return schedule.Written{}, &task.Error{Kind: task.Unavailable, Code: "outcome_unknown", Message: "lost", Cause: task.ErrOutcomeUnknown}
	}
	return w, err
}

func (m *mortal) ReleaseSlot(ctx context.Context, fires ...*schedule.Fire) (schedule.Written, error) {
	if err := m.alive(); err != nil {
		return schedule.Written{}, err
	}
	return m.shelf.ReleaseSlot(ctx, fires...)
}

func (m *mortal) SettleQuiet(ctx context.Context, runs []schedule.Run) ([]schedule.Run, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.shelf.SettleQuiet(ctx, runs)
}

func (m *mortal) Settle(ctx context.Context, id int64, runs []schedule.Run, most int) (bool, error) {
	if err := m.alive(); err != nil {
		return false, err
	}
	return m.shelf.Settle(ctx, id, runs, most)
}

// fleet is some schedulers on one database, in virtual time.
type fleet struct {
	t     *testing.T
	m     *memStore
	h     *shelf
	b     *broker
	clock Clock
	crew  []*crewman
}

type crewman struct {
	*Scheduler
	store *mortal
	stop  func()
}

// inFleet runs a test in a bubble with no scheduler yet.
func inFleet(t *testing.T, clock Clock, f func(t *testing.T, fl *fleet)) {
	t.Helper()
	testkit.Bubble(t, func(t *testing.T) {
		m := newMemStore()
		m.addLane(1, "q")
		m.addApp(1, 1)
		fl := &fleet{t: t, m: m, h: newShelf(m, clock), b: newBroker(), clock: clock}
		defer func() {
			for _, c := range fl.crew {
				c.stop()
			}
		}()
		f(t, fl)
	})
}

// start adds a scheduler.
func (fl *fleet) start(change ...func(*Options)) *crewman {
	fl.t.Helper()
	c := &crewman{store: &mortal{memStore: fl.m, shelf: fl.h}}
	o := Options{Store: c.store, Schedules: c.store, Publisher: fl.b, Clock: fl.clock}
	for _, f := range change {
		f(&o)
	}
	c.Scheduler, c.stop = start(fl.t, o)
	fl.crew = append(fl.crew, c)
	return c
}

// kill ends a scheduler without letting it say anything.
func (fl *fleet) kill(i int) {
	fl.crew[i].store.dead.Store(true)
	fl.crew[i].stop()
	fl.crew = append(fl.crew[:i], fl.crew[i+1:]...)
}

// Schedulers come and are killed at random, between and in the middle of transactions, for five minutes: no slot is missing,
// none is there twice, and as long as one scheduler lives all start within 5 s.
func TestKilledSchedulersMissAndDoubleNothing(t *testing.T) {
	testkit.Says(t, "Every planned slot has exactly one line in the history, and exactly one task if and only if its outcome is `fired`, whichever schedulers are killed at whatever moment.")
	for _, size := range []int{2, 3} {
		inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
			rnd := rand.New(rand.NewPCG(uint64(size), 7))
			begin := time.Now().UnixMilli()
			var ids []int64
			for i := range 60 {
				overlap := schedule.Overlap(i % 4)
				ids = append(ids, fl.h.add(t, everyMs(int64(1000+rnd.IntN(20_000)), func(d *schedule.Definition) {
					d.Overlap, d.JitterMs = overlap, int64(rnd.IntN(2)*rnd.IntN(3000))
				})).ID)
			}
			for range size {
				fl.start()
			}
			killed := 0
			for time.Now().UnixMilli() < begin+300_000 {
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
				for _, id := range ids[:30] {
					if rnd.IntN(3) == 0 {
						fl.h.end(id, task.Succeeded)
					}
				}
				switch n := len(fl.crew); {
				case n > 1 && rnd.IntN(3) == 0:
					fl.kill(rnd.IntN(n))
					killed++
				case n < size:
					fl.start()
				default:
					fl.crew[rnd.IntN(n)].store.unsure.Store(true)
				}
			}
			for _, id := range ids {
				fl.h.audit(t, id, begin, time.Now().UnixMilli()-5000)
			}
			if late := fl.h.lateFired(); late > 5*time.Second {
				t.Errorf("a slot was fired %v late", late)
			}
			late := fl.h.lateFired()
			fl.h.mu.Lock() // the schedulers still run
			defer fl.h.mu.Unlock()
			t.Logf("%d schedulers: %d killed, %d tasks, %d transactions, the latest slot %v late", size, killed, len(fl.h.tasks), fl.h.fires, late)
		})
	}
}

// lateFired is how much later than its instant the latest slot was decided.
func (h *shelf) lateFired() (most time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k, s := range h.slots {
		if k.origin == schedule.Planned && !h.wasHeld[k] {
			most = max(most, time.Duration(s.FiredAt-s.At)*time.Millisecond)
		}
	}
	return most
}
