package outbound

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// maxPlain is the largest request that goes this way, in bytes with its header: less than any socket buffers, so that
// writing it never waits for the server to read, not even for one that answers without reading.
const maxPlain = 8 << 10

// maxInformational bounds the answers 1xx before the one that counts.
const maxInformational = 5

// plain exchanges small HTTP/1.1 requests without TLS on the goroutine of the caller: it writes the request in one piece and
// reads the answer. net/http's transport has two goroutines for each connection, which hand everything on to each other. What is
// not small and plain is left to it.
type plain struct {
	idle      idle
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	maxHeader int64
}

// link is a connection. One goroutine at a time has it, but for cut.
type link struct {
	net.Conn
	raw   syscall.RawConn
	in    *bufio.Reader
	left  int64     // bytes that an answer's header may still take; below 0: no limit
	host  string    // as URLs write it, with the port
	since time.Time // idle since

	probe  func(fd uintptr) bool // of quiet, as are these
	silent bool
	one    [1]byte
}

var errHeader = errors.New("the header of the answer is too long")

// Read implements io.Reader within the limit of a header.
func (l *link) Read(p []byte) (int, error) {
	if l.left < 0 {
		return l.Conn.Read(p)
	}
	if l.left == 0 {
		return 0, errHeader
	}
	n, err := l.Conn.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// cut ends whatever the connection is doing, from any goroutine. It closes it, so that nothing stays open of a call that was
// cancelled, even if nobody closes the answer's body.
func (l *link) cut() { _ = l.Close() }

// buffers hold requests while they are written.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// roundTrip makes an exchange; ok is false when the request is none for it and nothing was done. The request is written at
// most once: on a connection that was kept it may turn out that nothing could be written, which another one then does.
func (p *plain) roundTrip(req *http.Request) (resp *http.Response, err error, ok bool) {
	buf := buffers.Get().(*[]byte)
	defer func() { buffers.Put(buf) }()
	head, ok := appendRequest((*buf)[:0], req)
	*buf = head[:0]
	if !ok {
		return nil, nil, false
	}
	if req.Body != nil {
		_ = req.Body.Close() // the request has a copy of it
	}
	resp, err = p.exchange(req, head)
	return resp, err, true
}

// exchange writes a request and reads the header of its answer.
func (p *plain) exchange(req *http.Request, head []byte) (*http.Response, error) {
	ctx := req.Context()
	for {
		if ctx.Err() != nil { // a small write would be faster than whoever cuts it
			return nil, context.Cause(ctx)
		}
		l, kept, err := p.link(ctx, req.URL)
		if err != nil {
			return nil, cancelled(ctx, err)
		}
		stop := context.AfterFunc(ctx, l.cut)
		n, err := l.Write(head)
		if err != nil && n == 0 && kept && ctx.Err() == nil {
			stop()
			_ = l.Close()
			continue
		}
		var resp *http.Response
		if err == nil {
			resp, err = p.answer(l, req)
		}
		if err != nil {
			stop()
			_ = l.Close()
			return nil, because(ctx, err)
		}
		p.attach(l, resp, req, stop)
		return resp, nil
	}
}

// cancelled is why a context ended, if it did: then nothing else is worth telling. Otherwise it is err.
func cancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// because is what an exchange failed with after its request was written, or may have been.
func because(ctx context.Context, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errSent
	}
	return cancelled(ctx, err)
}

// link gives a connection to the host of a URL: one that was kept, or a new one.
func (p *plain) link(ctx context.Context, u *url.URL) (l *link, kept bool, err error) {
	for l = p.idle.take(u.Host); l != nil; l = p.idle.take(u.Host) {
		if l.quiet() {
			return l, true, nil
		}
		_ = l.Close()
	}
	c, err := p.dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port(u)))
	if err != nil {
		return nil, false, err
	}
	l = &link{Conn: c, host: u.Host}
	l.in = bufio.NewReaderSize(l, 4<<10)
	if s, ok := c.(syscall.Conn); ok {
		if l.raw, err = s.SyscallConn(); err != nil {
			_ = c.Close()
			return nil, false, err
		}
	}
	return l, false, nil
}

// answer reads the header of an answer, after those that only inform.
func (p *plain) answer(l *link, req *http.Request) (*http.Response, error) {
	l.left = p.maxHeader
	for range maxInformational + 1 {
		resp, err := l.usual(req)
		if resp == nil && err == nil {
			resp, err = http.ReadResponse(l.in, req)
		}
		if err != nil {
			return nil, err
		}
		if resp.StatusCode/100 != 1 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.left = -1 // a body has no limit here
			return resp, nil
		}
	}
	return nil, errors.New("too many informational answers")
}

// attach gives the answer a body that gives the connection back when it was read. A body that has come whole by now is
// detached from it at once.
func (p *plain) attach(l *link, resp *http.Response, req *http.Request, stop func() bool) {
	keep := !resp.Close && resp.StatusCode >= 200
	n := resp.ContentLength
	_, whole := resp.Body.(*Whole)
	switch {
	case whole:
		p.release(l, stop, keep)
	case n == 0 || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols:
		p.release(l, stop, keep)
		resp.Body = http.NoBody
	case n > 0 && n <= int64(l.in.Buffered()):
		all := make([]byte, n)
		_, err := io.ReadFull(resp.Body, all)
		p.release(l, stop, keep && err == nil)
		resp.Body = NewWhole(all)
	default:
		resp.Body = &linkBody{plain: p, link: l, stop: stop, ctx: req.Context(), from: resp.Body, keep: keep}
	}
}

// release gives a connection back, or closes it when it is not as an exchange should leave it. Whoever cuts it may still be at
// it when stop says so.
func (p *plain) release(l *link, stop func() bool, keep bool) {
	if stop() && keep && l.in.Buffered() == 0 {
		p.idle.put(l)
		return
	}
	_ = l.Close()
}

// linkBody is the body of an answer that has not come whole yet. It may be closed while it is read, which ends the read.
type linkBody struct {
	plain *plain
	link  *link
	stop  func() bool
	ctx   context.Context
	from  io.Reader
	keep  bool

	mu  sync.Mutex
	end error // of reading, from then on; nil: it still has the connection
}

// Read implements io.Reader.
func (b *linkBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	end := b.end
	b.mu.Unlock()
	if end != nil {
		return 0, end
	}
	n, err := b.from.Read(p)
	if err != nil {
		err = b.done(err)
	}
	return n, err
}

// Close implements io.Closer. What was not read is not waited for.
func (b *linkBody) Close() error {
	_ = b.done(http.ErrBodyReadAfterClose)
	return nil
}

// done ends the body and gives the connection back, unless that was done before. It gives what reading ends with.
func (b *linkBody) done(why error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return b.end
	}
	b.end = why
	if why != io.EOF && why != http.ErrBodyReadAfterClose {
		b.end = cancelled(b.ctx, why)
	}
	b.plain.release(b.link, b.stop, b.keep && why == io.EOF)
	return b.end
}
