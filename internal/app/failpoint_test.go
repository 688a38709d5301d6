//go:build faults && linux

package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// effects is a receiver that remembers the epochs it was called with.
type effects struct {
	*httptest.Server
	mu     sync.Mutex
	epochs []string
}

func newEffects(t *testing.T) *effects {
	e := &effects{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.epochs = append(e.epochs, r.Header.Get("Taskweir-Epoch"))
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *effects) seen() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.epochs, ",")
}

func (e *effects) task() string {
	return fmt.Sprintf(`{"kind":"http","payload":{"url":%q}}`, e.URL)
}

// Whoever is held up at a point has done what comes before it, and nothing of what comes after.
func TestFailpointsAreWhereTheySay(t *testing.T) {
	a := newStandalone(t, t.TempDir())
	for _, c := range []struct {
		point    failpoint.Point
		state    string // as the API shows it meanwhile
		happened bool   // the receiver was called
	}{
		{failpoint.SubmitCommitted, "queued", false},
		{failpoint.RingPublish, "queued", false},
		{failpoint.ClaimTx, "queued", false},
		{failpoint.ClaimCommitted, "running", false},
		{failpoint.ClaimRun, "running", false},
		{failpoint.RunEffect, "running", true},
		{failpoint.FinishCommitted, "succeeded", true},
	} {
		t.Run(c.point.String(), func(t *testing.T) {
			sink := newEffects(t)
			before := failpoint.Counts()[c.point.String()].Acted
			if err := failpoint.Set(c.point, failpoint.Rule{Action: failpoint.Delay, DelayMs: 1500, Times: 1}); err != nil {
				t.Fatal(err)
			}
			defer failpoint.Clear(c.point)
			id := a.submit(t, sink.task()).ID
			for failpoint.Counts()[c.point.String()].Acted == before {
				<-time.After(time.Millisecond)
			}
			var got apiv1.Task
			a.call(t, "GET", "/v1/tasks/"+id.String(), "", &got)
			if got.State != c.state || (sink.seen() != "") != c.happened {
				t.Errorf("state %s, effects %q", got.State, sink.seen())
			}
			if got := a.wait(t, id); got.State != "succeeded" || sink.seen() != "1" {
				t.Errorf("in the end: state %s, effects %q", got.State, sink.seen())
			}
		})
	}
}

// A publish that fails leaves its bells to the scheduler; one that only says so rings them twice, which nobody notices.
func TestFailpointsOfPublishesLoseNothing(t *testing.T) {
	a := newStandalone(t, t.TempDir())
	for _, fault := range []string{"lost_before", "lost_after"} {
		sink := newEffects(t)
		if err := failpoint.Set(failpoint.RingPublish, failpoint.Rule{Action: failpoint.Fail, Error: fault, Times: 1}); err != nil {
			t.Fatal(err)
		}
		if got := a.wait(t, a.submit(t, sink.task()).ID); got.State != "succeeded" || sink.seen() != "1" {
			t.Errorf("%s: state %s, effects %q", fault, got.State, sink.seen())
		}
	}
}

// standaloneProcess is this test's own binary, started as the program (TestMain).
type standaloneProcess struct {
	*testkit.Process
	base, faults, key string
}

func startProcess(t *testing.T) *standaloneProcess {
	t.Helper()
	var addr [2]string
	for i := range addr {
		port, err := testkit.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		addr[i] = testkit.Loopback(port)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &standaloneProcess{base: "http://" + addr[0], faults: "http://" + addr[1], key: testkit.NewKeys().Bootstrap}
	s.Process, err = testkit.Start(t.Context(), testkit.Spec{Name: "standalone", Path: program, Args: []string{"standalone"}, Dir: dir,
		Log: filepath.Join(dir, "log"), Ready: testkit.Answers(addr[0], "/readyz"),
		Env: []string{"TASKWEIR_HTTP_ADDR=" + addr[0], "TASKWEIR_FAULTS_ADDR=" + addr[1], "TASKWEIR_DATA_DIR=" + filepath.Join(dir, "data"),
			"TASKWEIR_BOOTSTRAP_KEY=" + s.key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func (s *standaloneProcess) call(t *testing.T, method, url, body string, into any) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return 0
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s: %s: %v", method, url, raw, err)
		}
	}
	return res.StatusCode
}

// submitted gives the id of a task that was submitted without waiting for the answer, which a process that dies cannot give.
func (s *standaloneProcess) submitted(t *testing.T, body string) apiv1.ID {
	t.Helper()
	var got apiv1.Task
	if status := s.call(t, "POST", s.base+"/v1/tasks", body, &got); status != http.StatusCreated {
		t.Fatalf("submit: status %d", status)
	}
	return got.ID
}

// A process that a point kills is dead there: the effect is seen, its end is not, and another start runs the task again under
// the next epoch.
func TestFailpointsKill(t *testing.T) {
	s, sink := startProcess(t), newEffects(t)
	if status := s.call(t, "PUT", s.faults+"/faults/run.effect", `{"action":"kill","times":1}`, nil); status != http.StatusNoContent {
		t.Fatalf("control: %d", status)
	}
	id := s.submitted(t, sink.task())
	<-s.Done()
	if sink.seen() != "1" {
		t.Errorf("effects %q", sink.seen())
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got apiv1.Task
	if s.call(t, "GET", s.base+"/v1/tasks/"+id.String()+"?wait=20s", "", &got); got.State != "succeeded" || sink.seen() != "1,2" {
		t.Errorf("state %s, effects %q", got.State, sink.seen())
	}
}

// A process that a point stops stands still as a whole, at that very place, until it is continued.
func TestFailpointsStop(t *testing.T) {
	s, sink := startProcess(t), newEffects(t)
	if status := s.call(t, "PUT", s.faults+"/faults/claim.run", `{"action":"stop","times":1}`, nil); status != http.StatusNoContent {
		t.Fatalf("control: %d", status)
	}
	id := s.submitted(t, sink.task())
	for state := byte('?'); state != 'T'; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
		if err != nil {
			t.Fatal(err)
		}
		state = stat[bytes.LastIndexByte(stat, ')')+2]
	}
	if sink.seen() != "" {
		t.Errorf("effects %q of a process that stands still", sink.seen())
	}
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var got apiv1.Task
	if s.call(t, "GET", s.base+"/v1/tasks/"+id.String()+"?wait=20s", "", &got); got.State != "succeeded" || sink.seen() != "1" {
		t.Errorf("state %s, effects %q", got.State, sink.seen())
	}
}
