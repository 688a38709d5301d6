package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// attemptLog hands lines to the engine, which shows them to those who follow and keeps the last 64 KiB, until the handler has
// returned: by then the engine has taken the log.
type attemptLog struct {
	mu     sync.Mutex
	write  func(line []byte)
	closed bool
}

// Write takes one line. It never fails: what comes after the end is dropped.
func (l *attemptLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.write(line)
	}
	return len(line), nil
}

func (l *attemptLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
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
