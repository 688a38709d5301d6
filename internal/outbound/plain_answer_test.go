//go:build unix

package outbound

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

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
