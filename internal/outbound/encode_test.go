package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// plainRequest is a request as callers make it, which may go the plain way.
func plainRequest(method, target, body string) *http.Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	req := &http.Request{Method: method, URL: u, Header: http.Header{"User-Agent": {"test"}}, ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
	if body != "" {
		setBody(req, body)
	}
	return req
}

func setBody(req *http.Request, body string) {
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(strings.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
}

func TestAppendRequestWritesWhatIsPlain(t *testing.T) {
	for _, c := range []struct{ method, target, body, want string }{
		{"", "http://a.test", "", "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\n\r\n"},
		{"GET", "http://u:p@a.test:8080/b%20c?d=e#f", "", "GET /b%20c?d=e HTTP/1.1\r\nHost: a.test:8080\r\nUser-Agent: test\r\n\r\n"},
		{"HEAD", "http://[::1]:1/", "", "HEAD / HTTP/1.1\r\nHost: [::1]:1\r\nUser-Agent: test\r\n\r\n"},
		{"DELETE", "http://a.test/?", "", "DELETE /? HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\n\r\n"},
		{"OPTIONS", "http://a.test/", "", "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\n\r\n"},
		{"POST", "http://a.test/", "", "POST / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nContent-Length: 0\r\n\r\n"},
		{"PUT", "http://a.test/", "", "PUT / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nContent-Length: 0\r\n\r\n"},
		{"PATCH", "http://a.test/", "", "PATCH / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nContent-Length: 0\r\n\r\n"},
		{"PATCH", "http://a.test/", "xy", "PATCH / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nContent-Length: 2\r\n\r\nxy"},
		{"GET", "http://a.test/", "x", "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nContent-Length: 1\r\n\r\nx"},
	} {
		got, ok := appendRequest([]byte("before "), plainRequest(c.method, c.target, c.body))
		if !ok || string(got) != "before "+c.want {
			t.Errorf("%s %s: %v\n%q\n%q", c.method, c.target, ok, got, c.want)
		}
	}
	req := plainRequest("GET", "http://a.test/", "")
	req.Host = "b.test"
	req.Header["b"], req.Header["A"] = []string{" one\t", "two"}, []string{"t\u00e4t\xff"}
	want := "GET / HTTP/1.1\r\nHost: b.test\r\nA: t\u00e4t\xff\r\nUser-Agent: test\r\nb: one\r\nb: two\r\n\r\n"
	if got, ok := appendRequest(nil, req); !ok || string(got) != want {
		t.Errorf("%v %q", ok, got)
	}
}

// unplain are changes to a plain request after which it is none.
var unplain = map[string]func(*http.Request){
	"no URL":                        func(r *http.Request) { r.URL = nil },
	"TLS":                           func(r *http.Request) { r.URL.Scheme = "https" },
	"no scheme":                     func(r *http.Request) { r.URL.Scheme = "" },
	"a scheme in capitals":          func(r *http.Request) { r.URL.Scheme = "HTTP" },
	"an opaque URL":                 func(r *http.Request) { r.URL.Opaque = "//a.test/ HTTP/1.1\r\nInjected: 1" },
	"no host":                       func(r *http.Request) { r.URL.Host = "" },
	"a host to be translated":       func(r *http.Request) { r.URL.Host = "\u00e4.test" },
	"a host with a line":            func(r *http.Request) { r.URL.Host = "a.test\r\nInjected: 1" },
	"a host with a space":           func(r *http.Request) { r.URL.Host = "a.test 1" },
	"a host with a path":            func(r *http.Request) { r.URL.Host = "a.test/x" },
	"a host with credentials":       func(r *http.Request) { r.URL.Host = "u@a.test" },
	"a host with a zone":            func(r *http.Request) { r.URL.Host = "[fe80::1%25eth0]" },
	"another host with a line":      func(r *http.Request) { r.Host = "a.test\r\nInjected: 1" },
	"another host with a line feed": func(r *http.Request) { r.Host = "a.test\nInjected: 1" },
	"a line behind another host":    func(r *http.Request) { r.Host, r.URL.Host = "b.test", "a.test\r\nInjected: 1" },
	"a path that is none":           func(r *http.Request) { r.URL.Path = "x" },
	"all of a server":               func(r *http.Request) { r.URL.Path = "*" },
	"a query with a space":          func(r *http.Request) { r.URL.RawQuery = "a b" },
	"a query with a line":           func(r *http.Request) { r.URL.RawQuery = " HTTP/1.1\r\nInjected: 1" },
	"a query with NUL":              func(r *http.Request) { r.URL.RawQuery = "\x00" },
	"a query beyond ASCII":          func(r *http.Request) { r.URL.RawQuery = "\u00e4" },
	"a long path":                   func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("x", maxPlain) },
	"a method in small letters":     func(r *http.Request) { r.Method = "get" },
	"another method":                func(r *http.Request) { r.Method = "PROPFIND" },
	"CONNECT":                       func(r *http.Request) { r.Method = "CONNECT" },
	"TRACE":                         func(r *http.Request) { r.Method = "TRACE" },
	"a method with a line":          func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nInjected: 1" },
	"a last request":                func(r *http.Request) { r.Close = true },
	"an encoding":                   func(r *http.Request) { r.TransferEncoding = []string{"chunked"} },
	"a trailer":                     func(r *http.Request) { r.Trailer = http.Header{"X": nil} },
	"no header at all":              func(r *http.Request) { r.Header = nil },
	"no agent":                      func(r *http.Request) { delete(r.Header, "User-Agent") },
	"an agent in small letters":     func(r *http.Request) { r.Header = http.Header{"user-agent": {"test"}} },
	"an empty agent":                func(r *http.Request) { r.Header["User-Agent"] = []string{""} },
	"two agents":                    func(r *http.Request) { r.Header["User-Agent"] = []string{"a", "b"} },
	"a nameless header":             func(r *http.Request) { r.Header[""] = []string{"x"} },
	"a name with a line":            func(r *http.Request) { r.Header["X\r\nInjected"] = []string{"1"} },
	"a name with a colon":           func(r *http.Request) { r.Header["Injected: 1"] = []string{"1"} },
	"a name with a space":           func(r *http.Request) { r.Header["Injected "] = []string{"1"} },
	"a name beyond ASCII":           func(r *http.Request) { r.Header["\u00e4"] = []string{"1"} },
	"a value with a line":           func(r *http.Request) { r.Header["X"] = []string{"x\r\nInjected: 1"} },
	"a value with a line feed":      func(r *http.Request) { r.Header["X"] = []string{"x\nInjected: 1"} },
	"a value with NUL":              func(r *http.Request) { r.Header["X"] = []string{"\x00"} },
	"a value with DEL":              func(r *http.Request) { r.Header["X"] = []string{"\x7f"} },
	"a second value with a line":    func(r *http.Request) { r.Header["X"] = []string{"x", "\r\nInjected: 1"} },
	"a long value":                  func(r *http.Request) { r.Header["X"] = []string{strings.Repeat("x", maxPlain)} },
	"a long body":                   func(r *http.Request) { setBody(r, strings.Repeat("x", maxPlain)) },
	"a body of unknown length":      func(r *http.Request) { setBody(r, "x"); r.ContentLength = -1 },
	"a body without a length":       func(r *http.Request) { setBody(r, "x"); r.ContentLength = 0 },
	"a length without a body":       func(r *http.Request) { setBody(r, "x"); r.Body = nil },
	"a length of no body":           func(r *http.Request) { setBody(r, "x"); r.Body = http.NoBody },
	"a body that comes once":        func(r *http.Request) { setBody(r, "x"); r.GetBody = nil },
	"a body that is shorter":        func(r *http.Request) { setBody(r, "x"); r.ContentLength = 2 },
	"a body that is longer":         func(r *http.Request) { setBody(r, "xyz"); r.ContentLength = 2 },
	"a body that does not come": func(r *http.Request) {
		setBody(r, "x")
		r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("no") }
	},
}

func init() {
	for _, name := range []string{
		"Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Expect", "Upgrade", "Te", "Keep-Alive", "Proxy-Connection",
	} {
		unplain["the header "+name] = func(r *http.Request) { r.Header[name] = []string{"x"} }
		unplain["the header "+strings.ToLower(name)] = func(r *http.Request) { r.Header[strings.ToLower(name)] = []string{"x"} }
	}
}

func TestAppendRequestLeavesTheRest(t *testing.T) {
	for name, change := range unplain {
		req := plainRequest("POST", "http://a.test/", "")
		if _, ok := appendRequest(nil, req); !ok {
			t.Fatal("the request is not plain before the change")
		}
		change(req)
		if b, ok := appendRequest(nil, req); ok {
			t.Errorf("%s: %q", name, b)
		} else if cap(b) > 4*maxPlain {
			t.Errorf("%s: a buffer of %d bytes is left", name, cap(b))
		}
	}
}

// TestAppendRequestUpToItsLimit: a request of maxPlain bytes is plain, one of a byte more is not, wherever the byte is.
func TestAppendRequestUpToItsLimit(t *testing.T) {
	for part, long := range map[string]func(*http.Request, string){
		"body":   setBody,
		"target": func(r *http.Request, s string) { r.URL.Path = "/" + s },
		"value":  func(r *http.Request, s string) { r.Header["X"] = []string{s} },
		"name":   func(r *http.Request, s string) { r.Header["X"+s] = []string{""} },
	} {
		most := 0
		for n := maxPlain; n > 0 && most == 0; n-- {
			req := plainRequest("POST", "http://a.test/", "")
			long(req, strings.Repeat("x", n))
			if b, ok := appendRequest(nil, req); ok {
				most = len(b)
			}
		}
		if most != maxPlain {
			t.Errorf("the longest request by its %s has %d bytes", part, most)
		}
	}
}

func TestLongHeadersAreGivenUpEarly(t *testing.T) {
	req := plainRequest("GET", "http://a.test/", "")
	req.Header["A"] = slices.Repeat([]string{strings.Repeat("x", 1000)}, 1000)
	if b, ok := appendRequest(nil, req); ok || cap(b) > 4*maxPlain {
		t.Errorf("%v, a buffer of %d bytes is left", ok, cap(b))
	}
}

// parsed reads what should be one request and nothing behind it.
func parsed(t *testing.T, b []byte) (*http.Request, string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(b))
	req, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Fatalf("%q: %q comes behind the request, %v", b, rest, err)
	}
	return req, string(body)
}

// FuzzAppendRequest: what goes the plain way is what net/http would write, whatever the parts are made of, and its header
// has the lines that the request has.
func FuzzAppendRequest(f *testing.F) {
	f.Add("GET", "a.test", "", "/", "", "X", "y", "test", "")
	f.Add("POST", "a.test:80", "b.test", "/a b/\u00e4", "q=%20&r", "Content-Type", " text/plain\t", "test/1", "body")
	f.Add("", "[::1]:8080", "", "", "", "x-lower", "\xff", "t", "x")
	f.Add("PUT", "a.test", "a.test\r\nInjected: 1", "//b.test", "a=b HTTP/1.1\r\n", "Transfer-Encoding", "chunked", "", "GET / HTTP/1.1\r\n\r\n")
	f.Add("PATCH", "a.test:", "", "*", "?", "Injected:", "a\r\nb: c", "x\ny", "\r\n")
	f.Fuzz(func(t *testing.T, method, host, name, path, query, header, value, agent, body string) {
		build := func() *http.Request {
			req := &http.Request{
				Method: method, URL: &url.URL{Scheme: "http", Host: host, Path: path, RawQuery: query}, Host: name,
				Header: http.Header{"User-Agent": {agent}}, Body: http.NoBody,
			}
			req.Header[header] = append(req.Header[header], value)
			if body != "" {
				setBody(req, body)
			}
			return req
		}
		b, ok := appendRequest(nil, build())
		if !ok {
			return
		}
		if len(b) > maxPlain {
			t.Fatalf("%d bytes", len(b))
		}
		var other bytes.Buffer
		if err := build().Write(&other); err != nil {
			t.Fatalf("net/http refuses what was written as %q: %v", b, err)
		}
		got, gotBody := parsed(t, b)
		want, wantBody := parsed(t, other.Bytes())
		if got.Method != want.Method || got.RequestURI != want.RequestURI || got.Host != want.Host || got.Proto != want.Proto ||
			got.ContentLength != want.ContentLength || got.Close != want.Close || !slices.Equal(got.TransferEncoding, want.TransferEncoding) ||
			gotBody != wantBody || gotBody != body || !reflect.DeepEqual(got.Header, want.Header) {
			t.Errorf("\n%q\n%q", b, other.Bytes())
		}
		names := map[string]bool{"User-Agent": true, http.CanonicalHeaderKey(header): true, "Content-Length": true}
		if names["Pragma"] {
			names["Cache-Control"] = true // which whoever parses adds
		}
		for k := range maps.Keys(got.Header) {
			if !names[k] {
				t.Errorf("%q has a header %q", b, k)
			}
		}
	})
}
