package apiv1

import "encoding/json"

// Types of events: the name of a server-sent event.
const (
	EventSubmitted = "submitted" // waits for its first run
	EventStarted   = "started"   // an attempt began
	EventProgress  = "progress"  // its handler reported; only in the stream of one task
	EventRetrying  = "retrying"  // an attempt ended, another will come: failed, timed out, lost, released, snoozed, reopened
	EventSucceeded = "succeeded"
	EventFailed    = "failed"
	EventCancelled = "cancelled"
	EventReset     = "reset" // the whole stream only: events may be missing before this one; read what you need anew
)

// Event is the data of a server-sent event of GET /v1/tasks/{id}/events and GET /v1/events. A type that a client does not
// know is to be ignored.
type Event struct {
	ID       string          `json:"id"` // for Last-Event-ID: epoch.step in the stream of one task
	Type     string          `json:"type"`
	At       Time            `json:"at"`
	Task     ID              `json:"task"`
	App      string          `json:"app,omitempty"`
	Kind     string          `json:"kind,omitempty"`
	Queue    string          `json:"queue,omitempty"`
	State    string          `json:"state,omitempty"` // of the task, after it
	Epoch    int             `json:"epoch"`           // 0 before the first run
	Outcome  string          `json:"outcome,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Error    *TaskError      `json:"error,omitempty"`
	Worker   ID              `json:"worker,omitzero"`
	DueAt    Time            `json:"dueAt,omitzero"` // with submitted and retrying
	Progress json.RawMessage `json:"progress,omitempty"`
}

// TicketFor is the body of POST /v1/events/tickets.
type TicketFor struct {
	Task ID `json:"task,omitempty"` // whose events or log it opens; none: the whole stream
}

// Ticket is the answer of POST /v1/events/tickets: a browser's credential for one stream, as ?ticket=.
type Ticket struct {
	Ticket    string `json:"ticket"` // good for one request
	ExpiresAt Time   `json:"expiresAt"`
}
