package httpcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/outbound"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/signature"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixed int64

func (f fixed) Now() int64 { return int64(f) }

const now = fixed(1_700_000_000_000)

func options(t testing.TB) Options {
	c := outbound.New(outbound.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	t.Cleanup(c.Close)
	return Options{Client: c, Clock: now, UserAgent: "Taskweir/test", Gate: NewGate(GateOptions{Failures: 1 << 30, MinCalls: 1 << 30})}
}

func job(payload string) worker.Job {
	return worker.Job{TaskID: 17, AttemptID: 99, AppID: 3, Epoch: 2, Payload: []byte(payload)}
}

func call(t *testing.T, url, rest string) task.Result {
	t.Helper()
	return NewHTTP(options(t)).Run(t.Context(), job(`{"url":`+quote(url)+rest+`}`))
}

func quote(s string) string { b, _ := json.Marshal(s); return string(b) }

// server answers with what a test says and keeps the last request.
type server struct {
	*httptest.Server
	got  *http.Request
	body string
}

func serve(t testing.TB, h http.HandlerFunc) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.got, s.body = r, string(b)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRequestIsSentAsDescribed(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ok":true}`)) })
	res := call(t, s.URL+"/p?q=1", `,"headers":{"x-one":"1","user-agent":"mine"},"body":{"b":  1, "a":"x  y"}`)
	if res.Outcome != task.OutcomeSucceeded || res.HTTPStatus != 200 || string(res.Body) != `{"ok":true}` || res.Truncated {
		t.Fatalf("%+v", res)
	}
	h := s.got.Header
	for name, want := range map[string]string{"Taskweir-Task-Id": "17", "Taskweir-Epoch": "2", "Taskweir-Attempt": "99", "Idempotency-Key": "17",
		"X-One": "1", "User-Agent": "mine", "Content-Type": "application/json"} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if s.got.Method != "POST" || s.got.RequestURI != "/p?q=1" || s.body != `{"b":1,"a":"x  y"}` {
		t.Errorf("%s %s %s", s.got.Method, s.got.RequestURI, s.body)
	}
	call(t, s.URL, `,"method":"PUT","body":"plain \u00e9\ntext"`)
	if s.got.Method != "PUT" || s.body != "plain é\ntext" || s.got.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%s %q %v", s.got.Method, s.body, s.got.Header)
	}
	call(t, s.URL, `,"method":"GET"`)
	if s.body != "" || s.got.Header.Get("User-Agent") != "Taskweir/test" || s.got.Header.Get("Content-Type") != "" {
		t.Errorf("%q %v", s.body, s.got.Header)
	}
	call(t, strings.Replace(s.URL, "//", "//u:p@", 1), "")
	if u, p, ok := s.got.BasicAuth(); !ok || u != "u" || p != "p" {
		t.Error("credentials of the URL were not sent")
	}
}

func TestStatusRules(t *testing.T) {
	var status int
	retry := ""
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		if status != 204 {
			_, _ = w.Write([]byte(strings.Repeat("é", 3000)))
		}
	})
	for _, c := range []struct {
		status    int
		ok, perm  bool
		retry     string
		wantRetry int64
	}{
		{status: 200, ok: true}, {status: 201, ok: true}, {status: 204, ok: true}, {status: 304}, {status: 302},
		{status: 400, perm: true}, {status: 401, perm: true}, {status: 404, perm: true}, {status: 410, perm: true}, {status: 422, perm: true},
		{status: 408}, {status: 425}, {status: 429, retry: "7", wantRetry: 7_000}, {status: 500}, {status: 503, retry: "999999999999999999999", wantRetry: 3_600_000},
		{status: 502, retry: "4000", wantRetry: 3_600_000}, {status: 503, retry: "soon"}, {status: 503, retry: "-5"},
		{status: 503, retry: time.UnixMilli(int64(now) + 30_000).UTC().Format(http.TimeFormat), wantRetry: 30_000},
		{status: 503, retry: time.UnixMilli(int64(now) - 30_000).UTC().Format(http.TimeFormat)},
		{status: 404, perm: true, retry: "7"},
	} {
		status, retry = c.status, c.retry
		res := call(t, s.URL, "")
		if (res.Outcome == task.OutcomeSucceeded) != c.ok || res.Permanent != c.perm || res.RetryAfterMs != c.wantRetry || int(res.HTTPStatus) != c.status {
			t.Errorf("%+v: %v permanent %v after %d status %d", c, res.Outcome, res.Permanent, res.RetryAfterMs, res.HTTPStatus)
		}
		if !c.ok && (res.ErrCode != fmt.Sprintf("http_%d", c.status) || len(res.ErrMessage) > task.MaxErrorText) {
			t.Errorf("%d: code %s, %d bytes", c.status, res.ErrCode, len(res.ErrMessage))
		}
	}
}

func TestLargeAnswersAreCut(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Query().Get("size"))
		if r.URL.Path == "/plain" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		_, _ = w.Write(make([]byte, size))
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
	}))
	defer s.Close()
	for _, path := range []string{"/plain", "/chunked"} {
		for _, size := range []int{0, 1, task.MaxResult - 1, task.MaxResult, task.MaxResult + 1, 1 << 20} {
			res := call(t, fmt.Sprintf("%s%s?size=%d", s.URL, path, size), "")
			if res.Outcome != task.OutcomeSucceeded || len(res.Body) != min(size, task.MaxResult) || res.Truncated != (size > task.MaxResult) {
				t.Errorf("%d bytes, %s: %v %d bytes, cut %v (%s)", size, path, res.Outcome, len(res.Body), res.Truncated, res.ErrMessage)
			}
			if size == 0 && res.Body != nil {
				t.Error("an empty answer is no result")
			}
		}
	}
}

func TestBrokenAnswersAreRetried(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = buf.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
		_ = buf.Flush()
		_ = c.Close()
	})
	if res := call(t, s.URL, ""); res.Outcome != task.OutcomeFailed || res.Permanent || res.ErrCode != "connection_failed" {
		t.Errorf("%+v", res)
	}
	url := s.URL
	s.Close()
	if res := call(t, url, ""); res.ErrCode != "connection_failed" || res.Permanent {
		t.Errorf("%+v", res)
	}
}

func TestPrivateAddressIsRefusedForGood(t *testing.T) {
	c := outbound.New(outbound.Options{})
	defer c.Close()
	res := NewHTTP(Options{Client: c, Clock: now}).Run(t.Context(), job(`{"url":"http://127.0.0.1:1/"}`))
	if res.ErrCode != "address_refused" || !res.Permanent {
		t.Errorf("%+v", res)
	}
}

func TestEndOfTheContextEndsTheCall(t *testing.T) {
	in := make(chan struct{})
	out := make(chan struct{})
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { close(in); <-r.Context().Done(); close(out) })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-in; cancel() }()
	if res := NewHTTP(options(t)).Run(ctx, job(`{"url":`+quote(s.URL)+`}`)); res.ErrCode != "interrupted" || res.Permanent {
		t.Errorf("%+v", res)
	}
	<-out // the connection was closed, the server saw it
}

func TestCheckHTTP(t *testing.T) {
	long := strings.Repeat("x", maxHeader+1)
	many := map[string]string{}
	for i := range maxHeaders + 1 {
		many[fmt.Sprint("h", i)] = ""
	}
	headers, _ := json.Marshal(many)
	for payload, want := range map[string]string{
		`{"url":"http://x"}`: "", `{"url":"https://x:1/y?z#f","method":"DELETE","headers":{"A":"b"},"body":null}`: "",
		`{}`: "url required", `{"url":""}`: "url required", `{"url":"ftp://x"}`: "url one_of", `{"url":"http://"}`: "url pattern",
		`{"url":"http://[::1"}`: "url pattern", `{"url":"/x"}`: "url one_of", `{"url":1}`: "url type",
		`{"url":"http://x","method":"TRACE"}`: "method one_of", `{"url":"http://x","method":"CONNECT"}`: "method one_of", `{"url":"http://x","method":"post"}`: "method one_of",
		`{"url":"http://x","headers":{"Host":"y"}}`: "headers.Host not_allowed", `{"url":"http://x","headers":{"connection":"y"}}`: "headers.connection not_allowed",
		`{"url":"http://x","headers":{"transfer-ENCODING":"y"}}`: "headers.transfer-ENCODING not_allowed",
		`{"url":"http://x","headers":{"taskweir-epoch":"9"}}`:    "headers.taskweir-epoch not_allowed",
		`{"url":"http://x","headers":{"webhook-signature":"9"}}`: "headers.webhook-signature not_allowed",
		`{"url":"http://x","headers":{"a b":"y"}}`:               "headers.a b pattern", `{"url":"http://x","headers":{"a":"y\r\nz: 1"}}`: "headers.a pattern",
		`{"url":"http://x","headers":{"a":"` + long + `"}}`: "headers.a max_length", `{"url":"http://x","headers":` + string(headers) + `}`: "headers max_length",
		`{"url":"http://x","headers":{"a":1}}`: "headers.a type", `{"url":"http://x","nope":1}`: "nope unknown_field",
		`{"url":"http://x","method":"GET","body":"x"}`: "body conflict", `[]`: " type", `null`: " type", ``: " type", `{"url":"http://x"}{}`: " type",
		`{"url":"http://` + strings.Repeat("x", maxURL) + `"}`: "url max_length",
	} {
		got := ""
		if errs := CheckHTTP([]byte(payload)); len(errs) > 0 {
			got = errs[0].Field + " " + errs[0].Rule
			if errs[0].Message == "" {
				t.Errorf("%.60s: no message", payload)
			}
		}
		if got != want && !(want == "headers.a type" && got == "headers type") {
			t.Errorf("%.60s: %q, want %q", payload, got, want)
		}
	}
}

func TestInvalidPayloadIsPermanent(t *testing.T) {
	for _, p := range []string{`{}`, `null`, `{"url":"gopher://x"}`, `{"url":"http://x","headers":{"Host":"a"}}`} {
		if res := NewHTTP(options(t)).Run(t.Context(), job(p)); !res.Permanent || res.ErrCode != "invalid_payload" {
			t.Errorf("%s: %+v", p, res)
		}
	}
}

// apps is a store of one app.
type apps struct {
	app   task.App
	err   error
	reads atomic.Int32
}

func (a *apps) AppByID(context.Context, int32) (task.App, error) { a.reads.Add(1); return a.app, a.err }

type plainBox struct{ err error }

func (b plainBox) Open(s []byte) ([]byte, error) { return s, b.err }

const appSecret = "0123456789abcdef0123456789abcdef"

func TestCallbackIsSignedAndItsPayloadIsNotTouched(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {})
	store := &apps{app: task.App{ID: 3, Name: "shop", CallbackURL: s.URL + "/cb", Secret: []byte(appSecret)}}
	r := NewCallback(options(t), store, plainBox{})
	for range 3 {
		if res := r.Run(t.Context(), job(`{"a" : 1}`)); res.Outcome != task.OutcomeSucceeded {
			t.Fatalf("%+v", res)
		}
	}
	if s.body != `{"a" : 1}` || s.got.URL.Path != "/cb" || s.got.Header.Get("Webhook-Id") != "task_17" || s.got.Header.Get("Taskweir-Epoch") != "2" {
		t.Errorf("%s %v", s.body, s.got.Header)
	}
	secret, _ := signature.ParseSecret(appSecret)
	if err := signature.Verify(s.got.Header, []byte(s.body), time.UnixMilli(int64(now)), secret); err != nil {
		t.Error(err)
	}
	if store.reads.Load() != 1 {
		t.Errorf("the app was read %d times for 3 calls", store.reads.Load())
	}
}

func TestCallbackThatGoesNowhere(t *testing.T) {
	ok := task.App{ID: 3, Name: "shop", CallbackURL: "http://127.0.0.1:1", Secret: []byte(appSecret)}
	for name, c := range map[string]struct {
		change func(*task.App)
		err    error
		box    plainBox
		code   string
		snooze bool
	}{
		"no url":        {change: func(a *task.App) { a.CallbackURL = "" }, code: "no_callback_url"},
		"bad url":       {change: func(a *task.App) { a.CallbackURL = "ftp://x" }, code: "no_callback_url"},
		"sealed anew":   {box: plainBox{errors.New("other key")}, code: "no_signing_secret"},
		"short secret":  {change: func(a *task.App) { a.Secret = []byte("x") }, code: "no_signing_secret"},
		"app gone":      {err: task.Missing("app"), code: "app_not_found"},
		"database gone": {err: task.Gone("x", nil), code: "app_not_read", snooze: true},
	} {
		app := ok
		if c.change != nil {
			c.change(&app)
		}
		res := NewCallback(options(t), &apps{app: app, err: c.err}, c.box).Run(t.Context(), job(`1`))
		if res.ErrCode != c.code || res.Permanent == c.snooze || (res.Outcome == task.OutcomeSnoozed) != c.snooze || strings.Contains(res.ErrMessage, appSecret) {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func FuzzCheckHTTP(f *testing.F) {
	f.Add([]byte(`{"url":"http://x","method":"PUT","headers":{"a":"b"},"body":[1, 2]}`))
	f.Add([]byte(`{"url":"http://x","body":"\ud800"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if CheckHTTP(raw) != nil {
			return
		}
		var p spec // what is accepted at submit can be sent
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		u, bad := parseURL(p.URL)
		if wrong := p.check(); len(wrong) > 0 || u == nil {
			t.Fatalf("%v %v", wrong, bad)
		}
		if _, _, err := p.content(); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkCallback compares a task's call with a bare client's POST to the same server.
func BenchmarkCallback(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	b.Run("task", func(b *testing.B) {
		r := NewHTTP(options(b))
		j := job(`{"url":` + quote(s.URL) + `,"body":{"n":1}}`)
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				ctx, cancel := context.WithCancelCause(context.Background())
				if res := r.Run(ctx, j); res.Outcome != task.OutcomeSucceeded {
					b.Error(res.ErrMessage)
				}
				cancel(nil)
			}
		})
	})
	b.Run("bare", func(b *testing.B) {
		tr := &http.Transport{MaxIdleConnsPerHost: 512}
		defer tr.CloseIdleConnections()
		c := &http.Client{Transport: tr}
		b.SetParallelism(32)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				resp, err := c.Post(s.URL, "application/json", strings.NewReader(`{"n":1}`))
				if err != nil {
					b.Error(err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	})
}
