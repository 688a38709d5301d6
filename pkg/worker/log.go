package worker

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// cutMark is the first line of a log that was longer than what is kept.
const cutMark = "… earlier lines were dropped\n"

// attemptLog keeps the last lines of an attempt, at most task.MaxLog bytes when it is closed.
type attemptLog struct {
	mu     sync.Mutex
	buf    []byte
	live   func(line []byte) // shows it to those who follow the log while the attempt runs
	cut    bool
	closed bool
}

// Write takes one line. It never fails: what comes after the end is dropped.
func (l *attemptLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(line), nil
	}
	l.buf = append(l.buf, line...)
	l.live(line)
	if len(l.buf) > 2*task.MaxLog {
		l.shorten()
	}
	return len(line), nil
}

// shorten keeps what fits, from the beginning of a line. The lock is held.
func (l *attemptLog) shorten() {
	l.cut = true
	tail := l.buf[len(l.buf)-(task.MaxLog-len(cutMark)):]
	if i := bytes.IndexByte(tail, '\n'); i >= 0 && i+1 < len(tail) {
		tail = tail[i+1:]
	}
	l.buf = append(l.buf[:0], tail...)
}

// close ends the log and gives it; nil when nothing was written.
func (l *attemptLog) close() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if len(l.buf) > task.MaxLog-len(cutMark) && (l.cut || len(l.buf) > task.MaxLog) {
		l.shorten()
	}
	if len(l.buf) == 0 {
		return nil
	}
	if l.cut {
		return append([]byte(cutMark), l.buf...)
	}
	return l.buf
}

// logHandler sends records to the attempt's log and to the process's own.
type logHandler struct {
	a    *Attempt
	kept slog.Handler
	out  slog.Handler // nil: none
}

func newLogHandler(a *Attempt) slog.Handler {
	h := logHandler{a: a, kept: slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})}
	if a.out != nil {
		h.out = a.out.Handler().WithAttrs([]slog.Attr{
			slog.Int64("task", a.job.TaskID), slog.Int("epoch", int(a.job.Epoch)), slog.String("kind", a.job.Kind)})
	}
	return h
}

// Enabled is true from level Debug: the attempt's log takes everything.
func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelDebug }

// Handle writes a record with the database's time.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if now := h.a.job.Now(); now > 0 {
		r.Time = time.UnixMilli(now).UTC()
	}
	err := h.kept.Handle(ctx, r)
	if h.out != nil && h.out.Enabled(ctx, r.Level) {
		return h.out.Handle(ctx, r)
	}
	return err
}

// WithAttrs adds attributes to both.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.kept = h.kept.WithAttrs(attrs)
	if h.out != nil {
		h.out = h.out.WithAttrs(attrs)
	}
	return h
}

// WithGroup opens a group in both.
func (h logHandler) WithGroup(name string) slog.Handler {
	h.kept = h.kept.WithGroup(name)
	if h.out != nil {
		h.out = h.out.WithGroup(name)
	}
	return h
}
