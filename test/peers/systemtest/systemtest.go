// Package systemtest holds what every adapter must do, as one test: an adapter that miscounts, forgets a delay or never ends
// would make the comparison worthless.
package systemtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/peers/system"
)

// Check starts the adapter's servers, opens it, and holds it against the promises of system.System. It skips, and says why,
// when servers are not installed; in CI (environment CI) that is a failure.
func Check(t *testing.T, a system.Adapter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	need(ctx, t, a)
	var addrs map[string]string
	if a.Serve != nil {
		s, err := a.Serve(ctx, t.TempDir())
		if err != nil {
			t.Fatalf("serve: %v", err)
		}
		defer func() {
			if err := s.Stop(); err != nil {
				t.Errorf("stop servers: %v", err)
			}
		}()
		checkServers(ctx, t, s)
		addrs = s.Addrs()
	}
	w := &witness{}
	w.receive(t)
	sys, err := a.Open(ctx, addrs, t.TempDir(), w)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	c := &check{t: t, sys: sys, w: w}
	defer func() {
		if err := c.sys.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	c.works(ctx, c.waitsOnHold(ctx))
	c.many(ctx)
	c.bulk(ctx)
	c.delays(ctx)
	c.callsOut(ctx)
	c.cancels(ctx)
	c.resets(ctx)
	c.opensEmpty(ctx, func() (system.System, error) { return a.Open(ctx, addrs, t.TempDir(), w) })
}

// need skips, or fails in CI, when servers are not installed.
func need(ctx context.Context, t *testing.T, a system.Adapter) {
	t.Helper()
	if a.Missing == nil {
		return
	}
	for _, m := range a.Missing(ctx) {
		testkit.Need(t, errors.New(m.String()))
	}
}

func checkServers(ctx context.Context, t *testing.T, s system.Servers) {
	t.Helper()
	if len(s.Processes()) == 0 || len(s.Addrs()) == 0 {
		t.Errorf("processes %v, addresses %v", s.Processes(), s.Addrs())
	}
	if v, err := s.Versions(ctx); err != nil || len(v) == 0 {
		t.Errorf("versions %v, %v", v, err)
	}
}

// check is one run over an open system.
type check struct {
	t      *testing.T
	sys    system.System
	w      *witness
	number int64
}

// next makes a task with a new number.
func (c *check) next(kind system.Kind) system.Task {
	c.number++
	return system.Task{Number: c.number, Kind: kind, URL: c.w.url}
}

func (c *check) must(what string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

const some = 40

// waitsOnHold submits from several goroutines; nothing may start.
func (c *check) waitsOnHold(ctx context.Context) (numbers []int64) {
	c.must("mark", c.sys.Mark(ctx))
	var wg sync.WaitGroup
	errs := make([]error, some)
	for i := range some {
		task := c.next(system.Noop)
		numbers = append(numbers, task.Number)
		wg.Go(func() { errs[i] = c.sys.Submit(ctx, task) })
	}
	wg.Wait()
	c.must("submit", errors.Join(errs...))
	time.Sleep(300 * time.Millisecond)
	if n := c.w.count(); n > 0 {
		c.t.Fatalf("%d tasks started on hold", n)
	}
	return numbers
}

// works lets the worker run, and wants each task once.
func (c *check) works(ctx context.Context, numbers []int64) {
	c.t.Helper()
	c.must("work", c.sys.Work(ctx))
	c.await(ctx, len(numbers))
	c.must("hold", c.sys.Hold(ctx))
	if got := c.w.numbers(); !slices.Equal(got, numbers) {
		c.t.Fatalf("started %v, want %v", got, numbers)
	}
	c.w.forget()
}

func (c *check) await(ctx context.Context, n int) {
	c.t.Helper()
	within, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	c.must("await", c.sys.Await(within, int64(n)))
	if got, err := c.sys.Completed(ctx); !errors.Is(err, system.ErrNone) && (err != nil || got != int64(n)) {
		c.t.Fatalf("completed %d, %v, want %d", got, err, n)
	}
}

// many submits a thousand tasks from 32 callers while the worker runs, and wants each once.
func (c *check) many(ctx context.Context) {
	c.must("mark", c.sys.Mark(ctx))
	c.must("work", c.sys.Work(ctx))
	work, numbers := make(chan system.Task, 1000), []int64{}
	for range cap(work) {
		task := c.next(system.Noop)
		numbers = append(numbers, task.Number)
		work <- task
	}
	close(work)
	var wg sync.WaitGroup
	errs := make([]error, 32)
	for i := range errs {
		wg.Go(func() {
			for task := range work {
				errs[i] = errors.Join(errs[i], c.sys.Submit(ctx, task))
			}
		})
	}
	wg.Wait()
	c.must("submit", errors.Join(errs...))
	c.works(ctx, numbers)
}

// bulk submits at once what the system takes so.
func (c *check) bulk(ctx context.Context) {
	c.must("mark", c.sys.Mark(ctx))
	var tasks []system.Task
	var numbers []int64
	for range some {
		tasks = append(tasks, c.next(system.Noop))
		numbers = append(numbers, c.number)
	}
	err := c.sys.SubmitBulk(ctx, tasks)
	if errors.Is(err, system.ErrNone) {
		c.t.Log("no bulk submit")
		return
	}
	c.must("bulk", err)
	c.works(ctx, numbers)
}

// delays submits one task due soon, by both ways. It may start up to a second early (some systems keep seconds), not more.
func (c *check) delays(ctx context.Context) {
	c.must("mark", c.sys.Mark(ctx))
	c.must("work", c.sys.Work(ctx))
	due := time.Now().Add(2 * time.Second).Truncate(time.Second)
	single, many := c.next(system.Noop), c.next(system.Noop)
	single.Due, many.Due = due, due
	numbers := []int64{single.Number}
	c.must("submit", c.sys.Submit(ctx, single))
	switch err := c.sys.SubmitBulk(ctx, []system.Task{many}); {
	case errors.Is(err, system.ErrNone):
		c.t.Log("no bulk submit of delayed tasks")
	default:
		c.must("bulk", err)
		numbers = append(numbers, many.Number)
	}
	c.await(ctx, len(numbers))
	if first := c.w.firstAt(); first.Before(due.Add(-time.Second)) {
		c.t.Errorf("started %v before its time", due.Sub(first))
	}
	c.works(ctx, numbers)
}

// callsOut has a task make a call.
func (c *check) callsOut(ctx context.Context) {
	c.must("mark", c.sys.Mark(ctx))
	before := c.w.calls.Load()
	c.must("submit", c.sys.Submit(ctx, c.next(system.Call)))
	c.must("work", c.sys.Work(ctx))
	c.await(ctx, 1)
	c.must("hold", c.sys.Hold(ctx))
	if n := c.w.calls.Load() - before; n != 1 {
		c.t.Errorf("%d calls, want 1", n)
	}
	c.w.forget()
}

// cancels ends a task that waits for that.
func (c *check) cancels(ctx context.Context) {
	c.must("mark", c.sys.Mark(ctx))
	task := c.next(system.Wait)
	ended := c.w.watch(task.Number)
	if err := c.sys.Cancel(ctx, 0); errors.Is(err, system.ErrNone) {
		c.t.Log("no cancel")
		return
	}
	c.must("work", c.sys.Work(ctx))
	c.must("submit", c.sys.Submit(ctx, task))
	for deadline := time.Now().Add(10 * time.Second); c.w.count() == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the task to cancel did not start")
		}
	}
	c.must("cancel", c.sys.Cancel(ctx, task.Number))
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		c.t.Fatal("a cancelled task goes on")
	}
	c.must("hold", c.sys.Hold(ctx))
	c.w.forget()
}

// resets throws tasks away that wait and are delayed; what comes afterwards works.
func (c *check) resets(ctx context.Context) {
	c.must("submit", c.sys.Submit(ctx, c.next(system.Noop)))
	later := c.next(system.Noop)
	later.Due = time.Now().Add(time.Second).Truncate(time.Millisecond)
	c.must("submit", c.sys.Submit(ctx, later))
	c.must("reset", c.sys.Reset(ctx))
	c.must("mark", c.sys.Mark(ctx))
	task := c.next(system.Noop)
	c.must("submit", c.sys.Submit(ctx, task))
	time.Sleep(time.Second)
	c.works(ctx, []int64{task.Number})
}

// opensEmpty leaves a task behind, which the system does not have when it is opened again: no round carries another's tasks.
func (c *check) opensEmpty(ctx context.Context, open func() (system.System, error)) {
	c.w.forget()
	c.must("hold", c.sys.Hold(ctx))
	c.must("submit", c.sys.Submit(ctx, c.next(system.Noop)))
	c.must("close", c.sys.Close(ctx))
	sys, err := open()
	c.must("open again", err)
	c.sys = sys
	c.must("mark", c.sys.Mark(ctx))
	c.must("work", c.sys.Work(ctx))
	task := c.next(system.Noop)
	c.must("submit", c.sys.Submit(ctx, task))
	c.must("await", c.sys.Await(ctx, 1))
	if got := c.w.numbers(); !slices.Equal(got, []int64{task.Number}) {
		c.t.Errorf("%v started after opening again, want %d alone", got, task.Number)
	}
}

// witness is the handler: it notes what starts.
type witness struct {
	url   string
	calls atomic.Int64

	mu      sync.Mutex
	seen    []int64
	first   time.Time
	watched map[int64]chan struct{}
}

// Handle implements system.Handler.
func (w *witness) Handle(ctx context.Context, payload []byte) error {
	task, err := system.ParsePayload(payload)
	if err != nil {
		return err
	}
	w.mu.Lock()
	if len(w.seen) == 0 {
		w.first = time.Now()
	}
	w.seen = append(w.seen, task.Number)
	ended := w.watched[task.Number]
	w.mu.Unlock()
	switch task.Kind {
	case system.Call:
		return system.Post(ctx, http.DefaultClient, w.url, payload)
	case system.Wait:
		<-ctx.Done()
		if ended != nil {
			close(ended)
		}
		return ctx.Err()
	}
	return nil
}

func (w *witness) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// numbers gives what has started, sorted.
func (w *witness) numbers() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.seen))
}

func (w *witness) firstAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

func (w *witness) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = nil
}

// watch gives a channel that is closed when the context of that task ends.
func (w *witness) watch(number int64) <-chan struct{} {
	ended := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched = map[int64]chan struct{}{number: ended}
	return ended
}

// receive starts the server that a Call calls.
func (w *witness) receive(t *testing.T) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			if _, err := system.ParsePayload(body); err == nil {
				w.calls.Add(1)
			}
		}
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
}
