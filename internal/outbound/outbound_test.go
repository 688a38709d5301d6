package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Read once per process, so before everything: see TestProxiesOfTheEnvironmentAreIgnored.
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		if err := os.Unsetenv(name); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func TestGuardKnowsEveryPrivateForm(t *testing.T) {
	for _, c := range []struct {
		addr, allow string
		ok          bool
	}{
		{"8.8.8.8", "", true}, {"2606:4700:4700::1111", "", true}, {"::ffff:8.8.8.8", "", true}, {"64:ff9b::808:808", "", true},
		{"172.15.255.255", "", true}, {"172.32.0.0", "", true}, {"100.63.255.255", "", true}, {"100.128.0.0", "", true},
		{"127.0.0.1", "", false}, {"127.9.9.9", "", false}, {"::1", "", false}, {"0.0.0.0", "", false}, {"0.1.2.3", "", false}, {"::", "", false},
		{"10.0.0.1", "", false}, {"172.16.0.1", "", false}, {"172.31.255.255", "", false}, {"192.168.1.1", "", false},
		{"169.254.169.254", "", false}, {"fe80::1", "", false}, {"fe80::1%eth0", "", false}, {"fc00::1", "", false}, {"fdff::1", "", false},
		{"fd00:ec2::254", "", false}, {"100.64.0.1", "", false}, {"100.127.255.255", "", false}, {"192.0.0.8", "", false},
		{"192.0.2.1", "", false}, {"198.18.0.1", "", false}, {"198.51.100.1", "", false}, {"203.0.113.1", "", false},
		{"224.0.0.1", "", false}, {"239.1.1.1", "", false}, {"240.0.0.1", "", false}, {"255.255.255.255", "", false},
		{"ff02::1", "", false}, {"2001:db8::1", "", false}, {"2001::1", "", false}, {"100::1", "", false}, {"fec0::1", "", false},
		{"::ffff:127.0.0.1", "", false}, {"::ffff:10.0.0.1", "", false}, {"::ffff:a9fe:a9fe", "", false},
		{"::127.0.0.1", "", false}, {"::10.0.0.1", "", false},
		{"64:ff9b::7f00:1", "", false}, {"64:ff9b::a9fe:a9fe", "", false}, {"64:ff9b:1::1", "", false},
		{"2002:7f00:1::", "", false}, {"2002:808:808::", "", false},
		{"127.0.0.1", "127.0.0.0/8", true}, {"::ffff:127.0.0.1", "127.0.0.0/8", true}, {"10.1.2.3", "10.1.0.0/16", true},
		{"10.2.2.3", "10.1.0.0/16", false}, {"::1", "::1/128", true}, {"::1", "127.0.0.0/8", false},
		{"64:ff9b::a01:203", "10.1.0.0/16", true}, {"fe80::1%eth0", "fe80::/10", true},
	} {
		var allow []netip.Prefix
		if c.allow != "" {
			allow = append(allow, netip.MustParsePrefix(c.allow))
		}
		err := check(netip.MustParseAddr(c.addr), allow)
		var refused *Refused
		if (err == nil) != c.ok || err != nil && !errors.As(err, &refused) {
			t.Errorf("%s with %q allowed: %v", c.addr, c.allow, err)
		}
	}
}

func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func get(t *testing.T, c *Client, method, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Do(req)
}

func TestGuardStandsBehindDNS(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	c := New(Options{})
	defer c.Close()
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "127.1"} {
		resp, err := get(t, c, "GET", "http://"+host+":"+port)
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	if _, err := get(t, c, "GET", "http://localhost:"+port); !errors.As(err, new(*Refused)) {
		t.Errorf("a name that resolves to loopback: %v", err)
	}
	if hits.Load() != 0 {
		t.Errorf("%d requests went through", hits.Load())
	}
	open := New(Options{Allow: loopback()})
	defer open.Close()
	resp, err := get(t, open, "GET", s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func TestRedirects(t *testing.T) {
	var other atomic.Int32
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { other.Add(1) }))
	defer foreign.Close()
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{"/same": "/end", "/loop": "/loop", "/cross": foreign.URL, "/post302": "/end", "/bad": "http://[", "/none": "",
			"/scheme": strings.Replace(s.URL, "http:", "https:", 1)}
		switch target, ok := to[r.URL.Path]; {
		case r.URL.Path == "/post302":
			http.Redirect(w, r, target, http.StatusFound)
		case ok:
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusTemporaryRedirect)
		default:
			_, _ = w.Write([]byte(r.Method))
		}
	}))
	defer s.Close()
	c := New(Options{Allow: loopback()})
	defer c.Close()
	for _, x := range []struct {
		method, path string
		status       int
	}{{"POST", "/same", 200}, {"GET", "/post302", 200}, {"POST", "/post302", 302}, {"POST", "/loop", 307}, {"POST", "/cross", 307},
		{"POST", "/bad", 307}, {"POST", "/none", 307}, {"POST", "/scheme", 307}} {
		resp, err := get(t, c, x.method, s.URL+x.path)
		if err != nil {
			t.Errorf("%s %s: %v", x.method, x.path, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != x.status {
			t.Errorf("%s %s: %d, want %d", x.method, x.path, resp.StatusCode, x.status)
		}
	}
	if other.Load() != 0 {
		t.Error("another host was called")
	}
}
