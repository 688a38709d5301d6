package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// impatient is a cluster of its own that declares a silent worker dead after 2 s: two schedulers, two workers.
func impatient(t *testing.T) *testkit.Cluster {
	t.Helper()
	needServers(t)
	c, err := testkit.StartCluster(t.Context(), testkit.ClusterOptions{Programs: programs(t), Schedulers: 2, Workers: 2,
		Env: []string{"TASKWEIR_WORKER_SHELL=true", "TASKWEIR_DRAIN_TIME=1s", "TASKWEIR_LIVENESS_BEAT=500ms", "TASKWEIR_LIVENESS_DEAD_AFTER=2s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// freeze stops a process where it is. What it gives lets it go on.
func freeze(t *testing.T, p *testkit.Process) (thaw func()) {
	t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := p.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
}

// gate is a receiver whose calls wait until their epoch is let through. It does what the documents ask of a receiver: once
// it has seen an epoch of a task, it does not act for a lower one any more.
type gate struct {
	*httptest.Server
	open map[int]chan struct{} // by epoch

	mu      sync.Mutex
	calls   map[run]int
	highest map[string]int
	acted   map[run]int // effects
	refused []run       // late calls: no effect
}

func newGate(t *testing.T, epochs int) *gate {
	t.Helper()
	g := &gate{open: map[int]chan struct{}{}, calls: map[run]int{}, highest: map[string]int{}, acted: map[run]int{}}
	for n := range epochs {
		g.open[n+1] = make(chan struct{})
	}
	over := make(chan struct{})
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		epoch, _ := strconv.Atoi(req.Header.Get(headerEpoch))
		c := run{req.Header.Get(headerTask), epoch}
		g.mu.Lock()
		g.calls[c]++
		g.highest[c.task] = max(g.highest[c.task], c.epoch)
		g.mu.Unlock()
		select {
		case <-g.open[epoch]:
		case <-over:
			return
		}
		g.act(c)
		fmt.Fprintf(w, `"answer of epoch %d"`, epoch)
	}))
	t.Cleanup(func() { close(over); g.Close() })
	return g
}

func (g *gate) act(c run) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.epoch < g.highest[c.task] {
		g.refused = append(g.refused, c)
	} else {
		g.acted[c]++
	}
}

// waiting tells how many tasks have called in that epoch.
func (g *gate) waiting(epoch int) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.calls {
		if c.epoch == epoch {
			n++
		}
	}
	return n
}

func (g *gate) late() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.refused)
}

// alive lists the worker ids that are alive, with their processes.
func (c *client) alive(t *testing.T) map[string]int {
	t.Helper()
	var list struct {
		Items []struct {
			ID, State string
			PID       int
		}
	}
	c.must(t, http.MethodGet, "/v1/workers", "", &list)
	out := map[string]int{}
	for _, w := range list.Items {
		if w.State == "alive" {
			out[w.ID] = w.PID
		}
	}
	return out
}

// takeover bounds how long after a worker was declared dead what it held, or was sent, runs elsewhere. It takes about 1 s; if
// a message had to come back from the frozen connection by nsqd's timeout, it would take 10 s.
const takeover = 6 * time.Second

// A worker that stands still for longer than the death watch waits, and then goes on as if nothing had happened, is the
// worst that can hold a task: it believes in its claims, its handlers return, its results are on their way. Its tasks run
// elsewhere soon after it was declared dead, and so do those whose messages its open connections swallowed, what it reports late is dropped while the newer attempt still runs, and what it does late carries the lower
// epoch. Then it registers anew and works again.
func TestFrozenWorkersResultsAreFenced(t *testing.T) {
	t.Parallel()
	c := impatient(t)
	logsOnFailure(t, c.Processes()...)
	const calls, sleeps, sleepFor = 8, 8, 5 * time.Second
	api, g := newClient(t, c.BaseURL, c.Keys.Bootstrap), newGate(t, 2)
	victim, other := c.Workers[0], c.Workers[1]
	if err := other.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	effects, over := filepath.Join(t.TempDir(), "effects"), filepath.Join(t.TempDir(), "over")
	script := api.submit(t, shell(fmt.Sprintf(`echo start $TASKWEIR_EPOCH >> %[1]s
trap 'echo late $TASKWEIR_EPOCH >> %[1]s; exit 0' TERM
while [ ! -e %[2]s ]; do sleep 0.05; done
echo end $TASKWEIR_EPOCH >> %[1]s`, effects, over)))
	var called, slept []string
	for range calls {
		called = append(called, api.submit(t, fmt.Sprintf(`{"kind":"http","payload":{"url":"%s"}}`, g.URL)))
	}
	for range sleeps {
		slept = append(slept, api.submit(t, fmt.Sprintf(`{"kind":"sleep","payload":{"ms":%d}}`, sleepFor.Milliseconds())))
	}
	all := append(append([]string{script}, called...), slept...)
	eventually(t, 10*time.Second, "all run at the victim", func() bool {
		for _, id := range slept {
			if api.get(t, id).State != "running" {
				return false
			}
		}
		return g.waiting(1) == calls && read(t, effects) == "start 1\n"
	})
	began := time.Now()
	first := api.get(t, called[0]).Attempts[0].Worker
	if pid := api.workerPID(t, first); pid != victim.PID() {
		t.Fatalf("the tasks run in process %d, the victim is %d", pid, victim.PID())
	}
	if err := other.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	thaw := freeze(t, victim)
	frozen := time.Now()
	var fresh []string // the victim is sent about half of their messages
	for range 16 {
		fresh = append(fresh, api.submit(t, `{"kind":"echo","payload":"meanwhile"}`))
	}
	eventually(t, 20*time.Second, "the victim is declared dead", func() bool { _, lives := api.alive(t)[first]; return !lives })
	declared := time.Now()
	eventually(t, 40*time.Second, "all run elsewhere", func() bool {
		for _, id := range slept {
			if len(api.get(t, id).Attempts) < 2 {
				return false
			}
		}
		return g.waiting(2) == calls && read(t, effects) == "start 1\nstart 2\n"
	})
	took := time.Since(declared)
	t.Logf("all %d tasks ran elsewhere %v after the freeze, %v after the victim was declared dead", len(all), time.Since(frozen).Round(time.Millisecond), took.Round(time.Millisecond))
	if took > takeover {
		t.Errorf("a dead worker's tasks run elsewhere %v after the declaration, want %v at the most", took, takeover)
	}
	for _, id := range fresh {
		task := api.final(t, id, time.Until(declared.Add(takeover)))
		if task.State != "succeeded" || len(task.Attempts) > 1 || task.Losses != 0 {
			t.Errorf("a task whose message the victim may have had: %+v", task)
		}
	}
	t.Logf("%d tasks that were submitted after the freeze were done %v after it", len(fresh), time.Since(frozen).Round(time.Millisecond))
	close(g.open[1]) // the answers of the first epoch wait in the victim's sockets
	eventually(t, 5*time.Second, "the receiver refused the late effects", func() bool { return g.late() == calls })
	eventually(t, 2*sleepFor, "the victim's sleeps are over", func() bool { return time.Since(began) > sleepFor+200*time.Millisecond })
	thaw()

	again := ""
	eventually(t, 10*time.Second, "the victim registers anew", func() bool {
		for id, pid := range api.alive(t) {
			if pid == victim.PID() && id != first {
				again = id
			}
		}
		return again != ""
	})
	eventually(t, 5*time.Second, "the victim stopped its script", func() bool { return strings.Count(read(t, effects), "\n") == 3 })
	if got := read(t, effects); got != "start 1\nstart 2\nlate 1\n" {
		t.Errorf("effects of the script: %q", got)
	}
	for _, id := range called {
		if task := api.get(t, id); task.State != "running" || len(task.Attempts) != 2 {
			t.Errorf("a late result ended the newer attempt, or broke it off: %+v", task)
		}
	}
	fenced := counter(t, c.WorkerOps[0], "taskweir_results_fenced_total")
	if fenced < 1 || fenced > float64(len(all)) {
		t.Errorf("%v late results were dropped, of %d tasks", fenced, len(all))
	}
	t.Logf("%v late results were dropped", fenced)

	close(g.open[2])
	if err := os.WriteFile(over, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range all {
		task := api.final(t, id, 15*time.Second)
		if task.State != "succeeded" || task.Failures != 0 || task.Losses != 1 || len(task.Attempts) != 2 ||
			task.Attempts[0].Epoch != 1 || task.Attempts[0].Outcome != "lost" || task.Attempts[0].Worker != first ||
			task.Attempts[1].Epoch != 2 || task.Attempts[1].Outcome != "succeeded" || task.Attempts[1].Worker == first {
			t.Errorf("%+v", task)
		}
	}
	for _, id := range called {
		var shown struct{ Result json.RawMessage }
		api.must(t, http.MethodGet, "/v1/tasks/"+id, "", &shown)
		if !strings.Contains(string(shown.Result), "answer of epoch 2") {
			t.Errorf("task %s has the result %s", id, shown.Result)
		}
	}
	g.check(t, called)
	if got := read(t, effects); got != "start 1\nstart 2\nlate 1\nend 2\n" {
		t.Errorf("effects of the script: %q", got)
	}

	if err := other.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := api.final(t, api.submit(t, `{"kind":"echo","payload":"still here"}`), 10*time.Second)
	if next.State != "succeeded" {
		t.Errorf("the victim does not work again: %+v", next)
	}
	nothingLeft(t, c)
}

// check wants each call once per epoch, and the effect of each task once, by its last epoch.
func (g *gate) check(t *testing.T, tasks []string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for c, n := range g.calls {
		if n != 1 {
			t.Errorf("task %s called %d times in epoch %d", c.task, n, c.epoch)
		}
	}
	for _, id := range tasks {
		if g.acted[run{id, 2}] != 1 || g.acted[run{id, 1}] != 0 {
			t.Errorf("task %s had %d effects in epoch 2 and %d in epoch 1", id, g.acted[run{id, 2}], g.acted[run{id, 1}])
		}
	}
	for _, c := range g.refused {
		if c.epoch != 1 {
			t.Errorf("the effect of epoch %d was refused", c.epoch)
		}
	}
}

// One of two schedulers stands still for longer than its leases last: the other one takes its queues over, nothing is lost
// or doubled, and the frozen one finds its place when it goes on.
func TestFrozenSchedulerIsReplaced(t *testing.T) {
	t.Parallel()
	c := impatient(t)
	logsOnFailure(t, c.Processes()...)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)
	l := startLoad(t, api, rec)
	recovered(t, api, rec, "at the start")
	for _, s := range c.Schedulers {
		thaw := freeze(t, s)
		delayedRuns(t, api, rec, s.Name()+" stands still")
		recovered(t, api, rec, s.Name()+" stands still")
		thaw()
		recovered(t, api, rec, s.Name()+" goes on")
		delayedRuns(t, api, rec, s.Name()+" goes on")
	}
	l.stop(t)
	nothingLeft(t, c)
}

// delayedRuns wants delayed tasks, which only schedulers ring, to run in several queues, whoever owns them.
func delayedRuns(t *testing.T, c *client, r *receiver, what string) {
	t.Helper()
	began := time.Now()
	var ids []string
	for n := range 12 {
		ids = append(ids, c.submit(t, fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/ok"},"queue":"frozen-%d","delayMs":300}`, r.URL, n)))
	}
	for _, id := range ids {
		if task := c.final(t, id, 40*time.Second); task.State != "succeeded" {
			t.Errorf("%s: %+v", what, task)
		}
	}
	t.Logf("%s: delayed tasks of 12 queues were done after %v", what, time.Since(began).Round(time.Millisecond))
}

// read gives a file's text; empty when it is not there.
func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(raw)
}

// counter reads one metric of a process.
func counter(t *testing.T, addr, name string) float64 {
	t.Helper()
	res, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s is not measured at %s", name, addr)
	return 0
}
