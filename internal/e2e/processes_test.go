package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func idOf(t *testing.T, r reply) string {
	t.Helper()
	var task shownTask
	if err := json.Unmarshal(r.body, &task); err != nil || task.ID == "" {
		t.Fatalf("no task in %s: %v", r, err)
	}
	return task.ID
}

// A worker is killed while it runs an HTTP call and a shell script: the script dies with it, the call runs elsewhere within
// 20 s in a new epoch, and the crash costs none of the task's retries.
func killedWorkersTasksRunElsewhere(t *testing.T) {
	c := cluster(t)
	logsOnFailure(t, c.Processes()...)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)

	// Only the victim is there when the tasks are taken.
	victim, other := c.Workers[0], c.Workers[1]
	if err := other.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := api.submit(t, call(rec, "/slow"))
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := api.submit(t, shell(fmt.Sprintf("echo $$ > %s.new; mv %s.new %s; trap '' TERM; while :; do sleep 0.05; done", pidFile, pidFile, pidFile)))
	eventually(t, 10*time.Second, "both run", func() bool {
		_, called := rec.seen(id, 1)
		_, err := os.Stat(pidFile)
		return called && err == nil
	})
	if pid := api.workerPID(t, api.get(t, id).Attempts[0].Worker); pid != victim.PID() {
		t.Fatalf("the task runs in process %d, the victim is %d", pid, victim.PID())
	}
	scriptPID := readPID(t, pidFile)
	if err := os.Remove(pidFile); err != nil {
		t.Fatal(err)
	}
	if err := other.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	victim.Kill()
	killed := time.Now()
	eventually(t, 2*time.Second, "the script died with its worker", func() bool { return !processExists(scriptPID) })
	eventually(t, 25*time.Second, "the call runs elsewhere", func() bool { _, ok := rec.seen(id, 2); return ok })
	at, _ := rec.seen(id, 2)
	t.Logf("the task ran elsewhere %v after kill -9", at.Sub(killed).Round(time.Millisecond))
	if at.Sub(killed) > 20*time.Second {
		t.Errorf("more than 20 s")
	}
	task := api.get(t, id)
	if task.Failures != 0 || task.Losses != 1 || len(task.Attempts) != 2 || task.Attempts[0].Outcome != "lost" {
		t.Errorf("after the crash: %+v", task)
	}
	for _, id := range []string{id, script} {
		api.must(t, "POST", "/v1/tasks/"+id+"/cancel?wait=10s", "", nil)
		if task := api.final(t, id, 10*time.Second); task.State != "cancelled" {
			t.Errorf("after cancel: %+v", task)
		}
	}
	rec.check(t, []string{id})
}

// SIGTERM ends a worker within its drain time + 2 s although a call and a script that ignores signals still run; both are
// handed to the other worker and count nothing.
func drainHandsTasksOver(t *testing.T) {
	c := cluster(t)
	logsOnFailure(t, c.Processes()...)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)
	leaving, staying := c.Workers[0], c.Workers[1]
	if err := staying.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow := api.submit(t, call(rec, "/slow"))
	pidFile := filepath.Join(t.TempDir(), "pid")
	stubborn := api.submit(t, shell(fmt.Sprintf("trap '' TERM INT; echo $$ > %s.new; mv %s.new %s; while :; do sleep 0.05; done", pidFile, pidFile, pidFile)))
	quick := api.submit(t, `{"kind":"sleep","payload":{"ms":1500}}`)
	eventually(t, 10*time.Second, "all run", func() bool {
		_, called := rec.seen(slow, 1)
		_, err := os.Stat(pidFile)
		return called && err == nil && api.get(t, quick).State == "running"
	})
	scriptPID := readPID(t, pidFile)
	if err := os.Remove(pidFile); err != nil {
		t.Fatal(err)
	}
	if err := staying.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	if err := leaving.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("drained in %v, drain time %v", took.Round(time.Millisecond), drainTime)
	if took > drainTime+2*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	if code := leaving.ExitCode(); code != 0 {
		t.Errorf("exit code %d after a drain", code)
	}
	eventually(t, 2*time.Second, "the script died with its worker", func() bool { return !processExists(scriptPID) })
	eventually(t, 5*time.Second, "both run again", func() bool {
		_, called := rec.seen(slow, 2)
		_, err := os.Stat(pidFile)
		return called && err == nil
	})
	if task := api.final(t, quick, 5*time.Second); task.State != "succeeded" || len(task.Attempts) != 1 {
		t.Errorf("what fits into the drain time is finished, not handed over: %+v", task)
	}
	for _, id := range []string{slow, stubborn} {
		if task := api.get(t, id); task.Failures != 0 {
			t.Errorf("a drain counts nothing: %+v", task)
		}
		api.must(t, "POST", "/v1/tasks/"+id+"/cancel?wait=10s", "", nil)
		if task := api.final(t, id, 10*time.Second); task.State != "cancelled" {
			t.Errorf("after cancel: %+v", task)
		}
	}
	if err := leaving.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	rec.check(t, []string{slow})
}

// Every process is stopped and started again, one after another, while load runs.
func rollingRestartUnderLoad(t *testing.T) {
	c := cluster(t)
	logsOnFailure(t, c.Processes()...)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)
	l := startLoad(t, api, rec)
	recovered(t, api, rec, "at the start")
	for _, p := range c.Processes() {
		if err := p.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if code := p.ExitCode(); code != 0 {
			t.Errorf("%s ended with code %d", p.Name(), code)
		}
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		recovered(t, api, rec, p.Name())
	}
	l.stop(t)
	nothingLeft(t, c)
}

// A receiver that takes a call and breaks the connection must not be called again in the same epoch: HTTP clients like to
// repeat requests by themselves.
func brokenConnectionIsANewEpoch(t *testing.T) {
	c := cluster(t)
	api, rec := newClient(t, c.BaseURL, c.Keys.Bootstrap), newReceiver(t)
	var ids []string
	for range 5 { // first calls that leave idle connections, on which a client would repeat
		ids = append(ids, api.submit(t, call(rec, "/ok")))
	}
	for range 5 {
		ids = append(ids, api.submit(t, call(rec, "/drop")))
	}
	for _, id := range ids {
		if task := api.final(t, id, 10*time.Second); task.State != "succeeded" {
			t.Errorf("%+v", task)
		}
	}
	rec.check(t, ids)
}

// Split processes do not start without the key that seals secrets, and say so.
func TestSplitProcessesNeedTheEncryptionKey(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"api", "scheduler", "worker"} {
		dir := t.TempDir()
		p, err := testkit.Start(t.Context(), testkit.Spec{Name: role, Path: programs(t).Path(role), Dir: dir, Log: filepath.Join(dir, "log"),
			Env: []string{"TASKWEIR_DATABASE_URL=sqlite://" + dir + "/t.db", "TASKWEIR_REDIS_URL=redis://127.0.0.1:1/",
				"TASKWEIR_NSQ_NSQD=127.0.0.1:1", "TASKWEIR_CLUSTER_KEY=" + strings.Repeat("k", 20)}})
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, p, "TASKWEIR_ENCRYPTION_KEY")
	}
}

// refuses wants a process to end soon, with an error that holds the text.
func refuses(t *testing.T, p *testkit.Process, text string) {
	t.Helper()
	t.Cleanup(p.Kill)
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Errorf("%s still runs\n%s", p.Name(), p.Tail(2048))
		return
	}
	if code := p.ExitCode(); code <= 0 {
		t.Errorf("%s ended with code %d", p.Name(), code)
	}
	if out := p.Tail(4096); !strings.Contains(out, text) {
		t.Errorf("%s does not name %s:\n%s", p.Name(), text, out)
	}
}

func shell(script string) string {
	raw, err := json.Marshal(map[string]any{"kind": "shell", "payload": map[string]string{"script": script}})
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(raw)
}

func readPID(t *testing.T, file string) int {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// processExists is false for a process that has ended, also while nobody has waited for it yet.
func processExists(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || p.Signal(syscall.Signal(0)) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
