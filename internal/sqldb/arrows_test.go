package sqldb_test

import (
	"database/sql/driver"
	"slices"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

var errConnectionDied = driver.ErrBadConn

func TestCancelInEachState(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, bell := x.created(nil)
		_, err := x.s.Cancel(x.ctx, x.other.ID, id)
		wantKind(t, err, task.NotFound, "task_not_found")
		for range 2 {
			r, err := x.s.Cancel(x.ctx, x.app.ID, id)
			x.ok(err)
			if r.State != task.Cancelled {
				t.Errorf("waiting: %+v", r)
			}
		}
		if row := x.state(id); row.Reason != task.ByUser || row.FinishedAt == 0 || row.Holder != 0 {
			t.Errorf("%+v", row)
		}
		if c, _ := x.claim(bell); len(c.Tasks) != 0 || !c.Bells[0].Gone {
			t.Errorf("a cancelled task was started: %+v", c)
		}
		id, bell = x.created(nil)
		c, w := x.claim(bell)
		r, err := x.s.Cancel(x.ctx, 0, id)
		x.ok(err)
		if r.State != task.Running || r.WorkerID != w || r.Epoch != 1 || x.state(id).CancelAt == 0 {
			t.Errorf("running: %+v", r)
		}
		x.finish(c, w, failing)
		if row := x.state(id); row.State != task.Cancelled {
			t.Errorf("cancel did not win: %+v", row)
		}
		id, bell = x.created(nil)
		c, w = x.claim(bell)
		x.finish(c, w, nil)
		r, err = x.s.Cancel(x.ctx, x.app.ID, id)
		x.ok(err)
		if r.State != task.Succeeded || x.state(id).CancelAt != 0 {
			t.Errorf("final: %+v", r)
		}
	})
}

// A task that was pulled forward counts once in its queue, though its old bell lists it too.
func TestRunNowCountsOnceInItsQueue(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, _ := x.created(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = x.s.Clock().Now() + 3_600_000 })
		if _, err := x.s.RunNow(x.ctx, x.app.ID, id); err != nil {
			t.Fatal(err)
		}
		for _, app := range []int32{0, x.app.ID} {
			depths, err := x.s.Queues(x.ctx, app, x.s.Clock().Now())
			if err != nil || len(depths) != 1 || depths[0].Waiting != 1 || depths[0].Scheduled != 0 {
				t.Errorf("app %d: %+v, %v, want one task that waits", app, depths, err)
			}
		}
	})
}

func TestRunNow(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		now := x.s.Clock().Now()
		id, old := x.created(func(s *task.Submission, _ *task.BodyHead) { s.DueAt = now + 3_600_000 })
		_, err := x.s.RunNow(x.ctx, x.other.ID, id)
		wantKind(t, err, task.NotFound, "")
		bell, err := x.s.RunNow(x.ctx, x.app.ID, id)
		x.ok(err)
		if !bell.Direct || bell.DueAt > now+10_000 {
			t.Errorf("bell %+v", bell)
		}
		x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=1"))
		if c, _ := x.claim(old); len(c.Tasks) != 0 {
			t.Error("started by its old bell")
		}
		if c, _ := x.claim(bell); len(c.Tasks) != 1 || c.Tasks[0].Epoch != 1 {
			t.Error("not started by its new bell")
		}
		_, err = x.s.RunNow(x.ctx, x.app.ID, id)
		wantKind(t, err, task.Conflict, "not_waiting")
	})
}

func TestReopen(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, bell := x.created(unique("k", task.ScopeUntilFinished, 0))
		_, err := x.s.Reopen(x.ctx, x.app.ID, id, true)
		wantKind(t, err, task.Conflict, "not_retryable")
		c, w := x.claim(bell)
		x.finish(c, w, failing)
		_, err = x.s.Reopen(x.ctx, x.other.ID, id, true)
		wantKind(t, err, task.NotFound, "")
		blocker, _ := x.created(unique("k", task.ScopeUntilFinished, 0))
		_, err = x.s.Reopen(x.ctx, x.app.ID, id, false)
		if e := wantKind(t, err, task.Conflict, "unique_key_taken"); e.TaskID != blocker {
			t.Errorf("names %d", e.TaskID)
		}
		_, err = x.s.Cancel(x.ctx, x.app.ID, blocker)
		x.ok(err)
		again, err := x.s.Reopen(x.ctx, x.app.ID, id, false)
		x.ok(err)
		row := x.state(id)
		if row.State != task.Waiting || row.Failures != 0 || row.Reason != 0 || row.Holder != again.ID || row.FinishedAt != 0 || row.Epoch != 1 {
			t.Errorf("re-opened: %+v", row)
		}
		if n := x.count("ends WHERE state=5"); n != 0 {
			t.Errorf("%d rows among the failed", n)
		}
		taken := x.sub(unique("k", task.ScopeUntilFinished, task.OnConflictReject))
		x.submit(taken)
		wantKind(t, taken.Err, task.Conflict, "unique_key_taken")
		c, w = x.claim(again)
		if len(c.Tasks) != 1 || c.Tasks[0].Epoch != 2 {
			t.Fatalf("claimed %+v", c)
		}
		x.finish(c, w, nil)
		_, err = x.s.Reopen(x.ctx, x.app.ID, id, false)
		wantKind(t, err, task.Conflict, "not_retryable")
		forced, err := x.s.Reopen(x.ctx, x.app.ID, id, true)
		x.ok(err)
		v := x.view(id)
		if v.State != task.Waiting || v.Result != nil || len(v.Attempts) != 2 || v.Attempts[1].Outcome != task.OutcomeSucceeded {
			t.Errorf("after force: %+v", v)
		}
		c, w = x.claim(forced)
		x.finish(c, w, nil)
		if v := x.view(id); v.Epoch != 3 || len(v.Attempts) != 3 || string(v.Result) != `"done"` {
			t.Errorf("after the third run: %+v", v)
		}
	})
}

func (x *front) view(id int64) task.View {
	x.t.Helper()
	vs, err := x.s.Views(x.ctx, x.app.ID, []int64{id})
	x.ok(err)
	if len(vs) != 1 {
		x.t.Fatalf("%d views of %d", len(vs), id)
	}
	return vs[0]
}

func TestAbandon(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, bell := x.created(nil)
		_, w := x.claim(bell)
		_, err := x.s.Abandon(x.ctx, x.app.ID, id)
		wantKind(t, err, task.Conflict, "not_a_zombie")
		x.ok(x.s.MarkZombie(x.ctx, w, id, 1, true))
		_, err = x.s.Abandon(x.ctx, x.other.ID, id)
		wantKind(t, err, task.NotFound, "")
		retry, err := x.s.Abandon(x.ctx, x.app.ID, id)
		x.ok(err)
		row := x.state(id)
		if retry == nil || row.State != task.Waiting || row.Failures != 1 || row.Holder != retry.ID {
			t.Fatalf("timed out: %+v, bell %+v", row, retry)
		}
		if v := x.view(id); len(v.Attempts) != 1 || v.Attempts[0].Outcome != task.OutcomeTimedOut || v.Attempts[0].ErrCode != "abandoned" {
			t.Errorf("attempts %+v", v.Attempts)
		}
		now, err := x.s.RunNow(x.ctx, x.app.ID, id)
		x.ok(err)
		_, w = x.claim(now)
		x.ok(x.s.MarkZombie(x.ctx, w, id, 2, true))
		_, err = x.s.Cancel(x.ctx, x.app.ID, id)
		x.ok(err)
		if b, err := x.s.Abandon(x.ctx, x.app.ID, id); err != nil || b != nil {
			t.Errorf("bell %+v, %v", b, err)
		}
		if row := x.state(id); row.State != task.Cancelled || row.Reason != task.Abandoned {
			t.Errorf("cancelled: %+v", row)
		}
	})
}

func TestAttemptsResultsAndLog(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, bell := x.created(nil)
		c, w := x.claim(bell)
		if v := x.view(id); len(v.Attempts) != 1 || v.Attempts[0].ID != c.Tasks[0].AttemptID || v.Attempts[0].FinishedAt != 0 || v.Attempts[0].WorkerID != w {
			t.Errorf("running: %+v", v.Attempts)
		}
		x.finish(c, w, failing)
		v := x.view(id)
		if len(v.Attempts) != 1 || v.Attempts[0].ErrCode != "boom" || v.Attempts[0].ErrMessage != "it broke" || v.State != task.Failed {
			t.Errorf("failed: %+v", v)
		}
		log, err := x.s.Log(x.ctx, x.app.ID, id, 0)
		x.ok(err)
		byID, err := x.s.Log(x.ctx, x.app.ID, id, v.Attempts[0].ID)
		x.ok(err)
		if string(log) != "line 1\nline 2\n" || !slices.Equal(log, byID) {
			t.Errorf("log %q, by id %q", log, byID)
		}
		_, err = x.s.Log(x.ctx, x.app.ID, id, 12345)
		wantKind(t, err, task.NotFound, "")
		_, err = x.s.Log(x.ctx, x.other.ID, id, 0)
		wantKind(t, err, task.NotFound, "")
		plain, bell := x.created(nil)
		c, w = x.claim(bell)
		x.finish(c, w, nil)
		if log, err := x.s.Log(x.ctx, x.app.ID, plain, c.Tasks[0].AttemptID); err != nil || log != nil {
			t.Errorf("log of a plain success: %q, %v", log, err)
		}
		if v := x.view(plain); string(v.Result) != `"done"` || len(v.Attempts) != 1 || v.Attempts[0].Outcome != task.OutcomeSucceeded || v.Attempts[0].FinishedAt == 0 {
			t.Errorf("succeeded: %+v", v)
		}
		if vs, _ := x.s.Views(x.ctx, x.other.ID, []int64{id, plain}); len(vs) != 0 {
			t.Error("another app reads them")
		}
		if vs, _ := x.s.Views(x.ctx, 0, []int64{plain, id, plain}); len(vs) != 3 || vs[0].ID != plain || vs[1].ID != id {
			t.Error("not in the order asked for")
		}
	})
}
