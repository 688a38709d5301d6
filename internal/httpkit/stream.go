package httpkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// writeWithin is what one write of a stream may take unless Options say otherwise.
const writeWithin = 10 * time.Second

// ErrIncomplete is wrapped by what a stream returns that ends before what it gives does: the connection is cut, so that the client can
// tell it from the end.
var ErrIncomplete = errors.New("the answer is not whole")

// Stream writes an answer piece by piece, for as long as its handler likes: the server's time limits do not hold for it, each
// write has its own. It is for one goroutine.
type Stream struct {
	w      gin.ResponseWriter
	rc     *http.ResponseController
	within time.Duration
}

// Write sends pieces at once. An error means that the client is gone, or too slow.
func (s *Stream) Write(pieces ...[]byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.within)) // a recorder of a test has none
	for _, p := range pieces {
		if _, err := s.w.Write(p); err != nil {
			return fmt.Errorf("write stream: %w", err)
		}
	}
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("flush stream: %w", err)
	}
	return nil
}

// stream sends the head of an answer and runs its Stream. What goes wrong from here on can only end it.
func (r *Request) stream(ctx context.Context, resp *Response) {
	w := r.c.Writer
	h := w.Header()
	h.Set("Content-Type", resp.ContentType)
	h.Set("X-Accel-Buffering", "no") // reverse proxies are not to gather it
	if h.Get("Cache-Control") == "" || strings.HasPrefix(resp.ContentType, "text/event-stream") {
		h.Set("Cache-Control", "no-store, no-transform")
	}
	w.WriteHeader(resp.Status)
	w.WriteHeaderNow()
	if r.Method() == http.MethodHead {
		return
	}
	s := &Stream{w: w, rc: http.NewResponseController(inner(w)), within: r.e.writeWithin}
	// The end of the time for reading the request would end its context.
	_ = s.rc.SetReadDeadline(time.Time{})
	defer func() {
		p := recover()
		switch {
		case p == nil:
			return
		case p != http.ErrAbortHandler:
			r.e.log.Error("a stream panicked", "panic", p, "path", r.Path(), "request", r.ID(), "stack", string(debug.Stack()))
		}
		r.e.budget.give(r.held) // recycle is not reached
		panic(http.ErrAbortHandler)
	}()
	// Its handler holds something for the stream, which ends in it: it runs also when the client has left already, which its first
	// write tells it.
	_ = s.Write()
	err := resp.Stream(ctx, s)
	if err != nil && ctx.Err() == nil {
		r.e.log.Debug("a stream ended", "path", r.Path(), "request", r.ID(), "error", err)
	}
	if errors.Is(err, ErrIncomplete) {
		panic(http.ErrAbortHandler)
	}
}

// inner is the server's own writer: gin's keeps the errors of a flush to itself.
func inner(w gin.ResponseWriter) http.ResponseWriter {
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		return u.Unwrap()
	}
	return w
}
