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
		if due := w.row(c.Shots[0].TaskID).dueAt; due <= w.now() {
			w.t.Errorf("a task with jitter is due at %d", due)
		}
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

func TestOverlapSkip(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.Skip))
		first, out := w.fireNext(r)
		w.outcome("first", first, schedule.Fired)
		second, _ := w.fireNext(r)
		w.outcome("second, while the first waits", second, schedule.SkippedOverlap)
		trigger := w.shots(r, schedule.Manual, w.now())
		w.fire(trigger)
		want(w.t, "triggered", trigger.Shots[0].Outcome, schedule.SkippedOverlap)
		want(w.t, "a refused trigger left a row", w.slotRow(r.ID, schedule.Manual, trigger.Shots[0].At).Outcome, 0)
		open, err := w.s.OpenRuns(w.ctx, r.ID, 10)
		w.must(err)
		if len(open) != 1 || open[0] != first.TaskID {
			w.t.Errorf("open runs %v", open)
		}
		w.finishRun(out, first.TaskID, task.Succeeded)
		third, _ := w.fireNext(r)
		w.outcome("third, when the first has ended", third, schedule.Fired)
		f := w.next(r, 3)
		w.finishRun(schedule.Written{Bells: []task.Bell{{ID: w.row(third.TaskID).holder}}}, third.TaskID, task.Failed)
		w.fire(f)
		w.outcome("one of three at once", f.Shots[0], schedule.Fired)
		w.outcome("two of three at once", f.Shots[1], schedule.SkippedOverlap)
		w.outcome("three of three at once", f.Shots[2], schedule.SkippedOverlap)
	})
}

func TestOverlapQueue(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.Queue))
		f := w.next(r, 4)
		out := w.fire(f)
		r.NextAt = f.Next
		w.outcome("0", f.Shots[0], schedule.Fired)
		for i := 1; i < 4; i++ {
			w.outcome(fmt.Sprint(i), f.Shots[i], schedule.Held)
		}
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), 3)
		releasable := func() []schedule.Slot {
			w.t.Helper()
			some, err := w.s.Releasable(w.ctx, 10)
			w.must(err)
			return some
		}
		want(w.t, "releasable while one runs", len(releasable()), 0)
		early := w.shots(r, schedule.Planned, f.Shots[1].At)
		w.must2(w.s.ReleaseSlot(w.ctx, early))
		want(w.t, "released while one runs is lost", early.Lost, true)
		w.finishRun(out, f.Shots[0].TaskID, task.Failed)
		some := releasable()
		if len(some) != 1 || some[0].At != f.Shots[1].At || some[0].ScheduleID != r.ID || some[0].Origin != schedule.Planned {
			w.t.Fatalf("releasable: %+v", some)
		}
		wrong := w.shots(r, schedule.Planned, f.Shots[2].At)
		w.must2(w.s.ReleaseSlot(w.ctx, wrong))
		want(w.t, "not the oldest is lost", wrong.Lost, true)
		right := w.shots(r, schedule.Planned, f.Shots[1].At)
		out, err := w.s.ReleaseSlot(w.ctx, right)
		w.must(err)
		want(w.t, "the oldest is lost", right.Lost, false)
		w.outcome("released", right.Shots[0], schedule.Fired)
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), 2)
		want(w.t, "run", w.run(right.Shots[0].TaskID), [2]int64{0, 0})
		again := w.shots(r, schedule.Planned, f.Shots[1].At)
		w.must2(w.s.ReleaseSlot(w.ctx, again))
		want(w.t, "released twice is lost", again.Lost, true)
		w.finishRun(out, right.Shots[0].TaskID, task.Succeeded)
		next, _ := w.fireNext(r)
		w.outcome("a slot behind others that wait", next, schedule.Held)
		broken := w.shots(r, schedule.Planned, f.Shots[2].At)
		broken.Shots[0].Outcome, broken.Shots[0].Sub, broken.Shots[0].Detail = schedule.FailedTemplate, nil, "no"
		w.must2(w.s.ReleaseSlot(w.ctx, broken))
		w.outcome("released without a task", broken.Shots[0], schedule.FailedTemplate)
		before := r.Row
		r.Pause, r.NextAt = schedule.PausedByUser, schedule.Never
		w.must2(first2(w.s.ChangeSchedule(w.ctx, before, r.Row, w.now(), nil)))
		want(w.t, "releasable while paused", len(releasable()), 0)
		held, err := w.s.HasHeld(w.ctx)
		w.must(err)
		want(w.t, "held", held, true)
	})
}

// The oldest slot comes first, whatever its origin; and each of many schedules has its turn.
func TestReleasableOfManySchedules(t *testing.T) {
	eachWorld(t, func(w *world) {
		if held, err := w.s.HasHeld(w.ctx); err != nil || held {
			w.t.Fatalf("held: %v, %v", held, err)
		}
		for i := range 7 {
			r := w.rule(fmt.Sprint(i), overlap(schedule.Queue))
			busy := w.next(r, 4)
			w.fire(busy)
			back := w.shots(r, 77, busy.Shots[1].At, busy.Shots[0].At-1000*int64(i%2))
			w.fire(back)
			w.outcome("backfilled", back.Shots[0], schedule.Held)
			if i != 3 {
				w.must2(w.s.Cancel(w.ctx, 1, busy.Shots[0].TaskID))
			}
		}
		some, err := w.s.Releasable(w.ctx, 100)
		w.must(err)
		want(w.t, "releasable", len(some), 6)
		for i, one := range some {
			want(w.t, "origin", one.Origin, 77)
			if i > 0 && one.At < some[i-1].At {
				w.t.Errorf("not by time: %+v", some)
			}
		}
		some, err = w.s.Releasable(w.ctx, 2)
		w.must(err)
		want(w.t, "two of them", len(some), 2)
	})
}

func TestOverlapCancelPrevious(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.CancelPrevious))
		first, _ := w.fireNext(r)
		second, out := w.fireNext(r)
		w.outcome("second, while the first waits", second, schedule.Fired)
		if row := w.row(first.TaskID); row.state != int64(task.Cancelled) || row.reason != int64(task.BySchedule) {
			w.t.Errorf("first: %+v", row)
		}
		want(w.t, "run of the first", w.run(first.TaskID), [2]int64{1, int64(task.Cancelled)})
		want(w.t, "told", len(out.Cancels), 0)
		want(w.t, "filed", w.count("SELECT COUNT(*) FROM ends WHERE id=?", first.TaskID), 1)
		c := w.claim(10, bellIDs(out.Bells)...)
		third, out := w.fireNext(r)
		w.outcome("third, while the second runs", third, schedule.Held)
		if len(out.Cancels) != 1 || out.Cancels[0] != (schedule.Cancel{TaskID: second.TaskID, WorkerID: w.worker, Epoch: 1}) {
			w.t.Errorf("told: %+v", out.Cancels)
		}
		trigger := w.shots(r, schedule.Manual, w.now())
		w.fire(trigger)
		w.outcome("triggered", trigger.Shots[0], schedule.Held)
		want(w.t, "third, when another takes its place", w.slotRow(r.ID, 0, third.At).Outcome, schedule.SkippedOverlap)
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), 1)
		back := w.shots(r, 99, 1000, 2000)
		w.fire(back)
		w.outcome("backfilled", back.Shots[0], schedule.Held)
		fourth, _ := w.fireNext(r)
		w.outcome("fourth", fourth, schedule.Held)
		want(w.t, "triggered", w.slotRow(r.ID, schedule.Manual, trigger.Shots[0].At).Outcome, schedule.SkippedOverlap)
		want(w.t, "backfilled", w.slotRow(r.ID, 99, 1000).Outcome, schedule.Held)
		w.endRun(c, second.TaskID, task.Cancelled)
		want(w.t, "reason of the one that ran", w.row(second.TaskID).reason, int64(task.BySchedule))
		for i, at := range []int64{1000, 2000, fourth.At} {
			origin := int64(99)
			if i == 2 {
				origin = 0
			}
			f := w.shots(r, origin, at)
			out, err := w.s.ReleaseSlot(w.ctx, f)
			w.must(err)
			want(w.t, "lost", f.Lost, false)
			w.finishRun(out, f.Shots[0].TaskID, task.Succeeded)
		}
		all := w.next(r, 3)
		w.fire(all)
		w.outcome("first of three at once", all.Shots[0], schedule.SkippedOverlap)
		w.outcome("last of three at once", all.Shots[2], schedule.Fired)
		want(w.t, "runs", w.count("SELECT COUNT(*) FROM schedule_runs WHERE state=0"), 1)
	})
}

// A run that was asked to end for its schedule and then lost its worker, or failed, ends for that reason too.
func TestReasonOfARunThatItsScheduleEnds(t *testing.T) {
	eachWorld(t, func(w *world) {
		for i, end := range []func(c task.Claimed){
			func(c task.Claimed) { w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost)) },
			func(c task.Claimed) {
				e := w.ending(c, 0)
				e.Flags, e.Outcome, e.To, e.RetryAt = task.TracksSchedule, task.OutcomeFailed, task.Waiting, w.now()
				w.finish([]*task.Ending{e})
			},
		} {
			r := w.rule(fmt.Sprint(i), overlap(schedule.CancelPrevious))
			first, out := w.fireNext(r)
			c := w.claim(10, bellIDs(out.Bells)...)
			w.fireNext(r)
			end(c)
			if row := w.row(first.TaskID); row.state != int64(task.Cancelled) || row.reason != int64(task.BySchedule) {
				w.t.Errorf("%d: %+v", i, row)
			}
			want(w.t, "run", w.run(first.TaskID), [2]int64{1, int64(task.Cancelled)})
		}
		id, bells := w.submit(1, nil)
		c := w.claim(1, bellIDs(bells)...)
		w.must2(w.s.Cancel(w.ctx, 1, id[0]))
		e := w.ending(c, 0)
		e.Outcome, e.To, e.Reason = task.OutcomeCancelled, task.Cancelled, task.ByUser
		w.finish([]*task.Ending{e})
		want(w.t, "reason of what a person cancelled", w.row(id[0]).reason, int64(task.ByUser))
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

// More slots may not wait than schedule.MaxHeld.
func TestHeldSlotsAreBounded(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.Queue))
		w.fireNext(r)
		for range 3 {
			f := w.next(r, 334)
			w.fire(f)
			r.NextAt = f.Next
		}
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), schedule.MaxHeld)
		want(w.t, "skipped", w.count("SELECT COUNT(*) FROM slots WHERE outcome=2"), 2)
	})
}
