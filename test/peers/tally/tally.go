// Package tally counts executions inside the process of a round, for adapters: when as many handlers have returned as are
// awaited, it is time to ask the system's own record, and not before. Asking it all the while would be paid for by the
// system that is measured. Of systems that keep no record it is all there is.
package tally

import (
	"context"
	"sync/atomic"
)

// Tally counts up. The zero value is not ready: see New.
type Tally struct {
	count, target atomic.Int64
	reached       chan struct{}
}

// New gives a tally of nothing.
func New() *Tally { return &Tally{reached: make(chan struct{}, 1)} }

// Add counts one.
func (t *Tally) Add() {
	if t.count.Add(1) == t.target.Load() {
		select {
		case t.reached <- struct{}{}:
		default: // a wake-up waits already
		}
	}
}

// Count is how many there are.
func (t *Tally) Count() int64 { return t.count.Load() }

// Wait returns when the count is n or more, or with the cause when ctx ends first. One at a time may wait.
func (t *Tally) Wait(ctx context.Context, n int64) error {
	t.target.Store(n)
	for t.count.Load() < n {
		select {
		case <-t.reached: // maybe of an earlier target
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
