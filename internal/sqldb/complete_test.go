package sqldb_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// awaiting makes an ending of an attempt that its receiver took over for some ms.
func awaiting(ms int64) func(*task.Ending) {
	return func(e *task.Ending) {
		e.Outcome, e.To, e.Await, e.RetryAt, e.HTTPStatus, e.Result = task.OutcomeNone, task.Waiting, true, e.FinishedAt+ms, 202, nil
		e.Delivery = []byte(`{"method":"POST"}`)
	}
}

// awaited is a task whose first attempt awaits its completion.
func (x *front) awaited(ms int64, set func(*task.Submission, *task.BodyHead)) int64 {
	x.t.Helper()
	id, bell := x.created(set)
	c, w := x.claim(bell)
	x.finish(c, w, awaiting(ms))
	return id
}

func (x *front) complete(c task.Completion) task.CompletionReport {
	x.t.Helper()
	r, err := x.s.Complete(x.ctx, x.app.ID, c)
	x.ok(err)
	return r
}

// expire executes what is due of expire and deadline bells.
func (x *front) expire() (ended int) {
	x.t.Helper()
	for shard := range task.Shards {
		n, _, err := x.s.Expire(x.ctx, shard, 100)
		x.ok(err)
		ended += n
	}
	return ended
}

func succeeded(id int64, result string) task.Completion {
	return task.Completion{TaskID: id, Epoch: 1, Outcome: task.OutcomeSucceeded, Result: []byte(result)}
}

func TestAnAwaitedAttemptIsShownAsRunning(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id := x.awaited(60_000, func(s *task.Submission, _ *task.BodyHead) { s.ExpiresAt = x.s.Clock().Now() + 30_000 })
		v := x.view(id)
		now := x.s.Clock().Now()
		if v.State != task.Waiting || !v.Awaits() || v.Shown(now) != "running" || v.DueAt < now+50_000 || v.HTTPStatus != 202 || v.Failures != 0 {
			t.Errorf("%+v", v.Task)
		}
		if len(v.Attempts) != 1 || v.Attempts[0].Outcome != task.OutcomeNone || v.Attempts[0].FinishedAt != 0 || string(v.Attempts[0].Delivery) != `{"method":"POST"}` {
			t.Errorf("%+v", v.Attempts)
		}
		for state, n := range map[string]int{"running": 1, "scheduled": 0, "queued": 0, "": 1} {
			p, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, State: state, Limit: 10})
			x.ok(err)
			if len(p.Items) != n {
				t.Errorf("%d tasks listed as %q", len(p.Items), state)
			}
		}
		if _, err := x.s.RunNow(x.ctx, x.app.ID, id); err == nil {
			t.Error("an attempt under way was pulled forward")
		}
		if pairs, err := x.s.DuePairs(x.ctx); err != nil || len(pairs) != 0 {
			t.Errorf("a deadline bell would be rung: %v %v", pairs, err)
		}
		if c, _ := x.claim(task.Bell{ID: v.Holder}); len(c.Tasks) != 0 || !c.Bells[0].Gone {
			t.Error("a deadline bell was claimed")
		}
		if n, _, err := x.s.Audit(x.ctx, 0, id); err != nil || n != 0 {
			t.Errorf("audit: %d, %v", n, err)
		}
		// Its expiry bounded its start, which has been.
		x.ok(x.s.Exec(x.ctx, "UPDATE tasks SET expires_at=5 WHERE expires_at>0"))
		x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=5 WHERE kind=1"))
		if n := x.expire(); n != 0 || !x.state(id).Flags.Has(task.Awaiting) {
			t.Errorf("%d expired", n)
		}
	})
}

func TestComplete(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id := x.awaited(60_000, unique("k", task.ScopeUntilFinished, 0))
		_, err := x.s.Complete(x.ctx, x.other.ID, succeeded(id, `"done"`))
		wantKind(t, err, task.NotFound, "task_not_found")
		for _, epoch := range []int32{0, 2} {
			c := succeeded(id, `"done"`)
			c.Epoch = epoch
			_, err = x.s.Complete(x.ctx, x.app.ID, c)
			wantKind(t, err, task.Conflict, "epoch_mismatch")
		}
		if r := x.complete(succeeded(id, `{"n": 1}`)); r.Repeated || r.Final != task.Succeeded || r.Bell != nil {
			t.Errorf("%+v", r)
		}
		v := x.view(id)
		if v.State != task.Succeeded || string(v.Result) != `{"n": 1}` || v.FinishedAt == 0 || v.Flags.Has(task.Awaiting) || v.Holder != 0 {
			t.Errorf("%+v %s", v.Task, v.Result)
		}
		if len(v.Attempts) != 1 || v.Attempts[0].Outcome != task.OutcomeSucceeded || v.Attempts[0].FinishedAt == 0 || v.Attempts[0].Delivery == nil {
			t.Errorf("%+v", v.Attempts)
		}
		if n := x.count("bells") + x.count("unique_keys") + x.count("claims"); n != 0 {
			t.Errorf("%d rows are left over", n)
		}
		if r := x.complete(succeeded(id, `{"n": 1}`)); !r.Repeated {
			t.Errorf("%+v", r)
		}
		for _, c := range []task.Completion{succeeded(id, `{"n":1}`), {TaskID: id, Epoch: 1, Outcome: task.OutcomeSucceeded}, {TaskID: id, Epoch: 1, Outcome: task.OutcomeFailed, ErrCode: "x"}} {
			_, err = x.s.Complete(x.ctx, x.app.ID, c)
			wantKind(t, err, task.Conflict, "already_ended")
		}
		// Without a result; failed with and without a retry; cancelled; never awaited.
		id = x.awaited(60_000, nil)
		x.complete(task.Completion{TaskID: id, Epoch: 1, Outcome: task.OutcomeSucceeded})
		if v := x.view(id); v.State != task.Succeeded || v.Result != nil {
			t.Errorf("%+v", v)
		}
		id = x.awaited(60_000, nil)
		fail := task.Completion{TaskID: id, Epoch: 1, Outcome: task.OutcomeFailed, ErrCode: "no_stock", ErrMessage: "none left", RetryAfterMs: 20_000}
		r := x.complete(fail)
		v = x.view(id)
		if r.Bell == nil || v.State != task.Waiting || v.Awaits() || v.Failures != 1 || v.DueAt < x.s.Clock().Now()+15_000 || v.Holder != r.Bell.ID || v.Attempts[0].ErrCode != "no_stock" {
			t.Errorf("%+v %+v", r, v)
		}
		if !x.complete(fail).Repeated {
			t.Error("the same failure again was refused")
		}
		_, err = x.s.Complete(x.ctx, x.app.ID, succeeded(id, "1"))
		wantKind(t, err, task.Conflict, "already_ended")
		x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=1"))
		c, w := x.claim(*r.Bell)
		if len(c.Tasks) != 1 || c.Tasks[0].Epoch != 2 {
			t.Fatalf("not retried: %+v", c)
		}
		if !x.complete(fail).Repeated {
			t.Error("the same failure again was refused while the next attempt runs")
		}
		_, err = x.s.Complete(x.ctx, x.app.ID, succeeded(id, "1"))
		wantKind(t, err, task.Conflict, "epoch_mismatch")
		early := succeeded(id, "2")
		early.Epoch = 2
		if r := x.complete(early); !r.Running {
			t.Errorf("the worker has not stored its answer yet: %+v", r)
		}
		x.finish(c, w, awaiting(60_000))
		if r := x.complete(early); r.Final != task.Succeeded {
			t.Errorf("%+v", r)
		}
		id = x.awaited(60_000, nil)
		x.complete(task.Completion{TaskID: id, Epoch: 1, Outcome: task.OutcomeFailed, ErrCode: "x", Permanent: true})
		if v := x.view(id); v.State != task.Failed || v.Reason != task.Permanent || x.count("ends WHERE state=5") != 1 {
			t.Errorf("%+v", v.Task)
		}
		id = x.awaited(60_000, nil)
		if r, err := x.s.Cancel(x.ctx, x.app.ID, id); err != nil || r.State != task.Cancelled {
			t.Errorf("%+v %v", r, err)
		}
		if v := x.view(id); v.Attempts[0].Outcome != task.OutcomeCancelled || v.Attempts[0].FinishedAt == 0 || v.Flags.Has(task.Awaiting) {
			t.Errorf("%+v", v)
		}
		_, err = x.s.Complete(x.ctx, x.app.ID, succeeded(id, "1"))
		wantKind(t, err, task.Conflict, "task_cancelled")
		bell, err := x.s.Reopen(x.ctx, x.app.ID, id, false)
		x.ok(err)
		if c, _ := x.claim(bell); len(c.Tasks) != 1 || c.Tasks[0].Epoch != 2 {
			t.Errorf("not re-opened: %+v", c)
		}
		id, _ = x.created(nil)
		c0 := succeeded(id, "1")
		c0.Epoch = 0
		_, err = x.s.Complete(x.ctx, x.app.ID, c0)
		wantKind(t, err, task.Conflict, "not_awaited")
		id = x.awaited(60_000, unique("busy", task.ScopeUntilFinished, 0))
		taken := x.sub(unique("busy", task.ScopeUntilFinished, task.OnConflictReplace))
		x.submit(taken)
		if e := wantKind(t, taken.Err, task.Conflict, "unique_key_taken"); e.TaskID != id {
			t.Errorf("names %d", e.TaskID)
		}
	})
}

func TestACompletionThatComesTooLate(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		ids := []int64{x.awaited(60_000, nil), x.awaited(60_000, func(s *task.Submission, h *task.BodyHead) {
			s.Flags |= task.HasRetryPolicy
			h.Retry = &task.RetryPolicy{Policy: "fixed", BaseMs: 1, CapMs: 1}
		})}
		if n := x.expire(); n != 0 {
			t.Errorf("%d before their time", n)
		}
		x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=5"))
		if n := x.expire(); n != 2 {
			t.Errorf("%d timed out", n)
		}
		v, last := x.view(ids[0]), x.view(ids[1])
		if v.State != task.Waiting || v.Awaits() || v.Failures != 1 || last.State != task.Failed || last.Reason != task.Exhausted {
			t.Errorf("%+v %+v", v.Task, last.Task)
		}
		if a := v.Attempts[0]; a.Outcome != task.OutcomeFailed || a.ErrCode != task.CodeCompletionTimeout {
			t.Errorf("%+v", a)
		}
		for _, id := range ids {
			_, err := x.s.Complete(x.ctx, x.app.ID, succeeded(id, "1"))
			wantKind(t, err, task.Conflict, "completion_too_late")
		}
		if n := x.count("bells"); n != 1 {
			t.Errorf("%d bells", n)
		}
		if n := x.expire(); n != 0 {
			t.Errorf("%d timed out twice", n)
		}
	})
}

// TestAuditGivesAnAwaitedTaskItsDeadlineBack: what lost its bell must not be started again before its time is over.
func TestAuditGivesAnAwaitedTaskItsDeadlineBack(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id := x.awaited(60_000, nil)
		due := x.state(id).DueAt
		x.ok(x.s.Exec(x.ctx, "DELETE FROM bells"))
		if n, _, err := x.s.Audit(x.ctx, 0, id); err != nil || n != 1 {
			t.Fatalf("%d, %v", n, err)
		}
		if row := x.state(id); row.DueAt != due || x.count(fmt.Sprintf("bells WHERE kind=3 AND id=%d AND due_at=%d", row.Holder, due)) != 1 {
			t.Errorf("%+v", row)
		}
		if r := x.complete(succeeded(id, "1")); r.Final != task.Succeeded {
			t.Errorf("%+v", r)
		}
	})
}

// events gives the payloads of deliveries, oldest first.
func (x *front) events() (out []task.CompletionPayload) {
	x.t.Helper()
	p, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, Kind: task.CompletionKind, Limit: 1000})
	x.ok(err)
	for _, v := range slices.Backward(p.Items) {
		var e task.CompletionPayload
		if err := json.Unmarshal(v.Body.Payload, &e); err != nil {
			x.t.Fatalf("%v: %s", err, v.Body.Payload)
		}
		if v.Queue != task.SystemQueue || v.State != task.Waiting || v.Flags.Has(task.HasCompletion) || v.Body.Head.RetryPolicy().Max < 10 {
			x.t.Errorf("%+v", v)
		}
		out = append(out, e)
	}
	return out
}

func heard(sub *task.Submission, h *task.BodyHead) {
	sub.Flags |= task.HasCompletion
	h.CompletionURL, h.Labels = "https://shop.example/done?a=<1>&b", map[string]string{"order": "17"}
}

// TestEveryEndIsAnnouncedOnce: every way into a final state leaves one delivery behind, and plain tasks none.
func TestEveryEndIsAnnouncedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(x *front, id int64, bell task.Bell)
		want string // type, reason, error code
	}{
		{"success", func(x *front, _ int64, b task.Bell) { c, w := x.claim(b); x.finish(c, w, nil) }, "task.succeeded  "},
		{"failure", func(x *front, _ int64, b task.Bell) { c, w := x.claim(b); x.finish(c, w, failing) }, "task.failed exhausted boom"},
		{"cancel waiting", func(x *front, id int64, _ task.Bell) { x.cancel(id); x.cancel(id) }, "task.cancelled by_user "},
		{"cancel running", func(x *front, id int64, b task.Bell) { c, w := x.claim(b); x.cancel(id); x.finish(c, w, failing) }, "task.cancelled by_user "},
		{"expired", func(x *front, _ int64, _ task.Bell) {
			x.ok(x.s.Exec(x.ctx, "UPDATE tasks SET expires_at=6,due_at=5 WHERE expires_at>0"))
			x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=5 WHERE kind=1"))
			x.expire()
			x.expire()
		}, "task.failed expired expired"},
		{"lost", func(x *front, id int64, b task.Bell) {
			x.ok(x.s.Exec(x.ctx, "UPDATE tasks SET losses=9,failures=99 WHERE losses=0"))
			c, _ := x.claim(b)
			_, err := x.s.Release(x.ctx, c.ClaimID, nil, task.CauseLost)
			x.ok(err)
		}, "task.failed lost worker_lost"},
		{"replaced", func(x *front, id int64, _ task.Bell) {
			other := x.sub(unique("r", task.ScopeUntilFinished, task.OnConflictReplace))
			x.submit(other)
		}, "task.cancelled replaced "},
		{"completed", func(x *front, id int64, b task.Bell) {
			c, w := x.claim(b)
			x.finish(c, w, awaiting(60_000))
			x.complete(succeeded(id, `"done"`))
			x.complete(succeeded(id, `"done"`))
		}, "task.succeeded  "},
		{"not completed", func(x *front, id int64, b task.Bell) {
			x.ok(x.s.Exec(x.ctx, "UPDATE tasks SET failures=99"))
			c, w := x.claim(b)
			x.finish(c, w, awaiting(60_000))
			x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=5 WHERE kind=3"))
			x.expire()
		}, "task.failed exhausted completion_timeout"},
		{"cancelled while awaited", func(x *front, id int64, b task.Bell) {
			c, w := x.claim(b)
			x.finish(c, w, awaiting(60_000))
			x.cancel(id)
		}, "task.cancelled by_user "},
		{"abandoned", func(x *front, id int64, b task.Bell) {
			x.ok(x.s.Exec(x.ctx, "UPDATE tasks SET failures=99"))
			c, w := x.claim(b)
			x.ok(x.s.MarkZombie(x.ctx, w, id, c.Tasks[0].Epoch, true))
			_, err := x.s.Abandon(x.ctx, x.app.ID, id)
			x.ok(err)
		}, "task.failed abandoned abandoned"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachFront(t, func(t *testing.T, x *front) {
				plain, _ := x.created(nil)
				x.cancel(plain)
				id, bell := x.created(func(s *task.Submission, h *task.BodyHead) {
					heard(s, h)
					switch c.name {
					case "expired":
						s.ExpiresAt = x.s.Clock().Now() + 60_000
					case "replaced":
						h.UniqueKey, h.UniqueScope, s.Unique = "r", task.ScopeUntilFinished, &task.Unique{}
					}
				})
				c.end(x, id, bell)
				es := x.events()
				if len(es) != 1 {
					t.Fatalf("%d deliveries", len(es))
				}
				d := es[0].Event.Data
				code := ""
				if d.Error != nil {
					code = d.Error.Code
				}
				if got := es[0].Event.Type + " " + d.Reason + " " + code; got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				if es[0].URL != "https://shop.example/done?a=<1>&b" || d.ID != fmt.Sprint(id) || d.Kind != "echo" || d.Labels["order"] != "17" ||
					d.FinishedAt == "" || es[0].Event.Timestamp != d.FinishedAt || es[0].Event.Type != "task."+d.State {
					t.Errorf("%+v", es[0])
				}
				if d.Error != nil && d.Error.HTTPStatus == 202 {
					t.Error("it failed with the status of the answer that handed it over")
				}
				if d.State == "succeeded" && string(d.Result) != `"done"` {
					t.Errorf("result %s", d.Result)
				}
				if row := x.state(id); !row.State.Final() {
					t.Errorf("%+v", row)
				}
			})
		})
	}
}

func (x *front) cancel(id int64) {
	x.t.Helper()
	_, err := x.s.Cancel(x.ctx, x.app.ID, id)
	x.ok(err)
}

// TestAReopenedTaskIsAnnouncedAgain, and a delivery is no news itself.
func TestAReopenedTaskIsAnnouncedAgain(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, _ := x.created(heard)
		x.cancel(id)
		bell, err := x.s.Reopen(x.ctx, x.app.ID, id, false)
		x.ok(err)
		if len(x.events()) != 1 {
			t.Error("re-opening was announced")
		}
		c, w := x.claim(bell)
		x.finish(c, w, func(e *task.Ending) { e.Result = []byte("\xff\x00") })
		es := x.events()
		if len(es) != 2 || es[1].Event.Type != "task.succeeded" || string(es[1].Event.Data.Result) != `{"base64":"/wA="}` {
			t.Fatalf("%+v", es)
		}
		p, err := x.s.List(x.ctx, task.Filter{AppID: x.app.ID, Kind: task.CompletionKind, Limit: 10})
		x.ok(err)
		for _, v := range p.Items {
			x.cancel(v.ID)
		}
		if n := x.count("tasks"); n != 3 {
			t.Errorf("%d tasks", n)
		}
		if n, bells, err := x.s.Audit(x.ctx, 0, 1<<40); err != nil || n != 0 || len(bells) != 0 {
			t.Errorf("audit %d %v", n, err)
		}
	})
}

// TestAwaitedTasksUnderRandomOrders runs random steps on tasks that await completion and checks after each that the task is where
// its holder says, that each epoch has one attempt, and that every end was announced once.
func TestAwaitedTasksUnderRandomOrders(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		rnd := rand.New(rand.NewPCG(7, 8))
		for range 12 {
			id, bell := x.created(func(s *task.Submission, h *task.BodyHead) {
				heard(s, h)
				s.Flags |= task.HasRetryPolicy
				h.Retry = &task.RetryPolicy{Policy: "fixed", BaseMs: 1, CapMs: 1, Max: 2}
			})
			var held *task.Claimed
			worker, ends, reopened := int64(0), 0, 0
			for step := range 30 {
				before := x.state(id)
				switch op := rnd.IntN(8); op {
				case 0, 1:
					x.ok(x.s.Exec(x.ctx, fmt.Sprintf("UPDATE bells SET due_at=1 WHERE id=%d AND kind=0", before.Holder)))
					if c, w := x.claim(task.Bell{ID: before.Holder}, bell); len(c.Tasks) == 1 {
						held, worker = &c, w
					}
				case 2, 3:
					if held != nil {
						x.finish(*held, worker, awaiting(60_000))
						held = nil
					}
				case 4:
					c := succeeded(id, fmt.Sprint(rnd.IntN(3)))
					c.Epoch = before.Epoch - int32(rnd.IntN(2))
					_, err := x.s.Complete(x.ctx, x.app.ID, c)
					if err != nil && task.KindOf(err) != task.Conflict {
						t.Fatal(err)
					}
				case 5:
					_, err := x.s.Complete(x.ctx, x.app.ID, task.Completion{TaskID: id, Epoch: before.Epoch, Outcome: task.OutcomeFailed, ErrCode: "x", Permanent: rnd.IntN(3) == 0})
					if err != nil && task.KindOf(err) != task.Conflict {
						t.Fatal(err)
					}
				case 6:
					x.ok(x.s.Exec(x.ctx, "UPDATE bells SET due_at=1 WHERE kind=3"))
					x.expire()
				case 7:
					if rnd.IntN(2) == 0 {
						x.cancel(id)
						break
					}
					if _, err := x.s.Reopen(x.ctx, x.app.ID, id, true); err == nil {
						reopened++
					} else if task.KindOf(err) != task.Conflict {
						t.Fatal(err)
					}
				}
				after := x.state(id)
				if !before.State.Final() && after.State.Final() {
					ends++
				}
				x.consistent(id, step)
				if n := len(x.eventsOf(id)); n != ends {
					t.Fatalf("step %d: %d ends, %d deliveries", step, ends, n)
				}
			}
		}
	})
}

func (x *front) eventsOf(id int64) []task.CompletionPayload {
	return slices.DeleteFunc(x.events(), func(e task.CompletionPayload) bool { return e.Event.Data.ID != fmt.Sprint(id) })
}

// consistent checks I1, I2, and that attempts are what they should be.
func (x *front) consistent(id int64, step int) {
	x.t.Helper()
	v := x.view(id)
	switch {
	case v.State == task.Waiting:
		kind := int(task.StartBell)
		if v.Awaits() {
			kind = int(task.DeadlineBell)
		}
		var list string
		var epoch int32
		x.ok(x.s.DB().QueryRow(fmt.Sprintf("SELECT task_ids,epoch FROM bells WHERE id=%d AND kind=%d", v.Holder, kind)).Scan(&list, &epoch))
		if !slices.Contains(strings.Split(list, ","), fmt.Sprint(id)) || epoch != v.Epoch {
			x.t.Fatalf("step %d: %+v is not in its bell", step, v.Task)
		}
	case v.State == task.Running:
		if x.count(fmt.Sprintf("claims WHERE id=%d", v.Holder)) != 1 {
			x.t.Fatalf("step %d: no claim of %+v", step, v.Task)
		}
	case v.Holder != 0 || v.FinishedAt == 0:
		x.t.Fatalf("step %d: %+v", step, v.Task)
	}
	if v.Flags.Has(task.Awaiting) != v.Awaits() || len(v.Attempts) != int(v.Epoch) {
		x.t.Fatalf("step %d: %d attempts of %+v", step, len(v.Attempts), v.Task)
	}
	for i, a := range v.Attempts {
		open := a.Outcome == task.OutcomeNone
		if int(a.Epoch) != i+1 || open != (a.FinishedAt == 0) || open != (i == len(v.Attempts)-1 && v.Shown(0) == "running") {
			x.t.Fatalf("step %d: attempt %+v of %+v", step, a, v.Task)
		}
	}
}
