package httpkit_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// streaming is an engine with one route, whose stream is run.
func streaming(within time.Duration, run func(ctx context.Context, s *httpkit.Stream) error) *httpkit.Engine {
	e := httpkit.New(httpkit.Options{Logger: quiet, WriteWithin: within})
	e.Handle(httpkit.Route{Method: http.MethodGet, Path: "/", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{Status: http.StatusOK, ContentType: "text/event-stream", Stream: run}, nil
	}})
	return e
}

// gone is the writer of a client that has left before the first byte.
type gone struct{ *httptest.ResponseRecorder }

func (g *gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (g *gone) FlushError() error         { return io.ErrClosedPipe }

// What a handler holds for its stream ends in the stream: it runs also for a client that left before its head was sent.
func TestAStreamRunsAlsoForAClientThatHasLeft(t *testing.T) {
	var told error
	ran := false
	e := streaming(0, func(_ context.Context, s *httpkit.Stream) error {
		ran, told = true, s.Write([]byte("x"))
		return told
	})
	e.ServeHTTP(&gone{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if !ran || !errors.Is(told, io.ErrClosedPipe) {
		t.Fatalf("ran %v, told %v", ran, told)
	}
}

// A client that never reads is cut off, and so is one that takes a byte now and then.
func TestASlowClientHoldsNoStream(t *testing.T) {
	for name, sip := range map[string]time.Duration{"reads nothing": 0, "sips": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewServer(streaming(500*time.Millisecond, func(ctx context.Context, s *httpkit.Stream) error {
				piece := bytes.Repeat([]byte("x"), 1<<20)
				for {
					if err := s.Write(piece); err != nil {
						ended <- err
						return err
					}
				}
			}))
			defer server.Close()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			over := make(chan struct{})
			read := make(chan struct{})
			go func() {
				defer close(read)
				for one := make([]byte, 1); sip > 0; {
					select {
					case <-over:
						return
					case <-time.After(sip):
						_, _ = conn.Read(one)
					}
				}
			}()
			select {
			case err := <-ended:
				var late net.Error
				if !errors.As(err, &late) || !late.Timeout() {
					t.Errorf("ended by %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the stream goes on")
			}
			close(over)
			conn.Close()
			<-read
		})
	}
}

// What ends before its end is told from what is whole.
func TestAnIncompleteStreamIsCut(t *testing.T) {
	for name, run := range map[string]func() error{
		"whole":      func() error { return nil },
		"its end":    func() error { return errors.New("over") },
		"incomplete": func() error { return fmt.Errorf("process: %w", httpkit.ErrIncomplete) },
		"panic":      func() error { panic("a mistake") },
	} {
		server := httptest.NewServer(streaming(0, func(_ context.Context, s *httpkit.Stream) error {
			if err := s.Write([]byte("first")); err != nil {
				return err
			}
			return run()
		}))
		res, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if cut := err != nil; string(got) != "first" || cut != (name == "incomplete" || name == "panic") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		server.Close()
	}
}

// A client of HTTP/1.0 gets the bytes as they are, up to the end of the connection; HEAD gets the head and runs nothing.
func TestStreamsForOldClientsAndForHead(t *testing.T) {
	runs := 0
	go1 := make(chan struct{})
	server := httptest.NewServer(streaming(0, func(_ context.Context, s *httpkit.Stream) error {
		runs++
		if err := s.Write([]byte("one"), []byte(" two")); err != nil {
			return err
		}
		<-go1 // the first piece is there before the next is made
		return s.Write([]byte(" three"))
	}))
	defer server.Close()
	ask := func(request string) (head string, r *bufio.Reader, end func()) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, request)
		r = bufio.NewReader(conn)
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", head, err)
			}
			head += line
		}
		return head, r, func() { conn.Close() }
	}
	head, r, end := ask("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	defer end()
	if rest, _ := io.ReadAll(r); len(rest) > 0 || runs != 0 || !strings.Contains(head, "text/event-stream") {
		t.Errorf("HEAD ran %d, %q, %q", runs, head, rest)
	}
	head, r, end = ask("GET / HTTP/1.0\r\n\r\n")
	defer end()
	first := make([]byte, len("one two"))
	if _, err := io.ReadFull(r, first); err != nil || string(first) != "one two" {
		t.Errorf("%q %v", first, err)
	}
	close(go1)
	rest, err := io.ReadAll(r)
	if err != nil || string(rest) != " three" || strings.Contains(head, "chunked") {
		t.Errorf("%q %q %v", head, rest, err)
	}
}
