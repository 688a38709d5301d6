package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// faults provokes what a healthy system does not answer, by the fault that it stands for.
func faults(t *testing.T, c *contract) {
	t.Run("database gone", func(t *testing.T) { databaseGone(t, c) })
	t.Run("tables gone", func(t *testing.T) { tablesGone(t, c) })
	t.Run("answer of a commit lost", func(t *testing.T) { commitLost(t, c) })
	t.Run("process stopping", func(t *testing.T) { stopping(t, c) })
	t.Run("nobody works", func(t *testing.T) { noWorker(t, c) })
	t.Run("too many wait", func(t *testing.T) { tooManyWait(t, c) })
	t.Run("others are quicker", func(t *testing.T) { othersAreQuicker(t, c) })
	t.Run("backfill cut short", func(t *testing.T) { backfillCutShort(t, c) })
	t.Run("attempts purged", func(t *testing.T) { attemptsPurged(t, c) })
}

// things makes what paths name, in a world without workers.
func (f *faulty) things() {
	f.t.Helper()
	f.vars["id"] = f.submit(`{"kind":"echo","delayMs":600000,"queue":"reports"}`).ID.String()
	f.vars["attempt"] = "1"
	f.vars["schedule"] = f.schedule("hourly", "").ID.String()
	f.vars["app"] = f.newApp("shop").ID
	f.vars["key"] = "1"
	f.vars["bulk"] = into[apiv1.Bulk](f.ask("createBulk").send(`{"action":"retry","filter":{"state":"failed"}}`).do().want(202)).ID.String()
	f.ask("declareKind").with("name", "report.monthly").do().want(200)
	id, _ := f.start(f.submit(`{"kind":"sleep","payload":{"ms":600000}}`).ID)
	f.vars["worker"] = fmt.Sprint(id)
}

// databaseGone closes the database under a server that knows its keys: no answer is an undocumented one.
func databaseGone(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	f.things()
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range openapi.Operations() {
		if o.Scope == "" {
			continue
		}
		f.anywhere(o).as("a-key-that-must-be-looked-up").do().code("database_unavailable")
		if a := f.anywhere(o).send(o.Example.Body).do(); a.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s: without a database: %s", o.ID, a.body)
		}
	}
	f.ask("ready").as("").do().want(503)
}

// tablesGone takes the tables away: a fault that nobody foresaw.
func tablesGone(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	f.things()
	for _, name := range []string{"api_keys", "tasks", "schedules", "kinds", "lanes", "workers", "apps"} {
		f.sql("ALTER TABLE " + name + " RENAME TO " + name + "_gone")
	}
	for _, o := range openapi.Operations() {
		if o.Scope == "" {
			continue
		}
		f.anywhere(o).as("a-key-that-must-be-looked-up").do().code("internal")
		f.anywhere(o).send(o.Example.Body).do() // whatever it answers is documented
	}
}

// lostCommits is a database whose answer to COMMIT does not arrive.
type lostCommits struct{ control.Store }

func (lostCommits) Submit(context.Context, []*task.Request) ([]task.Bell, error) {
	return nil, fmt.Errorf("commit: %w", task.ErrOutcomeUnknown)
}

func commitLost(t *testing.T, c *contract) {
	var lost *lostLater
	f := newFaulty(t, c, func(s control.Store) control.Store { lost = &lostLater{Store: s}; return lost })
	f.probed()
	id := f.failedTask()
	lost.begin()
	f.ask("submitTask").send(`{"kind":"echo"}`).do().code("outcome_unknown")
	f.ask("submitTasks").send(`{"tasks":[{"kind":"echo"}]}`).do().code("outcome_unknown")
	f.ask("retryTask").id(id).send(`{"payload":1}`).do().code("outcome_unknown")
	f.ask("testCallback").do().code("outcome_unknown")
	f.ask("retryTask").id(id).send(`{}`).do().code("outcome_unknown")
	for _, change := range []string{"cancelTask", "runTaskNow", "abandonTask"} {
		f.ask(change).id(id).do().code("outcome_unknown")
	}
	f.ask("resendTask").id(id).do().code("outcome_unknown")
	f.ask("completeTask").id(id).send(`{"epoch":1,"outcome":"succeeded"}`).do().code("outcome_unknown")
}

// lostLater loses answers from begin on.
type lostLater struct {
	control.Store
	mu   sync.Mutex
	lost bool
}

func (l *lostLater) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
}

func (l *lostLater) Submit(ctx context.Context, reqs []*task.Request) ([]task.Bell, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return lostCommits{}.Submit(ctx, reqs)
	}
	return l.Store.Submit(ctx, reqs)
}

// unsure is what a change of a task gives whose COMMIT was not answered.
func (l *lostLater) unsure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost {
		return fmt.Errorf("commit: %w", task.ErrOutcomeUnknown)
	}
	return nil
}

func (l *lostLater) Cancel(ctx context.Context, app int32, id int64) (task.CancelReport, error) {
	if err := l.unsure(); err != nil {
		return task.CancelReport{}, err
	}
	return l.Store.Cancel(ctx, app, id)
}

func (l *lostLater) Reopen(ctx context.Context, app int32, id int64, force bool) (task.Bell, error) {
	if err := l.unsure(); err != nil {
		return task.Bell{}, err
	}
	return l.Store.Reopen(ctx, app, id, force)
}

func (l *lostLater) RunNow(ctx context.Context, app int32, id int64) (task.Bell, error) {
	if err := l.unsure(); err != nil {
		return task.Bell{}, err
	}
	return l.Store.RunNow(ctx, app, id)
}

func (l *lostLater) Abandon(ctx context.Context, app int32, id int64) (*task.Bell, error) {
	if err := l.unsure(); err != nil {
		return nil, err
	}
	return l.Store.Abandon(ctx, app, id)
}

func (l *lostLater) Complete(ctx context.Context, app int32, c task.Completion) (task.CompletionReport, error) {
	if err := l.unsure(); err != nil {
		return task.CompletionReport{}, err
	}
	return l.Store.Complete(ctx, app, c)
}

// failedTask is a cancelled one, which may be retried.
func (f *faulty) failedTask() apiv1.ID {
	f.t.Helper()
	id := f.submit(`{"kind":"echo","delayMs":600000}`).ID
	f.ask("cancelTask").id(id).do().want(200)
	return id
}

// probed makes an app whose receiver may be tried out: a worker that can do it was here once.
func (f *faulty) probed() {
	f.t.Helper()
	f.vars["app"] = f.newApp("shop").ID
	f.ask("declareKind").with("name", "callback.test").do().want(200)
}

func stopping(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	f.probed()
	id := f.failedTask()
	if err := f.svc.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	f.ask("submitTask").send(`{"kind":"echo"}`).do().code("stopping")
	f.ask("submitTasks").send(`{"tasks":[{"kind":"echo"}]}`).do().code("stopping")
	f.ask("retryTask").id(id).send(`{"payload":1}`).do().code("stopping")
	f.ask("testCallback").do().code("stopping")
}

func noWorker(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	f.vars["app"] = f.newApp("shop").ID
	f.ask("testCallback").do().code("no_worker") // none ever registered
	f.probed()
	f.svc.StopWaiting() // nobody waits the half minute
	f.ask("testCallback").do().code("no_worker")
}

// instantViews answers reads of one task from memory, so that thousands can begin to wait at once.
type instantViews struct {
	control.Store
	mu   sync.Mutex
	view *task.View
}

func (v *instantViews) Views(ctx context.Context, appID int32, ids []int64) ([]task.View, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.view != nil && len(ids) == 1 && ids[0] == v.view.ID {
		return []task.View{*v.view}, nil
	}
	return v.Store.Views(ctx, appID, ids)
}

func tooManyWait(t *testing.T, c *contract) {
	var views *instantViews
	f := newFaulty(t, c, func(s control.Store) control.Store { views = &instantViews{Store: s}; return views })
	f.probed()
	id := f.submit(`{"kind":"sleep","payload":{"ms":600000}}`).ID
	f.start(id)
	got, err := f.store.Views(t.Context(), 0, []int64{int64(id)})
	if err != nil || len(got) != 1 {
		t.Fatal(err)
	}
	views.mu.Lock()
	views.view = &got[0]
	views.mu.Unlock()
	who, err := f.svc.Authenticate(t.Context(), rootKey)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	full := make(chan struct{})
	var once sync.Once
	for range 20_001 {
		wg.Go(func() {
			if _, err := f.svc.Wait(ctx, who, int64(id), 25*time.Second); task.CodeOf(err) == "too_many_waiting" {
				once.Do(func() { close(full) })
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	select {
	case <-full:
	case <-time.After(20 * time.Second):
		t.Fatal("20,001 requests wait")
	}
	f.ask("getTask").id(id).query("wait=1s").do().code("too_many_waiting")
	if asked := f.ask("cancelTask").id(id).query("wait=1s").do(); asked.StatusCode != http.StatusAccepted { // it was made, and cannot be waited for
		t.Errorf("a cancel that cannot wait is answered %s", asked.Status)
	}
	f.ask("testCallback").do().code("too_many_waiting")
}

// quickOthers always change what is about to be changed.
type quickOthers struct{ control.Store }

var errChanged = &task.Error{Kind: task.Conflict, Code: schedule.CodeVersion, Message: "changed"}

func (quickOthers) ChangeSchedule(context.Context, schedule.Row, schedule.Row, int64, *schedule.Fire) (schedule.Row, schedule.Written, error) {
	return schedule.Row{}, schedule.Written{}, errChanged
}
func (quickOthers) SkipSlot(context.Context, schedule.Row, int64, int64) (schedule.Row, error) {
	return schedule.Row{}, errChanged
}
func (quickOthers) DeleteSchedule(context.Context, schedule.Row, int64) error { return errChanged }
func (quickOthers) Fire(_ context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	for _, f := range fires {
		f.Lost = true
	}
	return schedule.Written{}, nil
}
func (q quickOthers) SetSecret(ctx context.Context, a task.App, _ []byte) error {
	return q.Store.SetSecret(ctx, a, []byte("another one"))
}

func othersAreQuicker(t *testing.T, c *contract) {
	f := newFaulty(t, c, func(s control.Store) control.Store { return quickOthers{s} })
	id := f.schedule("hourly", "").ID
	paused := into[apiv1.Schedule](f.ask("createSchedule").send(fmt.Sprintf(hourly, "paused", `,"paused":true`)).do().want(201)).ID
	f.ask("replaceSchedule").id(id).send(fmt.Sprintf(hourly, "hourly", "")).do().code("version_changed")
	f.ask("pauseSchedule").id(id).do().code("version_changed")
	f.ask("resumeSchedule").id(paused).do().code("version_changed")
	f.ask("skipNextSlot").id(id).do().code("version_changed")
	f.ask("deleteSchedule").id(id).do().code("version_changed")
	f.ask("triggerSchedule").id(id).do().code("version_changed")
	f.ask("backfillSchedule").id(id).send(`{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`).do().code("version_changed")
	f.ask("rotateSecret").with("app", f.newApp("shop").ID).do().code("secret_changed")
}

// secondFireFails writes one transaction of slots and no more.
type secondFireFails struct {
	control.Store
	mu sync.Mutex
	n  int
}

func (s *secondFireFails) Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n > 1 {
		return schedule.Written{}, task.Gone("database_unavailable", errors.New("gone"))
	}
	return s.Store.Fire(ctx, fires)
}

func backfillCutShort(t *testing.T, c *contract) {
	f := newFaulty(t, c, func(s control.Store) control.Store { return &secondFireFails{Store: s} })
	id := f.schedule("hourly", "").ID
	f.ask("backfillSchedule").id(id).send(`{"from":"2026-01-01T00:00:00Z","to":"2026-02-05T00:00:00Z"}`).do().code("backfill_incomplete")
}

// attemptsPurged completes an attempt whose row is gone.
func attemptsPurged(t *testing.T, c *contract) {
	f := newFaulty(t, c, nil)
	id := f.submit(`{"kind":"sleep","payload":{"ms":1},"retry":{"baseMs":86400000,"capMs":86400000}}`).ID
	worker, claimed := f.start(id)
	ctx := t.Context()
	row, err := f.store.State(ctx, 0, int64(id))
	if err != nil {
		t.Fatal(err)
	}
	e := &task.Ending{TaskID: row.ID, ClaimID: claimed.ClaimID, AttemptID: claimed.Tasks[0].AttemptID, WorkerID: worker, AppID: row.AppID, LaneID: row.LaneID,
		KindID: row.KindID, Epoch: row.Epoch, Flags: row.Flags, DueAt: row.DueAt, StartedAt: row.StartedAt, FinishedAt: f.store.Clock().Now(), To: task.Waiting,
		Outcome: task.OutcomeFailed, RetryAt: f.store.Clock().Now() + 86_400_000, ErrCode: "x"}
	if _, err := f.store.Finish(ctx, task.FinishBatch{WorkerID: worker, Endings: []*task.Ending{e}, Emptied: []int64{claimed.ClaimID}}); err != nil || e.Fenced {
		t.Fatalf("fenced %v, %v", e.Fenced, err)
	}
	f.sql("DELETE FROM attempts")
	f.ask("completeTask").id(id).send(`{"epoch":1,"outcome":"succeeded"}`).do().code("not_awaited")
}
