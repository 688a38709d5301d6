package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// world is a database with a lane and two kinds, and one worker.
type world struct {
	t      testing.TB
	ctx    context.Context
	s      *sqldb.Store
	lane   task.Lane
	kinds  []int32 // echo, sleep
	worker int64
}

func newWorld(t testing.TB, s *sqldb.Store) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), s: s}
	var err error
	if w.lane, err = s.EnsureLane(w.ctx, "default", task.Normal); err != nil {
		t.Fatal(err)
	}
	ids, err := s.DeclareKinds(w.ctx, []string{"echo", "sleep"})
	if err != nil {
		t.Fatal(err)
	}
	w.kinds = []int32{ids["echo"], ids["sleep"]}
	w.worker = w.newWorker()
	if err := s.TuneLane(w.ctx, w.lane.ID, 100, 100); err != nil {
		t.Fatal(err)
	}
	return w
}

func eachWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	sqldbtest.Beside(t)
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) { f(newWorld(t, s)) })
}

func (w *world) newWorker() int64 {
	w.t.Helper()
	id, err := w.s.NewWorker(w.ctx, task.WorkerInfo{Host: "here", Slots: 10})
	w.must(err)
	return id
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// now is the database's time.
func (w *world) now() int64 { return w.s.Clock().Now() }

// subs makes n submissions of kind echo, each changed by f.
func (w *world) subs(n int, f func(i int, sub *task.Submission, head *task.BodyHead)) []*task.Submission {
	w.t.Helper()
	first, err := w.s.TaskIDs(w.ctx, n)
	w.must(err)
	out := make([]*task.Submission, n)
	for i := range out {
		sub := &task.Submission{ID: first + int64(i), AppID: 1, LaneID: w.lane.ID, KindID: w.kinds[0], TimeoutMs: 1000}
		body := task.Body{Payload: []byte(`{"n":1}`)}
		if f != nil {
			f(i, sub, &body.Head)
		}
		if body.Head.UniqueKey != "" {
			sub.Flags |= task.HasUnique
			if s := body.Head.UniqueScope; s == task.ScopeUntilStarted || s == task.ScopeUntilDue {
				sub.Flags |= task.UntilStarted
			}
			sub.Unique = body.Head.Unique(sub.AppID)
		}
		if body.Head.Retry != nil {
			sub.Flags |= task.HasRetryPolicy
		}
		if body.Head.LimitKey != "" {
			sub.Flags |= task.HasLimitKey
			sub.Flow = task.FlowOf(sub.AppID, body.Head.LimitKey)
		}
		if sub.Body, err = body.Encode(); err != nil {
			w.t.Fatal(err)
		}
		out[i] = sub
	}
	return out
}

// submit writes n tasks and gives their ids and bells.
func (w *world) submit(n int, f func(i int, sub *task.Submission, head *task.BodyHead)) ([]int64, []task.Bell) {
	w.t.Helper()
	subs := w.subs(n, f)
	bells, err := w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Tasks: subs}})
	w.must(err)
	ids := make([]int64, n)
	for i, sub := range subs {
		w.must(sub.Err)
		ids[i] = sub.ID
	}
	return ids, bells
}

func bellIDs(bells []task.Bell) []int64 {
	ids := make([]int64, len(bells))
	for i := range bells {
		ids[i] = bells[i].ID
	}
	return ids
}

// claim claims up to max tasks of bells for the world's worker.
func (w *world) claim(max int, bells ...int64) task.Claimed {
	w.t.Helper()
	return w.claimAs(w.worker, max, bells...)
}

func (w *world) claimAs(worker int64, max int, bells ...int64) task.Claimed {
	w.t.Helper()
	c, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: worker, LaneID: w.lane.ID, Bells: bells, Max: max, Kinds: w.kinds})
	w.must(err)
	return c
}

// running submits n tasks and claims them all.
func (w *world) running(n int, f func(i int, sub *task.Submission, head *task.BodyHead)) task.Claimed {
	w.t.Helper()
	_, bells := w.submit(n, f)
	c := w.claim(n, bellIDs(bells)...)
	if len(c.Tasks) != n {
		w.t.Fatalf("won %d of %d", len(c.Tasks), n)
	}
	return c
}

// ending is a success of a claimed task.
func (w *world) ending(c task.Claimed, i int) *task.Ending {
	one := c.Tasks[i]
	return &task.Ending{TaskID: one.ID, ClaimID: c.ClaimID, AttemptID: one.AttemptID, WorkerID: w.worker, AppID: one.AppID,
		LaneID: c.LaneID, KindID: w.kinds[0], Epoch: one.Epoch, DueAt: one.DueAt, StartedAt: c.Now, FinishedAt: w.now(),
		Outcome: task.OutcomeSucceeded, To: task.Succeeded, Flow: one.Flow, Places: one.Places}
}

func (w *world) finish(ends []*task.Ending, emptied ...int64) []task.Bell {
	w.t.Helper()
	bells, err := w.s.Finish(w.ctx, task.FinishBatch{WorkerID: w.worker, Endings: ends, Emptied: emptied})
	w.must(err)
	return bells
}

// row reads a task's row.
type row struct {
	state, reason, epoch, failures, losses, flags, dueAt, holder, worker, startedAt, finishedAt, attempt, cancelAt, status, expiresAt int64
}

func (w *world) row(id int64) row {
	w.t.Helper()
	var r row
	w.must(w.s.DB().QueryRowContext(w.ctx, `SELECT state,reason,epoch,failures,losses,flags,due_at,holder,worker_id,started_at,
		finished_at,attempt_id,cancel_at,http_status,expires_at FROM tasks WHERE id=?`, id).Scan(&r.state, &r.reason, &r.epoch, &r.failures,
		&r.losses, &r.flags, &r.dueAt, &r.holder, &r.worker, &r.startedAt, &r.finishedAt, &r.attempt, &r.cancelAt, &r.status, &r.expiresAt))
	return r
}

// count reads one number.
func (w *world) text(query string, args ...any) (out string) {
	w.t.Helper()
	if err := w.s.DB().QueryRowContext(w.ctx, query, args...).Scan(&out); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return out
}

func (w *world) count(query string, args ...any) int64 {
	w.t.Helper()
	var n sql.NullInt64
	if err := w.s.DB().QueryRowContext(w.ctx, query, args...).Scan(&n); err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	return n.Int64
}

// want compares two values.
func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// testsOwn begins a statement that only the tests say.
const testsOwn = "/* tests */"

// inAnHour is how far off the expiry is of tasks that letExpire ends: nothing that a busy machine does takes as long.
const inAnHour = 3_600_000

// letExpire brings the hour forward at which the tasks expire that were submitted to expire within [from, to]: now they have expired.
// It gives the new from.
func (w *world) letExpire(from, to int64) int64 {
	w.t.Helper()
	by := to - w.now() + 1
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("%s UPDATE tasks SET expires_at=expires_at-%d WHERE expires_at BETWEEN %d AND %d", testsOwn, by, from, to)))
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("%s UPDATE bells SET due_at=due_at-%d WHERE kind=1 AND due_at BETWEEN %d AND %d", testsOwn, by, from, to)))
	return from - by
}
