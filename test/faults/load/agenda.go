package load

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// agenda is what clients are to do later, in order of time.
type agenda struct {
	mu      sync.Mutex
	list    errands
	doing   int           // handed out and not done
	changed chan struct{} // closed when something was added, and made anew
}

// errand is one thing to do. It may add others.
type errand struct {
	at time.Time
	do func(ctx context.Context)
}

func newAgenda() *agenda { return &agenda{changed: make(chan struct{})} }

// add puts something to do after d.
func (a *agenda) add(d time.Duration, do func(ctx context.Context)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	heap.Push(&a.list, errand{time.Now().Add(d), do})
	close(a.changed)
	a.changed = make(chan struct{})
}

// take gives what is due; else when the next is due (a minute at most), and what is closed when that may have changed.
func (a *agenda) take() (do func(ctx context.Context), next time.Duration, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next = time.Minute
	if len(a.list) > 0 {
		if next = time.Until(a.list[0].at); next <= 0 {
			a.doing++
			return heap.Pop(&a.list).(errand).do, 0, nil
		}
	}
	return nil, next, a.changed
}

// done says that something which was taken is done.
func (a *agenda) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.doing--
}

// open is how much is left to do.
func (a *agenda) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.list) + a.doing
}

// errands is a heap by time.
type errands []errand

func (e errands) Len() int           { return len(e) }
func (e errands) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e errands) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *errands) Push(x any)        { *e = append(*e, x.(errand)) }

func (e *errands) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
