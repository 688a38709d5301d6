package history

import (
	"slices"
	"time"
)

// What a fault that was taken back may still do. An attempt that a fault hurt is open until somebody has found out, so that the
// fault lies within the attempt however long that takes: a killed worker's attempt ends when the schedulers declare it dead. What began
// afterwards was hurt only where somebody was not back yet.
const (
	// findsBack is how long a worker needs beside one beat. Until its first good beat the schedulers may still declare it dead (they look
	// twice a second), and what it claimed meanwhile is lost. Links close their stale connections when they are healed, so that no
	// transport's timeout comes on top.
	findsBack = 2 * time.Second
	// usualBeat is the beat of a history that does not name one: liveness.beat's default.
	usualBeat = 3 * time.Second
	// answersAgain is how long an API needs: connections of its pool that broke are found one by one, and a call that waited for the
	// database gives up after it is back.
	answersAgain = 5 * time.Second
	// oneTry is how long a client that completes attempts may hang in a call that nobody answers, after the link is whole again.
	oneTry = 10 * time.Second
	// lockWait is the least that a call takes which fails because of a lock. A process that is stopped or silent inside a
	// transaction holds its rows, and others give up after innodb_lock_wait_timeout, which Taskweir sets to 5 s; one that fails at
	// once has waited for nobody.
	lockWait = 2 * time.Second
)

// until is when the harness had taken the fault back.
func (f *Fault) until() time.Duration {
	if f.Ended == 0 {
		return 1<<62 - 1
	}
	return f.Ended
}

// touches reports whether the fault was there in a stretch of time, or had been so long before.
func (f *Fault) touches(s span, slack time.Duration) bool {
	return s.hi >= f.Injected && s.lo <= min(f.until(), 1<<61)+slack
}

// explainer finds faults.
type explainer struct {
	byWorker map[string][]*Fault
	byPart   map[string][]*Fault
	held     []*Fault         // those that may keep a transaction open
	names    map[int64]string // of workers, by id
	slack    time.Duration    // of workers
	after    int              // explanations that needed slack
}

func newExplainer(h *History, k *clocks) *explainer {
	e := &explainer{byWorker: map[string][]*Fault{}, byPart: map[string][]*Fault{}, names: map[int64]string{}, slack: findsBack + usualBeat}
	if h.Beat > 0 {
		e.slack = findsBack + h.Beat
	}
	for i := range h.Faults {
		f := &h.Faults[i]
		for _, w := range f.Workers {
			e.byWorker[w] = append(e.byWorker[w], f)
		}
		for _, p := range f.Parts {
			e.byPart[p] = append(e.byPart[p], f)
		}
		if f.Late || slices.Contains(f.Parts, PartScheduler) {
			e.held = append(e.held, f)
		}
	}
	byTime := func(a, b *Fault) int { return int(a.Injected - b.Injected) }
	for _, list := range e.byWorker {
		slices.SortFunc(list, byTime)
	}
	for _, list := range e.byPart {
		slices.SortFunc(list, byTime)
	}
	slices.SortFunc(e.held, byTime)
	for _, w := range h.End.Workers {
		e.names[w.ID] = nameOf(h, k, &w)
	}
	return e
}

// nameOf finds the process that a worker's row belongs to. Pids are used again in long runs: of several starts with the same pid
// it is the last one before the registration.
func nameOf(h *History, k *clocks, w *Worker) string {
	name, latest := "", time.Duration(-1)
	for i := range h.Processes {
		p := &h.Processes[i]
		if p.PID != w.PID || p.Started <= latest {
			continue
		}
		if p.Started > 0 && w.Started != 0 && k.of(w.Started).hi < p.Started {
			continue
		}
		name, latest = p.Name, p.Started
	}
	return name
}

// worker finds a fault that touched a worker within a stretch of time or shortly before: the one that began last before its end.
func (e *explainer) worker(id int64, s span) *Fault {
	return e.near(e.byWorker[e.names[id]], s, e.slack)
}

// late finds a fault that stopped, cut off or delayed a worker within a stretch of time. Nothing before counts: a worker that was back
// when it claimed has no reason to begin late.
func (e *explainer) late(id int64, s span) *Fault {
	return lastOf(e.byWorker[e.names[id]], s, 0, func(f *Fault) bool { return f.Late })
}

// holds finds a fault that may have kept a transaction open, and its rows locked, within a stretch of time.
func (e *explainer) holds(s span) *Fault {
	if s.hi-s.lo < lockWait {
		return nil
	}
	return lastOf(e.held, s, 0, anyFault)
}

// part finds a fault that touched one of the parts within a stretch of time, or so long before.
func (e *explainer) part(s span, slack time.Duration, parts ...string) *Fault {
	var found *Fault
	for _, p := range parts {
		if f := lastOf(e.byPart[p], s, 0, anyFault); f != nil && (found == nil || f.Injected > found.Injected) {
			found = f
		}
	}
	if found != nil {
		return found
	}
	for _, p := range parts {
		if f := e.near(e.byPart[p], s, slack); f != nil {
			return f
		}
	}
	return nil
}

// near finds a fault within a stretch of time, and when there is none, shortly before: that is counted.
func (e *explainer) near(list []*Fault, s span, slack time.Duration) *Fault {
	if f := lastOf(list, s, 0, anyFault); f != nil {
		return f
	}
	f := lastOf(list, s, slack, anyFault)
	if f != nil {
		e.after++
	}
	return f
}

func anyFault(*Fault) bool { return true }

// lastOf finds the last fault of a sorted list that touches a stretch of time.
func lastOf(list []*Fault, s span, slack time.Duration, ok func(*Fault) bool) *Fault {
	end, _ := slices.BinarySearchFunc(list, s.hi, func(f *Fault, at time.Duration) int {
		if f.Injected > at {
			return 1
		}
		return -1
	})
	for i := end - 1; i >= 0; i-- {
		if list[i].touches(s, slack) && ok(list[i]) {
			return list[i]
		}
	}
	return nil
}

// reach is the part of the run's time in which a fault could explain what a worker did, the mean of all workers that faults touched.
// What is explained in the rest, and what is not, is what the explanations are worth.
func (e *explainer) reach(end time.Duration) float64 {
	if len(e.byWorker) == 0 || end <= 0 {
		return 0
	}
	var all time.Duration
	for _, list := range e.byWorker {
		var spans []span
		for _, f := range list {
			spans = append(spans, span{min(f.Injected, end), min(f.until(), 1<<61) + e.slack})
		}
		for _, s := range merged(spans) {
			all += min(s.hi, end) - min(s.lo, end)
		}
	}
	return float64(all) / float64(end) / float64(len(e.byWorker))
}
