package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Kind is the kind of task that the bench runs itself.
const Kind = "bench"

// payloadSize is the size of a task's payload in bytes, here and in the yardstick's rows.
const payloadSize = 200

// noop is the payload of a task that returns at once. It is recognised by its start, so that the measured handler parses
// nothing.
var noop = pad(`{"ms":0,"pad":"`)

func pad(start string) []byte {
	return append(append([]byte(start), bytes.Repeat([]byte("x"), payloadSize-len(start)-2)...), `"}`...)
}

var noopStart = []byte(`{"ms":0,`)

// work is what a payload asks for.
type work struct {
	Ms   int64 `json:"ms"`   // sleep
	Wait bool  `json:"wait"` // until the context ends
}

// runner executes the bench's tasks and notes what happens.
type runner struct {
	ran  atomic.Int64 // executions that have ended
	note atomic.Pointer[notes]
}

// newRunner makes a runner. It may serve several systems one after another.
func newRunner() *runner { return &runner{} }

// Kind implements worker.Runner.
func (*runner) Kind() string { return Kind }

// Run implements worker.Runner.
func (r *runner) Run(ctx context.Context, job worker.Job) task.Result {
	if n := r.note.Load(); n != nil {
		n.started(job.TaskID)
	}
	defer r.ran.Add(1)
	if bytes.HasPrefix(job.Payload, noopStart) {
		return task.Result{Outcome: task.OutcomeSucceeded}
	}
	var w work
	if err := json.Unmarshal(job.Payload, &w); err != nil {
		return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "payload", ErrMessage: err.Error()}
	}
	if w.Wait {
		<-ctx.Done()
		if n := r.note.Load(); n != nil {
			n.cancelled(job.TaskID)
		}
		return task.Result{Outcome: task.OutcomeCancelled}
	}
	timer := time.NewTimer(time.Duration(w.Ms) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return task.Result{Outcome: task.OutcomeSucceeded}
	case <-ctx.Done():
		return task.Result{Outcome: task.OutcomeCancelled}
	}
}

// notes are the instants of single tasks. Only latency runs take them.
type notes struct {
	mu     sync.Mutex
	start  map[int64]time.Time
	cancel map[int64]time.Time
}

// take starts new notes.
func (r *runner) take() *notes {
	n := &notes{start: make(map[int64]time.Time, 16384), cancel: map[int64]time.Time{}}
	r.note.Store(n)
	return n
}

// stop ends taking notes.
func (r *runner) stop() { r.note.Store(nil) }

// started notes the first start of a task.
func (n *notes) started(id int64) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, again := n.start[id]; !again {
		n.start[id] = now
	}
}

func (n *notes) cancelled(id int64) {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cancel[id] = now
}

// startOf gives when a task started.
func (n *notes) startOf(id int64) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.start[id]
	return at, ok
}

// cancelOf gives when a task was told to end.
func (n *notes) cancelOf(id int64) (time.Time, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at, ok := n.cancel[id]
	return at, ok
}

// starts gives how many tasks have started.
func (n *notes) starts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.start)
}

// cancels gives how many tasks were told to end.
func (n *notes) cancels() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.cancel)
}
