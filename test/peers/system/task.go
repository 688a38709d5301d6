package system

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Kind is what a task does.
type Kind uint8

// The kinds.
const (
	// Noop returns at once.
	Noop Kind = iota
	// Call POSTs its payload to URL and is done when the answer is 2xx. A system that makes HTTP calls itself uses that;
	// for others Handler.Handle does it.
	Call
	// Wait waits until its context ends. Only these are cancelled, so an adapter need remember its own id of these only.
	Wait
)

// Task is what is submitted.
type Task struct {
	Number int64     // from 1, unique in a round
	Kind   Kind      //
	Due    time.Time // wall clock, whole ms; zero: now
	URL    string    // of Call
}

// PayloadSize is the size of a payload in bytes.
const PayloadSize = 200

// Payload is the JSON that the system carries: PayloadSize bytes.
func (t Task) Payload() []byte {
	b := make([]byte, 0, PayloadSize)
	b = append(b, `{"kind":`...)
	b = strconv.AppendUint(b, uint64(t.Kind), 10)
	b = append(b, `,"number":`...)
	b = strconv.AppendInt(b, t.Number, 10)
	b = append(b, `,"pad":"`...)
	b = append(b, padding[:PayloadSize-len(b)-2]...)
	return append(b, `"}`...)
}

var (
	padding    = bytes.Repeat([]byte("x"), PayloadSize)
	errPayload = errors.New("not a payload of this benchmark")
)

// ParsePayload reads kind and number. Due and URL are not in it. It takes what Payload made, not any JSON: parsing is not
// what is measured.
func ParsePayload(p []byte) (Task, error) {
	rest, ok := bytes.CutPrefix(p, []byte(`{"kind":`))
	if !ok || len(rest) < 12 {
		return Task{}, fmt.Errorf("%w: %.40q", errPayload, p)
	}
	kind := rest[0] - '0'
	rest, ok = bytes.CutPrefix(rest[1:], []byte(`,"number":`))
	end := bytes.IndexByte(rest, ',')
	if !ok || end < 1 || kind > uint8(Wait) {
		return Task{}, fmt.Errorf("%w: %.40q", errPayload, p)
	}
	var n int64
	for _, c := range rest[:end] {
		if c < '0' || c > '9' {
			return Task{}, fmt.Errorf("%w: %.40q", errPayload, p)
		}
		n = n*10 + int64(c-'0')
	}
	return Task{Number: n, Kind: Kind(kind)}, nil
}
