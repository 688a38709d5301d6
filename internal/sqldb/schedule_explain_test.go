package sqldb_test

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// rules stores n schedules at once.
func (w *world) rules(n int, set func(*schedule.Definition)) []*rule {
	w.t.Helper()
	times := w.definition(set)
	raw, err := times.Encode()
	w.must(err)
	first, err := w.s.ScheduleIDs(w.ctx, n)
	w.must(err)
	out, rows := make([]*rule, n), make([]string, n)
	next := w.now()/1000*1000 - 60_000
	for i := range out {
		r := schedule.Row{ID: first + int64(i), AppID: 1, Name: fmt.Sprint("rule ", first+int64(i)), Version: 1, NextAt: next, Definition: raw}
		out[i] = &rule{r, times}
		rows[i] = fmt.Sprintf("(%d,1,%d,'%s',1,0,%d,0,1,1,x'%s')", r.ID, schedule.Shard(r.ID), r.Name, next, hex.EncodeToString(raw))
	}
	w.must(w.s.Exec(w.ctx, "INSERT INTO schedules (id,app_id,shard,name,version,pause,next_at,failures,created_at,updated_at,definition) VALUES "+
		strings.Join(rows, ",")))
	return out
}

// fireAll fires the next slot of every rule in one transaction.
func (w *world) fireAll(rules []*rule) schedule.Written {
	w.t.Helper()
	first, err := w.s.TaskIDs(w.ctx, len(rules))
	w.must(err)
	fires, now := make([]*schedule.Fire, len(rules)), w.now()
	for i, r := range rules {
		f := &schedule.Fire{ID: r.ID, Version: r.Version, AppID: 1, From: r.NextAt, Next: r.times.Next(r.NextAt), Overlap: r.times.Overlap, Tracked: r.times.Tracked()}
		f.Shots = []schedule.Shot{r.times.Shot(&r.Row, schedule.Slot{At: r.NextAt, LastAt: r.NextAt, Count: 1, Outcome: schedule.Fired, FiredAt: now}, first+int64(i))}
		fires[i] = f
	}
	out := w.fire(fires...)
	for i, r := range rules {
		want(w.t, "lost", fires[i].Lost, false)
		r.NextAt = fires[i].Next
	}
	return out
}

// everyScheduleStatement makes the store say everything that it can say of schedules with lists of about n.
func everyScheduleStatement(w *world, n int) {
	w.t.Helper()
	w.worker = w.newWorker()
	rules := w.rules(n, overlap(schedule.CancelPrevious))
	w.fireAll(rules)        // waits
	out := w.fireAll(rules) // takes its place
	c := w.claim(n, bellIDs(out.Bells)...)
	w.fireAll(rules) // is held, the running ones are asked to end
	w.fireAll(rules) // drops what is held
	var ends []*task.Ending
	for i := range c.Tasks {
		e := w.ending(c, i)
		e.Flags, e.To = task.TracksSchedule, task.State(4+i%3)
		if e.To != task.Succeeded {
			e.Outcome, e.Reason = task.OutcomeCancelled, task.ByUser
		}
		ends = append(ends, e)
	}
	w.finish(ends, c.ClaimID)
	held := w.shots(rules[0], schedule.Planned, rules[0].NextAt-1000)
	w.must2(w.s.ReleaseSlot(w.ctx, held))
	want(w.t, "lost", held.Lost, false)
	w.must2(w.s.Cancel(w.ctx, 1, held.Shots[0].TaskID))
	over, err := w.s.EndedRuns(w.ctx, n)
	w.must(err)
	w.must2(w.s.SettleQuiet(w.ctx, over))
	w.must2(w.s.Reopen(w.ctx, 1, held.Shots[0].TaskID, true))
	skips := w.rules(n, overlap(schedule.Skip))
	w.fireAll(skips)
	manual := make([]*schedule.Fire, n)
	for i, r := range skips {
		manual[i] = w.shots(r, schedule.Manual, 7)
	}
	w.fire(manual...) // refused

	// Look-ahead, and what cancels it; all runs of one schedule.
	r := w.rules(1, func(d *schedule.Definition) { d.MaxFailures = 1 })[0]
	ats := make([]int64, n)
	for i := range ats {
		ats[i] = w.now()/1000*1000 + 60_000 + int64(i)*1000
	}
	ahead := func() *schedule.Fire {
		f := w.shots(r, schedule.Planned, ats...)
		w.fire(f)
		r.NextAt = f.Next
		return f
	}
	ahead()
	after := r.Row
	got, _, err := w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), nil)
	w.must(err)
	r.Row = got
	ahead()
	w.must2(w.s.SkipSlot(w.ctx, w.reread(r).Row, ats[0], r.NextAt))
	past := w.shots(r, schedule.Manual, ats...)
	out = w.fire(past)
	c = w.claim(n, bellIDs(out.Bells)...)
	ends = ends[:0]
	for i := range c.Tasks {
		e := w.ending(c, i)
		e.Flags, e.To, e.Outcome, e.Reason = task.TracksSchedule, task.Failed, task.OutcomeFailed, task.Permanent
		ends = append(ends, e)
	}
	w.finish(ends, c.ClaimID)
	var runs []schedule.Run
	for i := range c.Tasks {
		runs = append(runs, schedule.Run{TaskID: c.Tasks[i].ID})
	}
	paused, err := w.s.Settle(w.ctx, r.ID, runs, n)
	w.must(err)
	want(w.t, "paused", paused, true)
	w.must(w.s.DeleteSchedule(w.ctx, w.reread(r).Row, w.now()))
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO held_slots SELECT %d,i,0 FROM nums WHERE i<=%d", rules[0].ID, n)))
	w.must(w.s.DeleteSchedule(w.ctx, w.reread(rules[0]).Row, w.now()))
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE slots SET fired_at=5 WHERE schedule_id>=%d", rules[0].ID)))
	w.must(w.s.Exec(w.ctx, "DELETE FROM schedules_deleted WHERE id>=20000000"))
	for deleted := 1; deleted > 0; {
		deleted, err = w.s.PurgeSlots(w.ctx, 6, n)
		w.must(err)
	}
}
