package sqldb_test

import (
	"fmt"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// check looks at what is left.
func (c *fleet) check() {
	made := map[int64][3]int64{} // task → schedule, origin, slot, by its slot
	var outcomes [7]int
	for _, x := range c.things {
		row, _, ok := c.read(c.ctx, c.s, x.id)
		if !ok {
			return
		}
		rows := c.slotsOf(x.id)
		planned := map[int64]schedule.Slot{}
		for _, slot := range rows {
			outcomes[slot.Outcome]++
			if slot.Count != 1 || slot.LastAt != slot.At {
				c.t.Errorf("a range: %+v", slot)
			}
			if slot.Origin == schedule.Planned {
				planned[slot.At] = slot
			}
			delete(x.asked, [2]int64{slot.Origin, slot.At})
			if slot.Origin >= schedule.FirstBackfill && slot.Outcome != schedule.Fired {
				c.t.Errorf("a backfilled slot was dropped: %+v", slot)
			}
			if slot.Outcome == schedule.Held {
				c.t.Errorf("still held: %+v", slot)
			}
			if (slot.Outcome == schedule.Fired) != (slot.TaskID != 0) {
				c.t.Errorf("%v with task %d: %+v", slot.Outcome, slot.TaskID, slot)
			}
			if slot.TaskID != 0 {
				if other, twice := made[slot.TaskID]; twice {
					c.t.Errorf("task %d belongs to %v and %+v", slot.TaskID, other, slot)
				}
				made[slot.TaskID] = [3]int64{x.id, slot.Origin, slot.At}
			}
		}
		if len(x.asked) > 0 {
			c.t.Errorf("schedule %d: backfilled slots without rows: %v", x.id, x.asked)
		}
		c.checkPlanned(x, row, planned)
		c.checkRuns(x, row)
	}
	c.checkTasks(made)
	c.t.Logf("%d shots told, %d fires lost; fired %d, skipped for overlap %d, missed %d, by people %d", c.shots, c.lost, outcomes[schedule.Fired],
		outcomes[schedule.SkippedOverlap], outcomes[schedule.SkippedMisfire], outcomes[schedule.SkippedByUser])
	if outcomes[schedule.Fired] < 100 || outcomes[schedule.SkippedOverlap] == 0 || outcomes[schedule.SkippedMisfire] == 0 {
		c.t.Error("too little happened to mean something")
	}
}

func (c *fleet) slotsOf(id int64) (out []schedule.Slot) {
	f := schedule.SlotFilter{ScheduleID: id, Limit: 50}
	for {
		rows, next, err := c.s.ListSlots(c.ctx, f)
		c.must(err)
		if out = append(out, rows...); next == "" {
			return out
		}
		f.Cursor = next
	}
}

// checkPlanned compares the rows of planned slots with those that the definitions in force owe.
func (c *fleet) checkPlanned(x *subject, row schedule.Row, planned map[int64]schedule.Slot) {
	for i, a := range x.acts {
		if a.times == nil {
			continue
		}
		end := row.NextAt // the first that is not owed
		if i+1 < len(x.acts) {
			end = x.acts[i+1].from + 1
		}
		owed, more := a.times.Between(a.from+1, end, 100_000)
		if more {
			c.t.Errorf("schedule %d: too many slots", x.id)
		}
		for _, at := range owed {
			if _, ok := planned[at]; !ok {
				c.t.Errorf("schedule %d (act %d of %d, %v): slot %d has no row", x.id, i, len(x.acts), a.times.Overlap, at)
			}
			delete(planned, at)
		}
		if i == len(x.acts)-1 && a.times.Next(row.NextAt-1) != row.NextAt {
			c.t.Errorf("schedule %d: next slot %d is none", x.id, row.NextAt)
		}
	}
	for at, slot := range planned {
		allowed := slot.Outcome == schedule.SkippedByUser // of a definition that was replaced afterwards
		for i, a := range x.acts {
			// Its task began while the definition was being replaced.
			allowed = allowed || i > 0 && at > a.from && at <= a.until && x.acts[i-1].times != nil && x.acts[i-1].times.Next(at-1) == at
		}
		if !allowed {
			c.t.Errorf("schedule %d: nobody planned %+v", x.id, slot)
		}
	}
}

// checkRuns holds the count of failures against the runs: of a schedule whose runs never succeed each failure counts once.
func (c *fleet) checkRuns(x *subject, row schedule.Row) {
	failed := c.count("SELECT COUNT(*) FROM schedule_runs WHERE schedule_id=? AND result=5", x.id)
	resumed := false
	for i, a := range x.acts {
		resumed = resumed || i > 0 && a.times != nil && x.acts[i-1].times == nil
	}
	if x.failing && !resumed && int64(row.Failures) != failed {
		c.t.Errorf("schedule %d: %d failures counted of %d", x.id, row.Failures, failed)
	}
}

// checkTasks holds the tasks against the slots.
func (c *fleet) checkTasks(made map[int64][3]int64) {
	rows, err := c.s.DB().QueryContext(c.ctx, "SELECT t.id,t.state,t.reason,p.body,COALESCE(r.state,-1),COALESCE(r.result,-1) FROM tasks t JOIN payloads p ON p.id=t.id LEFT JOIN schedule_runs r ON r.task_id=t.id")
	c.must(err)
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id, state, reason, run, result int64
		var raw []byte
		c.must(rows.Scan(&id, &state, &reason, &raw, &run, &result))
		body, err := task.DecodeBody(raw)
		c.must(err)
		key := [3]int64{body.Head.ScheduleID, body.Head.SlotOrigin, body.Head.SlotAt}
		of, ok := made[id]
		switch {
		case ok && of != key:
			c.t.Errorf("task %d says %v, its slot %v", id, key, of)
		case !ok && (task.State(state) != task.Cancelled || task.Reason(reason) != task.BySchedule):
			c.t.Errorf("task %d of %v has no slot: state %d, reason %d", id, key, state, reason)
		}
		if ok {
			n++
		}
		if !task.State(state).Final() || run != 2 || result != state {
			c.t.Errorf("task %d: state %d, run %d with result %d", id, state, run, result)
		}
	}
	c.must(rows.Err())
	want(c.t, "slots with tasks", len(made), n)
	want(c.t, "waiting tasks without a bell", fmt.Sprint(c.count("SELECT COUNT(*) FROM tasks t LEFT JOIN bells b ON b.id=t.holder WHERE t.state=2 AND b.id IS NULL")), "0")
}
