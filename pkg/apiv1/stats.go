package apiv1

// Stats is the answer of GET /v1/stats.
type Stats struct {
	From   Time   `json:"from"` // as they were rounded: to whole steps
	To     Time   `json:"to"`
	StepMs int64  `json:"stepMs"`
	By     string `json:"by,omitempty"` // queue, app, kind; "" : one line for all
	Items  []Stat `json:"items"`        // oldest first; steps in which nothing happened are left out
}

// Stat counts what happened in one step, to tasks of one key.
type Stat struct {
	At        Time   `json:"at"` // the step's start
	Key       string `json:"key,omitempty"`
	Submitted int64  `json:"submitted"`
	Succeeded int64  `json:"succeeded"`
	Failed    int64  `json:"failed"`
	Retried   int64  `json:"retried"`
	TimedOut  int64  `json:"timedOut"`
	Cancelled int64  `json:"cancelled"`
	Lost      int64  `json:"lost"`
	WaitP95Ms *int64 `json:"waitP95Ms"` // from due to start; null when nothing started
	RunP95Ms  *int64 `json:"runP95Ms"`  // null when nothing ended
}
