package task

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Body is what is written once beside a task: its payload, byte for byte, and what is too rare for a column.
type Body struct {
	Payload []byte // raw JSON as the client sent it
	Head    BodyHead
}

// BodyHead holds what a plain task has not. The zero value is written as nothing.
type BodyHead struct {
	Retry          *RetryPolicy      `json:"retry,omitempty"` // nil: DefaultRetry
	UniqueKey      string            `json:"uniqueKey,omitempty"`
	UniqueScope    UniqueScope       `json:"uniqueScope,omitempty"`
	UniqueWindowMs int64             `json:"uniqueWindowMs,omitempty"` // with ScopeWindow
	Labels         map[string]string `json:"labels,omitempty"`
	RetryOf        int64             `json:"retryOf,omitempty"`
	LimitKey       string            `json:"limitKey,omitempty"`      // with HasLimitKey
	CompletionURL  string            `json:"completionUrl,omitempty"` // with HasCompletion
	// CompletionKind is the kind of the task that tells it, instead of CompletionKind of the package: a surface's own way. Such
	// a one tells results only, of tasks that succeed, and is retried by the task's own policy.
	CompletionKind string `json:"completionKind,omitempty"`
	// Name is what a surface's client calls the task, for people: a label costs a row, and a submit a quarter of its speed.
	Name string `json:"name,omitempty"`
	// RunAt is the time that the client planned the task for, in ms, also one that was over already; 0: none. It is kept where
	// something else needs a head anyway: the row's due time moves on with every retry.
	RunAt int64 `json:"runAt,omitempty"`
	// The slot that made the task; zero for tasks of no schedule.
	ScheduleID int64 `json:"schedule,omitempty"`
	SlotAt     int64 `json:"slot,omitempty"`
	SlotOrigin int64 `json:"slotOrigin,omitempty"`
	// Trace is the W3C traceparent of the request that submitted the task; empty when nobody traces it.
	Trace string `json:"trace,omitempty"`
}

// RetryPolicy is the policy in force.
func (h *BodyHead) RetryPolicy() RetryPolicy {
	if h.Retry == nil {
		return DefaultRetry()
	}
	return *h.Retry
}

const bodyVersion = 1

var errBody = errors.New("body: not a task body")

// Encode gives the stored form: version byte, uvarint length of the head, head as JSON, payload.
func (b Body) Encode() ([]byte, error) {
	var head []byte
	if h := b.Head; h.Retry != nil || h.UniqueKey != "" || h.LimitKey != "" || len(h.Labels) > 0 || h.RetryOf != 0 || h.Name != "" || h.CompletionURL != "" || h.ScheduleID != 0 || h.Trace != "" {
		var err error
		if head, err = json.Marshal(h); err != nil {
			return nil, fmt.Errorf("encode body head: %w", err)
		}
	}
	out := make([]byte, 0, 1+binary.MaxVarintLen32+len(head)+len(b.Payload))
	out = append(out, bodyVersion)
	out = binary.AppendUvarint(out, uint64(len(head)))
	out = append(out, head...)
	return append(out, b.Payload...), nil
}

// DecodeBody reads the stored form. Payload aliases raw.
func DecodeBody(raw []byte) (Body, error) {
	var b Body
	if len(raw) < 2 || raw[0] != bodyVersion {
		return b, errBody
	}
	n, w := binary.Uvarint(raw[1:])
	if w <= 0 || n > uint64(len(raw)-1-w) {
		return b, errBody
	}
	rest := raw[1+w:]
	if n > 0 {
		if err := json.Unmarshal(rest[:n], &b.Head); err != nil {
			return b, fmt.Errorf("%w: %w", errBody, err)
		}
	}
	b.Payload = rest[n:]
	return b, nil
}
