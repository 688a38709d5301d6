package sqldb_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

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

// A slot that replaces more runs than one transaction should end leaves them to transactions of their own.
func TestCancelPreviousOfVeryManyRuns(t *testing.T) {
	eachWorld(t, func(w *world) {
		r, few := w.rule("many", overlap(schedule.CancelPrevious)), w.rule("few", overlap(schedule.CancelPrevious))
		const runs = 2_100
		for from := int64(0); from < runs; from += 300 {
			ats := make([]int64, 300)
			for i := range ats {
				ats[i] = 1 + from + int64(i)
			}
			f := w.shots(r, schedule.Manual, ats...)
			f.Overlap = schedule.Allow
			w.fire(f)
		}
		w.fireNext(few)
		both := []*schedule.Fire{w.next(r, 1), w.next(few, 1)}
		out := w.fire(both...)
		w.outcome("that replaces many", both[0].Shots[0], schedule.Held)
		w.outcome("that replaces one", both[1].Shots[0], schedule.Fired)
		open := func() int64 {
			return w.count("SELECT COUNT(*) FROM schedule_runs WHERE state=0 AND schedule_id=?", r.ID)
		}
		want(w.t, "ended with the slot", open(), runs)
		if len(out.Rest) != 1 || out.Rest[0] != (schedule.Rest{ScheduleID: r.ID, Version: r.Version}) {
			w.t.Fatalf("rest: %+v", out.Rest)
		}
		_, next, err := w.s.EndPrevious(w.ctx, schedule.Rest{ScheduleID: r.ID, Version: r.Version + 1}, 0)
		w.must(err)
		want(w.t, "goes on with another version", next, 0)
		want(w.t, "ended with another version", open(), runs)
		steps := 0
		for next := int64(0); ; steps++ {
			if _, next, err = w.s.EndPrevious(w.ctx, out.Rest[0], next); next == 0 {
				break
			}
			w.must(err)
		}
		w.must(err)
		want(w.t, "steps", steps, 2)
		want(w.t, "open", open(), 0)
		want(w.t, "cancelled", w.count("SELECT COUNT(*) FROM tasks WHERE state=6 AND reason=?", int64(task.BySchedule)), runs+1)
		some, err := w.s.Releasable(w.ctx, 10)
		w.must(err)
		if len(some) != 1 || some[0].ScheduleID != r.ID {
			w.t.Fatalf("releasable: %+v", some)
		}
		release := w.shots(r, schedule.Planned, some[0].At)
		w.must2(w.s.ReleaseSlot(w.ctx, release))
		w.outcome("released", release.Shots[0], schedule.Fired)
		w.must2(first2(w.s.EndPrevious(w.ctx, out.Rest[0], 0)))
		want(w.t, "open, when no slot waits any more", open(), 1)
	})
}

// One transaction releases slots of many schedules, each by the rules of its own.
func TestReleaseOfManySchedules(t *testing.T) {
	eachWorld(t, func(w *world) {
		var fires []*schedule.Fire
		for i := range 6 {
			r := w.rule(fmt.Sprint(i), overlap(schedule.Queue))
			f := w.next(r, 2)
			out := w.fire(f)
			r.NextAt = f.Next
			if i != 1 { // its run has not ended
				w.finishRun(out, f.Shots[0].TaskID, task.Succeeded)
			}
			one := w.shots(w.reread(r), schedule.Planned, f.Shots[1].At)
			switch i {
			case 2:
				one.Version++
			case 3:
				one.Shots[0].At++
			case 4:
				one.Shots[0].Outcome, one.Shots[0].Sub, one.Shots[0].Detail = schedule.FailedTemplate, nil, "no"
			}
			fires = append(fires, one)
		}
		slices.Reverse(fires)
		out, err := w.s.ReleaseSlot(w.ctx, fires...)
		w.must(err)
		slices.Reverse(fires)
		for i, one := range fires {
			want(w.t, fmt.Sprint(i, " lost"), one.Lost, i >= 1 && i <= 3)
		}
		w.outcome("released", fires[0].Shots[0], schedule.Fired)
		w.outcome("released without a task", fires[4].Shots[0], schedule.FailedTemplate)
		w.outcome("released too", fires[5].Shots[0], schedule.Fired)
		want(w.t, "held", w.count("SELECT COUNT(*) FROM held_slots"), 3)
		want(w.t, "open runs", w.count("SELECT COUNT(*) FROM schedule_runs WHERE state=0"), 3)
		w.finishRun(out, fires[5].Shots[0].TaskID, task.Succeeded)
		if _, err := w.s.ReleaseSlot(w.ctx, fires[0], fires[0]); err == nil {
			w.t.Error("two slots of one schedule were released together")
		}
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
				e.Flags, e.Outcome, e.To, e.RetryAt = task.TracksSchedule|task.HasCompletion, task.OutcomeFailed, task.Waiting, w.now()
				w.finish([]*task.Ending{e})
			},
		} {
			r := w.rule(fmt.Sprint(i), func(d *schedule.Definition) {
				d.Overlap, d.Task.Flags, d.Task.Head.CompletionURL = schedule.CancelPrevious, task.HasCompletion, "http://x.test"
			})
			first, out := w.fireNext(r)
			c := w.claim(10, bellIDs(out.Bells)...)
			w.fireNext(r)
			end(c)
			told := w.bodyOf(w.count("SELECT MAX(id) FROM tasks WHERE kind_id<>?", w.kinds[0]))
			if !strings.Contains(string(told.Payload), `"reason":"by_schedule"`) {
				w.t.Errorf("%d: its receiver is told %s", i, told.Payload)
			}
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
