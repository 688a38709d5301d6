//go:build unix

package outbound

import (
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
	"testing"
	"time"
)

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
