package events

import "time"

const (
	beatEvery   = 2 * time.Second // of silence, after which a writer says that it is there
	silentAfter = 6 * time.Second // of silence, after which a writer is taken for dead
	heardMost   = 4096            // writers that are remembered
	seedPages   = 16              // that are read at most to know who wrote lately
)

// heard is who wrote to the stream. A writer numbers its entries, writes one now and then also when there is nothing to tell, and says
// which is its last. So a gap in the numbers, and a writer who falls silent without a last word, are events that may be missing: those
// that a killed process had not written yet, or that a Redis lost which took the place of another.
type heard map[uint64]lastWord

type lastWord struct {
	n  uint32
	at int64 // ms, by whatever clock the caller counts
}

// note takes the next entry of the stream, and reports whether entries of its writer are missing before it.
func (h heard) note(e *Entry, at int64) (gap bool) {
	s, ok := stampOf(e.Data)
	if !ok {
		return false // who decodes it says so
	}
	last, known := h[s.writer]
	switch {
	case s.last:
		delete(h, s.writer)
	case known || len(h) < heardMost:
		h[s.writer] = lastWord{s.n, at}
	}
	return known && s.n != last.n+1
}

// silent forgets the writers who have not been heard of for so long, and reports whether there were any.
func (h heard) silent(now int64) (any bool) {
	for w, last := range h {
		if now-last.at > silentAfter.Milliseconds() {
			delete(h, w)
			any = true
		}
	}
	return any
}

// refresh takes everybody for heard of now.
func (h heard) refresh(now int64) {
	for w, last := range h {
		last.at = now
		h[w] = last
	}
}
