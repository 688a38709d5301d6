package scheduler

import (
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

// inbox is how other goroutines tell the bell loop something.
type inbox struct {
	notify chan struct{}

	mu      sync.Mutex
	results []pressed
	due     []task.Rung   // bells whose instant came; not rung yet
	rung    []job         // jobs that were given to the press by others than the loop
	gone    []task.Worker // that were alive and are not there any more
}

// pressed is what became of one job.
type pressed struct {
	lane   laneKey
	ids    []int64
	parked map[int64]string // not published, with a kind that no worker runs; nil: none
	gen    int64            // the publisher's generation before it was published
	err    error
}

func newInbox() *inbox { return &inbox{notify: make(chan struct{}, 1)} }

// put runs add under the lock and wakes the loop.
func (i *inbox) put(add func(*inbox)) {
	i.mu.Lock()
	add(i)
	i.mu.Unlock()
	select {
	case i.notify <- struct{}{}:
	default:
	}
}

func (i *inbox) take() (results []pressed, due []task.Rung, rung []job, gone []task.Worker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	results, due, rung, gone = i.results, i.due, i.rung, i.gone
	i.results, i.due, i.rung, i.gone = nil, nil, nil, nil
	return results, due, rung, gone
}
