package events

import (
	"math"
	"strconv"
	"strings"
)

// EntryID is the place of an entry in the stream, as Redis counts: ms of its clock, and a number within them.
type EntryID struct{ Ms, Seq uint64 }

// String is the form of Redis: ms-seq.
func (e EntryID) String() string {
	return strconv.FormatUint(e.Ms, 10) + "-" + strconv.FormatUint(e.Seq, 10)
}

// ParseEntryID reads ms-seq.
func ParseEntryID(s string) (e EntryID, ok bool) {
	ms, seq, found := strings.Cut(s, "-")
	if !found {
		return e, false
	}
	var err1, err2 error
	e.Ms, err1 = strconv.ParseUint(ms, 10, 64)
	e.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	return e, err1 == nil && err2 == nil
}

// position is the id of an event: generation, entry and the event's place in it. An index of allOf stands for all of the entry.
type position struct {
	generation string
	entry      EntryID
	index      int
}

const allOf = math.MaxUint16

// String is the id on the wire: generation-ms-seq-index.
func (p position) String() string {
	b := make([]byte, 0, 48)
	b = append(append(b, p.generation...), '-')
	b = append(strconv.AppendUint(b, p.entry.Ms, 10), '-')
	b = append(strconv.AppendUint(b, p.entry.Seq, 10), '-')
	return string(strconv.AppendInt(b, int64(p.index), 10))
}

// parsePosition reads an id that a client sends back, which may be anything.
func parsePosition(s string) (p position, ok bool) {
	if len(s) > 96 {
		return p, false
	}
	parts := strings.Split(s, "-")
	if len(parts) != 4 || parts[0] == "" {
		return p, false
	}
	p.generation = parts[0]
	if p.entry, ok = ParseEntryID(parts[1] + "-" + parts[2]); !ok {
		return p, false
	}
	index, err := strconv.ParseUint(parts[3], 10, 16)
	p.index = int(index)
	return p, err == nil
}
