package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

var _ worker.Store = (*sqldb.Store)(nil)

// plant is a database, a broker and a scheduler; workers come and go.
type plant struct {
	t     *testing.T
	store *sqldb.Store
	src   *nsqbus.Source
	kinds map[string]int32
	app   int32
	lane  task.Lane

	mu    sync.Mutex
	ran   map[string]int // "task/epoch" → handler starts
	first map[int64]bool // ran once
}

func newPlant(t *testing.T, s *sqldb.Store) *plant {
	t.Helper()
	ctx := context.Background()
	p := &plant{t: t, store: s, ran: map[string]int{}, first: map[int64]bool{}}
	app, err := s.CreateApp(ctx, task.App{Key: "app", Name: "app", Weight: 1})
	must(t, err)
	p.app = app.ID
	p.lane, err = s.EnsureLane(ctx, "default", task.Normal)
	must(t, err)
	p.kinds, err = s.DeclareKinds(ctx, []string{"ok", "flaky", "panic", "slow", "wait"})
	must(t, err)

	server, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir()})
	must(t, err)
	t.Cleanup(server.Close)
	dir, err := nsqbus.NewDirectory(nsqbus.DirectoryOptions{NSQD: []string{server.TCPAddr()}})
	must(t, err)
	t.Cleanup(dir.Close)
	codec, err := message.New([]byte("a key that only this test knows"))
	must(t, err)
	pub := nsqbus.NewPublisher(dir, codec, nsqbus.Options{})
	t.Cleanup(pub.Close)
	p.src = nsqbus.NewSource(dir, codec, nsqbus.Options{})
	t.Cleanup(p.src.Close)
	sched, err := scheduler.New(scheduler.Options{Store: s, Publisher: pub, Clock: s.Clock(),
		Intervals: scheduler.Intervals{DeadAfter: 2 * time.Second, Workers: 200 * time.Millisecond, Rescue: 200 * time.Millisecond}})
	must(t, err)
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sched.Run(run) }()
	t.Cleanup(func() { stop(); must(t, <-done) })
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// handler is a runner of the plant: it counts starts per (task, epoch).
type handler struct {
	p    *plant
	kind string
	run  func(ctx context.Context, again bool) task.Result
}

func (h handler) Kind() string { return h.kind }

func (h handler) Run(ctx context.Context, j worker.Job) task.Result {
	h.p.mu.Lock()
	h.p.ran[fmt.Sprintf("%d/%d", j.TaskID, j.Epoch)]++
	again := h.p.first[j.TaskID]
	h.p.first[j.TaskID] = true
	h.p.mu.Unlock()
	return h.run(ctx, again)
}

func (p *plant) handlers() []worker.Runner {
	ok := task.Result{Outcome: task.OutcomeSucceeded, Body: []byte(`"done"`)}
	return []worker.Runner{
		handler{p, "ok", func(context.Context, bool) task.Result { return ok }},
		handler{p, "flaky", func(_ context.Context, again bool) task.Result {
			if again {
				return ok
			}
			return task.Result{Outcome: task.OutcomeFailed, ErrCode: "flaky", ErrMessage: "the first time it fails"}
		}},
		handler{p, "panic", func(context.Context, bool) task.Result { panic("always") }},
		handler{p, "slow", func(ctx context.Context, again bool) task.Result {
			if !again {
				<-ctx.Done()
			}
			return task.Result{Outcome: map[bool]task.Outcome{true: task.OutcomeSucceeded, false: task.OutcomeFailed}[again]}
		}},
		handler{p, "wait", func(ctx context.Context, again bool) task.Result {
			<-ctx.Done()
			return task.Result{Outcome: task.OutcomeFailed}
		}},
	}
}

// start starts a worker; end waits for it.
func (p *plant) start() (e *worker.Engine, end func() error) {
	p.t.Helper()
	e, err := worker.New(worker.Options{Store: p.store, Source: p.src, Clock: p.store.Clock(), Runners: p.handlers(), Slots: 32,
		BeatEvery: 300 * time.Millisecond, SelfFenceAfter: 5 * time.Second, Grace: 500 * time.Millisecond, DrainTime: time.Second,
		LanesEvery: 100 * time.Millisecond, Host: "test", Logger: slog.New(slog.DiscardHandler)})
	must(p.t, err)
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	return e, func() error { return <-done }
}

// submit writes n tasks of a kind.
func (p *plant) submit(n int, kind string, timeoutMs int32, retries int) []int64 {
	p.t.Helper()
	ctx := context.Background()
	body, err := task.Body{Payload: []byte(`{"some":"payload"}`),
		Head: task.BodyHead{Retry: &task.RetryPolicy{Policy: "fixed", BaseMs: 50, CapMs: 50, Max: retries}}}.Encode()
	must(p.t, err)
	first, err := p.store.TaskIDs(ctx, n)
	must(p.t, err)
	req := &task.Request{AppID: p.app}
	var ids []int64
	for i := range n {
		ids = append(ids, first+int64(i))
		req.Tasks = append(req.Tasks, &task.Submission{ID: first + int64(i), AppID: p.app, LaneID: p.lane.ID, KindID: p.kinds[kind],
			TimeoutMs: timeoutMs, Body: body, Flags: task.HasRetryPolicy})
	}
	_, err = p.store.Submit(ctx, []*task.Request{req})
	must(p.t, err)
	return ids
}

// all waits until every task is in a state.
func (p *plant) all(what string, ids []int64, want task.State, reason task.Reason) {
	p.t.Helper()
	begin := time.Now()
	for i := 0; i < len(ids); {
		got, err := p.store.State(context.Background(), 0, ids[i])
		must(p.t, err)
		if got.State == want {
			if got.Reason != reason {
				p.t.Fatalf("%s: task %d has reason %s, want %s", what, ids[i], got.Reason, reason)
			}
			i++
			continue
		}
		if got.State.Final() || time.Since(begin) > 40*time.Second {
			p.t.Fatalf("%s: task %d is %+v, want state %d (%d of %d are)", what, ids[i], got, want, i, len(ids))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestEngineOnRealParts drives everything that can become of a task over a real database and a real broker, while one
// worker is drained and one is killed, and looks at what the handlers saw.
func TestEngineOnRealParts(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		p := newPlant(t, s)
		a, endA := p.start()
		b, endB := p.start()
		ok := p.submit(400, "ok", 60_000, 3)
		flaky := p.submit(100, "flaky", 60_000, 3)
		panics := p.submit(20, "panic", 60_000, 1)
		slow := p.submit(20, "slow", 100, 3)
		p.all("plain", ok, task.Succeeded, task.NoReason)
		p.all("flaky", flaky, task.Succeeded, task.NoReason)
		p.all("panicking", panics, task.Failed, task.Exhausted)
		p.all("slow", slow, task.Succeeded, task.NoReason)

		wait := p.submit(30, "wait", task.NoTimeout, 3)
		p.all("waiting", wait, task.Running, task.NoReason)
		rest := p.submit(300, "ok", 60_000, 3)
		a.Drain()
		if err := endA(); err != nil {
			t.Errorf("drained: %v", err)
		}
		c, endC := p.start()
		p.all("after the drain", rest, task.Succeeded, task.NoReason)
		b.Kill()
		if err := endB(); !errors.Is(err, worker.ErrKilled) {
			t.Errorf("killed: %v", err)
		}
		p.all("after the death", p.submit(100, "ok", 60_000, 3), task.Succeeded, task.NoReason)
		onC := func() bool {
			for _, id := range wait {
				got, err := s.State(context.Background(), 0, id)
				must(t, err)
				if got.State != task.Running || got.WorkerID != c.Stats().WorkerID {
					return false
				}
			}
			return true
		}
		for begin := time.Now(); !onC(); time.Sleep(20 * time.Millisecond) {
			if time.Since(begin) > 20*time.Second {
				t.Fatal("the tasks of the dead were not taken over")
			}
		}
		for _, id := range wait {
			if _, err := s.Cancel(context.Background(), 0, id); err != nil {
				t.Fatal(err)
			}
		}
		p.all("cancelled", wait, task.Cancelled, task.ByUser)
		c.Drain()
		if err := endC(); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for k, n := range p.ran {
			if n != 1 {
				t.Errorf("%s was started %d times", k, n)
			}
		}
	})
}
