//go:build unix

package outbound

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
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

// TestSmallRequestsTakeThePlainWay: every method, one after the other, over one connection, which is idle in between.
func TestSmallRequestsTakeThePlainWay(t *testing.T) {
	got := make(chan string, 1)
	p := serve(t, func(w *wire) {
		for {
			req, body := w.take()
			got <- fmt.Sprintf("%s %s %s %q %s", req.Method, req.RequestURI, req.Host, body, req.Header.Get("User-Agent"))
			if req.Method == http.MethodHead {
				w.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
				continue
			}
			w.say(okay)
		}
	})
	c := local(t, Options{})
	for _, x := range []struct{ method, body string }{
		{"GET", ""}, {"", ""}, {"HEAD", ""}, {"POST", ""}, {"POST", "x"}, {"PUT", "x"}, {"PATCH", strings.Repeat("x", 4<<10)}, {"DELETE", ""}, {"OPTIONS", ""},
	} {
		status, _, err := send(c, plainRequest(x.method, p.url+"/a?b=%20", x.body))
		if status != 200 || err != nil {
			t.Fatalf("%s: %d, %v", x.method, status, err)
		}
		method := x.method
		if method == "" {
			method = "GET"
		}
		if g, want := await(t, got), fmt.Sprintf("%s /a?b=%%20 %s %q test", method, p.url[len("http://"):], x.body); g != want {
			t.Errorf("%s, want %s", g, want)
		}
		if kept(c) != 1 {
			t.Errorf("%s: %d connections are kept", x.method, kept(c))
		}
	}
	if p.made.Load() != 1 {
		t.Errorf("%d connections were made", p.made.Load())
	}
}

// TestOtherRequestsTakeTheTransport: whatever is not plain is answered too or refused, and nothing of it can be read as
// another header or request.
func TestOtherRequestsTakeTheTransport(t *testing.T) {
	var requests atomic.Int32
	p := serve(t, func(w *wire) {
		for {
			req, err := http.ReadRequest(w.in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body) // of a wrong length, it breaks
			requests.Add(1)
			for name := range req.Header {
				if strings.Contains(name, "Injected") {
					t.Errorf("%v", req.Header)
				}
			}
			w.say(okay)
		}
	})
	for name, change := range unplain {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := local(t, Options{})
			req := plainRequest("POST", p.url, "").WithContext(ctx)
			change(req)
			requests.Store(0)
			_, _, err := send(c, req)
			if ctx.Err() != nil {
				t.Error("it hangs")
			}
			if n := requests.Load(); n > 1 || err == nil && n != 1 {
				t.Errorf("%d requests arrived: %v", n, err)
			}
			if kept(c) != 0 {
				t.Error("it went the plain way")
			}
			refused := (strings.Contains(name, "line") || strings.Contains(name, "NUL")) && !strings.HasPrefix(name, "another host") // not sent as one
			if refused && (err == nil || requests.Load() != 0) {
				t.Errorf("it was not refused: %d requests, %v", requests.Load(), err)
			}
		})
	}
}

func TestTLSTakesTheTransport(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	c := local(t, Options{RootCAs: pool})
	good(t, c, plainRequest("POST", s.URL, "x"))
	if kept(c) != 0 {
		t.Error("it went the plain way")
	}
}

// TestWhatAnAnswerLeavesOfItsConnection: it is kept only when the next answer must begin with the next byte.
func TestWhatAnAnswerLeavesOfItsConnection(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	for name, x := range map[string]struct {
		method, answer string
		status         int
		body           string
		kept           bool
	}{
		"a length":                     {"GET", okay, 200, "ok", true},
		"a long body":                  {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n" + long, 200, long, true},
		"chunks":                       {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok", true},
		"chunks and a trailer":         {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n", 200, "ok", true},
		"an empty body":                {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true},
		"no content":                   {"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		"not modified, with a length":  {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", true},
		"HEAD with a length":           {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, "", true},
		"HEAD without one":             {"HEAD", "HTTP/1.1 200 OK\r\n\r\n", 200, "", true},
		"HEAD with chunks":             {"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", true},
		"HTTP/1.0 that is kept":        {"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true},
		"informational ones before":    {"GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + okay, 200, "ok", true},
		"five informational ones":      {"GET", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 5) + okay, 200, "ok", true},
		"a failure":                    {"POST", "HTTP/1.1 503 Later\r\nContent-Length: 2\r\n\r\nno", 503, "no", true},
		"a server that closes":         {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
		"one that closes, no body":     {"GET", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 204, "", false},
		"one that closes, a long body": {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 102400\r\n\r\n" + long, 200, long, false},
		"one that closes, chunks":      {"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, "ok", false},
		"HTTP/1.0":                     {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
		"bytes behind a body":          {"GET", okay + "H", 200, "ok", false},
		"bytes behind chunks":          {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nH", 200, "ok", false},
		"a body of no content":         {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, "", false},
		"a body of HEAD":               {"HEAD", okay, 200, "", false},
		"another protocol":             {"GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw", 101, "", false},
		"another protocol, in silence": {"GET", "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\n", 101, "", false},
		"a status below all others":    {"GET", "HTTP/1.1 099 What\r\nContent-Length: 2\r\n\r\nok", 99, "ok", false},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan bool, 1)
			p := serve(t, func(w *wire) {
				w.take()
				w.say(x.answer)
				if !x.kept {
					over <- w.ended()
					return
				}
				w.take()
				w.say(x.answer)
				over <- w.ended()
			})
			c := local(t, Options{})
			for range 2 {
				status, body, err := send(c, plainRequest(x.method, p.url, ""))
				if status != x.status || body != x.body || err != nil {
					t.Fatalf("%d %.20q, %v", status, body, err)
				}
				if (kept(c) == 1) != x.kept {
					t.Fatalf("kept %v", kept(c) == 1)
				}
				if !x.kept {
					break
				}
			}
			c.Close()
			if p.made.Load() != 1 || !await(t, over) {
				t.Errorf("%d connections, or more than the requests was written", p.made.Load())
			}
		})
	}
}

// TestABodyUntilTheEndOfItsConnection has no length; a break cannot be told from its end.
func TestABodyUntilTheEndOfItsConnection(t *testing.T) {
	p := serve(t, func(w *wire) {
		w.take()
		w.say("HTTP/1.1 200 OK\r\n\r\nok")
	})
	c := local(t, Options{})
	good(t, c, plainRequest("GET", p.url, ""))
	good(t, c, plainRequest("GET", p.url, ""))
	if p.made.Load() != 2 || kept(c) != 0 {
		t.Errorf("%d connections, %d kept", p.made.Load(), kept(c))
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":                 "",
		"no HTTP":                 "SSH-2.0-OpenSSH\r\n\r\n",
		"half a header":           "HTTP/1.1 200 OK\r\nContent-Le",
		"only informational":      "HTTP/1.1 100 Continue\r\n\r\n",
		"six informational":       strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 6) + okay,
		"two lengths":             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
		"a length below 0":        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"an unknown encoding":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\nok",
		"a long header":           "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9<<10) + "\r\nContent-Length: 2\r\n\r\nok",
		"a long first line":       "HTTP/1.1 200 " + strings.Repeat("x", 9<<10),
		"long informational ones": strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 3<<10)+"\r\n\r\n", 3) + okay,
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(w *wire) {
				w.take()
				_, _ = io.WriteString(w.Conn, answer) // the client may hang up before it is written
			})
			c := local(t, Options{MaxHeader: 8 << 10})
			if status, _, err := send(c, plainRequest("GET", p.url, "")); err == nil {
				t.Errorf("%d", status)
			}
			if p.made.Load() != 1 || kept(c) != 0 {
				t.Errorf("%d connections, %d kept", p.made.Load(), kept(c))
			}
		})
	}
}

// TestTheLimitOfAHeaderIsNoneOfABody, and begins anew with each exchange of a connection.
func TestTheLimitOfAHeaderIsNoneOfABody(t *testing.T) {
	const length = 50 << 10
	p := serve(t, func(w *wire) {
		for {
			w.take()
			w.say("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 6<<10) + "\r\nContent-Length: " + strconv.Itoa(length) + "\r\n\r\n" + strings.Repeat("y", length))
		}
	})
	c := local(t, Options{MaxHeader: 8 << 10})
	for range 3 {
		if _, body, err := send(c, plainRequest("GET", p.url, "")); len(body) != length || err != nil {
			t.Fatalf("%d bytes, %v", len(body), err)
		}
	}
	if p.made.Load() != 1 {
		t.Errorf("%d connections", p.made.Load())
	}
}

// TestAKeptConnectionThatIsNotQuietIsNotUsed: the server hangs up, or writes what looks like the next answer. The next request
// is sent once, on another connection.
func TestAKeptConnectionThatIsNotQuietIsNotUsed(t *testing.T) {
	for name, stir := range map[string]func(*wire){
		"it hangs up":             func(w *wire) { _ = w.Close() },
		"it hangs up hard":        func(w *wire) { _ = w.Conn.(*net.TCPConn).SetLinger(0); _ = w.Close() },
		"it says no more":         func(w *wire) { _ = w.Conn.(*net.TCPConn).CloseWrite() },
		"it writes an answer":     func(w *wire) { w.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") },
		"it writes one byte":      func(w *wire) { w.say("H") },
		"it writes and hangs up":  func(w *wire) { w.say("HTTP/1.1 408 Request Timeout\r\n\r\n"); _ = w.Close() },
		"it informs of something": func(w *wire) { w.say("HTTP/1.1 102 Processing\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			answered, quiet := make(chan struct{}), make(chan bool, 1)
			var requests atomic.Int32
			p := serve(t, func(w *wire) {
				w.take()
				requests.Add(1)
				w.say(okay)
				if w.n > 1 {
					w.ended()
					return
				}
				<-answered
				stir(w)
				quiet <- w.ended()
			})
			c := local(t, Options{})
			good(t, c, plainRequest("POST", p.url, "x"))
			if kept(c) != 1 {
				t.Error("the connection is not kept")
			}
			close(answered)
			stirred(t, c)
			good(t, c, plainRequest("POST", p.url, "x"))
			if requests.Load() != 2 || p.made.Load() != 2 || kept(c) != 1 || !await(t, quiet) {
				t.Errorf("%d requests on %d connections, %d kept", requests.Load(), p.made.Load(), kept(c))
			}
		})
	}
}

// TestARequestIsNotRepeated once a byte of it was written or may have been; one of which nothing was, on a connection that was
// kept, is sent on another one.
func TestARequestIsNotRepeated(t *testing.T) {
	failed := errors.New("it failed")
	for name, x := range map[string]struct {
		bytes  int // that the second write of a connection writes before it fails
		first  bool
		served int32 // requests, with the first one of each connection
		ok     bool
	}{
		"nothing was written":                  {0, false, 2, true},
		"a byte was written":                   {1, false, 1, false},
		"all was written":                      {1 << 20, false, 2, false},
		"nothing was written to one just made": {0, true, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Int32
			over := make(chan struct{}, 2)
			p := serve(t, func(w *wire) {
				defer func() { over <- struct{}{} }()
				for {
					w.take()
					served.Add(1)
					w.say(okay)
				}
			})
			c := local(t, Options{})
			var writes atomic.Int32
			fails := int32(2)
			if x.first {
				fails = 1
			}
			patch(c, func(conn *net.TCPConn, b []byte) (int, error) {
				if writes.Add(1) != fails {
					return conn.Write(b)
				}
				n, err := conn.Write(b[:min(x.bytes, len(b))])
				return n, errors.Join(failed, err)
			})
			if !x.first {
				good(t, c, plainRequest("PUT", p.url, "x"))
			}
			_, _, err := send(c, plainRequest("PUT", p.url, "x"))
			if (err == nil) != x.ok || err != nil && !errors.Is(err, failed) {
				t.Error(err)
			}
			made := p.made.Load()
			c.Close()
			for range made {
				await(t, over)
			}
			if n := served.Load(); n != x.served {
				t.Errorf("%d requests, want %d", n, x.served)
			}
		})
	}
}

var errStopped = errors.New("stopped by its caller")

// TestCancel: a call ends when its context does, in each of its phases, with the reason why, and its connection with it.
func TestCancel(t *testing.T) {
	for name, x := range map[string]struct {
		before string // what the server writes, before it holds
		body   bool   // the call has an answer by then
	}{
		"header":                   {"", false},
		"a part of a header":       {"HTTP/1.1 200 OK\r\nContent-", false},
		"informational":            {"HTTP/1.1 102 Processing\r\n\r\n", false},
		"a body":                   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true},
		"a part of a body":         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", true},
		"chunks":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", true},
		"a body without an end":    {"HTTP/1.1 200 OK\r\n\r\nab", true},
		"a body of the last reply": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nab", true},
	} {
		for _, used := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, kept %v", name, used), func(t *testing.T) {
				held, over := make(chan struct{}), make(chan bool, 1)
				p := serve(t, func(w *wire) {
					if used {
						w.take()
						w.say(okay)
					}
					w.take()
					w.say(x.before)
					close(held)
					over <- w.ended()
				})
				c := local(t, Options{})
				if used {
					good(t, c, plainRequest("GET", p.url, ""))
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				req := plainRequest("POST", p.url, "x").WithContext(ctx)
				if x.body {
					resp, err := c.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = resp.Body.Close() }()
					go func() { <-held; cancel(errStopped) }()
					for range 2 {
						if _, err := io.ReadAll(resp.Body); err != errStopped {
							t.Error(err)
						}
					}
				} else {
					go func() { <-held; cancel(errStopped) }()
					if _, _, err := send(c, req); err != errStopped {
						t.Error(err)
					}
				}
				if !await(t, over) || kept(c) != 0 || p.made.Load() != 1 {
					t.Errorf("%d kept, %d made", kept(c), p.made.Load())
				}
			})
		}
	}
}

// TestCancelEndsAConnectionThatNobodyReads: its answer was begun, and its body neither read nor closed yet.
func TestCancelEndsAConnectionThatNobodyReads(t *testing.T) {
	over := make(chan bool, 1)
	p := serve(t, func(w *wire) {
		w.take()
		w.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
		over <- w.ended()
	})
	c := local(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := c.Do(plainRequest("GET", p.url, "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	cancel()
	await(t, over)
}

func TestCancelBeforeACall(t *testing.T) {
	var requests atomic.Int32
	p := serve(t, func(w *wire) {
		for {
			w.take()
			requests.Add(1)
			w.say(okay)
		}
	})
	c := local(t, Options{})
	good(t, c, plainRequest("GET", p.url, ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if _, _, err := send(c, plainRequest("GET", p.url, "").WithContext(ctx)); err != context.Canceled {
			t.Fatal(err)
		}
	}
	if kept(c) != 1 {
		t.Error("the connection is gone")
	}
	good(t, c, plainRequest("GET", p.url, ""))
	if requests.Load() != 2 || p.made.Load() != 1 {
		t.Errorf("%d requests on %d connections", requests.Load(), p.made.Load())
	}
}

func TestCancelOfADial(t *testing.T) {
	c := local(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	c.plain.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel(errStopped)
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: errors.New("operation was canceled")}
	}
	if _, _, err := send(c, plainRequest("GET", "http://127.0.0.1:1", "").WithContext(ctx)); err != errStopped {
		t.Error(err)
	}
}

// TestCancelOfAWrite: the connection takes no more. So small a request is never too much for a real one.
func TestCancelOfAWrite(t *testing.T) {
	over := make(chan struct{})
	p := serve(t, func(w *wire) {
		<-over
	})
	c := local(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	patch(c, func(conn *net.TCPConn, b []byte) (int, error) {
		cancel(errStopped)
		for {
			if _, err := conn.Write(make([]byte, 1<<20)); err != nil {
				return 0, err
			}
		}
	})
	_, _, err := send(c, plainRequest("GET", p.url, "").WithContext(ctx))
	close(over)
	if err != errStopped || kept(c) != 0 || p.made.Load() > 1 {
		t.Errorf("%v, %d kept, %d made", err, kept(c), p.made.Load())
	}
}

// TestADeadlineIsTheReason, as of any cancelled call.
func TestADeadlineIsTheReason(t *testing.T) {
	p := serve(t, func(w *wire) {
		w.take()
		w.ended()
	})
	c := local(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := send(c, plainRequest("GET", p.url, "").WithContext(ctx)); err != context.DeadlineExceeded {
		t.Error(err)
	}
}

// TestTheEndOfAContextAfterItsCallEndsNothing: the connection is another call's by then.
func TestTheEndOfAContextAfterItsCallEndsNothing(t *testing.T) {
	held, on := make(chan struct{}), make(chan struct{})
	p := serve(t, func(w *wire) {
		w.take()
		w.say(okay)
		w.take()
		close(held)
		<-on
		w.say(okay)
		w.ended()
	})
	c := local(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	good(t, c, plainRequest("GET", p.url, "").WithContext(ctx))
	go func() {
		<-held
		cancel()
		close(on)
	}()
	good(t, c, plainRequest("GET", p.url, ""))
	if p.made.Load() != 1 || kept(c) != 1 {
		t.Errorf("%d connections, %d kept", p.made.Load(), kept(c))
	}
}

// TestABodyThatIsNotReadEndsItsConnection, and Close does not wait for the rest.
func TestABodyThatIsNotReadEndsItsConnection(t *testing.T) {
	for name, read := range map[string]int{"nothing": 0, "a part": 3} {
		t.Run(name, func(t *testing.T) {
			over := make(chan bool, 1)
			p := serve(t, func(w *wire) {
				w.take()
				w.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde")
				over <- w.ended()
			})
			c := local(t, Options{})
			resp, err := c.Do(plainRequest("GET", p.url, ""))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, read)); err != nil {
				t.Error(err)
			}
			for range 2 {
				if err := resp.Body.Close(); err != nil {
					t.Error(err)
				}
			}
			if _, err := resp.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
				t.Errorf("after Close: %v", err) // an end would pass for that of the body
			}
			if !await(t, over) || kept(c) != 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// TestABodyThatBreaksSaysSo, each time that it is read.
func TestABodyThatBreaksSaysSo(t *testing.T) {
	for name, answer := range map[string]string{
		"a length": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde",
		"chunks":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, func(w *wire) {
				w.take()
				w.say(answer)
			})
			c := local(t, Options{})
			resp, err := c.Do(plainRequest("GET", p.url, ""))
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF || string(b) != "abcde" {
				t.Errorf("%q, %v", b, err)
			}
			if b, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF || len(b) > 0 {
				t.Errorf("again: %q, %v", b, err)
			}
			_ = resp.Body.Close()
			if kept(c) != 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// TestCloseOfABodyEndsItsRead from another goroutine.
func TestCloseOfABodyEndsItsRead(t *testing.T) {
	over := make(chan bool, 1)
	p := serve(t, func(w *wire) {
		w.take()
		w.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde")
		over <- w.ended()
	})
	c := local(t, Options{})
	resp, err := c.Do(plainRequest("GET", p.url, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		_, err := resp.Body.Read(make([]byte, 5))
		end <- err
	}()
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := await(t, end); err != http.ErrBodyReadAfterClose {
		t.Error(err)
	}
	if !await(t, over) || kept(c) != 0 {
		t.Error("the connection is kept")
	}
}

// TestCloseOfAClient ends what is idle at once, and what is in use when it would become idle.
func TestCloseOfAClient(t *testing.T) {
	on, over := make(chan struct{}), make(chan int, 2)
	p := serve(t, func(w *wire) {
		req, _ := w.take()
		if req.URL.Path == "/slow" {
			w.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcde")
			<-on
			w.say("fghij")
		} else {
			w.say(okay)
		}
		w.ended()
		over <- w.n
	})
	c := local(t, Options{})
	resp, err := c.Do(plainRequest("GET", p.url+"/slow", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	good(t, c, plainRequest("GET", p.url, ""))
	c.Close()
	if n := await(t, over); n != 2 || kept(c) != 0 {
		t.Errorf("connection %d ended, %d kept", n, kept(c))
	}
	close(on)
	if b, err := io.ReadAll(resp.Body); string(b) != "abcdefghij" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if n := await(t, over); n != 1 || kept(c) != 0 {
		t.Errorf("connection %d ended, %d kept", n, kept(c))
	}
	good(t, c, plainRequest("GET", p.url, "")) // it works on, and keeps nothing
	if n := await(t, over); n != 3 || kept(c) != 0 || c.plain.idle.timer != nil {
		t.Errorf("connection %d ended, %d kept", n, kept(c))
	}
}

// TestIdleConnectionsEnd after IdleTimeout, and nothing is left of them.
func TestIdleConnectionsEnd(t *testing.T) {
	over := make(chan bool, 2)
	do := func(w *wire) {
		w.take()
		w.say(okay)
		over <- w.ended()
	}
	a, b := serve(t, do), serve(t, do)
	c := local(t, Options{IdleTimeout: 20 * time.Millisecond})
	for range 2 {
		good(t, c, plainRequest("GET", a.url, ""))
		good(t, c, plainRequest("GET", b.url, ""))
		await(t, over)
		await(t, over)
		s := &c.plain.idle
		s.mu.Lock()
		if s.n != 0 || len(s.hosts) != 0 || s.timer != nil {
			t.Errorf("%d connections, %d hosts, timer %v", s.n, len(s.hosts), s.timer)
		}
		s.mu.Unlock()
	}
}

// TestIdleConnectionsEndOneAfterTheOther: the end of one sees to that of the next.
func TestIdleConnectionsEndOneAfterTheOther(t *testing.T) {
	over := make(chan bool, 2)
	do := func(w *wire) {
		w.take()
		w.say(okay)
		over <- w.ended()
	}
	a, b := serve(t, do), serve(t, do)
	c := local(t, Options{})
	good(t, c, plainRequest("GET", a.url, ""))
	good(t, c, plainRequest("GET", b.url, ""))
	s := &c.plain.idle
	s.mu.Lock()
	s.timer.Stop()
	early := time.Now().Add(-time.Hour)
	s.hosts[a.url[len("http://"):]][0].since = early
	s.hosts[b.url[len("http://"):]][0].since = early.Add(50 * time.Millisecond)
	s.mu.Unlock()
	s.sweep()
	await(t, over)
	await(t, over)
}

// TestTheOldestAreCulled and the others stay; the next to go is the oldest of all hosts.
func TestTheOldestAreCulled(t *testing.T) {
	now := time.Now()
	at := func(host string, age int) *link {
		return &link{host: host, since: now.Add(-time.Duration(age) * time.Second)}
	}
	s := &idle{n: 6, hosts: map[string][]*link{
		"a": {at("a", 9), at("a", 5), at("a", 1)}, "b": {at("b", 7)}, "c": {at("c", 4), at("c", 2)},
	}}
	old, next := s.cull(now.Add(-5 * time.Second))
	if len(old) != 3 || s.n != 3 || !next.Equal(now.Add(-4*time.Second)) || len(s.hosts["a"]) != 1 || len(s.hosts["c"]) != 2 || len(s.hosts) != 2 {
		t.Errorf("%d culled, %d left, next %v, %v", len(old), s.n, next, s.hosts)
	}
	if l := s.take("c"); l == nil || !l.since.Equal(now.Add(-2*time.Second)) {
		t.Errorf("the last one used is not taken first: %v", l)
	}
	if old, next = s.cull(now); len(old) != 2 || s.n != 0 || !next.IsZero() || len(s.hosts) != 0 {
		t.Errorf("%d culled, %d left, next %v, %v", len(old), s.n, next, s.hosts)
	}
}

// TestOnlySoManyAreKept: IdlePerHost of a host and four times as many in all; the others are closed.
func TestOnlySoManyAreKept(t *testing.T) {
	over := make(chan struct{}, 20)
	start := func(together int) *peer {
		var all sync.WaitGroup
		all.Add(together)
		return serve(t, func(w *wire) {
			w.take()
			all.Done()
			all.Wait()
			w.say(okay)
			w.ended()
			over <- struct{}{}
		})
	}
	c := local(t, Options{IdlePerHost: 2})
	calls := func(p *peer, n int) {
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if status, _, err := send(c, plainRequest("GET", p.url, "")); status != 200 || err != nil {
					t.Errorf("%d, %v", status, err)
				}
			})
		}
		all.Wait()
	}
	calls(start(5), 5)
	for range 3 {
		await(t, over)
	}
	if kept(c) != 2 {
		t.Errorf("%d of one host are kept", kept(c))
	}
	for range 4 {
		calls(start(2), 2)
	}
	for range 2 {
		await(t, over)
	}
	if kept(c) != 8 {
		t.Errorf("%d are kept", kept(c))
	}
}

// TestTheAddressOfAHost is what the transport would dial: without a port, or with an empty one, it is 80.
func TestTheAddressOfAHost(t *testing.T) {
	for host, want := range map[string]string{
		"a.test": "a.test:80", "a.test:": "a.test:80", "a.test:8080": "a.test:8080", "127.0.0.1": "127.0.0.1:80",
		"[::1]": "[::1]:80", "[::1]:": "[::1]:80", "[::1]:8080": "[::1]:8080", ":81": ":81",
	} {
		c := local(t, Options{})
		var got []string
		dial := func(_ context.Context, _, address string) (net.Conn, error) {
			got = append(got, address)
			return nil, errors.New("no")
		}
		c.plain.dial, c.transport.DialContext = dial, dial
		req := plainRequest("GET", "http://a.test", "")
		req.URL.Host = host
		if _, _, err := send(c, req); err == nil {
			t.Error("it was reached")
		}
		if _, err := c.transport.RoundTrip(req); err == nil {
			t.Error("it was reached")
		}
		if !slices.Equal(got, []string{want, want}) {
			t.Errorf("%s: %q, want %s", host, got, want)
		}
	}
}

// closing is a body that knows whether it was closed.
type closing struct {
	io.Reader
	closed atomic.Int32
}

func (b *closing) Close() error {
	b.closed.Add(1)
	return nil
}

// TestTheBodyOfARequestIsClosed, as every http.RoundTripper does, also when nobody can be reached.
func TestTheBodyOfARequestIsClosed(t *testing.T) {
	p := serve(t, func(w *wire) {
		w.take()
		w.say(okay)
		w.ended()
	})
	c := local(t, Options{})
	none := New(Options{})
	defer none.Close()
	for _, client := range []*Client{c, none} {
		req := plainRequest("POST", p.url, "x")
		mine, copied := &closing{Reader: strings.NewReader("x")}, &closing{Reader: strings.NewReader("x")}
		req.Body, req.GetBody = mine, func() (io.ReadCloser, error) { return copied, nil }
		_, _, err := send(client, req)
		if mine.closed.Load() != 1 || copied.closed.Load() != 1 {
			t.Errorf("closed %d and %d times: %v", mine.closed.Load(), copied.closed.Load(), err)
		}
	}
	if kept(c) != 1 {
		t.Error("it did not go the plain way")
	}
}

// TestBodiesOfAnotherLengthAreRefused: none of them is cut off or filled up.
func TestBodiesOfAnotherLengthAreRefused(t *testing.T) {
	p := serve(t, func(w *wire) {
		w.take()
		w.say(okay)
	})
	for _, length := range []int64{1, 3} {
		c := local(t, Options{})
		req := plainRequest("POST", p.url, "xy")
		req.ContentLength = length
		if _, _, err := send(c, req); err == nil {
			t.Errorf("a body of 2 bytes as %d", length)
		}
	}
}

// TestNobodyIsReachedPastTheGuard on the plain way either.
func TestNobodyIsReachedPastTheGuard(t *testing.T) {
	p := serve(t, func(w *wire) { w.take() })
	c := New(Options{})
	defer c.Close()
	if _, _, err := send(c, plainRequest("GET", p.url, "")); !errors.As(err, new(*Refused)) {
		t.Error(err)
	}
	if p.made.Load() != 0 {
		t.Error("it was connected to")
	}
}

// TestManyAtOnce: calls of all kinds share connections, some are cancelled or not read, and every answer is that of its call.
func TestManyAtOnce(t *testing.T) {
	var seen sync.Map
	var made atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("Id")
		if _, twice := seen.LoadOrStore(id, true); twice {
			t.Errorf("%s came twice", id)
		}
		n, err := strconv.Atoi(id)
		if err != nil {
			t.Error(err)
		}
		switch n % 7 {
		case 1:
			w.Header().Set("Connection", "close")
		case 2:
			_ = http.NewResponseController(w).Flush() // in chunks from here on
		case 3:
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, strings.Repeat(id+" ", 1+n%2*5000))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := local(t, Options{IdlePerHost: 8})
	var ids, whole atomic.Int64
	one := func() {
		id := ids.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req := plainRequest("POST", s.URL, "body").WithContext(ctx)
		req.Header["Id"] = []string{strconv.FormatInt(id, 10)}
		if id%5 == 0 {
			go cancel()
		}
		resp, err := c.Do(req)
		if err != nil {
			if id%5 != 0 {
				t.Errorf("%d: %v", id, err)
			}
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if id%11 == 0 {
			return
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			if id%5 != 0 {
				t.Errorf("%d: %v", id, err)
			}
			return
		}
		if string(b) != strings.Repeat(strconv.FormatInt(id, 10)+" ", int(1+id%2*5000)) {
			t.Errorf("%d got %.20q", id, b)
		}
		whole.Add(1)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 150 {
				one()
			}
		})
	}
	all.Wait()
	if whole.Load() < 800 || made.Load() > 800 {
		t.Errorf("%d answers came over %d connections", whole.Load(), made.Load())
	}
}
