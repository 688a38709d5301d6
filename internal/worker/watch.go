package worker

import (
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// liveGrain keeps the watch from waking for every task that reaches Options.LiveAfter.
const liveGrain = 50 * time.Millisecond

// notStarted is when a run whose handler is about to begin is looked at again.
const notStarted = 5 * time.Millisecond

// lookBy makes the watch look at the slots by an instant at the latest.
func (e *Engine) lookBy(ns int64) {
	e.mu.Lock()
	sooner := ns < e.watchNs
	if sooner {
		e.watchNs = ns
	}
	e.mu.Unlock()
	if sooner {
		e.watch.ring()
	}
}

// verdict is what the watch found about one run.
type verdict struct {
	r     *run
	cause error // end its context
	close bool  // end it without its handler
}

// watching enforces deadlines, finds zombies, closes them, shows long runners, and fences a worker that cannot beat.
func (e *Engine) watching() {
	for {
		select {
		case <-e.watch.wake:
		case <-e.watch.timer.C:
		case <-e.ctx.Done():
			return
		}
		now := e.mono.ns()
		found, next := e.look(now)
		for _, v := range found {
			if v.close {
				e.closeZombie(v.r)
			} else {
				v.r.stop(v.cause)
			}
		}
		e.watch.set(untilOrNever(next, now))
	}
}

func untilOrNever(at, now int64) int64 {
	if at == never {
		return never
	}
	return max(0, at-now)
}

// look scans the slots and gives what has to be done and when to look again.
func (e *Engine) look(now int64) (found []verdict, next int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next = never
	for _, r := range e.slots {
		if r == nil {
			continue
		}
		v, at := e.judge(r, now)
		if v != nil {
			found = append(found, *v)
		}
		next = min(next, at)
	}
	e.watchNs = next
	return found, next
}

// judge looks at one run. Engine.mu is held.
func (e *Engine) judge(r *run, now int64) (v *verdict, next int64) {
	next = never
	start := r.startedNs.Load()
	if start > 0 && !r.shown && r.cause == nil {
		if at := start + int64(e.o.LiveAfter); at <= now {
			e.show(r)
		} else {
			next = at + int64(liveGrain)
		}
	}
	if start == 0 {
		if len(r.item.Body) == 0 {
			return nil, next // its body is being read; start asks for the next look
		}
		return nil, now + int64(notStarted)
	}
	if r.cause == nil {
		limit := r.limitMs()
		if limit <= 0 {
			return nil, next
		}
		if at := start + int64(limit)*int64(time.Millisecond); at > now {
			return nil, min(next, at)
		}
		r.cause, r.causeNs = ErrTimeout, now
		return &verdict{r: r, cause: ErrTimeout}, now + int64(e.o.Grace)
	}
	graceEnd := r.causeNs + int64(e.o.Grace)
	if !r.zombie {
		if graceEnd > now {
			return nil, graceEnd
		}
		e.makeZombie(r)
	}
	if r.closed {
		return nil, next
	}
	if at := graceEnd + int64(e.o.ZombieAfter); at > now {
		return nil, at
	}
	r.closed = true
	return &verdict{r: r, close: true}, next
}

// show puts a run that lasts into the live view. Engine.mu is held.
func (e *Engine) show(r *run) {
	if !r.shown {
		r.shown = true
		e.long++
	}
	e.live.enter(r.live())
	if r.progress.Load() != nil {
		e.live.reported()
	}
}

// makeZombie marks a handler that ignores the end of its context: its slot stays taken. Engine.mu is held.
func (e *Engine) makeZombie(r *run) {
	r.zombie = true
	e.zombies++
	e.show(r)
	e.chores.add(chore{r: r, do: markZombie})
	e.log.Warn("handler ignores the end of its context", "task", r.end.TaskID, "epoch", r.end.Epoch, "kind", r.kind.name, "cause", r.cause)
}

// closeZombie ends an attempt whose handler still runs, so that its retry or cancel goes on. r.closed is set already.
func (e *Engine) closeZombie(r *run) {
	e.log.Warn("zombie closed; its handler may still run", "task", r.end.TaskID, "epoch", r.end.Epoch)
	e.mu.Lock()
	cause := r.cause
	e.mu.Unlock()
	if handsBack(cause, task.Result{}) {
		e.chores.add(chore{r: r, do: releaseBack})
		return
	}
	r.settle(task.Result{}, cause, e.o.Clock.Now())
	e.fin.add(r)
}

// stopRun ends a run's context with a cause, once.
func (e *Engine) stopRun(r *run, cause error) bool {
	e.mu.Lock()
	if r.cause != nil || r.slot < 0 {
		e.mu.Unlock()
		return false
	}
	now := e.mono.ns()
	r.cause, r.causeNs = cause, now
	e.mu.Unlock()
	r.stop(cause)
	e.lookBy(now + int64(e.o.Grace))
	return true
}

// stopAll ends every context with a cause and gives how many it ended.
func (e *Engine) stopAll(cause error) int {
	n := 0
	for _, r := range e.snapshot() {
		if e.stopRun(r, cause) {
			n++
		}
	}
	return n
}

// snapshot lists the runs whose handlers have not returned and that are not closed.
func (e *Engine) snapshot() []*run {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]*run, 0, e.running)
	for _, r := range e.slots {
		if r != nil && !r.closed {
			out = append(out, r)
		}
	}
	return out
}
