package worker

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// kind is one kind this worker runs.
type kind struct {
	id      int32
	name    string
	runner  Runner
	limited bool  // counts against ShellSlots
	maxMs   int32 // longest run of an attempt; 0: the task's timeout alone counts
}

// claim is one claim row of this worker. left counts its tasks whose end is not committed yet; left and refused are guarded
// by Engine.mu.
type claim struct {
	id, worker int64
	lane       *lane
	left       int
	refused    bool // a release was refused for good: its row must not be deleted, for it still holds a task
}

// run is one attempt from its claim to the commit of its end. Fields without a remark are written before the run is shared
// and never again.
type run struct {
	end   task.Ending
	item  task.Item
	body  task.Body
	claim *claim
	lane  *lane
	kind  *kind
	ctx   taskCtx
	stop  context.CancelCauseFunc

	bytes     int          // what its handler returned; set with its end
	startedNs atomic.Int64 // monotonic; 0 until the handler starts
	progress  atomic.Pointer[progress]
	output    atomic.Pointer[output] // nil: nothing was written
	reported  func(json.RawMessage)  // hears of progress; nil: nobody does
	news      *liveQueue             // is told that there is progress to be shown; nil: nobody shows it

	// Guarded by Engine.mu.
	slot    int32 // -1 when the handler has returned
	cause   error // why the context was ended; nil: it was not
	causeNs int64
	shell   bool // holds a shell slot
	zombie  bool
	closed  bool  // ended without its handler: what that returns is dropped
	shown   bool  // in the live view
	said    int64 // reports until the one that was shown last

	// Guarded by pool.mu.
	begunNs int64 // when it was handed to a goroutine
	fresh   bool  // that was lately, and it has not returned
}

// taskCtx is a handler's context. It is part of its run, so that it costs no allocation of its own, and it knows the
// deadline that the engine's watch enforces.
type taskCtx struct {
	context.Context
	deadline time.Time
}

// Deadline is when the task times out.
func (c *taskCtx) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

// limitMs is how long the handler may run: the task's timeout, or less where its kind says so. Not above 0: for ever.
func (r *run) limitMs() int32 {
	t := r.item.TimeoutMs
	if k := r.kind; k != nil && k.maxMs > 0 && (t <= 0 || k.maxMs < t) {
		return k.maxMs
	}
	return t
}

// job is the attempt as its runner sees it.
func (r *run) job(clock Clock) Job {
	return Job{
		TaskID: r.end.TaskID, AttemptID: r.end.AttemptID, AppID: r.end.AppID, Epoch: r.end.Epoch,
		Retry: int(r.item.Failures), Kind: r.kind.name, Queue: r.lane.Queue,
		CreatedAt: r.item.CreatedAt, DueAt: r.end.DueAt, TimeoutMs: r.limitMs(), Payload: r.body.Payload, clock: clock, run: r,
	}
}

// live is the attempt as the live view shows it. Its kind is not known before its item was read. Engine.mu is held.
func (r *run) live() task.LiveEntry {
	en := task.LiveEntry{
		TaskID: r.end.TaskID, AppID: r.end.AppID, Epoch: r.end.Epoch, AttemptID: r.end.AttemptID,
		Queue: r.lane.Queue, StartedAt: r.end.StartedAt, Zombie: r.zombie,
	}
	if r.kind != nil {
		en.Kind = r.kind.name
	}
	return en
}
