package worker

import (
	"context"
	"errors"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// beating renews the worker's row, checks what it holds against the database, and fences the worker when it cannot. A
// failed beat is tried again at a third of the interval.
func (e *Engine) beating() {
	for {
		wait := e.o.BeatEvery
		if !e.beatOnce() {
			wait = e.o.BeatEvery / 3
			e.selfFence()
		}
		if !e.sleep(wait, nil) {
			return
		}
	}
}

// beatOnce does one beat; false when the database was not reached.
func (e *Engine) beatOnce() bool {
	ctx, cancel := context.WithTimeout(e.ctx, max(e.o.BeatEvery/3, 10*time.Millisecond))
	defer cancel()
	id := e.workerID()
	if id == 0 {
		return true // it could not register before the engine ended
	}
	sent := e.mono.ns()
	state, err := e.o.Store.Beat(ctx, id, e.info())
	if errors.Is(err, task.ErrFenced) {
		if !e.retiring() { // its row may be gone by its own doing
			e.refenced(id)
		}
		return true
	}
	if err != nil {
		if e.ctx.Err() == nil {
			e.log.Warn("beat failed", "err", err)
		}
		return false
	}
	e.mu.Lock()
	e.beatNs, e.fenced = sent, false
	busy, zombies := e.running, e.zombies
	e.mu.Unlock()
	e.calling.ring()
	e.o.Metrics.Slots(e.o.Slots, busy, zombies)
	e.refreshLive()
	e.pool.trim()
	if state == task.WorkerDraining {
		e.Drain()
	}
	e.bg.Go(func() { e.check(id) })
	return true
}

// retiring reports whether the engine is past its drain: nothing is held that a new id could help, and its row is retired.
func (e *Engine) retiring() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase == ending
}

// check is the rest of a beat. It has more time than the beat itself, and is skipped while an earlier one is under way.
func (e *Engine) check(id int64) {
	if !e.checking.TryLock() {
		return
	}
	defer e.checking.Unlock()
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
	defer cancel()
	e.verifyIn(ctx, e.snapshot())
	e.ownClaims(ctx, id)
}

// verify compares runs with the database.
func (e *Engine) verify(runs []*run) {
	ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
	defer cancel()
	e.verifyIn(ctx, runs)
}

// verifyIn stops what is not this worker's any more and cancels what somebody wants cancelled.
func (e *Engine) verifyIn(ctx context.Context, runs []*run) {
	for len(runs) > 0 {
		n := min(len(runs), maxClaim)
		part := runs[:n]
		runs = runs[n:]
		ids := make([]int64, n)
		for i, r := range part {
			ids[i] = r.end.TaskID
		}
		held, err := e.o.Store.Held(ctx, ids)
		if err != nil {
			if e.ctx.Err() == nil {
				e.log.Warn("held tasks not read", "err", err)
			}
			return
		}
		byID := make(map[int64]task.Held, len(held))
		for _, h := range held {
			byID[h.ID] = h
		}
		for _, r := range part {
			h, ok := byID[r.end.TaskID]
			switch {
			case !ok || h.State != task.Running || h.WorkerID != r.claim.worker || h.Epoch != r.end.Epoch:
				if e.stopRun(r, ErrFenced) {
					e.log.Warn("task is not this worker's any more", "task", r.end.TaskID, "epoch", r.end.Epoch, "state", h.State)
				}
			case h.CancelAt > 0:
				e.stopRun(r, ErrCancelled)
			}
		}
	}
}

// ownClaims reads the worker's claim rows and releases those that are not in memory. A claim transaction that is under
// way may have written its row already, so a stranger is released only once every call that was open when it was first
// seen has returned without making it known.
func (e *Engine) ownClaims(ctx context.Context, id int64) {
	rows, err := e.o.Store.ClaimsOf(ctx, id)
	if err != nil {
		if e.ctx.Err() == nil {
			e.log.Warn("own claims not read", "err", err)
		}
		return
	}
	for _, s := range e.strangers(id, rows) {
		bells, err := e.o.Store.Release(ctx, s.id, nil, s.cause)
		if err != nil {
			e.log.Warn("claim not released", "claim", s.id, "err", err)
			continue
		}
		e.log.Warn("own claim was not in memory: released", "claim", s.id, "bells", len(bells), "never started", s.cause == task.CauseReleased)
		e.ringBare(bells)
		e.mu.Lock()
		delete(e.unknown, s.id)
		e.mu.Unlock()
	}
}

// stranger is a claim row that nobody here holds.
type stranger struct {
	id    int64
	cause task.ReleaseCause
}

// strangers picks the claim rows to release and keeps the list of suspects.
func (e *Engine) strangers(id int64, rows []task.Claim) (out []stranger) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.id != id {
		return nil
	}
	seen := make(map[int64]bool, len(rows))
	for _, c := range rows {
		seen[c.ID] = true
		if e.claims[c.ID] != nil {
			continue
		}
		if e.unknown[c.ID] { // committed after all; its call has returned and nothing of it was started
			out = append(out, stranger{c.ID, task.CauseReleased})
			continue
		}
		since, suspect := e.suspects[c.ID]
		if !suspect {
			since = e.calls.next
			e.suspects[c.ID] = since
			continue
		}
		if e.oldestCall() > since {
			out = append(out, stranger{c.ID, task.CauseLost})
		}
	}
	for c := range e.suspects {
		if !seen[c] {
			delete(e.suspects, c)
		}
	}
	for c := range e.unknown {
		if !seen[c] {
			delete(e.unknown, c)
		}
	}
	return out
}

// oldestCall is the number of the oldest claim transaction under way; beyond all when there is none. Engine.mu is held.
func (e *Engine) oldestCall() int64 {
	oldest := e.calls.next + 1
	for n := range e.calls.open {
		oldest = min(oldest, n)
	}
	return oldest
}

// refenced answers that the row of this id is gone: somebody declared the worker dead and its tasks run elsewhere. Stop
// them all, forget the claims, go on under a new id.
func (e *Engine) refenced(id int64) {
	e.log.Error("this worker was declared dead; it registers anew", "worker", id)
	e.mu.Lock()
	e.id = 0
	e.claims, e.suspects, e.unknown = map[int64]*claim{}, map[int64]int64{}, map[int64]bool{}
	e.mu.Unlock()
	e.log.Warn("tasks stopped: they belong to others now", "tasks", e.stopAll(ErrFenced)) // the store counts results it drops
	if err := e.enrol(); err != nil {
		e.log.Error("worker cannot register", "err", err)
		e.Drain()
	}
}

// selfFence stops every task when the last good beat is too old: by now the worker may have been declared dead. It does not
// when Redis is there and no scheduler says that it reaches the database either: then nobody can have declared anything.
func (e *Engine) selfFence() {
	e.mu.Lock()
	late := e.mono.ns()-e.beatNs >= int64(e.o.SelfFenceAfter)
	e.mu.Unlock()
	if !late || e.ctx.Err() != nil || e.databaseGone() {
		return
	}
	e.mu.Lock()
	e.fenced = true
	e.mu.Unlock()
	if n := e.stopAll(ErrFenced); n > 0 {
		e.log.Error("no beat for too long: every task stopped", "tasks", n)
	}
}

// databaseGone reports whether the witness says that schedulers do not reach the database either. Silence of the witness
// counts only when Redis answers a command.
func (e *Engine) databaseGone() bool {
	if e.o.Live == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(e.ctx, time.Second)
	defer cancel()
	if e.o.Live.DatabaseSeen(ctx) {
		return false
	}
	return e.o.Live.Leave(ctx, e.workerID(), []int64{0}) == nil
}

func (e *Engine) workerID() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.id
}
