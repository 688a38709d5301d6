package worker

import (
	"context"
	"sync"
	"time"
)

// leave is the graceful end: nothing more is claimed, running tasks get DrainTime, then their contexts are cancelled and
// what returns is given back; what is left is rescued by a scheduler. Whatever handlers do, it ends within DrainTime + 2 s.
func (e *Engine) leave() error {
	e.setPhase(draining)
	e.log.Info("draining")
	if !e.waitQuiet(e.o.DrainTime) {
		e.setPhase(ending)
		e.log.Warn("drain time is over: contexts cancelled", "tasks", e.stopAll(ErrDrained))
		e.waitQuiet(time.Second)
	}
	if e.killed() {
		return e.abort()
	}
	e.setPhase(ending)
	left := e.settleAll(600 * time.Millisecond)
	e.retire(300 * time.Millisecond)
	e.shut()
	e.bg.Wait()
	e.pool.end()
	e.log.Info("drained", "handlers left", left)
	return nil
}

// settleAll commits what is left of releases and results, as far as it gets within the time. It gives the number of
// handlers that have not returned.
func (e *Engine) settleAll(within time.Duration) int {
	done := make(chan struct{})
	e.closeQueues.Do(func() { close(e.chores.closed) })
	var wg sync.WaitGroup
	wg.Go(func() {
		e.choresDone.wait(e.ctx)
		close(e.fin.closed)
		e.flushDone.wait(e.ctx)
		close(done)
	})
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		e.log.Warn("results left behind", "results", e.fin.size())
		e.cancel(ErrDrained)
	case <-e.kill:
		e.cancel(ErrKilled)
	}
	wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

// retire says goodbye in the database, so that what is left is rescued at once.
func (e *Engine) retire(within time.Duration) {
	id := e.workerID()
	if id == 0 {
		return // not registered at this moment
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), within)
	defer cancel()
	if err := e.o.Store.RetireWorker(ctx, id); err != nil {
		e.log.Warn("worker row not retired", "err", err)
	}
}

// abort ends at once.
func (e *Engine) abort() error {
	e.setPhase(ending)
	e.cancel(ErrKilled)
	e.stopAll(ErrDrained)
	e.pool.end()
	go e.closeInlets()
	return ErrKilled
}

// shut stops every goroutine and connection.
func (e *Engine) shut() {
	e.cancel(ErrDrained)
	e.closeInlets()
}

func (e *Engine) closeInlets() {
	e.mu.Lock()
	lanes := append([]*lane(nil), e.order...)
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, l := range lanes {
		wg.Go(l.inlet.Close)
	}
	wg.Wait()
}

// setPhase moves on and drops what waits for slots.
func (e *Engine) setPhase(p phase) {
	e.mu.Lock()
	e.phase = max(e.phase, p)
	for _, l := range e.order {
		l.queue, l.want = nil, 0
		clear(l.byBell)
	}
	e.checkQuiet()
	e.mu.Unlock()
	e.calling.ring()
	e.ready.ring()
}

// waitQuiet waits until every slot is free; false when it took too long or Kill came.
func (e *Engine) waitQuiet(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		e.mu.Lock()
		quiet := e.free == e.o.Slots
		e.mu.Unlock()
		if quiet {
			return true
		}
		select {
		case <-e.quiet:
		case <-t.C:
			return false
		case <-e.kill:
			return false
		}
	}
}

func (e *Engine) killed() bool {
	select {
	case <-e.kill:
		return true
	default:
		return false
	}
}

// latch is closed once and waited for.
type latch chan struct{}

func (l latch) wait(ctx context.Context) {
	select {
	case <-l:
	case <-ctx.Done():
	}
}
