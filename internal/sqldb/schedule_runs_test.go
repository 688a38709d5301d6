package sqldb_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// Whichever way a task of a schedule ends, its run ends with it; a re-opened one is open again; purging takes it along.
func TestRunsEndWithTheirTasks(t *testing.T) {
	eachWorld(t, func(w *world) {
		n := 0
		start := func() (int64, task.Claimed) {
			w.t.Helper()
			n++
			r := w.rule(fmt.Sprint("r", n), overlap(schedule.Queue))
			shot, out := w.fireNext(r)
			return shot.TaskID, w.claim(10, bellIDs(out.Bells)...)
		}
		var ended []int64
		for _, to := range []task.State{task.Succeeded, task.Failed, task.Cancelled} {
			id, c := start()
			w.endRun(c, id, to)
			want(w.t, to.Shown(0, 0), w.run(id), [2]int64{1, int64(to)})
			ended = append(ended, id)
		}
		id, c := start()
		e := w.ending(c, 0)
		e.Flags, e.Outcome, e.To, e.RetryAt = task.TracksSchedule, task.OutcomeFailed, task.Waiting, w.now()
		w.finish([]*task.Ending{e})
		want(w.t, "retried", w.run(id), [2]int64{0, 0})
		w.must2(w.s.Cancel(w.ctx, 1, id))
		want(w.t, "cancelled by a person", w.run(id), [2]int64{1, int64(task.Cancelled)})

		id, c = start()
		w.must2(w.s.Cancel(w.ctx, 1, id))
		want(w.t, "asked to end", w.run(id), [2]int64{0, 0})
		w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost))
		want(w.t, "lost", w.run(id), [2]int64{1, int64(task.Cancelled)})

		id, _ = start()
		w.must(w.s.MarkZombie(w.ctx, w.worker, id, 1, true))
		w.must2(w.s.Cancel(w.ctx, 1, id))
		w.must2(w.s.Abandon(w.ctx, 1, id))
		want(w.t, "abandoned", w.run(id), [2]int64{1, int64(task.Cancelled)})

		r := w.rule("expiring", overlap(schedule.Queue))
		f := w.next(r, 1)
		f.Shots[0].Sub.ExpiresAt = w.now() + 30
		w.fire(f)
		for w.count("SELECT state FROM tasks WHERE id=?", f.Shots[0].TaskID) == int64(task.Waiting) {
			_, _, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
			w.must(err)
			time.Sleep(2 * time.Millisecond)
		}
		want(w.t, "expired", w.run(f.Shots[0].TaskID), [2]int64{1, int64(task.Failed)})

		id, c = start()
		await := w.ending(c, 0)
		await.Flags, await.Outcome, await.To, await.Await, await.RetryAt = task.TracksSchedule, task.OutcomeNone, task.Waiting, true, w.now()+60_000
		w.finish([]*task.Ending{await})
		want(w.t, "awaits its completion", w.run(id), [2]int64{0, 0})
		_, err := w.s.Complete(w.ctx, 1, task.Completion{TaskID: id, Epoch: 1, Outcome: task.OutcomeSucceeded})
		w.must(err)
		want(w.t, "completed", w.run(id), [2]int64{1, int64(task.Succeeded)})

		w.must2(w.s.Reopen(w.ctx, 1, ended[1], false))
		want(w.t, "re-opened", w.run(ended[1]), [2]int64{0, 0})
		plain, bells := w.submit(1, nil)
		pc := w.claim(1, bellIDs(bells)...)
		w.finish([]*task.Ending{w.ending(pc, 0)})
		want(w.t, "of no schedule", w.run(plain[0]), [2]int64{-1, -1})
		late := w.now() + 60_000
		for from := int64(1); from != 0; {
			rep, err := w.s.Purge(w.ctx, task.PurgeRequest{FromID: from, SucceededBefore: late, OthersBefore: late, Limit: 100})
			w.must(err)
			from = rep.NextID
		}
		want(w.t, "runs of purged tasks", w.count("SELECT COUNT(*) FROM schedule_runs"), 1)
		want(w.t, "left", w.run(ended[1]), [2]int64{0, 0})
	})
}

// What a worker runs and what awaits a call from outside is ended by the run that takes its place.
func TestCancelPreviousEndsWhatAwaitsItsCompletion(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", overlap(schedule.CancelPrevious))
		first, out := w.fireNext(r)
		c := w.claim(10, bellIDs(out.Bells)...)
		e := w.ending(c, 0)
		e.Flags, e.Outcome, e.To, e.Await, e.RetryAt = task.TracksSchedule, task.OutcomeNone, task.Waiting, true, w.now()+60_000
		w.finish([]*task.Ending{e})
		second, out := w.fireNext(r)
		w.outcome("second", second, schedule.Fired)
		want(w.t, "told", len(out.Cancels), 0)
		want(w.t, "first", w.row(first.TaskID).state, int64(task.Cancelled))
		want(w.t, "run of the first", w.run(first.TaskID), [2]int64{1, int64(task.Cancelled)})
	})
}

func TestSettle(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", func(d *schedule.Definition) { d.MaxFailures = 3 })
		var runs []schedule.Run
		run := func(to task.State) {
			w.t.Helper()
			shot, out := w.fireNext(r)
			w.finishRun(out, shot.TaskID, to)
			ended, err := w.s.EndedRuns(w.ctx, 100)
			w.must(err)
			if len(ended) != 1 || ended[0] != (schedule.Run{TaskID: shot.TaskID, ScheduleID: r.ID, State: to}) {
				w.t.Fatalf("ended: %+v", ended)
			}
			runs = append(runs, ended...)
		}
		settle := func(what string, failures int, stop bool) {
			w.t.Helper()
			paused, err := w.s.Settle(w.ctx, r.ID, runs, 3)
			w.must(err)
			want(w.t, what+": paused", paused, stop)
			want(w.t, what+": failures", w.reread(r).Failures, failures)
		}
		for i, x := range []struct {
			to       task.State
			failures int
		}{{task.Failed, 1}, {task.Failed, 2}, {task.Cancelled, 2}, {task.Succeeded, 0}, {task.Failed, 1}, {task.Failed, 2}} {
			run(x.to)
			settle(fmt.Sprint(i), x.failures, false)
			settle(fmt.Sprint(i, " again"), x.failures, false)
			want(w.t, "state", w.run(runs[i].TaskID)[0], 2)
		}
		bell, err := w.s.Reopen(w.ctx, 1, runs[5].TaskID, false)
		w.must(err)
		settle("re-opened", 2, false)
		ahead := w.shots(r, schedule.Planned, w.now()+60_000)
		w.fire(ahead)
		w.reread(r)
		wrong, err := w.s.Settle(w.ctx, r.ID+1000, runs, 1)
		w.must(err)
		want(w.t, "of another schedule", wrong, false)
		w.finishRun(schedule.Written{Bells: []task.Bell{bell}}, runs[5].TaskID, task.Failed)
		settle("the third failure", 3, true)
		if r.Pause != schedule.PausedFailures || r.NextAt != schedule.Never || r.Version != 1 {
			w.t.Errorf("%+v", r.Row)
		}
		want(w.t, "the task of a slot to come", w.row(ahead.Shots[0].TaskID).reason, int64(task.BySchedule))
		want(w.t, "its slot", w.slotRow(r.ID, 0, ahead.Shots[0].At).Outcome, 0)
		ended, err := w.s.EndedRuns(w.ctx, 100)
		w.must(err)
		paused, err := w.s.Settle(w.ctx, r.ID, ended, 3)
		w.must(err)
		want(w.t, "the cancelled one pauses again", paused, false)
		want(w.t, "failures", w.reread(r).Failures, 3)
		byHand := w.rule("by hand", func(d *schedule.Definition) { d.MaxFailures = 1 })
		shot, out := w.fireNext(byHand)
		before := byHand.Row
		byHand.Pause, byHand.NextAt = schedule.PausedByUser, schedule.Never
		w.must2(first2(w.s.ChangeSchedule(w.ctx, before, byHand.Row, w.now(), nil)))
		w.finishRun(out, shot.TaskID, task.Failed)
		ended, err = w.s.EndedRuns(w.ctx, 100)
		w.must(err)
		paused, err = w.s.Settle(w.ctx, byHand.ID, ended, 1)
		w.must(err)
		want(w.t, "paused what a person paused", paused, false)
		want(w.t, "who paused it", w.reread(byHand).Pause, schedule.PausedByUser)
	})
}

// Runs that change no schedule are settled together; the others are left to be counted, all of their schedule's.
func TestSettleQuiet(t *testing.T) {
	eachWorld(t, func(w *world) {
		limit := func(d *schedule.Definition) { d.MaxFailures = 3 }
		well, cancelled, failing, recovering, gone := w.rule("a", limit), w.rule("b", limit), w.rule("c", limit), w.rule("d", limit), w.rule("e", limit)
		run := func(r *rule, to task.State) int64 {
			shot, out := w.fireNext(r)
			w.finishRun(out, shot.TaskID, to)
			return shot.TaskID
		}
		w.must(w.s.Exec(w.ctx, fmt.Sprint("UPDATE schedules SET failures=1 WHERE id=", recovering.ID)))
		quiet := []int64{run(well, task.Succeeded), run(well, task.Succeeded), run(cancelled, task.Cancelled), run(gone, task.Failed)}
		loud := []int64{run(failing, task.Succeeded), run(failing, task.Failed), run(recovering, task.Succeeded), run(recovering, task.Cancelled)}
		w.must(w.s.DeleteSchedule(w.ctx, w.reread(gone).Row, w.now()))
		ended, err := w.s.EndedRuns(w.ctx, 100)
		w.must(err)
		bell, err := w.s.Reopen(w.ctx, 1, quiet[1], true)
		w.must(err)
		for range 2 {
			left, err := w.s.SettleQuiet(w.ctx, ended)
			w.must(err)
			var got []int64
			for _, r := range left {
				got = append(got, r.TaskID)
			}
			slices.Sort(got)
			if !slices.Equal(got, loud) {
				w.t.Errorf("left %v, want %v", got, loud)
			}
		}
		for i, id := range quiet {
			state := int64(2)
			if i == 1 { // re-opened since it was read
				state = 0
			}
			want(w.t, fmt.Sprint("state of quiet ", i), w.run(id)[0], state)
		}
		for i, id := range loud {
			want(w.t, fmt.Sprint("state of loud ", i), w.run(id)[0], 1)
		}
		want(w.t, "failures", w.reread(recovering).Failures, 1)
		w.finishRun(schedule.Written{Bells: []task.Bell{bell}}, quiet[1], task.Failed)
		left, err := w.s.SettleQuiet(w.ctx, []schedule.Run{{TaskID: quiet[1], ScheduleID: well.ID}})
		w.must(err)
		want(w.t, "left of a run that failed the second time", len(left), 1)
	})
}

// More runs than one statement takes.
func TestSettleOfManyRuns(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", func(d *schedule.Definition) { d.MaxFailures = 1000 })
		for range 3 {
			f := w.next(r, 400)
			for i := range f.Shots { // all in the past
				f.Shots[i].Sub.DueAt = 1
			}
			out := w.fire(f)
			r.NextAt = f.Next
			c := w.claim(500, bellIDs(out.Bells)...)
			var ends []*task.Ending
			for i := range c.Tasks {
				e := w.ending(c, i)
				e.Flags, e.Outcome, e.To, e.Reason = task.TracksSchedule, task.OutcomeFailed, task.Failed, task.Exhausted
				ends = append(ends, e)
			}
			w.finish(ends, c.ClaimID)
		}
		ended, err := w.s.EndedRuns(w.ctx, 5000)
		w.must(err)
		want(w.t, "ended", len(ended), 1200)
		paused, err := w.s.Settle(w.ctx, r.ID, append(ended, ended[:10]...), 1000)
		w.must(err)
		want(w.t, "paused", paused, true)
		want(w.t, "failures", w.reread(r).Failures, 1200)
	})
}
