package control

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	waitPoll    = 50 * time.Millisecond // between two looks at the tasks somebody waits for
	waitChunk   = 500                   // ids of one query
	waitTimeout = 5 * time.Second       // of one query
	maxWaiters  = 20_000
	// MaxWait bounds every wait for a task.
	MaxWait = 30 * time.Second
)

// waiters holds everybody who waits for a task to become final and one goroutine that polls for all of them.
type waiters struct {
	store Store
	wake  chan struct{}
	stop  context.CancelFunc
	done  chan struct{}

	mu     sync.Mutex
	by     map[int64]map[*waiter]struct{}
	n      int
	closed bool
}

// waiter is one caller. ch is closed when the task is final (or the process stops).
type waiter struct{ ch chan struct{} }

func newWaiters(store Store) *waiters {
	ctx, stop := context.WithCancel(context.Background())
	w := &waiters{store: store, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}), by: make(map[int64]map[*waiter]struct{})}
	go w.run(ctx)
	return w
}

// wait returns when the task is final, d is over or the process stops; the error is that of ctx, or Throttled when too
// many wait.
func (w *waiters) wait(ctx context.Context, id int64, d time.Duration) error {
	me := &waiter{make(chan struct{})}
	if err := w.enter(id, me); err != nil {
		return err
	}
	defer w.leave(id, me)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-me.ch:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

func (w *waiters) enter(id int64, me *waiter) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		close(me.ch)
		return nil
	}
	if w.n >= maxWaiters {
		return &task.Error{Kind: task.Throttled, Code: "too_many_waiting", Message: "too many requests wait for tasks", RetryAfter: time.Second}
	}
	if w.by[id] == nil {
		w.by[id] = make(map[*waiter]struct{})
	}
	w.by[id][me] = struct{}{}
	if w.n++; w.n == 1 {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func (w *waiters) leave(id int64, me *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.by[id][me]; !ok {
		return
	}
	w.n--
	if delete(w.by[id], me); len(w.by[id]) == 0 {
		delete(w.by, id)
	}
}

// finished wakes those who wait for these tasks.
func (w *waiters) finished(ids []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == 0 {
		return
	}
	for _, id := range ids {
		for me := range w.by[id] {
			close(me.ch)
			w.n--
		}
		delete(w.by, id)
	}
}

func (w *waiters) close() {
	w.mu.Lock()
	w.closed = true
	ids := slices.Collect(maps.Keys(w.by))
	w.mu.Unlock()
	w.finished(ids)
	w.stop()
	<-w.done
}

func (w *waiters) run(ctx context.Context) {
	defer close(w.done)
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		}
		w.pollWhileNeeded(ctx)
	}
}

// pollWhileNeeded polls until nobody waits. The pause is counted from the end of a round, so that a slow database is
// asked less.
func (w *waiters) pollWhileNeeded(ctx context.Context) {
	timer := time.NewTimer(waitPoll)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		ids := slices.Collect(maps.Keys(w.by))
		w.mu.Unlock()
		if len(ids) == 0 {
			return
		}
		slices.Sort(ids)
		for chunk := range slices.Chunk(ids, waitChunk) {
			w.poll(ctx, chunk)
		}
		timer.Reset(waitPoll)
	}
}

// poll wakes those whose task is final or gone. When the database does not answer they go on waiting: their time is
// bounded.
func (w *waiters) poll(ctx context.Context, ids []int64) {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	held, err := w.store.Held(ctx, ids)
	if err != nil {
		return
	}
	open := make(map[int64]bool, len(held))
	for _, h := range held {
		open[h.ID] = !h.State.Final()
	}
	w.finished(slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return open[id] }))
}
