package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// visit is one execution of a task, from when the sink heard of it until it answered or the caller went.
type visit struct {
	run
	from, to time.Time
}

// sink is what a limit protects: it notes by its own clock who was there when.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	visits []visit
}

// newSink takes its time for each call: 100 to 200 ms.
func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // from then on it is heard when the caller goes
		epoch, err := strconv.Atoi(req.Header.Get(headerEpoch))
		if err != nil {
			t.Errorf("a call without an epoch: %v", req.Header)
		}
		v := visit{run: run{req.Header.Get(headerTask), epoch}, from: time.Now()}
		select {
		case <-req.Context().Done():
		case <-time.After(time.Duration(100+rand.IntN(100)) * time.Millisecond):
		}
		v.to = time.Now()
		s.mu.Lock()
		s.visits = append(s.visits, v)
		s.mu.Unlock()
	}))
	t.Cleanup(s.Close)
	return s
}

// most is how many runs were there at once at the most. Those of a worker that was stopped, and went on after its tasks were given to
// others, are not among them: from then on they are told by their lower epoch, and are late.
func (s *sink) most(goesOn time.Time) (most, late, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := map[string]int{}
	for _, v := range s.visits {
		last[v.task] = max(last[v.task], v.epoch)
	}
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, v := range s.visits {
		if v.epoch > 1 {
			again++
		}
		if v.epoch < last[v.task] && v.from.After(goesOn) {
			late++
			continue
		}
		steps = append(steps, step{v.from, 1}, step{v.to, -1})
	}
	slices.SortFunc(steps, func(a, b step) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return a.by - b.by
	})
	now := 0
	for _, x := range steps {
		now += x.by
		most = max(most, now)
	}
	return most, late, again
}

// A queue with concurrency 3 never has a fourth task running, while its workers are killed, and while one is stopped for longer than
// its life is believed in and then goes on. When all is done nobody holds a place, and none had to be counted anew.
func TestConcurrencyIsKeptWhateverIsKilled(t *testing.T) {
	t.Parallel()
	needServers(t)
	c, err := testkit.StartCluster(t.Context(), testkit.ClusterOptions{Programs: programs(t), Schedulers: 1, Workers: 3,
		Env: []string{"TASKWEIR_LIVENESS_BEAT=500ms", "TASKWEIR_LIVENESS_DEAD_AFTER=2s", "TASKWEIR_DRAIN_TIME=1s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	logsOnFailure(t, c.Processes()...)
	api, s := newClient(t, c.BaseURL, c.Keys.Bootstrap), newSink(t)
	api.must(t, http.MethodPut, "/v1/queues/limited", `{"limits":{"concurrency":3}}`, nil)
	one := fmt.Sprintf(`{"kind":"http","queue":"limited","payload":{"url":"%s"},"retry":{"policy":"fixed","baseMs":50,"max":20}}`, s.URL)
	const tasks = 60
	api.must(t, http.MethodPost, "/v1/tasks/batch", `{"tasks":[`+strings.Repeat(one+",", tasks-1)+one+`]}`, nil)
	succeeded := func() (n int) {
		out, err := c.MariaDB.Query(t.Context(), "SELECT COUNT(*) FROM taskweir.tasks t JOIN taskweir.lanes l ON l.id = t.lane_id WHERE l.queue = 'limited' AND t.state = 4")
		if err == nil {
			n, err = strconv.Atoi(out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, 10*time.Second, "tasks run", func() bool { return succeeded() > 5 })

	stopped := c.Workers[0]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(stopped.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = stopped.Signal(syscall.SIGCONT) })
	since := time.Now()
	for _, w := range c.Workers[1:] {
		time.Sleep(time.Duration(300+rand.IntN(300)) * time.Millisecond)
		w.Kill()
		must(w.Restart(t.Context()))
	}
	time.Sleep(3000*time.Millisecond - time.Since(since))
	goesOn := time.Now()
	must(stopped.Signal(syscall.SIGCONT))
	c.Workers[2].Kill()
	must(c.Workers[2].Restart(t.Context()))

	took := time.Now()
	eventually(t, 30*time.Second, "all are done", func() bool { return succeeded() == tasks })
	most, late, again := s.most(goesOn)
	t.Logf("%d visits, at most %d at once, %d of a later epoch, %d late; done %v after the last kill", len(s.visits), most, again, late, time.Since(took).Round(time.Millisecond))
	if most != 3 {
		t.Errorf("%d ran at once, want 3", most)
	}
	if again == 0 {
		t.Error("nobody lost a task: nothing was tried")
	}
	if left, err := c.MariaDB.Query(t.Context(), "SELECT k, max, running FROM taskweir.limits"); err != nil || left != "q:limited\t3\t0" {
		t.Errorf("the limit stands at %q, %v", left, err)
	}
	if log := c.Schedulers[0].Tail(1 << 20); strings.Contains(log, "counted wrongly") {
		t.Errorf("places had to be counted anew:\n%s", log)
	}
}
