package worker

import (
	"context"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// action is what the chores goroutine does for one run.
type action int

const (
	releaseBack action = iota // give the task back: counts nothing
	releaseLost               // its end cannot be stored: counts a loss; its claim has counted it already
	markZombie                // best effort; every end clears the flag
)

// chore is one rare write.
type chore struct {
	r  *run
	do action
}

// choreQueue holds rare writes, so that neither handlers nor the watch wait for the database.
type choreQueue struct {
	mu     sync.Mutex
	list   []chore
	wake   chan struct{}
	closed chan struct{}
}

func (q *choreQueue) init() { q.wake, q.closed = make(chan struct{}, 1), make(chan struct{}) }

func (q *choreQueue) add(cs ...chore) {
	q.mu.Lock()
	q.list = append(q.list, cs...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *choreQueue) take() []chore {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.list
	q.list = nil
	return out
}

// doChores works the queue off until the engine ends.
func (e *Engine) doChores() {
	defer close(e.choresDone)
	for {
		closing := false
		select {
		case <-e.chores.wake:
		case <-e.chores.closed:
			closing = true
		case <-e.ctx.Done():
			return
		}
		pause := 20 * time.Millisecond
		for {
			left := e.chore(e.chores.take())
			if len(left) == 0 {
				break
			}
			e.chores.add(left...)
			if !e.sleep(pause, nil) {
				return
			}
			pause = min(2*pause, time.Second)
		}
		if closing {
			return
		}
	}
}

// chore does each once and gives those that must be tried again.
func (e *Engine) chore(cs []chore) (again []chore) {
	back, lost := map[*claim][]chore{}, map[*claim][]chore{}
	for _, c := range cs {
		switch c.do {
		case releaseBack:
			back[c.r.claim] = append(back[c.r.claim], c)
		case releaseLost:
			lost[c.r.claim] = append(lost[c.r.claim], c)
		case markZombie:
			e.mark(c.r)
		}
	}
	for c, list := range back {
		if !e.release(c, list, task.CauseReleased) {
			again = append(again, list...)
			continue
		}
		e.mu.Lock()
		for _, ch := range list {
			e.drop(ch.r)
		}
		e.mu.Unlock()
		e.fin.ring()
	}
	for c, list := range lost {
		if !e.release(c, list, task.CauseLost) {
			again = append(again, list...)
		}
	}
	return again
}

// release takes runs of one claim back to waiting; false when it has to be tried again. What the store refuses for good is
// left to the self-check, or to a scheduler when this worker is gone.
func (e *Engine) release(c *claim, list []chore, cause task.ReleaseCause) bool {
	only := make([]int64, len(list))
	for i, ch := range list {
		only[i] = ch.r.end.TaskID
	}
	bells, err := e.o.Store.Release(e.ctx, c.id, only, cause)
	if err != nil {
		e.log.Warn("tasks not released", "claim", c.id, "tasks", len(only), "err", err)
		if task.Transient(err) {
			return false
		}
		e.keepRow(c)
		return true
	}
	e.log.Info("tasks released", "claim", c.id, "tasks", len(only), "worker", c.worker)
	e.ringBare(bells)
	return true
}

// ringBare rings bells without their items.
func (e *Engine) ringBare(bells []task.Bell) {
	if len(bells) == 0 || e.o.Ringer == nil {
		return
	}
	rungs := make([]task.Rung, len(bells))
	for i, b := range bells {
		rungs[i].Bell = b
	}
	e.o.Ringer.Ring(rungs...)
}

// mark sets the zombie flag, with one try.
func (e *Engine) mark(r *run) {
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	if err := e.o.Store.MarkZombie(ctx, r.claim.worker, r.end.TaskID, r.end.Epoch, true); err != nil {
		e.log.Warn("zombie flag not written", "task", r.end.TaskID, "err", err)
	}
}

// giveUp releases runs whose handlers were not started.
func (e *Engine) giveUp(runs []*run, why string) {
	e.log.Info("tasks given back unstarted", "tasks", len(runs), "why", why)
	now := e.mono.ns()
	cs := make([]chore, len(runs))
	e.mu.Lock()
	for i, r := range runs {
		e.leaveSlot(r, now)
		cs[i] = chore{r: r, do: releaseBack}
	}
	e.mu.Unlock()
	e.chores.add(cs...)
}
