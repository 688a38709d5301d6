package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// A scheduler that loses a lane (the database was away for longer than its lease, or somebody's clock was off) knows nothing of what
// becomes of the bells that it rang there. The places that these took under a limit must not stay taken: when the lane comes back to it, it
// would ring nothing of the limited queue any more.
func TestPlacesOfALaneThatWasLostAreFreeAgain(t *testing.T) {
	s, err := New(Options{Store: newMemStore(), Publisher: newBroker(), Clock: hostClock{}})
	if err != nil {
		t.Fatal(err)
	}
	p := newLoop(s)
	p.refreshViews()
	limit := &limit{Limit: task.Limit{Limits: task.Limits{Concurrency: 4}}, countAt: time.Now()}
	key := laneKey{id: 1, kind: task.StartBell}
	l := newLaneState(task.Lane{ID: 1, Queue: "limited"}, task.StartBell)
	p.lanes[key] = l
	for id := range int64(4) {
		r := &rungBell{bell: task.Bell{ID: id + 1, LaneID: 1}, n: 1, rungAt: time.Now()}
		r.hold(limitsOf{limit}, 1)
		l.track(r)
	}
	if room := s.limits.roomIn(limit, time.Now()); room != 0 {
		t.Fatalf("four of four places are taken, and there is room for %d", room)
	}

	p.refreshViews() // this scheduler holds no lease

	if p.lanes[key] != nil {
		t.Fatal("a lane that is somebody else's was kept")
	}
	limit.countAt = time.Now() // it was read anew
	if room := s.limits.roomIn(limit, time.Now()); room != 4 {
		t.Errorf("nothing runs and nothing is rung, and there is room for %d of 4", room)
	}
}

// The loop reads a bell that is due; at the same moment the look-ahead, which had read it before its time, rings it. It is rung once, and
// the place of which nobody would ever say that it is free again is not taken.
func TestABellThatWasRungAtItsInstantTakesNoPlaceAgain(t *testing.T) {
	s, err := New(Options{Store: newMemStore(), Publisher: newBroker(), Clock: hostClock{}, Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	p := newLoop(s)
	limit := &limit{Limit: task.Limit{Limits: task.Limits{Concurrency: 4}}, countAt: time.Now()}
	s.limits.queues["limited"] = limit
	l := newLaneState(task.Lane{ID: 1, Queue: "limited", BellSize: 1}, task.StartBell)
	l.slots = 256
	p.lanes[laneKey{id: 1, kind: task.StartBell}] = l
	rung, waits := task.Bell{ID: 7, LaneID: 1, AppID: 3, TaskIDs: []int64{70}}, task.Bell{ID: 8, LaneID: 1, AppID: 3, TaskIDs: []int64{80}}
	l.enqueue(l.app(3), task.Rung{Bell: rung}, task.Rung{Bell: waits})
	l.track(&rungBell{bell: rung, n: 1, rungAt: time.Now()})

	if err := p.fill(t.Context(), l, time.Now()); err != nil {
		t.Fatal(err)
	}

	if limit.pending != 1 || l.unclaimed != 2 {
		t.Errorf("%d places are taken and %d tasks are rung, want 1 and 2", limit.pending, l.unclaimed)
	}
	var rang []int64
	for _, j := range s.press.jobs {
		for _, r := range j.rungs {
			rang = append(rang, r.ID)
		}
	}
	if !slices.Equal(rang, []int64{8}) {
		t.Errorf("bells %v were rung, want 8 alone", rang)
	}
}
