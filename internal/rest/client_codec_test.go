package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
)

// wire is a transport that answers by itself.
type wire func(r *http.Request, body []byte) (status int, answer string)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	status, answer := w(r, body)
	h := http.Header{"Content-Type": {"application/json"}}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func clientOf(t testing.TB, w wire) *client.Client {
	t.Helper()
	c, err := client.New("http://server", "the-key", client.WithHTTPClient(&http.Client{Transport: w}), client.WithRetry(client.RetryPolicy{Tries: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// chance makes random requests and tasks.
type chance struct{ *rand.Rand }

func (r chance) maybe() bool { return r.IntN(2) == 0 }

var texts = []string{"a", "mail", "ü€𝄞", `"\`, "</script>&", "\x00\x01\t\n", "\u2028\u2029", "\ufeff", "\ufffd", "null", "{{slot}}", " ", "0", "\x7f"}

func (r chance) text() string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		if r.IntN(8) == 0 {
			b.WriteRune(rune(r.IntN(0xd800)))
		} else {
			b.WriteString(texts[r.IntN(len(texts))])
		}
	}
	return b.String()
}

func (r chance) whole() int64 {
	edges := []int64{0, 1, -1, 1 << 53, -1 << 53, 1<<63 - 1, -1 << 63, 999, 60_000}
	if r.maybe() {
		return edges[r.IntN(len(edges))]
	}
	return int64(r.Uint64())
}

// instant is from 1970 to 9999.
func (r chance) instant() apiv1.Time { return apiv1.Time(1 + r.Int64N(253_402_300_799_999)) }

func (r chance) json(depth int) string {
	space := []string{"", " ", "\n\t", " \r\n "}[r.IntN(4)]
	switch n := r.IntN(8); {
	case n < 2 && depth > 0:
		var parts []string
		for i := range r.IntN(4) {
			parts = append(parts, strconv.Quote("k"+strconv.Itoa(i))+space+":"+r.json(depth-1))
		}
		return "{" + space + strings.Join(parts, space+",") + "}"
	case n == 2 && depth > 0:
		var parts []string
		for range r.IntN(4) {
			parts = append(parts, r.json(depth-1)+space)
		}
		return "[" + space + strings.Join(parts, ",") + "]"
	case n == 3:
		return []string{"1.50", "-0", "1e400", "12345678901234567890", "0.1E-7"}[r.IntN(5)]
	case n == 4:
		return []string{`"\u00e9\/"`, `"\ud834\udd1e"`, `"<>&"`, `""`, `"` + "\u2028" + `"`}[r.IntN(5)]
	}
	raw, err := json.Marshal(r.text())
	if err != nil {
		panic(err)
	}
	return []string{"true", "false", "null", string(raw)}[r.IntN(4)]
}

func some[T any](r chance, of func() T) *T {
	if r.maybe() {
		return nil
	}
	return new(of())
}

func (r chance) optional() string {
	if r.maybe() {
		return ""
	}
	return r.text()
}

func (r chance) submit() apiv1.Submit {
	s := apiv1.Submit{Kind: r.text(), Queue: r.optional(), Priority: r.optional(), RunAt: some(r, r.instant), DelayMs: some(r, r.whole), TimeoutMs: some(r, r.whole),
		ExpiresAt: some(r, r.instant), UniqueKey: r.optional(), UniqueScope: r.optional(), UniqueWindowMs: some(r, r.whole), UniqueOnConflict: r.optional(),
		LimitKey: r.optional(), CompletionURL: r.optional()}
	if r.maybe() {
		s.Payload = json.RawMessage(r.json(4))
	}
	if r.maybe() {
		s.Labels = map[string]string{}
		for range r.IntN(5) {
			s.Labels[r.text()] = r.optional()
		}
	}
	if r.maybe() {
		s.Retry = &apiv1.Retry{Policy: r.optional(), BaseMs: some(r, r.whole), CapMs: some(r, r.whole), Jitter: some(r, r.NormFloat64), Max: some(r, r.whole)}
		for range r.IntN(4) {
			s.Retry.DelaysMs = append(s.Retry.DelaysMs, r.whole())
		}
	}
	return s
}

// said is what the server's decoder made of a request, as the request that asks for it.
func said(in *control.Input) apiv1.Submit {
	s := apiv1.Submit{Kind: in.Kind, Queue: in.Queue, Payload: in.Payload, Priority: in.Priority, DelayMs: pointer(in.DelayMs), TimeoutMs: pointer(in.TimeoutMs),
		RunAt: instantOf(in.RunAt), ExpiresAt: instantOf(in.ExpiresAt), UniqueKey: in.UniqueKey.V, UniqueScope: in.UniqueScope, UniqueWindowMs: pointer(in.UniqueWindowMs),
		UniqueOnConflict: in.UniqueOnConflict, CompletionURL: in.CompletionURL.V}
	if len(in.Labels) > 0 {
		s.Labels = map[string]string{}
		for _, l := range in.Labels {
			s.Labels[l.Key] = l.Value
		}
	}
	if x := in.Retry; x != nil {
		s.Retry = &apiv1.Retry{Policy: x.Policy, BaseMs: pointer(x.BaseMs), CapMs: pointer(x.CapMs), Jitter: pointer(x.Jitter), Max: pointer(x.Max), DelaysMs: x.DelaysMs}
	}
	return s
}

func pointer[T any](m control.Maybe[T]) *T {
	if !m.Set {
		return nil
	}
	return &m.V
}

func instantOf(m control.Maybe[int64]) *apiv1.Time {
	if !m.Set {
		return nil
	}
	return new(apiv1.Time(m.V))
}

// plain is s without what means nothing: an empty map or list.
func plain(s apiv1.Submit) apiv1.Submit {
	if len(s.Labels) == 0 {
		s.Labels = nil
	}
	if s.Retry != nil && len(s.Retry.DelaysMs) == 0 {
		s.Retry.DelaysMs = nil
	}
	return s
}

// Whatever a client can ask for arrives at the use case as it was asked for, alone and in a batch.
func TestWhatTheClientSaysArrives(t *testing.T) {
	var single *control.Input
	var many []*control.Input
	var broken []task.FieldError
	c := clientOf(t, func(r *http.Request, body []byte) (int, string) {
		s := httpkit.NewScanner(body)
		if r.URL.Path == "/v1/tasks/batch" {
			many = decodeBatch(s)
			broken = s.Broken()
			return 200, `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"task":{"id":"1"}},`, len(many)), ",") + `]}`
		}
		single = decodeInput(s)
		if broken = single.Broken; s.End() != nil {
			t.Errorf("%v: %s", s.End(), body)
		}
		return 201, `{"id":"1"}`
	})
	check := func(seed uint64, how string, got *control.Input, want apiv1.Submit) {
		t.Helper()
		if now := plain(said(got)); !reflect.DeepEqual(now, plain(want)) || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("seed %d, %s:\n%+v\narrived as\n%+v", seed, how, want, now)
		}
	}
	for seed := range uint64(3000) {
		r := chance{rand.New(rand.NewPCG(seed, 5))}
		var asked []apiv1.Submit
		for range 1 + r.IntN(3) {
			s := r.submit()
			s.LimitKey = "" // TestNewMembersAreNamedWhereTheyAreRefused
			asked = append(asked, s)
		}
		if _, err := c.SubmitTask(t.Context(), asked[0]); err != nil || broken != nil {
			t.Fatalf("seed %d: %+v: %v, %v", seed, asked[0], err, broken)
		}
		check(seed, "alone", single, asked[0])
		if _, err := c.SubmitBatch(t.Context(), asked); err != nil || broken != nil || len(many) != len(asked) {
			t.Fatalf("seed %d: %v, %v", seed, err, broken)
		}
		for i := range asked {
			check(seed, "in a batch", many[i], asked[i])
		}
	}
}

// What JSON cannot carry unchanged is refused by the client and not sent as something else.
func TestWhatTheClientCannotSayIsRefused(t *testing.T) {
	sent := 0
	c := clientOf(t, func(*http.Request, []byte) (int, string) { sent++; return 201, `{"id":"1"}` })
	bad := "a\xffb"
	for _, s := range []apiv1.Submit{{Kind: bad}, {Kind: "k", Queue: bad}, {Kind: "k", UniqueKey: bad}, {Kind: "k", CompletionURL: bad}, {Kind: "k", Labels: map[string]string{bad: ""}},
		{Kind: "k", Labels: map[string]string{"a": bad}}, {Kind: "k", LimitKey: bad}, {Kind: "k", Payload: json.RawMessage(`1},"queue":"x"`)}, {Kind: "k", Payload: json.RawMessage("")},
		{Kind: "k", Payload: json.RawMessage("\"\xff\"")}} {
		_, err := c.SubmitTask(t.Context(), s)
		_, err2 := c.SubmitBatch(t.Context(), []apiv1.Submit{{Kind: "k"}, s})
		_, err3 := c.Schedules.Create(t.Context(), apiv1.ScheduleInput{Name: "n", Task: s})
		for _, err := range []error{err, err2, err3} {
			if !client.IsInvalid(err) {
				t.Errorf("%+v: %v", s, err)
			}
		}
	}
	if _, err := c.Submit(t.Context(), "k", func() {}); !client.IsInvalid(err) || sent != 0 {
		t.Errorf("%v; %d were sent", err, sent)
	}
}

func (r chance) taskError() *apiv1.TaskError {
	if r.maybe() {
		return nil
	}
	return &apiv1.TaskError{Code: r.text(), Message: r.optional(), HTTPStatus: r.IntN(600)}
}

func (r chance) id() apiv1.ID { return apiv1.ID(r.Int64N(1 << 53)) }

func (r chance) time() apiv1.Time {
	if r.maybe() {
		return 0
	}
	return r.instant()
}

func (r chance) task() apiv1.Task {
	t := apiv1.Task{ID: r.id(), App: r.optional(), Kind: r.text(), Queue: r.text(), Priority: r.text(), State: r.text(), Reason: r.optional(), Payload: json.RawMessage(r.json(4)),
		Result: json.RawMessage(r.json(3)), ResultTruncated: r.maybe(), Error: r.taskError(), Failures: r.IntN(1000), Losses: r.IntN(10), RetryOf: r.id(), ScheduleID: r.id(), Slot: r.time(),
		UniqueKey: r.optional(), ExpiresAt: r.time(), Zombie: r.maybe(), RunAt: r.time(), CreatedAt: r.time(), StartedAt: r.time(), FinishedAt: r.time(), TimeoutMs: r.whole(),
		Retry:  apiv1.RetryInForce{Policy: r.text(), BaseMs: r.whole(), CapMs: r.whole(), Jitter: r.Float64(), Max: r.IntN(100)},
		Labels: map[string]string{}, CancelRequestedAt: r.time(), CompletionURL: r.optional(), CompleteBy: r.time(), Progress: json.RawMessage(r.json(2)), Attempts: []apiv1.Attempt{}}
	for range r.IntN(4) {
		t.Labels[r.text()] = r.optional()
	}
	for range r.IntN(4) {
		t.Attempts = append(t.Attempts, apiv1.Attempt{ID: r.id(), Epoch: r.IntN(1 << 30), Worker: r.id(), StartedAt: r.time(), FinishedAt: r.time(), Outcome: r.optional(), Error: r.taskError(),
			HTTPStatus: r.IntN(600), LogTail: r.optional()})
	}
	if r.maybe() {
		t.Retry.DelaysMs = []int64{r.whole(), r.whole()}
		t.Verdict = &apiv1.Verdict{Code: r.text(), Text: r.text()}
	}
	return t
}

// Whatever the server writes of a task arrives at the client without loss, payload and result byte for byte, and so it does when a newer
// server says more than this client knows.
func TestWhatTheServerSaysArrives(t *testing.T) {
	var answer string
	c := clientOf(t, func(*http.Request, []byte) (int, string) { return 200, answer })
	for seed := range uint64(3000) {
		r := chance{rand.New(rand.NewPCG(seed, 6))}
		want := r.task()
		raw := string(want.AppendJSON(nil))
		for _, answer = range []string{raw, `{"new":{"id":[1]},` + raw[1:], strings.Replace(raw, `"retry":{`, `"retry":{"new":null,`, 1), strings.Replace(raw, `"attempts":[{`, `"attempts":[{"new":"x",`, 1)} {
			got, err := c.Get(t.Context(), 1)
			if err != nil {
				t.Fatalf("seed %d: %v in %s", seed, err, answer)
			}
			if !reflect.DeepEqual(got, &want) {
				t.Fatalf("seed %d: %s\narrived as\n%+v, want\n%+v", seed, answer, got, want)
			}
		}
		answer = `{"items":[` + raw + `,` + raw + `],"nextCursor":null,"new":1}`
		list, err := client.Collect(c.List(t.Context(), client.TaskFilter{}), 0)
		if err != nil || len(list) != 2 || !bytes.Equal(list[1].Payload, want.Payload) || !bytes.Equal(list[1].Result, want.Result) {
			t.Fatalf("seed %d: %v, %+v", seed, err, list)
		}
	}
}

// A server that is a version older refuses what it does not know, and the client's error says what that is.
func TestNewMembersAreNamedWhereTheyAreRefused(t *testing.T) {
	c := clientOf(t, func(_ *http.Request, body []byte) (int, string) {
		s := httpkit.NewScanner(body)
		in := &control.Input{}
		s.Object(func(key []byte) {
			if string(key) == "limitKey" { // what a server does that has never heard of it
				s.Unknown()
				return
			}
			decodeMember(s, in, key)
		})
		if err := broken(s.Broken()); err != nil {
			raw, _ := json.Marshal(httpkit.ProblemOf(err))
			return 422, string(raw)
		}
		return 201, `{"id":"1"}`
	})
	if _, err := c.Submit(t.Context(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	_, err := c.Submit(t.Context(), "echo", nil, client.LimitKey("customer-7"))
	fields := client.Fields(err)
	if len(fields) != 1 || fields[0].Field != "limitKey" || fields[0].Rule != "unknown_field" || !strings.Contains(err.Error(), "limitKey") {
		t.Errorf("%v", err)
	}
	if e, ok := errors.AsType[*client.Error](err); !ok || !slices.Equal(e.Fields(), fields) {
		t.Errorf("%v", err)
	}
}
