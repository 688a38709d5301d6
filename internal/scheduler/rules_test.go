package scheduler

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// While all have a backlog, what each app rings is in proportion to its weight, within a turn and a bell.
func TestTurnsAreFairByWeight(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var d drr
		weights, got := map[int32]int{}, map[int32]float64{}
		wmax := 0
		for app := range int32(2 + r.IntN(6)) {
			weights[app] = 1 + r.IntN(10)
			wmax = max(wmax, weights[app])
			d.activate(app, weights[app])
		}
		for range 5000 {
			app, ok := d.next()
			if !ok {
				t.Fatal("nobody takes a turn")
			}
			n := 1 + r.IntN(task.MaxBellTasks)
			d.charge(app, n)
			got[app] += float64(n)
		}
		for a, wa := range weights {
			for b, wb := range weights {
				// Served per unit of weight differs by a turn and an overdraft at most.
				slack := (task.MaxBellTasks + quantum) * (1/float64(wa) + 1/float64(wb))
				if diff := got[a]/float64(wa) - got[b]/float64(wb); diff > slack {
					t.Fatalf("seed %d: app %d (weight %d) %f, app %d (weight %d) %f", seed, a, wa, got[a], b, wb, got[b])
				}
			}
		}
	}
}

func TestNewcomerIsNext(t *testing.T) {
	var d drr
	d.activate(1, 1)
	for range 100 {
		app, _ := d.next()
		d.charge(app, 100)
	}
	d.activate(2, 1)
	if app, _ := d.next(); app != 2 {
		t.Fatalf("app %d is served before the newcomer", app)
	}
}

// An app that leaves when its turn is over and comes back at once gets no more than one that stays.
func TestComingBackGainsNothing(t *testing.T) {
	var d drr
	d.activate(1, 1)
	got := map[int32]int{}
	for range 20_000 {
		d.activate(2, 1)
		app, _ := d.next()
		d.charge(app, 10)
		got[app] += 10
		d.deactivate(2)
	}
	if share := float64(got[2]) / float64(got[1]+got[2]); share > 0.55 {
		t.Fatalf("the trickster got %.0f %%", share*100)
	}
}

func TestTurnsForgetIdleApps(t *testing.T) {
	var d drr
	for app := range int32(10_000) {
		d.activate(app, 1)
		d.next()
		d.charge(app, 1)
		d.deactivate(app)
	}
	if len(d.all) > 100 {
		t.Fatalf("remembers %d idle apps", len(d.all))
	}
	if _, ok := d.next(); ok {
		t.Fatal("somebody has a turn")
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		slots int
		rate  float64
		want  int
	}{{0, 0, 64}, {8, 100, 64}, {256, 0, 512}, {8, 800, 200}, {256, 40_000, 10_000}} {
		if got := windowSize(c.slots, c.rate); got != c.want {
			t.Errorf("slots %d at %.0f/s: %d, want %d", c.slots, c.rate, got, c.want)
		}
	}
}

func TestMeter(t *testing.T) {
	var m meter
	now := time.Now()
	if m.rate(now) != 0 {
		t.Fatal("a new meter shows a rate")
	}
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		m.add(now, 20)
	}
	if r := m.rate(now); r < 1900 || r > 2300 {
		t.Fatalf("2000/s measured as %.0f", r)
	}
	if r := m.rate(now.Add(time.Second)); r != 0 {
		t.Fatalf("after a second of silence %.0f", r)
	}
	now = now.Add(time.Hour)
	m.add(now, 100)
	if r := m.rate(now); r < 1500 {
		t.Fatalf("a burst after a pause counts as %.0f/s", r)
	}
}

func TestReringInterval(t *testing.T) {
	for _, c := range []struct {
		w    int
		rate float64
		want time.Duration
	}{{64, 0, 2 * time.Second}, {64, 0.5, 2 * time.Second}, {512, 10_000, 2 * time.Second}, {500, 100, 20 * time.Second}, {4000, 2, 5 * time.Minute}} {
		if got := reringInterval(2*time.Second, 5*time.Minute, c.w, c.rate); got != c.want {
			t.Errorf("W %d at %.1f/s: %v, want %v", c.w, c.rate, got, c.want)
		}
	}
}

func TestBellSize(t *testing.T) {
	for _, c := range []struct {
		is    int
		ms    float64
		slots int
		want  int
	}{
		{16, 0, 256, 16}, {16, 1, 256, 100}, {100, 1, 256, 100}, {100, 5.5, 256, 100}, {16, 4.5, 256, 16}, {100, 20, 256, 16}, {16, 55, 256, 16},
		{16, 100, 256, 1}, {1, 45, 256, 1}, {1, 10, 256, 16}, {1, 0.1, 256, 100},
		{16, 100, 1024, 64}, {16, 12, 1024, 100}, {16, 300, 1024, 1}, {100, 30, 1024, 64}, // a large worker is done with a bell sooner
		{64, 45, 256, 16}, {64, 210, 1024, 64}, {64, 18, 1024, 64}, {16, 100, 10_000, 100}, {16, 30, 300, 18},
		{16, 1, 2, 100}, {16, 100, 2, 1}, {16, 20, 0, 16}, // a small one leaves in it what it cannot take
	} {
		if got := bellSizeFor(c.is, c.ms, c.slots); got != c.want {
			t.Errorf("size %d at %v ms with %d slots: %d, want %d", c.is, c.ms, c.slots, got, c.want)
		}
	}
}

// Any worker of the queue may get a bell, so that the smallest one decides.
func TestSlotsOfOneAreThoseOfTheSmallestThatServesTheQueue(t *testing.T) {
	v := &workersView{alive: []task.Worker{
		{Info: task.WorkerInfo{Slots: 1024}}, {Info: task.WorkerInfo{Slots: 300, Queues: []string{"mail"}}}, {Info: task.WorkerInfo{Slots: 2, Queues: []string{"reports"}}},
	}}
	for queue, want := range map[string]int{"mail": 300, "reports": 2, "other": 1024} {
		if got := v.slotsOfOne(queue); got != want {
			t.Errorf("%s: %d, want %d", queue, got, want)
		}
	}
	if got := (&workersView{}).slotsOfOne("mail"); got != 0 {
		t.Errorf("nobody serves it: %d", got)
	}
}

func TestOnlyWhatMattersIsWritten(t *testing.T) {
	for _, c := range []struct {
		is, want tuning
		matters  bool
	}{
		{tuning{128, 16}, tuning{128, 16}, false}, {tuning{128, 16}, tuning{140, 16}, false}, {tuning{128, 16}, tuning{0, 16}, true},
		{tuning{0, 16}, tuning{16, 16}, true}, {tuning{128, 16}, tuning{128, 1}, true}, {tuning{100, 1}, tuning{200, 1}, true}, {tuning{100, 1}, tuning{20, 1}, true},
	} {
		if got := matters(c.is, c.want); got != c.matters {
			t.Errorf("%v to %v: %v", c.is, c.want, got)
		}
	}
}

func TestFairShare(t *testing.T) {
	for n, want := range map[int]int{0: 16, 1: 16, 2: 8, 3: 6, 5: 4, 16: 1, 40: 1} {
		if got := fairShare(n); got != want {
			t.Errorf("%d schedulers: %d", n, got)
		}
	}
}

func TestChorePace(t *testing.T) {
	for ids, want := range map[int64]time.Duration{0: auditMost, 100: auditMost, 120_000: 5 * time.Second, 1_200_000: 500 * time.Millisecond, 50_000_000: auditLeast} {
		if got := auditPause(ids, 10*time.Minute); got != want {
			t.Errorf("%d tasks: a step each %v, want %v", ids, got, want)
		}
	}

}

func TestDeathWatch(t *testing.T) {
	w := func(id, beat int64) task.Worker { return task.Worker{ID: id, State: task.WorkerAlive, BeatAt: beat} }
	now := time.Now()
	at := func(s float64) time.Time { return now.Add(time.Duration(s * float64(time.Second))) }
	ids := func(ws []task.Worker) (out []int64) {
		for _, x := range ws {
			out = append(out, x.ID)
		}
		return out
	}
	d := deathWatch{after: 12 * time.Second}
	for s := range 12 {
		if dead := d.observe(at(float64(s)), []task.Worker{w(1, 5), w(2, int64(s/3))}); dead != nil {
			t.Fatalf("after %d s: %v are dead", s, ids(dead))
		}
	}
	if dead := ids(d.observe(at(12), []task.Worker{w(1, 5), w(2, 4)})); len(dead) != 1 || dead[0] != 1 {
		t.Fatalf("after 12 s: %v are dead, want worker 1", dead)
	}

	d = deathWatch{after: 12 * time.Second}
	for s := range 12 {
		d.observe(at(float64(s)), []task.Worker{w(1, 5)})
	}
	d.failed()
	for s := 12; s < 24; s++ {
		if dead := d.observe(at(float64(s)), []task.Worker{w(1, 5)}); dead != nil {
			t.Fatal("a failed poll does not start the watch again")
		}
	}
	if d.observe(at(24), []task.Worker{w(1, 5)}) == nil {
		t.Fatal("not dead 12 s after the outage")
	}

	d = deathWatch{after: 12 * time.Second}
	d.observe(at(0), []task.Worker{w(1, 5)})
	if dead := d.observe(at(60), []task.Worker{w(1, 5)}); dead != nil {
		t.Fatal("a scheduler that was stopped for a minute has watched nobody")
	}
}

func TestRatesOfWorkers(t *testing.T) {
	var r doneRates
	w := func(beat, done int64, ms float64) task.Worker {
		return task.Worker{ID: 1, State: task.WorkerAlive, BeatAt: beat, Info: task.WorkerInfo{Slots: 8, Queues: []string{"a"}, Loads: []task.LaneLoad{{LaneID: 3, Done: done, RunMs: ms}}}}
	}
	if v := r.observe([]task.Worker{w(1000, 500, 10)}); v.rate[3] != 0 || v.runMs[3] < 9.9 {
		t.Fatalf("first sight: %+v", v)
	}
	if v := r.observe([]task.Worker{w(4000, 3500, 10)}); v.rate[3] != 1000 {
		t.Fatalf("3000 in 3 s: %v", v.rate[3])
	}
	v := r.observe([]task.Worker{w(4000, 3500, 10)})
	if v.rate[3] != 1000 {
		t.Fatalf("between beats: %v", v.rate[3])
	}
	if v.slots("a") != 8 || v.slots("b") != 0 {
		t.Fatal("slots by queue")
	}
	if v := r.observe(nil); v.rate[3] != 0 {
		t.Fatal("a worker that is gone still counts")
	}
}

// When a burst begins, the rate says nothing yet: 18 claimed of 600 would mean to look again in 50 ms, while the workers are
// done with the rest in ten. The pause doubles at most, and follows the rate when that is known.
func TestPausesBetweenPollsDoubleAtMost(t *testing.T) {
	now := time.Now()
	l := newLaneState(task.Lane{ID: 1}, task.StartBell)
	l.slots = 256
	l.pollSoon(now)
	now = now.Add(pollMin)
	l.meter.add(now, 18)
	for want := 2 * pollMin; want <= pollBusy; want *= 2 {
		l.pollNext(now, 18)
		if l.pollWait != want || !l.pollAt.Equal(now.Add(want)) {
			t.Fatalf("pause %v, want %v", l.pollWait, want)
		}
		now = l.pollAt
	}
	l.meter.add(now, 50_000)
	l.pollNext(now, 50_000)
	if eighth := time.Duration(windowTime / 8 * float64(time.Second)); l.pollWait < eighth*9/10 || l.pollWait > eighth*11/10 {
		t.Errorf("pause %v at a known rate, want about %v", l.pollWait, eighth)
	}
}
