package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

// place is an installation that runs a worker.
type place struct {
	*client.Client
	base, key string
	// start starts one more worker; nil in a standalone, which is its own.
	start func(w *worker.Worker) *worker.Process
}

// everywhere plays a scene on a standalone (SQLite) and on separate processes (MariaDB): its worker, and what happens then.
func everywhere(t *testing.T, scene func(t *testing.T) (*worker.Worker, func(p *place))) {
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		w, play := scene(t)
		s := workertest.Standalone(t, w)
		play(newPlace(t, s.URL(), s.APIKey()))
	})
	t.Run("split", func(t *testing.T) {
		t.Parallel()
		w, play := scene(t)
		p := split(t)
		p.start(w)
		play(p)
	})
}

func newPlace(t *testing.T, base, key string) *place {
	t.Helper()
	c, err := client.New(base, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &place{Client: c, base: base, key: key}
}

// split starts an api and a scheduler on MariaDB, with a broker and a live view of their own. A worker that dies is noticed in 2 s.
func split(t *testing.T) *place {
	t.Helper()
	log := workertest.Logger(t)
	database := sqldbtest.URL(t, "mysql")
	sqldbtest.Open(t, database)
	broker, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir(), Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	live, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(live.Close)
	const key = "0123456789abcdef"
	environ := []string{
		"TASKWEIR_DATABASE_URL=" + database, "TASKWEIR_NSQ_NSQD=" + broker.TCPAddr(), "TASKWEIR_REDIS_URL=" + live.URL(),
		"TASKWEIR_ENCRYPTION_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "TASKWEIR_CLUSTER_KEY=0123456789abcdef0123", "TASKWEIR_BOOTSTRAP_KEY=" + key,
		"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_OPS_ADDR=127.0.0.1:0", "TASKWEIR_LIVENESS_BEAT=500ms", "TASKWEIR_LIVENESS_DEAD_AFTER=2s",
	}
	base := ""
	for _, role := range []config.Role{config.API, config.Scheduler} {
		cfg, err := config.Load(role, nil, environ)
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.Start(t.Context(), cfg, app.Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Stop(); err != nil {
				t.Errorf("stop %s: %v", role, err)
			}
		})
		if role == config.API {
			base = a.URL()
		}
	}
	p := newPlace(t, base, key)
	p.start = func(w *worker.Worker) *worker.Process {
		t.Helper()
		started, err := w.With(worker.Environ(environ), worker.Logger(log)).Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := started.Stop(); err != nil {
				t.Errorf("stop worker: %v", err)
			}
		})
		return started
	}
	return p
}

func (p *place) submit(t *testing.T, kind string, payload any, opts ...client.SubmitOption) apiv1.ID {
	t.Helper()
	got, err := p.Submit(t.Context(), kind, payload, opts...)
	if err != nil {
		t.Fatalf("submit %s: %v", kind, err)
	}
	return got.ID
}

// final waits for a task's end.
func (p *place) final(t *testing.T, id apiv1.ID) *apiv1.Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := p.Wait(ctx, id)
	if err != nil {
		t.Fatalf("wait for %s: %v", id, err)
	}
	return got
}

// eventually asks until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// page reads what a process serves for people and probes.
func page(t *testing.T, url string) string {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, raw)
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}
