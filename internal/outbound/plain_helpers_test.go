//go:build unix

package outbound

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// peer is a server that does on each connection what a test says.
type peer struct {
	url  string
	made atomic.Int32 // connections

	mu    sync.Mutex
	conns []net.Conn
}

// wire is a connection as a server has it. Its methods end the connection's goroutine when the client is gone.
type wire struct {
	net.Conn
	in *bufio.Reader
	n  int // of connections, from 1
}

// errGone ends the goroutine of a connection.
var errGone = errors.New("the client is gone")

// serve starts a peer, which ends with the test.
func serve(t *testing.T, do func(*wire)) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{url: "http://" + l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			w := &wire{Conn: c, in: bufio.NewReader(c), n: int(p.made.Add(1))}
			all.Go(func() {
				defer func() {
					_ = c.Close()
					if r := recover(); r != nil && r != errGone {
						panic(r)
					}
				}()
				do(w)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

// take reads a request with its body.
func (w *wire) take() (*http.Request, string) {
	req, err := http.ReadRequest(w.in)
	if err != nil {
		panic(errGone)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(errGone)
	}
	return req, string(body)
}

// say writes in one piece.
func (w *wire) say(text string) {
	if _, err := io.WriteString(w.Conn, text); err != nil {
		panic(errGone)
	}
}

// ended waits until the client closes the connection, and reports whether nothing came before.
func (w *wire) ended() bool {
	n, _ := io.Copy(io.Discard, w.in)
	return n == 0
}

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// local is a client that may reach loopback addresses. It keeps connections for longer than any test takes, unless told.
func local(t *testing.T, o Options) *Client {
	t.Helper()
	o.Allow = loopback()
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Hour
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

// kept is how many connections of the plain way are idle.
func kept(c *Client) int {
	c.plain.idle.mu.Lock()
	defer c.plain.idle.mu.Unlock()
	return c.plain.idle.n
}

// send makes a call and reads its answer.
func send(c *Client, req *http.Request) (status int, body string, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// good makes a call that is to be answered with okay.
func good(t *testing.T, c *Client, req *http.Request) {
	t.Helper()
	if status, body, err := send(c, req); status != 200 || body != "ok" || err != nil {
		t.Fatalf("%d %q, %v", status, body, err)
	}
}

// await waits for an event.
func await[T any](t *testing.T, events <-chan T) T {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("it did not happen")
		panic("not reached")
	}
}

// stirred waits until the one idle connection can be read, without reading it.
func stirred(t *testing.T, c *Client) {
	t.Helper()
	c.plain.idle.mu.Lock()
	var l *link
	for _, list := range c.plain.idle.hosts {
		for _, l = range list {
		}
	}
	c.plain.idle.mu.Unlock()
	if l == nil {
		t.Fatal("no connection is idle")
	}
	err := l.raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// patched is a connection of which single methods do something else; it can still be looked at.
type patched struct {
	*net.TCPConn
	write func(*net.TCPConn, []byte) (int, error)
}

func (p *patched) Write(b []byte) (int, error) { return p.write(p.TCPConn, b) }

// patch makes a client's new connections write otherwise.
func patch(c *Client, write func(*net.TCPConn, []byte) (int, error)) {
	dial := c.plain.dial
	c.plain.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &patched{conn.(*net.TCPConn), write}, nil
	}
}
