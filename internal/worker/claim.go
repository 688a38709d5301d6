package worker

import (
	"context"
	"errors"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// claim makes one claim transaction, answers the messages and starts what was won.
func (e *Engine) claim(p *plan) {
	began := e.mono.ns()
	res, err := e.o.Store.Claim(e.ctx, p.req)
	took := float64(e.mono.ns()-began) / 1e6
	if err == nil && len(res.Tasks) > 0 {
		failpoint.At(failpoint.ClaimCommitted)
	}
	e.mu.Lock()
	if err == nil {
		e.claimMs += (min(took, claimSlow.Seconds()*1e3) - e.claimMs) / 8
	}
	delete(e.calls.open, p.call)
	p.lane.claiming--
	p.lane.inClaim -= len(p.bells)
	if err != nil {
		answers := e.claimFailed(p, res.ClaimID, err)
		e.mu.Unlock()
		e.calling.ring()
		reply(answers)
		return
	}
	e.pause = 0
	answers := e.settleBells(p, res)
	runs := e.admit(p, res)
	e.mu.Unlock()
	e.calling.ring()
	e.pickups(p, res)
	have, lack := split(runs)
	e.start(have)
	reply(answers)
	if len(lack) > 0 {
		e.load(lack)
	}
}

// claimFailed gives the slots back and pauses claiming; the bells stay here and are given back in time. A claim that the
// store refuses for good says something of its bells and nothing of the others: they are claimed each for itself from now
// on, and the guilty one, found so, is given back. Engine.mu is held; the answers are sent after it.
func (e *Engine) claimFailed(p *plan, claimID int64, err error) (out []answer) {
	now := e.mono.ns()
	e.free += p.slots
	e.shellFree += p.shell
	p.lane.pass -= p.charge
	for _, h := range p.bells {
		h.claiming = false
	}
	switch {
	case task.Transient(err):
		e.pause = min(max(2*e.pause, 50*time.Millisecond), time.Second)
		e.pauseNs = now + int64(e.pause)
	case len(p.bells) == 1 && e.phase == serving:
		h := p.bells[0]
		p.lane.drop(h)
		e.refuse(h.rung.ID)
		out = append(out, answer{h, strangeDelay(h.attempts())})
	default:
		for _, h := range p.bells {
			h.alone = true
		}
	}
	e.checkQuiet()
	if errors.Is(err, task.ErrOutcomeUnknown) && claimID != 0 && e.id == p.req.WorkerID {
		e.unknown[claimID] = true
	}
	if e.ctx.Err() == nil {
		e.log.Warn("claim failed", "lane", p.lane.Topic(), "bells", len(p.bells), "claim", claimID, "err", err)
	}
	return out
}

// refusedMost bounds how many bells are remembered as refused.
const refusedMost = 1_000

// refuse remembers a bell that cannot be claimed: when it comes again it is claimed alone. Engine.mu is held.
func (e *Engine) refuse(bell int64) {
	if len(e.refused) >= refusedMost {
		clear(e.refused)
	}
	e.refused[bell] = true
}

// settleBells decides what becomes of each bell of a claim. Engine.mu is held; the answers are sent after it.
func (e *Engine) settleBells(p *plan, res task.Claimed) (out []answer) {
	now := e.mono.ns()
	said := make(map[int64]*task.ClaimedBell, len(res.Bells))
	for i := range res.Bells {
		said[res.Bells[i].ID] = &res.Bells[i]
	}
	for _, h := range p.bells {
		h.claiming = false
		if h.alone {
			h.alone = false
			delete(e.refused, h.rung.ID)
		}
		b := said[h.rung.ID]
		switch {
		case b == nil || b.Gone || b.DueAt <= res.Now && b.Remaining == 0:
			p.lane.drop(h)
			out = append(out, answer{h, -1})
		case b.DueAt > res.Now:
			h.rung.DueAt = b.DueAt // kept, or given back if it is far ahead, by giveBack
		case b.Limited:
			p.lane.drop(h)
			out = append(out, answer{h, -1}) // the lane's owner rings it again when its limits have room
		case b.NoRunner >= b.Remaining && (h.limited || len(e.limited) == 0):
			p.lane.drop(h)
			out = append(out, answer{h, strangeDelay(h.attempts())})
		default:
			if b.NoRunner >= b.Remaining {
				h.limited = true // what is left may be of the limited kind
			}
			h.left, h.sinceNs = b.Remaining, now
		}
	}
	if e.phase != serving {
		return nil // dropped, not answered: what was taken is gone from the table, the rest is rung again
	}
	return out
}

// admit puts what was won into slots. Engine.mu is held.
func (e *Engine) admit(p *plan, res task.Claimed) []run {
	won := len(res.Tasks)
	p.lane.pass -= float64(p.slots-won) / p.lane.weight()
	e.free += p.slots - won
	e.shellFree += p.shell
	if won == 0 {
		e.checkQuiet()
		return nil
	}
	if e.id != p.req.WorkerID {
		e.free += won // fenced meanwhile: a scheduler rescues them
		e.checkQuiet()
		e.log.Warn("claim of a fenced worker left to rescue", "claim", res.ClaimID, "tasks", won)
		return nil
	}
	c := &claim{id: res.ClaimID, worker: e.id, lane: p.lane, left: won}
	e.claims[c.id] = c
	delete(e.suspects, c.id)
	bells := make(map[int64]*held, len(p.bells))
	for _, h := range p.bells {
		bells[h.rung.ID] = h
	}
	runs := make([]run, won)
	it := itemFinder{}
	for i := range res.Tasks {
		t := &res.Tasks[i]
		r := &runs[i]
		r.claim, r.lane = c, p.lane
		if r.shell = p.shell > 0; r.shell {
			e.shellFree--
		}
		if h := bells[t.BellID]; h != nil && h.rung.Epoch+1 == t.Epoch {
			it.find(h, t.ID, &r.item)
		}
		r.item.ID = t.ID
		r.end = task.Ending{
			TaskID: t.ID, ClaimID: c.id, AttemptID: t.AttemptID, WorkerID: c.worker, AppID: t.AppID, LaneID: p.lane.ID,
			Epoch: t.Epoch, DueAt: t.DueAt, StartedAt: res.Now, Flow: t.Flow, Places: t.Places,
		}
		r.slot = e.idle[len(e.idle)-1]
		e.idle = e.idle[:len(e.idle)-1]
		e.slots[r.slot] = r
		e.running++
		ctx, stop := context.WithCancelCause(context.Background())
		r.ctx.Context, r.stop = ctx, stop
		if e.o.Live != nil {
			r.news = &e.live
		}
		e.learn(r)
	}
	if len(e.early) > 0 {
		e.cancelEarly(runs)
	}
	return runs
}

// learn fills in what follows from the item; it is called again when the item had to be read from the database.
func (e *Engine) learn(r *run) {
	if r.item.KindID == 0 {
		return // nothing but its id travelled
	}
	r.end.KindID, r.end.Flags, r.end.ExpiresAt = r.item.KindID, r.item.Flags, r.item.ExpiresAt
	r.kind = e.kinds[r.item.KindID]
	if r.shell && r.kind != nil && !r.kind.limited {
		r.shell = false
		e.giveShell()
	}
}

// itemFinder looks items up by id; they come in the order of the bell, so the next one is the first guess.
type itemFinder struct {
	h    *held
	next int
}

func (f *itemFinder) find(h *held, id int64, into *task.Item) {
	if f.h != h {
		f.h, f.next = h, 0
	}
	items := h.rung.Items
	for range items {
		if f.next >= len(items) {
			f.next = 0
		}
		it := &items[f.next]
		f.next++
		if it.ID == id {
			*into = *it
			return
		}
	}
}

// split tells the runs whose body is here from those that must be read.
func split(runs []run) (have, lack []*run) {
	have = make([]*run, 0, len(runs))
	for i := range runs {
		if r := &runs[i]; len(r.item.Body) > 0 {
			have = append(have, r)
		} else {
			lack = append(lack, r)
		}
	}
	return have, lack
}

// pickups records the time from due to start, once per bell.
func (e *Engine) pickups(p *plan, res task.Claimed) {
	last := int64(0)
	for i := range res.Tasks {
		if t := &res.Tasks[i]; t.BellID != last {
			last = t.BellID
			e.o.Metrics.Pickup(time.Duration(res.Now-t.DueAt) * time.Millisecond)
		}
	}
}

// load reads what did not travel in the message. The tasks hold their slots meanwhile; while the database is gone it is
// tried again until the engine drains. What was cancelled or fenced meanwhile is given back: no handler of it has started,
// and without its item its end cannot be written here. Releasing a task that somebody wants cancelled cancels it.
func (e *Engine) load(runs []*run) {
	pause := 50 * time.Millisecond
	for {
		ids := make([]int64, len(runs))
		for i, r := range runs {
			ids[i] = r.end.TaskID
		}
		got, err := e.o.Store.Load(e.ctx, ids)
		if err == nil {
			e.loaded(runs, got)
			return
		}
		e.log.Warn("bodies not read", "tasks", len(ids), "err", err)
		if !e.sleep(pause, e.drain) {
			e.giveUp(runs, "not loaded before the drain")
			return
		}
		pause = min(2*pause, time.Second)
		var stopped []*run
		if runs, stopped = e.unstopped(runs); len(stopped) > 0 {
			e.giveUp(stopped, "stopped before they were loaded")
		}
		if len(runs) == 0 {
			return
		}
	}
}

// unstopped tells the runs whose context goes on from those whose context was ended.
func (e *Engine) unstopped(runs []*run) (on, stopped []*run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range runs {
		if r.cause == nil {
			on = append(on, r)
		} else {
			stopped = append(stopped, r)
		}
	}
	return on, stopped
}

// loaded starts the runs whose item was found; the others have no body any more and end as failed.
func (e *Engine) loaded(runs []*run, got []task.Loaded) {
	byID := make(map[int64]*task.Loaded, len(got))
	for i := range got {
		byID[got[i].ID] = &got[i]
	}
	have, none := make([]*run, 0, len(runs)), []*run(nil)
	e.mu.Lock()
	for _, r := range runs {
		if l := byID[r.end.TaskID]; l != nil && len(l.Body) > 0 {
			r.item = l.Item
			e.learn(r)
			have = append(have, r)
			continue
		}
		none = append(none, r)
	}
	e.mu.Unlock()
	for _, r := range none {
		e.log.Error("task without a body", "task", r.end.TaskID)
		e.conclude(r, failed("body_missing", "the task's payload is not stored", true))
	}
	e.start(have)
}
