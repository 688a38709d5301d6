package app

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// TestWithoutRedisOnlyTheLiveViewIsMissing stops Redis under a running system: tasks run, a cancel arrives at the next
// heartbeat, what a worker runs right now cannot be shown, and all of it is back when Redis is.
func TestWithoutRedisOnlyTheLiveViewIsMissing(t *testing.T) {
	live, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	a := newStandalone(t, t.TempDir(), "TASKWEIR_REDIS_URL="+live.URL(), "TASKWEIR_LIVENESS_BEAT=500ms")
	long := a.submit(t, `{"kind":"sleep","payload":{"ms":60000}}`)
	waitState(t, a, long.ID, "running")
	var workers apiv1.List[apiv1.Worker]
	a.call(t, "GET", "/v1/workers", "", &workers)
	if len(workers.Items) != 1 {
		t.Fatalf("workers: %+v", workers)
	}
	one := "/v1/workers/" + workers.Items[0].ID.String()

	live.Close()
	var problem apiv1.Problem
	if status := a.call(t, "GET", one, "", &problem); status != http.StatusServiceUnavailable || problem.Code != "live_view_unavailable" {
		t.Errorf("what a worker runs, without Redis: status %d, %+v", status, problem)
	}
	if status := a.call(t, "GET", "/readyz", "", nil); status != http.StatusOK {
		t.Errorf("readyz without Redis: %d", status)
	}
	if got := a.wait(t, a.submit(t, `{"kind":"echo"}`).ID); got.State != "succeeded" {
		t.Errorf("a task without Redis: %s", got.State)
	}
	var got apiv1.Task
	if status := a.call(t, "POST", "/v1/tasks/"+long.ID.String()+"/cancel?wait=10s", "", &got); status != http.StatusOK || got.State != "cancelled" {
		t.Errorf("cancel without Redis: status %d, state %s", status, got.State)
	}

	again, err := live.Restart()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	for deadline := time.Now().Add(20 * time.Second); a.call(t, "GET", one, "", nil) != http.StatusOK; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the live view did not come back with Redis")
		}
	}
}

// stubborn ignores the end of its context until it is let go.
type stubborn struct{ release chan struct{} }

func (stubborn) Kind() string { return "stubborn" }

func (s stubborn) Run(context.Context, worker.Job) task.Result {
	<-s.release
	return task.Result{Outcome: task.OutcomeSucceeded}
}

// TestAHandlerThatIgnoresItsCancelIsAZombie until somebody abandons it.
func TestAHandlerThatIgnoresItsCancelIsAZombie(t *testing.T) {
	cfg, err := config.Load(config.Standalone, nil, []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + t.TempDir(),
		"TASKWEIR_WORKER_GRACE=100ms", "TASKWEIR_DRAIN_TIME=200ms"})
	if err != nil {
		t.Fatal(err)
	}
	runner := stubborn{make(chan struct{})}
	a, err := Start(t.Context(), cfg, Options{Logger: testLog(t), Runners: []worker.Runner{runner}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		close(runner.release)
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
	}()
	// The worker declares its kinds when it registers; who submits before that declares the kind first.
	if status := a.call(t, "PUT", "/v1/kinds/stubborn", "{}", nil); status != http.StatusOK {
		t.Fatalf("declare kind: status %d", status)
	}
	id := a.submit(t, `{"kind":"stubborn"}`).ID.String()
	waitFor(t, a, id, func(got apiv1.Task) bool { return got.State == "running" })
	if status := a.call(t, "POST", "/v1/tasks/"+id+"/cancel", "", nil); status != http.StatusAccepted {
		t.Errorf("cancel of a running task: status %d, want 202", status)
	}
	waitFor(t, a, id, func(got apiv1.Task) bool { return got.Zombie && got.State == "running" })
	if status := a.call(t, "POST", "/v1/tasks/"+id+"/abandon", "", nil); status != http.StatusOK {
		t.Errorf("abandon: status %d", status)
	}
	waitFor(t, a, id, func(got apiv1.Task) bool { return got.State == "cancelled" && !got.Zombie })
}

func waitFor(t *testing.T, a *App, id string, ok func(apiv1.Task) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var got apiv1.Task
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if a.call(t, "GET", "/v1/tasks/"+id, "", &got); ok(got) {
			return
		}
	}
	t.Fatalf("task %s is %+v", id, got)
}

// TestADrainedStandaloneKeepsServing drains the only worker of a standalone by the API: what is submitted then waits for the
// next start, and the API answers.
func TestADrainedStandaloneKeepsServing(t *testing.T) {
	a := newStandalone(t, t.TempDir())
	a.wait(t, a.submit(t, `{"kind":"echo"}`).ID) // the worker is there
	var workers apiv1.List[apiv1.Worker]
	a.call(t, "GET", "/v1/workers", "", &workers)
	if len(workers.Items) != 1 {
		t.Fatalf("workers: %+v", workers)
	}
	if status := a.call(t, "POST", "/v1/workers/"+workers.Items[0].ID.String()+"/drain", "", nil); status != http.StatusOK {
		t.Fatalf("drain: status %d", status)
	}
	<-a.drained
	select {
	case <-a.Drained():
		t.Error("the process would end, and its API with it")
	default:
	}
	if got := a.submit(t, `{"kind":"echo"}`); got.State != "queued" {
		t.Errorf("a task without a worker is %s", got.State)
	}
}
