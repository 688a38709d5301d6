package apiv1

// Limits bound what of a queue, an app or a limit key may run. What is at a limit waits: it neither spins nor uses an attempt.
// null: no such limit.
type Limits struct {
	Rate        *Rate `json:"rate"`
	Concurrency *int  `json:"concurrency"` // tasks running at once, over all workers; 1 … 1,000,000
}

// Rate allows Tasks starts in each PerMs, evenly spread; after a pause up to Burst at once.
type Rate struct {
	Tasks int   `json:"tasks"`           // 1 … 1,000,000
	PerMs int64 `json:"perMs,omitempty"` // 100 … 86,400,000; default 1,000
	Burst int   `json:"burst,omitempty"` // 1 … 1,000,000; default what 100 ms allow, at least 1
}

// QueueUpdate is the body of PUT /v1/queues/{name}: the queue is made when it is not there. What is left out is the default.
type QueueUpdate struct {
	Limits *Limits `json:"limits,omitempty"` // default none
	Paused bool    `json:"paused,omitempty"`
}

// LimitKey is what holds for the tasks of an app that carry the same limitKey: GET /v1/limit-keys, PUT, GET, DELETE
// /v1/limit-keys/{key}, POST …/pause, …/resume.
type LimitKey struct {
	Key     string `json:"key"` // 1–64 of A-Z a-z 0-9 . _ - : @
	Limits  Limits `json:"limits"`
	Paused  bool   `json:"paused"`
	Running *int   `json:"running"` // tasks that hold a place; null without a concurrency limit
}

// LimitKeyUpdate is the body of PUT /v1/limit-keys/{key}. What is left out is the default.
type LimitKeyUpdate struct {
	Limits *Limits `json:"limits,omitempty"`
	Paused bool    `json:"paused,omitempty"`
}
