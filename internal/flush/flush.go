// Package flush is group commit: many callers hand in items, one goroutine commits what has gathered.
//
// There is no fixed wait. While one flush is at the database the next one gathers, so a single caller pays one round trip
// and a thousand callers share one transaction; a timer would cost latency at every stage and gain nothing. The queue
// before the flusher is bounded in items and bytes: beyond the bound a caller hears at once that the process is
// overloaded, rather than after a time-out. Flushes run under the flusher's own context: the caller that happened to
// start one may leave, the others still need its outcome.
package flush

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// ErrClosed is the cause of the error that Add gives after Close.
var ErrClosed = errors.New("flusher is closed")

// Options say what is flushed and within which bounds.
type Options[T any] struct {
	// Flush commits a batch and tells every item's owner what became of it. It runs on the flusher's goroutine, one batch
	// at a time, and must not keep the slice. Required.
	Flush func(ctx context.Context, batch []T)
	// Size gives how many tasks and how many bytes an item stands for. Required.
	Size func(T) (tasks, bytes int)

	MaxTasks   int // of one flush; 0: task.MaxFlushTasks. An item that alone is larger is flushed alone.
	MaxBytes   int // of one flush; 0: task.MaxFlushBytes. An item that alone is larger is flushed alone.
	QueueTasks int // waiting; 0: 10,000
	QueueBytes int // waiting; 0: 32 MiB
}

// Flusher is a bounded queue with one goroutine behind it.
type Flusher[T any] struct {
	opts   Options[T]
	wake   chan struct{} // 1 token: there is something to do
	done   chan struct{} // closed when the goroutine has ended
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	queue  []T
	head   int // queue[:head] is taken
	tasks  int // waiting, in flight not counted
	bytes  int
	closed bool
}

// New starts a flusher. Close ends it.
func New[T any](opts Options[T]) *Flusher[T] {
	setDefault(&opts.MaxTasks, task.MaxFlushTasks)
	setDefault(&opts.MaxBytes, task.MaxFlushBytes)
	setDefault(&opts.QueueTasks, 10_000)
	setDefault(&opts.QueueBytes, 32<<20)
	ctx, cancel := context.WithCancelCause(context.Background())
	f := &Flusher[T]{opts: opts, wake: make(chan struct{}, 1), done: make(chan struct{}), cancel: cancel}
	go f.run(ctx)
	return f
}

func setDefault(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// Add queues items. All of them or none: when they do not fit, the error is Unavailable with code "overloaded" and a
// RetryAfter of one second; after Close it is Unavailable with code "stopping".
func (f *Flusher[T]) Add(items ...T) error {
	var tasks, bytes int
	for _, it := range items {
		t, b := f.opts.Size(it)
		tasks, bytes = tasks+t, bytes+b
	}
	f.mu.Lock()
	switch {
	case f.closed:
		f.mu.Unlock()
		return task.Gone("stopping", ErrClosed)
	case f.tasks > 0 && f.tasks+tasks > f.opts.QueueTasks, f.bytes > 0 && f.bytes+bytes > f.opts.QueueBytes:
		f.mu.Unlock()
		return &task.Error{Kind: task.Unavailable, Code: "overloaded", RetryAfter: time.Second,
			Message: "too many tasks wait to be stored, nothing was changed"}
	}
	f.queue = append(f.queue, items...)
	f.tasks, f.bytes = f.tasks+tasks, f.bytes+bytes
	f.mu.Unlock()
	f.signal()
	return nil
}

// Waiting gives how many tasks are queued, without those of the flush under way.
func (f *Flusher[T]) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tasks
}

// Close refuses further items and waits until everything that was accepted has been flushed. When ctx ends first, the
// context of the flush under way is cancelled with the cause of ctx, and Close still waits: what was accepted is answered.
func (f *Flusher[T]) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.signal()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		f.cancel(context.Cause(ctx))
		<-f.done
		return context.Cause(ctx)
	}
}

func (f *Flusher[T]) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Flusher[T]) run(ctx context.Context) {
	defer close(f.done)
	defer f.cancel(ErrClosed)
	batch := make([]T, 0, f.opts.MaxTasks)
	for range f.wake {
		for {
			var closed bool
			batch, closed = f.take(batch[:0])
			if len(batch) == 0 {
				if closed {
					return
				}
				break
			}
			f.opts.Flush(ctx, batch)
			clear(batch)
		}
	}
}

// take moves what one flush may hold into batch; closed reports whether nothing more can come.
func (f *Flusher[T]) take(batch []T) (_ []T, closed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var tasks, bytes int
	var zero T
	for f.head < len(f.queue) {
		t, b := f.opts.Size(f.queue[f.head])
		if len(batch) > 0 && (tasks+t > f.opts.MaxTasks || bytes+b > f.opts.MaxBytes) {
			break
		}
		batch = append(batch, f.queue[f.head])
		f.queue[f.head] = zero
		f.head++
		tasks, bytes = tasks+t, bytes+b
	}
	f.tasks, f.bytes = f.tasks-tasks, f.bytes-bytes
	f.compact()
	return batch, f.closed
}

// compact keeps the queue's array from growing for ever.
func (f *Flusher[T]) compact() {
	if f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
		return
	}
	if f.head >= 1024 && f.head*2 >= len(f.queue) {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
}
