package scheduler

import (
	"container/heap"
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	// minWait keeps the timer from spinning.
	minWait = 100 * time.Microsecond
	// clockAgain is how long to trust that the database's clock goes on as it does. A bell is read 2 s before its instant; one that is
	// farther ahead is so because the clock was set back, and that may be set right at any time.
	clockAgain = time.Second
)

// The first bells of an instant are taken alone, so that sorting thousands out does not make them late.
const (
	popFirst = 64
	popMore  = 1024
)

// runInstants hands over bells at their instant: never before the database's time, plus what it may be wrong by, has
// reached it.
func (a *lookAhead) runInstants(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	most := popFirst
	for {
		due, wait := a.popDue(most)
		if len(due) > 0 {
			a.handOver(due)
			most = popMore
			continue
		}
		most = popFirst
		t.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.wake:
		}
	}
}

// popDue takes at most so many bells that are due out of the heap, or tells how long to wait.
func (a *lookAhead) popDue(most int) (due []task.Rung, wait time.Duration) {
	late := a.s.o.Clock.Uncertainty()
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.heap) > 0 && len(due) < most {
		if wait = a.s.o.Clock.Until(a.heap[0].DueAt) + late; wait > 0 {
			break
		}
		r := heap.Pop(&a.heap).(*task.Rung)
		a.bytes -= bodyBytes(*r)
		due = append(due, *r)
	}
	if len(a.heap) == 0 {
		return due, time.Hour
	}
	return due, min(max(wait, minWait), clockAgain)
}

// handOver rings the first tasks of each uncontended lane at once, and gives the rest to the bell loop.
func (a *lookAhead) handOver(due []task.Rung) {
	byLane := make(map[laneKey][]task.Rung)
	for _, r := range due {
		if a.s.leases.owns(r.LaneID) {
			byLane[keyOf(r.Bell)] = append(byLane[keyOf(r.Bell)], r)
			continue
		}
		a.taken([]task.Rung{r})
	}
	for key, rungs := range byLane {
		now := a.ringFirst(key, rungs)
		rest := rungs[now:]
		a.s.inbox.put(func(i *inbox) { i.due = append(i.due, rest...) })
	}
}

// ringFirst rings what an idle lane has room for and gives how many bells that were: first 32 tasks alone, then the rest
// of the window. Lanes with a backlog, pauses, or several apps go through the loop, which is fair.
func (a *lookAhead) ringFirst(key laneKey, rungs []task.Rung) int {
	views := a.s.view.lanes.Load()
	lane, known := views.lanes[key.id]
	room := a.s.loop.room(key)
	if !known || lane.Paused || room <= 0 {
		return 0
	}
	first, n, tasks := 0, 0, 0
	for n < len(rungs) && rungs[n].AppID == rungs[0].AppID && !views.apps[rungs[n].AppID].Paused {
		if _, limited := a.s.limits.of(lane.Queue, rungs[n].AppID, rungs[n].Flow); limited {
			break
		}
		k := len(rungs[n].TaskIDs)
		if n > 0 && tasks+k > room {
			break
		}
		tasks += k
		n++
		if tasks <= firstTasks || first == 0 {
			first = n
		}
	}
	if n == 0 {
		return 0
	}
	a.s.loop.took(key, tasks)
	a.send(lane, rungs[:first])
	a.send(lane, rungs[first:n])
	return n
}

func (a *lookAhead) send(lane task.Lane, rungs []task.Rung) {
	pack(rungs, func(part []task.Rung) {
		j := job{lane: lane, rungs: part, loaded: loaded(part), delayed: true}
		a.s.inbox.put(func(i *inbox) { i.rung = append(i.rung, j) })
		a.s.press.add(j)
	})
}

// loaded reports whether the items of all rungs were read.
func loaded(rungs []task.Rung) bool {
	for _, r := range rungs {
		if r.Items == nil {
			return false
		}
	}
	return true
}
