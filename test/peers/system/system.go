package system

import (
	"context"
	"errors"
)

// ErrNone is what a system answers that has no such thing. The report says "none".
var ErrNone = errors.New("the system has none")

// System is an open system: a producer and a worker in this process. Submit and SubmitBulk are called from many goroutines at
// once, the others from one.
type System interface {
	// Submit accepts one task. When it returns, the task is as durable as the adapter says. It never waits for others on
	// purpose: batching of concurrent calls is the system's own affair.
	Submit(ctx context.Context, t Task) error
	// SubmitBulk accepts tasks by the system's own bulk call, at most BulkSize, all of one kind. ErrNone: it has none (a
	// loop over Submit, or a pipeline that the system does not offer, is no bulk call). It may have none for delayed tasks
	// only.
	SubmitBulk(ctx context.Context, tasks []Task) error
	// Work starts the worker, Hold stops it: handlers that run come to their end, and what is submitted from now on waits.
	// Both return when that holds. Open gives a system on hold. They may be called many times in turns.
	Work(ctx context.Context) error
	Hold(ctx context.Context) error
	// Mark begins a new count for Await and Completed. Nothing waits or runs when it is called, but delayed tasks may.
	Mark(ctx context.Context) error
	// Await returns when n tasks that were submitted since Mark have ended well on the system's own record, as durable as
	// its submits, or when ctx ends. It asks often enough for a few ms of precision, and as little as possible.
	Await(ctx context.Context, n int64) error
	// Completed counts them exactly. ErrNone: the system keeps no such record, and returned handlers are counted instead.
	Completed(ctx context.Context) (int64, error)
	// Cancel asks for the end of the running task of this number, of kind Wait, and returns when that was accepted. ErrNone:
	// the system cannot.
	Cancel(ctx context.Context, number int64) error
	// Reset throws away everything that waits, is delayed or has ended. It is called on hold.
	Reset(ctx context.Context) error
	// Close ends everything in this process, at most within ctx.
	Close(ctx context.Context) error
}

// BulkSize is how many tasks a bulk call gets at most.
const BulkSize = 500

// Handler does what a task asks for.
type Handler interface {
	// Handle is called once per execution with the payload as submitted, from any goroutine. ctx ends when the system wants
	// the execution to end. An error is a failed execution.
	Handle(ctx context.Context, payload []byte) error
}

// HandlerFunc is a function as Handler.
type HandlerFunc func(ctx context.Context, payload []byte) error

// Handle implements Handler.
func (f HandlerFunc) Handle(ctx context.Context, payload []byte) error { return f(ctx, payload) }
