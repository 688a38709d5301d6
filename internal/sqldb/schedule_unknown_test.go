package sqldb_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// Whether a lost COMMIT happened or not, everything about schedules is there once and the caller hears the truth.
func TestUnknownCommitsOfSchedules(t *testing.T) {
	for _, happen := range []bool{true, false} {
		for _, blackout := range []int32{0, 2} {
			t.Run(fmt.Sprintf("happened %v, %d look-ups fail", happen, blackout), func(t *testing.T) {
				w, f := newFaulty(t)
				lose := func() {
					f.lost.Store(0)
					f.happen.Store(happen)
					f.blackout.Store(blackout)
					f.losing.Store(1)
				}
				times := w.definition(overlap(schedule.CancelPrevious))
				idem := &task.Idempotency{Key: [32]byte{1}}
				row := w.newRow("r", times)
				lose()
				row, replayed, _, err := w.s.CreateSchedule(w.ctx, row, nil, idem)
				w.must(err)
				want(t, "replayed", replayed, false)
				r := &rule{row, times}
				lose()
				first, out := w.fireNext(r)
				w.outcome("fired", first, schedule.Fired)
				want(t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 1)
				c := w.claim(10, bellIDs(out.Bells)...)
				lose()
				second, out := w.fireNext(r)
				w.outcome("held", second, schedule.Held)
				want(t, "told", len(out.Cancels), 1)
				lose()
				skips := w.next(r, 1)
				skips.Shots[0].Outcome, skips.Shots[0].Sub = schedule.SkippedMisfire, nil
				w.fire(skips)
				want(t, "lost", skips.Lost, false)
				w.outcome("skipped", skips.Shots[0], schedule.SkippedMisfire)
				r.NextAt = skips.Next
				lose()
				empty := &schedule.Fire{ID: r.ID, Version: r.Version, From: r.NextAt, Next: r.NextAt + 1000}
				w.fire(empty)
				want(t, "lost", empty.Lost, false)
				r.NextAt += 1000
				lose()
				trigger := w.shots(r, schedule.Manual, w.now())
				w.fire(trigger)
				w.outcome("triggered", trigger.Shots[0], schedule.Held)
				want(t, "known", trigger.Shots[0].Known, false)
				w.endRun(c, first.TaskID, task.Cancelled)
				ended, err := w.s.EndedRuns(w.ctx, 10)
				w.must(err)
				lose()
				paused, err := w.s.Settle(w.ctx, r.ID, ended, 0)
				w.must(err)
				want(t, "paused", paused, false)
				lose()
				release := w.shots(r, schedule.Manual, trigger.Shots[0].At)
				out, err = w.s.ReleaseSlot(w.ctx, release)
				w.must(err)
				want(t, "lost", release.Lost, false)
				w.outcome("released", release.Shots[0], schedule.Fired)
				w.finishRun(out, release.Shots[0].TaskID, task.Succeeded)
				lose()
				got, err := w.s.SkipSlot(w.ctx, w.reread(r).Row, r.NextAt, r.NextAt+1000)
				w.must(err)
				want(t, "next", got.NextAt, w.reread(r).NextAt)
				after := got
				after.Name = "new"
				lose()
				ahead := w.shots(r, schedule.Planned, w.now()+60_000)
				got, out, err = w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), ahead)
				w.must(err)
				want(t, "version", got.Version, 2)
				want(t, "bells", len(out.Bells), 1)
				after.Pause, after.NextAt = schedule.PausedByUser, schedule.Never
				lose()
				got, _, err = w.s.ChangeSchedule(w.ctx, got, after, w.now(), nil)
				w.must(err)
				want(t, "version", w.reread(r).Version, 3)
				want(t, "the task of a slot to come", w.row(ahead.Shots[0].TaskID).reason, int64(task.BySchedule))
				lose()
				w.must(w.s.DeleteSchedule(w.ctx, got, w.now()))
				want(t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 3)
				want(t, "schedules", w.count("SELECT COUNT(*) FROM schedules"), 0)
				want(t, "lost answers", f.lost.Load(), 1)
			})
		}
	}
}

// A schedule that reaches its limit in a transaction whose outcome was unknown is told to be paused, once it is.
func TestUnknownSettleThatPauses(t *testing.T) {
	for _, happen := range []bool{true, false} {
		w, f := newFaulty(t)
		r := w.rule("r", func(d *schedule.Definition) { d.MaxFailures = 1 })
		shot, out := w.fireNext(r)
		w.finishRun(out, shot.TaskID, task.Failed)
		ended, err := w.s.EndedRuns(w.ctx, 10)
		w.must(err)
		f.happen.Store(happen)
		f.losing.Store(1)
		paused, err := w.s.Settle(w.ctx, r.ID, ended, 1)
		w.must(err)
		want(t, "paused", paused, true)
		want(t, "failures", w.reread(r).Failures, 1)
	}
}

// While it stays unknown, nothing is guessed; whoever reads again sees what is true.
func TestUnknownFireStaysUnknown(t *testing.T) {
	w, f := newFaulty(t)
	w.s.SetPatience(200 * time.Millisecond)
	r := w.rule("r", overlap(schedule.Queue))
	fire := w.next(r, 2)
	f.happen.Store(true)
	f.blackout.Store(-1)
	f.losing.Store(1)
	_, err := w.s.Fire(w.ctx, []*schedule.Fire{fire})
	f.blackout.Store(0)
	if !errors.Is(err, task.ErrOutcomeUnknown) {
		t.Fatalf("fire: %v", err)
	}
	want(t, "tasks", w.count("SELECT COUNT(*) FROM tasks"), 1)
	want(t, "next", w.reread(r).NextAt, fire.Next)
	again := w.next(r, 1)
	w.fire(again)
	w.outcome("the next one", again.Shots[0], schedule.Held)
}

// A change that is overtaken by another before its outcome can be looked up is told to be unknown, not guessed.
func TestUnknownChangeThatWasOvertaken(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	w, other := newWorld(t, sqldbtest.Open(t, url)), sqldbtest.Open(t, url)
	f := &commitFault{}
	sqldb.HookMySQL(t, w.s, url, f.hook)
	r := w.rule("r", nil)
	f.happen.Store(true)
	f.blackout.Store(-1)
	f.losing.Store(1)
	done := make(chan error, 1)
	after := r.Row
	after.Name = "mine"
	go func() {
		_, _, err := w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), nil)
		done <- err
	}()
	for mine := int64(0); mine == 0; time.Sleep(time.Millisecond) {
		w.must(other.DB().QueryRowContext(w.ctx, "SELECT COUNT(*) FROM schedules WHERE name='mine'").Scan(&mine))
	}
	w.must(other.Exec(w.ctx, "UPDATE schedules SET version=version+1,name='theirs'"))
	f.blackout.Store(0)
	if err := <-done; !errors.Is(err, task.ErrOutcomeUnknown) {
		t.Fatalf("change: %v", err)
	}
}
