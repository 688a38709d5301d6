package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	headerLogFrom = "Taskweir-Log-From" // where the body begins in the output of an attempt
	headerAttempt = "Taskweir-Attempt"  // the id of the attempt whose output it is
)

// LogQuery chooses what an attempt wrote.
type LogQuery struct {
	Attempt apiv1.ID // 0: the one that runs, else the newest that wrote something
	From    int64    // its first byte; the server keeps the last 64 KiB
}

// LogPiece is a part of what an attempt wrote.
type LogPiece struct {
	Attempt apiv1.ID // 0 while there is none
	From    int64    // where Text begins in all that the attempt wrote. More than what was read before: some of it is not kept
	Text    []byte
}

func logRequest(id apiv1.ID, q LogQuery) *request {
	r := get("/v1/tasks/%s/log", id.String()).inApp()
	r.accept = "text/plain"
	if q.Attempt != 0 {
		r.with("attempt", q.Attempt.String())
	}
	if q.From != 0 {
		r.with("from", strconv.FormatInt(q.From, 10))
	}
	return r
}

// Log reads what an attempt has written so far.
func (c *Client) Log(ctx context.Context, id apiv1.ID, q LogQuery, opts ...CallOption) (*LogPiece, error) {
	resp, err := c.call(ctx, logRequest(id, q), opts...)
	if err != nil {
		return nil, err
	}
	p := pieceAt(resp.Header, q)
	p.Text = resp.Body
	return &p, nil
}

func pieceAt(h http.Header, q LogQuery) LogPiece {
	p := LogPiece{Attempt: q.Attempt, From: q.From}
	if n, err := strconv.ParseInt(h.Get(headerLogFrom), 10, 64); err == nil {
		p.From = n
	}
	if n, err := apiv1.ParseID(h.Get(headerAttempt)); err == nil {
		p.Attempt = n
	}
	return p
}

// FollowLog yields what an attempt writes, from q.From on, until the attempt has ended; for a task that has never run, from its first
// attempt on. It goes on over restarts of the server and lost connections, as WithPatience says. Text is the caller's to keep.
func (c *Client) FollowLog(ctx context.Context, id apiv1.ID, q LogQuery, opts ...CallOption) iter.Seq2[LogPiece, error] {
	return func(yield func(LogPiece, error) bool) {
		f := follower{c: c, id: id, q: q}
		p := c.patient()
		for {
			r := logRequest(id, f.q).with("follow", "true")
			for _, o := range opts {
				o(r)
			}
			r.again = f.opened
			over, err := f.connection(ctx, r, p, yield)
			if over {
				return
			}
			if err == nil {
				if over, err = f.ended(ctx); over {
					return
				} else if err == nil { // the server restarts
					err = c.noAnswer(r, io.ErrUnexpectedEOF, 1, true)
				}
			}
			if err != nil && !errors.Is(err, errSilent) { // one that says nothing for long may just do so
				if err = p.after(ctx, r, err); err != nil {
					yield(LogPiece{}, err)
					return
				}
			}
		}
	}
}

type follower struct {
	c  *Client
	id apiv1.ID
	q  LogQuery // what comes next

	opened bool // at least once
}

// connection yields what one connection brings. over: the caller has enough. No error: the server ended it.
func (f *follower) connection(ctx context.Context, r *request, p *patience, yield func(LogPiece, error) bool) (over bool, err error) {
	conn, err := f.c.openStream(ctx, r, "text/plain", "")
	if err != nil || conn == nil {
		return conn == nil && err == nil, err
	}
	f.opened = true
	defer p.closed(time.Now())
	defer conn.Close()
	p.seen()
	at := pieceAt(conn.header, f.q)
	f.q = LogQuery{Attempt: at.Attempt, From: at.From}
	buf := make([]byte, 32<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			p.seen()
			piece := LogPiece{Attempt: f.q.Attempt, From: f.q.From, Text: append([]byte(nil), buf[:n]...)}
			f.q.From += int64(n)
			if !yield(piece, nil) {
				return true, nil
			}
		}
		switch {
		case err == io.EOF:
			return false, nil
		case err != nil:
			return false, f.c.noAnswer(r, conn.because(err), 1, true)
		}
	}
}

// ended reports whether the attempt that is followed has ended: a stream also ends with its server.
func (f *follower) ended(ctx context.Context) (bool, error) {
	t, err := f.c.Get(ctx, f.id)
	if err != nil {
		return false, err
	}
	if f.q.Attempt == 0 && len(t.Attempts) > 0 { // it had not run when the stream began
		f.q.Attempt = t.Attempts[0].ID
	}
	for _, a := range t.Attempts {
		if a.ID == f.q.Attempt {
			return a.Outcome != "" || apiv1.Final(t.State), nil
		}
	}
	return apiv1.Final(t.State) || f.q.Attempt != 0, nil
}
