package workertest

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	engine "github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/worker"
)

// Kit runs the handlers of one worker. Its methods may be called from any goroutine of the test.
type Kit struct {
	t       testing.TB
	runners map[string]engine.Runner
	sleep   bool
	grace   time.Duration

	mu    sync.Mutex
	start time.Time     // when the kit was made
	moved time.Duration // by how much its clock was moved on
	last  int64
}

// KitOption says how a kit runs handlers.
type KitOption func(*Kit)

// Sleep makes the kit sleep between attempts instead of moving its clock on. It is meant for bubbles of testing/synctest.
func Sleep() KitOption { return func(k *Kit) { k.sleep = true } }

// Grace is how long a handler may go on after its context has ended before its attempt is closed without it, as a zombie's; 2 s
// without it.
func Grace(d time.Duration) KitOption { return func(k *Kit) { k.grace = d } }

// New makes a kit. A worker with a handler that could not be registered fails the test.
func New(t testing.TB, w *worker.Worker, opts ...KitOption) *Kit {
	t.Helper()
	runners, err := w.Runners()
	if err != nil {
		t.Fatalf("workertest: %v", err)
	}
	k := &Kit{t: t, runners: make(map[string]engine.Runner, len(runners)), start: time.Now()}
	for _, r := range runners {
		k.runners[r.Kind()] = r
	}
	for _, o := range opts {
		o(k)
	}
	return k
}

// Time is the kit's clock: the time of its making, moved on by what has passed and by the delays that were left out.
func (k *Kit) Time() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.start.Add(time.Since(k.start) + k.moved).UTC()
}

// clock is the kit's clock in the engine's units.
type clock struct{ k *Kit }

// Now is the time in ms.
func (c clock) Now() int64 { return c.k.Time().UnixMilli() }

// NowMicros is the time in µs.
func (c clock) NowMicros() int64 { return c.k.Time().UnixMicro() }

// until lets the time come.
func (k *Kit) until(ms int64) {
	d := time.Duration(ms-clock{k}.Now()) * time.Millisecond
	if d <= 0 {
		return
	}
	if k.sleep {
		<-time.NewTimer(d).C
		return
	}
	k.mu.Lock()
	k.moved += d
	k.mu.Unlock()
}

// id gives a number that was never given.
func (k *Kit) id() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	return k.last
}

// Submit makes a task without running it. The payload is encoded as JSON, but for a json.RawMessage, which is taken as it is: also
// one that is no JSON, to see what the handler's type makes of it. A kind without a handler fails the test.
func (k *Kit) Submit(kind string, payload any, opts ...TaskOption) *Task {
	k.t.Helper()
	r := k.runners[kind]
	if r == nil {
		k.t.Fatalf("workertest: no handler for kind %q", kind)
	}
	raw, ok := payload.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(payload); err != nil {
			k.t.Fatalf("workertest: payload of %q: %v", kind, err)
		}
	}
	if len(raw) > task.MaxPayload {
		k.t.Fatalf("workertest: payload of %q has %d bytes: the API takes at most %d", kind, len(raw), task.MaxPayload)
	}
	now := clock{k}.Now()
	t := &Task{
		ID: k.id(), Kind: kind, State: "queued", kit: k, runner: r, payload: raw, queue: "default",
		timeoutMs: task.DefaultTimeoutMs, createdAt: now, dueAt: now,
	}
	for _, o := range opts {
		o(t)
	}
	return t
}

// Run submits a task and runs its attempts until it is final.
func (k *Kit) Run(kind string, payload any, opts ...TaskOption) *Task {
	k.t.Helper()
	t := k.Submit(kind, payload, opts...)
	t.Finish()
	return t
}
