package scheduler

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// laneKey names what has a window of its own: the bells of one kind of a lane. Commands have slots of their own, so that
// those that wait for one must not fill the window of the other tasks.
type laneKey struct {
	id   int32
	kind task.BellKind
}

func keyOf(b task.Bell) laneKey { return laneKey{b.LaneID, b.Kind} }

// laneState is all that the bell loop knows of the bells of one kind of a lane that it owns.
type laneState struct {
	lane  task.Lane
	kind  task.BellKind
	main  *laneState // of the lane's plain bells, which decides about credit; nil for that itself
	slots int        // of workers that serve it
	done  float64    // attempts per second that the workers report
	runMs float64    // mean run time; 0: not known

	apps map[int32]*appState
	drr  drr

	rung      map[int64]*rungBell
	unclaimed int // tasks in rung that count in the window
	meter     meter
	stuck     map[int32]int // by app, tasks in rung that nobody takes although slots are free
	parked    map[int32]int // by app, bells in rung that are not published, as no worker runs their kinds
	stuckAt   time.Time     // last look at what is left of the stuck
	taken     int           // tasks that were seen to be claimed in this poll
	freeFrom  time.Time     // the workers have had free slots since this beat; zero: they have none
	freeTo    time.Time     // … as of this beat
	hasteTill time.Time     // a worker is gone: what stays is rung again soon until then
	claimedAt time.Time     // something was claimed last

	held int // bytes of payloads in the apps' ahead

	pollAt   time.Time // next look at what is left of rung
	pollWait time.Duration
	reringAt time.Time // next look for bells to ring again

	stalled time.Time // publishing failed: nothing new before then
	stall   time.Duration

	busyAt    time.Time // last time that it was contended
	contended bool
	tunedAt   time.Time
	pubGen    int64  // the publisher's generation at the last look for bells to ring again
	written   tuning // as last written, until a reading of the lanes shows it
	writtenAt time.Time

	room *atomic.Int64 // how many tasks the instants may ring
}

// appState is what is known of one app's bells in a lane.
type appState struct {
	id     int32
	ahead  []task.Rung // read, due and not rung, in order
	inHead map[int64]bool
	cursor task.BellAfter // the last bell read
	tail   bool           // the last read came to the end
	minDue int64          // earliest due time as of the last look
	look   bool           // the last look says that something is due: read
	rescan time.Time      // next read from the start

	flowAt  int64     // in a lane of flows: the last flow that the sweep looked at …
	sweepAt time.Time // … and when it goes on
	warm    warm
}

// rungBell is a bell that was rung, by this scheduler or by its writer, and is not claimed.
type rungBell struct {
	bell     task.Bell
	n        int // tasks left in it
	direct   bool
	kept     bool // with direct: its writer keeps the timer
	pressing bool // a job holds it
	failed   bool // its last publish failed
	aside    aside
	gen      int64
	rungAt   time.Time
	nextAt   time.Time // rung again then
	interval time.Duration

	hasty   int       // times rung again in haste …
	hastyAt time.Time // … the last of them

	limits limitsOf // under which it was rung
	held   bool     // a limit that was set since may have refused it
	quota  int      // tasks that count there
}

func newLaneState(l task.Lane, kind task.BellKind) *laneState {
	return &laneState{lane: l, kind: kind, apps: make(map[int32]*appState), rung: make(map[int64]*rungBell), room: new(atomic.Int64),
		stuck: make(map[int32]int), parked: make(map[int32]int)}
}

// app gives the state of an app, made at first use.
func (l *laneState) app(id int32) *appState {
	a := l.apps[id]
	if a == nil {
		a = &appState{id: id, tail: true, inHead: make(map[int64]bool)}
		l.apps[id] = a
	}
	return a
}

// rate is the lane's throughput in tasks per second: what is seen to be claimed, or what the workers report.
func (l *laneState) rate(now time.Time) float64 { return max(l.meter.rate(now), l.done) }

// window is W.
func (l *laneState) window(now time.Time) int { return windowSize(l.slots, l.rate(now)) }

// known reports whether a bell is rung or about to be.
func (l *laneState) known(a *appState, id int64) bool {
	return l.rung[id] != nil || a.inHead[id]
}

// enqueue puts bells that are due among those to be rung, in order.
func (l *laneState) enqueue(a *appState, rungs ...task.Rung) {
	before := len(a.ahead)
	for _, r := range rungs {
		if a.inHead[r.ID] {
			continue
		}
		a.inHead[r.ID] = true
		l.held += bodyBytes(r)
		a.ahead = append(a.ahead, r)
	}
	mergeTail(a.ahead, before)
}

// mergeTail puts the bells from n on in their places among those before, which are in order. It moves only what comes after the
// first of them: what is new is mostly due late, and the queue of an app that nobody serves is deep.
func mergeTail(rungs []task.Rung, n int) {
	slices.SortFunc(rungs[n:], func(x, y task.Rung) int {
		if less(x, y) {
			return -1
		}
		return 1
	})
	if n == 0 || n == len(rungs) || less(rungs[n-1], rungs[n]) {
		return
	}
	tail := slices.Clone(rungs[n:])
	for old, to := n-1, len(rungs)-1; len(tail) > 0; to-- {
		if last := tail[len(tail)-1]; old < 0 || less(rungs[old], last) {
			rungs[to] = last
			tail = tail[:len(tail)-1]
		} else {
			rungs[to] = rungs[old]
			old--
		}
	}
}

func less(x, y task.Rung) bool { return x.DueAt < y.DueAt || x.DueAt == y.DueAt && x.ID < y.ID }

// dequeue takes the first bell.
func (l *laneState) dequeue(a *appState) task.Rung {
	r := a.ahead[0]
	a.ahead[0] = task.Rung{}
	a.ahead = a.ahead[1:]
	delete(a.inHead, r.ID)
	l.held -= bodyBytes(r)
	return r
}

// unload drops the payloads of bells that will not be rung soon: they are read again.
func (l *laneState) unload() {
	if l.held == 0 {
		return
	}
	for _, a := range l.apps {
		for i := range a.ahead {
			a.ahead[i].Items = nil
		}
	}
	l.held = 0
}

// track remembers a bell as rung.
func (l *laneState) track(r *rungBell) {
	if l.rung[r.bell.ID] == nil {
		l.rung[r.bell.ID] = r
		l.count(r, r.n)
	}
}

// forget drops a bell; claimed tells whether that is throughput.
func (l *laneState) forget(now time.Time, r *rungBell, claimed bool) {
	if l.rung[r.bell.ID] != r {
		return
	}
	delete(l.rung, r.bell.ID)
	l.count(r, -r.n)
	r.unhold()
	if claimed {
		l.meter.add(now, r.n)
	}
}

// lose gives back what the lane's bells hold under limits, which outlive it: what becomes of them is the next owner's to see.
func (l *laneState) lose() {
	for _, r := range l.rung {
		r.unhold()
	}
}

// backlog tells how many apps have bells that are due and not rung.
func (l *laneState) backlog() (apps int) {
	for _, a := range l.apps {
		if len(a.ahead) > 0 || !a.tail {
			apps++
		}
	}
	return apps
}

// idle reports whether nothing is known of the lane that must not be forgotten.
func (l *laneState) idle() bool { return len(l.rung) == 0 && l.backlog() == 0 }
