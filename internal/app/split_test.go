package app

import (
	"fmt"
	"net/http"

	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// TestSplitProcessesShareTheWork runs an api, two schedulers and two workers on one database, as separate processes would.
func TestSplitProcessesShareTheWork(t *testing.T) {
	database := sqldbtest.URL(t, "mysql")
	sqldbtest.Open(t, database)
	broker, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir(), Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	live, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(live.Close)
	environ := []string{
		"TASKWEIR_DATABASE_URL=" + database, "TASKWEIR_NSQ_NSQD=" + broker.TCPAddr(), "TASKWEIR_REDIS_URL=" + live.URL(),
		"TASKWEIR_ENCRYPTION_KEY=" + randomKey("")(), "TASKWEIR_CLUSTER_KEY=0123456789abcdef0123", "TASKWEIR_BOOTSTRAP_KEY=0123456789abcdef",
		"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_OPS_ADDR=127.0.0.1:0",
	}
	start := func(role config.Role) *App {
		cfg, err := config.Load(role, nil, environ)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Start(t.Context(), cfg, Options{Logger: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Stop(); err != nil {
				t.Errorf("stop %s: %v", role, err)
			}
		})
		return a
	}
	api := start(config.API)
	for _, role := range []config.Role{config.Scheduler, config.Scheduler, config.Worker, config.Worker} {
		if a := start(role); a.OpsAddr() == "" {
			t.Errorf("%s serves no health", role)
		}
	}

	var batch strings.Builder
	for i := range 100 {
		if i > 0 {
			batch.WriteByte(',')
		}
		fmt.Fprintf(&batch, `{"kind":"sleep","payload":{"ms":20},"delayMs":%d}`, i%2*300)
	}
	var answer apiv1.BatchAnswer
	if status := api.call(t, "POST", "/v1/tasks/batch", `{"tasks":[`+batch.String()+`]}`, &answer); status != http.StatusOK {
		t.Fatalf("batch: status %d", status)
	}
	for _, item := range answer.Items {
		if item.Task == nil {
			t.Fatalf("refused: %+v", item.Error)
		}
		if got := api.wait(t, item.Task.ID); got.State != "succeeded" || len(got.Attempts) != 1 {
			t.Errorf("task %s: %s after %d attempts", got.ID, got.State, len(got.Attempts))
		}
	}
}

func TestAnOldSchemaIsRefusedWithWhatToRun(t *testing.T) {
	dir := t.TempDir()
	db, err := sqldb.Open(t.Context(), sqldb.Options{URL: "sqlite://" + dir + "/taskweir.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.API, nil, []string{
		"TASKWEIR_DATABASE_URL=sqlite://" + dir + "/taskweir.db", "TASKWEIR_NSQ_NSQD=127.0.0.1:1", "TASKWEIR_REDIS_URL=redis://127.0.0.1:1",
		"TASKWEIR_ENCRYPTION_KEY=" + randomKey("")(), "TASKWEIR_CLUSTER_KEY=0123456789abcdef0123", "TASKWEIR_HTTP_ADDR=127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), cfg, Options{Logger: testLog(t)}); err == nil || !strings.Contains(err.Error(), "migrate up") {
		t.Errorf("error %v does not say what to run", err)
	}
}
