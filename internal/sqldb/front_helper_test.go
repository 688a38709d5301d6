package sqldb_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// front is a database with two apps, a lane and a kind, and short ways to submit and to run tasks.
type front struct {
	t     *testing.T
	s     *sqldb.Store
	ctx   context.Context
	app   task.App
	other task.App
	lane  task.Lane
	kind  int32
}

func eachFront(t *testing.T, f func(t *testing.T, x *front)) {
	t.Helper()
	sqldbtest.Beside(t)
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) { f(t, newFront(t, s)) })
}

func newFront(t *testing.T, s *sqldb.Store) *front {
	t.Helper()
	x := &front{t: t, s: s, ctx: context.Background()}
	var err error
	x.app, err = s.CreateApp(x.ctx, task.App{Key: "app0000000000001", Name: "default", Weight: 1})
	x.ok(err)
	x.other, err = s.CreateApp(x.ctx, task.App{Key: "app0000000000002", Name: "other", Weight: 1})
	x.ok(err)
	x.lane, err = s.EnsureLane(x.ctx, "default", task.Normal)
	x.ok(err)
	kinds, err := s.DeclareKinds(x.ctx, []string{"echo", "http"})
	x.ok(err)
	x.kind = kinds["echo"]
	return x
}

func (x *front) ok(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// sub makes a submission of the first app; set changes it.
func (x *front) sub(set func(*task.Submission, *task.BodyHead)) *task.Submission {
	x.t.Helper()
	id, err := x.s.TaskIDs(x.ctx, 1)
	x.ok(err)
	sub := &task.Submission{ID: id, AppID: x.app.ID, LaneID: x.lane.ID, KindID: x.kind, TimeoutMs: 60_000}
	head := task.BodyHead{}
	if set != nil {
		set(sub, &head)
	}
	if head.UniqueKey != "" {
		head.UniqueScope = max(head.UniqueScope, 1)
		sub.Flags |= task.HasUnique
		if head.UniqueScope == task.ScopeUntilStarted || head.UniqueScope == task.ScopeUntilDue {
			sub.Flags |= task.UntilStarted
		}
		conflict := task.OnConflictReject
		if sub.Unique != nil {
			conflict = sub.Unique.OnConflict
		}
		sub.Unique = head.Unique(sub.AppID)
		sub.Unique.OnConflict = conflict
	}
	if len(head.Labels) > 0 {
		sub.Flags |= task.HasLabels
		for k, v := range head.Labels {
			sub.Labels = append(sub.Labels, task.Label{Key: k, Value: v})
		}
	}
	payload, _ := json.Marshal(map[string]any{"id": id, "text": `it's a \ "test"` + "\x00é"})
	body, err := task.Body{Payload: payload, Head: head}.Encode()
	x.ok(err)
	sub.Body = body
	return sub
}

// submit submits submissions, each as a request of its own.
func (x *front) submit(subs ...*task.Submission) []task.Bell {
	x.t.Helper()
	reqs := make([]*task.Request, len(subs))
	for i, sub := range subs {
		reqs[i] = &task.Request{AppID: sub.AppID, Tasks: []*task.Submission{sub}}
	}
	bells, err := x.s.Submit(x.ctx, reqs)
	x.ok(err)
	return bells
}

// created submits one task and gives its id and bell.
func (x *front) created(set func(*task.Submission, *task.BodyHead)) (int64, task.Bell) {
	x.t.Helper()
	sub := x.sub(set)
	bells := x.submit(sub)
	if !sub.Created || sub.Err != nil || len(bells) != 1 {
		x.t.Fatalf("not created: %+v, bells %v", sub, bells)
	}
	return sub.ID, bells[0]
}

// unique gives a set function for a key.
func unique(key string, scope task.UniqueScope, c task.UniqueConflict) func(*task.Submission, *task.BodyHead) {
	return func(sub *task.Submission, h *task.BodyHead) {
		h.UniqueKey, h.UniqueScope = key, scope
		if scope == task.ScopeWindow {
			h.UniqueWindowMs = 60_000
		}
		sub.Unique = &task.Unique{OnConflict: c}
	}
}

// claim wins the tasks of bells for a new worker.
func (x *front) claim(bells ...task.Bell) (task.Claimed, int64) {
	x.t.Helper()
	w, err := x.s.NewWorker(x.ctx, task.WorkerInfo{Host: "test", Slots: 500})
	x.ok(err)
	ids := make([]int64, len(bells))
	for i, b := range bells {
		ids[i] = b.ID
	}
	c, err := x.s.Claim(x.ctx, task.ClaimRequest{WorkerID: w, LaneID: x.lane.ID, Bells: ids, Max: 500})
	x.ok(err)
	return c, w
}

// finish ends what was claimed.
func (x *front) finish(c task.Claimed, w int64, set func(*task.Ending)) {
	x.t.Helper()
	var ends []*task.Ending
	for _, ct := range c.Tasks {
		row, err := x.s.State(x.ctx, 0, ct.ID)
		x.ok(err)
		e := &task.Ending{TaskID: ct.ID, ClaimID: c.ClaimID, AttemptID: ct.AttemptID, WorkerID: w, AppID: ct.AppID,
			LaneID: c.LaneID, KindID: row.KindID, Epoch: ct.Epoch, Flags: row.Flags, DueAt: ct.DueAt, StartedAt: c.Now,
			FinishedAt: c.Now + 5, Outcome: task.OutcomeSucceeded, To: task.Succeeded, Result: []byte(`"done"`)}
		if set != nil {
			set(e)
		}
		ends = append(ends, e)
	}
	_, err := x.s.Finish(x.ctx, task.FinishBatch{WorkerID: w, Endings: ends, Emptied: []int64{c.ClaimID}})
	x.ok(err)
}

func failing(e *task.Ending) {
	e.Outcome, e.To, e.Reason, e.Result = task.OutcomeFailed, task.Failed, task.Exhausted, nil
	e.ErrCode, e.ErrMessage, e.Log = "boom", "it broke", []byte("line 1\nline 2\n")
}

func (x *front) state(id int64) task.Task {
	x.t.Helper()
	row, err := x.s.State(x.ctx, 0, id)
	x.ok(err)
	return row
}

func (x *front) count(table string) int {
	x.t.Helper()
	var n int
	x.ok(x.s.DB().QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n))
	return n
}

func wantKind(t testing.TB, err error, kind task.Kind, code string) *task.Error {
	t.Helper()
	var e *task.Error
	if !errors.As(err, &e) || e.Kind != kind || code != "" && e.Code != code {
		t.Fatalf("got error %v, want kind %d code %q", err, kind, code)
	}
	return e
}
