package scheduler

import (
	"context"
	"log/slog"
	"time"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = time.Second
)

// backoff spaces the tries of one loop while a dependency is gone, and says so once.
type backoff struct {
	log  *slog.Logger
	what string
	wait time.Duration
}

// failed gives how long to wait before the next try.
func (b *backoff) failed(err error) time.Duration {
	if b.wait == 0 {
		b.log.Warn("scheduler cannot go on, will try again", "at", b.what, "err", err)
	}
	b.wait = min(max(backoffMin, b.wait*2), backoffMax)
	return b.wait
}

// ok ends a series of failures.
func (b *backoff) ok() {
	if b.wait != 0 {
		b.log.Info("scheduler goes on", "at", b.what)
		b.wait = 0
	}
}

// sleep waits for d; its error is that of an ended ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// every runs step until ctx ends: after pause, or sooner or later as step says by a positive wait; after failures with
// back-off.
func (s *Scheduler) every(ctx context.Context, what string, pause time.Duration, step func(context.Context) (time.Duration, error)) {
	b := backoff{log: s.o.Logger, what: what}
	for {
		wait, err := step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = max(b.failed(err), min(pause, backoffMax))
		default:
			b.ok()
			if wait <= 0 {
				wait = pause
			}
		}
		if sleep(ctx, wait) != nil {
			return
		}
	}
}
