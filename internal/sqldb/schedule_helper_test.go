package sqldb_test

import (
	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// rule is a stored schedule with its timetable.
type rule struct {
	schedule.Row
	times *schedule.Timetable
}

// definition is a schedule that fires each second, changed by set.
func (w *world) definition(set func(*schedule.Definition)) *schedule.Timetable {
	w.t.Helper()
	d := &schedule.Definition{Spec: cron.Spec{EveryMs: 1000}, Zone: "UTC", Misfire: schedule.MisfireAll, MaxAgeMs: schedule.DefaultMaxAgeMs,
		Task: schedule.Template{Kind: "echo", KindID: w.kinds[0], Queue: "default", Priority: task.Normal, LaneID: w.lane.ID, TimeoutMs: 1000,
			Payload: []byte(`{"slot":"{{slot}}"}`)}}
	if set != nil {
		set(d)
	}
	times, err := schedule.Compile(d)
	w.must(err)
	return times
}

// newRow is a row of app 1 that is not stored yet, with its next slot a minute ago.
func (w *world) newRow(name string, times *schedule.Timetable) schedule.Row {
	w.t.Helper()
	id, err := w.s.ScheduleIDs(w.ctx, 1)
	w.must(err)
	raw, err := times.Encode()
	w.must(err)
	return schedule.Row{ID: id, AppID: 1, Name: name, NextAt: w.now()/1000*1000 - 60_000, Definition: raw}
}

// rule stores a schedule.
func (w *world) rule(name string, set func(*schedule.Definition)) *rule {
	w.t.Helper()
	times := w.definition(set)
	got, replayed, _, err := w.s.CreateSchedule(w.ctx, w.newRow(name, times), nil, nil)
	w.must(err)
	want(w.t, "replayed", replayed, false)
	return &rule{got, times}
}

func overlap(o schedule.Overlap) func(*schedule.Definition) {
	return func(d *schedule.Definition) { d.Overlap = o }
}

// reread reads the stored row.
func (w *world) reread(r *rule) *rule {
	w.t.Helper()
	row, err := w.s.ScheduleByID(w.ctx, r.AppID, r.ID)
	w.must(err)
	r.Row = row
	return r
}

// shots makes a fire of slots that would start.
func (w *world) shots(r *rule, origin int64, ats ...int64) *schedule.Fire {
	w.t.Helper()
	first, err := w.s.TaskIDs(w.ctx, max(1, len(ats)))
	w.must(err)
	f := &schedule.Fire{ID: r.ID, Version: r.Version, AppID: r.AppID, From: r.NextAt, Next: r.NextAt, Keep: origin != schedule.Planned,
		Overlap: r.times.Overlap, Tracked: r.times.Tracked()}
	for i, at := range ats {
		f.Shots = append(f.Shots, r.times.Shot(&r.Row, schedule.Slot{Origin: origin, At: at, LastAt: at, Count: 1, Outcome: schedule.Fired,
			FiredAt: w.now()}, first+int64(i)))
		f.Next = r.times.Next(at)
	}
	return f
}

// next is the fire of a rule's next n slots.
func (w *world) next(r *rule, n int) *schedule.Fire {
	w.t.Helper()
	ats := make([]int64, 0, n)
	for at := r.NextAt; len(ats) < n; at = r.times.Next(at) {
		ats = append(ats, at)
	}
	return w.shots(r, schedule.Planned, ats...)
}

// fire fires and gives what was written; rules whose fires won are moved on.
func (w *world) fire(fires ...*schedule.Fire) schedule.Written {
	w.t.Helper()
	out, err := w.s.Fire(w.ctx, fires)
	w.must(err)
	return out
}

// fireNext fires the next slot of a rule.
func (w *world) fireNext(r *rule) (schedule.Shot, schedule.Written) {
	w.t.Helper()
	f := w.next(r, 1)
	out := w.fire(f)
	want(w.t, "lost", f.Lost, false)
	r.NextAt = f.Next
	return f.Shots[0], out
}

// slotRow reads the row of a slot; outcome 0 when there is none.
func (w *world) slotRow(id, origin, at int64) (out schedule.Slot) {
	w.t.Helper()
	rows, _, err := w.s.ListSlots(w.ctx, schedule.SlotFilter{ScheduleID: id, From: at, To: at + 1, Limit: 100})
	w.must(err)
	for _, one := range rows {
		if one.Origin == origin && one.At == at {
			return one
		}
	}
	return schedule.Slot{}
}

// run is state and result of the run of a task; -1 when there is none.
func (w *world) run(taskID int64) [2]int64 {
	w.t.Helper()
	if w.count("SELECT COUNT(*) FROM schedule_runs WHERE task_id=?", taskID) == 0 {
		return [2]int64{-1, -1}
	}
	return [2]int64{w.count("SELECT state FROM schedule_runs WHERE task_id=?", taskID), w.count("SELECT result FROM schedule_runs WHERE task_id=?", taskID)}
}

func (w *world) outcome(what string, shot schedule.Shot, outcome schedule.Outcome) {
	w.t.Helper()
	row := w.slotRow(shot.ScheduleID, shot.Origin, shot.At)
	if shot.Outcome != outcome || row.Outcome != outcome || row.TaskID != shot.TaskID || row.Detail != shot.Detail {
		w.t.Errorf("%s: told %v task %d %q, stored %v task %d %q, want %v", what, shot.Outcome, shot.TaskID, shot.Detail, row.Outcome, row.TaskID, row.Detail, outcome)
	}
	if shot.Sub == nil {
		return
	}
	if made := w.count("SELECT COUNT(*) FROM tasks WHERE id=?", shot.Sub.ID); (made == 1) != (outcome == schedule.Fired) {
		w.t.Errorf("%s: %v, but %d tasks", what, outcome, made)
	}
}

// finishRun claims the task of a shot and ends it.
func (w *world) finishRun(written schedule.Written, taskID int64, to task.State) {
	w.t.Helper()
	c := w.claim(100, bellIDs(written.Bells)...)
	w.endRun(c, taskID, to)
}

// endRun ends one claimed task.
func (w *world) endRun(c task.Claimed, taskID int64, to task.State) {
	w.t.Helper()
	for i := range c.Tasks {
		if c.Tasks[i].ID != taskID {
			continue
		}
		e := w.ending(c, i)
		e.Flags, e.To = task.Flags(w.row(taskID).flags), to
		switch to {
		case task.Failed:
			e.Outcome, e.Reason = task.OutcomeFailed, task.Exhausted
		case task.Cancelled:
			e.Outcome, e.Reason = task.OutcomeCancelled, task.ByUser
		}
		w.finish([]*task.Ending{e})
		want(w.t, "final", e.Final, to)
		return
	}
	w.t.Fatalf("task %d was not won", taskID)
}

// bodyOf reads the body of a task.
func (w *world) bodyOf(id int64) task.Body {
	w.t.Helper()
	var raw []byte
	w.must(w.s.DB().QueryRowContext(w.ctx, "SELECT body FROM payloads WHERE id=?", id).Scan(&raw))
	body, err := task.DecodeBody(raw)
	w.must(err)
	return body
}
