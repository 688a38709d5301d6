package events

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	pollLeast  = 50 * time.Millisecond  // between two readings of the stream,
	pollEach   = 750 * time.Microsecond // more for each listener: each reading may wake and write to every one of them,
	pollMost   = time.Second            // up to this
	joinEvery  = 30 * time.Second       // how often the audience's key is kept alive
	settle     = 2 * time.Second        // until every writer has seen that somebody listens
	pageMost   = 64                     // entries of one reading
	resetEvery = 5 * time.Second        // how often topics whose events were left out say so, at most
	sendMost   = 8 << 20                // bytes a second that all listeners of a process are sent together
	frameLeast = 160                    // bytes of an event, at least
)

// Entry is one entry of the stream.
type Entry struct {
	ID   EntryID
	Data []byte
}

// Source is the reader's side of the stream in Redis. Its errors mean that Redis is gone.
type Source interface {
	// Join says that somebody listens, for ten minutes and a half, and gives the stream's generation; fresh when it begins now.
	Join(ctx context.Context) (generation string, fresh bool, err error)
	// Last is the place of the newest entry; zero when there is none.
	Last(ctx context.Context) (EntryID, error)
	// Read gives at most n entries after a place, and the generation at the same moment ("": there is none any more).
	Read(ctx context.Context, after EntryID, n int) (generation string, entries []Entry, err error)
	// Holds gives the entry at a place; ok is false when there is none.
	Holds(ctx context.Context, at EntryID) (entry Entry, ok bool, err error)
}

// Options configure a hub.
type Options struct {
	Source Source
	// Names gives what ids are called. It is asked once per combination and reading; it should remember.
	Names func(ctx context.Context, app, lane, kind int32) (Names, error)
	// Encode appends an event with its id as it is sent; with a nil change a reset.
	Encode func(b []byte, id string, c *task.Change, n *Names) []byte
	Logger *slog.Logger // nil: silent
	// MaxListeners bounds those of the process; 0: 2,000.
	MaxListeners int
}

// Hub reads the stream for all listeners of a process. It reads only while there are any.
type Hub struct {
	o Options

	starting sync.Mutex // held by who starts the reader

	mu        sync.Mutex
	topics    map[Filter]*topic
	listeners int
	reader    *hubReader // nil: nobody listens
	closed    bool
	done      chan struct{} // closed by Close
	tasks     sync.WaitGroup
}

// NewHub makes a hub; Close ends it.
func NewHub(o Options) *Hub {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxListeners <= 0 {
		o.MaxListeners = 2_000
	}
	return &Hub{o: o, topics: map[Filter]*topic{}, done: make(chan struct{})}
}

// ErrEnded is what listeners are told when the process ends: they come again, to another one.
var ErrEnded = errors.New("events: the process ends")

// Close ends every listener.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.done)
	}
	if h.reader != nil {
		h.reader.cancel()
	}
	h.mu.Unlock()
	h.tasks.Wait()
}

// Listeners is how many listen.
func (h *Hub) Listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listeners
}

// hubReader is one stretch of reading, from the first listener to the last. Its fields but broken, generation and cursor,
// which Hub.mu guards, are those of its goroutine.
type hubReader struct {
	h      *Hub
	ctx    context.Context
	cancel context.CancelFunc
	log    *slog.Logger

	generation string
	cursor     EntryID
	broken     bool // Redis is gone

	joined   time.Time
	settleAt time.Time // zero: everybody writes
	heard    heard
	began    time.Time
	resetAt  time.Time
}

// start makes a reader. Its error means that Redis is gone.
func (h *Hub) start(ctx context.Context) (*hubReader, error) {
	r := &hubReader{h: h, log: h.o.Logger, heard: heard{}, began: time.Now()}
	if err := r.join(ctx); err != nil {
		return nil, err
	}
	if err := r.seed(ctx); err != nil {
		return nil, err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// join takes the stream's present generation and end as where to read on from.
func (r *hubReader) join(ctx context.Context) error {
	generation, fresh, err := r.h.o.Source.Join(ctx)
	if err != nil {
		return err
	}
	last, err := r.h.o.Source.Last(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	if r.joined = now; fresh {
		r.settleAt = now.Add(settle)
	}
	r.h.mu.Lock()
	r.generation, r.cursor, r.broken = generation, last, false
	r.h.mu.Unlock()
	return nil
}

// seed learns who wrote lately: whoever of them is dead now would else not be missed.
func (r *hubReader) seed(ctx context.Context) error {
	end, at, now := r.cursor, EntryID{}, r.ms()
	if back := uint64(silentAfter.Milliseconds()); end.Ms > back {
		at.Ms = end.Ms - back
	}
	for range seedPages {
		if !after(end, at) {
			break
		}
		_, entries, err := r.h.o.Source.Read(ctx, at, pageMost)
		if err != nil {
			return err
		}
		for i := range entries {
			if at = entries[i].ID; !after(at, end) {
				r.heard.note(&entries[i], now)
			}
		}
		if len(entries) < pageMost {
			break
		}
	}
	return nil
}

func (r *hubReader) run() {
	t := time.NewTimer(pollLeast)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		}
		began := time.Now()
		r.round(began)
		p := period(r.h.Listeners())
		t.Reset(max(p-time.Since(began), p/4))
	}
}

// round reads what came.
func (r *hubReader) round(now time.Time) {
	ctx, cancel := context.WithTimeout(r.ctx, opLimit)
	defer cancel()
	if r.broken {
		r.mend(ctx)
		return
	}
	if now.Sub(r.joined) > joinEvery {
		generation, _, err := r.h.o.Source.Join(ctx)
		if err != nil {
			r.fail(err)
			return
		}
		if r.joined = now; generation != r.generation {
			r.restart(ctx)
			return
		}
	}
	if !r.settleAt.IsZero() && now.After(r.settleAt) {
		r.settleAt = time.Time{}
		r.resetAll()
	}
	for full := true; full && r.ctx.Err() == nil; {
		generation, entries, err := r.h.o.Source.Read(ctx, r.cursor, pageMost)
		switch {
		case err != nil:
			r.fail(err)
			return
		case generation != r.generation:
			r.restart(ctx)
			return
		}
		if full = len(entries) == pageMost; full && r.cursor != (EntryID{}) {
			// So much came at once that what was to be read next may have been pushed out.
			if _, there, err := r.h.o.Source.Holds(ctx, r.cursor); err != nil || !there {
				r.resetAll()
			}
		}
		if len(entries) > 0 {
			r.deal(ctx, entries)
		}
	}
	if r.heard.silent(r.ms()) {
		r.resetAll()
	}
}

// ms is the time by which silence is measured, which no clock's jump changes.
func (r *hubReader) ms() int64 { return time.Since(r.began).Milliseconds() }

func (r *hubReader) fail(err error) {
	if r.ctx.Err() != nil {
		return
	}
	r.h.mu.Lock()
	r.broken = true
	r.h.mu.Unlock()
	r.log.Debug("events not read", "err", err)
}

// mend goes on after Redis was gone, where it stopped if that is still there.
func (r *hubReader) mend(ctx context.Context) {
	generation, fresh, err := r.h.o.Source.Join(ctx)
	if err != nil {
		return
	}
	if !fresh && generation == r.generation {
		_, there, err := r.h.o.Source.Holds(ctx, r.cursor)
		if err != nil {
			return
		}
		if there {
			r.heard.refresh(r.ms()) // nobody could say anything
			r.h.mu.Lock()
			r.broken = false
			r.h.mu.Unlock()
			return
		}
	}
	r.restart(ctx)
}

// restart begins anew with the generation that is there now, and says so.
func (r *hubReader) restart(ctx context.Context) {
	if err := r.join(ctx); err != nil {
		r.fail(err)
		return
	}
	clear(r.heard)
	// Another process may have made the new generation a moment ago: its writers may not know it yet either.
	r.settleAt = time.Now().Add(settle)
	r.resetAll()
}

// resetAll tells every topic that events may be missing.
func (r *hubReader) resetAll() {
	r.h.mu.Lock()
	defer r.h.mu.Unlock()
	at := r.here()
	for _, t := range r.h.topics {
		t.lost = false
		t.push(r.h.o.Encode(nil, at.String(), nil, nil), at, r.h.keeps())
	}
}

// here is the end of what was read.
func (r *hubReader) here() position { return position{r.generation, r.cursor, allOf} }

// deal gives what was read to the topics.
func (r *hubReader) deal(ctx context.Context, entries []Entry) {
	b, missed := r.h.gather(ctx, r.generation, entries)
	for i := range entries {
		missed = r.heard.note(&entries[i], r.ms()) || missed
	}
	h := r.h
	h.mu.Lock()
	defer h.mu.Unlock()
	before := r.here()
	r.cursor = entries[len(entries)-1].ID
	var all []serving
	now := time.Now()
	for _, t := range h.topics {
		if missed {
			t.lost = true // the reset comes before these events: some are missing before them
		}
		if n := b.count(&t.filter, false); n > 0 || t.lost {
			all = append(all, serving{t: t, n: n})
		}
	}
	// The small ones first, each within an equal share of what is left: one who wants everything keeps nobody from little.
	slices.SortFunc(all, func(a, b serving) int { return cmp.Compare(a.n, b.n) })
	left, heads := r.budget(), 0
	for _, s := range all {
		heads += s.t.listeners
	}
	r.choose(b, all, left, heads)
	sayLost := now.Sub(r.resetAt) >= resetEvery
	for _, s := range all {
		share := left / max(heads, 1)
		heads -= s.t.listeners
		size, fits := 0, s.may // what cannot fit is not encoded
		var list []int
		if fits {
			list = b.pick(&s.t.filter)
			size = h.size(b, list)
			fits = size <= share
		}
		if !fits {
			s.t.lost = true
		}
		if !fits && !sayLost || s.n == 0 && !s.t.lost {
			continue
		}
		data := make([]byte, 0, size+256)
		at := before
		if s.t.lost {
			if at = before; !fits {
				at = r.here()
			}
			data = h.o.Encode(data, at.String(), nil, nil)
			s.t.lost = false
			r.resetAt = now
		}
		if fits {
			for _, i := range list {
				data = append(data, b.frames[i]...)
			}
			left -= len(data) * s.t.listeners
		}
		s.t.push(data, before, h.keeps())
	}
}

// serving is a topic and how many events of a batch are for it.
type serving struct {
	t   *topic
	n   int
	may bool // they were taken out of it
}

// choose takes out of a batch what topics want that may fit into their shares, when every event is as small as can be. mu is held.
func (r *hubReader) choose(b *batch, all []serving, left, heads int) {
	for i := range all {
		s := &all[i]
		share := left / max(heads, 1)
		heads -= s.t.listeners
		if size := s.n * frameLeast; size <= share {
			s.may = true
			b.count(&s.t.filter, true)
			left -= size * s.t.listeners
		}
	}
	b.load()
}

// budget is how many bytes one reading may give to all listeners together.
func (r *hubReader) budget() int {
	return int(sendMost * period(r.h.listeners) / time.Second)
}

// period is the time between two readings for so many listeners.
func period(listeners int) time.Duration {
	return min(pollLeast+time.Duration(listeners)*pollEach, pollMost)
}

// size is how many bytes some events take. They are encoded here, once. mu is held.
func (h *Hub) size(b *batch, list []int) (n int) {
	for _, i := range list {
		n += len(h.frame(b, i))
	}
	return n
}

func (h *Hub) frame(b *batch, i int) []byte {
	if b.frames[i] == nil {
		from := len(b.buf)
		c := &b.changes[i]
		b.buf = h.o.Encode(b.buf, b.at[i].String(), c, b.kinds[i].names)
		b.frames[i] = b.buf[from:len(b.buf):len(b.buf)]
	}
	return b.frames[i]
}

// gather sorts and counts what entries hold. missed: some say that events are missing, or cannot be read.
func (h *Hub) gather(ctx context.Context, generation string, entries []Entry) (*batch, bool) {
	b := &batch{generation: generation, entries: entries, sorts: map[sort]*sorted{}}
	missed := false
	for _, e := range entries {
		var last *sorted
		gap, err := each(e.Data, func(c *task.Change) {
			if last = b.of(c, last); last == nil {
				last = h.newSort(ctx, sort{c.AppID, c.LaneID, c.KindID, TypeOf(c)})
				b.sorts[last.sort] = last
				missed = missed || last.names == nil
			}
			if last.names != nil && last.types != 0 {
				last.n++
			}
		})
		missed = missed || gap || err != nil
	}
	return b, missed
}

// newSort looks up what changes of a sort are called.
func (h *Hub) newSort(ctx context.Context, s sort) *sorted {
	one := &sorted{sort: s}
	if n, err := h.o.Names(ctx, s.app, s.lane, s.kind); err == nil {
		one.names = &n
	} else {
		h.o.Logger.Debug("an event's names not known", "err", err)
	}
	return one
}
