package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	engine "github.com/taskweir/taskweir/internal/worker"
)

// The causes with which a handler's context ends: errors.Is(context.Cause(ctx), …).
var (
	// ErrTimedOut: the time of the task, or that of its kind (MaxRun), is over. The attempt counts as a failure.
	ErrTimedOut = engine.ErrTimeout
	// ErrCancelled: a client or person asked for it. The task is cancelled, unless the handler still succeeds.
	ErrCancelled = engine.ErrCancelled
	// ErrDraining: the worker ends and its drain time is over. The task runs again elsewhere; that counts as no failure.
	ErrDraining = engine.ErrDrained
	// ErrLost: the task was given to somebody else, because this worker was taken for dead. Nothing that this attempt returns
	// counts unless it comes before the other's.
	ErrLost = engine.ErrFenced
)

// Permanent says that trying again cannot help: the task fails for good, reason permanent. nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ error }

// Unwrap gives the error within.
func (p *permanent) Unwrap() error { return p.error }

// RetryAfter is a failure that is not tried again before d has passed, even if the retry policy would: what a receiver said in
// Retry-After. It counts as a failure, and the last one is final. A d below 0 is 0, above ten years ten years. A nil err gives
// a failure all the same: an attempt that is to be repeated without one is snoozed.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("to be tried again later")
	}
	return &retryAfter{err, within(d, 0)}
}

type retryAfter struct {
	error
	ms int64
}

// Unwrap gives the error within.
func (r *retryAfter) Unwrap() error { return r.error }

// Snooze ends the attempt without success or failure; the task runs again after d, 1 s to ten years. It counts as no failure,
// so a task may be snoozed for ever, each time with a higher epoch. A task that would then be past its expiry fails, expired.
func Snooze(d time.Duration) error { return &snooze{within(d, 1_000)} }

type snooze struct{ ms int64 }

// Error says for how long.
func (s *snooze) Error() string {
	return fmt.Sprintf("snoozed for %s", time.Duration(s.ms)*time.Millisecond)
}

// Code gives a failure the code that clients see as error.code: up to 64 bytes, stable, snake_case by custom. Without one it is
// handler_error. nil stays nil.
func Code(code string, err error) error {
	if err == nil {
		return nil
	}
	return &coded{err, code}
}

type coded struct {
	error
	code string
}

// Unwrap gives the error within.
func (c *coded) Unwrap() error { return c.error }

// within is a span in ms between least and the longest delay of a task.
func within(d time.Duration, least int64) int64 {
	return min(max(d.Milliseconds(), least), task.MaxDelayMs)
}
