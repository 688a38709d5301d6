package events

import (
	"context"
	"errors"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Listener is one who listens. Its methods are for one goroutine.
type Listener struct {
	h     *Hub
	t     *topic
	seq   uint64 // of the chunk to be given next
	first []byte // to be given before everything: a reset

	// Of the past, until what the hub reads for all follows it without a gap.
	past   bool
	from   position // the last that was given
	before EntryID  // the hub gives what comes after it
	heard  heard    // who wrote it
}

// Listen begins to listen: after the event of that id when it is still known, else from now on, with a reset in front when
// there was an id. The error is Throttled when too many listen, and Unavailable (live_view_unavailable) when Redis is gone.
// Close ends it.
func (h *Hub) Listen(ctx context.Context, f Filter, lastID string) (*Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	if f.Types == 0 {
		f.Types = AllTypes
	}
	l, err := h.enter(ctx, f)
	if err != nil || lastID == "" {
		return l, err
	}
	if err := l.resume(ctx, lastID); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func gone(err error) error {
	e := task.Gone("live_view_unavailable", err)
	e.Message = "live events cannot be read at the moment"
	return e
}

// enter joins a topic, and starts the reader for the first one.
func (h *Hub) enter(ctx context.Context, f Filter) (*Listener, error) {
	h.starting.Lock()
	defer h.starting.Unlock()
	for {
		l, err := h.tryEnter(ctx, f)
		if !errors.Is(err, errLeft) {
			return l, err
		}
	}
}

// errLeft says that the last listener left, and ended the reader, while another one came.
var errLeft = errors.New("events: the reader has ended")

// tryEnter is one try to enter. starting is held: nobody else starts a reader, so that the second try cannot find one that ends.
func (h *Hub) tryEnter(ctx context.Context, f Filter) (*Listener, error) {
	h.mu.Lock()
	r, full, closed := h.reader, h.listeners >= h.o.MaxListeners, h.closed
	broken := r != nil && r.broken
	h.mu.Unlock()
	switch {
	case closed:
		return nil, gone(ErrEnded)
	case full:
		return nil, TooMany()
	case broken:
		return nil, gone(nil)
	}
	if r == nil {
		var err error
		if r, err = h.start(ctx); err != nil {
			return nil, gone(err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reader == nil { // it is ours, or the last listener left meanwhile and ended it
		if h.closed {
			r.cancel()
			return nil, gone(ErrEnded)
		}
		if r.ctx.Err() != nil {
			return nil, errLeft
		}
		h.reader = r
		h.tasks.Go(r.run)
	}
	t := h.topics[f]
	if t == nil {
		t = &topic{filter: f, wake: make(chan struct{})}
		h.topics[f] = t
	}
	t.listeners++
	h.listeners++
	return &Listener{h: h, t: t, seq: t.next(), before: r.cursor}, nil
}

// TooMany is the answer to one listener too many.
func TooMany() error {
	return &task.Error{Kind: task.Throttled, Code: "too_many_streams", RetryAfter: 5 * time.Second,
		Message: "too many event streams are open; close some, or share one"}
}

// resume finds where the client stopped.
func (l *Listener) resume(ctx context.Context, lastID string) error {
	l.h.mu.Lock()
	generation := ""
	if l.h.reader != nil {
		generation = l.h.reader.generation
	}
	l.h.mu.Unlock()
	p, ok := parsePosition(lastID)
	if ok && p.generation == generation {
		_, there, err := l.h.o.Source.Holds(ctx, p.entry)
		if err != nil {
			return gone(err)
		}
		if there && l.catchUp(ctx, p.entry) {
			l.past, l.from, l.heard = true, p, heard{}
			return nil
		}
	}
	l.first = l.h.o.Encode(nil, position{generation, l.before, allOf}.String(), nil, nil)
	return nil
}

// catchUp waits until the hub has read as far as the client, who may come from a process that was faster, and begins there.
func (l *Listener) catchUp(ctx context.Context, to EntryID) bool {
	for after(to, l.before) {
		select {
		case <-ctx.Done():
			return false
		case <-l.h.done:
			return false
		case <-time.After(pollLeast / 2):
		}
		l.h.mu.Lock()
		if l.h.reader != nil {
			l.seq, l.before = l.t.next(), l.h.reader.cursor
		}
		l.h.mu.Unlock()
	}
	return true
}

// Close ends listening. With the last listener the hub stops reading.
func (l *Listener) Close() {
	h := l.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.t == nil {
		return
	}
	if l.t.listeners--; l.t.listeners == 0 {
		delete(h.topics, l.t.filter)
	}
	l.t = nil
	if h.listeners--; h.listeners == 0 && h.reader != nil {
		h.reader.cancel()
		h.reader = nil
	}
}

// sliceMost bounds what Next gives at once, in bytes, but for a single chunk.
const sliceMost = 256 << 10

// Next waits for events and gives them, encoded; what it gives is shared and not to be changed. After wait without any it gives
// none. ErrEnded: the process ends. Other errors are those of ctx, or that Redis is gone while the past was read.
func (l *Listener) Next(ctx context.Context, wait time.Duration) ([][]byte, error) {
	if l.first != nil {
		out := [][]byte{l.first}
		l.first = nil
		return out, nil
	}
	for l.past {
		out, err := l.readPast(ctx)
		if err != nil || len(out) > 0 {
			return out, err
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		out, wake := l.take()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-wake:
		case <-timer.C:
			return nil, nil
		case <-l.h.done:
			return nil, ErrEnded
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take gives the chunks that are there, with a reset in front when some are not there any more.
func (l *Listener) take() (out [][]byte, wake <-chan struct{}) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	t := l.t
	if l.seq < t.first {
		l.seq = t.first
		out = append(out, l.h.o.Encode(nil, t.chunks[0].before.String(), nil, nil))
	}
	for size := 0; l.seq < t.next() && size < sliceMost; l.seq++ {
		data := t.chunks[l.seq-t.first].data
		out = append(out, data)
		size += len(data)
	}
	return out, t.wake
}

// readPast gives a page of what was before this listener came.
func (l *Listener) readPast(ctx context.Context) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	at, ok, err := l.h.o.Source.Holds(ctx, l.from.entry)
	if err != nil {
		return nil, gone(err)
	}
	if !ok { // pushed out while it was read
		l.past = false
		return [][]byte{l.h.o.Encode(nil, position{l.from.generation, l.before, allOf}.String(), nil, nil)}, nil
	}
	generation, entries, err := l.h.o.Source.Read(ctx, l.from.entry, pageMost)
	if err != nil {
		return nil, gone(err)
	}
	if generation != l.from.generation {
		l.past = false // the hub says so to everybody
		return nil, nil
	}
	seen := l.from
	entries = append([]Entry{at}, entries...)
	l.past = len(entries) > pageMost
	for i, e := range entries {
		if after(e.ID, l.before) {
			entries, l.past = entries[:i], false
			break
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	l.from = position{generation, entries[len(entries)-1].ID, allOf}
	gap := false
	for i := range entries {
		if e := &entries[i]; i > 0 || len(l.heard) == 0 { // each page begins with the end of the one before it
			gap = l.heard.note(e, int64(e.ID.Ms)) || gap
		}
	}
	return l.encodePast(ctx, generation, entries, seen, gap), nil
}

// encodePast encodes what a page of the past holds for this listener.
func (l *Listener) encodePast(ctx context.Context, generation string, entries []Entry, seen position, gap bool) [][]byte {
	b, missed := l.h.gather(ctx, generation, entries)
	var data []byte
	if missed || gap {
		data = l.h.o.Encode(data, seen.String(), nil, nil)
	}
	b.count(&l.t.filter, true)
	b.load()
	for _, i := range b.pick(&l.t.filter) {
		if p := b.at[i]; p.entry != seen.entry || p.index > seen.index {
			data = append(data, l.h.frame(b, i)...)
		}
	}
	if !l.past && l.heard.silent(int64(l.before.Ms)) { // who died since then; of those who die from now on the hub tells
		data = l.h.o.Encode(data, l.from.String(), nil, nil)
	}
	if len(data) == 0 {
		return nil
	}
	return [][]byte{data}
}

func after(a, b EntryID) bool { return a.Ms > b.Ms || a.Ms == b.Ms && a.Seq > b.Seq }
