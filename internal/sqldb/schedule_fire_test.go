package sqldb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// A slot, its task and the schedule's next slot are one transaction, for schedules of several apps at once.
func TestFireWritesSlotsAndTasks(t *testing.T) {
	eachWorld(t, func(w *world) {
		plain, queued := w.rule("plain", nil), w.rule("queued", overlap(schedule.Queue))
		labelled := w.rule("labelled", func(d *schedule.Definition) {
			d.JitterMs, d.Task.Head.Labels, d.Task.Flags = 3_600_000, map[string]string{"a": "b"}, task.HasLabels
		})
		a, b, c := w.next(plain, 3), w.next(queued, 1), w.next(labelled, 1)
		a.Shots[1].Outcome, a.Shots[1].Sub = schedule.SkippedMisfire, nil
		a.Shots[2].Outcome, a.Shots[2].Sub, a.Shots[2].Detail = schedule.FailedTemplate, nil, strings.Repeat("é\\' ; ", 60)
		out := w.fire(c, a, b)
		for _, f := range []*schedule.Fire{a, b, c} {
			want(w.t, "lost", f.Lost, false)
			want(w.t, "next", w.count("SELECT next_at FROM schedules WHERE id=?", f.ID), f.Next)
		}
		w.outcome("plain", a.Shots[0], schedule.Fired)
		w.outcome("missed", a.Shots[1], schedule.SkippedMisfire)
		w.outcome("failed", a.Shots[2], schedule.FailedTemplate)
		if d := a.Shots[2].Detail; len(d) > 255 || len(d) < 250 || !strings.HasPrefix(strings.Repeat("é\\' ; ", 60), d) {
			w.t.Errorf("detail %q", d)
		}
		w.outcome("queued", b.Shots[0], schedule.Fired)
		w.outcome("labelled", c.Shots[0], schedule.Fired)
		want(w.t, "run of a schedule that does not ask for it", w.run(a.Shots[0].TaskID), [2]int64{-1, -1})
		want(w.t, "run", w.run(b.Shots[0].TaskID), [2]int64{0, 0})
		want(w.t, "submitted", w.count("SELECT SUM(submitted) FROM stats"), 3)
		rung := map[int64]bool{}
		for _, bell := range out.Bells {
			for _, id := range bell.TaskIDs {
				rung[id] = true
			}
		}
		for _, shot := range []schedule.Shot{a.Shots[0], b.Shots[0], c.Shots[0]} {
			if !rung[shot.TaskID] {
				w.t.Errorf("task %d is in no bell", shot.TaskID)
			}
			views, err := w.s.Views(w.ctx, 1, []int64{shot.TaskID})
			w.must(err)
			if h := views[0].Body.Head; h.ScheduleID != shot.ScheduleID || h.SlotAt != shot.At || h.SlotOrigin != shot.Origin {
				w.t.Errorf("head %+v", h)
			}
		}
		want(w.t, "due with jitter", w.row(c.Shots[0].TaskID).dueAt, c.Shots[0].At+schedule.Jitter(c.ID, c.Shots[0].At, 3_600_000))
		want(w.t, "labels", w.count("SELECT COUNT(*) FROM task_labels WHERE id=?", c.Shots[0].TaskID), 1)
	})
}

// Somebody else was first, or the schedule was changed: nothing of that schedule is written, everything of the others is.
func TestFireThatIsLost(t *testing.T) {
	eachWorld(t, func(w *world) {
		good, version, moved, paused, gone := w.rule("good", nil), w.rule("version", nil), w.rule("moved", nil), w.rule("paused", nil), w.rule("gone", nil)
		fires := []*schedule.Fire{w.next(good, 1), w.next(version, 1), w.next(moved, 1), w.next(paused, 1), w.next(gone, 1)}
		w.fireNext(moved)
		before := paused.Row
		paused.Pause, paused.NextAt = schedule.PausedByUser, schedule.Never
		w.must2(first2(w.s.ChangeSchedule(w.ctx, before, paused.Row, w.now(), nil)))
		before = version.Row
		w.must2(first2(w.s.ChangeSchedule(w.ctx, before, version.Row, w.now(), nil)))
		w.must(w.s.DeleteSchedule(w.ctx, gone.Row, w.now()))
		fires[3].Version++ // the version is right, the pause is what counts
		slots, tasks := w.count("SELECT COUNT(*) FROM slots"), w.count("SELECT COUNT(*) FROM tasks")
		out := w.fire(fires...)
		for i, f := range fires {
			want(w.t, fmt.Sprint("lost ", i), f.Lost, i > 0)
		}
		want(w.t, "bells", len(out.Bells), 1)
		want(w.t, "slots", w.count("SELECT COUNT(*) FROM slots"), slots+1)
		want(w.t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), tasks+1)
		w.reread(paused)
		keep := w.shots(paused, schedule.Manual, w.now())
		w.fire(keep)
		want(w.t, "a trigger of a paused schedule is lost", keep.Lost, false)
		w.outcome("triggered", keep.Shots[0], schedule.Fired)
		want(w.t, "next slot of a paused schedule", w.reread(paused).NextAt, schedule.Never)
		keep = w.shots(paused, schedule.Manual, w.now()+1)
		keep.Version--
		w.fire(keep)
		want(w.t, "a trigger of another version is lost", keep.Lost, true)
	})
}

// A slot that has a row is left as it is and makes no second task.
func TestFireOfKnownSlots(t *testing.T) {
	eachWorld(t, func(w *world) {
		for _, o := range []schedule.Overlap{schedule.Allow, schedule.CancelPrevious} {
			r := w.rule(fmt.Sprint("r", o), overlap(o))
			first, _ := w.fireNext(r)
			back := w.next(r, 2)
			back.Shots[0] = w.shots(r, schedule.Planned, first.At).Shots[0] // again
			w.fire(back)
			known := back.Shots[0]
			if !known.Known || known.Outcome != schedule.Fired || known.TaskID != first.TaskID || known.TaskID == known.Sub.ID {
				w.t.Errorf("known: %+v", known)
			}
			want(w.t, "task of a known slot", w.count("SELECT COUNT(*) FROM tasks WHERE id=?", known.Sub.ID), 0)
			want(w.t, "the other is known", back.Shots[1].Known, false)
			w.outcome("the other", back.Shots[1], schedule.Fired)
			want(w.t, "the known one's task", w.row(first.TaskID).state == int64(task.Cancelled), o == schedule.CancelPrevious)
			twice := w.shots(r, schedule.Manual, 5, 5)
			w.fire(twice)
			want(w.t, "the first of two in one millisecond", twice.Shots[0].Known, false)
			want(w.t, "the second", twice.Shots[1].Known, true)
			want(w.t, "its task", twice.Shots[1].TaskID, twice.Shots[0].Sub.ID)
		}
	})
}

// Two fires of one schedule in one call go one behind the other.
func TestFiresOfOneScheduleFollowEachOther(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", nil)
		a := w.next(r, 2)
		after := *r
		after.NextAt = a.Next
		b := w.next(&after, 2)
		w.fire(a, b)
		want(w.t, "lost", a.Lost || b.Lost, false)
		want(w.t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 4)
		want(w.t, "next", w.reread(r).NextAt, b.Next)
	})
}

// A unique key that is taken makes no task: the slot says why.
func TestSlotsWhoseUniqueKeyIsTaken(t *testing.T) {
	eachWorld(t, func(w *world) {
		keyed := func(o schedule.Overlap, c task.UniqueConflict) func(*schedule.Definition) {
			return func(d *schedule.Definition) {
				d.Overlap, d.Task.OnConflict, d.Task.Flags = o, c, task.HasUnique
				d.Task.Head.UniqueKey, d.Task.Head.UniqueScope = "k", task.ScopeUntilFinished
			}
		}
		holder := w.rule("holder", keyed(schedule.Queue, 0))
		first, _ := w.fireNext(holder)
		reject, keep := w.rule("reject", keyed(schedule.Queue, task.OnConflictReject)), w.rule("keep", keyed(schedule.Allow, task.OnConflictKeep))
		a, b := w.next(reject, 2), w.next(keep, 1)
		w.fire(a, b)
		w.outcome("reject", a.Shots[0], schedule.FailedTemplate)
		want(w.t, "why", a.Shots[0].Detail, fmt.Sprint("uniqueKey is taken by task ", first.TaskID))
		w.outcome("behind it", a.Shots[1], schedule.Held)
		w.outcome("keep", b.Shots[0], schedule.SkippedOverlap)
		want(w.t, "kept", b.Shots[0].TaskID, first.TaskID)
		want(w.t, "runs", w.count("SELECT COUNT(*) FROM schedule_runs"), 1)
		manual := w.shots(keep, schedule.Manual, w.now())
		w.fire(manual)
		w.outcome("a trigger that keeps", manual.Shots[0], schedule.SkippedOverlap)
		replace := w.rule("replace", keyed(schedule.Skip, task.OnConflictReplace))
		c, out := w.fireNext(replace)
		w.outcome("replace", c, schedule.Fired)
		want(w.t, "replaced", w.row(first.TaskID).reason, int64(task.Replaced))
		want(w.t, "run of the replaced one", w.run(first.TaskID), [2]int64{1, int64(task.Cancelled)})
		f := w.shots(reject, schedule.Planned, a.Shots[1].At)
		w.must2(w.s.ReleaseSlot(w.ctx, f))
		w.outcome("released", f.Shots[0], schedule.FailedTemplate)
		w.finishRun(out, c.TaskID, task.Succeeded)
		same := w.rule("same", keyed(schedule.CancelPrevious, task.OnConflictReject))
		w.fireNext(same)
		second, _ := w.fireNext(same)
		w.outcome("the key of the run whose place it takes is free", second, schedule.Fired)
	})
}
