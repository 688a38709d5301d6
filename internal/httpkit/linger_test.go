package httpkit

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A client that goes on sending what is too large is answered when it has sent it; if it were reset before, it would see an error
// of the network and not why it was refused. One that asks first is answered at once.
func TestTooLargeIsAnsweredToWhoeverIsStillSending(t *testing.T) {
	e := New(Options{})
	e.Handle(Route{Method: http.MethodPost, Path: "/", Handle: func(_ context.Context, r *Request) (Response, error) {
		r.LimitBody(1 << 10)
		_, err := r.Body()
		return Response{}, err
	}})
	server := httptest.NewServer(e)
	defer server.Close()
	dial := func(headers string) (net.Conn, *bufio.Reader) {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	answered := func(what string, in *bufio.Reader) {
		t.Helper()
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: status %d", what, res.StatusCode)
		}
	}
	const parts, part = 12, 512 << 10
	for _, chunked := range []bool{false, true} {
		headers := fmt.Sprintf("Content-Length: %d\r\n", parts*part)
		if chunked {
			headers = "Transfer-Encoding: chunked\r\n"
		}
		conn, in := dial(headers)
		piece := strings.Repeat("x", part)
		if chunked {
			piece = fmt.Sprintf("%x\r\n%s\r\n", part, piece)
		}
		for range parts { // slower than a server waits that has answered already
			if _, err := io.WriteString(conn, piece); err != nil {
				t.Fatalf("chunked %v: %v", chunked, err)
			}
			time.Sleep(80 * time.Millisecond)
		}
		if chunked {
			if _, err := io.WriteString(conn, "0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
		}
		answered(fmt.Sprintf("chunked %v", chunked), in)
	}
	_, in := dial(fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n", parts*part))
	answered("asking first", in)
}
