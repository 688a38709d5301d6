package httpcall

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

// raw serves answers that no well-behaved server gives: it reads a request, writes text and then hangs up, or keeps the
// connection open until the client closes it.
func raw(t *testing.T, hold bool, text ...string) (url string) {
	t.Helper()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for _, part := range text {
			if _, err := io.WriteString(c, part); err != nil {
				return // the client has what it wants
			}
		}
		if hold {
			_, _ = io.Copy(io.Discard, c)
		}
	})
	return s.URL
}

func TestBrokenAnswersNeverLookWhole(t *testing.T) {
	for name, c := range map[string]struct{ text, code, message string }{
		"short of its length":  {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "connection_failed", ""},
		"long, short of it":    {"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nshort", "connection_failed", ""},
		"nothing of its body":  {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "connection_failed", ""},
		"chunk cut":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nshort", "connection_failed", ""},
		"last chunk missing":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", "connection_failed", ""},
		"no chunk at all":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "connection_failed", ""},
		"bad chunk":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort\r\n", "connection_failed", ""},
		"not HTTP":             {"SSH-2.0-OpenSSH\r\n", "connection_failed", ""},
		"header cut":           {"HTTP/1.1 200 OK\r\nContent-Le", "connection_failed", ""},
		"nothing":              {"", "connection_failed", ""},
		"two lengths":          {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "connection_failed", ""},
		"error, cut":           {"HTTP/1.1 500 X\r\nContent-Length: 100\r\n\r\nthe database", "http_500", "the database"},
		"error, chunk cut":     {"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nthe database", "http_500", "the database"},
		"error, long, cut":     {"HTTP/1.1 500 X\r\nContent-Length: 100000\r\n\r\nthe database", "http_500", "the database"},
		"protocols, not asked": {"HTTP/1.1 101 Switching Protocols\r\n\r\nx", "http_101", "answered 101 Switching Protocols"},
	} {
		res := call(t, raw(t, false, c.text), "")
		if res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != c.code || c.message != "" && res.ErrMessage != c.message || res.Body != nil {
			t.Errorf("%s: %+v, result %q", name, res, res.Body)
		}
	}
}

// TestAnswerWithoutALength: the end of the connection is the end of such a body (HTTP/1.0).
func TestAnswerWithoutALength(t *testing.T) {
	if res := call(t, raw(t, false, "HTTP/1.0 200 OK\r\n\r\nall of it"), ""); res.Outcome != task.OutcomeSucceeded || string(res.Body) != "all of it" {
		t.Errorf("%+v", res)
	}
}

// TestEnoughIsEnough: what is beyond the limit is not waited for. The server stops in the middle and holds the connection; only
// the test's own deadline would end a call that wants more.
func TestEnoughIsEnough(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for name, c := range map[string]struct {
		head string
		size int
		code string
	}{
		"length":         {"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", task.MaxResult + 1, ""},
		"endless":        {"HTTP/1.1 200 OK\r\n\r\n", task.MaxResult + 1, ""},
		"error":          {"HTTP/1.1 500 X\r\nContent-Length: 1000000\r\n\r\n", task.MaxErrorText + 1, "http_500"},
		"endless error":  {"HTTP/1.1 404 X\r\n\r\n", task.MaxErrorText + 1, "http_404"},
		"empty, no more": {"HTTP/1.1 204 X\r\n\r\n", 0, ""},
		"not modified":   {"HTTP/1.1 304 X\r\nContent-Length: 10\r\n\r\n", 0, "http_304"},
		"protocols":      {"HTTP/1.1 101 X\r\n\r\n", 0, "http_101"},
	} {
		url := raw(t, true, c.head, strings.Repeat("x", c.size))
		res := NewHTTP(options(t)).Run(ctx, job(`{"url":`+quote(url)+`}`))
		if res.ErrCode != c.code || ctx.Err() != nil || c.code == "" && c.size > 0 && (!res.Truncated || len(res.Body) != task.MaxResult) {
			t.Errorf("%s: %+v, %d bytes, cut %v, %v", name, res.Outcome, len(res.Body), res.Truncated, ctx.Err())
		}
	}
}

// TestHugeBodyIsNotRead: the server writes as long as somebody takes it.
func TestHugeBodyIsNotRead(t *testing.T) {
	written := make(chan int64, 1)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n, _ := io.CopyN(w, rand.New(rand.NewSource(1)), 1<<30)
		written <- n
	})
	if res := call(t, s.URL, ""); res.Outcome != task.OutcomeSucceeded || !res.Truncated || len(res.Body) != task.MaxResult {
		t.Errorf("%+v: %d bytes", res.Outcome, len(res.Body))
	}
	if n := <-written; n > 64<<20 {
		t.Errorf("the server could write %d bytes", n)
	}
}

// TestResultIsTheBodyAsItCame: bytes are bytes, at the limit exactly; a compressed answer, which nobody asked for, is not unpacked.
func TestResultIsTheBodyAsItCame(t *testing.T) {
	var body []byte
	var header http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept-Encoding"); accept != "" {
			t.Errorf("asked for %s", accept)
		}
		for k, v := range header {
			w.Header()[k] = v
		}
		for rest := body; len(rest) > 0; { // in pieces, so that reads are short
			n := min(len(rest), 7777)
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			if header["Content-Length"] == nil {
				w.(http.Flusher).Flush()
			}
			rest = rest[n:]
		}
	})
	random := make([]byte, task.MaxResult+1)
	rand.New(rand.NewSource(1)).Read(random)
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(make([]byte, 10<<20))
	_ = zip.Close()
	for name, b := range map[string][]byte{"at the limit": random[:task.MaxResult], "one more": random, "one less": random[1:task.MaxResult], "packed": packed.Bytes(), "one byte": random[:1]} {
		for _, header = range []http.Header{{"Content-Length": {strconv.Itoa(len(b))}}, {}} {
			if name == "packed" {
				header.Set("Content-Encoding", "gzip")
			}
			body = b
			res := call(t, s.URL, "")
			want := b[:min(len(b), task.MaxResult)]
			if res.Outcome != task.OutcomeSucceeded || !bytes.Equal(res.Body, want) || res.Truncated != (len(b) > task.MaxResult) {
				t.Errorf("%s with %v: %v, %d bytes of %d, cut %v", name, header, res.Outcome, len(res.Body), len(want), res.Truncated)
			}
		}
	}
}

func TestErrorKeepsItsBeginning(t *testing.T) {
	var body string
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(500)
		_, _ = io.WriteString(w, body)
	})
	for _, c := range []struct{ body, want string }{
		{"", "answered 500 Internal Server Error"},
		{" \n", "answered 500 Internal Server Error"},
		{"  no space left \r\n", "no space left"},
		{"a\x00b\xffc", "ab\uFFFDc"},
		{strings.Repeat("x", 2048), strings.Repeat("x", 2048)},
		{strings.Repeat("x", 2049), strings.Repeat("x", 2048)},
		{strings.Repeat("x", 2047) + "é", strings.Repeat("x", 2047)},
		{strings.Repeat("\xff", 5000), strings.Repeat("\uFFFD", 1)},
	} {
		body = c.body
		res := call(t, s.URL, "")
		if res.ErrMessage != c.want || res.HTTPStatus != 500 || res.ErrCode != "http_500" || !utf8.ValidString(res.ErrMessage) {
			t.Errorf("%.20q: %d bytes %.40q, want %.40q", c.body, len(res.ErrMessage), res.ErrMessage, c.want)
		}
	}
}

func TestEveryStatus(t *testing.T) {
	var status int
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	r := NewHTTP(options(t))
	j := job(`{"url":` + quote(s.URL) + `}`)
	for status = 200; status < 600; status++ {
		res := r.Run(t.Context(), j)
		ok := status < 300
		perm := status >= 400 && status < 500 && status != 408 && status != 425 && status != 429
		if int(res.HTTPStatus) != status || (res.Outcome == task.OutcomeSucceeded) != ok || res.Permanent != perm || (res.ErrCode == "") != ok {
			t.Errorf("%d: %+v", status, res)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	at := func(d time.Duration, layout string) string {
		return time.UnixMilli(int64(now)).Add(d).UTC().Format(layout)
	}
	for text, want := range map[string]int64{
		"": 0, "0": 0, "1": 1_000, " 7 ": 7_000, "3600": 3_600_000, "3601": 3_600_000, "99999999999999999999999": 3_600_000,
		"-1": 0, "+1": 0, "1.5": 0, "1e3": 0, "0x10": 0, "soon": 0, "1s": 0, "١": 0, "Tue": 0,
		at(time.Minute, http.TimeFormat): 60_000, at(time.Minute, time.RFC850): 60_000, at(time.Minute, time.ANSIC): 60_000,
		at(-time.Minute, http.TimeFormat): 0, at(0, http.TimeFormat): 0, at(100*time.Hour, http.TimeFormat): 3_600_000, at(time.Minute, time.RFC3339): 0,
	} {
		if got := retryAfter(text, int64(now)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Wed, 21 Oct 2015 07:28:00 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		if got := retryAfter(text, int64(now)); got < 0 || got > 3_600_000 {
			t.Errorf("%q: %d", text, got)
		}
	})
}

func FuzzErrorText(f *testing.F) {
	f.Add([]byte("x\x00\xff"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > task.MaxErrorText {
			body = body[:task.MaxErrorText]
		}
		got := errorText(500, body)
		if got == "" || len(got) > task.MaxErrorText || !utf8.ValidString(got) || strings.Contains(got, "\x00") {
			t.Errorf("%q: %q", body, got)
		}
	})
}

// TestConnectionsAreUsedAgain after every answer that was read to its end.
func TestConnectionsAreUsedAgain(t *testing.T) {
	size := 0
	conns := 0
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(map[bool]int{true: 500, false: 200}[r.URL.Path == "/error"])
		_, _ = w.Write(make([]byte, size))
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
	}))
	h.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns++ // under the server's accept loop: one after the other
		}
	}
	h.Start()
	defer h.Close()
	r := NewHTTP(options(t))
	for _, path := range []string{"/", "/chunked", "/error"} {
		for _, size = range []int{0, 1, 1000, task.MaxErrorText, task.MaxResult} {
			if path == "/error" && size > task.MaxErrorText {
				continue
			}
			if res := r.Run(t.Context(), job(`{"url":`+quote(h.URL+path)+`}`)); res.HTTPStatus == 0 {
				t.Fatalf("%+v", res)
			}
		}
	}
	if conns != 1 {
		t.Errorf("%d connections", conns)
	}
}

// TestTimeLimit: silent before the header, in the body of a result, in the body of an error.
func TestTimeLimit(t *testing.T) {
	limit := errors.New("time limit")
	for name, c := range map[string]struct {
		text, code string
		status     int16
	}{
		"silent":       {"", "interrupted", 0},
		"in a header":  {"HTTP/1.1 200 OK\r\nX: ", "interrupted", 0},
		"in a result":  {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", "interrupted", 200},
		"in a chunk":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nx", "interrupted", 200},
		"in an error":  {"HTTP/1.1 503 X\r\nContent-Length: 100\r\n\r\nwhy", "http_503", 503},
		"never dialed": {"-", "interrupted", 0},
	} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, limit)
		url := raw(t, true, c.text)
		if c.text == "-" {
			cancel()
		}
		res := NewHTTP(options(t)).Run(ctx, job(`{"url":`+quote(url)+`}`))
		cancel()
		if res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != c.code || res.HTTPStatus != c.status {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func TestSelfSignedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request was sent") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	if res := call(t, s.URL, ""); res.ErrCode != "certificate_refused" || res.Permanent || !strings.Contains(res.ErrMessage, "certificate") {
		t.Errorf("%+v", res)
	}
}
