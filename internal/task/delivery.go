package task

import "encoding/json"

// Shown is the task's state as clients see it at now: a task whose attempt awaits its completion is running.
func (t *Task) Shown(now int64) string {
	if t.Awaits() {
		return Running.Shown(0, now)
	}
	return t.State.Shown(t.DueAt, now)
}

// Awaits reports whether an attempt of the task goes on without a worker, until it is completed by a call or its time for
// that is over at DueAt.
func (t *Task) Awaits() bool { return t.State == Waiting && t.Flags.Has(Awaiting) }

// CodeCompletionTimeout is the error of an attempt that was not completed in time.
const CodeCompletionTimeout = "completion_timeout"

// CompletionKind is the kind of tasks that tell an app's completionUrl how a task ended. Only the store makes them, in the
// system's queue, for the app of the task.
const CompletionKind = "completion"

// CompletionPayload is the payload of such a task, as JSON.
type CompletionPayload struct {
	URL   string          `json:"url"`
	Event CompletionEvent `json:"event"` // sent byte for byte
}

// CompletionEvent is what is POSTed to a completionUrl.
type CompletionEvent struct {
	Type      string         `json:"type"`      // task.succeeded, task.failed, task.cancelled
	Timestamp string         `json:"timestamp"` // when the task ended; RFC 3339, UTC, milliseconds
	Data      CompletionTask `json:"data"`
}

// CompletionTask is how a task ended. Its members are those of a task of the native API.
type CompletionTask struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	State      string            `json:"state"`
	Reason     string            `json:"reason,omitempty"`
	Epoch      int32             `json:"epoch"` // of the last attempt; 0: none was made
	Failures   int16             `json:"failures"`
	CreatedAt  string            `json:"createdAt"`
	StartedAt  string            `json:"startedAt,omitempty"`
	FinishedAt string            `json:"finishedAt"`
	Labels     map[string]string `json:"labels,omitempty"`
	Error      *CompletionError  `json:"error,omitempty"`
	Result     json.RawMessage   `json:"result,omitempty"`
}

// CompletionError is why a task failed.
type CompletionError struct {
	Code       string `json:"code"`
	Message    string `json:"message,omitempty"`
	HTTPStatus int16  `json:"httpStatus,omitempty"`
}

// Completion is what ends an attempt that awaits it.
type Completion struct {
	TaskID       int64
	Epoch        int32   // of the attempt
	Outcome      Outcome // Succeeded or Failed
	Result       []byte  // with Succeeded, ≤ MaxResult; nil: none
	ErrCode      string  // with Failed
	ErrMessage   string  // ≤ MaxErrorText
	Permanent    bool    // with Failed: no retry can help
	RetryAfterMs int64   // with Failed: the next attempt comes not before
}

// CompletionReport is what came of a completion.
type CompletionReport struct {
	Repeated bool  // the same completion had been stored before
	Running  bool  // the attempt's worker has not yet stored that it awaits anything: ask again soon
	Final    State // of the task
	Bell     *Bell // of a retry; nil: none
}

// Delivery is how one HTTP call of an attempt went, for people. Names that stand for secrets have no values.
type Delivery struct {
	Method          string      `json:"method"`
	URL             string      `json:"url"` // without name, password and query values
	RequestHeaders  [][2]string `json:"requestHeaders,omitempty"`
	RequestBody     string      `json:"requestBody,omitempty"` // its first KiB
	RequestBytes    int         `json:"requestBytes,omitempty"`
	Status          int         `json:"status,omitempty"` // 0: no answer came
	ResponseHeaders [][2]string `json:"responseHeaders,omitempty"`
	ResponseBody    string      `json:"responseBody,omitempty"` // its first KiB
	DurationMs      int64       `json:"durationMs"`
	Error           string      `json:"error,omitempty"` // why no whole answer came
}

// ProbeReport is what trying an app's receiver out found.
type ProbeReport struct {
	OK       bool       `json:"ok"`   // it took the call that was signed as the app is set up
	Kind     string     `json:"kind"` // of the callbacks that were tried
	URL      string     `json:"url,omitempty"`
	Tries    []ProbeTry `json:"tries,omitempty"`
	Findings []string   `json:"findings"` // what is wrong and what to do, in sentences
}

// ProbeTry is one call of it.
type ProbeTry struct {
	Name       string `json:"name"`
	Forged     bool   `json:"forged"`   // signed with a wrong secret: it should not be accepted
	Accepted   bool   `json:"accepted"` // the answer means success
	Status     int    `json:"status,omitempty"`
	DurationMs int64  `json:"durationMs"`
	Body       string `json:"body,omitempty"`
	Error      string `json:"error,omitempty"`
}
