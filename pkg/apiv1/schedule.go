package apiv1

import (
	"bytes"
	"encoding/json"
)

// ScheduleInput is the body of POST /v1/schedules and PUT /v1/schedules/{id}. Name, Spec and Task are required. A PUT
// replaces everything; only Paused, left out, stays as it is.
type ScheduleInput struct {
	Name       string           `json:"name"` // 1–100 printable characters, unique in its app
	Spec       ScheduleSpec     `json:"spec"`
	Zone       string           `json:"zone,omitempty"`       // IANA name; default UTC
	DSTGap     string           `json:"dstGap,omitempty"`     // skip, shift; default shift
	DSTOverlap string           `json:"dstOverlap,omitempty"` // first, second, both; default first
	Misfire    *ScheduleMisfire `json:"misfire,omitempty"`    // default once, one hour
	Overlap    string           `json:"overlap,omitempty"`    // allow, skip, queue, cancel_previous; default allow
	JitterMs   int64            `json:"jitterMs,omitempty"`   // 0 … 86,400,000; default 0
	StartAt    *Time            `json:"startAt,omitempty"`    // no slot before it
	EndAt      *Time            `json:"endAt,omitempty"`      // no slot at or after it
	// MaxConsecutiveFailures pauses the schedule when as many runs in a row failed, 1 … 1,000; 0, the default: never.
	MaxConsecutiveFailures int               `json:"maxConsecutiveFailures,omitempty"`
	Paused                 *bool             `json:"paused,omitempty"`
	Labels                 map[string]string `json:"labels,omitempty"` // ≤ 16, of the schedule; those of its tasks are Task.Labels
	Task                   Submit            `json:"task"`             // without RunAt, DelayMs and ExpiresAt
}

// ScheduleSpec says when: an expression, an interval, or one instant.
type ScheduleSpec struct {
	Cron    string `json:"cron,omitempty"`
	Dialect string `json:"dialect,omitempty"` // auto, unix, quartz; with Cron
	EveryMs int64  `json:"everyMs,omitempty"`
	Anchor  *Time  `json:"anchor,omitempty"` // an instant of the series, with EveryMs
	At      *Time  `json:"at,omitempty"`
}

// ScheduleMisfire says what happens to slots that were missed.
type ScheduleMisfire struct {
	Policy   string `json:"policy,omitempty"`   // skip, once, all; default once
	MaxAgeMs *int64 `json:"maxAgeMs,omitempty"` // 0 … ten years; default 3,600,000
}

// AppendJSON appends the request, the payload byte for byte.
func (s *ScheduleInput) AppendJSON(b []byte) ([]byte, error) {
	type plain ScheduleInput // without methods
	rest := struct {
		plain
		Task *struct{} `json:"task,omitempty"` // hides the other one
	}{plain: plain(*s)}
	return appendWithTask(b, rest, s.Task.AppendJSON)
}

// appendWithTask appends an object and its last member, the task.
func appendWithTask(b []byte, rest any, task func([]byte) ([]byte, error)) ([]byte, error) {
	raw, err := encode(rest)
	if err != nil {
		return b, err
	}
	b = append(append(b, raw[:len(raw)-1]...), `,"task":`...)
	if b, err = task(b); err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

// encode is json.Marshal that leaves <, > and & alone.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// Schedule is a schedule as the API shows it, with its defaults resolved.
type Schedule struct {
	ID          ID                  `json:"id"`
	App         string              `json:"app"`     // public key of its app
	Version     int64               `json:"version"` // grows with every change by a client or person
	Name        string              `json:"name"`
	Description string              `json:"description"` // of the spec, in words
	Spec        ScheduleSpecInForce `json:"spec"`
	Zone        string              `json:"zone"`
	DSTGap      string              `json:"dstGap"`
	DSTOverlap  string              `json:"dstOverlap"`
	Misfire     MisfireInForce      `json:"misfire"`
	Overlap     string              `json:"overlap"`
	JitterMs    int64               `json:"jitterMs"`
	StartAt     Time                `json:"startAt"`
	EndAt       Time                `json:"endAt"`

	MaxConsecutiveFailures int `json:"maxConsecutiveFailures"` // 0: never paused for them
	ConsecutiveFailures    int `json:"consecutiveFailures"`    // runs that failed since the last one that succeeded

	Paused       bool              `json:"paused"`
	PausedReason *string           `json:"pausedReason"` // by_user, failures; null while it is not paused
	NextAt       Time              `json:"nextAt"`       // the next slot; null while paused and when none is left
	Labels       map[string]string `json:"labels"`
	CreatedAt    Time              `json:"createdAt"`
	UpdatedAt    Time              `json:"updatedAt"`
	Task         ScheduleTask      `json:"task"`
}

// ScheduleSpecInForce is a spec with its defaults; what it does not have is left out.
type ScheduleSpecInForce struct {
	Cron    string `json:"cron,omitempty"`
	Dialect string `json:"dialect,omitempty"`
	EveryMs int64  `json:"everyMs,omitempty"`
	Anchor  Time   `json:"anchor,omitzero"`
	At      Time   `json:"at,omitzero"`
}

// MisfireInForce is the misfire policy.
type MisfireInForce struct {
	Policy   string `json:"policy"`
	MaxAgeMs int64  `json:"maxAgeMs"`
}

// ScheduleTask is what each slot makes.
type ScheduleTask struct {
	Kind             string            `json:"kind"`
	Queue            string            `json:"queue"`
	Priority         string            `json:"priority"`
	TimeoutMs        int64             `json:"timeoutMs"` // -1: none
	Retry            RetryInForce      `json:"retry"`
	UniqueKey        *string           `json:"uniqueKey"`
	UniqueScope      *string           `json:"uniqueScope"`      // null without UniqueKey
	UniqueWindowMs   *int64            `json:"uniqueWindowMs"`   // null but with scope window
	UniqueOnConflict *string           `json:"uniqueOnConflict"` // null without UniqueKey
	LimitKey         *string           `json:"limitKey"`         // the tasks share the limits of this key of their app; null: none
	Labels           map[string]string `json:"labels"`
	CompletionURL    *string           `json:"completionUrl"`
	Payload          json.RawMessage   `json:"payload"` // with its templates, byte for byte
}

// AppendJSON appends the schedule, the payload byte for byte.
func (s *Schedule) AppendJSON(b []byte) ([]byte, error) {
	type plain Schedule // without methods
	rest := struct {
		plain
		Task *struct{} `json:"task,omitempty"` // hides the other one
	}{plain: plain(*s)}
	if rest.Labels == nil {
		rest.Labels = map[string]string{}
	}
	return appendWithTask(b, rest, s.Task.appendJSON)
}

// MarshalJSON is AppendJSON; encoding/json compacts what it gives.
func (s Schedule) MarshalJSON() ([]byte, error) { return s.AppendJSON(nil) }

func (t *ScheduleTask) appendJSON(b []byte) ([]byte, error) {
	rest := struct {
		ScheduleTask
		Payload *struct{} `json:"payload,omitempty"` // hides the other one
	}{ScheduleTask: *t}
	if rest.Labels == nil {
		rest.Labels = map[string]string{}
	}
	raw, err := encode(rest)
	if err != nil {
		return b, err
	}
	b = append(append(b, raw[:len(raw)-1]...), `,"payload":`...)
	return append(appendRaw(b, t.Payload), '}'), nil
}

// Outcomes of a slot.
const (
	SlotFired          = "fired"           // it has a task
	SlotHeld           = "held"            // it waits for earlier runs; becomes fired or skipped_overlap
	SlotSkipped        = "skipped"         // by a person
	SlotSkippedOverlap = "skipped_overlap" // an earlier run had not ended
	SlotSkippedMisfire = "skipped_misfire" // it was missed
	SlotFailedTemplate = "failed_template" // no task could be made; Detail says why
)

// Slot is what became of one planned, manual or backfilled fire time.
type Slot struct {
	Slot     Time    `json:"slot"`
	LastSlot Time    `json:"lastSlot"` // the same, unless Count missed slots share this line
	Count    int64   `json:"count"`
	Origin   string  `json:"origin"`   // planned, manual, backfill
	Backfill ID      `json:"backfill"` // which one; null for other origins
	TaskID   ID      `json:"taskId"`   // null unless fired
	Outcome  string  `json:"outcome"`  // fired, held, skipped, skipped_overlap, skipped_misfire, failed_template
	FiredAt  Time    `json:"firedAt"`  // when it was decided
	Detail   *string `json:"detail"`   // why no task could be made
}

// SchedulePreview is the body of POST /v1/schedules/preview. Only Spec is required.
type SchedulePreview struct {
	Spec       ScheduleSpec `json:"spec"`
	Zone       string       `json:"zone,omitempty"`
	From       *Time        `json:"from,omitempty"`  // fires are strictly after it; default now
	Count      int          `json:"count,omitempty"` // 1 … 1,000; default 5
	DSTGap     string       `json:"dstGap,omitempty"`
	DSTOverlap string       `json:"dstOverlap,omitempty"`
	JitterMs   int64        `json:"jitterMs,omitempty"`
	StartAt    *Time        `json:"startAt,omitempty"`
	EndAt      *Time        `json:"endAt,omitempty"`
}

// Preview says in words what a schedule does, and when it fires.
type Preview struct {
	Description string `json:"description"`
	Fires       []Fire `json:"fires"` // empty when nothing is left
}

// Fire is one slot to come.
type Fire struct {
	At    Time   `json:"at"`
	Local string `json:"local"` // on the clock of the zone, with its offset
	Note  string `json:"note"`  // about a change of the clock, and jitter; "" mostly
	// DueAt is when the task is due: the slot and its jitter. Null where the jitter depends on the id of a schedule that is not
	// stored yet.
	DueAt Time `json:"dueAt"`
}

// BackfillRange is the body of POST /v1/schedules/{id}/backfill: the planned slots of [From, To) that once more become tasks.
type BackfillRange struct {
	From Time `json:"from"`
	To   Time `json:"to"` // not later than now
}

// Backfill is what a backfill made.
type Backfill struct {
	ID    ID     `json:"id"` // null when the range has no slots
	Items []Slot `json:"items"`
}
