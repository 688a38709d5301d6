package task

// ChangeType is what happened to a task.
type ChangeType uint8

// The types of changes. Their numbers travel between processes of two versions: never renumber.
const (
	ChangeSubmitted ChangeType = 1 // it waits for its first run
	ChangeStarted   ChangeType = 2 // an attempt began
	ChangeRetrying  ChangeType = 3 // it waits again: an attempt ended, or it was re-opened (no outcome)
	ChangeEnded     ChangeType = 4 // it is final; State says how
)

// Change is one step of a task's life, as it is told to those who listen. It is told after the transaction that made it, and
// it is a hint: the task's row is the truth.
type Change struct {
	Type                  ChangeType
	State                 State // after it
	Outcome               Outcome
	Reason                Reason
	HTTPStatus            int16
	Epoch                 int32
	AppID, LaneID, KindID int32
	TaskID, WorkerID      int64
	At                    int64 // by the database's clock
	DueAt                 int64 // of a task that waits
	ErrCode, ErrMessage   string
}

// ChangeSink takes changes. Its methods never block and may be called from everywhere.
type ChangeSink interface {
	// Listening reports whether anybody wants to hear of changes: when nobody does, they need not be made.
	Listening() bool
	// Changed takes changes that were committed. It does not keep the slice.
	Changed([]Change)
	// Missed says that changes may have been committed that were not told.
	Missed()
}
