package task

import (
	"context"
	"errors"
)

// ErrOutcomeUnknown wraps an error after which it is not known whether the transaction was committed, although it was
// looked up (protocol section 3, "An unknown COMMIT").
var ErrOutcomeUnknown = errors.New("outcome unknown")

// Transient reports whether the same call to a store may succeed later: the database is away, nobody knows what became of
// the call, or its time was over. Any other error is the fault of what was given, and repeating it changes nothing.
func Transient(err error) bool {
	return KindOf(err) == Unavailable || errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, context.Canceled)
}

// ClaimRequest asks for tasks of rung bells of one lane.
type ClaimRequest struct {
	WorkerID int64
	LaneID   int32
	Bells    []int64 // ids, ≤ 500; tried in this order until Max tasks are won
	Max      int     // free slots, 1 … 500
	Kinds    []int32 // kinds the worker runs; tasks of others stay in their bell
}

// FinishBatch is one flush of a worker.
type FinishBatch struct {
	WorkerID int64
	Endings  []*Ending // ≤ 500; the store keeps the highest epoch of an id
	Emptied  []int64   // claims of which nothing is left in the worker's memory: deleted
}

// LaneApp is a pair that has waiting bells of one kind that starts tasks.
type LaneApp struct {
	LaneID, AppID int32
	Kind          BellKind
	MinDue        int64
}

// FlowDue is a flow that has start bells.
type FlowDue struct {
	Flow   int64
	MinDue int64
}

// FlowWant asks for the first bells of a flow.
type FlowWant struct {
	Flow  int64
	Bells int // at most
}

// BellAfter is a position in (due_at, id) order.
type BellAfter struct{ DueAt, ID int64 }

// LaneLoad is what a worker saw of one lane since its start.
type LaneLoad struct {
	LaneID int32   `json:"lane"`
	RunMs  float64 `json:"runMs"` // exponentially weighted mean run time
	Done   int64   `json:"done"`  // attempts ended since the worker's start
}

// View is a task with everything a client may see of it.
type View struct {
	Task
	AppKey   string
	Kind     string
	Queue    string
	Priority Priority
	Body     Body
	Result   []byte    // nil: none
	Attempts []Attempt // oldest first; the running one and a plain first success included
}

// Attempt is one execution.
type Attempt struct {
	ID, TaskID            int64
	Epoch                 int32
	WorkerID              int64
	StartedAt, FinishedAt int64
	Outcome               Outcome
	HTTPStatus            int16
	ErrCode, ErrMessage   string
	Log                   []byte
	LogSkipped            int64  // bytes of its output before those of Log
	Delivery              []byte // Delivery as JSON; nil: not kept
}

// Filter selects tasks of a list. Zero fields do not filter.
type Filter struct {
	AppID     int32  // required, but 0 for an admin who sees every app
	State     string // shown state
	Queue     string
	Kind      string
	Label     Label
	UniqueKey string
	From, To  int64 // created_at, [From, To)
	Cursor    string
	Limit     int // 1 … 1000
}

// Page is one page of a list. Next is empty at the end.
type Page struct {
	Items []View
	Next  string
}

// QueueDepth is what is known of a queue without counting more than a bounded number of index entries.
type QueueDepth struct {
	Queue       string
	Paused      bool
	Waiting     int64 // due tasks
	Scheduled   int64 // tasks due later
	Running     int64
	AtLeast     bool  // the counts stopped at their bound
	OldestDueAt int64 // 0: nothing due
	Limits      Limits
}

// CancelReport is what a cancel found and did.
type CancelReport struct {
	State    State // after the call
	Found    State // before it
	Asked    bool  // with Running: somebody had asked for it before
	WorkerID int64 // with Running: who must be told
	Epoch    int32
}

// PurgeRequest bounds one step of the purge walk.
type PurgeRequest struct {
	FromID          int64 // walk on from here
	SucceededBefore int64 // delete succeeded tasks finished before
	OthersBefore    int64 // delete failed and cancelled tasks finished before
	Now             int64
	Limit           int // rows looked at, ≤ 500
}

// PurgeReport says what one step did.
type PurgeReport struct {
	NextID  int64 // 0: the walk is at its end
	Deleted int
}

// LiveEntry is a running task in the live view.
type LiveEntry struct {
	TaskID    int64  `json:"task"`
	AppID     int32  `json:"app"`
	Epoch     int32  `json:"epoch"`
	AttemptID int64  `json:"attempt"`
	Kind      string `json:"kind"`
	Queue     string `json:"queue"`
	StartedAt int64  `json:"startedAt"`
	Zombie    bool   `json:"zombie,omitempty"`
}

// Signal is what is said to a worker through Redis. It is a hint: the worker re-reads the database at the next beat.
type Signal struct {
	Kind   string `json:"kind"` // cancel, drain, abandon, look, peek (a look without stacks)
	TaskID int64  `json:"task,omitempty"`
	Epoch  int32  `json:"epoch,omitempty"`
	Reply  string `json:"reply,omitempty"` // with look and peek: where the answer goes
	From   int64  `json:"from,omitempty"`  // with peek: what the attempt wrote, from this byte on; negative: nothing of it
}
