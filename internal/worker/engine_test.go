package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an engine on fakes, inside a synctest bubble.
type rig struct {
	t     *testing.T
	store *fakeStore
	bus   *fakeBus
	live  *fakeLive
	e     *Engine
	done  chan error
	log   *lockedBuilder
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs an engine. Runners are by kind.
func start(t *testing.T, store Store, runners map[string]func(context.Context, Job) task.Result, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, bus: newFakeBus(), live: newFakeLive(), done: make(chan error, 1), log: &lockedBuilder{}}
	r.store, _ = store.(*fakeStore)
	o := Options{Store: store, Source: r.bus, Live: r.live, Ringer: r.bus, Clock: wall{}, Slots: 16, Host: "test",
		Logger: slog.New(slog.NewTextHandler(r.log, nil))}
	for kind, f := range runners {
		o.Runners = append(o.Runners, fakeRunner{kind, f})
	}
	for _, c := range change {
		c(&o)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.e = e
	e.pool.width = 1 << 20 // runs begin at the same instant, however busy this machine is
	go func() { r.done <- e.Run(context.Background()) }()
	return r
}

// stop drains and expects a clean end.
func (r *rig) stop() {
	r.t.Helper()
	r.e.Drain()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// after lets time pass until everything that can happen by then has happened.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// expect checks a task's state.
func (r *rig) expect(id int64, state task.State) fakeTask {
	r.t.Helper()
	got := r.store.get(id)
	if got.State != state {
		r.t.Errorf("task %d: state %d, want %d; log:\n%s", id, got.State, state, r.log)
	}
	return got
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testkit.Bubble(t, f)
}

type runners = map[string]func(context.Context, Job) task.Result

func TestTaskRunsOnceAndItsResultIsCommitted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var jobs atomic.Int32
		r := start(t, newFakeStore(), runners{"echo": func(_ context.Context, j Job) task.Result {
			jobs.Add(1)
			if string(j.Payload) != `{"a":1}` || j.Epoch != 1 || j.Kind != "echo" || j.Queue != "default" || j.AttemptID == 0 {
				t.Errorf("job %+v", j)
			}
			return task.Result{Outcome: task.OutcomeSucceeded, Body: j.Payload}
		}})
		rung := r.store.add(1, spec{kind: "echo", payload: `{"a":1}`})
		r.bus.Ring(rung, rung) // the same bell twice is harmless
		after(time.Second)
		got := r.expect(rung.TaskIDs[0], task.Succeeded)
		if jobs.Load() != 1 || len(got.ends) != 1 || string(got.ends[0].Result) != `{"a":1}` {
			t.Errorf("ran %d times, ends %+v", jobs.Load(), got.ends)
		}
		if r.bus.finished() != 2 || r.store.left(true) != 0 {
			t.Errorf("%d messages finished, %d claims left", r.bus.finished(), r.store.left(true))
		}
		r.stop()
	})
}

func TestManyTasksOverFewSlots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now, peak atomic.Int64
		r := start(t, newFakeStore(), runners{"work": func(ctx context.Context, _ Job) task.Result {
			n := now.Add(1)
			for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
			}
			time.Sleep(3 * time.Millisecond)
			now.Add(-1)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = 30 })
		for range 20 {
			specs := make([]spec, 100)
			for i := range specs {
				specs[i] = spec{kind: "work", noBody: i%10 == 0}
			}
			r.bus.Ring(r.store.add(1, specs...))
		}
		after(3 * time.Second)
		if n := r.store.count(task.Succeeded); n != 2000 {
			t.Errorf("%d succeeded", n)
		}
		if peak.Load() > 30 || peak.Load() < 25 {
			t.Errorf("%d ran at once on 30 slots", peak.Load())
		}
		if r.store.left(true) != 0 || r.store.left(false) != 0 {
			t.Errorf("%d claims and %d bells left", r.store.left(true), r.store.left(false))
		}
		r.stop()
	})
}

func TestFailureIsRetriedByThePolicyUntilExhausted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var seen []int
		r := start(t, newFakeStore(), runners{"bad": func(_ context.Context, j Job) task.Result {
			seen = append(seen, j.Retry)
			return task.Result{Outcome: task.OutcomeFailed, ErrCode: "no", ErrMessage: "not today"}
		}})
		rung := r.store.add(1, spec{kind: "bad", retry: &task.RetryPolicy{Policy: "fixed", BaseMs: 100, CapMs: 100, Max: 2}})
		r.bus.Ring(rung)
		after(time.Second)
		got := r.expect(rung.TaskIDs[0], task.Failed)
		if got.Reason != task.Exhausted || len(got.ends) != 3 || fmt.Sprint(seen) != "[0 1 2]" {
			t.Errorf("reason %s, ends %d, retries seen %v", got.Reason, len(got.ends), seen)
		}
		if gap := got.ends[1].StartedAt - got.ends[0].FinishedAt; gap != 100 {
			t.Errorf("second run %d ms after the first", gap)
		}
		if r.store.called("Load") != 0 {
			t.Error("a retry read the body although it was in memory")
		}
		r.stop()
	})
}

func TestPermanentFailureSnoozeAndRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int32
		r := start(t, newFakeStore(), runners{
			"perm": func(context.Context, Job) task.Result { return failed("bad_request", "never", true) },
			"snooze": func(context.Context, Job) task.Result {
				if n.Add(1) < 10 {
					return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: 50}
				}
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
			"later": func(_ context.Context, j Job) task.Result {
				if j.Retry == 0 {
					return task.Result{Outcome: task.OutcomeFailed, RetryAfterMs: 7_000}
				}
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
		})
		rung := r.store.add(1, spec{kind: "perm"}, spec{kind: "snooze"}, spec{kind: "later"})
		r.bus.Ring(rung)
		after(9 * time.Second)
		if got := r.expect(rung.TaskIDs[0], task.Failed); got.Reason != task.Permanent || len(got.ends) != 1 {
			t.Errorf("permanent: %+v", got.ends)
		}
		if got := r.expect(rung.TaskIDs[1], task.Succeeded); got.Failures != 0 || got.Epoch != 10 {
			t.Errorf("snoozed: failures %d epoch %d", got.Failures, got.Epoch)
		}
		got := r.expect(rung.TaskIDs[2], task.Succeeded)
		if gap := got.ends[1].StartedAt - got.ends[0].FinishedAt; gap < 7_000 || gap > 7_100 {
			t.Errorf("Retry-After: %d ms", gap)
		}
		r.stop()
	})
}

func TestTimeoutIsCountedFromTheHandlersStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var cause error
		var dl time.Duration
		r := start(t, newFakeStore(), runners{"slow": func(ctx context.Context, _ Job) task.Result {
			at := time.Now()
			if d, ok := ctx.Deadline(); ok {
				dl = time.Until(d)
			}
			child, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-child.Done()
			cause = context.Cause(child)
			if d := time.Since(at); d != 150*time.Millisecond {
				t.Errorf("cancelled after %v", d)
			}
			return failed("x", "y", true)
		}, "none": func(ctx context.Context, _ Job) task.Result {
			if _, ok := ctx.Deadline(); ok {
				t.Error("a task without timeout has a deadline")
			}
			select {
			case <-ctx.Done():
				t.Error("a task without timeout was ended")
			case <-time.After(2 * time.Hour):
			}
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		rung := r.store.add(1, spec{kind: "slow", timeoutMs: 150, retry: &task.RetryPolicy{Policy: "fixed", BaseMs: 1, CapMs: 1}},
			spec{kind: "none", timeoutMs: task.NoTimeout})
		r.bus.Ring(rung)
		after(time.Second)
		got := r.expect(rung.TaskIDs[0], task.Failed)
		if len(got.ends) == 0 {
			t.Fatalf("it has no end: %v", cause)
		}
		if !errors.Is(cause, ErrTimeout) || dl != 150*time.Millisecond || got.ends[0].Outcome != task.OutcomeTimedOut || got.ends[0].ErrCode != "timeout" {
			t.Errorf("cause %v, deadline in %v, end %+v", cause, dl, got.ends[0])
		}
		if got.Reason != task.Exhausted {
			t.Errorf("a timeout is never permanent by what the handler says: %s", got.Reason)
		}
		after(2 * time.Hour)
		r.expect(rung.TaskIDs[1], task.Succeeded)
		r.stop()
	})
}

func TestPanicAndGoexitFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{
			"panic": func(context.Context, Job) task.Result { panic("ouch") },
			"none":  func(context.Context, Job) task.Result { return task.Result{} },
			"goexit": func(context.Context, Job) task.Result {
				runtime.Goexit()
				return task.Result{}
			},
		})
		once := &task.RetryPolicy{Policy: "fixed", BaseMs: 1, CapMs: 1}
		rung := r.store.add(1, spec{kind: "panic", retry: once}, spec{kind: "none", retry: once}, spec{kind: "goexit", retry: once})
		r.bus.Ring(rung)
		after(time.Second)
		got := r.expect(rung.TaskIDs[0], task.Failed)
		if e := got.ends[0]; e.ErrCode != "panic" || e.ErrMessage != "ouch" || !strings.Contains(string(e.Log), "engine_test.go") {
			t.Errorf("end %+v", e)
		}
		if got := r.expect(rung.TaskIDs[1], task.Failed); got.ends[0].ErrCode != "bad_outcome" {
			t.Errorf("end %+v", got.ends[0])
		}
		if got := r.expect(rung.TaskIDs[2], task.Failed); got.ends[0].ErrCode != "goexit" {
			t.Errorf("end %+v", got.ends[0])
		}
		r.stop()
	})
}

func TestCancelBySignalAndByBeat(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ended := make(chan error, 4)
		r := start(t, newFakeStore(), runners{"wait": func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return failed("x", "y", false)
		}})
		rung := r.store.add(1, spec{kind: "wait"}, spec{kind: "wait"}, spec{kind: "wait"})
		r.bus.Ring(rung)
		after(100 * time.Millisecond)
		cancel := func(id int64) {
			r.store.mu.Lock()
			r.store.tasks[id].CancelAt = wall{}.Now()
			r.store.mu.Unlock()
		}
		at := time.Now()
		cancel(rung.TaskIDs[0])
		r.live.signals <- task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[0], Epoch: 1}
		if err := <-ended; !errors.Is(err, ErrCancelled) || time.Since(at) != 0 {
			t.Errorf("by signal: %v after %v", err, time.Since(at))
		}
		cancel(rung.TaskIDs[1])
		if err := <-ended; !errors.Is(err, ErrCancelled) || time.Since(at) > 3*time.Second {
			t.Errorf("by beat: %v after %v", err, time.Since(at))
		}
		r.live.signals <- task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[2], Epoch: 7} // another epoch
		r.live.signals <- task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[2]}           // no epoch: the database decides
		after(10 * time.Millisecond)
		r.expect(rung.TaskIDs[2], task.Running)
		for _, id := range rung.TaskIDs[:2] {
			if got := r.expect(id, task.Cancelled); got.ends[0].Outcome != task.OutcomeCancelled || got.Reason != task.ByUser {
				t.Errorf("end %+v", got.ends[0])
			}
		}
		cancel(rung.TaskIDs[2])
		<-ended
		r.stop()
	})
}

func TestSuccessWinsOverCancelAndTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"ok": func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		rung := r.store.add(1, spec{kind: "ok", timeoutMs: 20}, spec{kind: "ok"})
		r.bus.Ring(rung)
		after(50 * time.Millisecond)
		r.live.signals <- task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[1], Epoch: 1}
		after(time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		r.expect(rung.TaskIDs[1], task.Succeeded)
		r.stop()
	})
}

func TestZombieIsShownKeepsItsSlotAndIsClosedInTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var first atomic.Bool
		r := start(t, newFakeStore(), runners{"deaf": func(ctx context.Context, _ Job) task.Result {
			if first.CompareAndSwap(false, true) {
				<-release
			}
			return task.Result{Outcome: task.OutcomeSucceeded, Body: []byte("1")}
		}}, func(o *Options) { o.ZombieAfter = time.Minute })
		rung := r.store.add(1, spec{kind: "deaf", timeoutMs: 1_000, retry: &task.RetryPolicy{Policy: "fixed", BaseMs: 500, CapMs: 500, Max: 1}})
		id := rung.TaskIDs[0]
		r.bus.Ring(rung)
		after(2_900 * time.Millisecond)
		if r.store.get(id).zombie {
			t.Error("a zombie within the grace")
		}
		after(200 * time.Millisecond)
		if s := r.e.Stats(); s.Zombies != 1 || s.Busy != 1 || !r.store.get(id).zombie || !r.live.entries()[id].Zombie {
			t.Errorf("stats %+v, live %+v", s, r.live.entries())
		}
		after(time.Minute + time.Second)
		got := r.expect(id, task.Succeeded) // the retry ran in another slot
		if len(got.ends) != 2 || got.ends[0].Outcome != task.OutcomeTimedOut || got.ends[1].Epoch != 2 {
			t.Errorf("ends %+v", got.ends)
		}
		if s := r.e.Stats(); s.Zombies != 1 || s.Busy != 1 {
			t.Errorf("the old handler still has its slot: %+v", s)
		}
		close(release)
		after(time.Millisecond)
		if s := r.e.Stats(); s.Zombies != 0 || s.Busy != 0 {
			t.Errorf("after its return: %+v", s)
		}
		if got := r.store.get(id); len(got.ends) != 2 || !strings.Contains(r.log.String(), "late return") {
			t.Error("the late return was not dropped")
		}
		r.stop()
	})
}

func TestAbandonedZombieIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := start(t, newFakeStore(), runners{"deaf": func(context.Context, Job) task.Result {
			<-release
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		rung := r.store.add(1, spec{kind: "deaf", timeoutMs: 100})
		id := rung.TaskIDs[0]
		r.bus.Ring(rung)
		after(50 * time.Millisecond)
		r.live.signals <- task.Signal{Kind: "abandon", TaskID: id, Epoch: 1} // no zombie yet: nothing happens
		after(4 * time.Second)
		r.store.mu.Lock()
		r.store.tasks[id].State, r.store.tasks[id].Reason = task.Failed, task.Abandoned
		r.store.mu.Unlock()
		r.live.signals <- task.Signal{Kind: "abandon", TaskID: id, Epoch: 1}
		after(10 * time.Second)
		if r.store.left(true) != 0 {
			t.Error("its claim is left")
		}
		close(release)
		after(time.Second)
		if got := r.expect(id, task.Failed); len(got.ends) != 0 {
			t.Errorf("ends %+v", got.ends)
		}
		r.stop()
	})
}

func TestOnlyLongRunnersAreInTheLiveView(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"ms": func(ctx context.Context, j Job) task.Result {
			d, _ := time.ParseDuration(strings.Trim(string(j.Payload), `"`))
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		rung := r.store.add(1, spec{kind: "ms", payload: `"150ms"`}, spec{kind: "ms", payload: `"1s"`})
		r.bus.Ring(rung)
		after(300 * time.Millisecond)
		if got := r.live.entries(); len(got) != 1 || got[rung.TaskIDs[1]].Epoch != 1 || got[rung.TaskIDs[1]].Kind != "ms" {
			t.Errorf("shown %+v", got)
		}
		after(time.Second)
		if got := r.live.entries(); len(got) != 0 {
			t.Errorf("still shown %+v", got)
		}
		if n := r.live.sent(); n > 1 {
			t.Errorf("%d batches for one long task", n)
		}
		r.stop()
	})
}

func TestNewLaneIsServedWithinASecondAndForeignQueuesAreNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(task.Lane{ID: 1, Queue: "a", Priority: task.Normal}), runners{"k": succeed},
			func(o *Options) { o.Queues = []string{"a", "b"} })
		after(300 * time.Millisecond)
		r.store.mu.Lock()
		r.store.lanes = append(r.store.lanes, task.Lane{ID: 2, Queue: "b", Priority: task.High}, task.Lane{ID: 3, Queue: "c", Priority: task.High})
		r.store.mu.Unlock()
		rung := r.store.add(2, spec{kind: "k"})
		r.bus.Ring(rung)
		after(time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		if r.bus.inlet(3) != nil {
			t.Error("a foreign queue was opened")
		}
		r.stop()
	})
}

func TestPausedLaneStartsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		pause := func(on bool) {
			r.store.mu.Lock()
			r.store.lanes[0].Paused = on
			r.store.mu.Unlock()
			after(1100 * time.Millisecond)
		}
		pause(true)
		rung := r.store.add(1, spec{kind: "k"})
		r.bus.Ring(rung)
		after(5 * time.Second)
		r.expect(rung.TaskIDs[0], task.Waiting)
		pause(false)
		after(6 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		r.stop()
	})
}

func TestEarlyBellIsKeptAndNeverStartedEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var at int64
		r := start(t, newFakeStore(), runners{"k": func(context.Context, Job) task.Result {
			at = wall{}.Now()
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		after(100 * time.Millisecond)
		due := wall{}.Now() + 700
		rung := r.store.add(1, spec{kind: "k", dueAt: due})
		r.bus.publish(rung) // before its time
		after(time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		if at != due || len(r.bus.requeued()) != 0 {
			t.Errorf("started %d ms after its time, requeued %v", at-due, r.bus.requeued())
		}
		r.stop()
	})
}

func TestBellWithoutSlotIsGivenBackAndLaterTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"s": func(context.Context, Job) task.Result {
			time.Sleep(3 * time.Second)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = 2 })
		rung := r.store.add(1, spec{kind: "s"}, spec{kind: "s"})
		more := r.store.add(1, spec{kind: "s"})
		after(10 * time.Millisecond)
		r.bus.Ring(rung, more)
		after(2500 * time.Millisecond)
		r.expect(more.TaskIDs[0], task.Waiting)
		if n := r.bus.inlet(1).readyNow(); n != 0 {
			t.Errorf("ready %d without a free slot", n)
		}
		after(5 * time.Second)
		r.expect(more.TaskIDs[0], task.Succeeded)
		if len(r.bus.requeued()) != 1 || r.bus.requeued()[0] != 200 {
			t.Errorf("requeued %v", r.bus.requeued())
		}
		r.stop()
	})
}

func TestPartTakenBellIsTakenBitByBit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"s": func(context.Context, Job) task.Result {
			time.Sleep(100 * time.Millisecond)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = 3 })
		specs := make([]spec, 10)
		for i := range specs {
			specs[i].kind = "s"
		}
		rung := r.store.add(1, specs...)
		r.bus.Ring(rung)
		after(600 * time.Millisecond)
		if n := r.store.count(task.Succeeded); n != 10 {
			t.Errorf("%d of 10 after 4 rounds of 100 ms; log\n%s", n, r.log)
		}
		if r.bus.finished() != 1 || len(r.bus.requeued()) != 0 {
			t.Errorf("finished %d, requeued %v", r.bus.finished(), r.bus.requeued())
		}
		r.stop()
	})
}

func TestUnknownKindsStayInTheirBell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		rung := r.store.add(1, spec{kind: "k"}, spec{kind: "foreign"})
		r.bus.Ring(rung)
		after(4 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		r.expect(rung.TaskIDs[1], task.Waiting)
		if len(r.bus.requeued()) < 2 || r.bus.requeued()[0] != 25 || r.bus.requeued()[1] != 50 {
			t.Errorf("requeued %v", r.bus.requeued())
		}
		r.stop()
	})
}

func TestShellHasALimitOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now, peak atomic.Int64
		r := start(t, newFakeStore(), runners{"shell": func(context.Context, Job) task.Result {
			if n := now.Add(1); n > peak.Load() {
				peak.Store(n)
			}
			time.Sleep(200 * time.Millisecond)
			now.Add(-1)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}, "k": succeed}, func(o *Options) { o.ShellSlots = 2 })
		specs := []spec{{kind: "k"}, {kind: "k"}}
		for range 8 {
			specs = append(specs, spec{kind: "shell"})
		}
		mixed := r.store.add(1, specs...)
		bare := r.store.add(1, specs...)
		bare.Items = nil // nothing travelled: what kinds it holds is not known
		r.bus.Ring(mixed, bare)
		after(20 * time.Second)
		if n := r.store.count(task.Succeeded); n != 20 {
			t.Errorf("%d of 20 succeeded", n)
		}
		if peak.Load() != 2 {
			t.Errorf("%d shell tasks at once, limit 2", peak.Load())
		}
		r.e.mu.Lock()
		if e := r.e; e.shellFree != 2 || e.free != e.o.Slots {
			t.Errorf("slots left over: %d shell, %d all", e.shellFree, e.free)
		}
		r.e.mu.Unlock()
		r.stop()
	})
}

// A claim of a backlog waits for all slots, but not for long beside the run time; what fits into the free slots waits for
// nothing.
func TestClaimsOfABacklogGatherSlots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const slots = 8
		type made struct {
			at time.Duration
			n  int
		}
		var mu sync.Mutex
		var claims []made
		begin := time.Now()
		s := newFakeStore()
		s.claimed = func(_ task.ClaimRequest, got task.Claimed) {
			mu.Lock()
			claims = append(claims, made{time.Since(begin), len(got.Tasks)})
			mu.Unlock()
		}
		ends := make(chan struct{})
		r := start(t, s, runners{"k": func(context.Context, Job) task.Result {
			<-ends
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = slots })
		after(10 * time.Millisecond)
		release := func(n int) (at time.Duration) {
			at = time.Since(begin)
			for range n {
				ends <- struct{}{}
			}
			synctest.Wait()
			return at
		}
		take := func() []made {
			mu.Lock()
			defer mu.Unlock()
			out := claims
			claims = nil
			return out
		}
		four := []spec{{kind: "k"}, {kind: "k"}, {kind: "k"}, {kind: "k"}}
		for range 5 {
			r.bus.Ring(r.store.add(1, four...))
		}
		after(20 * time.Millisecond)
		if got := take(); len(got) == 0 || got[len(got)-1].n+got[0].n < slots {
			t.Fatalf("first claims %v, want all %d slots taken", got, slots)
		}
		at := release(slots) // all at once: one claim, at once
		if got := take(); len(got) != 1 || got[0].n != slots || got[0].at != at {
			t.Errorf("claims %v after %d slots came free at %v", got, slots, at)
		}
		at = release(1) // one by one: it is waited for, though not for long
		if got := take(); len(got) != 0 {
			t.Errorf("claims %v for one free slot of %d", got, slots)
		}
		after(r.e.o.GatherAtMost)
		if got := take(); len(got) != 1 || got[0].n != 1 || got[0].at-at < gatherLeast || got[0].at-at > r.e.o.GatherAtMost {
			t.Errorf("claims %v, want one of 1 task from %v to %v after %v", got, gatherLeast, r.e.o.GatherAtMost, at)
		}
		release(slots) // three are left of twenty: they fit
		if got := take(); len(got) != 1 || got[0].n != 3 {
			t.Errorf("claims %v, want one of the 3 that are left", got)
		}
		close(ends)
		after(time.Second)
		if n := r.store.count(task.Succeeded); n != 20 {
			t.Errorf("%d of 20 succeeded", n)
		}
		r.stop()
	})
}

// Slots of handlers that run for long, or ignore their end, are not waited for.
func TestClaimsOfABacklogDoNotWaitForLongRunners(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const slots = 8
		ends, forever := make(chan struct{}), make(chan struct{})
		r := start(t, newFakeStore(), runners{"long": func(context.Context, Job) task.Result {
			<-forever
			return task.Result{Outcome: task.OutcomeSucceeded}
		}, "k": func(context.Context, Job) task.Result {
			<-ends
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = slots })
		r.bus.Ring(r.store.add(1, spec{kind: "long"}, spec{kind: "long", timeoutMs: 100})) // one of them will be a zombie
		after(5 * time.Second)
		backlog := make([]spec, 40)
		for i := range backlog {
			backlog[i].kind = "k"
		}
		r.bus.Ring(r.store.add(1, backlog...))
		after(20 * time.Millisecond)
		for range 3 {
			begin := time.Now()
			for range slots - 2 {
				ends <- struct{}{}
			}
			synctest.Wait()
			if n := r.store.count(task.Running); n != slots || time.Since(begin) != 0 {
				t.Errorf("%d tasks run %v after all slots but those of the long came free, want %d at once", n, time.Since(begin), slots)
			}
			after(10 * time.Millisecond)
		}
		close(ends)
		close(forever)
		after(5 * time.Second)
		r.e.mu.Lock()
		if r.e.long != 0 || r.e.free != slots {
			t.Errorf("%d long runners and %d free slots when all is done", r.e.long, r.e.free)
		}
		r.e.mu.Unlock()
		r.stop()
	})
}

// The rest of a burst does not wait until the claim of its first task is back: nearly all slots are free.
func TestClaimOfABurstStartsBesideThatOfItsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &lockedStore{fakeStore: newFakeStore(), free: make(chan struct{})}
		first, rest := s.add(1, spec{kind: "k"}), s.add(1, slices.Repeat([]spec{{kind: "k"}}, 100)...)
		s.bell = first.ID
		r := start(t, s, runners{"k": succeed}, func(o *Options) { o.Slots = 64 })
		r.store = s.fakeStore
		after(10 * time.Millisecond)
		r.bus.Ring(first)
		synctest.Wait()
		r.bus.Ring(rest)
		synctest.Wait() // no time has passed
		if got := r.store.get(rest.TaskIDs[0]); got.State != task.Succeeded {
			t.Errorf("first task of the rest: state %d while the claim before it is under way", got.State)
		}
		close(s.free)
		after(time.Second)
		r.expect(first.TaskIDs[0], task.Succeeded)
		r.stop()
	})
}

// A claim that is waited for may become impossible meanwhile: the dispatcher must not look again and again for that.
func TestGatheringEndsWhenNothingMayBeClaimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for what, stop := range map[string]func(*Engine){
			"database away": func(e *Engine) { e.pauseNs = e.mono.ns() + int64(time.Second) },
			"fenced":        func(e *Engine) { e.fenced = true },
			"no slot":       func(e *Engine) { e.free = 0 },
			"results wait":  func(e *Engine) { e.fin.n.Store(int64(e.o.MaxResults)) },
			"one lane left, its claim under way": func(e *Engine) {
				e.order[0].queue, e.order[1].claiming = nil, 1
				e.calls.open[1] = &plan{lane: e.order[1], madeNs: e.mono.ns()}
			},
		} {
			e, err := New(Options{Store: newFakeStore(), Source: newFakeBus(), Clock: wall{}, Slots: 8, Runners: []Runner{fakeRunner{"k", succeed}}})
			if err != nil {
				t.Fatal(err)
			}
			e.id, e.free = 1, 3
			for id := int32(1); id <= 2; id++ {
				l := &lane{Lane: task.Lane{ID: id, Queue: "q"}, byBell: map[int64]*held{}}
				l.queue = []*held{{rung: task.Rung{Bell: task.Bell{ID: int64(id)}}, sinceNs: e.mono.ns(), arrivedNs: e.mono.ns(), left: 8}}
				e.order = append(e.order, l)
			}
			if plans, _, next := e.step(); len(plans) != 0 || next == 0 || next > int64(gatherLeast) {
				t.Fatalf("%d plans, next look in %v", len(plans), time.Duration(next))
			}
			stop(e)
			time.Sleep(e.o.GatherAtMost)
			if plans, _, next := e.step(); len(plans) != 0 || next < int64(gatherLeast) {
				t.Errorf("%s: %d plans, next look in %v", what, len(plans), time.Duration(next))
			}
		}
	})
}

// poisonedStore refuses every claim of a bell for good.
type poisonedStore struct {
	*fakeStore
	bell  atomic.Int64
	tries atomic.Int64
}

func (s *poisonedStore) Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error) {
	if slices.Contains(req.Bells, s.bell.Load()) {
		s.tries.Add(1)
		return task.Claimed{}, errors.New("a row that cannot be written")
	}
	return s.fakeStore.Claim(ctx, req)
}

// A bell that can never be claimed holds up neither its lane nor others, however often it comes.
func TestClaimsGoOnBesideABellThatIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &poisonedStore{fakeStore: newFakeStore(task.Lane{ID: 1, Queue: "q"}, task.Lane{ID: 2, Queue: "r"})}
		r := start(t, s, runners{"k": succeed})
		r.store = s.fakeStore
		after(100 * time.Millisecond)
		bad := r.store.add(1, spec{kind: "k"})
		s.bell.Store(bad.ID)
		batch := []task.Rung{r.store.add(1, spec{kind: "k"}), bad, r.store.add(1, spec{kind: "k"})}
		r.bus.Ring(batch...)
		after(100 * time.Millisecond)
		if n := r.store.count(task.Succeeded); n != 2 {
			t.Errorf("%d of 2 succeeded that came with it", n)
		}
		for i := range 3_000 {
			good := r.store.add(int32(i%2+1), spec{kind: "k"})
			r.bus.Ring(good)
			after(20 * time.Millisecond)
			if got := r.store.get(good.Items[0].ID); got.State != task.Succeeded {
				t.Fatalf("task %d: state %d 20 ms after it was rung", i, got.State)
			}
		}
		if n := s.tries.Load(); n < 5 || n > 30 {
			t.Errorf("claimed %d times in a minute", n)
		}
		s.bell.Store(0)
		after(time.Minute)
		r.expect(bad.Items[0].ID, task.Succeeded)
		r.stop()
	})
}

// lockedStore holds the claim of one bell up until it is let go, as a row that somebody else has locked does.
type lockedStore struct {
	*fakeStore
	bell int64
	free chan struct{}
}

func (s *lockedStore) Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error) {
	if slices.Contains(req.Bells, s.bell) {
		<-s.free
	}
	return s.fakeStore.Claim(ctx, req)
}

// A claim that waits for a lock holds its lane up for a moment only.
func TestClaimsGoOnBesideOneThatIsHeldUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &lockedStore{fakeStore: newFakeStore(), free: make(chan struct{})}
		locked := s.add(1, spec{kind: "k"})
		s.bell = locked.ID
		r := start(t, s, runners{"k": succeed})
		r.store = s.fakeStore
		r.bus.Ring(locked)
		after(time.Second)
		for i := range 100 {
			good := r.store.add(1, spec{kind: "k"})
			r.bus.Ring(good)
			after(2 * claimSlow)
			if got := r.store.get(good.Items[0].ID); got.State != task.Succeeded {
				t.Errorf("task %d: state %d %v after it was rung", i, got.State, 2*claimSlow)
				break
			}
		}
		close(s.free)
		after(time.Second)
		r.expect(locked.TaskIDs[0], task.Succeeded)
		r.stop()
	})
}

func TestLanesShareSlotsByWeight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		lanes := []task.Lane{{ID: 1, Queue: "q", Priority: task.High}, {ID: 2, Queue: "q", Priority: task.Normal}, {ID: 3, Queue: "q", Priority: task.Low}}
		var mu sync.Mutex
		started := map[int32]int{}
		total := 0
		s := newFakeStore(lanes...)
		s.claimed = func(req task.ClaimRequest, got task.Claimed) {
			mu.Lock()
			if total < 1000 {
				started[req.LaneID] += len(got.Tasks)
				total += len(got.Tasks)
			}
			mu.Unlock()
		}
		r := start(t, s, runners{"k": func(context.Context, Job) task.Result {
			time.Sleep(10 * time.Millisecond)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Slots = 8 })
		for range 700 {
			for _, l := range lanes {
				r.bus.Ring(r.store.add(l.ID, spec{kind: "k"}))
			}
		}
		after(2 * time.Second)
		mu.Lock()
		h, n, l := float64(started[1]), float64(started[2]), float64(started[3])
		mu.Unlock()
		if total < 1000 || h/n < 1.8 || h/n > 2.2 || n/l < 2.6 || n/l > 3.4 {
			t.Errorf("high:normal:low = %v:%v:%v of %d, want 6:3:1", h, n, l, total)
		}
		r.stop()
	})
}

func TestDrainFinishesWhatEndsInTimeAndReleasesTheRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stuck := make(chan struct{})
		r := start(t, newFakeStore(), runners{
			"short": func(context.Context, Job) task.Result {
				time.Sleep(4 * time.Second)
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
			"polite": func(ctx context.Context, _ Job) task.Result {
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), ErrDrained) {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				return failed("x", "interrupted", false)
			},
			"deaf": func(context.Context, Job) task.Result { <-stuck; return task.Result{} },
		})
		rung := r.store.add(1, spec{kind: "short"}, spec{kind: "polite"}, spec{kind: "deaf"})
		r.bus.Ring(rung)
		after(time.Second)
		late := r.store.add(1, spec{kind: "short"})
		at := time.Now()
		r.e.Drain()
		after(time.Millisecond)
		r.bus.Ring(late)
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		if d := time.Since(at); d < 10*time.Second || d > 12*time.Second {
			t.Errorf("drained in %v", d)
		}
		r.expect(rung.TaskIDs[0], task.Succeeded)
		if got := r.expect(rung.TaskIDs[1], task.Waiting); got.Losses != 0 || got.Failures != 0 {
			t.Errorf("a released task counts nothing: %+v", got.Task)
		}
		r.expect(rung.TaskIDs[2], task.Running) // its handler has not returned: only a rescuer may take it
		r.expect(late.TaskIDs[0], task.Waiting)
		for _, st := range r.store.workers {
			if st != task.WorkerGone {
				t.Error("the worker's row is not gone")
			}
		}
		close(stuck)
	})
}

func TestDrainOfAnIdleWorkerIsInstant(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(time.Second)
		at := time.Now()
		r.stop()
		if d := time.Since(at); d > 50*time.Millisecond {
			t.Errorf("%v", d)
		}
	})
}

func TestDrainAskedForByTheAPI(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(time.Second)
		r.store.mu.Lock()
		for id := range r.store.workers {
			r.store.workers[id] = task.WorkerDraining
		}
		r.store.mu.Unlock()
		at := time.Now()
		if err := <-r.done; err != nil || time.Since(at) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(at))
		}
	})
}

func TestDrainEndsInTimeWithoutADatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed, "wait": func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			return task.Result{}
		}})
		r.bus.Ring(r.store.add(1, spec{kind: "wait"}))
		after(time.Second)
		r.store.setFail(func(string) error { return errGone })
		at := time.Now()
		r.e.Drain()
		<-r.done
		if d := time.Since(at); d > 12*time.Second {
			t.Errorf("drained in %v", d)
		}
	})
}

func TestKillEndsAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var cancelled atomic.Bool
		r := start(t, newFakeStore(), runners{"deaf": func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			cancelled.Store(true)
			<-stuck
			return task.Result{}
		}})
		r.bus.Ring(r.store.add(1, spec{kind: "deaf"}))
		after(time.Second)
		at := time.Now()
		r.e.Drain()
		after(time.Second)
		r.e.Kill()
		if err := <-r.done; !errors.Is(err, ErrKilled) || time.Since(at) > 1010*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(at))
		}
		synctest.Wait()
		if !cancelled.Load() {
			t.Error("contexts were not cancelled")
		}
		close(stuck)
	})
}

func TestFencedWorkerStopsAndRegistersAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		causes := make(chan error, 2)
		var again atomic.Bool
		measured := metrics.New("test")
		r := start(t, newFakeStore(), runners{"k": func(ctx context.Context, j Job) task.Result {
			if again.Load() {
				return task.Result{Outcome: task.OutcomeSucceeded}
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return task.Result{Outcome: task.OutcomeSucceeded, Body: []byte("stale")}
		}}, func(o *Options) { o.Metrics = measured })
		rung := r.store.add(1, spec{kind: "k"})
		id := rung.TaskIDs[0]
		r.bus.Ring(rung)
		after(time.Second)
		first := r.e.Stats().WorkerID
		// A scheduler declares it dead and rescues its task.
		r.store.mu.Lock()
		r.store.workers[first] = task.WorkerGone
		again.Store(true)
		var bells []task.Bell
		for _, c := range r.store.claims {
			tk := r.store.tasks[id]
			tk.Losses++
			bells = append(bells, *r.store.wait(tk, wall{}.Now()))
			delete(r.store.claims, c.ID)
		}
		r.store.mu.Unlock()
		if err := <-causes; !errors.Is(err, ErrFenced) {
			t.Errorf("cause %v", err)
		}
		after(time.Second)
		if id := r.e.Stats().WorkerID; id == first || id == 0 {
			t.Errorf("worker id %d after %d", id, first)
		}
		if got := r.store.get(id); got.State != task.Waiting || len(got.ends) != 0 {
			t.Errorf("the stale result was taken: %+v", got.ends)
		}
		for _, b := range bells {
			r.bus.Ring(task.Rung{Bell: b})
		}
		after(time.Second)
		if got := r.expect(id, task.Succeeded); got.Epoch != 2 || len(got.ends) != 1 {
			t.Errorf("epoch %d, ends %+v", got.Epoch, got.ends)
		}
		seen := httptest.NewRecorder()
		measured.Handler().ServeHTTP(seen, httptest.NewRequest("GET", "/metrics", nil))
		if !strings.Contains(seen.Body.String(), "\ntaskweir_results_fenced_total 0\n") {
			t.Error("the engine counted a fenced result, which the store that drops it counts")
		}
		r.stop()
	})
}

func TestWorkerFencesItselfUnlessTheDatabaseIsGoneForAll(t *testing.T) {
	for name, c := range map[string]struct {
		seen, gone, fenced bool
	}{
		"a scheduler reaches the database":  {seen: true, fenced: true},
		"redis is gone too":                 {gone: true, fenced: true},
		"no scheduler reaches the database": {fenced: false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var cause error
				var at time.Time
				r := start(t, newFakeStore(), runners{"k": func(ctx context.Context, _ Job) task.Result {
					select {
					case <-ctx.Done():
						cause, at = context.Cause(ctx), time.Now()
						return task.Result{}
					case <-time.After(30 * time.Second):
						return task.Result{Outcome: task.OutcomeSucceeded}
					}
				}})
				rung := r.store.add(1, spec{kind: "k"})
				r.bus.Ring(rung)
				after(time.Second)
				r.live.set(c.seen, c.gone)
				r.store.setFail(func(string) error { return errGone })
				gone := time.Now()
				after(15 * time.Second)
				if c.fenced != errors.Is(cause, ErrFenced) {
					t.Fatalf("cause %v", cause)
				}
				if d := at.Sub(gone); c.fenced && (d < 6*time.Second || d > 11*time.Second) {
					t.Errorf("fenced after %v", d)
				}
				r.store.setFail(nil)
				after(30 * time.Second)
				if c.fenced {
					// The row was never declared gone: the worker gives its task back itself, takes it again and ends it.
					if got := r.store.get(rung.TaskIDs[0]); got.Losses != 0 || got.State == task.Running && got.Epoch == 1 {
						t.Errorf("after the return of the database: %+v", got.Task)
					}
				} else {
					r.expect(rung.TaskIDs[0], task.Succeeded)
				}
				after(40 * time.Second)
				r.expect(rung.TaskIDs[0], task.Succeeded)
				r.stop()
			})
		})
	}
}

func TestTaskThatIsNotOursAnyMoreIsStopped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		causes := make(chan error, 1)
		r := start(t, newFakeStore(), runners{"k": func(ctx context.Context, _ Job) task.Result {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return task.Result{}
		}})
		rung := r.store.add(1, spec{kind: "k"})
		r.bus.Ring(rung)
		after(time.Second)
		r.store.mu.Lock()
		r.store.tasks[rung.TaskIDs[0]].Epoch = 5
		r.store.tasks[rung.TaskIDs[0]].WorkerID = 1
		r.store.mu.Unlock()
		at := time.Now()
		if err := <-causes; !errors.Is(err, ErrFenced) || time.Since(at) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(at))
		}
		after(time.Second)
		r.stop()
	})
}

func TestClaimWithUnknownOutcomeIsFoundAndGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var once atomic.Bool
		s := newFakeStore()
		s.unknown = func() bool { return once.CompareAndSwap(false, true) }
		r := start(t, s, runners{"k": succeed})
		rung := r.store.add(1, spec{kind: "k"}, spec{kind: "k"})
		r.bus.Ring(rung)
		after(8 * time.Second)
		for _, id := range rung.TaskIDs {
			if got := r.expect(id, task.Succeeded); got.Losses != 0 || got.Epoch != 2 {
				t.Errorf("losses %d, epoch %d", got.Losses, got.Epoch)
			}
		}
		r.e.mu.Lock()
		unknown := len(r.e.unknown)
		r.e.mu.Unlock()
		if s := r.e.Stats(); s.Busy != 0 || unknown != 0 {
			t.Errorf("left over: %+v, %d unknown claims", s, unknown)
		}
		r.stop()
	})
}

func TestSelfCheckReleasesAClaimThatIsNotInMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(time.Second)
		rung := r.store.add(1, spec{kind: "k"})
		id := rung.TaskIDs[0]
		r.store.mu.Lock()
		tk := r.store.tasks[id]
		tk.State, tk.Epoch, tk.Holder, tk.WorkerID = task.Running, 1, 77, r.e.Stats().WorkerID
		r.store.claims[77] = &task.Claim{ID: 77, WorkerID: tk.WorkerID, TaskIDs: []int64{id}}
		delete(r.store.bells, rung.ID)
		r.store.mu.Unlock()
		after(7 * time.Second)
		if got := r.expect(id, task.Succeeded); got.Losses != 1 {
			t.Errorf("losses %d", got.Losses)
		}
		r.stop()
	})
}

func TestDatabaseGoneResultsAreKeptAndBackPressureHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ran atomic.Int64
		r := start(t, newFakeStore(), runners{"k": func(context.Context, Job) task.Result {
			ran.Add(1)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.MaxResults = 50; o.SelfFenceAfter = time.Hour })
		after(10 * time.Millisecond)
		r.store.setFail(func(op string) error {
			if op == "Finish" {
				return errGone
			}
			return nil
		})
		for range 40 {
			r.bus.Ring(r.store.add(1, spec{kind: "k"}, spec{kind: "k"}, spec{kind: "k"}, spec{kind: "k"}, spec{kind: "k"}))
		}
		after(10 * time.Second)
		if n := ran.Load(); n < 50 || n > 50+16 {
			t.Errorf("%d handlers ran with 50 results waiting at most", n)
		}
		r.store.setFail(nil)
		after(20 * time.Second)
		if n := r.store.count(task.Succeeded); n != 200 || ran.Load() != 200 {
			t.Errorf("%d succeeded, %d ran", n, ran.Load())
		}
		r.stop()
	})
}

func TestRefusedResultIsFoundByHalving(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := newFakeStore()
		r := start(t, &refusing{fakeStore: store}, runners{"k": func(_ context.Context, j Job) task.Result {
			return task.Result{Outcome: task.OutcomeSucceeded, Body: j.Payload}
		}})
		r.store = store
		specs := make([]spec, 10)
		for i := range specs {
			specs[i] = spec{kind: "k", payload: `"good"`}
		}
		specs[6].payload = `"bad"`
		rung := store.add(1, specs...)
		r.bus.Ring(rung)
		after(2 * time.Second)
		if n := store.count(task.Succeeded); n != 10 {
			t.Errorf("%d of 10", n)
		}
		if got := store.get(rung.TaskIDs[6]); got.ends[0].Result != nil {
			t.Error("the refused result was stored")
		}
		if store.left(true) != 0 {
			t.Error("claim left")
		}
		r.stop()
	})
}

// refusing refuses batches with a bad result, as a database does that cannot store it.
type refusing struct{ *fakeStore }

func (s *refusing) Finish(ctx context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	for _, e := range fb.Endings {
		if string(e.Result) == `"bad"` {
			return nil, errors.New("data too long")
		}
	}
	return s.fakeStore.Finish(ctx, fb)
}

func TestMissingBodyFailsAndLoadIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(10 * time.Millisecond)
		var n atomic.Int32
		r.store.setFail(func(op string) error {
			if op == "Load" && n.Add(1) < 4 {
				return errGone
			}
			return nil
		})
		rung := r.store.add(1, spec{kind: "k", noBody: true}, spec{kind: "k", noBody: true})
		r.store.mu.Lock()
		r.store.tasks[rung.TaskIDs[1]].item.Body = nil
		r.store.mu.Unlock()
		r.bus.Ring(rung)
		after(2 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		if got := r.expect(rung.TaskIDs[1], task.Failed); got.ends[0].ErrCode != "body_missing" {
			t.Errorf("%+v", got.ends[0])
		}
		r.stop()
	})
}

func TestStaleItemsOfAMessageAreNotUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got string
		r := start(t, newFakeStore(), runners{"k": func(_ context.Context, j Job) task.Result {
			got = string(j.Payload)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		rung := r.store.add(1, spec{kind: "k", payload: `"true"`})
		stale := rung
		stale.Epoch = 3 // a message of another epoch of the same bell id cannot be: do not believe it
		stale.Items = []task.Item{rung.Items[0]}
		stale.Items[0].Body, _ = task.Body{Payload: []byte(`"forged"`)}.Encode()
		r.bus.Ring(stale)
		after(time.Second)
		if got != `"true"` {
			t.Errorf("ran with %s", got)
		}
		r.stop()
	})
}

func TestStartWaitsForTheDatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newFakeStore()
		s.fail = func(string) error { return errGone }
		r := start(t, s, runners{"k": succeed})
		after(5 * time.Second)
		s.setFail(nil)
		rung := s.add(1, spec{kind: "k"})
		r.bus.Ring(rung)
		after(5 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		r.stop()
	})
}

func TestDrainWhileItWaitsForTheDatabase(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newFakeStore()
		s.fail = func(string) error { return errGone }
		r := start(t, s, runners{"k": succeed})
		after(time.Second)
		r.stop()
		r = start(t, s, runners{"k": succeed})
		after(time.Second)
		r.e.Kill()
		if err := <-r.done; !errors.Is(err, ErrKilled) {
			t.Errorf("killed: %v", err)
		}
	})
}

func TestDrainOfAFencedWorkerThatCannotRegister(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(time.Second)
		r.store.mu.Lock()
		for id := range r.store.workers {
			r.store.workers[id] = task.WorkerGone
		}
		r.store.mu.Unlock()
		r.store.setFail(func(op string) error {
			if op == "NewWorker" {
				return errGone
			}
			return nil
		})
		after(5 * time.Second)
		if id := r.e.Stats().WorkerID; id != 0 {
			t.Errorf("worker id %d", id)
		}
		r.stop() // the bubble ends only when every goroutine has
	})
}

func TestBodiesThatCannotBeReadYetAreNoZombies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newFakeStore()
		r := start(t, s, runners{"k": succeed}, func(o *Options) { o.SelfFenceAfter = time.Hour })
		after(10 * time.Millisecond)
		s.setFail(func(op string) error {
			if op == "Load" {
				return errGone
			}
			return nil
		})
		rung := s.add(1, spec{kind: "k", noBody: true}, spec{kind: "k", noBody: true})
		rung.Items = nil // not even the kinds are known
		r.bus.Ring(rung)
		after(time.Second)
		if got := r.e.Running(); len(got) != 2 || got[0].Kind != "" || got[0].Zombie {
			t.Errorf("running: %+v", got)
		}
		s.mu.Lock()
		s.tasks[rung.TaskIDs[0]].CancelAt = wall{}.Now()
		s.mu.Unlock()
		r.live.signals <- task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[0], Epoch: 1}
		after(20 * time.Second)
		if st := r.e.Stats(); st.Zombies != 0 || st.Busy != 1 {
			t.Errorf("a task that was cancelled before it was read holds its slot: %+v", st)
		}
		r.expect(rung.TaskIDs[0], task.Cancelled)
		s.setFail(nil)
		after(2 * time.Second)
		r.expect(rung.TaskIDs[1], task.Succeeded)
		r.stop()
	})
}

func TestBodiesThatCannotBeReadAreGivenBackByAFencedWorker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newFakeStore()
		r := start(t, s, runners{"k": succeed})
		after(10 * time.Millisecond)
		rung := s.add(1, spec{kind: "k", noBody: true})
		loads := 0
		s.setFail(func(op string) error {
			if op == "Load" || op == "Beat" && loads > 0 {
				loads++
				return errGone
			}
			return nil
		})
		r.bus.Ring(rung)
		after(30 * time.Second)
		if st := r.e.Stats(); st.Zombies != 0 || st.Busy != 0 {
			t.Errorf("%+v", st)
		}
		if got := r.expect(rung.TaskIDs[0], task.Waiting); got.Losses != 0 {
			t.Errorf("losses %d", got.Losses)
		}
		s.setFail(nil)
		after(10 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		r.stop()
	})
}

func TestStartGivesUpOnAnErrorThatWaitingCannotMend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newFakeStore()
		s.fail = func(string) error { return errors.New("no such table") }
		r := start(t, s, runners{"k": succeed})
		if err := <-r.done; err == nil || !strings.Contains(err.Error(), "no such table") {
			t.Errorf("%v", err)
		}
	})
}

func TestWatchdogReconnectsADeafInlet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"k": succeed})
		after(time.Second)
		in := r.bus.inlet(1)
		after(30 * time.Second)
		if in.reconnected() != 0 {
			t.Error("an idle lane was reconnected")
		}
		r.bus.mu.Lock()
		in.deaf = true
		r.bus.mu.Unlock()
		rung := r.store.add(1, spec{kind: "k"})
		r.bus.Ring(rung)
		after(20 * time.Second)
		r.expect(rung.TaskIDs[0], task.Succeeded)
		if in.reconnected() != 1 {
			t.Errorf("%d reconnects", in.reconnected())
		}
		r.stop()
	})
}

func TestCancelThatComesBeforeItsTask(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ran atomic.Bool
		s := newFakeStore()
		r := start(t, s, runners{"k": func(context.Context, Job) task.Result {
			ran.Store(true)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}})
		after(time.Second)
		rung := s.add(1, spec{kind: "k"})
		s.mu.Lock()
		s.claimed = func(task.ClaimRequest, task.Claimed) {
			s.tasks[rung.TaskIDs[0]].CancelAt = wall{}.Now()
			r.e.signal(task.Signal{Kind: "cancel", TaskID: rung.TaskIDs[0], Epoch: 1}) // the claim's answer is on its way
		}
		s.mu.Unlock()
		r.bus.Ring(rung)
		after(100 * time.Millisecond)
		r.expect(rung.TaskIDs[0], task.Cancelled)
		if ran.Load() {
			t.Error("the handler ran")
		}
		r.stop()
	})
}

func TestOptionsAreChecked(t *testing.T) {
	ok := Options{Store: newFakeStore(), Source: newFakeBus(), Clock: wall{}, Runners: []Runner{fakeRunner{"k", succeed}}}
	if _, err := New(ok); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no store":  func(o *Options) { o.Store = nil },
		"no source": func(o *Options) { o.Source = nil },
		"no clock":  func(o *Options) { o.Clock = nil },
		"no runner": func(o *Options) { o.Runners = nil },
		"two":       func(o *Options) { o.Runners = append(o.Runners, o.Runners[0]) },
	} {
		o := ok
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// refuseOnce refuses the first n calls of an operation for good.
func refuseOnce(op string, n int) func(string) error {
	return func(got string) error {
		if got == op && n > 0 {
			n--
			return errors.New("refused")
		}
		return nil
	}
}

func TestRefusedReleaseLeavesTheClaimToTheSelfCheck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var again atomic.Bool
		r := start(t, newFakeStore(), runners{"k": func(ctx context.Context, _ Job) task.Result {
			if !again.Swap(true) {
				<-ctx.Done()
			}
			return task.Result{Outcome: task.OutcomeFailed, ErrCode: "x"}
		}, "ok": succeed})
		after(10 * time.Millisecond)
		rung := r.store.add(1, spec{kind: "k", retry: &task.RetryPolicy{Max: 0}}, spec{kind: "ok"})
		r.bus.Ring(rung)
		after(time.Second)
		run := r.e.find(rung.TaskIDs[0], 1)
		r.store.setFail(refuseOnce("Release", 1))
		r.e.stopRun(run, ErrFenced)
		after(30 * time.Second)
		if got := r.expect(rung.TaskIDs[0], task.Failed); got.Epoch != 2 {
			t.Errorf("epoch %d", got.Epoch)
		}
		if n := r.store.left(true); n != 0 {
			t.Errorf("%d claims left", n)
		}
		r.stop()
	})
}

// refusesOne refuses every batch that holds the task, whatever is in it.
type refusesOne struct {
	*fakeStore
	id int64
}

func (s *refusesOne) Finish(ctx context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	for _, e := range fb.Endings {
		if e.TaskID == s.id && e.Epoch == 1 {
			return nil, errors.New("no partition for this value")
		}
	}
	return s.fakeStore.Finish(ctx, fb)
}

// The rows of the others' ends must not take the claim's row with them before the one that cannot be stored is released.
func TestEndThatCannotBeStoredIsReleasedThoughItsClaimEmpties(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &refusesOne{fakeStore: newFakeStore()}
		r := start(t, s, runners{"k": succeed})
		r.store = s.fakeStore
		after(10 * time.Millisecond)
		rung := s.add(1, spec{kind: "k"}, spec{kind: "k"}, spec{kind: "k"})
		s.id = rung.TaskIDs[0]
		s.setFail(refuseOnce("Release", 1)) // and its release is refused as well
		r.bus.Ring(rung)
		after(30 * time.Second)
		for _, id := range rung.TaskIDs {
			r.expect(id, task.Succeeded)
		}
		if n := s.left(true); n != 0 {
			t.Errorf("%d claims left", n)
		}
		r.stop()
	})
}

// ring rings n bells of one task each.
func (r *rig) ring(n int, kind string) (ids []int64) {
	for range n {
		rung := r.store.add(1, spec{kind: kind})
		ids = append(ids, rung.TaskIDs...)
		r.bus.Ring(rung)
	}
	return ids
}

func TestShellBellsWithoutAShellSlotDoNotBlockTheirLane(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"echo": succeed, "shell": func(ctx context.Context, _ Job) task.Result {
			select {
			case <-time.After(30 * time.Second):
			case <-ctx.Done():
			}
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.ShellSlots = 2 })
		after(10 * time.Millisecond)
		r.ring(300, "shell")
		after(10 * time.Millisecond)
		r.ring(20, "echo")
		after(500 * time.Millisecond)
		if n := r.store.count(task.Succeeded); n != 20 {
			t.Errorf("%d of 20 ran behind bells that wait for a shell slot", n)
		}
		if n := r.store.count(task.Running); n != 2 {
			t.Errorf("%d shell tasks run", n)
		}
		after(30 * time.Second)
		if n := r.store.count(task.Running); n != 2 {
			t.Errorf("%d shell tasks run after the first two", n)
		}
		if n := r.bus.inlet(1).readyNow(); n > 2*maxReady {
			t.Errorf("%d messages in flight", n)
		}
		r.stop()
	})
}

func TestShortShellTasksKeepTheirSlotsBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"shell": func(context.Context, Job) task.Result {
			time.Sleep(10 * time.Millisecond)
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.ShellSlots = 2 })
		after(10 * time.Millisecond)
		r.ring(400, "shell")
		after(3 * time.Second) // 2 s when no slot is ever idle
		if n := r.store.count(task.Succeeded); n != 400 {
			t.Errorf("%d of 400", n)
		}
		r.stop()
	})
}

func TestBellsOfStrangeKindsGoBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, newFakeStore(), runners{"echo": succeed, "shell": succeed})
		after(10 * time.Millisecond)
		ghosts := r.ring(300, "ghost")
		after(10 * time.Millisecond)
		if n := r.store.called("Claim"); n != 0 {
			t.Errorf("%d claims for what is not run here", n)
		}
		r.ring(20, "echo")
		after(100 * time.Millisecond)
		if n := r.store.count(task.Succeeded); n != 20 {
			t.Errorf("%d of 20", n)
		}
		// One of them runs elsewhere. Its message must not come for ever.
		r.store.mu.Lock()
		for id, b := range r.store.bells {
			if b.TaskIDs[0] == ghosts[0] {
				delete(r.store.bells, id)
			}
		}
		r.store.mu.Unlock()
		done := r.bus.finished()
		after(time.Minute)
		if n := r.bus.finished() - done; n != 1 {
			t.Errorf("%d messages of bells that are gone were finished, want 1", n)
		}
		r.stop()
	})
}

func TestResultsThatWaitAreBoundedByBytesToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ran atomic.Int64
		big := make([]byte, task.MaxLog)
		s := &widest{fakeStore: newFakeStore()}
		r := start(t, s, runners{"k": func(context.Context, Job) task.Result {
			ran.Add(1)
			return task.Result{Outcome: task.OutcomeSucceeded, Body: []byte(`"ok"`), Log: big}
		}}, func(o *Options) { o.SelfFenceAfter = time.Hour; o.MaxResultBytes = 8 << 20 })
		r.store = s.fakeStore
		after(10 * time.Millisecond)
		s.setFail(func(op string) error {
			if op == "Finish" {
				return errGone
			}
			return nil
		})
		r.ring(600, "k")
		after(5 * time.Second)
		if n := ran.Load(); n < 128 || n > 128+16 {
			t.Errorf("%d handlers ran, 128 fill the bound", n)
		}
		s.setFail(nil)
		after(20 * time.Second)
		if n := s.count(task.Succeeded); n != 600 {
			t.Errorf("%d of 600 succeeded", n)
		}
		if s.most > maxFlushBytes {
			t.Errorf("a transaction of %d bytes", s.most)
		}
		if n := r.e.fin.bytes.Load(); n != 0 {
			t.Errorf("%d bytes left", n)
		}
		r.stop()
	})
}

// widest notes the largest flush.
type widest struct {
	*fakeStore
	most int
}

func (s *widest) Finish(ctx context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	n := 0
	for _, e := range fb.Endings {
		n += len(e.Result) + len(e.Log)
	}
	s.mu.Lock()
	s.most = max(s.most, n)
	s.mu.Unlock()
	return s.fakeStore.Finish(ctx, fb)
}
