package scheduler

import (
	"context"
	"errors"

	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func overlap(o schedule.Overlap) func(*schedule.Definition) {
	return func(d *schedule.Definition) { d.Overlap = o }
}

// outcomes counts rows by outcome, a range as what it stands for.
func outcomes(rows []schedule.Slot) map[schedule.Outcome]int64 {
	out := map[schedule.Outcome]int64{}
	for _, s := range rows {
		out[s.Outcome] += max(1, s.Count)
	}
	return out
}

// The clock jumps an hour forward and an hour back, several times: each slot has one row and at most one task. What a jump
// passes over was missed, and the misfire policy decides about it.
func TestClockJumpsDoubleAndLoseNothing(t *testing.T) {
	testkit.Says(t, "When the clock jumps by an hour, forward or back, each slot still has one line and at most one task; what a jump forward passes over was missed.")
	clock := &jumpClock{}
	inFleet(t, clock, func(t *testing.T, fl *fleet) {
		begin := clock.Now()
		var ids []int64
		for i := range 40 {
			ids = append(ids, fl.h.add(t, everyMs(int64(1000+i*700), overlap(schedule.Overlap(i%4)), func(d *schedule.Definition) {
				d.Misfire, d.MaxAgeMs = schedule.Misfire(i%3), 7_200_000
			})).ID)
		}
		fl.start()
		fl.start()
		ends := func() {
			for _, id := range ids {
				fl.h.end(id, task.Succeeded)
			}
		}
		for _, jump := range []time.Duration{time.Hour, -time.Hour, -time.Hour, time.Hour, time.Hour} {
			for range 20 {
				time.Sleep(time.Second)
				ends()
			}
			clock.jump(jump)
		}
		for range 200 {
			time.Sleep(time.Second)
			ends()
		}
		until := clock.Now() - 5000
		for i, id := range ids {
			got := outcomes(fl.h.audit(t, id, begin, until))
			if schedule.Misfire(i%3) == schedule.MisfireAll && got[schedule.SkippedMisfire] > 0 {
				t.Errorf("schedule %d skipped slots that its policy runs: %v", id, got)
			}
			if i%3 != int(schedule.MisfireAll) && got[schedule.SkippedMisfire] == 0 {
				t.Errorf("schedule %d missed nothing in an hour: %v", id, got)
			}
		}
	})
}

// No scheduler ran for 48 hours: the misfire policy decides about each slot.
func TestTwoDaysOfDowntime(t *testing.T) {
	const hour = int64(3_600_000)
	for _, c := range []struct {
		name          string
		misfire       schedule.Misfire
		maxAge, every int64
		fired         int64 // of the missed ones
	}{
		{"skip", schedule.MisfireSkip, hour, hour, 0},
		{"once", schedule.MisfireOnce, 2 * hour, hour, 1},
		{"once, all too old", schedule.MisfireOnce, hour / 4, hour, 0},
		{"all", schedule.MisfireAll, 100 * hour, hour, 48},
		{"all of the last six hours", schedule.MisfireAll, 6 * hour, hour, 6},
		{"once, each second", schedule.MisfireOnce, hour, 1000, 1},
		{"skip, each second", schedule.MisfireSkip, hour, 1000, 0},
		{"all of the last hour, each second", schedule.MisfireAll, hour, 1000, 3600},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := &jumpClock{}
			inFleet(t, clock, func(t *testing.T, fl *fleet) {
				clock.jump(hour31())
				begin := clock.Now()
				r := fl.h.add(t, everyMs(c.every, func(d *schedule.Definition) { d.Misfire, d.MaxAgeMs = c.misfire, c.maxAge }))
				punctual := fl.h.add(t, everyMs(48*hour+1000*(begin/1000%2+1)))
				clock.jump(48 * time.Hour)
				fl.start()
				time.Sleep(30 * time.Second)
				now := clock.Now()
				rows := fl.h.audit(t, r.ID, begin, now)
				missed := slices.DeleteFunc(slices.Clone(rows), func(s schedule.Slot) bool { return s.At >= begin+48*hour-schedule.GraceMs })
				got := outcomes(missed)
				total := (48*hour - schedule.GraceMs) / c.every
				if got[schedule.Fired] < c.fired-10 || got[schedule.Fired] > c.fired || (c.fired < 2 && c.every == hour && got[schedule.Fired] != c.fired) ||
					got[schedule.Fired]+got[schedule.SkippedMisfire] < total-1 {
					t.Errorf("%v of about %d missed slots, want %d fired", got, total, c.fired)
				}
				if len(missed) > 3601+schedule.RangeOver {
					t.Errorf("%d rows", len(missed))
				}
				if got := fl.h.row(punctual.ID); got.NextAt <= now {
					t.Errorf("the other schedule stands at %d", got.NextAt)
				}
			})
		})
	}
}

// hour31 moves the start of a test off the full hour, so that slots do not fall on the moment of the restart.
func hour31() time.Duration { return 31 * time.Minute }

// Schedules are edited at random moments while two schedulers fire them: nobody's slot is missing or doubled, by the old
// definition up to the edit and by the new one after it.
func TestEditsRaceFires(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		rnd := rand.New(rand.NewPCG(3, 3))
		fl.start()
		fl.start()
		type span struct {
			from, until int64
			row         schedule.Row
		}
		spans := map[int64][]span{}
		var ids []int64
		for i := range 20 {
			r := fl.h.add(t, everyMs(1000, overlap(schedule.Overlap(i%2*3))))
			ids = append(ids, r.ID)
			spans[r.ID] = []span{{from: time.Now().UnixMilli(), row: r}}
		}
		for range 600 {
			time.Sleep(time.Duration(rnd.IntN(300)) * time.Millisecond)
			id := ids[rnd.IntN(len(ids))]
			fl.h.end(id, task.Succeeded)
			now := fl.h.owe(t, id)
			fl.h.edit(id, func(r *schedule.Row) {
				d := everyMs(int64(1000+rnd.IntN(1500)), overlap(schedule.Overlap(rnd.IntN(2)*3)))
				r.Definition = encoded(t, d)
				r.NextAt = tableOf(t, *r).Next(now)
			})
			s := spans[id]
			s[len(s)-1].until = now
			spans[id] = append(s, span{from: now, row: fl.h.row(id)})
		}
		time.Sleep(10 * time.Second)
		end := time.Now().UnixMilli() - 3000
		for _, id := range ids {
			rows := fl.h.slotsOf(id)
			for _, s := range spans[id] {
				if s.until == 0 {
					s.until = end
				}
				for at := tableOf(t, s.row).Next(s.from); at <= s.until; at = tableOf(t, s.row).Next(at) {
					if len(rows) == 0 || rows[0].At != at {
						t.Fatalf("schedule %d: slot %d is missing", id, at)
					}
					rows = rows[1:]
				}
			}
			if len(rows) > 0 && rows[0].At <= end {
				t.Fatalf("schedule %d: slot %d should not be there", id, rows[0].At)
			}
		}
		if late := fl.h.lateFired(); late > 2*time.Second {
			t.Errorf("%v late", late)
		}
	})
}

// owe fires what a schedule owes up to now, as control does before it changes one, and gives that now.
func (h *shelf) owe(t *testing.T, id int64) int64 {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	now, r := h.clock.Now(), h.rows[id]
	table := tableOf(t, r)
	p := table.Plan(r.NextAt, now, 1000)
	var w schedule.Written
	f := &schedule.Fire{ID: id, Overlap: table.Overlap, Tracked: table.Tracked()}
	for _, s := range p.Slots {
		h.nextID++
		shot := table.Shot(&r, s, h.nextID)
		h.shoot(f, &shot, &w)
	}
	r.NextAt = p.Next
	h.rows[id] = r
	return now
}

// A scheduler is killed: another one fires its slots within 5 s, whether it was there before or is started then.
func TestTakeover(t *testing.T) {
	testkit.Says(t, "The slots of a killed scheduler are fired by any other one, at most 5 s late.")
	for _, fresh := range []bool{false, true} {
		inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
			begin := time.Now().UnixMilli()
			var ids []int64
			for i := range 40 {
				ids = append(ids, fl.h.add(t, everyMs(1000, overlap(schedule.Overlap(i%2*3)))).ID)
			}
			fl.start()
			if !fresh {
				fl.start()
			}
			time.Sleep(20 * time.Second)
			fl.kill(0)
			if fresh {
				fl.start()
			}
			time.Sleep(20 * time.Second)
			for _, id := range ids {
				fl.h.end(id, task.Succeeded)
				fl.h.audit(t, id, begin, time.Now().UnixMilli()-5000)
			}
			late := fl.h.lateFired()
			if late > 5*time.Second {
				t.Errorf("fresh %v: a slot was fired %v late", fresh, late)
			}
			t.Logf("fresh %v: the latest slot was fired %v late", fresh, late)
		})
	}
}

// What is punctual is written ahead, or at its instant within a few ms, by a timer.
func TestSlotsAreFiredAheadOrAtTheirInstant(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		s := fl.start(func(o *Options) { o.Alone = true })
		time.Sleep(1500 * time.Millisecond)
		ahead := fl.h.add(t, everyMs(3000))
		exact := fl.h.add(t, everyMs(1700, overlap(schedule.Skip)))
		s.WakeSchedules()
		for range 60 {
			time.Sleep(time.Second)
			fl.h.end(exact.ID, task.Succeeded)
		}
		for _, slot := range fl.h.slotsOf(ahead.ID)[1:] {
			if early := slot.At - slot.FiredAt; early < 900 || early > schedule.LookAheadMs {
				t.Errorf("written %d ms ahead", early)
			}
		}
		rows := fl.h.slotsOf(exact.ID)
		for _, slot := range rows {
			if late := slot.FiredAt - slot.At; late < 0 || late > 2 {
				t.Errorf("decided %d ms late", late)
			}
		}
		if len(rows) < 30 {
			t.Errorf("%d slots", len(rows))
		}
	})
}

// A definition that nobody understands, and a schedule whose transaction is refused, hold up nobody; they go on when they
// are mended.
func TestSpoiltSchedulesHoldUpNobody(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		begin := time.Now().UnixMilli()
		var good []int64
		bad := fl.h.add(t, everyMs(1000))
		fl.h.edit(bad.ID, func(r *schedule.Row) { r.Definition = []byte("no definition at all") })
		refused := fl.h.add(t, everyMs(1000))
		for i := range 600 {
			good = append(good, fl.h.add(t, everyMs(1000, overlap(schedule.Overlap(i%2*3)))).ID)
		}
		fl.h.refuse[refused.ID] = errors.New("data too long")
		fl.start()
		for range 30 {
			time.Sleep(time.Second)
			for _, id := range good {
				fl.h.end(id, task.Succeeded)
			}
		}
		now := time.Now().UnixMilli()
		for _, id := range good {
			fl.h.audit(t, id, begin, now-2000)
		}
		if n := len(fl.h.slotsOf(refused.ID)) + len(fl.h.slotsOf(bad.ID)); n != 0 {
			t.Fatalf("%d slots of those that cannot be fired", n)
		}
		fl.h.mu.Lock()
		delete(fl.h.refuse, refused.ID)
		fl.h.mu.Unlock()
		fl.h.edit(bad.ID, func(r *schedule.Row) { r.Definition = encoded(t, everyMs(1000)) })
		time.Sleep(3 * time.Second)
		if n := len(fl.h.slotsOf(bad.ID)); n == 0 {
			t.Error("an edited schedule is not tried at once")
		}
		time.Sleep(time.Minute)
		fl.h.audit(t, refused.ID, begin, time.Now().UnixMilli()-2000)
	})
}

// Held slots start when the run before them has ended, in order, and nothing of a paused schedule starts.
func TestHeldSlotsAreReleasedInOrder(t *testing.T) {
	testkit.Says(t, "is `held` with `queue`, and starts when the earlier ones have ended, one after the other in the order of slots;")
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		queue := fl.h.add(t, everyMs(1000, overlap(schedule.Queue)))
		fl.start()
		time.Sleep(10 * time.Second)
		for want := 1; want < 8; want++ {
			fl.h.end(queue.ID, task.Succeeded)
			at := time.Now()
			for len(fl.h.firedOf(queue.ID)) <= want {
				if time.Since(at) > 100*time.Millisecond {
					t.Fatalf("run %d did not start within 100 ms after the end of the one before", want+1)
				}
				time.Sleep(time.Millisecond)
			}
			synctest.Wait()
			if fired := fl.h.firedOf(queue.ID); len(fired) != want+1 || !slices.IsSorted(fired) {
				t.Fatalf("fired %v", fired)
			}
			time.Sleep(300 * time.Millisecond)
		}
		fl.h.edit(queue.ID, func(r *schedule.Row) { r.Pause, r.NextAt = schedule.PausedByUser, schedule.Never })
		n := len(fl.h.firedOf(queue.ID))
		fl.h.end(queue.ID, task.Succeeded)
		time.Sleep(5 * time.Second)
		if got := len(fl.h.firedOf(queue.ID)); got != n {
			t.Errorf("%d runs of a paused schedule", got-n)
		}
	})
}

// firedOf lists the slots that fired, in the order of their tasks.
func (h *shelf) firedOf(id int64) (out []int64) {
	rows := slices.DeleteFunc(h.slotsOf(id), func(s schedule.Slot) bool { return s.Outcome != schedule.Fired })
	slices.SortFunc(rows, func(a, b schedule.Slot) int { return int(a.TaskID - b.TaskID) })
	for _, s := range rows {
		out = append(out, s.At)
	}
	return out
}

type heard struct {
	mu  sync.Mutex
	got []task.Signal
}

func (h *heard) list() []task.Signal {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// cancel_previous tells the worker, and starts when its run has ended.
func TestCancelPreviousSignalsTheWorker(t *testing.T) {
	t.Run("at once", func(t *testing.T) { cancelPreviousSignals(t, false) })
	t.Run("after the transaction", func(t *testing.T) { cancelPreviousSignals(t, true) })
}

func cancelPreviousSignals(t *testing.T, piled bool) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		sig := &heard{}
		fl.h.piled = piled
		r := fl.h.add(t, everyMs(2000, overlap(schedule.CancelPrevious)))
		fl.start(func(o *Options) { o.Signals = sig })
		time.Sleep(5 * time.Second)
		first := fl.h.firedOf(r.ID)
		got := sig.list()
		if len(first) != 1 || len(got) == 0 || got[0].Kind != "cancel" || got[0].Epoch != 1 {
			t.Fatalf("fired %v, signals %+v", first, got)
		}
		fl.h.end(r.ID, task.Cancelled)
		time.Sleep(100 * time.Millisecond)
		if got := fl.h.firedOf(r.ID); len(got) != 2 || got[1] <= first[0] {
			t.Errorf("fired %v", got)
		}
	})
}

// Runs that end together are followed together: a few transactions for all schedules, and one that the store refuses does not
// keep the others.
func TestManySlotsAreReleasedTogether(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		var ids []int64
		for range 60 {
			ids = append(ids, fl.h.add(t, everyMs(2000, overlap(schedule.Queue))).ID)
		}
		fl.start()
		time.Sleep(5 * time.Second) // each has a run, and a slot that waits for it
		fl.h.mu.Lock()
		fl.h.refuse[ids[7]] = errors.New("refused")
		before := fl.h.releases
		fl.h.mu.Unlock()
		for _, id := range ids {
			if fl.h.end(id, task.Succeeded) != 1 {
				t.Fatalf("schedule %d has no run", id)
			}
		}
		time.Sleep(150 * time.Millisecond)
		for i, id := range ids {
			if n := len(fl.h.firedOf(id)); n != 2 && i != 7 {
				t.Errorf("schedule %d fired %d times", id, n)
			}
		}
		fl.h.mu.Lock()
		defer fl.h.mu.Unlock()
		if n := fl.h.releases - before; n > 20 {
			t.Errorf("%d transactions for 59 slots", n)
		}
	})
}

// A schedule is paused after so many failures in a row; what was held does not start.
func TestFailuresPause(t *testing.T) {
	testkit.Says(t, "With `maxConsecutiveFailures: 3` the third failed run in a row pauses the schedule, with `pausedReason: failures`; a run that succeeds sets the count to 0, a cancelled one changes nothing.")
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		r := fl.h.add(t, everyMs(1000, overlap(schedule.Queue), func(d *schedule.Definition) { d.MaxFailures = 3 }))
		fl.start()
		for _, state := range []task.State{task.Failed, task.Failed, task.Succeeded, task.Failed, task.Cancelled, task.Failed, task.Failed} {
			for fl.h.end(r.ID, state) == 0 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		time.Sleep(2 * time.Second)
		n := len(fl.h.firedOf(r.ID))
		// What ended is counted within a second: a slot in that second may still fire.
		if got := fl.h.row(r.ID); got.Pause != schedule.PausedFailures || got.Failures != 3 || n < 7 || n > 8 {
			t.Errorf("after three failures: %v, %d failures, %d runs", got.Pause, got.Failures, n)
		}
		time.Sleep(5 * time.Second)
		if got := len(fl.h.firedOf(r.ID)); got != n {
			t.Errorf("%d more runs", got-n)
		}
	})
}

// Schedules that sleep cost one read a second together, however many they are, and no memory.
func TestSleepingSchedulesCostNothing(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		row := fl.h.add(t, everyMs(86_400_000))
		for i := range 100_000 {
			r := row
			r.ID = 1_000_000 + int64(i)
			fl.h.rows[r.ID] = r
		}
		s := fl.start(func(o *Options) { o.Alone = true })
		time.Sleep(5 * time.Second)
		reads, calls, whole := fl.h.counts()
		time.Sleep(time.Minute)
		reads2, calls2, whole2 := fl.h.counts()
		t.Logf("in a minute: %d reads of due schedules, %d calls in all", reads2-reads, calls2-calls)
		if n := reads2 - reads; n > 61 {
			t.Errorf("%d reads in a minute", n)
		}
		if n := calls2 - calls; n > 185 {
			t.Errorf("%d calls in a minute", n)
		}
		if whole2 != whole || len(s.firing.defs.young) > 0 {
			t.Error("definitions of sleeping schedules were read")
		}
	})
}

// Schedules that catch up on days do not make punctual ones late.
func TestCatchingUpDelaysNobody(t *testing.T) {
	clock := &jumpClock{}
	inFleet(t, clock, func(t *testing.T, fl *fleet) {
		for range 50 {
			fl.h.add(t, everyMs(1000, func(d *schedule.Definition) { d.Misfire, d.MaxAgeMs = schedule.MisfireAll, 1<<40 }))
		}
		clock.jump(2 * time.Hour)
		begin := clock.Now()
		p := fl.h.add(t, everyMs(1000))
		fl.start()
		time.Sleep(30 * time.Second)
		for _, s := range fl.h.audit(t, p.ID, begin, clock.Now()) {
			if s.At > begin+4000 && s.FiredAt > s.At {
				t.Errorf("a punctual slot was written %d ms late", s.FiredAt-s.At)
			}
		}
		fl.h.mu.Lock()
		defer fl.h.mu.Unlock()
		if len(fl.h.tasks) < 50*7200 {
			t.Errorf("only %d tasks", len(fl.h.tasks))
		}
	})
}

// Pause and resume: nothing fires in between, and what was not fired then is not made up for.
func TestPauseAndResume(t *testing.T) {
	inFleet(t, hostClock{}, func(t *testing.T, fl *fleet) {
		r := fl.h.add(t, everyMs(1000))
		fl.start()
		time.Sleep(5500 * time.Millisecond)
		paused := fl.h.owe(t, r.ID)
		fl.h.edit(r.ID, func(r *schedule.Row) { r.Pause, r.NextAt = schedule.PausedByUser, schedule.Never })
		time.Sleep(20 * time.Second)
		resumed := fl.h.clock.Now()
		fl.h.edit(r.ID, func(r *schedule.Row) { r.Pause, r.NextAt = schedule.NotPaused, tableOf(t, *r).Next(resumed) })
		time.Sleep(5500 * time.Millisecond)
		var before, after int
		for _, s := range fl.h.slotsOf(r.ID) {
			switch {
			case s.At <= paused:
				before++
			case s.At <= resumed:
				t.Errorf("slot %d while it was paused", s.At)
			case s.At <= resumed+5000:
				after++
			}
		}
		if before != 5 || after != 5 {
			t.Errorf("%d slots before, %d after", before, after)
		}
	})
}

// What is kept of definitions is bounded, and what is used stays.
func TestDefinitionsAreBounded(t *testing.T) {
	d := newDefinitions(nil)
	raw := encoded(t, everyMs(1000))
	hot := schedule.Row{ID: 1, Version: 1, Definition: raw}
	if _, err := d.learn(&hot); err != nil {
		t.Fatal(err)
	}
	for i := range int64(4 * defsMost) {
		if _, err := d.learn(&schedule.Row{ID: i + 2, Version: 1, Definition: raw}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 && d.get(1, 1) == nil {
			t.Fatal("what is used was forgotten")
		}
	}
	if n := len(d.young) + len(d.old); n > 2*defsMost {
		t.Errorf("%d kept", n)
	}
	if d.get(1, 2) != nil {
		t.Error("another version's timetable")
	}
	if _, err := d.learn(&schedule.Row{ID: 1, Version: 2, Definition: raw[:5]}); err == nil {
		t.Error("a broken definition was learnt")
	}
	big := make([]byte, 200_000)
	for i := range int64(300) {
		def := everyMs(1000, func(d *schedule.Definition) { d.Task.Payload = big })
		if _, err := d.learn(&schedule.Row{ID: i + 2, Version: 3, Definition: encoded(t, def)}); err != nil {
			t.Fatal(err)
		}
	}
	sum := 0
	for _, m := range []map[int64]definition{d.young, d.old} {
		for _, one := range m {
			sum += one.bytes
		}
	}
	if sum > 2*defsBytes {
		t.Errorf("%d bytes kept", sum)
	}
}

// Signal remembers what workers are told.
func (h *heard) Signal(_ context.Context, _ int64, s task.Signal) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, s)
	return nil
}
