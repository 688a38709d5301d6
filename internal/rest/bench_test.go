package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/task"
)

// memory is a store that accepts every task at once, so that what is measured is the way to it and back. Methods that a
// submit does not need are missing on purpose: calling one panics.
type memory struct {
	control.Store
	next atomic.Int64
	now  atomic.Int64
}

func (m *memory) Now() int64 { return m.now.Load() }

func (m *memory) TaskIDs(_ context.Context, n int) (int64, error) {
	return m.next.Add(int64(n)) - int64(n) + 1, nil
}

func (m *memory) Submit(_ context.Context, reqs []*task.Request) ([]task.Bell, error) {
	now := m.now.Load()
	bell := task.Bell{ID: 1, Direct: true, DueAt: now}
	for _, r := range reqs {
		for _, t := range r.Tasks {
			t.Created, t.TaskID, t.CreatedAt, t.DueAt = true, t.ID, now, now
			bell.TaskIDs = append(bell.TaskIDs, t.ID)
		}
	}
	return []task.Bell{bell}, nil
}

func (m *memory) Kinds(context.Context) ([]task.KindRow, error) {
	return []task.KindRow{{ID: 1, Name: "echo"}}, nil
}

func (m *memory) EnsureLane(context.Context, string, task.Priority) (task.Lane, error) {
	return task.Lane{ID: 1}, nil
}

func (m *memory) APIKeyByHash(_ context.Context, hash [32]byte) (task.APIKey, error) {
	return task.APIKey{ID: 1, AppID: 1, Hash: hash, Scope: task.ScopeSubmit}, nil
}

func (m *memory) AppByID(context.Context, int32) (task.App, error) {
	return task.App{ID: 1, Key: "abcdefghijklmnop"}, nil
}

type noRing struct{}

func (noRing) Ring(...task.Rung) {}

func memoryAPI(b testing.TB) http.Handler {
	m := &memory{}
	m.now.Store(1_800_000_000_000)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	svc := control.New(control.Options{Store: m, Ringer: noRing{}, Clock: m, Logger: log, Checks: map[string]func([]byte) []task.FieldError{"echo": nil}})
	b.Cleanup(func() { svc.Close(context.Background()) })
	return rest.New(rest.Options{Service: svc, Logger: log})
}

// bare is what a Go HTTP server does at least: read the body, answer as much.
var bare = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	w.Write(body)
})

var benchBody = `{"kind":"echo","payload":{"user":"someone@example.com","text":"` + strings.Repeat("x", 140) + `","n":42}}`

func BenchmarkSubmitHandler(b *testing.B) {
	h := memoryAPI(b)
	b.ReportAllocs()
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest("POST", "/v1/tasks", strings.NewReader(benchBody))
			r.Header.Set("Authorization", "Bearer a-key-with-sixteen")
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != 201 {
				b.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
}

// BenchmarkSubmitHTTP measures the API and a bare server over 256 kept connections, by turns in one run.
func BenchmarkSubmitHTTP(b *testing.B) {
	clients := 256
	if v, err := strconv.Atoi(os.Getenv("BENCH_CLIENTS")); err == nil {
		clients = v
	}
	for _, x := range []struct {
		name string
		h    http.Handler
	}{{"bare", bare}, {"api", memoryAPI(b)}} {
		b.Run(x.name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			s := httpkit.Serve(ln, x.h, slog.New(slog.DiscardHandler))
			b.Cleanup(func() { s.Shutdown(context.Background()) })
			b.ReportAllocs()
			hammer(b, s.Addr(), clients)
		})
	}
}

// hammer sends b.N requests over kept connections with a client that costs little itself.
func hammer(b *testing.B, addr string, clients int) {
	request := []byte(fmt.Sprintf("POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-key-with-sixteen\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(benchBody), benchBody))
	conns := make([]net.Conn, clients)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = c
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			defer c.Close()
			rd := bufio.NewReader(c)
			for left.Add(-1) >= 0 {
				if _, err := c.Write(request); err != nil {
					b.Error(err)
					return
				}
				if err := readAnswer(rd); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "requests/s")
}

// readAnswer reads one answer with a Content-Length.
func readAnswer(rd *bufio.Reader) error {
	status, err := rd.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(string(status), " 201 ") {
		return fmt.Errorf("answer %q", status)
	}
	length := 0
	for {
		line, err := rd.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if v, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(v)); err != nil {
				return err
			}
		}
	}
	_, err = rd.Discard(length)
	return err
}
