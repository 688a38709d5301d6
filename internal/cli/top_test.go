package cli

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// topServer is an API with some queues, two workers and failures.
type topServer struct {
	mu     sync.Mutex
	queues int
	paused map[string]bool
	looks  int
	posted []string
	away   bool
}

func newTopServer(t *testing.T, queues int) (*topServer, string) {
	s := &topServer{queues: queues, paused: map[string]bool{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func (s *topServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Date", "Fri, 02 Jan 2026 03:05:05 GMT")
	switch path := r.URL.Path; {
	case s.away:
		w.WriteHeader(503)
		_, _ = io.WriteString(w, `{"status":503,"code":"database_unavailable","detail":"the database is gone"}`)
	case r.Method == "POST":
		s.posted = append(s.posted, path)
		parts := strings.Split(path, "/")
		s.paused[parts[3]] = parts[4] == "pause"
		_, _ = io.WriteString(w, `{}`)
	case path == "/v1/queues":
		s.looks++
		var items []string
		for i := range s.queues {
			name := fmt.Sprintf("queue-%02d", i)
			items = append(items, fmt.Sprintf(`{"name":%q,"paused":%v,"depth":{"value":%d},"scheduled":{"value":3},"running":{"value":%d},"oldestDueAt":"2026-01-02T03:04:05Z","oldestDueAgeMs":60000,"limits":{"rate":{"tasks":50,"perMs":1000},"concurrency":4}}`, name, s.paused[name], 100-i, i))
		}
		_, _ = io.WriteString(w, `{"items":[`+strings.Join(items, ",")+`]}`)
	case path == "/v1/stats":
		_, _ = fmt.Fprintf(w, `{"from":"2026-01-02T03:04:00.000Z","to":"2026-01-02T03:06:00.000Z","stepMs":60000,"by":"queue","items":[{"at":"2026-01-02T03:04:00.000Z","key":"queue-00","submitted":%d,"succeeded":65}]}`, 130*s.looks)
	case path == "/v1/workers":
		_, _ = io.WriteString(w, `{"items":[{"id":"3","state":"alive","host":"one","busy":2,"slots":256,"beatAt":"2026-01-02T03:05:03Z"},{"id":"4","state":"draining","host":"two\u001b[2J","busy":0,"slots":8,"beatAt":"2026-01-02T03:05:00Z"}]}`)
	case strings.HasPrefix(path, "/v1/workers/"):
		_, _ = io.WriteString(w, `{"id":"3","state":"alive","running":[{"task":"71","kind":"shell","startedAt":"2026-01-02T03:04:50Z"}]}`)
	default:
		_, _ = io.WriteString(w, `{"items":[{"id":"8","kind":"http","queue":"mail","state":"failed","finishedAt":"2026-01-02T03:05:00Z","error":{"code":"http_status","message":"answered 502 after 17 ms","httpStatus":502}},
			{"id":"7","kind":"http","queue":"mail","state":"failed","finishedAt":"2026-01-02T03:04:00Z","error":{"code":"http_status","message":"answered 502 after 23 ms","httpStatus":502}},
			{"id":"6","kind":"shell","queue":"mail","state":"failed","finishedAt":"2026-01-02T03:03:00Z","error":{"code":"exit_1","message":"\u001b]0;owned\u0007no such file"}}]}`)
	}
}

func TestTopOncePrintsOneScreen(t *testing.T) {
	_, url := newTopServer(t, 2)
	r := run(t, url, "", "top", "--once", "--width=100")
	r.expect(t, ExitOK, "199 due, 1 running, 2/264 slots busy, 2 workers  "+url, "queue-00", "open", "1m0s", "2.0", "1.0", "50/s ≤4", "2/256", "2s", "shell 71 15s", "draining", "http_status 502: answered 502 after 17 ms", "http")
	if !strings.Contains(r.out, "     2       5s 8") {
		t.Errorf("what looks alike is not together:\n%s", r.out)
	}
	if strings.ContainsAny(r.out, "\x1b\x07") {
		t.Errorf("an escape sequence of a server reached the output: %q", r.out)
	}
	for line := range strings.Lines(r.out) {
		if n := columns(strings.TrimSuffix(line, "\n")); n > 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	_, url := newTopServer(t, 1)
	run(t, url, "", "top").expect(t, ExitUsage, "is no terminal: use --once")
	run(t, url, "", "top", "--interval=1ms").expect(t, ExitUsage, "200ms or more")
	run(t, url, "", "top", "-o=json").expect(t, ExitUsage, "for people")
}

// Without statistics top shows everything else, and says so.
func TestTopWithoutStatistics(t *testing.T) {
	s, _ := newTopServer(t, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/stats" {
			w.WriteHeader(404)
			_, _ = io.WriteString(w, `{"status":404,"code":"not_found","detail":"nothing here"}`)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	run(t, srv.URL, "", "top", "--once").expect(t, ExitOK, "QUEUES: no rates: nothing here (404 not_found)", "queue-00")
}

// Whatever is shown and pressed at whatever size: exactly that many lines, none wider than the terminal, the selection seen.
func TestEveryScreenFits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		v := newTopView(rng.IntN(2) == 0)
		s := &snapshot{at: 1_700_000_000_000, limited: true, noStats: "no rates: nothing here"}
		for i := range rng.IntN(30) {
			s.queues = append(s.queues, topQueue{Queue: apiv1.Queue{Name: strings.Repeat("界q", rng.IntN(20)) + fmt.Sprint(i), OldestDueAt: 1, OldestDueAgeMs: rng.Int64N(1e12), Depth: apiv1.Count{Value: rng.Int64N(1e12), AtLeast: true}}, in: rng.Float64() * 1e6, out: -1})
		}
		for i := range rng.IntN(20) {
			s.workers = append(s.workers, apiv1.Worker{ID: apiv1.ID(i + 1), State: "alive", Host: strings.Repeat("host", 10), Running: []apiv1.RunningTask{{Task: 5, Kind: strings.Repeat("k", 64)}}})
		}
		for i := range rng.IntN(20) {
			s.failures = append(s.failures, topFailure{text: strings.Repeat("e\x1b[2J", 40), count: 3, task: apiv1.ID(i + 1)})
		}
		v.take(s, "http://server.example.org:8080")
		w, h := 20+rng.IntN(150), 8+rng.IntN(60)
		e := newEmulator(w, h)
		var out strings.Builder
		scr := &screen{out: &out}
		for range 5 {
			v.focus = rng.IntN(panes)
			p := &v.panes[v.focus]
			p.sort = rng.IntN(len(p.columns))
			p.arrange()
			p.move(rng.IntN(41) - 20)
			lines := v.lines(w, h)
			if len(lines) != h {
				t.Fatalf("%d lines on %d×%d", len(lines), w, h)
			}
			if err := scr.draw(lines); err != nil {
				t.Fatal(err)
			}
			e.write([]byte(out.String()))
			out.Reset()
			if len(e.unknown) > 0 {
				t.Fatalf("%d×%d: %q\n%s", w, h, e.unknown, e.text())
			}
			if len(p.rows) > 0 && h >= 8 && !strings.Contains(e.text(), "\n>") {
				t.Fatalf("%d×%d: the selection is not seen\n%s", w, h, e.text())
			}
		}
	}
}
