package rdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/task"
)

// answering listens as a worker until the test ends and answers looks by f.
func answering(t *testing.T, c *rdb.Client, worker int64, f func(s task.Signal) *task.LiveDetail) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	var wg sync.WaitGroup
	wg.Go(func() {
		c.Listen(ctx, worker, func(s task.Signal) {
			once()
			if d := f(s); s.Kind == "look" && d != nil {
				if err := c.Answer(ctx, worker, s.Reply, *d); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	eventually(t, "the worker listens", func() bool {
		_ = c.Signal(ctx, worker, task.Signal{Kind: "hello"})
		select {
		case <-ready:
			return true
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
}

func TestLookAndAnswer(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		w := freshID()
		mine, other := open(t, url), open(t, url)
		want := task.LiveDetail{AttemptID: 9, Epoch: 3, ElapsedMs: 1200, Round: 2, Progress: json.RawMessage(`{"done":7}`), Goroutines: []task.Goroutine{
			{State: "select", Frames: []task.Frame{{Function: "net/http.(*persistConn).roundTrip", File: "/x/transport.go", Line: 2800}}}}}
		answering(t, other, w, func(s task.Signal) *task.LiveDetail {
			if s.TaskID == 7 && s.Epoch == 3 {
				return &want
			}
			if s.TaskID == 8 {
				return &task.LiveDetail{Gone: true}
			}
			if s.TaskID == 9 { // far too large: cut at a goroutine
				big := task.LiveDetail{AttemptID: 1}
				for range 10 {
					big.Goroutines = append(big.Goroutines, task.Goroutine{State: strings.Repeat("x", 60<<10)})
				}
				return &big
			}
			return nil
		})
		got, err := lookOn(t, mine, w, 7, 3)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v", got, err)
		}
		if got, err = lookOn(t, mine, w, 8, 3); err != nil || !got.Gone {
			t.Fatalf("%+v, %v", got, err)
		}
		if got, err = lookOn(t, mine, w, 9, 1); err != nil || len(got.Goroutines) != 4 {
			t.Fatalf("%d goroutines, %v", len(got.Goroutines), err)
		}
		// Nobody answers: one second, no longer, for one and for many; beyond the bound at once.
		eventually(t, "many looks into the silence end together", func() bool { return silence(t, mine, w+1) })
		eventually(t, "the caller's end is the look's", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			_, err := mine.Look(ctx, w+1, 7, 3)
			if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, rdb.ErrGone) {
				t.Fatalf("the caller's end: %v", err)
			}
			return !errors.Is(err, rdb.ErrGone)
		})
		if _, err := lookOn(t, mine, w, 7, 3); err != nil {
			t.Errorf("after all that: %v", err)
		}
	})
}

// lookOn looks until Redis is there: on a machine that stands still for a moment, a client gives it up for a second.
func lookOn(t *testing.T, c *rdb.Client, worker, id int64, epoch int32) (d task.LiveDetail, err error) {
	t.Helper()
	eventually(t, "Redis answers", func() bool {
		d, err = c.Look(t.Context(), worker, id, epoch)
		return !errors.Is(err, rdb.ErrGone)
	})
	return d, err
}

// silence lets many look at a worker that does not answer. It is false when Redis was given up meanwhile.
func silence(t *testing.T, c *rdb.Client, worker int64) bool {
	t.Helper()
	var gone atomic.Bool
	var all sync.WaitGroup
	start := time.Now()
	for range 40 {
		all.Go(func() {
			_, err := c.Look(t.Context(), worker, 7, 3)
			switch {
			case errors.Is(err, rdb.ErrGone):
				gone.Store(true)
			case !errors.Is(err, rdb.ErrSilent):
				t.Errorf("%v", err)
			}
		})
	}
	all.Wait()
	if gone.Load() {
		return false
	}
	if d := time.Since(start); d < 900*time.Millisecond || d > 2*time.Second {
		t.Errorf("silence took %v", d)
	}
	return true
}

func TestLookWithoutRedis(t *testing.T) {
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, s.URL())
	s.Close()
	start := time.Now()
	if _, err := c.Look(t.Context(), 1, 2, 3); !errors.Is(err, rdb.ErrGone) {
		t.Errorf("%v", err)
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Errorf("took %v", d)
	}
}
