package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// closer is one thing to be ended, with the time it may take.
type closer struct {
	name  string
	bound time.Duration
	end   func(context.Context) error
}

// lifecycle ends what was started, in reverse order, each by name and within its own bound, so that one part that hangs
// can neither keep the others from ending nor keep the process alive.
type lifecycle struct {
	log *slog.Logger

	mu      sync.Mutex
	begin   []func()
	closers []closer
}

// atStop registers what begins, without waiting, when the process starts to end: what takes its time beside the others.
func (l *lifecycle) atStop(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin = append(l.begin, f)
}

// onStop registers the end of a resource at the moment it exists.
func (l *lifecycle) onStop(name string, bound time.Duration, end func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, closer{name, bound, end})
}

// run starts a loop that ends when its context does, and registers that end. A loop that fails reports it to failed.
func (l *lifecycle) run(name string, failed func(error), loop func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := loop(ctx); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("%s: %w", name, err))
		}
	}()
	l.onStop(name, 3*time.Second, func(stop context.Context) error {
		cancel(errStopping)
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return stop.Err()
		}
	})
}

// leastBound is what a part gets although the time of all is over.
const leastBound = 200 * time.Millisecond

// stop ends everything that is still registered, newest first, all of it within about the given time: parts that hang
// use up what is left of it, not a bound each. It may be called more than once.
func (l *lifecycle) stop(within time.Duration) error {
	deadline := time.Now().Add(within)
	l.mu.Lock()
	begin := l.begin
	l.begin = nil
	l.mu.Unlock()
	for _, f := range begin {
		f()
	}
	var errs []error
	for {
		l.mu.Lock()
		n := len(l.closers)
		if n == 0 {
			l.mu.Unlock()
			return errors.Join(errs...)
		}
		c := l.closers[n-1]
		l.closers = l.closers[:n-1]
		l.mu.Unlock()
		c.bound = max(leastBound, min(c.bound, time.Until(deadline)))
		if err := c.endWithin(); err != nil {
			l.log.Warn("part did not end well", "part", c.name, "error", err)
			errs = append(errs, fmt.Errorf("stop %s: %w", c.name, err))
		}
	}
}

// endWithin gives up waiting at the bound even when end ignores its context.
func (c closer) endWithin() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), c.bound, fmt.Errorf("still not ended after %s", c.bound))
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.end(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errStopping = errors.New("the process is stopping")
