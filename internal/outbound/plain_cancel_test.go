//go:build unix

package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

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
