package measure

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/test/peers/system"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake keeps tasks in memory and runs them in goroutines. It loses, doubles and hurries when it is told to: the measures must
// notice.
type fake struct {
	handler                system.Handler
	noBulk, noRecord       bool
	noCancel               bool
	lose, double, hurry    int64 // every n-th task; 0: none
	deaf                   int64 // every n-th task's context does not end by a cancel
	rush                   bool  // delayed tasks start at once
	slowBy                 time.Duration
	mu                     sync.Mutex
	held                   []system.Task
	working                bool
	cancels                map[int64]context.CancelFunc
	running                sync.WaitGroup
	done                   atomic.Int64
	ctx                    context.Context
	end                    context.CancelFunc
	submits, bulks, resets int
}

func (f *fake) Submit(ctx context.Context, t system.Task) error {
	if err := pause(ctx, time.Millisecond); err != nil { // the measures that are bounded by time shall stay small
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.submits++
	f.take(t)
	return nil
}

func (f *fake) SubmitBulk(ctx context.Context, tasks []system.Task) error {
	if f.noBulk {
		return system.ErrNone
	}
	if err := pause(ctx, 5*time.Millisecond+f.slowBy); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bulks++
	if !tasks[0].Due.IsZero() && len(tasks) > 1 {
		f.slowBy = 0
	}
	for _, t := range tasks {
		f.take(t)
	}
	return nil
}

func (f *fake) take(t system.Task) {
	if f.lose > 0 && t.Number%f.lose == 0 {
		return
	}
	if !f.working {
		f.held = append(f.held, t)
		return
	}
	f.start(t)
	if f.double > 0 && t.Number%f.double == 0 {
		f.start(t)
	}
}

func (f *fake) start(t system.Task) {
	ctx, cancel := context.WithCancel(f.ctx)
	f.cancels[t.Number] = cancel
	f.running.Go(func() {
		defer cancel()
		wait := time.Until(t.Due)
		if f.hurry > 0 && t.Number%f.hurry == 0 {
			wait -= 100 * time.Millisecond
		}
		if f.rush {
			wait = 0
		}
		if pause(ctx, max(0, wait)) != nil {
			return
		}
		if f.handler.Handle(ctx, t.Payload()) == nil {
			f.done.Add(1)
		}
	})
}

func (f *fake) Work(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working = true
	held := f.held
	f.held = nil
	for _, t := range held {
		f.start(t)
	}
	return nil
}

func (f *fake) Hold(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working = false
	return nil
}

func (f *fake) Mark(context.Context) error {
	f.done.Store(0)
	return nil
}

func (f *fake) Await(ctx context.Context, n int64) error {
	for f.done.Load() < n {
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) Completed(context.Context) (int64, error) {
	if f.noRecord {
		return 0, system.ErrNone
	}
	return f.done.Load(), nil
}

func (f *fake) Cancel(_ context.Context, number int64) error {
	if f.noCancel {
		return system.ErrNone
	}
	f.mu.Lock()
	cancel := f.cancels[number]
	f.mu.Unlock()
	if cancel == nil {
		return errors.New("unknown task")
	}
	if f.deaf > 0 && number%f.deaf == 0 {
		return nil
	}
	cancel()
	return nil
}

func (f *fake) Reset(context.Context) error {
	f.resets++
	return nil
}

func (f *fake) Close(context.Context) error {
	f.end()
	f.running.Wait()
	return nil
}

// small are the sizes of a round of the fake.
func small() Options {
	return Options{Submit: 10 * time.Millisecond, Steady: 30 * time.Millisecond, Latency: 200 * time.Millisecond, Yard: 20 * time.Millisecond,
		Drain: 1_000, Callbacks: 20, Instant: 40, Cancels: 40, Delayed: 100, Warm: 10, Settle: time.Millisecond,
		Patience: 1500 * time.Millisecond, Late: time.Second}
}

func roundOf(t *testing.T, f *fake, change func(*Spec, *system.Adapter)) *Result {
	t.Helper()
	f.ctx, f.end = context.WithCancel(context.Background())
	f.cancels = map[int64]context.CancelFunc{}
	a := system.Adapter{Name: "fake", Open: func(_ context.Context, _ map[string]string, _ string, h system.Handler) (system.System, error) {
		f.handler = h
		return f, nil
	}}
	spec := Spec{Options: small()}
	if change != nil {
		change(&spec, &a)
	}
	got, err := Round(t.Context(), a, spec)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// tuned leaves all but latencies out.
func tuned(_ *Spec, a *system.Adapter) { a.Tuned = "x" }

func (r *Result) fateOf(t *testing.T, name string) Fate {
	t.Helper()
	for _, f := range r.Fates {
		if f.Measure == name {
			return f
		}
	}
	t.Fatalf("no fate of %q in %+v", name, r.Fates)
	return Fate{}
}

func TestARoundMeasuresEverythingAndFindsNothingAmissInASoundSystem(t *testing.T) {
	t.Parallel()
	f := &fake{}
	got := roundOf(t, f, nil)
	for _, name := range []string{"submit, 1 callers", "submit, 32 callers", "submit, 256 callers", "submit, bulk of 500, 2 callers", Drain, Steady32,
		Steady256, SteadyBulk, Callbacks, Pickup + ", p99", InstantBulk + LastLate, InstantSingle + P99Late, Cancel + ", p50", DrainCPU} {
		if v, ok := got.figure(name); !ok || v < 0 {
			t.Errorf("%s: %v, %v", name, v, ok)
		}
	}
	for _, fate := range got.Fates {
		if fate.Bad() || fate.Early != 0 || fate.Late != 0 || fate.Submitted == 0 {
			t.Errorf("%+v", fate)
		}
	}
	if n := got.fateOf(t, Drain).Submitted; n != 1_000 {
		t.Errorf("%d tasks drained", n)
	}
	if v, _ := got.figure(InstantSingle + FirstLate); v < 0 || v > 500 {
		t.Errorf("the first of an instant is %v ms late", v)
	}
}

func TestStockSettingsAreShownByWhatTheyChange(t *testing.T) {
	t.Parallel()
	latencies := roundOf(t, &fake{}, tuned)
	both := roundOf(t, &fake{}, func(_ *Spec, a *system.Adapter) { a.Tuned, a.Throughput = "x", true })
	for _, name := range []string{Drain, Steady256, SteadyBulk, Callbacks} {
		if _, ok := latencies.figure(name); ok {
			t.Errorf("%s was measured although it does not change", name)
		}
		if v, ok := both.figure(name); !ok || v <= 0 {
			t.Errorf("%s: %v, %v", name, v, ok)
		}
	}
	if _, ok := both.figure(Pickup + ", p99"); !ok {
		t.Error("no pickup")
	}
}

func TestLostTasksAreCounted(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{lose: 100}, func(s *Spec, _ *system.Adapter) { s.Options.Late = 100 * time.Millisecond })
	if n := got.fateOf(t, Drain).Lost; n != 10 {
		t.Errorf("%d lost of a drain, want 10", n)
	}
}

func TestTasksWithoutARecordedEndAreLost(t *testing.T) {
	t.Parallel()
	f := &fake{}
	forgetful := &forgets{fake: f}
	f.ctx, f.end = context.WithCancel(context.Background())
	f.cancels = map[int64]context.CancelFunc{}
	a := system.Adapter{Name: "fake", Tuned: "x", Open: func(_ context.Context, _ map[string]string, _ string, h system.Handler) (system.System, error) {
		f.handler = h
		return forgetful, nil
	}}
	got, err := Round(t.Context(), a, Spec{Options: small()})
	if err != nil {
		t.Fatal(err)
	}
	if n := got.fateOf(t, Pickup).Lost; n != 3 {
		t.Errorf("%d lost, want the 3 that are not on record", n)
	}
}

// forgets has three tasks fewer on record than ended.
type forgets struct{ *fake }

func (f *forgets) Completed(context.Context) (int64, error) { return f.done.Load() - 3, nil }

func TestDoubledTasksAreCounted(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{double: 10, noRecord: true}, tuned)
	if n := got.fateOf(t, Pickup).Doubled; n != 4 {
		t.Errorf("%d doubled of 40, want 4", n)
	}
}

func TestEarlyTasksAreCountedAndThoseOfAnotherSectionAreDoubles(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{hurry: 4}, tuned)
	if n := got.fateOf(t, Spread).Early; n != 10 {
		t.Errorf("%d early of 40, want 10", n)
	}
	rec := newRecorder()
	s := newSection(100, 10, false)
	rec.open.Store(s)
	rec.note(99)
	rec.note(100)
	rec.note(100)
	rec.note(110)
	if s.handled.Load() != 1 || s.extra.Load() != 3 {
		t.Errorf("%d handled, %d too many", s.handled.Load(), s.extra.Load())
	}
}

func TestWhatASystemHasNotIsNone(t *testing.T) {
	t.Parallel()
	f := &fake{noBulk: true, noCancel: true, noRecord: true}
	got := roundOf(t, f, nil)
	for _, name := range []string{"submit, bulk of 500, 2 callers", SteadyBulk, SteadyHTTP, Cancel + ", p99", InstantBulk + P99Late} {
		if _, ok := got.figure(name); ok {
			t.Errorf("%s has a value", name)
		}
	}
	if f.bulks != 0 {
		t.Errorf("%d bulk submits", f.bulks)
	}
}

func TestTasksThatComeFarTooLateAreGivenUp(t *testing.T) {
	t.Parallel()
	f := &fake{lose: 4}
	got := roundOf(t, f, func(s *Spec, a *system.Adapter) {
		a.Tuned = "x"
		s.Options.Late = 500 * time.Millisecond
	})
	if fate := got.fateOf(t, Spread); fate.Late != 10 || fate.Lost != 0 || f.resets == 0 {
		t.Errorf("%+v after %d resets, want 10 late of 40", fate, f.resets)
	}
	if v, _ := got.figure(Spread + ", p99"); v < 500 {
		t.Errorf("p99 late %v ms although a fourth never came", v)
	}
}

func TestMemoryIsMeasuredWithDelayedTasks(t *testing.T) {
	t.Parallel()
	f := &fake{}
	got := roundOf(t, f, func(s *Spec, _ *system.Adapter) { s.Memory = true })
	if v, ok := got.figure(Memory); !ok || v < 1 {
		t.Errorf("%v MB, %v", v, ok)
	}
	for _, fate := range got.Fates {
		if fate.Measure == Memory {
			t.Errorf("tasks that were never to run have a fate: %+v", fate)
		}
	}
}

func TestDelayedTasksThatRunWhileMemoryIsMeasuredAreEarly(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{rush: true}, func(s *Spec, _ *system.Adapter) { s.Memory = true })
	if fate := got.fateOf(t, Memory); fate.Early != 100 || fate.Submitted != 0 {
		t.Errorf("%+v, want 100 early", fate)
	}
}

func TestContextsThatDoNotEndCountAndAreNotLeftOut(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{deaf: 10, noRecord: true}, func(s *Spec, _ *system.Adapter) {
		s.Only, s.Options.Patience = []string{"cancel"}, 1200*time.Millisecond
	})
	fate := got.fateOf(t, Cancel)
	if fate.Deaf != 4 || fate.Lost != 0 || !fate.Bad() {
		t.Errorf("%+v, want 4 deaf of 40", fate)
	}
	if v, _ := got.figure(Cancel + ", p99"); v != 1200 {
		t.Errorf("p99 %v ms although a tenth never ended", v)
	}
	if v, _ := got.figure(Cancel + NeverEnded); v != 4 {
		t.Errorf("%v never ended", v)
	}
}

func TestATryThatCameTooLateStillCounts(t *testing.T) {
	t.Parallel()
	got := roundOf(t, &fake{noRecord: true, slowBy: 4 * time.Second}, func(s *Spec, a *system.Adapter) {
		a.Tuned, s.Only, s.Options.Late = "x", []string{"instant"}, 3*time.Second
	})
	tries, submitted := 0, int64(0)
	for _, fate := range got.Fates {
		if fate.Measure == InstantBulk {
			tries, submitted = tries+1, submitted+fate.Submitted
		}
	}
	if tries != 2 || submitted != 80 {
		t.Errorf("%d tasks in %d tries, want 80 in 2: %+v", submitted, tries, got.Fates)
	}
}

func TestDelayedTasksWithoutARecordedEndAreLost(t *testing.T) {
	t.Parallel()
	f := &fake{}
	f.ctx, f.end = context.WithCancel(context.Background())
	f.cancels = map[int64]context.CancelFunc{}
	a := system.Adapter{Name: "fake", Tuned: "x", Open: func(_ context.Context, _ map[string]string, _ string, h system.Handler) (system.System, error) {
		f.handler = h
		return &stuck{forgets{f}}, nil
	}}
	got, err := Round(t.Context(), a, Spec{Options: small(), Only: []string{"spread"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := got.fateOf(t, Spread).Lost; n != 3 {
		t.Errorf("%d lost, want the 3 that are not on record", n)
	}
}

// stuck waits for the record of tasks that are not on it.
type stuck struct{ forgets }

func (f *stuck) Await(ctx context.Context, n int64) error { return f.fake.Await(ctx, n+3) }

func TestOneCallerLooksWhetherAGateIsOpen(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	var open atomic.Bool
	g := gate{closed: func() bool {
		looks.Add(1)
		return !open.Load()
	}}
	var all sync.WaitGroup
	for range 256 {
		all.Go(func() {
			if err := g.pass(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond) // it is the number of looks in some time that is asked for
	if n := looks.Load(); n > 256+1+21 {
		t.Errorf("%d looks by 256 callers in 100 ms", n)
	}
	open.Store(true)
	all.Wait()
}
