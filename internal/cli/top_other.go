//go:build !unix

package cli

import "os"

// There are no such signals here: the size is looked at with every redraw, and nothing is stopped.
var resized, suspendSignal os.Signal = noSignal{}, noSignal{}

type noSignal struct{}

// Signal implements os.Signal.
func (noSignal) Signal() {}

// String implements os.Signal.
func (noSignal) String() string { return "none" }

func stopSelf() error { return nil }
