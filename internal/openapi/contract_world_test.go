package openapi_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/runner/basic"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/runner/shell"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// TestMain lets this binary be the supervisor of commands, as internal/app's does.
func TestMain(m *testing.M) {
	shell.MaybeSupervise()
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// world is a server that the contract is held against.
type world struct {
	t      testing.TB
	c      *contract
	url    string
	key    string // scope admin
	client *http.Client
	svc    *control.Service
	vars   map[string]string // what stands in paths, unless a request says otherwise
}

func (w *world) in(t *testing.T) *world {
	c := *w
	c.t = t
	return &c
}

func newClient(t testing.TB) *http.Client {
	tr := &http.Transport{ExpectContinueTimeout: 5 * time.Second}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// stubborn ignores the end of its context until it is let go.
type stubborn struct{ release chan struct{} }

func (stubborn) Kind() string { return "stubborn" }

func (s stubborn) Run(context.Context, worker.Job) task.Result {
	<-s.release
	return task.Result{Outcome: task.OutcomeSucceeded}
}

// standalone is a whole Taskweir on its embedded parts; stopRedis takes its live view away.
func standalone(t *testing.T, c *contract) (w *world, stopRedis func()) {
	t.Helper()
	live, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(config.Standalone, nil, []string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + t.TempDir(),
		"TASKWEIR_REDIS_URL=" + live.URL(), "TASKWEIR_WORKER_GRACE=100ms", "TASKWEIR_DRAIN_TIME=200ms"})
	if err != nil {
		t.Fatal(err)
	}
	hold := stubborn{make(chan struct{})}
	a, err := app.Start(t.Context(), cfg, app.Options{Logger: slog.New(slog.DiscardHandler), Runners: []worker.Runner{hold}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(hold.release)
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		live.Close()
	})
	w = &world{t: t, c: c, url: a.URL(), key: a.APIKey(), client: newClient(t), svc: a.Service(), vars: map[string]string{}}
	w.ask("declareKind").with("name", "stubborn").do().want(200)
	return w, live.Close
}

// checks are those of the kinds that faulty worlds have.
var checks = map[string]func([]byte) []task.FieldError{
	"http": httpcall.CheckHTTP, "callback": httpcall.CheckCallback, "shell": shell.Check, "sleep": basic.CheckSleep, "echo": basic.CheckEcho,
}

// faulty is an API over a real database without workers, whose store may be one that fails as a test wants.
type faulty struct {
	*world
	store *sqldb.Store
	path  string // of the database
	live  *deadSignals
}

type deadSignals struct{ err error }

func (d *deadSignals) Signal(context.Context, int64, task.Signal) error { return d.err }
func (d *deadSignals) Running(context.Context, int64) ([]task.LiveEntry, error) {
	return nil, d.err
}
func (d *deadSignals) Look(context.Context, int64, int64, int32) (task.LiveDetail, error) {
	return task.LiveDetail{Gone: true}, d.err
}

type silent struct{}

func (silent) Ring(...task.Rung) {}

const rootKey = "root-key-of-the-contract-test"

func newFaulty(t testing.TB, c *contract, wrap func(control.Store) control.Store) *faulty {
	t.Helper()
	url := sqldbtest.URL(t, "sqlite")
	store := sqldbtest.Open(t, url)
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	var port control.Store = store
	if wrap != nil {
		port = wrap(store)
	}
	log := slog.New(slog.DiscardHandler)
	live := &deadSignals{}
	svc := control.New(control.Options{Store: port, Ringer: silent{}, Clock: store.Clock(), Signals: live, Checks: checks, Secrets: box, Logger: log})
	t.Cleanup(func() { _ = svc.Close(context.Background()) })
	if err := svc.Bootstrap(t.Context(), rootKey); err != nil {
		t.Fatal(err)
	}
	engine := rest.New(rest.Options{Service: svc, Logger: log, Ops: httpkit.Ops{Checks: []httpkit.Check{{Name: "database", Run: svc.Ping}}, Metrics: http.NotFoundHandler()}})
	openapi.Register(engine)
	server := httptest.NewServer(engine)
	t.Cleanup(server.Close)
	return &faulty{world: &world{t: t, c: c, url: server.URL, key: rootKey, client: newClient(t), svc: svc, vars: map[string]string{}}, store: store,
		path: strings.TrimPrefix(url, "sqlite://"), live: live}
}

// sql runs a statement behind the server's back.
func (f *faulty) sql(query string) {
	f.t.Helper()
	db, err := sql.Open("sqlite", f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(f.t.Context(), query); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
}

// start claims a task as a worker would.
func (f *faulty) start(id apiv1.ID) (workerID int64, claimed task.Claimed) {
	f.t.Helper()
	ctx := f.t.Context()
	workerID, err := f.store.NewWorker(ctx, task.WorkerInfo{Host: "h", Slots: 4, StartedAt: f.store.Clock().Now(), Kinds: []string{"echo", "sleep"}})
	if err != nil {
		f.t.Fatal(err)
	}
	row, err := f.store.State(ctx, 0, int64(id))
	if err != nil {
		f.t.Fatal(err)
	}
	claimed, err = f.store.Claim(ctx, task.ClaimRequest{WorkerID: workerID, LaneID: row.LaneID, Bells: []int64{row.Holder}, Max: 1, Kinds: []int32{row.KindID}})
	if err != nil || len(claimed.Tasks) != 1 {
		f.t.Fatalf("claim: %+v %v", claimed, err)
	}
	return workerID, claimed
}

func (w *world) submit(body string) apiv1.Task {
	w.t.Helper()
	return into[apiv1.Task](w.ask("submitTask").send(body).do().want(201))
}

// until asks for a task until it is as it should be.
func (w *world) until(id apiv1.ID, ok func(apiv1.Task) bool) apiv1.Task {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var got apiv1.Task
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if got = into[apiv1.Task](w.ask("getTask").id(id).do().want(200)); ok(got) {
			return got
		}
	}
	w.t.Fatalf("task %s is %+v", id, got)
	return got
}

func in(state string) func(apiv1.Task) bool {
	return func(t apiv1.Task) bool { return t.State == state }
}

// final waits for the end of a task.
func (w *world) final(id apiv1.ID) apiv1.Task {
	w.t.Helper()
	return into[apiv1.Task](w.ask("getTask").id(id).query("wait=20s").do().want(200))
}

func (w *world) newApp(name string) apiv1.App {
	w.t.Helper()
	return into[apiv1.App](w.ask("createApp").send(`{"name":"` + name + `"}`).do().want(201))
}

func (w *world) newKey(app, scope string) string {
	w.t.Helper()
	return into[apiv1.Key](w.ask("createKey").with("app", app).send(`{"scope":"` + scope + `"}`).do().want(201)).Key
}
