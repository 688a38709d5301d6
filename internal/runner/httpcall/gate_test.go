package httpcall

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

// far is a Doer without sockets: what a test says answers, in a time of the bubble.
type far struct {
	mu     sync.Mutex
	answer func(*http.Request) (int, http.Header, time.Duration)
	calls  int
	most   int
	now    int
}

func (f *far) Do(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	status, header, d := f.answer(r)
	f.calls++
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.now--; f.mu.Unlock() }()
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody}, nil
}

func always(status int) func(*http.Request) (int, http.Header, time.Duration) {
	return func(*http.Request) (int, http.Header, time.Duration) { return status, nil, 0 }
}

func (f *far) count() int { f.mu.Lock(); defer f.mu.Unlock(); return f.calls }

func gated(f *far, o GateOptions) (*HTTP, *Gate) {
	g := NewGate(o)
	return NewHTTP(Options{Client: f, Clock: now, Gate: g}), g
}

func get(r worker.Runner, url string) task.Result {
	return r.Run(context.Background(), job(`{"url":`+quote(url)+`}`))
}

// metric reads the gauge of a state.
func metric(t *testing.T, m *metrics.Set, state string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	_, rest, ok := strings.Cut(w.Body.String(), `taskweir_breaker_state{state="`+state+`"} `)
	if !ok {
		t.Fatalf("no metric for %s", state)
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func TestTenFailuresInARowOpenABreaker(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		m := metrics.New("test")
		r, _ := gated(f, GateOptions{Metrics: m})
		for range 10 {
			if res := get(r, "http://dead.test/x"); res.ErrCode != "http_500" || res.Outcome != task.OutcomeFailed {
				t.Fatalf("%+v", res)
			}
			time.Sleep(time.Minute) // slowly: the row has no time limit
		}
		if metric(t, m, "open") != "1" { // its 5 s are over, but nobody has asked
			t.Errorf("open: %s", metric(t, m, "open"))
		}
		pause := 5 * time.Second
		for range 9 { // each probe fails: 5 s, 10 s, … 5 min, 5 min
			if res := get(r, "http://dead.test/y"); res.ErrCode != "http_500" {
				t.Fatalf("no probe after the pause: %+v", res)
			}
			pause = min(2*pause, 5*time.Minute)
			calls := f.count()
			time.Sleep(pause - time.Millisecond)
			res := get(r, "http://dead.test/z")
			if res.Outcome != task.OutcomeSnoozed || res.ErrCode != "endpoint_resting" || res.RetryAfterMs < 1 || f.count() != calls {
				t.Fatalf("within %v: %+v", pause, res)
			}
			if metric(t, m, "open") != "1" || metric(t, m, "half_open") != "0" {
				t.Errorf("open %s, half open %s", metric(t, m, "open"), metric(t, m, "half_open"))
			}
			for _, other := range []string{"https://dead.test", "http://dead.test:81", "http://alive.test"} {
				if res := get(r, other); res.ErrCode != "http_500" {
					t.Fatalf("%s is held back: %+v", other, res)
				}
			}
			if res := r.Run(t.Context(), worker.Job{AppID: 4, Payload: []byte(`{"url":"http://DEAD.test:80"}`)}); res.ErrCode != "http_500" {
				t.Fatalf("another app is held back: %+v", res)
			}
			time.Sleep(time.Millisecond)
			if len(r.caller.Gate.known) != 5 {
				t.Fatalf("%d endpoints", len(r.caller.Gate.known))
			}
			for key, e := range r.caller.Gate.known {
				if key.host != "dead.test" || key.port != "80" || key.app != 3 {
					e.breaker = breaker{} // those live for this test
				}
			}
		}
		f.answer = always(200)
		if res := get(r, "http://dead.test"); res.Outcome != task.OutcomeSucceeded || metric(t, m, "open") != "0" || metric(t, m, "half_open") != "0" {
			t.Errorf("%+v, open %s", res, metric(t, m, "open"))
		}
		f.answer = always(503)
		for range 9 {
			get(r, "http://dead.test")
		}
		if res := get(r, "http://dead.test"); res.ErrCode != "http_503" {
			t.Errorf("the tenth is still tried: %+v", res)
		}
		if res := get(r, "http://dead.test"); res.RetryAfterMs > 5_100 || res.ErrCode != "endpoint_resting" {
			t.Errorf("the first pause is short again: %+v", res)
		}
	})
}

func TestHalfOfTwentyCallsOpenABreaker(t *testing.T) {
	for _, c := range []struct {
		name       string
		every      time.Duration
		pattern    string // f fails, o is well; repeated
		tripsAfter int    // 0: never within 200 calls
	}{
		{"every second", time.Second, "of", 20},
		{"two of three fail", time.Second, "off", 20},
		{"one of three", time.Second, "oof", 0},
		{"too slow for twenty in the window", 2 * time.Second, "of", 0},
		{"quick", 10 * time.Millisecond, "ofof", 20},
		{"well for long, then nine of ten", time.Second, strings.Repeat("o", 100) + strings.Repeat("offfffffff", 10), 117},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.Bubble(t, func(t *testing.T) {
				f := &far{}
				r, _ := gated(f, GateOptions{})
				for i := range 200 {
					f.answer = always(200)
					if c.pattern[i%len(c.pattern)] == 'f' {
						f.answer = always(502)
					}
					if res := get(r, "http://half.test"); res.Outcome == task.OutcomeSnoozed {
						if i != c.tripsAfter {
							t.Errorf("opened after %d calls, want %d", i, c.tripsAfter)
						}
						return
					}
					time.Sleep(c.every)
				}
				if c.tripsAfter != 0 {
					t.Error("never opened")
				}
			})
		})
	}
}

// TestWhatSaysNothingOfTheEndpoint: refused addresses, cancels, other 4xx.
func TestWhatSaysNothingOfTheEndpoint(t *testing.T) {
	end := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	timeout, cancelled := end(worker.ErrTimeout), end(worker.ErrCancelled)
	for name, c := range map[string]struct {
		ctx   context.Context
		a     Answer
		want  verdict
		quiet int64
	}{
		"refused":              {cancelled, Answer{Code: codeRefused}, nothing, 0},
		"timed out":            {timeout, Answer{Code: codeInterrupted}, failing, 0},
		"cancelled":            {cancelled, Answer{Code: codeInterrupted}, nothing, 0},
		"drained":              {end(worker.ErrDrained), Answer{Code: codeInterrupted, Status: 200}, nothing, 0},
		"no connection":        {t.Context(), Answer{Code: "connection_failed"}, failing, 0},
		"no name":              {t.Context(), Answer{Code: "name_not_resolved"}, failing, 0},
		"certificate":          {t.Context(), Answer{Code: "certificate_refused"}, failing, 0},
		"ok":                   {t.Context(), Answer{Status: 204}, alive, 0},
		"redirect":             {t.Context(), Answer{Status: 302}, alive, 0},
		"4xx":                  {t.Context(), Answer{Status: 404}, alive, 0},
		"gone":                 {t.Context(), Answer{Status: 410}, alive, 0},
		"408":                  {t.Context(), Answer{Status: 408}, alive, 0},
		"429":                  {t.Context(), Answer{Status: 429}, failing, 0},
		"429 with a pause":     {t.Context(), Answer{Status: 429, RetryAfterMs: 7}, nothing, 7},
		"503 with a pause":     {t.Context(), Answer{Status: 503, RetryAfterMs: 7}, nothing, 7},
		"500 with a pause":     {t.Context(), Answer{Status: 500, RetryAfterMs: 7}, failing, 0},
		"broke off in a reply": {t.Context(), Answer{Status: 200, Code: "connection_failed"}, failing, 0},
	} {
		if v, quiet := sentence(c.ctx, &c.a); v != c.want || quiet != c.quiet {
			t.Errorf("%s: %d, %d", name, v, quiet)
		}
	}
}

func TestRetryAfterPostponesTheEndpoint(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: func(*http.Request) (int, http.Header, time.Duration) {
			return 429, http.Header{"Retry-After": {"30"}}, 0
		}}
		r, _ := gated(f, GateOptions{})
		if res := get(r, "http://busy.test/a"); res.Outcome != task.OutcomeFailed || res.RetryAfterMs != 30_000 {
			t.Fatalf("%+v", res)
		}
		time.Sleep(29 * time.Second)
		if res := get(r, "http://busy.test/b"); res.ErrCode != "endpoint_asked_to_wait" || res.Outcome != task.OutcomeSnoozed || res.RetryAfterMs < 1_000 || res.RetryAfterMs > 2_000 || f.count() != 1 {
			t.Fatalf("%+v, %d calls", res, f.count())
		}
		f.answer = always(200)
		time.Sleep(time.Second)
		if res := get(r, "http://busy.test/b"); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
	})
}

// TestLegacyCallsAreNeverHeldBack: a surface's app that fails as its document says keeps its spacing, whatever others do.
func TestLegacyCallsAreNeverHeldBack(t *testing.T) {
	for _, legacy := range []bool{false, true} {
		testkit.Bubble(t, func(t *testing.T) {
			f := &far{answer: always(500)}
			g := NewGate(GateOptions{Legacy: legacy})
			store := &apps{app: task.App{ID: 3, CallbackURL: "http://shop.test", Secret: []byte(appSecret)}}
			o := Options{Client: f, Clock: now, Gate: g}
			old, own := NewCallbackKind(o, store, plainBox{}, form{}), NewCallback(o, store, plainBox{})
			for i := range 100 {
				if res := old.Run(t.Context(), job(`1`)); (res.Outcome == task.OutcomeSnoozed) != (legacy && i >= 10) {
					t.Fatalf("call %d: %+v", i, res)
				}
			}
			if res := own.Run(t.Context(), job(`1`)); (res.Outcome == task.OutcomeSnoozed) != legacy {
				t.Errorf("%+v", res)
			}
			for range 20 {
				own.Run(t.Context(), job(`1`))
			}
			if res := old.Run(t.Context(), job(`1`)); (res.Outcome == task.OutcomeSnoozed) != legacy {
				t.Errorf("native failures postpone legacy tasks: %+v", res)
			}
		})
	}
}

func TestProbesAreFew(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		r, _ := gated(f, GateOptions{})
		for range 10 {
			get(r, "http://dead.test")
		}
		time.Sleep(5 * time.Second)
		f.answer = func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, time.Second }
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { get(r, "http://dead.test") })
		}
		synctest.Wait()
		if n := f.count(); n != 13 {
			t.Errorf("%d probes", n-10)
		}
		wg.Wait()
		if res := get(r, "http://dead.test"); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
	})
}

// TestAProbeThatIsBrokenOffFreesItsPlace: else a breaker would stay half-open for ever.
func TestAProbeThatIsBrokenOffFreesItsPlace(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		r, _ := gated(f, GateOptions{})
		for range 10 {
			get(r, "http://dead.test")
		}
		f.answer = func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, time.Hour }
		for range 10 {
			time.Sleep(5 * time.Second)
			ctx, cancel := context.WithCancelCause(context.Background())
			done := make(chan task.Result, 1)
			go func() { done <- r.Run(ctx, job(`{"url":"http://dead.test"}`)) }()
			synctest.Wait()
			cancel(worker.ErrCancelled)
			if res := <-done; res.ErrCode != codeInterrupted {
				t.Fatalf("%+v", res)
			}
		}
	})
}

// TestProbesThatHangDoNotShutAnEndpointForEver: calls without a time limit must not be the only ones that may find out that the
// endpoint works again.
func TestProbesThatHangDoNotShutAnEndpointForEver(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		r, _ := gated(f, GateOptions{})
		for range 10 {
			get(r, "http://dead.test")
		}
		time.Sleep(5 * time.Second)
		f.answer = func(*http.Request) (int, http.Header, time.Duration) { return 200, nil, 240 * time.Hour }
		ctx, cancel := context.WithCancelCause(context.Background())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.Run(ctx, job(`{"url":"http://dead.test"}`)) })
		}
		synctest.Wait()
		f.answer = always(200)
		if res := get(r, "http://dead.test"); res.ErrCode != "endpoint_resting" {
			t.Errorf("a fourth probe: %+v", res)
		}
		time.Sleep(probeFor)
		for range 2 { // one more probe, and what it found
			if res := get(r, "http://dead.test"); res.Outcome != task.OutcomeSucceeded {
				t.Errorf("%+v", res)
			}
		}
		cancel(worker.ErrCancelled)
		wg.Wait()
		if res := get(r, "http://dead.test"); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("%+v", res)
		}
	})
}

// TestALargeBacklogComesBackSpread: 100,000 tasks of a dead endpoint must not come back within seconds.
func TestALargeBacklogComesBackSpread(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		f := &far{answer: always(500)}
		r, _ := gated(f, GateOptions{OpenFor: 5 * time.Minute})
		for range 10 {
			get(r, "http://dead.test")
		}
		within := map[int64]int{}
		for range 100_000 {
			res := get(r, "http://dead.test")
			within[res.RetryAfterMs/1_000]++
			if res.RetryAfterMs < 300_000 || res.RetryAfterMs > 600_000 {
				t.Fatalf("%+v", res)
			}
		}
		for second, n := range within {
			if n > 501 {
				t.Errorf("%d come back in second %d", n, second)
			}
		}
	})
}

// TestBreakerAgainstItsRule runs random calls past a breaker and a plain reading of the rule.
func TestBreakerAgainstItsRule(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			f := &far{}
			r, _ := gated(f, GateOptions{})
			type ended struct {
				second int64
				bad    bool
			}
			var past []ended
			start, row := time.Now(), 0
			share, speed := rnd.Float64(), time.Duration(1+rnd.IntN(3000))*time.Millisecond
			for range 300 {
				bad := rnd.Float64() < share
				f.answer = always(map[bool]int{true: 500, false: 200}[bad])
				res := get(r, "http://some.test")
				if res.Outcome == task.OutcomeSnoozed {
					t.Fatalf("held back, although the rule was not met: %d in a row of %d", row, len(past))
				}
				second := int64(time.Since(start) / time.Second)
				past = append(past, ended{second, bad})
				if row++; !bad {
					row = 0
				}
				calls, fails := 0, 0
				for _, p := range past {
					if p.second > second-30 {
						calls++
						if p.bad {
							fails++
						}
					}
				}
				if row >= 10 || bad && calls >= 20 && 2*fails >= calls {
					if res := get(r, "http://some.test"); res.ErrCode != "endpoint_resting" {
						t.Fatalf("%d in a row, %d of %d: %+v", row, fails, calls, res)
					}
					break
				}
				time.Sleep(time.Duration(rnd.Int64N(int64(speed))))
			}
		}
	})
}

func TestEndpointsAreForgotten(t *testing.T) {
	g := NewGate(GateOptions{})
	for i := range keptMost + 100 {
		u, err := url.Parse(fmt.Sprintf("http://h%d.test", i))
		if err != nil {
			t.Fatal(err)
		}
		p, no := g.endpoint(keyOf(1, u)).enter(t.Context(), true)
		if no != nil {
			t.Fatal(no)
		}
		p.leave(alive, 0)
	}
	if n := len(g.known); n > keptMost {
		t.Errorf("%d endpoints in memory", n)
	}
}
