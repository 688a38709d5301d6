package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

// exchange is one request that the fake API expects, and its answer.
type exchange struct {
	want   string // "METHOD /path?query"
	body   string // checked unless empty
	status int    // 200 unless set
	answer string
	header map[string]string
	drop   bool // break the connection instead of answering
	slow   bool // do not answer
	open   bool // needs no credential: none may be sent
}

// fakeAPI answers exchanges in order.
type fakeAPI struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	left   []exchange
	keys   []string          // Idempotency-Key of each request
	health map[string]string // headers of /healthz, which is answered at any time when it is set
	// matches is the If-Match of each request.
	matches []string
	after   []string // Last-Event-ID of each request
}

const testKey = "test-key-0123456789"

func newFake(t *testing.T, exchanges ...exchange) *fakeAPI {
	f := &fakeAPI{t: t, left: exchanges}
	srv := httptest.NewServer(f)
	f.url = srv.URL
	t.Cleanup(func() {
		srv.Close()
		if len(f.left) > 0 {
			t.Errorf("never asked for: %+v", f.left)
		}
	})
	return f
}

// ServeHTTP implements http.Handler.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := r.Method + " " + r.URL.RequestURI()
	if r.URL.Path == "/healthz" && f.health != nil {
		for k, v := range f.health {
			w.Header().Set(k, v)
		}
		return
	}
	if len(f.left) == 0 {
		f.t.Errorf("not expected: %s", got)
		return
	}
	x := f.left[0]
	f.left = f.left[1:]
	f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
	f.matches = append(f.matches, r.Header.Get("If-Match"))
	f.after = append(f.after, r.Header.Get("Last-Event-ID"))
	raw, _ := io.ReadAll(r.Body)
	if got != x.want || x.body != "" && string(raw) != x.body {
		f.t.Errorf("got %s with %s\nwant %s with %s", got, raw, x.want, x.body)
	}
	if h := r.Header.Get("Authorization"); h != "Bearer "+testKey && !x.open || x.open && h != "" {
		f.t.Errorf("credential %q", h)
	}
	if x.slow {
		f.mu.Unlock()
		<-r.Context().Done()
		f.mu.Lock()
		return
	}
	if x.drop {
		c, _, _ := w.(http.Hijacker).Hijack()
		_ = c.Close()
		return
	}
	for k, v := range x.header {
		w.Header().Set(k, v)
	}
	if x.status != 0 {
		w.WriteHeader(x.status)
	}
	_, _ = io.WriteString(w, x.answer)
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// run executes a command line against an address.
func run(t *testing.T, address, stdin string, args ...string) result {
	t.Helper()
	return runWith(t, Deps{Environ: []string{"TASKWEIR_URL=" + address, "TASKWEIR_API_KEY=" + testKey, "TASKWEIR_DATA_DIR=" + t.TempDir()}}, stdin, args...)
}

func runWith(t *testing.T, d Deps, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	d.Version, d.In, d.Out, d.Err = "1.2.3", strings.NewReader(stdin), &out, &errs
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	if !slices.ContainsFunc(d.Environ, func(kv string) bool { return strings.HasPrefix(kv, "XDG_CONFIG_HOME=") }) {
		d.Environ = append(slices.Clone(d.Environ), "XDG_CONFIG_HOME="+t.TempDir())
	}
	code := Run(ctx, d, args)
	return result{code, out.String(), errs.String()}
}

// expect checks code and texts.
func (r result) expect(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.out, r.err)
	}
	for _, text := range texts {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("%q is not said\nstdout: %s\nstderr: %s", text, r.out, r.err)
		}
	}
}

// everything has every hook, so that every command is there.
func everything() Deps {
	return Deps{
		Standalone: func(context.Context, *config.Config, StandaloneOptions) error { return nil },
		Bench:      func(context.Context, []string) error { return nil },
		Migrate:    func(context.Context, *config.Config, string) ([]MigrationStep, error) { return nil, nil },
	}
}
