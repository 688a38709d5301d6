package apiv1

import "encoding/json"

// Complete is the body of POST /v1/tasks/{id}/complete: how an attempt ended that its receiver took over by answering 202 with
// Taskweir-Complete-Within.
type Complete struct {
	Epoch        int             `json:"epoch"`                  // of the attempt: the Taskweir-Epoch of its call
	Outcome      string          `json:"outcome"`                // succeeded or failed
	Result       json.RawMessage `json:"result,omitempty"`       // with succeeded: any JSON ≤ 64 KiB
	Error        *CompleteError  `json:"error,omitempty"`        // with failed
	Permanent    bool            `json:"permanent,omitempty"`    // with failed: no retry can help
	RetryAfterMs *int64          `json:"retryAfterMs,omitempty"` // with failed: the next attempt comes not before; 0 … 3,600,000
}

// CompleteError is why the attempt failed.
type CompleteError struct {
	Code    string `json:"code,omitempty"`    // 1–64 of a-z 0-9 . _ -; default "failed"
	Message string `json:"message,omitempty"` // ≤ 2 KiB
}

// HeaderCompleteWithin is the header with which a receiver that answers 202 takes an attempt over: the seconds within which it
// completes it, 1 … 604,800.
const HeaderCompleteWithin = "Taskweir-Complete-Within"

// AttemptDetail is one attempt with its call, of GET /v1/tasks/{id}/attempts/{attempt}.
type AttemptDetail struct {
	Attempt  Attempt         `json:"attempt"`
	Delivery json.RawMessage `json:"delivery"` // a Delivery; null when nothing was kept
}

// Delivery is how the HTTP call of an attempt went. Values that are secrets, or may be, are "…".
type Delivery struct {
	Method          string      `json:"method"`
	URL             string      `json:"url"`
	RequestHeaders  [][2]string `json:"requestHeaders,omitempty"`
	RequestBody     string      `json:"requestBody,omitempty"`  // its first KiB
	RequestBytes    int         `json:"requestBytes,omitempty"` // of all of it
	Status          int         `json:"status,omitempty"`
	ResponseHeaders [][2]string `json:"responseHeaders,omitempty"`
	ResponseBody    string      `json:"responseBody,omitempty"` // its first KiB
	DurationMs      int64       `json:"durationMs"`
	Error           string      `json:"error,omitempty"` // why no whole answer came
}

// CallbackTest is what trying an app's receiver out found, the answer of POST /v1/apps/{app}/test-callback.
type CallbackTest struct {
	OK       bool          `json:"ok"`
	Kind     string        `json:"kind"`
	URL      string        `json:"url,omitempty"`
	Tries    []CallbackTry `json:"tries"`
	Findings []string      `json:"findings"` // what is wrong and what to do
}

// CallbackTry is one call of a test.
type CallbackTry struct {
	Name       string `json:"name"`
	Forged     bool   `json:"forged"` // signed with a wrong secret
	Accepted   bool   `json:"accepted"`
	Status     int    `json:"status,omitempty"`
	DurationMs int64  `json:"durationMs"`
	Body       string `json:"body,omitempty"`
	Error      string `json:"error,omitempty"`
}
