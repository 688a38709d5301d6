package apiv1

// Actions of a bulk operation.
const (
	BulkCancel = "cancel" // waiting and running tasks
	BulkRetry  = "retry"  // failed and cancelled tasks
	BulkDelete = "delete" // final tasks
)

// States of a bulk operation.
const (
	BulkRunning  = "running"
	BulkDone     = "done"
	BulkFailed   = "failed" // gave up, Error says why; what was done stays done
	BulkStopping = "stopping"
	BulkStopped  = "stopped" // by POST /v1/bulk/{id}/stop
)

// BulkFilter chooses tasks as GET /v1/tasks does; what is left out chooses all. At least one member must be there.
type BulkFilter struct {
	State     string            `json:"state,omitempty"`
	Queue     string            `json:"queue,omitempty"`
	Kind      string            `json:"kind,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"` // one label
	UniqueKey string            `json:"uniqueKey,omitempty"`
	IDs       []ID              `json:"ids,omitempty"`  // ≤ 1,000; alone
	From      *Time             `json:"from,omitempty"` // created at or after
	To        *Time             `json:"to,omitempty"`   // created before; default and at most the time of the request
}

// BulkCreate is the body of POST /v1/bulk.
type BulkCreate struct {
	Action string     `json:"action"` // cancel, retry, delete
	Filter BulkFilter `json:"filter"`
	DryRun bool       `json:"dryRun,omitempty"` // only count
}

// Bulk is a bulk operation and how far it is: POST /v1/bulk, GET /v1/bulk, GET /v1/bulk/{id}.
type Bulk struct {
	ID         ID         `json:"id"`
	App        string     `json:"app"`
	Action     string     `json:"action"`
	Filter     BulkFilter `json:"filter"`
	DryRun     bool       `json:"dryRun"`
	State      string     `json:"state"`
	Matched    int64      `json:"matched"` // tasks that the filter chose so far
	Changed    int64      `json:"changed"` // tasks the action was done to
	Skipped    int64      `json:"skipped"` // tasks it does not apply to, or no longer
	Error      string     `json:"error,omitempty"`
	CreatedAt  Time       `json:"createdAt"`
	FinishedAt Time       `json:"finishedAt"` // null while it runs
}
