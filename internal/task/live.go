package task

import "encoding/json"

// LiveDetail is what a worker sees of an attempt that it runs, at the moment it is asked.
type LiveDetail struct {
	Gone       bool            `json:"gone,omitempty"` // it does not run the attempt (any more, or yet); nothing else is set
	AttemptID  int64           `json:"attempt"`
	Epoch      int32           `json:"epoch"`
	ElapsedMs  int64           `json:"elapsedMs"` // since its handler started
	Zombie     bool            `json:"zombie,omitempty"`
	Round      int64           `json:"round"`              // 1, and one more for every progress report
	Progress   json.RawMessage `json:"progress,omitempty"` // as last reported; nil: nothing was
	Goroutines []Goroutine     `json:"goroutines"`         // the handler's first, then those that it started

	// With a peek that asks for it: what the attempt wrote. Log begins at byte LogFrom of it and is the newest part that is kept
	// from there on; LogSize is all that was written so far.
	Log     []byte `json:"log,omitempty"`
	LogFrom int64  `json:"logFrom,omitempty"`
	LogSize int64  `json:"logSize,omitempty"`
}

// LiveReport is what a running attempt reported last, in the live view.
type LiveReport struct {
	TaskID int64           `json:"task"`
	Epoch  int32           `json:"epoch"`
	Vars   json.RawMessage `json:"vars"` // at most 4 KiB
}

// Goroutine is one stack.
type Goroutine struct {
	State  string  `json:"state"`  // running, or what it waits for, in the words of Go's runtime
	Frames []Frame `json:"frames"` // innermost first, without the runtime's own at the ends
}

// Frame is one function on a stack.
type Frame struct {
	Function string `json:"function"` // with its package
	File     string `json:"file"`
	Line     int    `json:"line"`
}
