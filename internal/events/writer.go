package events

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	lookEvery   = time.Second             // how often a writer looks whether anybody listens
	lookLate    = 1500 * time.Millisecond // after so long without a look, a new generation began without this writer
	writeEvery  = 50 * time.Millisecond
	entryBytes  = 8 << 10
	waitingMost = 256       // entries that wait: 2 MiB
	streamBytes = 64 << 20  // what the stream may take of Redis, about
	keepLeast   = 1 << 10   // entries
	keepMost    = 128 << 10 // entries
	opLimit     = 2 * time.Second
)

// Stream is the writer's side of the stream in Redis. Its errors mean that Redis is gone.
type Stream interface {
	// Audience gives the generation of the stream; "" when nobody listens.
	Audience(ctx context.Context) (generation string, err error)
	// Append appends entries in one round trip, keeps about the newest keep entries of the last ten minutes, and forgets the
	// whole when nothing comes for longer than that.
	Append(ctx context.Context, entries [][]byte, keep int64) error
}

// Writer appends the changes of one process to the stream. It is a task.ChangeSink; its methods never block. Run drives it.
type Writer struct {
	stream Stream
	log    *slog.Logger
	on     atomic.Bool
	wake   chan struct{}

	mu      sync.Mutex
	buf     []byte // the entry that is filled; nil: none is
	n       int    // changes in it
	last    task.Change
	full    [][]byte // entries that wait
	missed  bool     // the next entry says so
	dropped int64

	// Of Run alone.
	generation string
	looked     time.Time // when it was last known; zero: never
	mean       float64   // bytes of an entry
	stamp      stamp     // of the newest entry
	said       time.Time // when that was written; zero: never
}

// NewWriter makes a writer. Until its first look it takes everything, so that nothing of a process's start is lost.
func NewWriter(s Stream, log *slog.Logger) *Writer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{stream: s, log: log, wake: make(chan struct{}, 1), mean: entryBytes, stamp: stamp{writer: rand.Uint64()}}
	w.on.Store(true)
	return w
}

// Listening reports whether changes are wanted.
func (w *Writer) Listening() bool { return w.on.Load() }

// Changed takes changes.
func (w *Writer) Changed(list []task.Change) {
	if !w.on.Load() || len(list) == 0 {
		return
	}
	w.mu.Lock()
	for i := range list {
		w.add(&list[i])
	}
	w.mu.Unlock()
	w.ring()
}

// Missed notes that changes may not have been told.
func (w *Writer) Missed() {
	w.mu.Lock()
	w.missed = true
	w.mu.Unlock()
	w.ring()
}

func (w *Writer) ring() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// add encodes a change. mu is held.
func (w *Writer) add(c *task.Change) {
	if len(w.full) >= waitingMost {
		w.missed = true
		w.dropped++
		return
	}
	if w.buf == nil {
		w.buf = appendHead(make([]byte, 0, 512), w.missed)
		w.missed, w.n, w.last = false, 0, task.Change{}
	}
	w.buf = appendChange(w.buf, c, &w.last)
	w.last = *c
	if w.n++; len(w.buf) >= entryBytes || w.n == maxChanges {
		w.full = append(w.full, w.buf)
		w.buf = nil
	}
}

// take gives the entries that wait. One that says only that something is missing counts too.
func (w *Writer) take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.full
	if w.buf == nil && w.missed && len(out) < waitingMost {
		w.buf, w.missed = appendHead(nil, true), false
	}
	if w.buf != nil {
		out = append(out, w.buf)
	}
	w.full, w.buf = nil, nil
	if w.dropped > 0 {
		w.log.Warn("events dropped: more than the stream takes", "events", w.dropped)
		w.dropped = 0
	}
	return out
}

// Run looks and writes until ctx ends, then writes what is left.
func (w *Writer) Run(ctx context.Context) {
	w.look(ctx)
	looks := time.NewTicker(lookEvery)
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), opLimit)
			w.stamp.last = true
			w.write(last)
			cancel()
			return
		case <-looks.C:
			w.look(ctx)
		case <-w.wake:
		}
		w.write(ctx)
		pause := time.NewTimer(writeEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// look asks whether anybody listens. While Redis is gone the last answer holds.
func (w *Writer) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	generation, err := w.stream.Audience(ctx)
	if err != nil {
		if w.looked.IsZero() {
			w.forget(false) // nothing is known: who listens once Redis is there is told that something is missing
		}
		return
	}
	now := time.Now()
	if generation != w.generation && generation != "" && !w.looked.IsZero() && now.Sub(w.looked) > lookLate {
		w.Missed() // it may have begun before this look could tell
	}
	w.generation, w.looked = generation, now
	if generation == "" {
		w.forget(true)
	} else {
		w.on.Store(true)
	}
}

// forget drops everything: nobody listens.
func (w *Writer) forget(known bool) {
	w.on.Store(false)
	w.mu.Lock()
	w.full, w.buf = nil, nil
	w.missed, w.dropped = !known, 0
	w.mu.Unlock()
}

// write appends what waits. What could not be appended may have been, so it is not tried again but called missing.
func (w *Writer) write(ctx context.Context) {
	if w.generation == "" {
		return // nobody listens, or it is not known yet
	}
	entries := w.take()
	if len(entries) == 0 {
		if !w.stamp.last && time.Since(w.said) < beatEvery {
			return
		}
		entries = [][]byte{appendHead(nil, false)} // that it is there, or that it goes
	}
	ends := w.stamp.last
	for i, e := range entries {
		w.stamp.n++
		w.stamp.last = ends && i == len(entries)-1
		w.stamp.put(e)
	}
	w.said = time.Now()
	for _, e := range entries {
		w.mean += (float64(len(e)+64) - w.mean) / 16
	}
	keep := min(max(int64(streamBytes/w.mean), keepLeast), keepMost)
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	if err := w.stream.Append(ctx, entries, keep); err != nil {
		w.log.Debug("events not written", "entries", len(entries), "err", err)
		w.mu.Lock()
		w.missed = true
		w.mu.Unlock()
	}
}
