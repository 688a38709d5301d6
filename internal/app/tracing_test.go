package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func traced(t *testing.T, spans *tracetest.InMemoryExporter) *App {
	t.Helper()
	cfg, err := config.Load(config.Standalone, nil, []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + t.TempDir(), "TASKWEIR_TRACING_SAMPLE_RATIO=0"})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Logger: testLog(t)}
	if spans != nil {
		o.Spans = spans
	}
	a, err := Start(t.Context(), cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return a
}

// submitTraced submits as a client that traces.
func submitTraced(t *testing.T, a *App, body, parent string) apiv1.ID {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", a.URL()+"/v1/tasks", strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+a.APIKey())
	req.Header.Set("traceparent", parent)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
	var made apiv1.Task
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil {
		t.Fatal(err)
	}
	return made.ID
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	sampled = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// TestATraceGoesThroughEverything: from a client's request over NSQ and a worker, twice because the first attempt fails, to the
// receiver of the call and to that of the completion; nothing of what the platform does for itself, or of tasks that nobody traces.
func TestATraceGoesThroughEverything(t *testing.T) {
	got := make(chan string, 10)
	calls := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.URL.Path + " " + r.Header.Get("traceparent")
		if r.URL.Path == "/call" {
			if calls++; calls == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
	}))
	defer s.Close()
	spans := tracetest.NewInMemoryExporter()
	a := traced(t, spans)
	large := strings.Repeat("x", 8<<10) // is read from the database: it does not fit into a message
	id := submitTraced(t, a, fmt.Sprintf(`{"kind":"http","payload":{"url":%q,"body":%q},"completionUrl":%q,"retry":{"policy":"fixed","baseMs":1}}`, s.URL+"/call?token=hidden", large, s.URL+"/done"), sampled)
	a.until(t, id, "succeeded", func(x apiv1.Task) bool { return x.State == apiv1.StateSucceeded })
	var seen []string
	for range 3 {
		select {
		case x := <-got:
			seen = append(seen, x)
		case <-time.After(20 * time.Second):
			t.Fatalf("the receivers got %q", seen)
		}
	}
	submitTraced(t, a, `{"kind":"echo"}`, "") // the share is 0
	deadline := time.Now().Add(10 * time.Second)
	for len(spans.GetSpans()) < 7 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond) // the last span ends after the receiver has answered
	}
	names := map[string]int{}
	byID := map[string]tracetest.SpanStub{}
	for _, x := range spans.GetSpans() {
		names[x.Name]++
		byID[x.SpanContext.SpanID().String()] = x
		if x.SpanContext.TraceID().String() != traceID {
			t.Errorf("span %q is of another trace", x.Name)
		}
		for _, at := range x.Attributes {
			if strings.Contains(at.Value.String(), "hidden") {
				t.Errorf("attribute %s of %q shows the query", at.Key, x.Name)
			}
		}
	}
	if names["POST /v1/tasks"] != 1 || names["run http"] != 2 || names["POST"] != 3 || names["run completion"] != 1 {
		t.Errorf("spans %v", names)
	}
	for _, x := range seen {
		path, parent, _ := strings.Cut(x, " ")
		p := strings.Split(parent, "-")
		if len(p) != 4 || p[1] != traceID || byID[p[2]].Name != "POST" {
			t.Errorf("%s was called with traceparent %q", path, parent)
			continue
		}
		run := byID[byID[p[2]].Parent.SpanID().String()]
		if !strings.HasPrefix(run.Name, "run ") || byID[run.Parent.SpanID().String()].Name != "POST /v1/tasks" {
			t.Errorf("the call of %s hangs below %q, that below %q", path, run.Name, byID[run.Parent.SpanID().String()].Name)
		}
		if path == "/call" && !hasAttribute(run.Attributes, "messaging.message.id", id.String()) {
			t.Errorf("the attempt does not name its task: %v", run.Attributes)
		}
	}
}

func hasAttribute(list []attribute.KeyValue, key, value string) bool {
	for _, a := range list {
		if string(a.Key) == key && a.Value.String() == value {
			return true
		}
	}
	return false
}

// TestNothingIsTracedByDefault: a caller's traceparent goes nowhere.
func TestNothingIsTracedByDefault(t *testing.T) {
	got := make(chan http.Header, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }))
	defer s.Close()
	a := newStandalone(t, t.TempDir())
	if a.tracer != nil || a.requestTracer() != nil || a.submitTracer() != nil || a.runTracer() != nil || a.callTracer() != nil {
		t.Fatal("a tracer without a collector")
	}
	submitTraced(t, a, fmt.Sprintf(`{"kind":"http","payload":{"url":%q}}`, s.URL), sampled)
	select {
	case h := <-got:
		if h.Get("traceparent") != "" {
			t.Error(h)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no call")
	}
}
