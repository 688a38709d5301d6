package task

// BulkAction is what a bulk operation does to each task.
type BulkAction int8

// Actions; the numbers are stored.
const (
	BulkCancel BulkAction = 1 // waiting and running tasks
	BulkRetry  BulkAction = 2 // failed and cancelled tasks
	BulkDelete BulkAction = 3 // final tasks
)

// String is the action's name on the wire.
func (a BulkAction) String() string {
	switch a {
	case BulkCancel:
		return "cancel"
	case BulkRetry:
		return "retry"
	case BulkDelete:
		return "delete"
	}
	return ""
}

// Applies reports whether the action can be done to a task.
func (a BulkAction) Applies(t *Task) bool {
	switch a {
	case BulkCancel:
		return !t.State.Final() && (t.State != Running || t.CancelAt == 0)
	case BulkRetry:
		return t.State == Failed || t.State == Cancelled
	case BulkDelete:
		return t.State.Final()
	}
	return false
}

// BulkState is how far a bulk operation is.
type BulkState int8

// States; the numbers are stored.
const (
	BulkRunning  BulkState = 1
	BulkStopping BulkState = 2 // somebody asked it to stop
	BulkDone     BulkState = 3
	BulkFailed   BulkState = 4 // gave up; Error says why
	BulkStopped  BulkState = 5
)

// String is the state's name on the wire.
func (s BulkState) String() string {
	switch s {
	case BulkRunning:
		return "running"
	case BulkStopping:
		return "stopping"
	case BulkDone:
		return "done"
	case BulkFailed:
		return "failed"
	case BulkStopped:
		return "stopped"
	}
	return ""
}

// BulkFilter chooses tasks. Zero fields do not filter. It is stored as JSON.
type BulkFilter struct {
	State     string  `json:"state,omitempty"` // shown state, at the time of the request
	Queue     string  `json:"queue,omitempty"`
	Kind      string  `json:"kind,omitempty"`
	Label     *Label  `json:"label,omitempty"`
	UniqueKey string  `json:"uniqueKey,omitempty"`
	IDs       []int64 `json:"ids,omitempty"` // sorted, without doubles, ≤ 1,000
	From      int64   `json:"from,omitempty"`
	To        int64   `json:"to,omitempty"`
}

// Bulk is a bulk operation on the tasks of one app.
type Bulk struct {
	ID                        int64
	AppID                     int32
	App                       string // its key, when it was read
	Action                    BulkAction
	State                     BulkState
	DryRun                    bool
	Filter                    BulkFilter
	NextID, UntilID           int64 // what is still to be looked at
	Matched, Changed, Skipped int64
	Faults                    int // tasks that were skipped because of an error
	CreatedAt, FinishedAt     int64
	Error                     string
}

// BulkPage is one page, newest first. Next is empty at the end.
type BulkPage struct {
	Items []Bulk
	Next  string
}

// BulkStep says what one step of a bulk operation did.
type BulkStep struct {
	Ended   bool // the operation is over
	Changed int
	Looked  int     // index entries that were read
	Cancels []Asked // running tasks whose workers have to be told
	Failed  error   // the change of this step failed: with a limit of 1 its one task was stepped over
}

// Asked is a running task that was asked to end.
type Asked struct {
	TaskID, WorkerID int64
	Epoch            int32
}
