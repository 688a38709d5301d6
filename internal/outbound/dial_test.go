package outbound

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func addrs(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

// everywhere is a server on one port of three loopback addresses; it answers the address that it was reached at.
func everywhere(t *testing.T) (port string, hits *atomic.Int32) {
	t.Helper()
	hits = &atomic.Int32{}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		at, _, _ := net.SplitHostPort(r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		_, _ = io.WriteString(w, at)
	})
	for _, l := range samePort(t) {
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}}
		s.Start()
		t.Cleanup(s.Close)
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	return port, hits
}

// samePort listens on one free port of 127.0.0.1, 127.0.0.2 and 127.0.0.3.
func samePort(t *testing.T) []net.Listener {
	t.Helper()
	var last error
	for range 20 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(first.Addr().String())
		out := []net.Listener{first}
		for _, host := range []string{"127.0.0.2", "127.0.0.3"} {
			l, err := net.Listen("tcp", net.JoinHostPort(host, port))
			if err != nil {
				last = err
				break
			}
			out = append(out, l)
		}
		if len(out) == 3 {
			return out
		}
		for _, l := range out {
			_ = l.Close()
		}
	}
	t.Skipf("this system has one loopback address only, or no free port on three: %v", last)
	return nil
}

func only(t *testing.T, prefixes ...string) *Client {
	t.Helper()
	c := New(Options{Allow: netPrefixes(prefixes...)})
	t.Cleanup(c.Close)
	return c
}

func netPrefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func text(t *testing.T, c *Client, url string) (string, error) {
	t.Helper()
	resp, err := get(t, c, "GET", url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), nil
}

// TestANameThatChangesItsAddressGainsNothing: the first answer of the name server is allowed, the second is not.
func TestANameThatChangesItsAddressGainsNothing(t *testing.T) {
	names := serveNames(t, map[string][][]netip.Addr{"rebind.test": {addrs("127.0.0.2"), addrs("127.0.0.1")}})
	port, hits := everywhere(t)
	c := only(t, "127.0.0.2/32")
	if at, err := text(t, c, "http://rebind.test:"+port); err != nil || at != "127.0.0.2" {
		t.Fatalf("%q, %v", at, err)
	}
	c.Close()
	var refused *Refused
	if at, err := text(t, c, "http://rebind.test:"+port); !errors.As(err, &refused) || refused.Addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("reached %q, %v", at, err)
	}
	if hits.Load() != 1 || names.times("rebind.test") != 2 {
		t.Errorf("%d requests, %d queries", hits.Load(), names.times("rebind.test"))
	}
}

// TestEveryAddressOfANameIsLookedAt: one of two is refused, the other one is used.
func TestEveryAddressOfANameIsLookedAt(t *testing.T) {
	serveNames(t, map[string][][]netip.Addr{"two.test": {addrs("127.0.0.1", "127.0.0.3")}, "none.test": {addrs("127.0.0.1", "10.0.0.1", "169.254.169.254")}})
	port, _ := everywhere(t)
	c := only(t, "127.0.0.3/32")
	if at, err := text(t, c, "http://two.test:"+port); err != nil || at != "127.0.0.3" {
		t.Errorf("%q, %v", at, err)
	}
	if _, err := text(t, c, "http://none.test:"+port); !errors.As(err, new(*Refused)) {
		t.Errorf("%v", err)
	}
}

func TestAnUnknownNameIsAnErrorOfTheResolver(t *testing.T) {
	serveNames(t, nil)
	var dns *net.DNSError
	if _, err := text(t, only(t), "http://nobody.test/"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("%v", err)
	}
}

// TestMain sets proxies that nobody serves: a client that minds them reaches nothing. Names are needed for this, as proxies
// are never used for loopback addresses.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	serveNames(t, map[string][][]netip.Addr{"shop.test": {addrs("127.0.0.1")}})
	port, _ := everywhere(t)
	if u, err := http.ProxyFromEnvironment(httptest.NewRequest("GET", "http://shop.test", nil)); u == nil {
		t.Fatalf("the environment names no proxy: %v", err)
	}
	if at, err := text(t, only(t, "127.0.0.0/8"), "http://shop.test:"+port); err != nil || at != "127.0.0.1" {
		t.Errorf("%q, %v", at, err)
	}
}

func TestAllowedNetworks(t *testing.T) {
	port, _ := everywhere(t)
	for _, c := range []struct {
		allow string
		ok    bool
	}{{"127.0.0.1/32", true}, {"127.0.0.0/8", true}, {"::ffff:127.0.0.0/104", true}, {"0.0.0.0/0", true}, {"127.0.0.2/32", false}, {"::1/128", false}, {"::/0", false}} {
		for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]"} {
			if at, err := text(t, only(t, c.allow), "http://"+host+":"+port); (err == nil) != c.ok {
				t.Errorf("%s with %s allowed: %q, %v", host, c.allow, at, err)
			}
		}
	}
}

func TestIPv6Loopback(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	defer s.Close()
	if _, err := text(t, only(t, "127.0.0.0/8"), s.URL); !errors.As(err, new(*Refused)) {
		t.Errorf("%v", err)
	}
	if _, err := text(t, only(t, "::1/128"), s.URL); err != nil {
		t.Error(err)
	}
}

func TestCertificates(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	serveNames(t, map[string][][]netip.Addr{"other.test": {addrs("127.0.0.1")}, "example.com": {addrs("127.0.0.1")}})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for name, c := range map[string]struct {
		url  string
		cas  *x509.CertPool
		want any
	}{
		"nobody vouches":  {s.URL, nil, new(*tls.CertificateVerificationError)},
		"of another host": {"https://other.test:" + port, pool, new(*tls.CertificateVerificationError)},
		"good":            {"https://example.com:" + port, pool, nil},
	} {
		client := New(Options{Allow: loopback(), RootCAs: c.cas})
		_, err := text(t, client, c.url)
		client.Close()
		if c.want == nil && err != nil || c.want != nil && !errors.As(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	old := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	client := New(Options{Allow: loopback(), RootCAs: pool})
	defer client.Close()
	if _, err := text(t, client, old.URL); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestHeadersOfAnswersAreBounded(t *testing.T) {
	var size int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", size)) }))
	defer s.Close()
	c := New(Options{Allow: loopback(), MaxHeader: 8 << 10})
	defer c.Close()
	for size = range map[int]bool{7 << 10: true, 16 << 10: true, 4 << 20: true} {
		if _, err := text(t, c, s.URL); (err == nil) != (size < 8<<10) {
			t.Errorf("a header of %d bytes: %v", size, err)
		}
	}
}

// TestRedirectsAreCounted: a chain of five is followed, of the sixth the 3xx is the answer. The body is sent each time.
func TestRedirectsAreCounted(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if b, err := io.ReadAll(r.Body); err != nil || string(b) != "body" || r.Method != "POST" || r.Header.Get("Idempotency-Key") != "7" {
			t.Errorf("%s %q %v", r.Method, b, r.Header)
		}
		var left int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &left); err != nil {
			t.Error(err)
		}
		if left > 0 {
			http.Redirect(w, r, fmt.Sprintf("../%d?x", left-1), http.StatusPermanentRedirect)
		}
	}))
	defer s.Close()
	c := New(Options{Allow: loopback()})
	defer c.Close()
	for hops, status := range map[int]int{0: 200, 1: 200, 5: 200, 6: 308, 100: 308} {
		hits.Store(0)
		req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("%s/%d", s.URL, hops), strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "7")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != status || int(hits.Load()) != min(hops, 5)+1 {
			t.Errorf("%d redirects: %d after %d requests", hops, resp.StatusCode, hits.Load())
		}
	}
}

// TestRedirectsElsewhereAreTheAnswer: no other host, port, scheme or credentials, and no guard is asked about them either.
func TestRedirectsElsewhereAreTheAnswer(t *testing.T) {
	serveNames(t, map[string][][]netip.Addr{"a.test": {addrs("127.0.0.1")}, "b.test": {addrs("127.0.0.1")}})
	port, hits := everywhere(t)
	var to string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	_, own, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := only(t, "127.0.0.0/8")
	for _, to = range []string{
		"http://a.test:" + port, "http://b.test:" + own, "http://127.0.0.1:" + own, "//b.test:" + own, "https://a.test:" + own, "http://u:p@a.test:" + own,
		"http://a.test", "file:///etc/passwd", "gopher://a.test:" + own, "http:relative", "http://169.254.169.254/", "http://[", "",
	} {
		resp, err := get(t, c, "POST", "http://a.test:"+own)
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusTemporaryRedirect {
			t.Errorf("%s was followed: %d", to, resp.StatusCode)
		}
	}
	if hits.Load() != 0 {
		t.Error("another port was called")
	}
}

// TestEmptyBodiesHaveALength: some servers refuse a POST that says nothing about its length.
func TestEmptyBodiesHaveALength(t *testing.T) {
	var got *http.Request
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer s.Close()
	c := New(Options{Allow: loopback()})
	defer c.Close()
	for method, length := range map[string]string{"POST": "0", "PUT": "0", "PATCH": "0", "GET": "", "HEAD": "", "OPTIONS": ""} {
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "7")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got.Header.Get("Content-Length") != length || len(got.TransferEncoding) > 0 || got.Header.Get("Idempotency-Key") != "7" {
			t.Errorf("%s: length %q, encoding %q, key %q", method, got.Header.Get("Content-Length"), got.TransferEncoding, got.Header.Get("Idempotency-Key"))
		}
	}
}
