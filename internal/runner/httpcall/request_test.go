package httpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/outbound"
	"github.com/taskweir/taskweir/internal/task"
)

func TestBodiesAndTheirTypes(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct{ rest, body, contentType string }{
		{``, "", ""},
		{`,"body":null`, "null", "application/json"},
		{`,"body":false`, "false", "application/json"},
		{`,"body":12345678901234567890.10e+1`, "12345678901234567890.10e+1", "application/json"},
		{`,"body": [ 1 , "a \u0062\t<&>" , { "k" : [ ] } ] `, `[1,"a \u0062\t<&>",{"k":[]}]`, "application/json"},
		{`,"body":{"b":1,"a":2,"b":3}`, `{"b":1,"a":2,"b":3}`, "application/json"},
		{`,"body":""`, "", "text/plain; charset=utf-8"},
		{`,"body":"{\"a\" : 1}\n\u0000\ud83d\ude00"`, "{\"a\" : 1}\n\x00😀", "text/plain; charset=utf-8"},
		{`,"body":"a=b","headers":{"content-type":"application/x-www-form-urlencoded"}`, "a=b", "application/x-www-form-urlencoded"},
		{`,"body":{"a": 1},"headers":{"CONTENT-TYPE":"application/vnd.x+json"}`, `{"a":1}`, "application/vnd.x+json"},
		{`,"headers":{"Content-Type":"text/x"}`, "", "text/x"},
		{`,"body":"` + strings.Repeat("x", 200<<10) + `"`, strings.Repeat("x", 200<<10), "text/plain; charset=utf-8"},
	} {
		if res := call(t, s.URL, c.rest); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%.60s: %+v", c.rest, res)
			continue
		}
		h := s.got.Header
		if s.body != c.body || h.Get("Content-Type") != c.contentType || len(h["Content-Type"]) > 1 || s.got.ContentLength != int64(len(c.body)) {
			t.Errorf("%.60s: sent %.60q as %q, length %d", c.rest, s.body, h["Content-Type"], s.got.ContentLength)
		}
	}
}

func TestEveryMethod(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, method := range methods {
		for _, body := range []string{"", `,"body":{"a":1}`} {
			payload := `{"url":` + quote(s.URL) + `,"method":"` + method + `"` + body + `}`
			wrong := CheckHTTP([]byte(payload))
			if bare := method == "GET" || method == "HEAD"; bare && body != "" {
				if len(wrong) != 1 || wrong[0].Field != "body" {
					t.Errorf("%s with a body: %v", method, wrong)
				}
				continue
			}
			res := NewHTTP(options(t)).Run(t.Context(), job(payload))
			if len(wrong) > 0 || res.Outcome != task.OutcomeSucceeded || s.got.Method != method || (s.body == "") != (body == "") {
				t.Errorf("%s: %v %+v, server saw %s %q", method, wrong, res, s.got.Method, s.body)
			}
		}
	}
}

// TestOurHeadersAreOurs: submit refuses them by name; what comes to be run in another way is not sent.
func TestOurHeadersAreOurs(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the request was sent") })
	for _, name := range []string{"Taskweir-Task-Id", "taskweir-epoch", "TASKWEIR-ATTEMPT", "Taskweir-Anything", "Idempotency-Key", "idempotency-key",
		"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		p := `{"url":` + quote(s.URL) + `,"headers":{"` + name + `":"9"}}`
		if wrong := CheckHTTP([]byte(p)); len(wrong) != 1 || wrong[0].Field != "headers."+name || wrong[0].Rule != "not_allowed" {
			t.Errorf("%s: %v", name, wrong)
		}
		if res := NewHTTP(options(t)).Run(t.Context(), job(p)); !res.Permanent || res.ErrCode != "invalid_payload" {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func TestHeadersThatAreNotThePayloadsToSet(t *testing.T) {
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer",
		"Transfer-Encoding", "Upgrade", "HTTP2-Settings", "Host", "Content-Length", "Expect"} {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			wrong := CheckHTTP([]byte(`{"url":"http://x","headers":{"` + spelling + `":"1"}}`))
			if len(wrong) != 1 || wrong[0].Field != "headers."+spelling || wrong[0].Rule != "not_allowed" {
				t.Errorf("%s: %v", spelling, wrong)
			}
		}
	}
}

func TestNamesAndValuesCannotBreakOut(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for c := range 0x100 {
		text, _ := json.Marshal("a" + string(rune(c)) + "b")
		wrong := CheckHTTP([]byte(`{"url":"http://x","headers":{` + string(text) + `:"v"}}`))
		token := c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("!#$%&'*+.^_`|~", rune(c))
		if (len(wrong) == 0) != token {
			t.Errorf("name with %#x: %v", c, wrong)
		}
		value := `,"headers":{"X":` + string(text) + `}`
		wrong = CheckHTTP([]byte(`{"url":"http://x"` + value + `}`))
		if printable := c == '\t' || c >= ' ' && c != 0x7f; (len(wrong) == 0) != printable {
			t.Errorf("value with %#x: %v", c, wrong)
		} else if printable {
			if call(t, s.URL, value); s.got.Header.Get("X") != "a"+string(rune(c))+"b" {
				t.Errorf("value with %#x arrived as %q", c, s.got.Header.Get("X"))
			}
		}
	}
}

func TestSpellingsOfOneHeader(t *testing.T) {
	wrong := CheckHTTP([]byte(`{"url":"http://x","headers":{"x-a":"1","X-A":"2"}}`))
	if len(wrong) != 1 || wrong[0].Field != "headers.x-a" || wrong[0].Rule != "duplicate" {
		t.Errorf("%v", wrong)
	}
}

func TestURLs(t *testing.T) {
	for url, rule := range map[string]string{
		"http://x": "", "HTTPS://x": "", "http://x:1": "", "http://x:65535/": "", "http://x:/": "", "http://u:p@x/": "", "http://[::1]:80/": "", "http://[fe80::1%25eth0]/": "",
		"http://x/?a=b&c=%20#frag": "", "http://bücher.test/ü": "", "http://1": "",
		"http://x:0": "pattern", "http://x:65536": "pattern", "http://x:99999999999999999999": "pattern", "http://x:y": "pattern", "http:///path": "pattern", "http:x": "pattern",
		"http://": "pattern", "http://:80": "pattern", "http://a b": "pattern", "http://x/\r\nHost: y": "pattern", "http://x\u0000": "pattern", "http://%zz": "pattern", "http://[::1": "pattern",
		"//x": "one_of", "x": "one_of", "file:///etc/passwd": "one_of", "gopher://x": "one_of", "javascript:alert(1)": "one_of", " http://x": "pattern",
	} {
		got := ""
		if wrong := CheckHTTP([]byte(`{"url":` + quote(url) + `}`)); len(wrong) > 0 {
			got = wrong[0].Rule
			if wrong[0].Field != "url" || wrong[0].Message == "" {
				t.Errorf("%q: %+v", url, wrong[0])
			}
		}
		if got != rule {
			t.Errorf("%q: %q, want %q", url, got, rule)
		}
	}
}

func TestNameAndPasswordOfTheURL(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	host := strings.TrimPrefix(s.URL, "http://")
	for url, want := range map[string]string{
		"http://u:p@" + host: "u:p", "http://u@" + host: "u:", "http://u%40x:p%3A%2F@" + host: "u@x:p:/", "http://@" + host: ":",
	} {
		call(t, url, "")
		if u, p, ok := s.got.BasicAuth(); !ok || u+":"+p != want {
			t.Errorf("%s: %v %s:%s", url, ok, u, p)
		}
	}
	call(t, "http://u:p@"+host, `,"headers":{"authorization":"Bearer x"}`)
	if got := s.got.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer x" {
		t.Errorf("%v", got)
	}
	s.Close()
	if res := call(t, "http://user:pass-word@"+host+"/?token=sesame", ""); strings.Contains(res.ErrMessage, "pass-word") || strings.Contains(res.ErrMessage, "sesame") {
		t.Errorf("the message shows a secret: %s", res.ErrMessage)
	}
}

func TestIPv6Literal(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	var host string
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host = r.Host })}}
	s.Start()
	defer s.Close()
	c := outbound.New(outbound.Options{Allow: []netip.Prefix{netip.MustParsePrefix("::1/128")}})
	defer c.Close()
	r := NewHTTP(Options{Client: c, Clock: now})
	if res := r.Run(t.Context(), job(`{"url":`+quote(s.URL)+`}`)); res.Outcome != task.OutcomeSucceeded || host != l.Addr().String() {
		t.Errorf("%+v, host %q", res, host)
	}
	for _, host := range []string{"[::ffff:127.0.0.1]", "[::]", "[64:ff9b::7f00:1]", "127.0.0.1", "0.0.0.0", "169.254.169.254", "[fd00:ec2::254]"} {
		if res := r.Run(t.Context(), job(`{"url":"http://`+host+`:1/"}`)); res.ErrCode != "address_refused" || !res.Permanent || res.HTTPStatus != 0 {
			t.Errorf("%s: %+v", host, res)
		}
	}
}

// TestNameThatDoesNotResolve: .invalid never does (RFC 6761), and here nobody outside is asked.
func TestNameThatDoesNotResolve(t *testing.T) {
	before := net.DefaultResolver
	defer func() { net.DefaultResolver = before }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "udp", Err: fmt.Errorf("resolver at 192.0.2.53 is gone")}
	}}
	res := call(t, "http://shop.invalid/", "")
	if res.ErrCode != "name_not_resolved" || res.Permanent || !strings.Contains(res.ErrMessage, "shop.invalid") {
		t.Errorf("%+v", res)
	}
}
