package events

import (
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// Types is a set of events by how they are shown.
type Types uint8

// The events of a set.
const (
	Submitted Types = 1 << iota
	Started
	Retrying
	Succeeded
	Failed
	Cancelled

	AllTypes Types = 1<<iota - 1
)

// TypeOf is how a change is shown.
func TypeOf(c *task.Change) Types {
	switch c.Type {
	case task.ChangeSubmitted:
		return Submitted
	case task.ChangeStarted:
		return Started
	case task.ChangeRetrying:
		return Retrying
	case task.ChangeEnded:
		switch c.State {
		case task.Succeeded:
			return Succeeded
		case task.Failed:
			return Failed
		case task.Cancelled:
			return Cancelled
		}
	}
	return 0
}

// Filter says what somebody listens to.
type Filter struct {
	App         int32  // 0: every app's, but the system's
	Queue, Kind string // "": any
	Types       Types  // 0: all
}

// Names are what ids of a change are called.
type Names struct{ App, Queue, Kind string }

func (f *Filter) wants(app int32, n *Names, t Types) bool {
	switch {
	case f.App != 0 && f.App != app, f.App == 0 && n.App == task.SystemApp:
		return false
	case f.Queue != "" && f.Queue != n.Queue, f.Kind != "" && f.Kind != n.Kind:
		return false
	}
	return f.Types == 0 || f.Types&t != 0
}

const (
	chunksKept = 64       // of a topic, for listeners that are slower than others
	bytesKept  = 1 << 20  // the same in bytes; the newest chunk is always kept
	bytesTotal = 32 << 20 // of all topics together, in equal shares
)

// topic is what listeners with equal filters share.
type topic struct {
	filter    Filter
	listeners int
	first     uint64 // number of chunks[0]
	chunks    []chunk
	bytes     int
	lost      bool          // events were left out since the last chunk
	wake      chan struct{} // closed at the next chunk
}

// chunk is what one reading of the stream gave a topic: encoded events.
type chunk struct {
	data   []byte
	before position // where the stream stood before it
}

// push adds a chunk, keeps what fits into a share of so many bytes, and wakes who waits.
func (t *topic) push(data []byte, before position, share int) {
	t.chunks = append(t.chunks, chunk{data, before})
	t.bytes += len(data)
	drop := 0
	for len(t.chunks)-drop > chunksKept || t.bytes > share && len(t.chunks)-drop > 1 {
		t.bytes -= len(t.chunks[drop].data)
		drop++
	}
	if drop > 0 {
		t.chunks = slices.Delete(t.chunks, 0, drop)
		t.first += uint64(drop)
	}
	close(t.wake)
	t.wake = make(chan struct{})
}

// keeps is what each topic may keep.
func (h *Hub) keeps() int { return min(bytesKept, bytesTotal/max(len(h.topics), 1)) }

// next is the number that the next chunk gets.
func (t *topic) next() uint64 { return t.first + uint64(len(t.chunks)) }

// sort is what changes have in common that filters look at.
type sort struct {
	app, lane, kind int32
	types           Types
}

// batch is entries that were read together. Their changes are counted by sort first; only those that somebody gets are taken out
// of them, and encoded at most once each.
type batch struct {
	generation string
	entries    []Entry

	changes []task.Change // of the sorts that are wanted
	at      []position
	kinds   []*sorted // of each change
	frames  [][]byte
	sorts   map[sort]*sorted
	buf     []byte
}

// sorted is the changes of one sort.
type sorted struct {
	sort
	names  *Names // nil: not known
	n      int    // changes
	wanted bool
	list   []int // indexes, when it is wanted
}

// of gives the sort of a change; the same as last when it is the same, for most come in rows.
func (b *batch) of(c *task.Change, last *sorted) *sorted {
	s := sort{c.AppID, c.LaneID, c.KindID, TypeOf(c)}
	if last != nil && last.sort == s {
		return last
	}
	return b.sorts[s]
}

// count is how many changes a filter wants. With want they are taken out by load.
func (b *batch) count(f *Filter, want bool) (n int) {
	for _, s := range b.sorts {
		if s.n > 0 && f.wants(s.app, s.names, s.types) {
			n += s.n
			s.wanted = s.wanted || want
		}
	}
	return n
}

// load takes out the changes that are wanted.
func (b *batch) load() {
	n := 0
	for _, s := range b.sorts {
		if s.wanted {
			n += s.n
			s.list = make([]int, 0, s.n)
		}
	}
	if n == 0 {
		return
	}
	b.changes, b.at, b.kinds = make([]task.Change, 0, n), make([]position, 0, n), make([]*sorted, 0, n)
	for _, e := range b.entries {
		i := -1
		var last *sorted
		_, _ = each(e.Data, func(c *task.Change) { // what is broken was said when it was counted
			i++
			if last = b.of(c, last); last.wanted {
				last.list = append(last.list, len(b.changes))
				b.changes = append(b.changes, *c)
				b.kinds = append(b.kinds, last)
				b.at = append(b.at, position{b.generation, e.ID, i})
			}
		})
	}
	b.frames = make([][]byte, len(b.changes))
}

// pick gives the indexes of what a filter wants, in order.
func (b *batch) pick(f *Filter) (out []int) {
	lists := 0
	for _, s := range b.sorts {
		if len(s.list) > 0 && f.wants(s.app, s.names, s.types) {
			out = append(out, s.list...)
			lists++
		}
	}
	if lists > 1 {
		slices.Sort(out)
	}
	return out
}
