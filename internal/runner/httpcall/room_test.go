package httpcall

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

// TestAHangingEndpointLeavesRoom: its calls take their part of the slots and no more; the others go at once, come again about as
// often as room can be expected, and one after the other.
func TestAHangingEndpointLeavesRoom(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: func(r *http.Request) (int, http.Header, time.Duration) {
			if r.URL.Host == "hangs.test" {
				return 200, nil, time.Hour
			}
			return 200, nil, 0
		}}
		r, _ := gated(f, GateOptions{Concurrency: 8})
		ctx, cancel := context.WithCancelCause(context.Background())
		var wg sync.WaitGroup
		var snoozed atomic.Int32
		var longest atomic.Int64
		for range 1000 {
			wg.Go(func() {
				if res := r.Run(ctx, job(`{"url":"http://hangs.test"}`)); res.Outcome == task.OutcomeSnoozed {
					snoozed.Add(1)
					for old := longest.Load(); res.RetryAfterMs > old && !longest.CompareAndSwap(old, res.RetryAfterMs); old = longest.Load() {
					}
				}
			})
		}
		synctest.Wait() // a few wait: that it hangs is not known yet
		if n := snoozed.Load(); n < 984 {
			t.Errorf("%d postponed", n)
		}
		time.Sleep(patience)
		synctest.Wait()
		if f.most != 8 || snoozed.Load() != 992 {
			t.Errorf("%d calls at once, %d postponed", f.most, snoozed.Load())
		}
		if res := get(r, "http://well.test"); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
		if l := longest.Load(); l < 1_500 || l > 70_000 {
			t.Errorf("the last one waits %d ms", l)
		}
		time.Sleep(30 * time.Second)
		if res := get(r, "http://hangs.test"); res.ErrCode != "endpoint_busy" || res.RetryAfterMs < 3_000 {
			t.Errorf("nothing ended for 30 s: %+v", res)
		}
		cancel(worker.ErrCancelled)
		wg.Wait()
		if f.answer = always(200); get(r, "http://hangs.test").Outcome != task.OutcomeSucceeded {
			t.Error("room was not given back")
		}
	})
}

// TestABriskEndpointIsWaitedFor: nothing is postponed where calls take milliseconds, and nothing is beyond the limit.
func TestABriskEndpointIsWaitedFor(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, 5 * time.Millisecond }}
		r, _ := gated(f, GateOptions{Concurrency: 8})
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 50 {
					if res := get(r, "http://brisk.test"); res.Outcome != task.OutcomeSucceeded {
						t.Errorf("%+v", res)
					}
				}
			})
		}
		wg.Wait()
		if f.most != 8 || f.count() != 800 {
			t.Errorf("%d at once, %d calls", f.most, f.count())
		}
	})
}

// TestShortCallsAreWaitedForHoweverMany: many slots before an endpoint that gets few calls at once. Where the last of them would get
// room within 100 ms none is postponed; where that takes longer, as many wait as run.
func TestShortCallsAreWaitedForHoweverMany(t *testing.T) {
	for _, c := range []struct {
		call time.Duration
		most int // that succeed of 200; the others are postponed
	}{{time.Millisecond, 200}, {2 * time.Millisecond, 200}, {10 * time.Millisecond, 44}, {900 * time.Millisecond, 8}} {
		testkit.Bubble(t, func(t *testing.T) {
			f := &far{answer: func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, c.call }}
			r, _ := gated(f, GateOptions{Concurrency: 4})
			get(r, "http://short.test") // how long calls take is known from now on
			var wg sync.WaitGroup
			var succeeded, busy atomic.Int32
			for range 200 {
				wg.Go(func() {
					switch res := get(r, "http://short.test"); {
					case res.Outcome == task.OutcomeSucceeded:
						succeeded.Add(1)
					case res.ErrCode == "endpoint_busy":
						busy.Add(1)
					default:
						t.Errorf("%+v", res)
					}
				})
			}
			wg.Wait()
			if int(succeeded.Load()) != c.most || int(busy.Load()) != 200-c.most || f.most != 4 {
				t.Errorf("calls of %v: %d succeeded, %d postponed, %d at once; want %d to succeed", c.call, succeeded.Load(), busy.Load(), f.most, c.most)
			}
		})
	}
}

// TestABurstAfterAPauseIsNotPostponed: neither at an endpoint's first calls nor at those after it was idle.
func TestABurstAfterAPauseIsNotPostponed(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, 5 * time.Millisecond }}
		r, _ := gated(f, GateOptions{Concurrency: 8})
		for _, pause := range []time.Duration{0, 50 * time.Millisecond, time.Second, time.Hour} {
			time.Sleep(pause)
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					if res := get(r, "http://brisk.test"); res.Outcome != task.OutcomeSucceeded {
						t.Errorf("after %v: %+v", pause, res)
					}
				})
			}
			wg.Wait()
		}
	})
}

// TestAnEndpointThatAnswersOneAndHangsTheRest does not keep slots waiting beside those that its calls take.
func TestAnEndpointThatAnswersOneAndHangsTheRest(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		n := 0
		f := &far{}
		f.answer = func(*http.Request) (int, http.Header, time.Duration) {
			if n++; n < 64 {
				return 200, nil, 240 * time.Hour
			}
			return 200, nil, 60 * time.Millisecond
		}
		r, g := gated(f, GateOptions{Concurrency: 64})
		ctx, cancel := context.WithCancelCause(context.Background())
		var wg sync.WaitGroup
		u, _ := url.Parse("http://sly.test")
		e := g.endpoint(keyOf(job(`1`).AppID, u))
		waits, looks := 0, 0
		for i := range 600 { // 20 calls each 10 ms
			for range 20 {
				wg.Go(func() { r.Run(ctx, job(`{"url":"http://sly.test"}`)) })
			}
			time.Sleep(10 * time.Millisecond)
			if i < 200 {
				continue // at first nobody can know
			}
			e.mu.Lock()
			waits, looks = waits+len(e.queue), looks+1
			e.mu.Unlock()
		}
		if mean := waits / looks; mean > 18 { // 16 end in a second
			t.Errorf("%d calls wait on the average", mean)
		}
		cancel(worker.ErrCancelled)
		wg.Wait()
	})
}
