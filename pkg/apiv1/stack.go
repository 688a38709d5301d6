package apiv1

import "encoding/json"

// Stack is what the worker sees of a running attempt: GET /v1/tasks/{id}/stack.
type Stack struct {
	Attempt    ID              `json:"attempt"`
	Epoch      int             `json:"epoch"`
	Worker     ID              `json:"worker"`
	ElapsedMs  int64           `json:"elapsedMs"` // since its handler started
	Zombie     bool            `json:"zombie"`
	Progress   json.RawMessage `json:"progress,omitempty"` // as the handler last reported it
	Goroutines []Goroutine     `json:"goroutines"`         // the handler's first, then those that it started; at most 16
}

// Goroutine is one stack.
type Goroutine struct {
	State  string  `json:"state"`  // running, or what it waits for: "IO wait", "select", "chan receive", "sleep", …
	Frames []Frame `json:"frames"` // innermost first, at most 64; the runtime's own at both ends are left out
}

// Frame is one function on a stack.
type Frame struct {
	Function string `json:"function"` // with its package
	File     string `json:"file"`
	Line     int    `json:"line"`
}
