package apiv1

import "encoding/json"

// Submit asks for one task: POST /v1/tasks. Only Kind is required.
type Submit struct {
	Kind             string            `json:"kind"`                       // 1–64 of a-z 0-9 . _ -; built in or declared
	Queue            string            `json:"queue,omitempty"`            // 1–40 of a-z 0-9 _ -; default "default"
	Payload          json.RawMessage   `json:"payload,omitempty"`          // any JSON ≤ 256 KiB; default null
	Priority         string            `json:"priority,omitempty"`         // default normal
	RunAt            *Time             `json:"runAt,omitempty"`            // the past means now; not with DelayMs
	DelayMs          *int64            `json:"delayMs,omitempty"`          // 0 … 10 years
	TimeoutMs        *int64            `json:"timeoutMs,omitempty"`        // 1 … 604,800,000, or -1 for none; default 60,000
	ExpiresAt        *Time             `json:"expiresAt,omitempty"`        // not started by then: failed, expired
	Retry            *Retry            `json:"retry,omitempty"`            // default exponential, 3 retries
	UniqueKey        string            `json:"uniqueKey,omitempty"`        // ≤ 255 bytes, per app
	UniqueScope      string            `json:"uniqueScope,omitempty"`      // default until_finished
	UniqueWindowMs   *int64            `json:"uniqueWindowMs,omitempty"`   // required with window
	UniqueOnConflict string            `json:"uniqueOnConflict,omitempty"` // default reject
	LimitKey         string            `json:"limitKey,omitempty"`         // 1–64 of A-Z a-z 0-9 . _ - : @; shares the limits of its key
	Labels           map[string]string `json:"labels,omitempty"`           // ≤ 16
	CompletionURL    string            `json:"completionUrl,omitempty"`    // told, signed, when the task is final
}

// Retry says how failed attempts are spaced.
type Retry struct {
	Policy   string   `json:"policy,omitempty"`   // fixed, linear, exponential, list; default exponential
	BaseMs   *int64   `json:"baseMs,omitempty"`   // 1 … 86,400,000; default 1,000
	CapMs    *int64   `json:"capMs,omitempty"`    // ≥ BaseMs; default 3,600,000
	Jitter   *float64 `json:"jitter,omitempty"`   // 0 … 1; default 0.2 for exponential, else 0
	Max      *int64   `json:"max,omitempty"`      // retries after the first run, 0 … 100; default 3
	DelaysMs []int64  `json:"delaysMs,omitempty"` // 1 … 100 entries, with list; the last repeats
}

// AppendJSON appends the request, the payload byte for byte.
func (s *Submit) AppendJSON(b []byte) ([]byte, error) {
	rest := *s
	rest.Payload = nil
	raw, err := json.Marshal(rest)
	if err != nil || s.Payload == nil {
		return append(b, raw...), err
	}
	b = append(b, raw[:len(raw)-1]...) // kind is always there
	b = append(b, `,"payload":`...)
	b = append(b, s.Payload...)
	return append(b, '}'), nil
}

// SubmitBatch asks for up to 1,000 tasks: POST /v1/tasks/batch.
type SubmitBatch struct {
	Tasks []Submit `json:"tasks"`
}

// AppendJSON appends the request, the payloads byte for byte.
func (s *SubmitBatch) AppendJSON(b []byte) ([]byte, error) {
	var err error
	b = append(b, `{"tasks":[`...)
	for i := range s.Tasks {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = s.Tasks[i].AppendJSON(b); err != nil {
			return b, err
		}
	}
	return append(b, `]}`...), nil
}

// BatchAnswer answers a batch item by item, in order.
type BatchAnswer struct {
	Items []BatchItem `json:"items"`
}

// BatchItem holds the task or why there is none.
type BatchItem struct {
	Task  *Task    `json:"task,omitempty"`
	Error *Problem `json:"error,omitempty"`
}

// RetryTask is the body of POST /v1/tasks/{id}/retry; every field may be left out.
type RetryTask struct {
	Force   bool            `json:"force,omitempty"`   // also a succeeded task
	Payload json.RawMessage `json:"payload,omitempty"` // make a new task with this payload instead
}

// Task is a task as the API shows it.
type Task struct {
	ID                ID                `json:"id"`
	App               string            `json:"app"` // public key of its app
	Kind              string            `json:"kind"`
	Queue             string            `json:"queue"`
	Priority          string            `json:"priority"`
	State             string            `json:"state"`
	Reason            string            `json:"reason"` // null unless final for a reason
	Payload           json.RawMessage   `json:"payload"`
	Result            json.RawMessage   `json:"result"` // what is not JSON is a string, what is not text {"base64": …}
	ResultTruncated   bool              `json:"resultTruncated"`
	Error             *TaskError        `json:"error"`    // of the last attempt that ended badly; null once succeeded
	Failures          int               `json:"failures"` // count against retry.max
	Losses            int               `json:"losses"`   // workers that died with it
	RetryOf           ID                `json:"retryOf"`  // the task whose edited copy this is
	ScheduleID        ID                `json:"scheduleId"`
	Slot              Time              `json:"slot"` // the schedule's fire time that made it
	UniqueKey         string            `json:"uniqueKey"`
	LimitKey          string            `json:"limitKey"` // it shares the limits of this key of its app; null: none
	ExpiresAt         Time              `json:"expiresAt"`
	Zombie            bool              `json:"zombie"` // its handler ignores that its time is over
	RunAt             Time              `json:"runAt"`
	CreatedAt         Time              `json:"createdAt"`
	StartedAt         Time              `json:"startedAt"`
	FinishedAt        Time              `json:"finishedAt"`
	TimeoutMs         int64             `json:"timeoutMs"` // -1: none
	Retry             RetryInForce      `json:"retry"`
	Labels            map[string]string `json:"labels"`
	CancelRequestedAt Time              `json:"cancelRequestedAt"`
	CompletionURL     string            `json:"completionUrl"`     // told when the task is final
	CompleteBy        Time              `json:"completeBy"`        // its receiver took it over and has until then to complete it
	Progress          json.RawMessage   `json:"progress"`          // what its running attempt reported last; only when one task is asked for
	Attempts          []Attempt         `json:"attempts"`          // oldest first
	Verdict           *Verdict          `json:"verdict,omitempty"` // only when one task is asked for
}

// RetryInForce is the retry policy of a task, defaults filled in.
type RetryInForce struct {
	Policy   string  `json:"policy"`
	BaseMs   int64   `json:"baseMs"`
	CapMs    int64   `json:"capMs"`
	Jitter   float64 `json:"jitter"`
	Max      int     `json:"max"`
	DelaysMs []int64 `json:"delaysMs,omitempty"`
}

// TaskError is why an attempt ended badly.
type TaskError struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	HTTPStatus int    `json:"httpStatus"` // null when there was no answer
}

// Attempt is one execution of a task.
type Attempt struct {
	ID         ID         `json:"id"`
	Epoch      int        `json:"epoch"`
	Worker     ID         `json:"worker"`
	StartedAt  Time       `json:"startedAt"`
	FinishedAt Time       `json:"finishedAt"`
	Outcome    string     `json:"outcome"` // null while it runs
	Error      *TaskError `json:"error"`
	HTTPStatus int        `json:"httpStatus"` // null when there was no answer
	LogTail    string     `json:"logTail"`    // null when there is no log
}

// Verdict says why a task is where it is.
type Verdict struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// TaskList is a page of tasks.
type TaskList struct {
	Items      []Task `json:"items"`
	NextCursor string `json:"nextCursor"` // null at the end
}
