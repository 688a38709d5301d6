package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The headers by which a receiver fences effects.
const (
	headerTask  = "Taskweir-Task-Id"
	headerEpoch = "Taskweir-Epoch"
)

// run is one execution of a task, as the receiver sees it.
type run struct {
	task  string
	epoch int
}

// receiver is the world outside: it counts who called it.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	calls map[run]int
	first map[run]time.Time
	bad   []string // calls without proper headers
	stop  chan struct{}
}

// newReceiver serves /ok, /slow (answers after 60 s, or when the caller goes), /drop (reads the request and breaks the
// connection in epoch 1; answers after that).
func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{calls: map[run]int{}, first: map[run]time.Time{}, stop: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ok", func(w http.ResponseWriter, req *http.Request) {
		r.count(req)
		fmt.Fprint(w, `"ok"`)
	})
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, req *http.Request) {
		r.count(req)
		select {
		case <-req.Context().Done():
		case <-r.stop:
		case <-time.After(time.Minute):
		}
	})
	mux.HandleFunc("POST /drop", func(w http.ResponseWriter, req *http.Request) {
		if r.count(req).epoch == 1 {
			panic(http.ErrAbortHandler)
		}
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(func() { close(r.stop); r.Close() })
	return r
}

func (r *receiver) count(req *http.Request) run {
	_, _ = io.Copy(io.Discard, req.Body) // a caller that goes away is counted all the same
	task := req.Header.Get(headerTask)
	epoch, err := strconv.Atoi(req.Header.Get(headerEpoch))
	c := run{task, epoch}
	r.mu.Lock()
	defer r.mu.Unlock()
	if task == "" || err != nil {
		r.bad = append(r.bad, fmt.Sprint(req.Header))
		return c
	}
	if r.calls[c]++; r.calls[c] == 1 {
		r.first[c] = time.Now()
	}
	return c
}

// seen tells when a run first came.
func (r *receiver) seen(task string, epoch int) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.first[run{task, epoch}]
	return at, ok
}

// check fails for losses and doubled runs. It gives the number of runs.
func (r *receiver) check(t *testing.T, accepted []string) int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	came := map[string]bool{}
	runs := 0
	for c, n := range r.calls {
		came[c.task] = true
		runs += n
		if n > 1 {
			t.Errorf("task %s ran %d times in epoch %d", c.task, n, c.epoch)
		}
	}
	lost := 0
	for _, id := range accepted {
		if !came[id] {
			if lost++; lost <= 10 {
				t.Errorf("task %s was accepted and never ran", id)
			}
		}
	}
	if len(r.bad) > 0 {
		t.Errorf("%d calls without task id and epoch, the first with %s", len(r.bad), r.bad[0])
	}
	return runs
}
