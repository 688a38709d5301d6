package sqldb_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// worker claims what is due and ends it.
func (c *fleet) worker(r *rand.Rand) {
	s := c.any(r)
	rows, err := s.DB().QueryContext(c.ctx, fmt.Sprintf("SELECT id FROM bells WHERE due_at<=%d ORDER BY due_at LIMIT 40", s.Clock().Now()))
	if err != nil {
		return
	}
	var bells []int64
	for rows.Next() {
		var id int64
		c.fatal(rows.Scan(&id))
		bells = append(bells, id)
	}
	rows.Close()
	if len(bells) == 0 {
		return
	}
	slices.Sort(bells)
	claimed, err := s.Claim(c.ctx, task.ClaimRequest{WorkerID: c.world.worker, LaneID: c.lane.ID, Bells: bells, Max: 1 + r.IntN(20), Kinds: c.kinds})
	if c.passable("claim", err) || len(claimed.Tasks) == 0 {
		return
	}
	of := map[int64]int64{}
	var ends []*task.Ending
	for i := range claimed.Tasks {
		id := claimed.Tasks[i].ID
		body := c.bodyOf(id)
		of[id] = body.Head.ScheduleID
		e := c.ending(claimed, i)
		e.Flags = task.TracksSchedule
		switch n := r.IntN(4); {
		case c.thing(of[id]).failing && n > 0:
			e.Outcome, e.To, e.Reason = task.OutcomeFailed, task.Failed, task.Exhausted
		case c.thing(of[id]).failing || n == 0:
			e.Outcome, e.To, e.Reason = task.OutcomeCancelled, task.Cancelled, task.ByUser
		}
		ends = append(ends, e)
	}
	c.enter(of, 1)
	time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	c.enter(of, -1)
	for try := 0; ; try++ {
		_, err := s.Finish(c.ctx, task.FinishBatch{WorkerID: c.world.worker, Endings: ends, Emptied: []int64{claimed.ClaimID}})
		if !c.passable("finish", err) || try == 20 {
			break
		}
	}
}

// enter notes that runs begin or are about to end.
func (c *fleet) enter(of map[int64]int64, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, scheduleID := range of {
		c.running[scheduleID] += n
		if c.running[scheduleID] > 1 && c.thing(scheduleID).serial {
			c.t.Errorf("task %d runs beside another one of schedule %d", id, scheduleID)
		}
	}
}

// watch looks for two open runs of a schedule that allows one.
func (c *fleet) watch(*rand.Rand) {
	rows, err := c.s.DB().QueryContext(c.ctx, "SELECT schedule_id,COUNT(*) FROM schedule_runs WHERE state=0 GROUP BY schedule_id HAVING COUNT(*)>1")
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id, n int64
		c.fatal(rows.Scan(&id, &n))
		if c.thing(id).serial {
			c.t.Errorf("%d open runs of schedule %d", n, id)
		}
	}
}
