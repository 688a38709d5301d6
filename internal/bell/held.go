package bell

import (
	"container/heap"

	"github.com/taskweir/taskweir/internal/task"
)

// Bounds of what a Ringer holds: bells, and bytes of payloads.
const (
	maxHeld      = 50_000
	maxHeldBytes = 64 << 20
)

// held is the bells that wait for their instant, earliest first; equal instants in the order of their coming, so that a
// burst is started in the order of its submission.
type held struct {
	entries []entry
	seq     int64
	bytes   int
}

// entry is small, because heaps move entries about.
type entry struct {
	due, seq int64
	rung     *task.Rung
}

// Len, Less, Swap, Push and Pop make it a heap.Interface.

// Len is the number of bells.
func (h *held) Len() int { return len(h.entries) }

// Less orders by instant.
func (h *held) Less(i, j int) bool {
	a, b := &h.entries[i], &h.entries[j]
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

// Swap exchanges two.
func (h *held) Swap(i, j int) { h.entries[i], h.entries[j] = h.entries[j], h.entries[i] }

// Push is heap's.
func (h *held) Push(x any) { h.entries = append(h.entries, x.(entry)) }

// Pop is heap's.
func (h *held) Pop() any {
	last := len(h.entries) - 1
	e := h.entries[last]
	h.entries[last] = entry{}
	h.entries = h.entries[:last]
	return e
}

// add keeps a bell. Beyond the bytes its payloads are dropped: a worker reads them from the database.
func (h *held) add(r task.Rung) {
	n := weight(r)
	if h.bytes+n > maxHeldBytes {
		r.Items, n = nil, 0
	}
	h.bytes += n
	h.seq++
	heap.Push(h, entry{due: r.DueAt, seq: h.seq, rung: &r})
}

// due takes out the earliest bell if its instant is not after now.
func (h *held) due(now int64) (task.Rung, bool) {
	if len(h.entries) == 0 || h.entries[0].due > now {
		return task.Rung{}, false
	}
	e := heap.Pop(h).(entry)
	h.bytes -= weight(*e.rung)
	return *e.rung, true
}

// next is the earliest instant.
func (h *held) next() (due int64, ok bool) {
	if len(h.entries) == 0 {
		return 0, false
	}
	return h.entries[0].due, true
}

func weight(r task.Rung) int {
	n := 0
	for i := range r.Items {
		n += len(r.Items[i].Body)
	}
	return n
}
