package run

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/faults/faults"
)

func TestAlarmsAreFoundInLogs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.log", "{\"level\":\"INFO\",\"msg\":\"a handler's panic: was caught\"}\n")
	race := write("worker1.log", "started\n==================\nWARNING: DATA RACE\nRead at 0x0\n")
	dead := write("api1.log", "panic: assignment to entry in nil map\n\ngoroutine 1 [running]:")
	caught := write("worker2.log", "{\"level\":\"ERROR\",\"msg\":\"handler panicked\",\"panic\":\"nil map\"}\n2026/11/22 http: panic serving 127.0.0.1:1: boom\n")
	found := Alarms([]string{good, race, dead, filepath.Join(dir, "none.log"), caught})
	if len(found) != 5 || found[0] != "worker1.log:3: WARNING: DATA RACE" || !strings.HasPrefix(found[1], "api1.log:1: panic: assignment") ||
		!strings.HasPrefix(found[2], "a log cannot be read") || !strings.HasPrefix(found[3], "worker2.log:1: ") || !strings.HasPrefix(found[4], "worker2.log:2: ") {
		t.Errorf("%q", found)
	}
}

// The probe is submitted at the next API when one does not take it, until one does.
func TestProbeIsSubmittedWhereverItIsTaken(t *testing.T) {
	var seen []string
	server := func(name string, status int, body string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, name)
			if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/v1/tasks" {
				t.Errorf("%s %v", r.URL, r.Header)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	p := &prober{apis: []string{server("good", http.StatusCreated, `{"id":"17"}`), server("away", http.StatusServiceUnavailable, `{}`)}, key: "secret", url: "http://sink"}
	id, err := p.submit(t.Context())
	if err != nil || id != 17 || !slices.Equal(seen, []string{"away", "good"}) {
		t.Fatal(id, err, seen)
	}
	p.apis = p.apis[1:]
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.submit(ctx); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatal(err)
	}
}

func TestOnlyAStartThatNobodyHinderedIsTooSlow(t *testing.T) {
	fault := func(targets ...string) *faults.Result {
		return &faults.Result{Injection: faults.Injection{Targets: targets}}
	}
	res := fault("worker1", "api1")
	res.Starts = []faults.Start{{Unit: "worker1", Took: 30 * time.Second}, {Unit: "api1", Took: 25 * time.Second}}
	for _, c := range []struct {
		other string
		want  string
	}{
		{"worker2", "worker1"},
		{"worker2→mariadb", "worker1"},
		{"worker1→mariadb", "api1"},
		{"client→api1", "worker1"},
		{"redis", ""},
	} {
		if got := slowest(res, []*faults.Result{res, fault(c.other)}); got.Unit != c.want {
			t.Errorf("beside %s: %+v", c.other, got)
		}
	}
}
