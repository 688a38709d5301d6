package flush_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/flush"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type item struct{ n, tasks, bytes int }

func size(i item) (int, int) { return i.tasks, i.bytes }

// gate holds every flush until it is let go, and records the batches.
type gate struct {
	mu      sync.Mutex
	batches [][]item
	entered chan struct{}
	leave   chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}), leave: make(chan struct{})} }

func (g *gate) flush(ctx context.Context, batch []item) {
	g.mu.Lock()
	g.batches = append(g.batches, slices.Clone(batch))
	g.mu.Unlock()
	g.entered <- struct{}{}
	<-g.leave
}

func (g *gate) pass(n int) {
	for range n {
		<-g.entered
		g.leave <- struct{}{}
	}
}

func TestGathersWhileAFlushIsUnderWay(t *testing.T) {
	g := newGate()
	f := flush.New(flush.Options[item]{Flush: g.flush, Size: size})
	must(t, f.Add(item{1, 1, 1}))
	<-g.entered
	for n := 2; n <= 10; n++ {
		must(t, f.Add(item{n, 1, 1}))
	}
	if got := f.Waiting(); got != 9 {
		t.Errorf("waiting = %d, want 9", got)
	}
	g.leave <- struct{}{}
	g.pass(1)
	must(t, f.Close(context.Background()))
	if len(g.batches) != 2 || len(g.batches[0]) != 1 || len(g.batches[1]) != 9 {
		t.Fatalf("batches %v, want one of 1 and one of 9", g.batches)
	}
	for i, it := range g.batches[1] {
		if it.n != i+2 {
			t.Errorf("item %d stands at %d: order was not kept", it.n, i)
		}
	}
}

func TestBoundsOfOneFlush(t *testing.T) {
	g := newGate()
	f := flush.New(flush.Options[item]{Flush: g.flush, Size: size, MaxTasks: 3, MaxBytes: 100})
	must(t, f.Add(item{0, 1, 1}))
	<-g.entered
	// 3 tasks; then 2 because of bytes; then one that alone is too large; then the rest.
	for _, it := range []item{{1, 1, 1}, {2, 2, 1}, {3, 1, 60}, {4, 1, 40}, {5, 1, 500}, {6, 9, 1}, {7, 1, 1}} {
		must(t, f.Add(it))
	}
	g.leave <- struct{}{}
	g.pass(5)
	must(t, f.Close(context.Background()))
	var got []int
	for _, b := range g.batches {
		got = append(got, len(b))
	}
	if want := []int{1, 2, 2, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("flush sizes %v, want %v", got, want)
	}
}

func TestRefusesBeyondTheQueue(t *testing.T) {
	for name, tc := range map[string]struct{ fits, not item }{
		"tasks": {item{1, 5, 1}, item{2, 6, 1}},
		"bytes": {item{1, 1, 50}, item{2, 1, 51}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			f := flush.New(flush.Options[item]{Flush: g.flush, Size: size, QueueTasks: 10, QueueBytes: 100})
			must(t, f.Add(item{0, 1, 1}))
			<-g.entered
			must(t, f.Add(tc.fits))
			err := f.Add(tc.not)
			var e *task.Error
			if !errors.As(err, &e) || e.Kind != task.Unavailable || e.Code != "overloaded" || e.RetryAfter != time.Second {
				t.Fatalf("error %v, want overloaded with a second to wait", err)
			}
			g.leave <- struct{}{}
			g.pass(1)
			must(t, f.Close(context.Background()))
			if len(g.batches) != 2 || g.batches[1][0] != tc.fits {
				t.Errorf("batches %v: what was refused must not be flushed", g.batches)
			}
		})
	}
}

func TestAddTakesAllOrNone(t *testing.T) {
	g := newGate()
	f := flush.New(flush.Options[item]{Flush: g.flush, Size: size, QueueTasks: 3})
	must(t, f.Add(item{0, 1, 1}))
	<-g.entered
	must(t, f.Add(item{1, 1, 1}))
	if err := f.Add(item{2, 1, 1}, item{3, 1, 1}, item{4, 1, 1}); task.CodeOf(err) != "overloaded" {
		t.Fatalf("error %v, want overloaded", err)
	}
	g.leave <- struct{}{}
	g.pass(1)
	must(t, f.Close(context.Background()))
	if n := len(g.batches[1]); n != 1 {
		t.Errorf("%d items were flushed, want 1", n)
	}
}

func TestCloseWaitsForWhatWasAccepted(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		done := 0
		f := flush.New(flush.Options[item]{Size: size, Flush: func(ctx context.Context, b []item) {
			time.Sleep(time.Second)
			done += len(b)
		}})
		for n := range 700 {
			must(t, f.Add(item{n, 1, 1}))
		}
		must(t, f.Close(context.Background()))
		if done != 700 {
			t.Errorf("%d of 700 items were flushed", done)
		}
		if err := f.Add(item{1, 1, 1}); !errors.Is(err, flush.ErrClosed) || task.KindOf(err) != task.Unavailable {
			t.Errorf("Add after Close: %v", err)
		}
	})
}

func TestCloseCutsAFlushShort(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		var cause error
		f := flush.New(flush.Options[item]{Size: size, Flush: func(ctx context.Context, b []item) {
			<-ctx.Done()
			cause = context.Cause(ctx)
		}})
		must(t, f.Add(item{1, 1, 1}))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := f.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: %v", err)
		}
		if !errors.Is(cause, context.DeadlineExceeded) {
			t.Errorf("the flush ended with cause %v", cause)
		}
	})
}

func TestManyCallers(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	f := flush.New(flush.Options[item]{Size: size, Flush: func(_ context.Context, b []item) {
		mu.Lock()
		defer mu.Unlock()
		for _, it := range b {
			seen[it.n]++
		}
	}})
	var wg sync.WaitGroup
	for c := range 32 {
		wg.Go(func() {
			for i := range 300 {
				for f.Add(item{c*300 + i, 1, 10}) != nil {
				}
			}
		})
	}
	wg.Wait()
	must(t, f.Close(context.Background()))
	if len(seen) != 32*300 {
		t.Fatalf("%d items, want %d", len(seen), 32*300)
	}
	for n, k := range seen {
		if k != 1 {
			t.Fatalf("item %d was flushed %d times", n, k)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
