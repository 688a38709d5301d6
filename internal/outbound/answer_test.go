package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// heard is a connection on which bytes have come, and nothing more will.
type heard struct {
	net.Conn
	bytes.Reader
}

func (h *heard) Read(p []byte) (int, error) { return h.Reader.Read(p) }

// linkOf is a link on which an answer has come.
func linkOf(answer string) *link {
	h := &heard{}
	h.Reset([]byte(answer))
	l := &link{Conn: h, left: -1}
	l.in = bufio.NewReaderSize(l, 4<<10)
	return l
}

func TestUsualAnswersAreReadByHand(t *testing.T) {
	for name, answer := range map[string]string{
		"of net/http": "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 01:02:03 GMT\r\nContent-Length: 10\r\n\r\n" +
			`{"id":"1"}`,
		"of nginx":               "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
		"without a body":         "HTTP/1.1 202 Accepted\r\ncontent-length:0\r\n\r\n",
		"a failure":              "HTTP/1.1 503 Service Unavailable\r\nRetry-After: \t 7 \t\r\nContent-Length: 2\r\n\r\nno",
		"without a reason":       "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n",
		"of a strange reason":    "HTTP/1.1 299 \xfc \t \r\nContent-Length: 0\r\n\r\n",
		"with an empty value":    "HTTP/1.1 200 OK\r\nX-Empty:\r\nContent-Length: 1\r\n\r\nx",
		"with more behind it":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
		"that fills the buffer":  "HTTP/1.1 200 OK\r\nContent-Length: 4055\r\n\r\n" + strings.Repeat("x", 4055),
		"a status that is no ok": "HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n",
	} {
		if !sameAsNetHTTP(t, http.MethodPost, answer) {
			t.Errorf("an answer %s was not read by hand: %q", name, answer)
		}
	}
}

func TestOtherAnswersAreLeftToNetHTTP(t *testing.T) {
	const length = "Content-Length: 2\r\n"
	for _, answer := range []string{
		"HTTP/1.0 200 OK\r\n" + length + "\r\nok",
		"HTTP/1.1  200 OK\r\n" + length + "\r\nok",
		"HTTP/1.1 20 OK\r\n" + length + "\r\nok",
		"HTTP/1.1 +20 OK\r\n" + length + "\r\nok",
		"HTTP/1.1 2000 OK\r\n" + length + "\r\nok",
		"HTTP/1.1 200\tOK\r\n" + length + "\r\nok",
		"HTTP/1.1 200 O\x00K\r\n" + length + "\r\nok",
		"HTTP/1.1 103 Early Hints\r\n" + length + "\r\nok",
		"HTTP/1.1 099 What\r\n" + length + "\r\nok",
		"HTTP/1.1 204 No Content\r\n" + length + "\r\nok",
		"HTTP/1.1 304 Not Modified\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\n\r\nok",
		"HTTP/1.1 200 OK\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX: y\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX: y\rz\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775809\r\n\r\nok",
		"HTTP/1.1 200 OK\r\n" + length + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + length + "\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTrailer: X\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nPragma: no-cache\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX : y\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\n: y\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\nX: \x01\r\n" + length + "\r\nok",
		"HTTP/1.1 200 OK\r\n" + length + "\r\no",
		"HTTP/1.1 200 OK\r\n" + length,
		"HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1_000) + length + "\r\nok",
		"\r\n\r\n",
	} {
		if sameAsNetHTTP(t, http.MethodPost, answer) {
			t.Errorf("an answer was read by hand: %q", answer)
		}
	}
	if sameAsNetHTTP(t, http.MethodHead, "HTTP/1.1 200 OK\r\n"+length+"\r\n") {
		t.Error("an answer of HEAD was read by hand")
	}
}

// TestUsualAnswersAreThereAsAWhole: of what has come in part nothing is taken.
func TestUsualAnswersAreThereAsAWhole(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody"
	for n := 1; n <= len(answer); n++ {
		if byHand := sameAsNetHTTP(t, http.MethodPost, answer[:n]); byHand != (n == len(answer)) {
			t.Errorf("%q was read by hand: %v", answer[:n], byHand)
		}
		l := linkOf(answer)
		l.left = int64(n) // of a header, whose last bytes may be those of the body
		if resp, err := l.usual(&http.Request{Method: http.MethodPost}); (resp != nil) != (n == len(answer)) || err != nil {
			t.Errorf("within %d bytes %v, %v", n, resp, err)
		}
	}
}

func TestAConnectionThatEndsHasNoUsualAnswer(t *testing.T) {
	if _, err := linkOf("").usual(&http.Request{Method: http.MethodPost}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want that the connection ended too early", err)
	}
}

// sameAsNetHTTP reports whether an answer is read by hand, and checks that it is what net/http reads: the same answer, and as many bytes.
func sameAsNetHTTP(t *testing.T, method, answer string) bool {
	t.Helper()
	req := &http.Request{Method: method}
	l, other := linkOf(answer), bufio.NewReader(strings.NewReader(answer))
	got, err := l.usual(req)
	if err != nil && answer != "" {
		t.Fatalf("%q: %v", answer, err)
	}
	if got == nil {
		if rest, _ := io.ReadAll(l.in); string(rest) != answer {
			t.Errorf("of %q only %q is left for net/http", answer, rest)
		}
		return false
	}
	want, err := http.ReadResponse(other, req)
	if err != nil {
		t.Fatalf("net/http refuses what was read by hand: %q: %v", answer, err)
	}
	gotBody, gotErr := io.ReadAll(got.Body)
	wantBody, wantErr := io.ReadAll(want.Body)
	if !bytes.Equal(gotBody, wantBody) || gotErr != nil || wantErr != nil {
		t.Errorf("the body of %q is %q (%v), net/http says %q (%v)", answer, gotBody, gotErr, wantBody, wantErr)
	}
	got.Body, want.Body = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q is\n%+v, net/http says\n%+v", answer, got, want)
	}
	gotRest, _ := io.ReadAll(l.in)
	wantRest, _ := io.ReadAll(other)
	if !bytes.Equal(gotRest, wantRest) {
		t.Errorf("behind %q is %q, net/http says %q", answer, gotRest, wantRest)
	}
	return true
}

// FuzzUsualAnswer: what is read by hand is what net/http reads, and nothing is taken of what is not.
func FuzzUsualAnswer(f *testing.F) {
	f.Add("POST", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: x\r\nContent-Length: 2\r\n\r\nok")
	f.Add("GET", "HTTP/1.1 503 \r\nretry-after: 7\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\nHTTP/1.1 200 OK\r\n")
	f.Add("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
	f.Add("PUT", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n")
	f.Add("PATCH", "HTTP/1.1 299 a b \r\nX:\t\r\nPragma: no-cache\r\ncontent-length: 007\r\nConnection: close\r\n\r\n1234567")
	f.Fuzz(func(t *testing.T, method, answer string) { sameAsNetHTTP(t, method, answer) })
}

func TestWholeBodies(t *testing.T) {
	w := NewWhole([]byte("body"))
	if b, err := io.ReadAll(w); string(b) != "body" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if string(w.Bytes()) != "body" || w.Close() != nil {
		t.Errorf("after it was read it has %q", w.Bytes())
	}
	req := plainRequest("POST", "http://a.test/", "")
	req.Body, req.GetBody, req.ContentLength = w, func() (io.ReadCloser, error) { return NewWhole([]byte("body")), nil }, 4
	if b, ok := appendRequest(nil, req); !ok || !bytes.HasSuffix(b, []byte("\r\n\r\nbody")) {
		t.Errorf("written as %q, %v", b, ok)
	}
	for _, wrong := range []int64{3, 5} {
		req.ContentLength = wrong
		if b, ok := appendRequest(nil, req); ok {
			t.Errorf("a body of 4 bytes that is said to have %d is written as %q", wrong, b)
		}
	}
	other := known(req)
	again, err := other.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []io.Reader{other.Body, again} {
		if want := reflect.TypeOf(io.NopCloser(bytes.NewReader(nil))); reflect.TypeOf(body) != want {
			t.Errorf("net/http's transport is given a body of type %T, it knows %v", body, want)
		}
		if b, err := io.ReadAll(body); string(b) != "body" || err != nil {
			t.Errorf("it is %q, %v", b, err)
		}
	}
	if _, ok := req.Body.(*Whole); !ok {
		t.Error("the caller's request was changed")
	}
}
