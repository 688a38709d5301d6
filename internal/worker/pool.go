package worker

import (
	"runtime"
	"sync"
	"time"
)

// What a pool goes by.
const (
	freshPerProc = 32                    // runs that are fresh at once, for each processor, while goroutines wait for processors
	freshFor     = 10 * time.Millisecond // a run is fresh for so long

	poolLook  = 2 * time.Millisecond   // how often it is looked whether processors are short
	poolCalm  = 2                      // looks in a row that found processors free before all runs begin at once again,
	calmLeast = 100 * time.Millisecond // and for how long they do at least: twice as long each time that it was so
	calmMost  = 1600 * time.Millisecond
)

// pool runs handlers on goroutines that are kept for the next run.
//
// A claim brings some hundred runs at once. As long as processors are free all of them begin. When they are short it is tight: only some
// runs are fresh at a time, and each of the others begins when one returns, on its goroutine. More at once would end no sooner, each on a
// stack and a connection that went cold meanwhile. A run that takes longer than freshFor stands in nobody's way.
//
// Many runs that begin at once wait for each other a little, however free the processors are. So what is seen of them only makes it
// tight for a try; what counts is whether goroutines still wait for processors while it is.
type pool struct {
	mono    mono
	loop    func(*run, *hand)
	width   int         // fresh runs at once while it is tight
	crowded func() bool // whether goroutines had to wait for processors since it was asked last

	mu      sync.Mutex
	over    bool
	idle    []*hand // the one that came back last on top
	lowest  int     // least idle since the last trim
	waiting runQueue
	begun   runQueue // fresh runs, and others between them
	fresh   int

	tight  bool
	calm   int           // looks in a row, while it was tight, that found processors free
	calmNs int64         // no look before
	pause  time.Duration // until the next one when it is not tight any more
	looks  bool          // a look is to come
	timer  *time.Timer   // of the looks; nil: there was none yet
}

// hand is a goroutine of a pool.
type hand struct{ work chan *run } // what it does next; nil: it ends

func (p *pool) init(m mono, loop func(*run, *hand)) {
	p.mono, p.loop, p.width, p.crowded = m, loop, freshPerProc*runtime.GOMAXPROCS(0), new(crowd).look
}

// give begins a run, now or when others have returned.
func (p *pool) give(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.push(r)
	now := p.mono.ns()
	p.refill(now)
	if !p.looks && (p.waiting.len() > 0 || p.fresh > p.width && now >= p.calmNs) {
		p.crowded() // since now
		p.again()
	}
}

// back takes a goroutine whose run has returned, and sends it what it does next.
func (p *pool) back(r *run, h *hand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(r)
	if p.over {
		h.work <- nil
		return
	}
	p.idle = append(p.idle, h)
	p.refill(p.mono.ns())
}

// lost takes note of a run whose handler ended its goroutine.
func (p *pool) lost(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(r)
	p.refill(p.mono.ns())
}

// look finds out whether processors are short.
func (p *pool) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks = false
	now, short := p.mono.ns(), p.crowded()
	switch {
	case !p.tight:
		p.tight, p.calm = short, 0
		return
	case short:
		p.calm, p.pause = 0, 0
	default:
		if p.calm++; p.calm == poolCalm {
			p.pause = min(max(2*p.pause, calmLeast), calmMost)
			p.tight, p.calmNs = false, now+int64(p.pause)
		}
	}
	if p.refill(now); p.waiting.len() > 0 {
		p.again()
	}
}

// again asks for a look in a moment. mu is held.
func (p *pool) again() {
	p.looks = true
	if p.timer == nil {
		p.timer = time.AfterFunc(poolLook, p.look)
		return
	}
	p.timer.Reset(poolLook)
}

// refill begins runs that wait: all of them, or while it is tight until enough are fresh. mu is held.
func (p *pool) refill(nowNs int64) {
	if p.waiting.len() == 0 {
		return
	}
	p.age(nowNs)
	for p.waiting.len() > 0 && (!p.tight || p.over || p.fresh < p.width) {
		r := p.waiting.pop()
		r.begunNs, r.fresh = nowNs, true
		p.begun.push(r)
		p.fresh++
		if n := len(p.idle) - 1; n >= 0 {
			h := p.idle[n]
			p.idle[n] = nil
			p.idle = p.idle[:n]
			p.lowest = min(p.lowest, n)
			h.work <- r // has room: it waits for this
			continue
		}
		go p.loop(r, &hand{work: make(chan *run, 1)})
	}
}

// age ends the freshness of runs that began too long ago. mu is held.
func (p *pool) age(nowNs int64) {
	for p.begun.len() > 0 {
		r := p.begun.first()
		if r.fresh && nowNs-r.begunNs < int64(freshFor) {
			return
		}
		p.begun.pop()
		if r.fresh {
			r.fresh = false
			p.fresh--
		}
	}
}

// leave ends the freshness of a run that has returned. mu is held.
func (p *pool) leave(r *run) {
	if r.fresh {
		r.fresh = false
		p.fresh--
	}
	for p.begun.len() > 0 && !p.begun.first().fresh {
		p.begun.pop() // and with it its claim from memory
	}
}

// trim lets go of half of the goroutines that were idle all the time since the last trim.
func (p *pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.age(p.mono.ns()) // behind one that lasts, others that have returned would be remembered
	p.dismiss((p.lowest + 1) / 2)
}

// end begins what still waits, whose contexts have ended, and lets all goroutines go, each as soon as it has nothing to do.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.refill(p.mono.ns())
	p.dismiss(len(p.idle))
	if p.timer != nil {
		p.timer.Stop()
	}
}

// dismiss lets the n that were idle longest go. mu is held.
func (p *pool) dismiss(n int) {
	for _, h := range p.idle[:n] {
		h.work <- nil
	}
	left := copy(p.idle, p.idle[n:])
	clear(p.idle[left:])
	p.idle, p.lowest = p.idle[:left], left
}

// runQueue is a queue of runs; the zero value is empty.
type runQueue struct {
	list []*run
	head int
}

func (q *runQueue) len() int    { return len(q.list) - q.head }
func (q *runQueue) first() *run { return q.list[q.head] }
func (q *runQueue) push(r *run) { q.list = append(q.list, r) }

// pop takes the first one. The room of those that are gone is used again when it is half of all.
func (q *runQueue) pop() *run {
	r := q.list[q.head]
	q.list[q.head] = nil
	if q.head++; 2*q.head >= len(q.list) {
		left := copy(q.list, q.list[q.head:])
		clear(q.list[left:])
		q.list, q.head = q.list[:left], 0
	}
	return r
}
