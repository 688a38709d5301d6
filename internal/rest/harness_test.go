package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/runner/basic"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/runner/shell"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

const rootKey = "root-key-of-the-tests"

// world is the API over a real database.
type world struct {
	t     testing.TB
	store *sqldb.Store
	svc   *control.Service
	api   http.Handler
	bells *ringer
	live  *signals
	key   string // of calls
}

// ringer remembers what was rung.
type ringer struct {
	mu    sync.Mutex
	rungs []task.Rung
}

func (r *ringer) Ring(bells ...task.Rung) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rungs = append(r.rungs, bells...)
}

// item finds what a task's bell said of it.
func (r *ringer) item(id int64) (task.Rung, task.Item, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range slices.Backward(r.rungs) {
		for _, it := range b.Items {
			if it.ID == id {
				return b, it, true
			}
		}
	}
	return task.Rung{}, task.Item{}, false
}

func (r *ringer) listed(id int64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, b := range r.rungs {
		if slices.Contains(b.TaskIDs, id) {
			n++
		}
	}
	return n
}

// signals is the way to workers.
type signals struct {
	mu   sync.Mutex
	sent []task.Signal
	gone error
	list []task.LiveEntry
	look func(workerID, taskID int64, epoch int32) (task.LiveDetail, error) // nil: gone

	report func(workerID, taskID int64, epoch int32) (json.RawMessage, error) // nil: nothing
}

func (s *signals) Reported(_ context.Context, workerID, taskID int64, epoch int32) (json.RawMessage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil || s.report == nil {
		return nil, s.gone
	}
	return s.report(workerID, taskID, epoch)
}

func (s *signals) Look(_ context.Context, workerID, taskID int64, epoch int32) (task.LiveDetail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != nil || s.look == nil {
		return task.LiveDetail{Gone: true}, s.gone
	}
	return s.look(workerID, taskID, epoch)
}

func (s *signals) Signal(_ context.Context, _ int64, sig task.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, sig)
	return s.gone
}

func (s *signals) Running(context.Context, int64) ([]task.LiveEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list), s.gone
}

var checks = map[string]func([]byte) []task.FieldError{
	"http": httpcall.CheckHTTP, "callback": httpcall.CheckCallback, "shell": shell.Check, "sleep": basic.CheckSleep, "echo": basic.CheckEcho,
}

func onBoth(t *testing.T, f func(w *world)) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) { f(newWorldOn(t, s)) })
}

func newWorld(t testing.TB) *world { return newWorldOn(t, sqldbtest.New(t, "sqlite")) }

func newWorldOn(t testing.TB, store *sqldb.Store) *world {
	t.Helper()
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store, bells: &ringer{}, live: &signals{}, key: rootKey}
	log := slog.New(slog.DiscardHandler)
	w.svc = control.New(control.Options{Store: store, Ringer: w.bells, Clock: store.Clock(), Signals: w.live, Checks: checks, Secrets: box, Logger: log})
	t.Cleanup(func() { w.svc.Close(context.Background()) })
	if err := w.svc.Bootstrap(context.Background(), rootKey); err != nil {
		t.Fatal(err)
	}
	w.api = rest.New(rest.Options{Service: w.svc, Logger: log, Ops: httpkit.Ops{Checks: []httpkit.Check{{Name: "database", Run: w.svc.Ping}}}})
	return w
}

// answer is a response, decoded.
type answer struct {
	*httptest.ResponseRecorder
	t testing.TB
}

// do calls the API with the world's key. headers are names and values.
func (w *world) do(method, path, body string, headers ...string) answer {
	w.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, rd)
	if w.key != "" {
		r.Header.Set("Authorization", "Bearer "+w.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return answer{rec, w.t}
}

// want checks the status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Fatalf("status %d, want %d: %s", a.Code, status, a.Body)
	}
	return a
}

func decode[T any](a answer) (v T) {
	a.t.Helper()
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		a.t.Fatalf("%v in %q", err, a.Body)
	}
	return v
}

func (a answer) task() apiv1.Task       { a.t.Helper(); return decode[apiv1.Task](a) }
func (a answer) problem() apiv1.Problem { a.t.Helper(); return decode[apiv1.Problem](a) }

// refused checks a problem: its status, and that it names a field and a rule ("" stands for any).
func (a answer) refused(status int, field, rule string) {
	a.t.Helper()
	p := a.want(status).problem()
	if !slices.ContainsFunc(p.Errors, func(e apiv1.FieldError) bool {
		return e.Field == field && (rule == "" || e.Rule == rule) && e.Message != ""
	}) {
		a.t.Fatalf("%s %s is not named: %s", field, rule, a.Body)
	}
}

// as gives a world that calls with another key.
func (w *world) as(key string) *world {
	c := *w
	c.key = key
	return &c
}

// in gives the world to a test inside the one that made it.
func (w *world) in(t testing.TB) *world {
	c := *w
	c.t = t
	return &c
}

// newApp makes an app and gives its public key and an API key of a scope.
func (w *world) newApp(name, scope string) (id, key string) {
	w.t.Helper()
	app := decode[apiv1.App](w.do("POST", "/v1/apps", `{"name":"`+name+`"}`).want(201))
	k := decode[apiv1.Key](w.do("POST", "/v1/apps/"+app.ID+"/keys", `{"scope":"`+scope+`"}`).want(201))
	return app.ID, k.Key
}

// tasks counts the tasks that are stored.
func (w *world) tasks() int {
	w.t.Helper()
	return len(decode[apiv1.TaskList](w.do("GET", "/v1/tasks?limit=1000&app=*", "").want(200)).Items)
}

func (w *world) submit(body string) apiv1.Task {
	w.t.Helper()
	return w.do("POST", "/v1/tasks", body).want(201).task()
}

// start claims a task as a worker would and gives the worker and the claim.
func (w *world) start(id int64) (worker int64, claimed task.Claimed) {
	w.t.Helper()
	ctx := context.Background()
	worker, err := w.store.NewWorker(ctx, task.WorkerInfo{Host: "h", Slots: 4, Kinds: []string{"echo", "sleep"}})
	if err != nil {
		w.t.Fatal(err)
	}
	row, err := w.store.State(ctx, 0, id)
	if err != nil {
		w.t.Fatal(err)
	}
	claimed, err = w.store.Claim(ctx, task.ClaimRequest{WorkerID: worker, LaneID: row.LaneID, Bells: []int64{row.Holder}, Max: 1, Kinds: []int32{row.KindID}})
	if err != nil || len(claimed.Tasks) != 1 || claimed.Tasks[0].ID != id {
		w.t.Fatalf("claim: %+v %v", claimed, err)
	}
	return worker, claimed
}

// finish ends a started task.
func (w *world) finish(worker int64, c task.Claimed, to task.State, edit func(*task.Ending)) {
	w.t.Helper()
	ctx := context.Background()
	row, err := w.store.State(ctx, 0, c.Tasks[0].ID)
	if err != nil {
		w.t.Fatal(err)
	}
	e := &task.Ending{TaskID: row.ID, ClaimID: c.ClaimID, AttemptID: c.Tasks[0].AttemptID, WorkerID: worker, AppID: row.AppID, LaneID: row.LaneID, KindID: row.KindID,
		Epoch: row.Epoch, Flags: row.Flags, DueAt: row.DueAt, StartedAt: row.StartedAt, FinishedAt: w.store.Clock().Now(), To: to,
		Outcome: map[task.State]task.Outcome{task.Succeeded: task.OutcomeSucceeded, task.Failed: task.OutcomeFailed, task.Cancelled: task.OutcomeCancelled}[to]}
	if edit != nil {
		edit(e)
	}
	if _, err := w.store.Finish(ctx, task.FinishBatch{WorkerID: worker, Endings: []*task.Ending{e}, Emptied: []int64{c.ClaimID}}); err != nil || e.Fenced {
		w.t.Fatalf("finish: fenced %v, %v", e.Fenced, err)
	}
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
