package events

import (
	"encoding/binary"
	"errors"

	"github.com/taskweir/taskweir/internal/task"
)

// An entry of the stream is a version byte, a byte of flags and changes, each as small as it can be: what is like the one
// before it is left out. 5,000 tasks a second for ten minutes have to fit into a Redis that others use too.
const (
	entryVersion = 2
	flagMissed   = 1 << 0 // changes may be missing before those of this entry
	flagLast     = 1 << 1 // its writer ends: nothing is missing when no further one comes
	stampAt      = 2      // where the stamp begins
	headBytes    = stampAt + stampBytes

	sameKind   = 1 << 3 // app, lane and kind are those of the change before
	sameWorker = 1 << 4
	hasDue     = 1 << 5
	hasError   = 1 << 6

	maxText    = 240 // bytes of an error's text; the task has all of it
	maxChanges = 4096
)

var errEntry = errors.New("events: not an entry")

// appendHead begins an entry. Its stamp is put in when it is written.
func appendHead(b []byte, missed bool) []byte {
	flags := byte(0)
	if missed {
		flags = flagMissed
	}
	return append(b, entryVersion, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}

// stampBytes is the size of a stamp: a writer's number and that of its entry.
const stampBytes = 8 + 4

// stamp says who wrote an entry, and the how manieth of its it is. So a reader finds out when one is missing, or no more come.
type stamp struct {
	writer uint64 // random, of a process's life; 0: nobody's
	n      uint32
	last   bool
}

func (s stamp) put(entry []byte) {
	binary.BigEndian.PutUint64(entry[stampAt:], s.writer)
	binary.BigEndian.PutUint32(entry[stampAt+8:], s.n)
	if s.last {
		entry[1] |= flagLast
	}
}

// stampOf reads the stamp of an entry; ok is false when it is none.
func stampOf(entry []byte) (s stamp, ok bool) {
	if len(entry) < headBytes || entry[0] != entryVersion {
		return s, false
	}
	return stamp{binary.BigEndian.Uint64(entry[stampAt:]), binary.BigEndian.Uint32(entry[stampAt+8:]), entry[1]&flagLast != 0}, true
}

// appendChange appends a change after last, which is the zero Change at the start of an entry.
func appendChange(b []byte, c, last *task.Change) []byte {
	head := byte(c.Type) & 7
	if c.AppID == last.AppID && c.LaneID == last.LaneID && c.KindID == last.KindID {
		head |= sameKind
	}
	if c.WorkerID == last.WorkerID {
		head |= sameWorker
	}
	if c.DueAt != 0 {
		head |= hasDue
	}
	if c.ErrCode != "" || c.ErrMessage != "" || c.HTTPStatus != 0 {
		head |= hasError
	}
	b = append(b, head, byte(c.State)&15|byte(c.Outcome)<<4, byte(c.Reason))
	if head&sameKind == 0 {
		b = binary.AppendUvarint(b, uint64(uint32(c.AppID)))
		b = binary.AppendUvarint(b, uint64(uint32(c.LaneID)))
		b = binary.AppendUvarint(b, uint64(uint32(c.KindID)))
	}
	b = binary.AppendVarint(b, c.TaskID-last.TaskID)
	b = binary.AppendUvarint(b, uint64(uint32(c.Epoch)))
	b = binary.AppendVarint(b, c.At-last.At)
	if head&sameWorker == 0 {
		b = binary.AppendVarint(b, c.WorkerID)
	}
	if head&hasDue != 0 {
		b = binary.AppendVarint(b, c.DueAt-c.At)
	}
	if head&hasError != 0 {
		b = binary.AppendUvarint(b, uint64(uint16(c.HTTPStatus)))
		b = appendText(b, c.ErrCode)
		b = appendText(b, c.ErrMessage)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), maxText)]
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// each reads an entry, change by change; f must not keep what it is given. It fails on what is none, on what a later version wrote,
// and where what is read is broken: what came before was given then.
func each(b []byte, f func(*task.Change)) (missed bool, err error) {
	if len(b) < headBytes || b[0] != entryVersion {
		return false, errEntry
	}
	r := reader{b: b[headBytes:]}
	var both [2]task.Change // this one and the one before it
	for n := 0; len(r.b) > 0; n++ {
		c := &both[n&1]
		r.change(c, &both[1-n&1])
		if r.bad || n == maxChanges {
			return false, errEntry
		}
		f(c)
	}
	return b[1]&flagMissed != 0, nil
}

// reader takes an entry apart.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) change(c, last *task.Change) {
	if len(r.b) < 3 {
		r.bad = true
		return
	}
	head := r.b[0]
	*c = task.Change{}
	c.Type, c.State, c.Outcome, c.Reason = task.ChangeType(head&7), task.State(r.b[1]&15), task.Outcome(r.b[1]>>4), task.Reason(r.b[2])
	r.b = r.b[3:]
	c.AppID, c.LaneID, c.KindID = last.AppID, last.LaneID, last.KindID
	if head&sameKind == 0 {
		c.AppID, c.LaneID, c.KindID = int32(r.uvarint()), int32(r.uvarint()), int32(r.uvarint())
	}
	c.TaskID = last.TaskID + r.varint()
	c.Epoch = int32(r.uvarint())
	c.At = last.At + r.varint()
	if c.WorkerID = last.WorkerID; head&sameWorker == 0 {
		c.WorkerID = r.varint()
	}
	if head&hasDue != 0 {
		c.DueAt = c.At + r.varint()
	}
	if head&hasError != 0 {
		c.HTTPStatus = int16(r.uvarint())
		c.ErrCode = r.text()
		c.ErrMessage = r.text()
	}
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > maxText || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
