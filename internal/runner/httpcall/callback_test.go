package httpcall

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/outbound"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

// TestCallbackByTheSpecificationAlone computes the signature as Standard Webhooks 1.0 say, without our own package, on the bytes
// that arrived, with a secret that was really sealed.
func TestCallbackByTheSpecificationAlone(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("SUCCESS")) })
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	for secretText, key := range map[string]string{
		appSecret:                                appSecret,
		"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX": "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17",
	} {
		sealed, err := box.Seal([]byte(secretText))
		if err != nil {
			t.Fatal(err)
		}
		store := &apps{app: task.App{ID: 3, Name: "shop", CallbackURL: s.URL + "/cb?x=1", Secret: sealed}}
		r := NewCallback(options(t), store, box)
		for _, payload := range []string{`{"b" : 1,  "a":[ ],"a":"\u0061"}`, `null`, `"text"`, `1.0`, `"` + strings.Repeat("ü", 100_000) + `"`} {
			res := r.Run(t.Context(), job(payload))
			if res.Outcome != task.OutcomeSucceeded || string(res.Body) != "SUCCESS" {
				t.Fatalf("%+v", res)
			}
			h := s.got.Header
			if s.body != payload {
				t.Errorf("%.40s arrived as %.40s", payload, s.body)
			}
			m := hmac.New(sha256.New, []byte(key))
			_, _ = io.WriteString(m, h.Get("webhook-id")+"."+h.Get("webhook-timestamp")+"."+s.body)
			if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); h.Get("webhook-signature") != want {
				t.Errorf("signed %s, want %s", h.Get("webhook-signature"), want)
			}
			for name, want := range map[string]string{
				"Webhook-Id": "task_17", "Webhook-Timestamp": "1700000000", "Content-Type": "application/json", "User-Agent": "Taskweir/test",
				"Taskweir-Task-Id": "17", "Taskweir-Epoch": "2", "Taskweir-Attempt": "99", "Idempotency-Key": "17", "Authorization": "",
			} {
				if h.Get(name) != want || len(h[name]) > 1 {
					t.Errorf("%s: %q, want %q", name, h[name], want)
				}
			}
			if s.got.Method != "POST" || s.got.RequestURI != "/cb?x=1" || len(s.got.TransferEncoding) > 0 {
				t.Errorf("%s %s %v", s.got.Method, s.got.RequestURI, s.got.TransferEncoding)
			}
		}
	}
}

func TestCallbackURLWithNameAndPassword(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	store := &apps{app: task.App{ID: 3, CallbackURL: strings.Replace(s.URL, "//", "//u:p@", 1), Secret: []byte(appSecret)}}
	r := NewCallback(options(t), store, plainBox{})
	for range 2 { // read, and remembered
		if res := r.Run(t.Context(), job(`1`)); res.Outcome != task.OutcomeSucceeded {
			t.Fatalf("%+v", res)
		}
		if u, p, ok := s.got.BasicAuth(); !ok || u != "u" || p != "p" {
			t.Errorf("%v %s %s", ok, u, p)
		}
	}
}

func TestCallbackToAPrivateAddress(t *testing.T) {
	c := outbound.New(outbound.Options{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	defer c.Close()
	store := &apps{app: task.App{ID: 3, CallbackURL: "http://127.0.0.1:1", Secret: []byte(appSecret)}}
	if res := NewCallback(Options{Client: c, Clock: now}, store, plainBox{}).Run(t.Context(), job(`1`)); res.ErrCode != "address_refused" || !res.Permanent {
		t.Errorf("%+v", res)
	}
}

// doer answers everything and keeps what was sent where.
type doer struct {
	mu  sync.Mutex
	got []string
}

func (d *doer) Do(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got = append(d.got, r.URL.String()+" "+r.Header.Get("Webhook-Signature"))
	return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
}

func (d *doer) last() string { return d.got[len(d.got)-1] }

// TestAChangedAppIsSeenWithinFiveSeconds: URL, secret, and that there is none.
func TestAChangedAppIsSeenWithinFiveSeconds(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		d := &doer{}
		store := &apps{app: task.App{ID: 3, CallbackURL: "http://one.test", Secret: []byte(appSecret)}}
		r := NewCallback(Options{Client: d, Clock: now}, store, plainBox{})
		call := func() task.Result { return r.Run(t.Context(), job(`1`)) }
		call()
		first := d.last()

		store.app.CallbackURL, store.app.Secret = "http://two.test", []byte(strings.Repeat("n", 32))
		time.Sleep(5*time.Second - 1)
		if call(); d.last() != first {
			t.Errorf("sent %s: the app is read for each call", d.last())
		}
		time.Sleep(time.Nanosecond)
		call()
		_, before, _ := strings.Cut(first, " ")
		if url, sign, _ := strings.Cut(d.last(), " "); url != "http://two.test" || sign == before {
			t.Errorf("sent %s five seconds after the change", d.last())
		}

		store.app.CallbackURL = ""
		time.Sleep(5 * time.Second)
		if res := call(); res.ErrCode != "no_callback_url" || !res.Permanent || len(d.got) != 3 {
			t.Errorf("%+v after %d calls", res, len(d.got))
		}
		store.app.CallbackURL = "http://three.test"
		time.Sleep(5 * time.Second)
		if res := call(); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("a refusal is remembered for ever: %+v", res)
		}
	})
}

// TestDatabaseGone: what is known is used while it is fresh; then attempts wait without being counted, and go on afterwards.
func TestDatabaseGone(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		d := &doer{}
		store := &apps{app: task.App{ID: 3, CallbackURL: "http://one.test", Secret: []byte(appSecret)}}
		r := NewCallback(Options{Client: d, Clock: now}, store, plainBox{})
		call := func() task.Result { return r.Run(t.Context(), job(`1`)) }
		call()
		store.err = task.Gone("database_gone", io.ErrUnexpectedEOF)
		if res := call(); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
		time.Sleep(5 * time.Second)
		if res := call(); res.Outcome != task.OutcomeSnoozed || res.Permanent || res.RetryAfterMs <= 0 || len(d.got) != 2 {
			t.Errorf("%+v after %d calls", res, len(d.got))
		}
		store.err = context.DeadlineExceeded
		if res := call(); res.Outcome != task.OutcomeSnoozed {
			t.Errorf("%+v", res)
		}
		store.err = nil
		if res := call(); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
	})
}

// TestManyAppsAtOnce for the race detector, and that what is remembered is bounded.
func TestManyAppsAtOnce(t *testing.T) {
	d := &doer{}
	store := &apps{app: task.App{CallbackURL: "http://one.test", Secret: []byte(appSecret)}}
	r := NewCallback(Options{Client: d, Clock: now}, store, plainBox{})
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			j := job(`1`)
			for i := range 3_000 {
				j.AppID = int32(part*2_500 + i)
				if res := r.Run(t.Context(), j); res.Outcome != task.OutcomeSucceeded {
					t.Errorf("%+v", res)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(r.known); n == 0 || n > 10_000 {
		t.Errorf("%d apps are remembered", n)
	}
}
