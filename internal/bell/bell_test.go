package bell

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the host's clock, which synctest controls, with a settable error, and set off by what by says, if anything.
type clock struct {
	uncertain time.Duration
	by        *atomic.Int64 // ms
}

func (c clock) NowMicros() int64 {
	if c.by == nil {
		return time.Now().UnixMicro()
	}
	return time.Now().UnixMicro() + c.by.Load()*1000
}
func (c clock) Uncertainty() time.Duration { return c.uncertain }

func nowMs() int64 { return time.Now().UnixMilli() }

// recorder is a Publisher that takes time, can fail, and remembers.
type recorder struct {
	takes time.Duration
	fail  atomic.Bool

	mu    sync.Mutex
	calls []call
}

type call struct {
	lane int32
	ids  []int64
	at   time.Time
}

var errBroker = errors.New("no broker")

func (r *recorder) Publish(_ context.Context, lane task.Lane, rungs []task.Rung) error {
	c := call{lane: lane.ID, at: time.Now()}
	for _, x := range rungs {
		c.ids = append(c.ids, x.ID)
	}
	time.Sleep(r.takes)
	if r.fail.Load() {
		return errBroker
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
	return nil
}

func (r *recorder) all() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func (r *recorder) ids() (ids []int64) {
	for _, c := range r.all() {
		ids = append(ids, c.ids...)
	}
	return ids
}

// rig is a running Ringer with lanes 1 (credit 10), 2 (high, credit 1000), 3 (credit 0), 4 (paused).
type rig struct {
	*Ringer
	rec   *recorder
	table *Table
	wakes atomic.Int64
	stop  func()
}

func start(c clock, takes time.Duration) *rig {
	g := &rig{rec: &recorder{takes: takes}, table: NewTable(nil, nil)}
	g.table.Add(task.Lane{ID: 1, Queue: "a", Priority: task.Normal, Credit: 10})
	g.table.Add(task.Lane{ID: 2, Queue: "a", Priority: task.High, Credit: 1000})
	g.table.Add(task.Lane{ID: 3, Queue: "b", Priority: task.Normal})
	g.table.Add(task.Lane{ID: 4, Queue: "c", Priority: task.Normal, Paused: true})
	g.Ringer = New(Options{Publisher: g.rec, Lanes: g.table, Clock: c, Wake: func() { g.wakes.Add(1) },
		Skip: func(app int32) bool { return app == 66 }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx)
	}()
	g.stop = func() {
		cancel()
		<-done
	}
	return g
}

// holds tells how many bells wait for their instant, and the bytes of their payloads.
func (g *rig) holds() (bells, size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held.Len(), g.held.bytes
}

func due(id int64, lane int32, at int64, tasks int) task.Rung {
	return task.Rung{Bell: task.Bell{ID: id, LaneID: lane, AppID: 1, DueAt: at, Direct: true, TaskIDs: make([]int64, tasks)}}
}

func TestDueBellIsRungAtOnce(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		at := time.Now()
		g.Ring(due(1, 1, nowMs(), 1))
		synctest.Wait()
		calls := g.rec.all()
		if len(calls) != 1 || calls[0].lane != 1 || !calls[0].at.Equal(at) || g.wakes.Load() != 0 {
			t.Fatalf("%+v, %d wakes", calls, g.wakes.Load())
		}
	})
}

func TestBellsGatherWhileAPublishRuns(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 10*time.Millisecond)
		defer g.stop()
		synctest.Wait()
		g.Ring(due(1, 2, nowMs(), 1))
		synctest.Wait()
		for id := int64(2); id <= 50; id++ {
			g.Ring(due(id, 2, nowMs(), 1))
		}
		g.Ring(due(51, 1, nowMs(), 1))
		time.Sleep(50 * time.Millisecond)
		calls := g.rec.all()
		if len(calls) != 3 || len(calls[0].ids) != 1 || len(calls[1].ids) != 49 || calls[1].lane != 2 || calls[2].lane != 1 {
			t.Fatalf("want 1, then 49 of the high lane, then 1 of the other: %+v", calls)
		}
	})
}

func TestCreditIsPerLaneAppAndWindow(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		for id := int64(1); id <= 5; id++ {
			g.Ring(due(id, 1, nowMs(), 4)) // credit 10: two of five
		}
		b := due(6, 1, nowMs(), 4)
		b.AppID = 2
		g.Ring(b) // another app has its own
		g.Ring(due(7, 3, nowMs(), 1), due(8, 99, nowMs(), 1))
		skipped := due(9, 1, nowMs(), 1)
		skipped.AppID = 66
		g.Ring(skipped)
		synctest.Wait()
		if got := g.rec.ids(); !slices.Equal(got, []int64{1, 2, 6}) || g.wakes.Load() != 5 {
			t.Fatalf("rang %v, %d wakes", got, g.wakes.Load())
		}
		time.Sleep(200 * time.Millisecond)
		g.Ring(due(10, 1, nowMs(), 10))
		synctest.Wait()
		if got := g.rec.ids(); !slices.Equal(got, []int64{1, 2, 6, 10}) {
			t.Fatalf("in the next window: %v", got)
		}
	})
}

func TestPausedLaneIsNotRung(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		g.Ring(due(1, 4, nowMs(), 1), due(2, 4, nowMs()+100, 1))
		g.Ring(due(3, 1, nowMs()+100, 1))
		time.Sleep(50 * time.Millisecond)
		g.table.Add(task.Lane{ID: 1, Queue: "a", Priority: task.Normal, Credit: 10, Paused: true}) // between writing and instant
		time.Sleep(3 * time.Second)
		if got := g.rec.ids(); len(got) != 0 || g.wakes.Load() != 0 {
			t.Fatalf("rang %v, %d wakes", got, g.wakes.Load())
		}
	})
}

func TestDirectBellIsRungAtItsInstantNeverBefore(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		for _, off := range []time.Duration{0, 3 * time.Millisecond} {
			g := start(clock{uncertain: off}, 0)
			synctest.Wait()
			at := nowMs() + 700
			g.Ring(due(2, 3, at+1, 1)) // lane 3 has no credit: at the instant that does not matter
			g.Ring(due(1, 3, at, 1))   // earlier than the one slept for
			g.Ring(due(3, 3, at+1_999, 1), due(4, 3, at+5_000, 1))
			later := due(5, 3, at, 1)
			later.Direct = false
			g.Ring(later)
			time.Sleep(10 * time.Second)
			var ids []int64
			for _, c := range g.rec.all() {
				ids = append(ids, c.ids...)
				want := map[int64]int64{1: at, 2: at + 1}[c.ids[0]]
				if c.ids[0] == 3 {
					t.Error("bell 3 is further ahead than is kept")
				}
				if late := c.at.Sub(time.UnixMilli(want)); late < off || late > off+time.Millisecond {
					t.Errorf("error %s: bell %d rung %s after its instant", off, c.ids[0], late)
				}
			}
			if !slices.Equal(ids, []int64{1, 2}) || g.wakes.Load() != 0 {
				t.Errorf("error %s: rang %v, %d wakes", off, ids, g.wakes.Load())
			}
			g.stop()
		}
	})
}

// The database's clock is set back by an hour, by mistake, and set right again: what waits for its instant does not wait for an hour.
func TestClockThatIsSetBackAndRightAgainHoldsNothingUp(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		c := clock{by: new(atomic.Int64)}
		g := start(c, 0)
		defer g.stop()
		synctest.Wait()
		at := nowMs() + 1500
		g.Ring(due(1, 1, at, 1))
		c.by.Store(-time.Hour.Milliseconds())
		g.Ring(due(2, 1, at-time.Hour.Milliseconds(), 1)) // it sleeps anew
		time.Sleep(10 * time.Second)
		if ids := g.rec.ids(); !slices.Equal(ids, []int64{2}) {
			t.Fatalf("rang %v", ids)
		}
		c.by.Store(0)
		time.Sleep(2 * time.Second)
		if ids := g.rec.ids(); !slices.Equal(ids, []int64{2, 1}) {
			t.Errorf("rang %v: the clock has been right for 2 s", ids)
		}
	})
}

func TestAnInstantGoesOutInSalvosWithASmallOneFirst(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		at := nowMs() + 1_000
		var batch []task.Rung
		for id := int64(1); id <= 10_000; id++ {
			batch = append(batch, due(id, 1, at, 1))
		}
		g.Ring(batch...)
		time.Sleep(2 * time.Second)
		calls := g.rec.all()
		if len(calls) == 0 || len(calls[0].ids) != vanguard {
			t.Fatalf("%d calls", len(calls))
		}
		var ids []int64
		for _, c := range calls {
			if len(c.ids) > salvo || c.at.UnixMilli() != at {
				t.Errorf("%d bells at %s", len(c.ids), c.at.Sub(time.UnixMilli(at)))
			}
			ids = append(ids, c.ids...)
		}
		if len(ids) != 10_000 || !slices.IsSorted(ids) {
			t.Errorf("%d bells, in order: %v", len(ids), slices.IsSorted(ids))
		}
	})
}

func TestHoldsABoundedNumber(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		at := nowMs() + 1_000
		body := make([]byte, 4096)
		for id := int64(1); id <= maxHeld+500; id++ {
			b := due(id, 1, at, 1)
			b.Items = []task.Item{{ID: id, Body: body}}
			g.Ring(b)
		}
		if n, size := g.holds(); n != maxHeld || size > maxHeldBytes {
			t.Errorf("holds %d bells, %d bytes", n, size)
		}
		time.Sleep(2 * time.Second)
		if n := len(g.rec.ids()); n != maxHeld {
			t.Errorf("rang %d", n)
		}
		if n, size := g.holds(); n != 0 || size != 0 {
			t.Errorf("left over: %d bells, %d bytes", n, size)
		}
	})
}

func TestBrokerGoneWakesTheOwnerAndComesBack(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		defer g.stop()
		synctest.Wait()
		g.rec.fail.Store(true)
		g.Ring(due(1, 1, nowMs(), 1))
		synctest.Wait()
		if g.wakes.Load() != 1 {
			t.Fatalf("%d wakes", g.wakes.Load())
		}
		g.rec.fail.Store(false)
		g.Ring(due(2, 1, nowMs(), 1))
		synctest.Wait()
		if got := g.rec.ids(); !slices.Equal(got, []int64{2}) {
			t.Fatalf("rang %v", got)
		}
	})
}

func TestNothingIsHeldOrRungWhenNotRunning(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		g := start(clock{}, 0)
		synctest.Wait()
		g.Ring(due(1, 1, nowMs()+500, 1))
		g.stop()
		g.Ring(due(2, 1, nowMs(), 1), due(3, 1, nowMs()+500, 1))
		time.Sleep(3 * time.Second)
		held, _ := g.holds()
		if got := g.rec.ids(); len(got) != 0 || held != 0 || g.wakes.Load() != 1 {
			t.Fatalf("rang %v, holds %d, %d wakes", got, held, g.wakes.Load())
		}
	})
}

// On the real clock the first of 10,000 bells of one instant is rung within a few ms, and none before it.
func TestInstantOnTheRealClock(t *testing.T) {
	g := start(clock{uncertain: 50 * time.Microsecond}, 0)
	defer g.stop()
	g.Ring(due(1, 2, nowMs(), 1))
	for len(g.rec.ids()) == 0 { // Run is running
		time.Sleep(time.Millisecond)
		g.Ring(due(1, 2, nowMs(), 1))
	}
	at := nowMs() + 300
	for id := int64(1); id <= 10_000; id++ {
		g.Ring(due(id, 1, at, 1))
	}
	instant := func() (calls []call, bells int) {
		for _, c := range g.rec.all() {
			if c.lane == 1 {
				calls, bells = append(calls, c), bells+len(c.ids)
			}
		}
		return calls, bells
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, n := instant(); n == 10_000 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("rang %d", n)
		}
	}
	calls, _ := instant()
	for _, c := range calls {
		if late := c.at.Sub(time.UnixMilli(at)); late < 0 {
			t.Fatalf("%d bells %s early", len(c.ids), -late)
		}
	}
	first, last := calls[0].at.Sub(time.UnixMilli(at)), calls[len(calls)-1].at.Sub(time.UnixMilli(at))
	t.Logf("10,000 bells at one instant: first %s late, last %s", first, last)
	if first > 50*time.Millisecond { // the goal is 10 ms; tests share the machine
		t.Errorf("first %s late", first)
	}
}

func TestTableFollowsTheDatabase(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var fault error
		loads := 0
		lanes := []task.Lane{{ID: 2, Queue: "b", Priority: task.Low}, {ID: 1, Queue: "a", Priority: task.High, Credit: 5}}
		table := NewTable(func(context.Context) ([]task.Lane, error) {
			mu.Lock()
			defer mu.Unlock()
			loads++
			return slices.Clone(lanes), fault
		}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); table.Run(ctx) }()
		synctest.Wait()
		if l, ok := table.Lane(1); !ok || l.Credit != 5 {
			t.Fatalf("lane 1: %+v", l)
		}
		if l, ok := table.ByName("b", task.Low); !ok || l.ID != 2 {
			t.Fatalf("by name: %+v", l)
		}
		if _, ok := table.ByName("b", task.High); ok {
			t.Fatal("a lane that is not there")
		}
		var seen []int32
		stop := table.Watch(func(l task.Lane) { seen = append(seen, l.ID) })
		table.Add(task.Lane{ID: 9, Queue: "new", Priority: task.Normal}) // not in the database's list yet
		view := table.view.Load()
		table.Add(task.Lane{ID: 9, Queue: "new", Priority: task.Normal})
		if table.view.Load() != view {
			t.Error("adding what is known made a new state")
		}
		mu.Lock()
		lanes = append(lanes, task.Lane{ID: 3, Queue: "c", Priority: task.Normal})
		lanes[1].Paused = true
		mu.Unlock()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if l, _ := table.Lane(1); !l.Paused {
			t.Error("pause not seen after 200 ms")
		}
		if _, ok := table.Lane(9); !ok {
			t.Error("an added lane was forgotten")
		}
		if !reflect.DeepEqual(seen, []int32{1, 2, 9, 3}) {
			t.Errorf("watched %v", seen)
		}
		mu.Lock()
		fault, lanes = errBroker, nil
		mu.Unlock()
		time.Sleep(time.Second)
		if len(table.All()) != 4 {
			t.Errorf("after a fault: %v", table.All())
		}
		mu.Lock()
		fault, lanes = nil, []task.Lane{{ID: 1, Queue: "a", Priority: task.High}, {ID: 4, Queue: "d", Priority: task.High}}
		mu.Unlock()
		stop()
		time.Sleep(time.Second)
		if _, ok := table.Lane(4); !ok || len(seen) != 4 {
			t.Errorf("lane 4 %v, watched %v after stop", ok, seen)
		}
		cancel()
		<-done
	})
}

func BenchmarkRing(b *testing.B) {
	g := start(clock{}, 0)
	defer g.stop()
	r := due(1, 2, nowMs(), 1)
	b.ReportAllocs()
	for b.Loop() {
		g.Ring(r)
	}
}
