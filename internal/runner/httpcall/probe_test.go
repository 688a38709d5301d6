package httpcall

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/signature"
)

// styled is a dialect whose signature covers one of two spellings, as legacy surfaces have it.
func styled(to Target, job worker.Job, _ time.Time) (Call, error) {
	style := to.App.Legacy.HeaderStyle
	h := http.Header{"signed": {style + " " + to.Secret}}
	return Call{Header: h, Body: job.Payload}, nil
}

func probe(t *testing.T, p *Probe, payload string) (rep task.ProbeReport) {
	t.Helper()
	res := p.Run(t.Context(), job(payload))
	if res.Outcome != task.OutcomeSucceeded || strings.Contains(string(res.Body), appSecret) {
		t.Fatalf("%+v %s", res, res.Body)
	}
	if err := json.Unmarshal(res.Body, &rep); err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestAProbeTellsTheSpellingThatTheReceiverExpects, whichever the app is set up for.
func TestAProbeTellsTheSpellingThatTheReceiverExpects(t *testing.T) {
	for _, c := range []struct {
		name, configured, expects, says string
		anything, ok                    bool
	}{
		{"as set up", "", task.HeaderHyphen, "takes what is signed well", false, true},
		{"as set up, underscores", task.HeaderUnderscore, task.HeaderUnderscore, "takes what is signed well", false, true},
		{"the other one", "", task.HeaderUnderscore, "set callbackHeaderStyle to underscore", false, false},
		{"the other one, back", task.HeaderUnderscore, task.HeaderHyphen, "set callbackHeaderStyle to hyphen", false, false},
		{"neither", "", "nothing", "must be exactly success", false, false},
		{"anything", "", "", "does not verify signatures", true, true},
	} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			answer := "no"
			if got := r.Header.Get("Signed"); c.anything || got == c.expects+" "+appSecret {
				answer = "success"
			}
			_, _ = io.WriteString(w, answer)
		})
		store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret), Legacy: task.Legacy{HeaderStyle: c.configured}}}
		p := NewProbe(NewCallbackKind(options(t), store, plainBox{}, form{build: styled}))
		rep := probe(t, p, `{"kind":"form"}`)
		if rep.OK != c.ok || !strings.Contains(strings.Join(rep.Findings, "\n"), c.says) || len(rep.Tries) != 3 || !rep.Tries[2].Forged {
			t.Errorf("%s: %+v", c.name, rep)
		}
	}
}

func TestAProbeSendsWhatACallbackWould(t *testing.T) {
	var good, bad int
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != `{"try": 1}` || r.Header.Get(HeaderProbe) != "1" || r.Header.Get("Webhook-Id") != "probe_17" || r.Header.Get("Taskweir-Epoch") != "2" {
			t.Errorf("%s %v", body, r.Header)
		}
		w.Header().Set("Date", time.UnixMilli(int64(now)).Add(-10*time.Minute).UTC().Format(http.TimeFormat))
		if signature.Verify(r.Header, body, time.UnixMilli(int64(now)), signature.Secret(appSecret)) == nil {
			good++
			return
		}
		bad++
		w.WriteHeader(401)
	})
	store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret)}}
	p := NewProbe(NewCallback(options(t), store, plainBox{}))
	rep := probe(t, p, `{"kind":"callback","body":"{\"try\": 1}"}`)
	if !rep.OK || good != 1 || bad != 1 || !strings.Contains(strings.Join(rep.Findings, "\n"), "clock is -10m0s") {
		t.Errorf("%+v, %d good, %d bad", rep, good, bad)
	}
	for name, c := range map[string]struct{ url, says string }{"none": {"", "has no callback URL"}, "private": {"http://10.0.0.1", "guard refused"}} {
		store.app.CallbackURL = c.url
		if rep := probe(t, NewProbe(NewCallback(options(t), store, plainBox{})), `{"kind":"callback"}`); rep.OK || !strings.Contains(strings.Join(rep.Findings, " "), c.says) {
			t.Errorf("%s: %+v", name, rep)
		}
	}
	if res := p.Run(t.Context(), job(`{"kind":"other"}`)); !res.Permanent {
		t.Errorf("%+v", res)
	}
	for payload, field := range map[string]string{`{}`: "kind", `{"kind":"callback","body":"{"}`: "body", `{"kind":"callback","x":1}`: "x"} {
		if wrong := CheckProbe([]byte(payload)); len(wrong) != 1 || wrong[0].Field != field {
			t.Errorf("%s: %v", payload, wrong)
		}
	}
}

// TestAProbeClaimsNoMoreThanItSaw: a receiver that breaks down at a wrong signature has not refused it.
func TestAProbeClaimsNoMoreThanItSaw(t *testing.T) {
	for status, claims := range map[int]bool{0: false, 401: true, 403: true, 400: true, 429: false, 500: false, 503: false} {
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case signature.Verify(r.Header, body, time.UnixMilli(int64(now)), signature.Secret(appSecret)) == nil:
			case status == 0:
				panic(http.ErrAbortHandler)
			default:
				w.WriteHeader(status)
			}
		})
		store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret)}}
		rep := probe(t, NewProbe(NewCallback(options(t), store, plainBox{})), `{"kind":"callback"}`)
		if says := strings.Contains(strings.Join(rep.Findings, " "), "verifies signatures and takes"); !rep.OK || says != claims {
			t.Errorf("%d: %v", status, rep.Findings)
		}
	}
}

// TestProbesTakePartInTheNumberOfCallsAtOnce, but a breaker does not hold them back: an app that submits them by the thousand must not
// take all slots.
func TestProbesTakePartInTheNumberOfCallsAtOnce(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		g := NewGate(GateOptions{Concurrency: 10})
		store := &apps{app: task.App{ID: 3, CallbackURL: "http://shop.test", Secret: []byte(appSecret)}}
		r := NewCallback(Options{Client: f, Clock: now, Gate: g}, store, plainBox{})
		p := NewProbe(r)
		for range 10 {
			r.Run(t.Context(), job(`1`))
		}
		if res := p.Run(t.Context(), job(`{"kind":"callback"}`)); res.Outcome != task.OutcomeSucceeded || f.count() != 12 {
			t.Errorf("%+v, %d calls", res, f.count())
		}
		time.Sleep(time.Minute)
		f.answer = func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, 5 * time.Second }
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { p.Run(t.Context(), job(`{"kind":"callback"}`)) })
		}
		wg.Wait()
		if f.most != 10 {
			t.Errorf("%d calls at once", f.most)
		}
	})
}

func FuzzCheckProbe(f *testing.F) {
	f.Add([]byte(`{"kind":"callback","body":"{}"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if CheckProbe(raw) != nil {
			return
		}
		var p probeSpec
		if err := json.Unmarshal(raw, &p); err != nil || p.Kind == "" {
			t.Errorf("%q was accepted: %v", raw, err)
		}
	})
}

// BenchmarkKinds compares the kinds: a callback is to be at least 0.9 times as fast as a plain http task.
func BenchmarkKinds(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret)}}
	for _, k := range []struct {
		runner  worker.Runner
		payload string
	}{{NewHTTP(options(b)), `{"url":` + quote(s.URL) + `,"body":{"n":1}}`}, {NewCallback(options(b), store, plainBox{}), `{"n":1}`}} {
		b.Run(k.runner.Kind(), func(b *testing.B) {
			j := job(k.payload)
			j.Epoch = 1
			b.SetParallelism(16)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if res := k.runner.Run(b.Context(), j); res.Outcome != task.OutcomeSucceeded {
						b.Error(res.ErrCode, res.ErrMessage)
					}
				}
			})
		})
	}
}
