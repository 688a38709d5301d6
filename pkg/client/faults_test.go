package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// fault is what goes wrong with one request.
type fault int

const (
	none           fault = iota
	cutUnread            // the connection breaks before the request was looked at
	cutDone              // it was carried out, the connection breaks instead of an answer
	halfBody             // it was carried out, the answer breaks off
	badGateway           // it was carried out, a proxy lost the answer
	overloaded           // 503 with Retry-After, nothing was changed
	throttled            // 429
	outcomeUnknown       // it was carried out, the server does not know
	slowDone             // it was carried out, the answer takes too long
	faults
)

func (f fault) String() string {
	return [...]string{"none", "cutUnread", "cutDone", "halfBody", "badGateway", "overloaded", "throttled", "outcomeUnknown", "slowDone"}[f]
}

// flaky is a server that keeps the API's promise about idempotency keys and has a fault for each request.
type flaky struct {
	t       *testing.T
	mu      sync.Mutex
	script  []fault // of the next requests; after that none
	saw     []*http.Request
	bodies  []string
	made    int                   // tasks
	answers map[string]apiv1.Task // by idempotency key
	acted   int                   // verbs that are no submits
	slow    chan struct{}
}

func newFlaky(t *testing.T, script ...fault) (*flaky, *Client) {
	f := &flaky{t: t, script: script, answers: map[string]apiv1.Task{}, slow: make(chan struct{})}
	srv := httptest.NewServer(f)
	c, err := New(srv.URL, "the-key", WithTimeout(300*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	c.core.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(func() {
		close(f.slow)
		c.Close()
		srv.Close()
	})
	return f, c
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	f.mu.Lock()
	what := none
	if len(f.script) > 0 {
		what, f.script = f.script[0], f.script[1:]
	}
	f.saw, f.bodies = append(f.saw, r), append(f.bodies, string(body))
	var answer []byte
	switch what {
	case cutUnread, overloaded, throttled:
	default:
		answer = f.carryOut(r, body)
	}
	f.mu.Unlock()
	f.answer(w, r, what, answer)
}

func (f *flaky) carryOut(r *http.Request, body []byte) []byte {
	if r.URL.Path != "/v1/tasks" {
		f.acted++
		return (&apiv1.Task{ID: 1, State: "queued"}).AppendJSON(nil)
	}
	key := r.Header.Get(apiv1.HeaderIdempotencyKey)
	done, replayed := f.answers[key]
	if !replayed || key == "" {
		f.made++
		done = apiv1.Task{ID: apiv1.ID(f.made), State: "queued", Payload: body}
		f.answers[key] = done
	}
	return done.AppendJSON(nil)
}

func (f *flaky) answer(w http.ResponseWriter, r *http.Request, what fault, answer []byte) {
	problem := func(status int, code string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"title":"x","status":%d,"code":%q}`, status, code)
	}
	switch what {
	case cutUnread, cutDone:
		cut(f.t, w)
	case halfBody:
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = w.Write(answer[:len(answer)/2])
		_ = http.NewResponseController(w).Flush()
		cut(f.t, w)
	case badGateway:
		http.Error(w, "<h1>Bad Gateway</h1>", http.StatusBadGateway)
	case overloaded:
		problem(503, apiv1.CodeOverloaded)
	case throttled:
		problem(429, "too_many_waiting")
	case outcomeUnknown:
		problem(503, apiv1.CodeOutcomeUnknown)
	case slowDone:
		select {
		case <-r.Context().Done():
		case <-f.slow:
		}
	default:
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	}
}

func cut(t *testing.T, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

// Whatever happens to its requests, a submit makes one task, or, when the client gives up, at most one.
func TestASubmitMakesOneTask(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		script := make([]fault, rng.IntN(6))
		for i := range script {
			if script[i] = fault(rng.IntN(int(faults))); script[i] == slowDone && i > 1 {
				script[i] = cutDone // keeps the test short
			}
		}
		t.Run(fmt.Sprint(seed, script), func(t *testing.T) {
			f, c := newFlaky(t, slices.Clone(script)...)
			got, err := c.Submit(t.Context(), "echo", map[string]int{"seed": int(seed)})
			f.mu.Lock()
			defer f.mu.Unlock()
			bad := 0
			for bad < len(script) && script[bad] != none {
				bad++
			}
			switch {
			case bad < 5 && (err != nil || f.made != 1 || got.ID != 1):
				t.Errorf("%d tasks were made, the client has %+v, %v", f.made, got, err)
			case bad >= 5 && (f.made > 1 || err == nil && f.made != 1 || err != nil && !IsTemporary(err)): // net/http repeats by itself sometimes
				t.Errorf("after %d faults %d tasks were made, %v", bad, f.made, err)
			}
			for i, r := range f.saw {
				if key := r.Header.Get(apiv1.HeaderIdempotencyKey); key == "" || key != f.saw[0].Header.Get(apiv1.HeaderIdempotencyKey) || f.bodies[i] != f.bodies[0] {
					t.Errorf("request %d is not that before once more: key %q, %s", i, key, f.bodies[i])
				}
			}
		})
	}
}

// What does more when it is done twice is sent again only when it cannot have been begun.
func TestWhatIsNotSafeIsNotRepeated(t *testing.T) {
	for f := none; f < faults; f++ {
		t.Run(f.String(), func(t *testing.T) {
			srv, c := newFlaky(t, f)
			_, err := c.Retry(t.Context(), 1, true)
			srv.mu.Lock()
			defer srv.mu.Unlock()
			switch f {
			case none, overloaded, throttled:
				if err != nil || srv.acted != 1 {
					t.Errorf("%v, carried out %d times", err, srv.acted)
				}
			default:
				if err == nil || len(srv.saw) != 1 || !maybeDone(err) {
					t.Errorf("sent %d times, maybe done %v: %v", len(srv.saw), maybeDone(err), err)
				}
			}
		})
	}
}

func TestAKeyOfTheCaller(t *testing.T) {
	f, c := newFlaky(t)
	for range 2 {
		got, err := c.Submit(t.Context(), "echo", 1, IdempotencyKey("order-17"))
		if err != nil || got.ID != 1 {
			t.Fatal(got, err)
		}
	}
	if f.made != 1 || f.saw[1].Header.Get(apiv1.HeaderIdempotencyKey) != "order-17" {
		t.Errorf("%d tasks, key %q", f.made, f.saw[1].Header.Get(apiv1.HeaderIdempotencyKey))
	}
	if _, err := c.Cancel(t.Context(), 1, 0, IdempotencyKey("x")); err != nil {
		t.Fatal(err)
	}
	if key := f.saw[2].Header.Get(apiv1.HeaderIdempotencyKey); key != "" {
		t.Errorf("a call that makes nothing carried the key %q", key)
	}
}

// scripted answers each request with a function of its number.
func scripted(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request), opts ...Option) *Client {
	t.Helper()
	var mu sync.Mutex
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a server sees that its client is gone only when all was read
		r.Body = io.NopCloser(bytes.NewReader(body))
		mu.Lock()
		n++
		now := n
		mu.Unlock()
		answer(now, w, r)
	}))
	c, err := New(srv.URL, "the-key", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		srv.Close()
	})
	return c
}

func problem(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 409, 412, 413, 418, 422, 500, 501} {
		asked := 0
		c := scripted(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			asked = n
			problem(w, status, fmt.Sprintf(`{"title":"no","status":%d,"code":"c"}`, status))
		})
		_, err := c.Submit(t.Context(), "echo", nil)
		if e, ok := errors.AsType[*Error](err); !ok || e.StatusCode != status || asked != 1 || e.Tries != 1 {
			t.Errorf("%d: asked %d times: %v", status, asked, err)
		}
	}
	asked := 0
	c := scripted(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		asked = n
		problem(w, 503, `{"title":"no","status":503,"code":"live_view_unavailable"}`)
	})
	if _, err := c.Stack(t.Context(), 1); asked != 1 || Code(err) != apiv1.CodeLiveViewUnavailable {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// The pauses grow, none is shorter than the server wishes, and a wish beyond the time for repeats ends them.
func TestPauses(t *testing.T) {
	header := ""
	c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		problem(w, 503, `{"title":"no","status":503,"code":"overloaded"}`)
	}, WithRetry(RetryPolicy{Tries: 6, Base: 10 * time.Millisecond, Cap: 80 * time.Millisecond, Elapsed: time.Hour}))
	var slept []time.Duration
	c.core.pause = func(_ context.Context, d time.Duration) error { slept = append(slept, d); return nil }
	if _, err := c.Get(t.Context(), 1); !IsTemporary(err) {
		t.Error(err)
	}
	for i, want := range []time.Duration{10, 20, 40, 80, 80} {
		if i >= len(slept) || slept[i] < want*time.Millisecond/2 || slept[i] > want*time.Millisecond {
			t.Fatalf("pauses %v: number %d must be between half of and %d ms", slept, i, want)
		}
	}
	header, slept = "7", nil
	_, err := c.Get(t.Context(), 1)
	if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter != 7*time.Second || e.Tries != 6 || slices.Min(slept) < 7*time.Second {
		t.Errorf("pauses %v: %v", slept, err)
	}
	header, slept = "7200", nil
	if _, err := c.Get(t.Context(), 1); len(slept) != 0 || err == nil {
		t.Errorf("waited %v for a server that asked for two hours: %v", slept, err)
	}
}

func TestRetryAfterDate(t *testing.T) {
	h := http.Header{"Date": {"Sun, 06 Nov 1994 08:49:37 GMT"}, "Retry-After": {"Sun, 06 Nov 1994 08:50:07 GMT"}}
	if d := retryAfter(h); d != 30*time.Second {
		t.Error(d)
	}
	for _, bad := range []string{"", "x", "-5", "Sun, 06 Nov 1990 08:50:07 GMT"} {
		h.Set("Retry-After", bad)
		if d := retryAfter(h); d != 0 {
			t.Errorf("%q: %v", bad, d)
		}
	}
}

// Many requests that fail do not multiply what a server in trouble gets.
func TestTheBudgetBoundsRepeats(t *testing.T) {
	asked, well := 0, false
	c := scripted(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		asked = n
		if well {
			_, _ = w.Write((&apiv1.Task{ID: 1}).AppendJSON(nil))
			return
		}
		problem(w, 503, `{"title":"no","status":503,"code":"overloaded"}`)
	})
	c.core.pause = func(context.Context, time.Duration) error { return nil }
	for range 200 {
		if _, err := c.Get(t.Context(), 1); err == nil {
			t.Fatal("want an error")
		}
	}
	if asked < 290 || asked > 300 {
		t.Errorf("200 calls were sent %d times: want 100 repeats", asked)
	}
	well = true
	for range 100 {
		if _, err := c.Get(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	well, asked = false, 0
	before := c.core.budget.spent
	if _, err := c.Get(t.Context(), 1); err == nil || before > 90.5 || c.core.budget.spent < before+3 {
		t.Errorf("100 requests that went well must pay for ten repeats: spent %v, then %v", before, c.core.budget.spent)
	}
}

// The end of the context ends a call at once: while it is sent, while its answer comes, between two tries.
func TestTheContextEndsEverything(t *testing.T) {
	why := errors.New("the operator went home")
	t.Run("answer", func(t *testing.T) {
		came := make(chan struct{})
		c := scripted(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
			close(came)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-came
			cancel(why)
		}()
		_, err := c.Submit(ctx, "echo", nil)
		e, ok := errors.AsType[*NoAnswerError](err)
		if !ok || !errors.Is(err, why) || !errors.Is(err, context.Canceled) || !e.MaybeDone || e.IdempotencyKey == "" || IsTemporary(err) {
			t.Errorf("%v", err)
		}
	})
	t.Run("pause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "30")
			problem(w, 503, `{"title":"no","status":503,"code":"outcome_unknown"}`)
			time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
		})
		_, err := c.Submit(ctx, "echo", nil)
		if e, ok := errors.AsType[*NoAnswerError](err); !ok || !errors.Is(err, why) || !e.MaybeDone {
			t.Errorf("%v", err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		c := scripted(t, func(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := c.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestNothingListens(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	c, err := New(srv.URL, "the-key")
	if err != nil {
		t.Fatal(err)
	}
	c.core.pause = func(context.Context, time.Duration) error { return nil }
	_, err = c.Retry(t.Context(), 1, false)
	if e, ok := errors.AsType[*NoAnswerError](err); !ok || e.MaybeDone || e.Tries != 5 || !IsTemporary(err) {
		t.Errorf("%v", err)
	}
	c.core.policy.GiveUp = func(error) bool { return true }
	_, err = c.Retry(t.Context(), 1, false)
	if e, ok := errors.AsType[*NoAnswerError](err); !ok || e.Tries != 1 {
		t.Errorf("%v", err)
	}
}

// A deleted thing that is deleted once more, because the first answer was lost, is deleted.
func TestADeleteWhoseAnswerWasLost(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			cut(t, w)
			return
		}
		problem(w, 404, `{"title":"no","status":404,"code":"schedule_not_found"}`)
	})
	c.core.pause = func(context.Context, time.Duration) error { return nil }
	if err := c.Schedules.Delete(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := c.Schedules.Delete(t.Context(), 1); !IsNotFound(err) {
		t.Errorf("one that was never there: %v", err)
	}
}

// With If-Match a repeat would be refused for its own first try.
func TestGuardedChangesAreNotRepeatedBlindly(t *testing.T) {
	var asked atomic.Int32
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		asked.Store(int32(n))
		if r.Header.Get("If-Match") != `"3"` {
			t.Errorf("If-Match %q", r.Header.Get("If-Match"))
		}
		cut(t, w)
	})
	if _, err := c.Schedules.Pause(t.Context(), 1, IfVersion(3)); err == nil || asked.Load() != 1 || !maybeDone(err) {
		t.Errorf("sent %d times: %v", asked.Load(), err)
	}
}

func TestWaitGoesOn(t *testing.T) {
	waiting := (&apiv1.Task{ID: 1, State: "queued"}).AppendJSON(nil)
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") == "" {
			t.Error("it does not ask the server to wait")
		}
		switch {
		case n < 10:
			cut(t, w)
		case n < 20:
			problem(w, 503, `{"title":"no","status":503,"code":"stopping"}`)
		case n < 30:
			_, _ = w.Write(waiting)
		default:
			_, _ = w.Write((&apiv1.Task{ID: 1, State: "succeeded", Result: json.RawMessage(`[1]`)}).AppendJSON(nil))
		}
	})
	pauses := 0
	c.core.pause = func(context.Context, time.Duration) error { pauses++; return nil }
	got, err := WaitResult[[]int](t.Context(), c, 1)
	if err != nil || len(got) != 1 || pauses != 29 {
		t.Errorf("%v, %v, %d pauses: each try that came too early is followed by one", got, err, pauses)
	}
}

func TestWaitEndsWhenItMust(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
		problem(w, 404, `{"title":"no","status":404,"code":"task_not_found"}`)
	})
	if _, err := c.Wait(t.Context(), 1); !IsNotFound(err) {
		t.Error(err)
	}
	c = scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) { cut(t, w) }, WithPatience(50*time.Millisecond), WithRetry(RetryPolicy{Base: 10 * time.Millisecond}))
	if _, err := c.Wait(t.Context(), 1); !IsTemporary(err) {
		t.Error(err)
	}
}

func TestListsFollowShortPages(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		cursor := r.URL.Query().Get("cursor")
		if want := strings.Repeat("x", n-1); cursor != want || r.URL.Query().Get("state") != "failed" || r.URL.Query().Get("limit") != "7" {
			t.Errorf("request %d: %s", n, r.URL)
		}
		var items [][]byte
		if n%2 == 0 { // every other page is empty
			items = [][]byte{(&apiv1.Task{ID: apiv1.ID(n)}).AppendJSON(nil), (&apiv1.Task{ID: apiv1.ID(n + 1)}).AppendJSON(nil)}
		}
		next := "null"
		if n < 6 {
			next = strconv.Quote(strings.Repeat("x", n))
		}
		fmt.Fprintf(w, `{"items":[%s],"nextCursor":%s}`, bytes.Join(items, []byte(",")), next)
	})
	var ids []apiv1.ID
	for task, err := range c.List(t.Context(), TaskFilter{State: "failed", Page: Page{Size: 7}}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, task.ID)
	}
	if !slices.Equal(ids, []apiv1.ID{2, 3, 4, 5, 6, 7}) {
		t.Error(ids)
	}
}

func TestListsThatDoNotGoOnEnd(t *testing.T) {
	c := scripted(t, func(_ int, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"items":[],"nextCursor":"same"}`) })
	if _, err := Collect(c.Queues.List(t.Context(), Page{}), 0); err == nil || !strings.Contains(err.Error(), "cursor") {
		t.Error(err)
	}
}

func TestBatchesAreSplit(t *testing.T) {
	var sizes []int
	var keys []string
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		var in apiv1.SubmitBatch
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		sizes, keys = append(sizes, len(in.Tasks)), append(keys, r.Header.Get(apiv1.HeaderIdempotencyKey))
		if n == 4 {
			problem(w, 422, `{"title":"no","status":422,"code":"invalid","detail":"tasks[0].kind: bad","errors":[{"field":"tasks[0].kind","rule":"r","message":"bad"}]}`)
			return
		}
		var out []string
		for i := range in.Tasks {
			if n == 2 && i == 5 {
				out = append(out, `{"error":{"title":"no","status":422,"code":"invalid","detail":"tasks[5].queue: bad","errors":[{"field":"tasks[5].queue","rule":"r","message":"bad"}]}}`)
				continue
			}
			out = append(out, `{"task":`+string((&apiv1.Task{ID: apiv1.ID(n*10000 + i), Kind: in.Tasks[i].Kind}).AppendJSON(nil))+`}`)
		}
		fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(out, ","))
	})
	tasks := make([]apiv1.Submit, 2500)
	for i := range tasks {
		tasks[i].Kind = fmt.Sprint("k", i)
	}
	got, err := c.SubmitBatch(t.Context(), tasks, IdempotencyKey("load"))
	if err != nil || !slices.Equal(sizes, []int{1000, 1000, 500}) || !slices.Equal(keys, []string{"load", "load+1", "load+2"}) {
		t.Fatalf("%v %v %v", err, sizes, keys)
	}
	for i := range tasks {
		if i == 1005 {
			if f := Fields(got[i].Err); len(f) != 1 || f[0].Field != "tasks[1005].queue" || !strings.Contains(got[i].Err.Error(), "tasks[1005].queue") {
				t.Errorf("%v", got[i].Err)
			}
		} else if got[i].Err != nil || got[i].Task.Kind != tasks[i].Kind {
			t.Fatalf("item %d: %+v", i, got[i])
		}
	}
	got, err = c.SubmitBatch(t.Context(), tasks[:2])
	if Fields(err)[0].Field != "tasks[0].kind" || got[1].Err == nil {
		t.Errorf("%v %v", got, err)
	}
	big := json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
	sizes = nil
	if _, err = c.SubmitBatch(t.Context(), slices.Repeat([]apiv1.Submit{{Kind: "k", Payload: big}}, 100)); err != nil || len(sizes) != 3 || sizes[0] != 40 {
		t.Errorf("20 MiB went as %v: %v", sizes, err)
	}
}

func TestWhatABatchDidNotComeTo(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n > 1 {
			problem(w, 401, `{"title":"no","status":401,"code":"unauthorized"}`)
			return
		}
		fmt.Fprintf(w, `{"items":[%s]}`, strings.TrimSuffix(strings.Repeat(`{"task":{"id":"1"}},`, 1000), ","))
	})
	got, err := c.SubmitBatch(t.Context(), slices.Repeat([]apiv1.Submit{{Kind: "k"}}, 2001))
	if !errors.Is(err, ErrUnauthorized) || got[999].Err != nil || !errors.Is(got[1000].Err, ErrUnauthorized) || got[2000].Err != ErrNotSent {
		t.Errorf("%v; %v, %v, %v", err, got[999].Err, got[1000].Err, got[2000].Err)
	}
}

func TestManyAreReadInParts(t *testing.T) {
	asked := 0
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		asked = n
		ids := strings.Split(r.URL.Query().Get("ids"), ",")
		if len(r.URL.String()) > 8<<10 {
			t.Errorf("an address of %d bytes", len(r.URL.String()))
		}
		if len(ids) > 100 {
			problem(w, 413, `{"title":"no","status":413,"code":"answer_too_large"}`)
			return
		}
		var out []string
		for _, id := range ids {
			out = append(out, fmt.Sprintf(`{"id":%q}`, id))
		}
		fmt.Fprintf(w, `{"items":[%s],"nextCursor":null}`, strings.Join(out, ","))
	})
	ids := make([]apiv1.ID, 700)
	for i := range ids {
		ids[i] = apiv1.ID(1<<53 - 1 - i)
	}
	got, err := c.GetMany(t.Context(), ids)
	if err != nil || len(got) != len(ids) {
		t.Fatal(len(got), err)
	}
	for i := range got {
		if got[i].ID != ids[i] {
			t.Fatalf("%d is %s, want %s", i, got[i].ID, ids[i])
		}
	}
	if asked != 7+7+1 {
		t.Errorf("%d requests", asked)
	}
}

func TestBulkWait(t *testing.T) {
	c := scripted(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case n == 1:
			cut(t, w)
		case n == 2:
			problem(w, 503, `{"title":"no","status":503,"code":"stopping"}`)
		case n < 5:
			fmt.Fprint(w, `{"id":"3","state":"running","matched":5}`)
		case n == 5:
			fmt.Fprint(w, `{"id":"3","state":"running","matched":9,"changed":4}`)
		case n == 6:
			fmt.Fprint(w, `{"id":"3","state":"done","matched":9,"changed":9}`)
		case n == 7:
			fmt.Fprint(w, `{"id":"3","action":"retry","state":"failed","changed":2,"error":"the database is gone"}`)
		default:
			problem(w, 404, `{"title":"no","status":404,"code":"bulk_not_found"}`)
		}
	})
	c.core.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	var told []int64
	got, err := c.Bulk.Wait(t.Context(), 3, func(b apiv1.Bulk) { told = append(told, b.Changed) })
	if err != nil || got.Changed != 9 || !slices.Equal(told, []int64{0, 4, 9}) {
		t.Errorf("%+v %v, told %v", got, err, told)
	}
	_, err = c.Bulk.Wait(t.Context(), 3, nil)
	if e, ok := errors.AsType[*BulkError](err); !ok || e.Bulk.Changed != 2 || !strings.Contains(err.Error(), "the database is gone") {
		t.Error(err)
	}
	if _, err := c.Bulk.Wait(t.Context(), 3, nil); !IsNotFound(err) {
		t.Error(err)
	}
}

func BenchmarkSubmit(b *testing.B) {
	answer := (&apiv1.Task{ID: 1, Kind: "echo", Queue: "default", State: "queued", Payload: json.RawMessage(`{"a":1}`)}).AppendJSON(nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	}))
	defer srv.Close()
	c, err := New(srv.URL, "the-key")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := c.Submit(b.Context(), "echo", map[string]int{"a": 1}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
