package outbound

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// TestARequestIsSentOnce: a server answers the first request of a connection, takes the second one and hangs up. The
// transport would repeat that one by itself, because it carries an Idempotency-Key.
func TestARequestIsSentOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var taken atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for n := 1; ; n++ {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					taken.Add(1)
					if n == 2 {
						return
					}
					if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
						return
					}
				}
			}()
		}
	}()
	for _, c := range []struct{ method, body string }{{"POST", "{}"}, {"POST", ""}, {"GET", ""}, {"PUT", "x"}} {
		t.Run(c.method+c.body, func(t *testing.T) {
			client := New(Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
			defer client.Close()
			taken.Store(0)
			call := func() (*http.Response, error) {
				req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+l.Addr().String(), strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Idempotency-Key", "1")
				return client.Do(req)
			}
			res, err := call()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if err := res.Body.Close(); err != nil {
				t.Fatal(err)
			}
			if res, err := call(); err == nil {
				t.Errorf("the broken call was answered %s", res.Status)
				_ = res.Body.Close()
			}
			if n := taken.Load(); n != 2 {
				t.Errorf("%d requests arrived, want 2: one answered, one not", n)
			}
		})
	}
}
