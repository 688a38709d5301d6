package worker

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/task"
)

// onRedis runs f on an embedded Redis and, when there is one, on a real one.
func onRedis(t *testing.T, f func(t *testing.T, client func() *rdb.Client)) {
	run := func(t *testing.T, url string) {
		f(t, func() *rdb.Client {
			c, err := rdb.Open(rdb.Options{URL: url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			return c
		})
	}
	t.Run("embedded", func(t *testing.T) {
		s, err := redisembed.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		run(t, s.URL())
	})
	t.Run("server", func(t *testing.T) {
		url := os.Getenv("TASKWEIR_TEST_REDIS")
		if url == "" {
			if os.Getenv("CI") == "true" {
				t.Fatal("TASKWEIR_TEST_REDIS is not set, but CI=true asks for every suite")
			}
			t.Skip("no Redis to test on: TASKWEIR_TEST_REDIS is not set (make test sets it)")
		}
		run(t, url)
	})
}

//go:noinline
func napUntil(done <-chan struct{}) { <-done }

//go:noinline
func helperOf(done <-chan struct{}, gone chan<- struct{}) { <-done; close(gone) }

// eventually looks until ok says that it saw enough.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// Two workers, each with its own connection, run tasks that look the same from outside; who asks has a third. The stack is
// that of the task asked for, from the worker that runs it, with what the handler reported and the goroutine it started.
func TestLookAtARunningAttempt(t *testing.T) {
	onRedis(t, func(t *testing.T, client func() *rdb.Client) {
		asker := client()
		release := make(chan struct{})
		rigs := [2]*rig{}
		ids := [2]int64{}
		for i := range rigs {
			store := newFakeStore()
			store.last = time.Now().UnixNano()/1000 + int64(i)*1_000_000 // a server keeps keys of other runs
			c := client()
			rigs[i] = start(t, store, runners{"k": func(_ context.Context, j Job) task.Result {
				if err := j.Report(map[string]int{"done": 1}); err != nil {
					t.Error(err)
				}
				if err := j.Report(map[string]any{"done": i, "of": 9}); err != nil {
					t.Error(err)
				}
				if err := j.Report(strings.Repeat("x", maxProgress)); !errors.Is(err, errProgress) {
					t.Errorf("too much: %v", err)
				}
				if err := j.Report(make(chan int)); !errors.Is(err, errProgress) {
					t.Errorf("no JSON: %v", err)
				}
				gone := make(chan struct{})
				go helperOf(release, gone)
				napUntil(release)
				<-gone
				return task.Result{Outcome: task.OutcomeSucceeded}
			}}, func(o *Options) { o.Live = c })
			rung := store.add(1, spec{kind: "k"}, spec{kind: "k"})
			rigs[i].bus.Ring(rung)
			ids[i] = rung.TaskIDs[0]
		}
		for i, r := range rigs {
			var d task.LiveDetail
			eventually(t, "the handler waits", func() bool {
				var err error
				d, err = asker.Look(t.Context(), r.e.workerID(), ids[i], 1)
				return err == nil && len(d.Goroutines) == 2 && d.Goroutines[0].State == "chan receive" && d.Goroutines[1].State == "chan receive"
			})
			if want := map[int]string{0: `{"done":0,"of":9}`, 1: `{"done":1,"of":9}`}[i]; string(d.Progress) != want || d.Round != 3 || d.Epoch != 1 || d.AttemptID == 0 || d.ElapsedMs < 0 {
				t.Errorf("%+v", d)
			}
			if f := d.Goroutines[0].Frames[0]; !strings.HasSuffix(f.Function, "worker.napUntil") || !strings.HasSuffix(f.File, "look_test.go") || f.Line < 1 {
				t.Errorf("first frame %+v", f)
			}
			if f := d.Goroutines[1].Frames[0]; !strings.HasSuffix(f.Function, "worker.helperOf") {
				t.Errorf("helper %+v", f)
			}
			if d, err := asker.Look(t.Context(), r.e.workerID(), ids[1-i], 1); err != nil || !d.Gone {
				t.Errorf("the other worker's task: %+v, %v", d, err)
			}
			if d, err := asker.Look(t.Context(), r.e.workerID(), ids[i], 2); err != nil || !d.Gone {
				t.Errorf("another epoch: %+v, %v", d, err)
			}
		}
		close(release)
		for i, r := range rigs {
			eventually(t, "it ended", func() bool { return r.store.get(ids[i]).State == task.Succeeded })
			if d, err := asker.Look(t.Context(), r.e.workerID(), ids[i], 0); err != nil || !d.Gone || len(d.Goroutines) != 0 {
				t.Errorf("after its end: %+v, %v", d, err)
			}
			r.stop()
		}
	})
}

// Many questions at once share profiles, none holds up a cancel, and malformed ones are dropped.
func TestLooksAreBoundedAndHoldNothingUp(t *testing.T) {
	s := newFakeStore()
	began := make(chan int64, 1)
	r := start(t, s, runners{"k": func(ctx context.Context, j Job) task.Result {
		began <- j.TaskID
		<-ctx.Done()
		return task.Result{Outcome: task.OutcomeFailed}
	}})
	r.bus.Ring(s.add(1, spec{kind: "k"}))
	id := <-began
	for range 2000 {
		r.e.signal(task.Signal{Kind: "look", TaskID: id, Reply: "r"})
	}
	r.e.signal(task.Signal{Kind: "look", TaskID: id})
	r.e.signal(task.Signal{Kind: "look", TaskID: id, Reply: strings.Repeat("x", 65)})
	if n := len(r.e.looks); n > maxLooks {
		t.Errorf("%d wait", n)
	}
	start := time.Now()
	r.e.signal(task.Signal{Kind: "cancel", TaskID: id, Epoch: 1})
	eventually(t, "cancelled", func() bool { return s.get(id).State == task.Cancelled })
	if d := time.Since(start); d > time.Second {
		t.Errorf("the cancel took %v", d)
	}
	eventually(t, "answered", func() bool { _, ok := r.live.answer("r"); return ok })
	r.stop()
}

func TestReportWithoutAnEngineIsHarmless(t *testing.T) {
	if err := (Job{}).Report(1); err != nil {
		t.Error(err)
	}
}

func TestPauseBetweenProfiles(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: lookPause, 2 * time.Millisecond: lookPause, 35 * time.Millisecond: 315 * time.Millisecond, 3 * time.Second: longPause} {
		if got := pauseAfter(took); got != want {
			t.Errorf("after %v: %v, want %v", took, got, want)
		}
	}
}
