package worker

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// Store is what the worker needs of the database. Every method is one transaction, repeats itself on deadlocks, looks an
// unknown commit up, and answers *task.Error of kind Unavailable when the database cannot be reached.
type Store interface {
	// NewWorker allocates a worker id that was never used and inserts its row, alive.
	NewWorker(ctx context.Context, info task.WorkerInfo) (int64, error)
	// Beat renews the row and gives its state (alive or draining). ErrFenced: the row is gone.
	Beat(ctx context.Context, workerID int64, info task.WorkerInfo) (task.WorkerState, error)
	// RetireWorker sets the row to gone: what it still holds is rescued by a scheduler.
	RetireWorker(ctx context.Context, workerID int64) error

	// Claim wins tasks of rung bells. With an error that wraps task.ErrOutcomeUnknown, ClaimID names the claim that may exist.
	Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error)
	// Load reads what did not travel in a message. Unknown ids are left out.
	Load(ctx context.Context, ids []int64) ([]task.Loaded, error)
	// Finish commits endings, sets Fenced and Final on each, and gives the new bells (retries, snoozes).
	Finish(ctx context.Context, batch task.FinishBatch) ([]task.Bell, error)
	// Release takes tasks from a claim: all of it when only is nil. Gives the new bells.
	Release(ctx context.Context, claimID int64, only []int64, cause task.ReleaseCause) ([]task.Bell, error)

	// Held tells how tasks stand. Unknown ids are left out.
	Held(ctx context.Context, ids []int64) ([]task.Held, error)
	// ClaimsOf lists the claim rows of a worker.
	ClaimsOf(ctx context.Context, workerID int64) ([]task.Claim, error)
	// MarkZombie sets or clears the zombie flag of a running task of this worker and epoch.
	MarkZombie(ctx context.Context, workerID, taskID int64, epoch int32, on bool) error

	// DuePairs lists the (lane, app) pairs that have start bells, each with its earliest due time (scheduler.Store); the
	// watchdog asks it when an inlet is silent.
	DuePairs(ctx context.Context) ([]task.LaneApp, error)
	// Lanes lists every lane.
	Lanes(ctx context.Context) ([]task.Lane, error)
	// DeclareKinds makes kinds known, for ever, and gives the ids of all of them by name.
	DeclareKinds(ctx context.Context, names []string) (map[string]int32, error)
	// AppByID gives an app with its sealed secret.
	AppByID(ctx context.Context, id int32) (task.App, error)
}

// Delivery is one message of a lane's topic. Exactly one of Finish and Requeue is called, once.
type Delivery interface {
	// Rung is the decoded bell; Items are there only when the signature verified.
	Rung() task.Rung
	// Attempts is how often the message was delivered, 1 for the first time.
	Attempts() int
	Finish()
	Requeue(delayMs int64)
}

// Source consumes lanes. Implemented over NSQ.
type Source interface {
	// Open starts consuming a lane with nothing in flight. deliver must not block. Errors are temporary (broker gone);
	// an opened lane reconnects by itself.
	Open(lane task.Lane, deliver func(Delivery)) (Inlet, error)
}

// Inlet is one open lane.
type Inlet interface {
	// SetReady says how many messages may be in flight (0: none). Cheap when the number does not change; a number > 0 is
	// raised to the number of connections.
	SetReady(n int)
	// Reconnect drops and makes the connections again (watchdog).
	Reconnect()
	// Close ends consumption; messages not answered go back to the broker by its own timeout.
	Close()
}

// Live is the worker's side of the live view. Every method is best effort: its error means that Redis is gone.
type Live interface {
	// Enter shows tasks that have run for 200 ms or more.
	Enter(ctx context.Context, workerID int64, entries []task.LiveEntry) error
	// Report shows what some of those reported last; of a task that is not shown it shows nothing.
	Report(ctx context.Context, workerID int64, reports []task.LiveReport) error
	// Leave takes tasks off, with their reports.
	Leave(ctx context.Context, workerID int64, taskIDs []int64) error
	// Listen delivers signals to this worker until ctx ends; it reconnects by itself.
	Listen(ctx context.Context, workerID int64, signal func(task.Signal))
	// Answer answers a signal of kind look with what is seen of the attempt.
	Answer(ctx context.Context, workerID int64, reply string, d task.LiveDetail) error
	// DatabaseSeen reports whether a scheduler said lately (≤ 6 s) that it reaches the database. ok is false when
	// Redis is gone or nobody said anything.
	DatabaseSeen(ctx context.Context) (ok bool)
}

// Ringer publishes bells after a commit. It never blocks on the broker and never fails: what it cannot ring, the lane's
// owner rings.
type Ringer interface {
	Ring(bells ...task.Rung)
}

// Runner executes one kind.
type Runner interface {
	// Kind is the kind's name.
	Kind() string
	// Run executes one attempt. ctx ends with context.Cause ErrTimeout, ErrCancelled, ErrFenced or ErrDrained; Run returns
	// soon after it does. What it returns after that is used only for a success that it can vouch for.
	Run(ctx context.Context, job Job) task.Result
}

// Bounded is a runner whose attempts end after its own time when the task allows them longer, as if it were the task's timeout.
type Bounded interface {
	Runner
	// MaxRunMs is that time in ms; 0: the task's timeout alone counts.
	MaxRunMs() int32
}

// Tracer opens the span of an attempt below that of the request that submitted its task: parent is a W3C traceparent, or "". end
// takes what the handler returned.
type Tracer interface {
	Run(ctx context.Context, j Job, parent string) (_ context.Context, end func(task.Result))
}

// Job is one attempt as a runner sees it.
type Job struct {
	TaskID, AttemptID int64
	AppID             int32
	Epoch             int32
	Retry             int // failures so far: 0 in the first run
	Kind, Queue       string
	CreatedAt, DueAt  int64
	TimeoutMs         int32  // what is in force: the task's, or that of its kind here (Bounded)
	Payload           []byte // raw JSON

	clock Clock
	run   *run // nil: it is run by no engine
}

// Now is the database's time in ms, for what a handler writes; 0 when no engine runs the job.
func (j Job) Now() int64 {
	if j.clock == nil {
		return 0
	}
	return j.clock.Now()
}
