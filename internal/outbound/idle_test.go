//go:build unix

package outbound

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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
