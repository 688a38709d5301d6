package httpkit_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

func engine(routes ...httpkit.Route) *httpkit.Engine {
	e := httpkit.New(httpkit.Options{Logger: quiet, MaxBody: 1000})
	e.Handle(routes...)
	return e
}

func call(h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func problemOf(t *testing.T, w *httptest.ResponseRecorder) apiv1.Problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q", ct)
	}
	var p apiv1.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %q", err, w.Body)
	}
	if p.Status != w.Code {
		t.Errorf("status %d inside, %d outside", p.Status, w.Code)
	}
	return p
}

func TestEveryKindHasAStatus(t *testing.T) {
	for kind, want := range map[task.Kind]int{task.Internal: 500, task.Malformed: 400, task.Unauthorized: 401, task.Forbidden: 403, task.NotFound: 404,
		task.Conflict: 409, task.TooLarge: 413, task.Invalid: 422, task.Throttled: 429, task.Unavailable: 503} {
		e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
			return httpkit.Response{}, &task.Error{Kind: kind, Code: "c", Message: "m", TaskID: 7, RetryAfter: 1500 * time.Millisecond, Cause: errors.New("secret cause"),
				Fields: []task.FieldError{{Field: "f", Rule: "r", Message: "fm"}}}
		}})
		w := call(e, "GET", "/x", "")
		if w.Code != want {
			t.Errorf("kind %d: status %d, want %d", kind, w.Code, want)
		}
		p := problemOf(t, w)
		if strings.Contains(w.Body.String(), "secret") {
			t.Error("the cause was sent")
		}
		if kind == task.Internal {
			if p.Code != "internal" || p.Errors != nil || p.Detail == "m" {
				t.Errorf("an internal fault shows %+v", p)
			}
			continue
		}
		if p.Code != "c" || p.Detail != "m" || p.TaskID != 7 || len(p.Errors) != 1 || p.Errors[0] != (apiv1.FieldError{Field: "f", Rule: "r", Message: "fm"}) {
			t.Errorf("kind %d: %+v", kind, p)
		}
		if retry := w.Header().Get("Retry-After"); retry != "2" {
			t.Errorf("kind %d: Retry-After %q", kind, retry)
		}
	}
	e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{}, &task.Error{Kind: task.Conflict, Code: "c", Message: "m"}
	}})
	if retry := call(e, "GET", "/x", "").Header().Values("Retry-After"); len(retry) != 0 {
		t.Errorf("a conflict that time does not mend has Retry-After %q", retry)
	}
}

func TestPanicIsA500WithoutInternals(t *testing.T) {
	e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) { panic("secret") }})
	w := call(e, "GET", "/x", "", "X-Request-Id", "abc")
	if p := problemOf(t, w); w.Code != 500 || p.RequestID != "abc" || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestUnknownAddressesAndMethods(t *testing.T) {
	e := engine(httpkit.Route{Method: "POST", Path: "/a/:id/b", Handle: nil})
	if w := call(e, "GET", "/nothing", ""); w.Code != 404 || problemOf(t, w).Code != "not_found" {
		t.Errorf("404: %d", w.Code)
	}
	w := call(e, "GET", "/a/1/b", "")
	if w.Code != 405 || problemOf(t, w).Code != "method_not_allowed" || w.Header().Get("Allow") != "POST" {
		t.Errorf("405: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := call(e, "GET", "/a/1/b/", ""); w.Code != 404 {
		t.Errorf("a trailing slash is another address: %d", w.Code)
	}
}

func TestBodyLimit(t *testing.T) {
	e := engine(httpkit.Route{Method: "POST", Path: "/x", Handle: func(_ context.Context, r *httpkit.Request) (httpkit.Response, error) {
		b, err := r.Body()
		return httpkit.Response{Body: append([]byte("got "), b...)}, err
	}})
	srv := httptest.NewServer(e)
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for _, n := range []int{0, 1, 999, 1000, 1001, 5000} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", n))
			if chunked {
				body = io.MultiReader(body) // hides its length
			}
			resp, err := http.Post(srv.URL+"/x", "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if n <= 1000 && (resp.StatusCode != 200 || len(got) != n+4) {
				t.Errorf("%d bytes (chunked %v): %d, %d bytes came back", n, chunked, resp.StatusCode, len(got))
			}
			if n > 1000 && resp.StatusCode != 413 {
				t.Errorf("%d bytes (chunked %v): %d, want 413", n, chunked, resp.StatusCode)
			}
		}
	}
}

func TestETag(t *testing.T) {
	e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{Body: []byte(`{"a":1}`), ETag: true}, nil
	}})
	w := call(e, "GET", "/x", "")
	tag := w.Header().Get("ETag")
	if w.Code != 200 || tag == "" {
		t.Fatalf("%d, tag %q", w.Code, tag)
	}
	for _, header := range []string{tag, `"other", W/` + tag, "*"} {
		if w := call(e, "GET", "/x", "", "If-None-Match", header); w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("If-None-Match %s: %d %q", header, w.Code, w.Body)
		}
	}
	if w := call(e, "GET", "/x", "", "If-None-Match", `"other"`); w.Code != 200 {
		t.Errorf("another tag: %d", w.Code)
	}
}

func TestQuery(t *testing.T) {
	e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(_ context.Context, r *httpkit.Request) (httpkit.Response, error) {
		return httpkit.Response{}, r.OnlyQuery("a", "b")
	}})
	for q, want := range map[string]int{"": 204, "?a=1&b=2": 204, "?c=1": 422, "?a=1&a=2": 422, "?a=%zz": 400} {
		if w := call(e, "GET", "/x"+q, ""); w.Code != want {
			t.Errorf("%q: %d, want %d", q, w.Code, want)
		}
	}
}

func TestReadyNamesWhatIsMissing(t *testing.T) {
	e := engine()
	var failing error = errors.New("dial tcp 10.0.0.1:3306: secret")
	httpkit.RegisterOps(e, httpkit.Ops{Checks: []httpkit.Check{
		{Name: "database", Run: func(context.Context) error { return failing }},
		{Name: "nsq", Run: func(context.Context) error { return nil }},
	}})
	w := call(e, "GET", "/readyz", "")
	var h apiv1.Health
	if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil || w.Code != 503 || h.Status != "unavailable" ||
		len(h.Checks) != 2 || h.Checks[0].OK || h.Checks[0].Name != "database" || !h.Checks[1].OK || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call(e, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz: %d", w.Code)
	}
	if w := call(e, "GET", "/debug/pprof/", ""); w.Code != 404 {
		t.Errorf("pprof must be off unless told: %d", w.Code)
	}
	e = engine()
	httpkit.RegisterOps(e, httpkit.Ops{Pprof: true})
	if w := call(e, "GET", "/debug/pprof/goroutine?debug=1", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "goroutine profile") {
		t.Errorf("pprof: %d", w.Code)
	}
	if w := call(e, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("nothing is needed, so it is ready: %d", w.Code)
	}
}

func TestTakenPortNamesTheKey(t *testing.T) {
	ln, err := httpkit.Listen("127.0.0.1:0", "TASKWEIR_HTTP_ADDR")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := httpkit.Listen(ln.Addr().String(), "TASKWEIR_HTTP_ADDR"); err == nil || !strings.Contains(err.Error(), "TASKWEIR_HTTP_ADDR") || !strings.Contains(err.Error(), "taken") {
		t.Errorf("error %v", err)
	}
	if _, err := httpkit.Listen("nowhere:x", "TASKWEIR_OPS_ADDR"); err == nil || !strings.Contains(err.Error(), "TASKWEIR_OPS_ADDR") {
		t.Errorf("error %v", err)
	}
}

func TestShutdownWaitsForRequests(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	e := engine(httpkit.Route{Method: "GET", Path: "/x", Handle: func(context.Context, *httpkit.Request) (httpkit.Response, error) {
		close(entered)
		<-leave
		return httpkit.Response{Body: []byte("done")}, nil
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httpkit.Serve(ln, e, quiet)
	answer := make(chan string, 1)
	go func() {
		defer http.DefaultClient.CloseIdleConnections()
		resp, err := http.Get("http://" + s.Addr() + "/x")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	<-s.Done() // nothing new is accepted, the request is still there
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-stopped; err != nil || s.Err() != nil {
		t.Errorf("shutdown: %v, %v", err, s.Err())
	}
}

// offered remembers the largest buffer that a body was asked to fill before it gave anything.
type offered struct {
	rest  io.Reader
	first int
}

func (o *offered) Read(p []byte) (int, error) {
	if o.first == 0 {
		o.first = len(p)
	}
	return o.rest.Read(p)
}

func TestMemoryFollowsTheBodyNotItsAnnouncement(t *testing.T) {
	const size = 8 << 20
	e := httpkit.New(httpkit.Options{Logger: quiet})
	e.Handle(httpkit.Route{Method: "POST", Path: "/", Handle: func(_ context.Context, r *httpkit.Request) (httpkit.Response, error) {
		b, err := r.Body()
		if err == nil && (len(b) != size || strings.Count(string(b), "x") != size) {
			t.Errorf("%d bytes arrived", len(b))
		}
		return httpkit.Response{}, err
	}})
	body := &offered{rest: strings.NewReader(strings.Repeat("x", size))}
	r := httptest.NewRequest("POST", "/", body)
	r.ContentLength = size
	w := httptest.NewRecorder()
	if e.ServeHTTP(w, r); w.Code != http.StatusNoContent {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if body.first > 256<<10 {
		t.Errorf("%d bytes were set aside before any arrived", body.first)
	}
}
