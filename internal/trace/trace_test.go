package trace_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	api "go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/trace"
	"github.com/taskweir/taskweir/internal/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func tracer(t *testing.T, share float64) (*trace.Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	e := tracetest.NewInMemoryExporter()
	tr, err := trace.New(t.Context(), trace.Options{Exporter: e, Share: share, Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tr, e
}

// job is an attempt that no engine runs.
var job = worker.Job{TaskID: 7, AttemptID: 9, Epoch: 2, Retry: 1, Kind: "mail", Queue: "slow"}

const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

// TestOneTraceFromTheRequestToTheReceiver: each span is the child of the one before, in one trace.
func TestOneTraceFromTheRequestToTheReceiver(t *testing.T) {
	tr, e := tracer(t, 0) // the caller has decided
	ctx, endRequest := tr.Request(t.Context(), http.Header{"Traceparent": {caller + "01"}}, "POST", "/v1/tasks")
	kept := tr.Parent(ctx)
	endRequest(201)
	ctx, endRun := tr.Run(t.Context(), job, kept)
	h := http.Header{}
	_, endCall := tr.Call(ctx, "POST", &url.URL{Scheme: "https", Host: "shop.example", Path: "/secret", RawQuery: "token=x"}, h)
	endCall(503, "")
	endRun(task.Result{Outcome: task.OutcomeFailed, ErrCode: "http_status", HTTPStatus: 503, ErrMessage: "private"})
	spans := e.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans", len(spans))
	}
	request, call, run := spans[0], spans[1], spans[2]
	if got := request.Parent; got.SpanID().String() != "b7ad6b7169203331" || !got.IsRemote() {
		t.Errorf("parent of the request: %v", got)
	}
	for name, pair := range map[string][2]tracetest.SpanStub{"run": {run, request}, "call": {call, run}} {
		if pair[0].Parent.SpanID() != pair[1].SpanContext.SpanID() || pair[0].SpanContext.TraceID().String() != caller[3:35] {
			t.Errorf("%s is not below the one before, in the caller's trace", name)
		}
	}
	if got := h.Get("Traceparent"); got != "00-"+caller[3:35]+"-"+call.SpanContext.SpanID().String()+"-01" {
		t.Errorf("the receiver is told %q", got)
	}
	if run.Name != "run mail" || run.SpanKind != api.SpanKindConsumer || run.Status.Code != codes.Error || call.Status.Code != codes.Error || request.Status.Code != codes.Unset {
		t.Errorf("run %q %v %v, call %v, request %v", run.Name, run.SpanKind, run.Status, call.Status, request.Status)
	}
	for _, s := range spans {
		for _, a := range s.Attributes {
			if text := a.Value.String(); strings.Contains(text, "secret") || strings.Contains(text, "token") || strings.Contains(text, "private") {
				t.Errorf("attribute %s shows %q", a.Key, text)
			}
		}
	}
}

// TestAPanicIsAnError: the handler of a request that panicked has no status.
func TestAPanicIsAnError(t *testing.T) {
	tr, e := tracer(t, 1)
	_, end := tr.Request(t.Context(), http.Header{}, "GET", "/v1/tasks")
	end(0)
	if spans := e.GetSpans(); len(spans) != 1 || spans[0].Status.Code != codes.Error {
		t.Errorf("%+v", spans)
	}
}

// TestWhatATaskKeeps: the decision of a caller, also that nothing is to be traced; nothing when nobody decided and the share left it out.
func TestWhatATaskKeeps(t *testing.T) {
	for _, c := range []struct {
		name, header string
		share        float64
		keeps, runs  bool // the task keeps a parent; its attempt is recorded
	}{
		{"caller samples, share 0", caller + "01", 0, true, true},
		{"caller does not, share 1", caller + "00", 1, true, false},
		{"no caller, share 1", "", 1, true, true},
		{"no caller, share 0", "", 0, false, false},
		{"a header that is none", "nonsense", 1, true, true},
	} {
		tr, e := tracer(t, c.share)
		h := http.Header{}
		if c.header != "" {
			h.Set("traceparent", c.header)
		}
		ctx, end := tr.Request(t.Context(), h, "POST", "/v1/tasks")
		kept := tr.Parent(ctx)
		end(201)
		e.Reset()
		_, endRun := tr.Run(t.Context(), job, kept)
		endRun(task.Result{Outcome: task.OutcomeSucceeded})
		if got := len(e.GetSpans()) == 1; (kept != "") != c.keeps || got != c.runs {
			t.Errorf("%s: keeps %q, attempt recorded: %v", c.name, kept, got)
		}
	}
	tr, e := tracer(t, 1)
	if got := tr.Parent(t.Context()); got != "" {
		t.Errorf("outside of a request a task keeps %q", got)
	}
	_, end := tr.Run(t.Context(), job, "00-broken")
	end(task.Result{Outcome: task.OutcomeSucceeded})
	if spans := e.GetSpans(); len(spans) != 1 || spans[0].Parent.IsValid() {
		t.Errorf("what cannot be read starts a trace of its own: %+v", spans)
	}
}

// TestAPayloadsOwnTraceparentStays: a task of kind http may name the trace it belongs to.
func TestAPayloadsOwnTraceparentStays(t *testing.T) {
	tr, _ := tracer(t, 1)
	h := http.Header{"Traceparent": {caller + "01"}}
	_, end := tr.Call(t.Context(), "GET", &url.URL{Scheme: "http", Host: "h:80"}, h)
	end(0, "connect")
	if h.Get("traceparent") != caller+"01" {
		t.Error(h)
	}
}

// TestACollector gets the spans, with its headers; when it is away that is said once a minute and nothing else happens.
func TestACollector(t *testing.T) {
	var mu sync.Mutex
	var bodies [][]byte
	var path, key string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		raw, _ := io.ReadAll(z)
		mu.Lock()
		defer mu.Unlock()
		bodies, path, key = append(bodies, raw), r.URL.Path, r.Header.Get("X-Key")
	}))
	defer s.Close()
	var log bytes.Buffer
	send := func(endpoint string, spans int) {
		tr, err := trace.New(t.Context(), trace.Options{Endpoint: endpoint, Headers: map[string]string{"X-Key": "k"}, Share: 1, Service: "svc-x", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for range spans {
			_, end := tr.Run(t.Context(), job, "")
			end(task.Result{Outcome: task.OutcomeSucceeded})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	send(s.URL, 3)
	if len(bodies) != 1 || path != "/v1/traces" || key != "k" || !bytes.Contains(bodies[0], []byte("svc-x")) || bytes.Count(bodies[0], []byte("run mail")) != 3 {
		t.Errorf("%d messages to %s with key %q", len(bodies), path, key)
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	send(refuses.URL+"/own/path", 2000) // several messages
	if n := strings.Count(log.String(), "spans were dropped"); n != 1 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	for _, bad := range []string{"", "collector:4318", "ftp://h", "http://"} {
		if _, err := trace.New(t.Context(), trace.Options{Endpoint: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		} else if errors.Unwrap(err) != nil {
			t.Error(err)
		}
	}
}

// FuzzParent: whatever stands in a task's head, an attempt runs.
func FuzzParent(f *testing.F) {
	e := tracetest.NewInMemoryExporter()
	tr, err := trace.New(context.Background(), trace.Options{Exporter: e, Share: 1})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", caller + "01", caller + "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-" + caller[3:] + "01", strings.Repeat("0", 500)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, parent string) {
		e.Reset()
		ctx, end := tr.Run(t.Context(), job, parent)
		end(task.Result{Outcome: task.OutcomeSucceeded})
		if !api.SpanContextFromContext(ctx).IsValid() {
			t.Error("no span")
		}
	})
}
