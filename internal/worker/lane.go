package worker

import (
	"math"

	"github.com/taskweir/taskweir/internal/task"
)

// lane is one open lane. Everything but the embedded name is guarded by Engine.mu; inlet and applied belong to the
// goroutine that sets readiness.
type lane struct {
	task.Lane
	inlet Inlet

	queue    []*held // in order of arrival; those under claim stay in it
	byBell   map[int64]*held
	claiming int     // claims under way
	inClaim  int     // bells under claim
	pass     float64 // stride scheduling: slots taken ÷ weight
	perBell  float64 // weighted mean of tasks per message

	want, applied int // messages in flight: as it should be, as it was set
	heardNs       int64
	quietNs       int64 // watchdog: how long silence is borne now; doubles while reconnecting does not help

	runMs float64 // weighted mean run time
	done  int64
}

// held is a bell whose message waits here.
type held struct {
	rung      task.Rung
	ds        []Delivery // the message, and copies of it that came while it waited
	sinceNs   int64      // waits for a slot since
	arrivedNs int64
	left      int // tasks believed to be left
	claiming  bool
	limited   bool // holds tasks of a limited kind, as far as known
	alone     bool // a claim with it was refused: it shares none
}

// weight is the lane's share of contended slots.
func (l *lane) weight() float64 {
	switch l.Priority {
	case task.High:
		return 6
	case task.Normal:
		return 3
	}
	return 1
}

// push takes a message in. It answers a copy that nobody needs with true.
func (l *lane) push(d Delivery, nowNs int64, limited map[int32]bool, refused map[int64]bool) (spare bool) {
	l.heardNs, l.quietNs = nowNs, 0
	rung := d.Rung()
	if h := l.byBell[rung.ID]; h != nil {
		if len(h.ds) >= 8 {
			return true
		}
		h.ds = append(h.ds, d)
		return false
	}
	h := &held{rung: rung, ds: []Delivery{d}, sinceNs: nowNs, arrivedNs: nowNs, left: max(1, len(rung.TaskIDs)), alone: refused[rung.ID]}
	for i := range rung.Items {
		if limited[rung.Items[i].KindID] {
			h.limited = true
			break
		}
	}
	l.perBell += (float64(h.left) - l.perBell) / 8
	l.queue = append(l.queue, h)
	l.byBell[rung.ID] = h
	return false
}

// drop forgets a bell; its messages are the caller's to answer.
func (l *lane) drop(h *held) {
	delete(l.byBell, h.rung.ID)
	for i, q := range l.queue {
		if q == h {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return
		}
	}
}

// maxReady bounds how many messages of a lane wait here for slots.
const maxReady = 64

// ready sets how many messages should be in flight for that many free slots: the ones under claim, and what the slots
// can take, 1 to maxReady; and beside them those that wait for a slot of a limited kind, which the free slots are not for.
func (l *lane) ready(free, blocked int) {
	if free <= 0 {
		l.want = 0
		return
	}
	perBell := max(1, l.perBell)
	l.want = blocked + min(maxReady, l.inClaim+max(1, int(math.Ceil(float64(free)/perBell))))
}

// blocked counts the bells that wait here for a slot of a limited kind.
func (l *lane) blocked() (n int) {
	for _, h := range l.queue {
		if h.limited && !h.claiming {
			n++
		}
	}
	return n
}

// attempts is how often the bell's message was delivered.
func (h *held) attempts() int64 {
	n := 1
	for _, d := range h.ds {
		n = max(n, d.Attempts())
	}
	return int64(n)
}

// finish answers every copy: the bell is gone.
func (h *held) finish() {
	for _, d := range h.ds {
		d.Finish()
	}
}

// requeue gives the bell back; one copy is enough to stand for it.
func (h *held) requeue(delayMs int64) {
	h.ds[0].Requeue(delayMs)
	for _, d := range h.ds[1:] {
		d.Finish()
	}
}
