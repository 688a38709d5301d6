package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// silence is how long an event stream may say nothing before it is taken for dead; the server sends a comment more often.
const silence = 45 * time.Second

var errSilent = errors.New("the stream said nothing for too long")

// EventFilter chooses events; what is zero chooses all.
type EventFilter struct {
	Queue, Kind string
	Types       []string // apiv1.EventStarted, …; an EventReset comes in any case
	// After is the ID of the last event that was seen: the stream begins after it, or with a reset when that is too long ago. "": with
	// what happens from now on.
	After string
}

// Events yields what happens to all tasks of the app, while it happens, until ctx ends or the caller stops. Lost connections are
// opened again after the last event, as WithPatience says, so that none is missed: unless there is one of type apiv1.EventReset, after
// which the caller should read what it needs anew. The error that ends the stream is yielded last.
func (c *Client) Events(ctx context.Context, f EventFilter, opts ...CallOption) iter.Seq2[apiv1.Event, error] {
	s := stream{c: c, opts: opts, after: f.After, build: func() *request {
		return get("/v1/events").inApp().with("queue", f.Queue).with("kind", f.Kind).with("type", strings.Join(f.Types, ","))
	}}
	return s.events(ctx)
}

// TaskEvents yields what happens to one task, from its beginning or after the event whose ID is after, and ends when the task is
// final. Nothing is missed or told twice; but events of type apiv1.EventProgress, which are not kept, only come while they happen.
func (c *Client) TaskEvents(ctx context.Context, id apiv1.ID, after string, opts ...CallOption) iter.Seq2[apiv1.Event, error] {
	s := stream{c: c, opts: opts, after: after, ends: true, build: func() *request {
		return get("/v1/tasks/%s/events", id.String()).inApp()
	}}
	return s.events(ctx)
}

// EventTicket makes a ticket with which a browser, whose EventSource cannot send a key, opens one stream: ?ticket=. It is for the
// stream of a task, or, with 0, for the whole one; good once, within a minute.
func (c *Client) EventTicket(ctx context.Context, id apiv1.ID, opts ...CallOption) (*apiv1.Ticket, error) {
	r := post("/v1/events/tickets").inApp() // a ticket that nobody got is soon over
	if id != 0 {
		r.body = []byte(`{"task":"` + id.String() + `"}`)
	}
	return fetch[apiv1.Ticket](ctx, c, r, opts)
}

// RawEvent is an event as it came.
type RawEvent struct {
	ID, Name string
	Data     []byte // JSON, the caller's to keep
}

// OpenEvents yields the events of a stream of your own making, as Do makes requests: for streams and members that this version of the
// client does not know. It begins after the event whose ID is after, goes on as Events does, and ends when the server says that there is
// nothing more to say (204).
func (c *Client) OpenEvents(ctx context.Context, path string, query url.Values, after string, opts ...CallOption) iter.Seq2[RawEvent, error] {
	if _, err := rawRequest(http.MethodGet, path, query, nil); err != nil {
		return func(yield func(RawEvent, error) bool) { yield(RawEvent{}, err) }
	}
	s := stream{c: c, opts: opts, after: after, build: func() *request {
		r, _ := rawRequest(http.MethodGet, path, query, nil) // was fine above
		return r
	}}
	return s.raw(ctx)
}

// stream is a stream of events that outlives its connections.
type stream struct {
	c      *Client
	build  func() *request
	opts   []CallOption
	after  string // Last-Event-ID
	ends   bool   // with the task
	final  bool   // the last event was the end of the task
	opened bool   // at least once
}

// events decodes what raw yields.
func (s stream) events(ctx context.Context) iter.Seq2[apiv1.Event, error] {
	return func(yield func(apiv1.Event, error) bool) {
		s := s // each run of the iterator begins at the beginning
		for raw, err := range s.follow(ctx) {
			var e apiv1.Event
			if err == nil {
				e, err = eventOf(raw)
			}
			if s.final = apiv1.Final(e.State); !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (s stream) raw(ctx context.Context) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		s := s
		s.follow(ctx)(yield)
	}
}

// follow opens connections one after the other. It is for one run.
func (s *stream) follow(ctx context.Context) iter.Seq2[RawEvent, error] {
	return func(yield func(RawEvent, error) bool) {
		p := s.c.patient()
		for {
			r := s.build()
			for _, o := range s.opts {
				o(r)
			}
			r.again = s.opened
			pause, done, err := s.connection(ctx, r, p, yield)
			if done {
				return
			}
			if err == nil { // the server ended it: it is restarting
				err = s.c.noAnswer(r, io.ErrUnexpectedEOF, 1, true)
			}
			if err = p.after(ctx, r, err); err == nil && pause > 0 {
				if s.c.core.pause(ctx, pause) != nil {
					err = s.c.noAnswer(r, ended(ctx), 1, false)
				}
			}
			if err != nil {
				yield(RawEvent{}, err)
				return
			}
		}
	}
}

// connection yields the events of one connection. done is true when nothing is to follow.
func (s *stream) connection(parent context.Context, r *request, p *patience, yield func(RawEvent, error) bool) (pause time.Duration, done bool, err error) {
	conn, err := s.c.openStream(parent, r, "text/event-stream", s.after)
	if err != nil || conn == nil { // 204: it was all seen
		return 0, err == nil, err
	}
	s.opened = true
	defer p.closed(time.Now())
	defer conn.Close()
	in := newSSEReader(conn)
	in.lastID = s.after
	for {
		raw, err := in.next()
		if err != nil {
			if errors.Is(err, io.EOF) && s.ends && s.final {
				return 0, true, nil
			}
			return in.retry, false, s.c.noAnswer(r, conn.because(err), 1, true)
		}
		p.seen()
		s.after = raw.ID
		if !yield(raw, nil) {
			return 0, true, nil
		}
	}
}

func eventOf(raw RawEvent) (apiv1.Event, error) {
	var e apiv1.Event
	if err := json.Unmarshal(raw.Data, &e); err != nil {
		return e, fmt.Errorf("taskweir: an event is not Taskweir's: %w", err)
	}
	if e.ID == "" {
		e.ID = raw.ID
	}
	if e.Type == "" {
		e.Type = raw.Name
	}
	return e, nil
}

// connection is an answer that is read while it grows. It is cut when it says nothing for too long.
type connection struct {
	body   io.ReadCloser
	header http.Header
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
	quiet  time.Duration
}

// openStream sends a request whose answer does not end. No connection and no error: there is nothing (more) to say, 204.
func (c *Client) openStream(parent context.Context, r *request, accept, lastID string) (*connection, error) {
	ctx, cancel := context.WithCancelCause(parent)
	slow := time.AfterFunc(c.core.timeout, func() { cancel(errTimeout) })
	r.accept, r.lastEventID = accept, lastID
	res, sent, err := c.open(ctx, r)
	slow.Stop()
	if err != nil {
		cancel(nil)
		return nil, c.noAnswer(r, err, 1, sent)
	}
	resp := &Response{StatusCode: res.StatusCode, Header: res.Header}
	if r.meta != nil {
		*r.meta = *resp
	}
	conn := &connection{body: res.Body, header: res.Header, ctx: ctx, cancel: cancel, quiet: c.core.silence}
	conn.watch = time.AfterFunc(conn.quiet, func() { cancel(errSilent) })
	if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), accept) {
		return conn, nil
	}
	defer conn.Close()
	if res.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	if resp.Body, err = io.ReadAll(io.LimitReader(conn, maxLine)); err != nil {
		return nil, c.noAnswer(r, conn.because(err), 1, true)
	}
	if res.StatusCode == http.StatusOK {
		return nil, fmt.Errorf("taskweir: %s %s: the answer is not Taskweir's: it is %q", r.method, r.path, res.Header.Get("Content-Type"))
	}
	return nil, refusal(r, resp)
}

// Read reads what has come, or waits.
func (s *connection) Read(b []byte) (int, error) {
	n, err := s.body.Read(b)
	if n > 0 {
		s.watch.Reset(s.quiet)
	}
	return n, err
}

// because is why reading failed.
func (s *connection) because(err error) error {
	if context.Cause(s.ctx) == errSilent {
		return errSilent
	}
	return because(s.ctx, err)
}

// Close ends the exchange.
func (s *connection) Close() error {
	s.watch.Stop()
	s.cancel(nil)
	return s.body.Close()
}
