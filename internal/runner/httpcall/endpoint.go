package httpcall

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// endpoint is what a gate knows of one app's scheme, host and port.
type endpoint struct {
	gate *Gate
	key  endpointKey

	mu      sync.Mutex
	breaker breaker
	start   time.Time // the origin of the breaker's seconds
	used    time.Time
	quiet   time.Time // it asked to be left alone until then

	running int
	queue   []chan struct{} // calls that wait for room, the first one first
	busy    bool            // it was full, and not yet half empty since
	full    time.Time       // when it became so
	pace    pace
	mean    time.Duration // of calls, exponentially weighted
	ended   time.Time     // the last call; zero: none yet
	next    time.Time     // when the last postponed task comes again
}

// pass is the right to make one call. Each one is given back by leave, once.
type pass struct {
	e     *endpoint
	turn  int64 // of the breaker
	probe bool
	began time.Time
}

// refusal says for how long a call is postponed, and why.
type refusal struct {
	wait          time.Duration
	code, message string
}

// enter asks to make a call. With a refusal there is no pass to give back.
func (e *endpoint) enter(ctx context.Context, bound bool) (p pass, no *refusal) {
	e.mu.Lock()
	now := time.Now()
	e.used = now
	if bound {
		if no = e.resting(now); no != nil {
			e.mu.Unlock()
			return p, no
		}
	}
	if e.running >= e.gate.o.Concurrency {
		if !e.brisk(now) {
			no = e.crowded(now)
			e.mu.Unlock()
			return p, no
		}
		if !e.await(ctx) { // unlocks, and locks again
			no = e.crowded(time.Now())
			e.mu.Unlock()
			return p, no
		}
		now = time.Now()
	} else {
		e.take(now)
	}
	defer e.mu.Unlock()
	p = pass{e: e, began: now}
	if bound {
		if no = e.resting(now); no != nil { // since it began to wait
			e.free()
			return p, no
		}
		p.turn, p.probe = e.breaker.admit(now)
	}
	return p, nil
}

// take takes room for a call. mu is held.
func (e *endpoint) take(now time.Time) {
	if e.running++; e.running == e.gate.o.Concurrency && !e.busy {
		e.busy, e.full = true, now
	}
}

// brisk reports whether room can be expected so soon that a slot may wait for it: the endpoint has just become busy, or calls end, as
// many in a second as would wait. What counts is the pace of all calls: of an endpoint that answers one and lets the others
// hang, the waiting calls would take the slots that its running ones may not. As many wait as run; more when calls are so
// short that all of them get room within shortly: to postpone a task costs the database more than such a call. mu is held.
func (e *endpoint) brisk(now time.Time) bool {
	room := e.gate.o.Concurrency
	if e.mean > 0 {
		room = max(room, int(float64(room)*float64(shortly)/float64(e.mean)))
	}
	if now.Sub(e.full) > briskly {
		if now.Sub(e.ended) > briskly {
			return false
		}
		room = min(room, e.pace.most(now))
	}
	return len(e.queue) < room
}

// pace counts the calls that ended, by seconds.
type pace struct {
	from       time.Time
	last, this int
}

func (p *pace) roll(now time.Time) {
	d := now.Sub(p.from)
	if d < patience {
		return
	}
	if p.last = p.this; d >= 2*patience {
		p.last = 0
	}
	p.this, p.from = 0, now
}

// most is how many calls end in a second, as far as is known.
func (p *pace) most(now time.Time) int {
	p.roll(now)
	return max(p.last, p.this)
}

// resting says whether the breaker or the endpoint's own wish holds a call back. mu is held.
func (e *endpoint) resting(now time.Time) *refusal {
	if d := e.quiet.Sub(now); d > 0 {
		return &refusal{d + e.spread(d), "endpoint_asked_to_wait", "the endpoint asked for a pause (Retry-After)"}
	}
	was := e.breaker.state
	d := e.breaker.held(now)
	if e.breaker.state != was {
		e.tell(was)
	}
	if d > 0 {
		return &refusal{d + e.spread(d), "endpoint_resting", "the endpoint failed again and again and is left alone for a while"}
	}
	return nil
}

// spread delays tasks that were postponed to the same instant, so that they do not come all at once: 2 ms each, so that a
// large backlog of a dead endpoint costs the others little, and at most the pause itself. mu is held.
func (e *endpoint) spread(d time.Duration) time.Duration {
	e.breaker.postponed++
	return min(time.Duration(e.breaker.postponed)*(2*time.Millisecond), d)
}

// crowded postpones a task for lack of room: to when the endpoint, as fast as it was lately, will have had room for all that
// were postponed before. mu is held.
func (e *endpoint) crowded(now time.Time) *refusal {
	since := e.ended
	if since.IsZero() {
		since = e.start
	}
	each := e.mean
	if each == 0 {
		each = 10 * time.Millisecond // nothing is known yet
	}
	each = max(each, now.Sub(since)) / time.Duration(e.gate.o.Concurrency)
	if least := now.Add(postpone); e.next.Before(least) {
		e.next = least
	}
	if most := now.Add(postponeTo); e.next.After(most) {
		e.next = most
	}
	e.next = e.next.Add(each)
	return &refusal{e.next.Sub(now), "endpoint_busy", strconv.Itoa(e.running) + " calls to the endpoint are under way, as many as may be"}
}

// await waits for room. mu is held, and again when it returns; true: room was handed over.
func (e *endpoint) await(ctx context.Context) bool {
	turn := make(chan struct{})
	e.queue = append(e.queue, turn)
	e.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-turn:
	case <-t.C:
	case <-ctx.Done():
	}
	e.mu.Lock()
	for i, c := range e.queue {
		if c == turn {
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
			return false
		}
	}
	return true // whoever took it off the queue gave its room
}

// free gives the room of a call to the next one that waits. mu is held.
func (e *endpoint) free() {
	if len(e.queue) == 0 {
		e.running--
		e.busy = e.busy && e.running > e.gate.o.Concurrency/2
		return
	}
	close(e.queue[0])
	e.queue = e.queue[1:]
}

// leave gives a pass back with what became of the call, and says how long it took. quietMs is what the endpoint asked for; 0: nothing.
func (p pass) leave(v verdict, quietMs int64) (took time.Duration) {
	e := p.e
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	took = now.Sub(p.began)
	e.pace.roll(now)
	e.pace.this++
	e.used, e.ended = now, now
	if e.mean == 0 {
		e.mean = took
	}
	e.mean += (took - e.mean) / 8
	e.free()
	if p.turn == 0 {
		return took // not bound: it neither counts nor is held back
	}
	if quietMs > 0 {
		if until := now.Add(time.Duration(quietMs) * time.Millisecond); until.After(e.quiet) {
			e.quiet, e.breaker.postponed = until, 0
		}
	}
	was := e.breaker.state
	e.breaker.count(&e.gate.o, &p, v, now, int64(now.Sub(e.start)/time.Second))
	if e.breaker.state != was {
		e.tell(was)
	}
	return took
}

// become changes the state from outside of a call. mu is held.
func (e *endpoint) become(s state) {
	if was := e.breaker.state; was != s {
		e.breaker.state = s
		e.tell(was)
	}
}

// tell counts a change of state and writes it to the log. mu is held.
func (e *endpoint) tell(was state) {
	is := e.breaker.state
	e.gate.o.Metrics.Breaker(was.String(), is.String())
	at := e.key.scheme + "://" + e.key.host + ":" + e.key.port
	switch {
	case is == open:
		e.gate.o.Logger.Warn("endpoint fails and is left alone", "app", e.key.app, "endpoint", at, "for", e.breaker.pause)
	case is == closed && was != closed:
		e.gate.o.Logger.Info("endpoint works again", "app", e.key.app, "endpoint", at)
	}
}

// result is how a refused call ends: postponed, which uses no retry.
func (r *refusal) result() task.Result {
	return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: max(1, r.wait.Milliseconds()), ErrCode: r.code, ErrMessage: r.message}
}
