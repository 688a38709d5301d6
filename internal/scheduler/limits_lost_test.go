package scheduler

import (
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
