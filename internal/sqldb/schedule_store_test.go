package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

func TestCreateSchedule(t *testing.T) {
	eachWorld(t, func(w *world) {
		times := w.definition(nil)
		row := w.newRow("daily ünï 'x'", times)
		at := w.now()/1000*1000 + 1000
		row.NextAt = at
		f := &schedule.Fire{ID: row.ID, AppID: 1, Next: at + 1000, Shots: []schedule.Shot{w.shots(&rule{row, times}, 0, at).Shots[0]}}
		idem := &task.Idempotency{Key: [32]byte{1}, Body: [32]byte{2}}
		got, replayed, out, err := w.s.CreateSchedule(w.ctx, row, f, idem)
		w.must(err)
		if replayed || got.Version != 1 || got.NextAt != at+1000 || got.CreatedAt == 0 || len(out.Bells) != 1 || !out.Bells[0].Direct {
			w.t.Errorf("%v %+v %+v", replayed, got, out)
		}
		w.outcome("ahead", f.Shots[0], schedule.Fired)
		read, err := w.s.ScheduleByID(w.ctx, 1, row.ID)
		w.must(err)
		if fmt.Sprint(read) != fmt.Sprint(got) {
			w.t.Errorf("stored %+v\nas    %+v", got, read)
		}
		_, err = w.s.ScheduleByID(w.ctx, 2, row.ID)
		wantKind(w.t, err, task.NotFound, "schedule_not_found")
		other := w.newRow("other", times)
		again, replayed, _, err := w.s.CreateSchedule(w.ctx, other, nil, idem)
		w.must(err)
		if !replayed || again.ID != row.ID || fmt.Sprint(again) != fmt.Sprint(got) {
			w.t.Errorf("replayed %v: %+v", replayed, again)
		}
		_, _, _, err = w.s.CreateSchedule(w.ctx, other, nil, &task.Idempotency{Key: idem.Key, Body: [32]byte{3}})
		wantKind(w.t, err, task.Conflict, "idempotency_key_reused")
		other.Name = row.Name
		_, _, _, err = w.s.CreateSchedule(w.ctx, other, nil, &task.Idempotency{Key: [32]byte{9}})
		want(w.t, "who has the name", wantKind(w.t, err, task.Conflict, "name_taken").ScheduleID, row.ID)
		want(w.t, "keys of what was refused", w.count("SELECT COUNT(*) FROM idempotency"), 1)
		other.AppID = 2
		_, _, _, err = w.s.CreateSchedule(w.ctx, other, nil, nil)
		w.must(err)
		w.must(w.s.Exec(w.ctx, "UPDATE idempotency SET expires_at=1"))
		late := w.newRow("late", times)
		late, replayed, _, err = w.s.CreateSchedule(w.ctx, late, nil, idem)
		w.must(err)
		want(w.t, "replayed after its time", replayed, false)
		w.must(w.s.DeleteSchedule(w.ctx, late, w.now()))
		_, _, _, err = w.s.CreateSchedule(w.ctx, w.newRow("later", times), nil, idem)
		wantKind(w.t, err, task.NotFound, "schedule_not_found")
	})
}

// A change cancels what waits for slots after now and gives those back to the new definition.
func TestChangeSchedule(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", func(d *schedule.Definition) { d.MaxFailures = 2 })
		soon := w.now() + 60_000
		f := w.shots(r, schedule.Planned, r.NextAt, soon, soon+1000, soon+2000)
		out := w.fire(f)
		r.NextAt = f.Next
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE bells SET due_at=1 WHERE id=%d", w.row(f.Shots[2].TaskID).holder)))
		c := w.claim(100, bellIDs(out.Bells)...) // the first, and one that was started before its time
		want(w.t, "started", len(c.Tasks), 2)
		stale := r.Row
		stale.NextAt--
		_, _, err := w.s.ChangeSchedule(w.ctx, stale, r.Row, w.now(), nil)
		wantKind(w.t, err, task.Conflict, "version_changed")
		stale = r.Row
		stale.Version++
		_, _, err = w.s.ChangeSchedule(w.ctx, stale, r.Row, w.now(), nil)
		wantKind(w.t, err, task.Conflict, "version_changed")
		stale = r.Row
		stale.AppID = 2
		_, _, err = w.s.ChangeSchedule(w.ctx, stale, r.Row, w.now(), nil)
		wantKind(w.t, err, task.NotFound, "schedule_not_found")
		taken := w.rule("taken", nil)
		after := r.Row
		after.Name = "taken"
		_, _, err = w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), nil)
		want(w.t, "who has the name", wantKind(w.t, err, task.Conflict, "name_taken").ScheduleID, taken.ID)
		want(w.t, "slots after what was refused", w.count("SELECT COUNT(*) FROM slots"), 4)

		after = r.Row
		after.Name, after.Definition = "new", append([]byte(nil), r.Definition...)
		fire := w.shots(r, schedule.Planned, soon+1000, soon+2000, soon+3000)
		got, written, err := w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), fire)
		w.must(err)
		if got.Version != r.Version+1 || got.Name != "new" || got.NextAt != fire.Next {
			w.t.Errorf("%+v", got)
		}
		want(w.t, "bells", len(written.Bells), 2)
		r.Row = got
		if read := w.reread(r); fmt.Sprint(read.Row) != fmt.Sprint(got) {
			w.t.Errorf("told %+v, stored %+v", got, read.Row)
		}
		want(w.t, "a slot before now", w.slotRow(r.ID, 0, f.Shots[0].At).TaskID, f.Shots[0].TaskID)
		want(w.t, "a slot that is no more", w.slotRow(r.ID, 0, soon).Outcome, 0)
		want(w.t, "its task", w.row(f.Shots[1].TaskID).reason, int64(task.BySchedule))
		want(w.t, "run of it", w.run(f.Shots[1].TaskID), [2]int64{1, int64(task.Cancelled)})
		want(w.t, "a slot whose task was started", fire.Shots[0].Known, true)
		want(w.t, "its task", w.slotRow(r.ID, 0, soon+1000).TaskID, f.Shots[2].TaskID)
		want(w.t, "a slot that was planned again", w.slotRow(r.ID, 0, soon+2000).TaskID, fire.Shots[1].TaskID)
		want(w.t, "the task before", w.row(f.Shots[3].TaskID).state, int64(task.Cancelled))
		want(w.t, "cancelled", w.count("SELECT SUM(cancelled) FROM stats"), 2)

		w.must(w.s.Exec(w.ctx, "UPDATE schedules SET failures=5"))
		after = got
		after.Pause, after.NextAt = schedule.PausedByUser, schedule.Never
		paused, _, err := w.s.ChangeSchedule(w.ctx, got, after, w.now(), nil)
		w.must(err)
		want(w.t, "failures of a paused one", paused.Failures, 5)
		want(w.t, "waiting tasks of a paused one", w.count("SELECT COUNT(*) FROM tasks WHERE state=2"), 0)
		after = paused
		after.Pause, after.NextAt = schedule.NotPaused, soon
		resumed, _, err := w.s.ChangeSchedule(w.ctx, paused, after, w.now(), nil)
		w.must(err)
		want(w.t, "failures of a resumed one", resumed.Failures, 0)
		want(w.t, "version", resumed.Version, r.Version+2)
	})
}

func TestSkipSlot(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", nil)
		next := r.times.Next(r.NextAt)
		got, err := w.s.SkipSlot(w.ctx, r.Row, r.NextAt, next)
		w.must(err)
		want(w.t, "next", got.NextAt, next)
		want(w.t, "skipped", w.slotRow(r.ID, 0, r.NextAt).Outcome, schedule.SkippedByUser)
		_, err = w.s.SkipSlot(w.ctx, r.Row, r.NextAt, next)
		wantKind(w.t, err, task.Conflict, "version_changed")
		w.reread(r)
		want(w.t, "version", r.Version, 1)
		soon := w.now() + 60_000
		f := w.shots(r, schedule.Planned, soon, soon+1000)
		w.fire(f)
		w.reread(r)
		got, err = w.s.SkipSlot(w.ctx, r.Row, soon, r.NextAt)
		w.must(err)
		want(w.t, "next", got.NextAt, r.NextAt)
		row := w.slotRow(r.ID, 0, soon)
		want(w.t, "skipped ahead", row.Outcome, schedule.SkippedByUser)
		want(w.t, "its task", row.TaskID, 0)
		want(w.t, "the cancelled one", w.row(f.Shots[0].TaskID).reason, int64(task.BySchedule))
		want(w.t, "the other", w.row(f.Shots[1].TaskID).state, int64(task.Waiting))
		_, err = w.s.SkipSlot(w.ctx, r.Row, soon, r.NextAt)
		wantKind(w.t, err, task.Conflict, "version_changed")
		_, err = w.s.SkipSlot(w.ctx, r.Row, soon+500, r.NextAt)
		wantKind(w.t, err, task.Conflict, "version_changed")
	})
}

func TestDeleteSchedule(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.Queue))
		f := w.next(r, 3)
		out := w.fire(f)
		ahead := w.rule("ahead", nil)
		g := w.shots(ahead, schedule.Planned, w.now()+60_000)
		w.fire(g)
		wrong := r.Row
		wrong.Version++
		wantKind(w.t, w.s.DeleteSchedule(w.ctx, wrong, w.now()), task.Conflict, "version_changed")
		w.must(w.s.DeleteSchedule(w.ctx, r.Row, w.now()))
		w.must(w.s.DeleteSchedule(w.ctx, ahead.Row, w.now()))
		wantKind(w.t, w.s.DeleteSchedule(w.ctx, r.Row, w.now()), task.NotFound, "schedule_not_found")
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), 0)
		want(w.t, "a run that waits goes on", w.row(f.Shots[0].TaskID).state, int64(task.Waiting))
		want(w.t, "the task of a slot to come", w.row(g.Shots[0].TaskID).reason, int64(task.BySchedule))
		w.finishRun(out, f.Shots[0].TaskID, task.Failed)
		runs, err := w.s.EndedRuns(w.ctx, 10)
		w.must(err)
		want(w.t, "ended", len(runs), 1)
		paused, err := w.s.Settle(w.ctx, r.ID, runs, 1)
		w.must(err)
		want(w.t, "paused", paused, false)
		runs, err = w.s.EndedRuns(w.ctx, 10)
		w.must(err)
		want(w.t, "left to settle", len(runs), 0)
		for range 20 {
			n, err := w.s.PurgeSlots(w.ctx, 0, 2)
			w.must(err)
			if n == 0 {
				break
			}
		}
		for _, table := range []string{"slots", "schedule_runs", "schedules_deleted", "schedules", "held_slots"} {
			want(w.t, table, w.count("SELECT COUNT(*) FROM "+table), 0)
		}
		want(w.t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 2)
	})
}

// A slot to come that was skipped stays: without its row it would be planned again.
func TestPurgeKeepsSkippedSlotsToCome(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("yearly", nil)
		to := w.now()/1000*1000 + 86_400_000
		w.must(w.s.Exec(w.ctx, fmt.Sprint("UPDATE schedules SET next_at=", to)))
		w.must2(w.s.SkipSlot(w.ctx, w.reread(r).Row, to, to+1000))
		w.must(w.s.Exec(w.ctx, "UPDATE slots SET fired_at=1000"))
		purge := func(before int64) int64 {
			n, err := w.s.PurgeSlots(w.ctx, before, 100)
			w.must(err)
			return int64(n)
		}
		want(w.t, "before its instant", purge(to), 0)
		want(w.t, "later", purge(to+1), 1)
	})
}

// Slots go 30 days after they were decided, whatever instant they stand for; what waits stays.
func TestPurgeSlots(t *testing.T) {
	eachWorld(t, func(w *world) {
		for i := range 3 {
			r := w.rule(fmt.Sprint(i), overlap(schedule.Queue))
			w.fire(w.next(r, 5))
			w.fire(w.shots(r, 50, 1000, 2000))
		}
		n, err := w.s.PurgeSlots(w.ctx, w.now()-1000, 100)
		w.must(err)
		want(w.t, "young", n, 0)
		w.must(w.s.Exec(w.ctx, "UPDATE slots SET fired_at=1000 WHERE origin=0"))
		w.must(w.s.Exec(w.ctx, "UPDATE slots SET outcome=1 WHERE origin=0 AND slot_at%2000=0 AND outcome=4"))
		left := w.count("SELECT COUNT(*) FROM slots WHERE origin<>0 OR outcome=4")
		total := 0
		for {
			n, err := w.s.PurgeSlots(w.ctx, 1001, 2)
			w.must(err)
			if total += n; n == 0 {
				break
			}
			want(w.t, "at most", n <= 2, true)
		}
		want(w.t, "left", w.count("SELECT COUNT(*) FROM slots"), left)
		want(w.t, "deleted", int64(total), 21-left)
	})
}
