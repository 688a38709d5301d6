package stack_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/stack"
	"github.com/taskweir/taskweir/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// labelled runs f on a goroutine with a label until the test ends: quit makes f return.
func labelled(t testing.TB, value string, quit func(), f func()) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("other", `x"task":"1"`, "task", value)))
		f()
	})
	t.Cleanup(func() { quit(); wg.Wait() })
}

// until looks until the goroutine of a value is in a state.
func until(t *testing.T, value, state string) task.Goroutine {
	t.Helper()
	var got map[string][]task.Goroutine
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		var err error
		if got, err = stack.Labelled("task", []string{value, "nobody"}, 8); err != nil {
			t.Fatal(err)
		}
		if gs := got[value]; len(gs) == 1 && gs[0].State == state && len(got) == 1 {
			return gs[0]
		}
	}
	t.Fatalf("never in state %q: %+v", state, got)
	return task.Goroutine{}
}

type waiter struct{ c, d chan int }

func (w *waiter) receive() { <-w.c }
func (w *waiter) send()    { w.c <- 1 }
func (w *waiter) pick() {
	select {
	case <-w.c:
	case <-w.d:
	}
}
func lock(mu *sync.Mutex)     { mu.Lock(); defer mu.Unlock() }
func wait(wg *sync.WaitGroup) { wg.Wait() }

// What a goroutine waits for is named, and its first frame is the code that waits: no frame of the runtime stands before it.
func TestStatesAndFirstFrames(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	var wg sync.WaitGroup
	wg.Add(1)
	r, s, p := &waiter{c: make(chan int)}, &waiter{c: make(chan int)}, &waiter{c: make(chan int), d: make(chan int)}
	here, there := net.Pipe()
	defer there.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	nap := time.NewTimer(time.Minute)
	defer nap.Stop()
	for _, c := range []struct {
		state, first string
		quit         func()
		run          func()
	}{
		{"chan receive", "(*waiter).receive", func() { close(r.c) }, r.receive},
		{"chan send", "(*waiter).send", func() { <-s.c }, s.send},
		{"select", "(*waiter).pick", func() { close(p.c) }, p.pick},
		{"sync.Mutex.Lock", "sync.(*Mutex).lockSlow", mu.Unlock, func() { lock(&mu) }},
		{"sync.WaitGroup.Wait", "sync.(*WaitGroup).Wait", wg.Done, func() { wait(&wg) }},
		{"IO wait", "net.(*netFD).accept", func() { l.Close() }, func() { _, _ = l.Accept() }},
		{"select", "net.(*pipe).read", func() { here.Close() }, func() { _, _ = io.ReadAll(here) }},
		{"running", "stack_test.spin", func() { close(stop) }, func() { spin(stop) }},
	} {
		value := fmt.Sprint("s", len(c.first), c.state)
		labelled(t, value, c.quit, c.run)
		g := until(t, value, c.state)
		if len(g.Frames) == 0 || !strings.HasSuffix(g.Frames[0].Function, c.first) && !strings.Contains(g.Frames[0].Function, "internal/sync.(*Mutex).lockSlow") {
			t.Errorf("%s: first frame %+v, want %s", c.state, g.Frames, c.first)
		}
		last := g.Frames[len(g.Frames)-1]
		if last.Function == "runtime.goexit" || last.Line < 1 || !strings.HasSuffix(last.File, ".go") {
			t.Errorf("%s: last frame %+v", c.state, last)
		}
	}
}

//go:noinline
func spin(stop chan struct{}) (turns int) {
	for {
		select {
		case <-stop:
			return turns
		default:
			turns++
		}
	}
}

func TestSleepIsTheRuntimes(t *testing.T) {
	labelled(t, "nap", func() {}, func() { nap() })
	if g := until(t, "nap", "sleep"); !strings.HasSuffix(g.Frames[0].Function, "stack_test.nap") {
		t.Errorf("%+v", g.Frames)
	}
}

func nap() { time.Sleep(400 * time.Millisecond) }

// Equal stacks are counted by the profile; the caller sees each, up to its bound, and a value is never taken for another
// one that it is a part of.
func TestManyOfOneValue(t *testing.T) {
	stop := make(chan int)
	once := sync.OnceFunc(func() { close(stop) })
	for range 5 {
		labelled(t, `7"\`, once, func() { <-stop })
	}
	labelled(t, "77", once, func() { <-stop })
	for _, most := range []int{2, 9} {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			got, err := stack.Labelled("task", []string{`7"\`}, most)
			if err != nil {
				t.Fatal(err)
			}
			if len(got[`7"\`]) == min(most, 5) && len(got) == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%d: %+v", most, got)
			}
		}
	}
}

// A deep stack is shown from both ends: where it stands, and where it came from. (The profile itself ends after 128 frames.)
func TestDeepStacksAreCut(t *testing.T) {
	stop := make(chan int)
	labelled(t, "deep", func() { close(stop) }, func() { dig(stop, 100) })
	g := until(t, "deep", "chan receive")
	if len(g.Frames) != 64 || !strings.HasSuffix(g.Frames[0].Function, ".dig") || !strings.Contains(g.Frames[63].Function, "WaitGroup") {
		t.Errorf("%d frames, %+v … %+v", len(g.Frames), g.Frames[0], g.Frames[len(g.Frames)-1])
	}
	stopDeeper := make(chan int)
	labelled(t, "deeper", func() { close(stopDeeper) }, func() { dig(stopDeeper, 200) })
	if g := until(t, "deeper", "chan receive"); len(g.Frames) != 64 || !strings.HasSuffix(g.Frames[0].Function, ".dig") {
		t.Errorf("%d frames, %+v", len(g.Frames), g.Frames[0])
	}
}

//go:noinline
func dig(stop chan int, n int) int {
	if n == 0 {
		return <-stop
	}
	return dig(stop, n-1) + 1
}

func BenchmarkLabelled(b *testing.B) {
	for _, n := range []int{1, 256, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			stop := make(chan int)
			once := sync.OnceFunc(func() { close(stop) })
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("task", fmt.Sprint(i))))
					<-stop
				})
			}
			for b.Loop() {
				if _, err := stack.Labelled("task", []string{"0"}, 8); err != nil {
					b.Fatal(err)
				}
			}
			once()
			wg.Wait()
		})
	}
}
