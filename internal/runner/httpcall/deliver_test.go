package httpcall

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/pkg/signature"
)

func TestAReceiverTakesATaskOver(t *testing.T) {
	var status int
	var within []string
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if within != nil {
			w.Header()[HeaderCompleteWithin] = within
		}
		w.WriteHeader(status)
	})
	for _, c := range []struct {
		status int
		within []string
		want   int64
	}{
		{202, nil, 0}, {202, []string{"1"}, 1_000}, {202, []string{"3600"}, 3_600_000}, {202, []string{"604801"}, 604_800_000}, {202, []string{"99999999999999999999"}, 604_800_000},
		{202, []string{"0"}, 0}, {202, []string{"-1"}, 0}, {202, []string{"1h"}, 0}, {202, []string{""}, 0}, {200, []string{"60"}, 0}, {204, []string{"60"}, 0},
	} {
		status, within = c.status, c.within
		res := call(t, s.URL, "")
		if res.Outcome != task.OutcomeSucceeded || res.AwaitMs != c.want {
			t.Errorf("%d %v: %+v", c.status, c.within, res)
		}
		store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret)}}
		if res := NewCallback(options(t), store, plainBox{}).Run(t.Context(), job(`1`)); res.AwaitMs != c.want {
			t.Errorf("callback %d %v: %+v", c.status, c.within, res)
		}
		if res := runForm(t, s.URL, form{}); res.AwaitMs != 0 {
			t.Errorf("a surface took %d for more than it is: %+v", c.status, res)
		}
	}
	status, within = 500, []string{"60"}
	if res := call(t, s.URL, ""); res.AwaitMs != 0 || res.Outcome != task.OutcomeFailed {
		t.Errorf("%+v", res)
	}
}

func delivery(t *testing.T, res task.Result) (d task.Delivery) {
	t.Helper()
	if res.Delivery == nil {
		t.Fatal("nothing was kept of the call")
	}
	if err := json.Unmarshal(res.Delivery, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func has(headers [][2]string, name, value string) bool {
	return slices.ContainsFunc(headers, func(h [2]string) bool { return strings.EqualFold(h[0], name) && (value == "" || h[1] == value) })
}

func TestWhatIsKeptOfACall(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Set-Cookie", "session=open-sesame")
		w.Header().Set("X-Reason", "because")
		w.Header().Set("Location", "https://u:open-sesame@login.test/in?token=open-sesame#open-sesame")
		w.Header().Set("X-Session-Id", "open-sesame")
		w.Header().Set("WWW-Authenticate", `Bearer realm="shop"`)
		w.WriteHeader(500)
		_, _ = w.Write([]byte(strings.Repeat("ü", 1000)))
	})
	u := strings.Replace(s.URL, "//", "//user:open-sesame@", 1) + "/path?key=open-sesame&b"
	res := NewHTTP(options(t)).Run(t.Context(), job(`{"url":`+quote(u)+`,"headers":{"Authorization":"Bearer open-sesame","X-Api-Key":"open-sesame","my_secret":"open-sesame","X-Access-Token":"open-sesame","X-Shop-Apikey":"open-sesame","x-auth":"open-sesame","X-Credential":"open-sesame","app_key":"seen","X-Plain":"seen"},"body":"`+strings.Repeat("x", 5000)+`"}`))
	d := delivery(t, res)
	if strings.Contains(string(res.Delivery), "sesame") {
		t.Errorf("a secret is shown: %s", res.Delivery)
	}
	if d.Method != "POST" || d.URL != s.URL+"/path?key=…&b=…" || d.Status != 500 || d.RequestBytes != 5000 || len(d.RequestBody) > 1030 || len(d.ResponseBody) > 1030 ||
		!utf8.ValidString(d.ResponseBody) || !has(d.RequestHeaders, "X-Plain", "seen") || !has(d.RequestHeaders, "Taskweir-Epoch", "2") || !has(d.ResponseHeaders, "X-Reason", "because") ||
		!has(d.RequestHeaders, "Idempotency-Key", "17") || !has(d.RequestHeaders, "app_key", "seen") || !has(d.ResponseHeaders, "Location", "https://login.test/in?token=…") ||
		!has(d.ResponseHeaders, "Www-Authenticate", `Bearer realm="shop"`) {
		t.Errorf("%s", res.Delivery)
	}
	s.Close()
	if d := delivery(t, NewHTTP(options(t)).Run(t.Context(), job(`{"url":`+quote(s.URL)+`}`))); d.Status != 0 || d.Error == "" {
		t.Errorf("%+v", d)
	}
}

// TestAReceiverCannotHideWhatItAnswered behind headers that are long as JSON.
func TestAReceiverCannotHideWhatItAnswered(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 40 {
			w.Header().Set(fmt.Sprintf("X-%02d", i), strings.Repeat("<", 1000))
		}
		w.WriteHeader(500)
		_, _ = w.Write([]byte(strings.Repeat("\x01", 5000)))
	})
	res := NewHTTP(options(t)).Run(t.Context(), job(`{"url":`+quote(s.URL)+`,"body":"`+strings.Repeat("<", 5000)+`"}`))
	if d := delivery(t, res); len(res.Delivery) > task.MaxDelivery || d.Status != 500 || len(d.ResponseBody) < 1000 || len(d.ResponseHeaders) == 0 {
		t.Errorf("%d bytes: %+v", len(res.Delivery), d)
	}
}

// TestASecretIsNeverShown, not even where a dialect puts it into a header.
func TestASecretIsNeverShown(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", "x "+appSecret)
		w.WriteHeader(500)
	})
	res := runForm(t, s.URL, form{build: nil})
	if strings.Contains(string(res.Delivery), appSecret) {
		t.Errorf("%s", res.Delivery)
	}
}

// TestAFirstSuccessIsKeptOnRequest only, and a later one always: it has a row anyway.
func TestAFirstSuccessIsKeptOnRequest(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct{ keep, later bool }{{}, {keep: true}, {later: true}, {true, true}} {
		j := job(`1`)
		if j.Epoch = 1; c.later {
			j.Epoch = 2
		}
		store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret), KeepDeliveries: c.keep}}
		res := NewCallback(options(t), store, plainBox{}).Run(t.Context(), j)
		if res.Outcome != task.OutcomeSucceeded || (res.Delivery != nil) != (c.keep || c.later) || res.Keep != c.keep {
			t.Errorf("%+v: %+v", c, res)
		}
	}
}

// TestBothSecretsSignWhileBothAreValid, to the millisecond of the end of the old one.
func TestBothSecretsSignWhileBothAreValid(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	older := strings.Repeat("o", 32)
	for left, both := range map[int64]bool{1: true, 60_000: true, 0: false, -1: false} {
		store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret), OldSecret: []byte(older), OldSecretUntil: int64(now) + left}}
		if res := NewCallback(options(t), store, plainBox{}).Run(t.Context(), job(`1`)); res.Outcome != task.OutcomeSucceeded {
			t.Fatalf("%+v", res)
		}
		for secret, want := range map[string]bool{appSecret: true, older: both} {
			err := signature.Verify(s.got.Header, []byte(s.body), time.UnixMilli(int64(now)), signature.Secret(secret))
			if (err == nil) != want {
				t.Errorf("%d ms left, secret %.4s…: %v", left, secret, err)
			}
		}
	}
}

// moving is a clock that a test moves.
type moving struct{ ms int64 }

func (m *moving) Now() int64 { return m.ms }

func TestAnOldSecretEndsWhileItIsRemembered(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		d := &doer{}
		clock := &moving{int64(now)}
		store := &apps{app: task.App{ID: 3, CallbackURL: "http://x.test", Secret: []byte(appSecret), OldSecret: []byte(strings.Repeat("o", 32)), OldSecretUntil: int64(now) + 100}}
		r := NewCallback(Options{Client: d, Clock: clock}, store, plainBox{})
		for ms, n := range []int{100: 1, 99: 2} {
			if n == 0 {
				continue
			}
			clock.ms = int64(now) + int64(ms)
			r.Run(t.Context(), job(`1`))
			if got := strings.Count(d.last(), "v1,"); got != n {
				t.Errorf("after %d ms: %d signatures", ms, got)
			}
		}
	})
}

func TestCompletionDeliveries(t *testing.T) {
	status := 202
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(HeaderCompleteWithin, "60")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("thanks"))
	})
	store := &apps{app: task.App{ID: 3, Name: "shop", Secret: []byte(appSecret)}} // it has no callback URL
	r := NewCompletion(options(t), store, plainBox{})
	if r.Kind() != "completion" || len(CheckCompletion(nil)) != 1 {
		t.Error(r.Kind())
	}
	event := `{"type":"task.succeeded", "data":{"id":"7","result":{"a": "<&>"}}}`
	j := job(`{"url":` + quote(s.URL+"/done") + `,"event":` + event + `}`)
	if res := r.Run(t.Context(), j); res.Outcome != task.OutcomeSucceeded || res.AwaitMs != 0 || res.Body != nil {
		t.Errorf("%+v", res)
	}
	if s.body != event || s.got.URL.Path != "/done" || s.got.Header.Get("Webhook-Id") != "task_17" {
		t.Errorf("%s %v", s.body, s.got.Header)
	}
	if err := signature.Verify(s.got.Header, []byte(event), time.UnixMilli(int64(now)), signature.Secret(appSecret)); err != nil {
		t.Error(err)
	}
	for st, permanent := range map[int]bool{500: false, 410: true, 429: false, 404: true} {
		status = st
		if res := r.Run(t.Context(), j); res.Outcome != task.OutcomeFailed || res.Permanent != permanent {
			t.Errorf("%d: %+v", st, res)
		}
	}
	for _, bad := range []string{`null`, `{}`, `{"url":"ftp://x","event":{}}`, `{"event":{}}`} {
		if res := r.Run(t.Context(), job(bad)); !res.Permanent || res.ErrCode != "invalid_payload" {
			t.Errorf("%s: %+v", bad, res)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add("http://u:p@x/?a=b", "X-A", "v\x00\xff", []byte("body"))
	f.Fuzz(func(t *testing.T, target, name, value string, body []byte) {
		u, wrong := parseURL(target)
		if wrong != nil {
			return
		}
		r := &request{method: "POST", url: u, header: http.Header{name: {value}}, body: body, secret: "0123456789"}
		out := describe(r, &Answer{Status: 500, Body: body}, time.Second)
		if len(out) > task.MaxDelivery || !json.Valid(out) {
			t.Errorf("%d bytes: %.100s", len(out), out)
		}
	})
}
