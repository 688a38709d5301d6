package sqldb_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// later is a submission that holds its key until it is due, in a minute.
func later(key string, c task.UniqueConflict) func(*task.Submission, *task.BodyHead) {
	set := unique(key, task.ScopeUntilDue, c)
	return func(sub *task.Submission, h *task.BodyHead) {
		set(sub, h)
		sub.DelayMs = 60_000
	}
}

// A key held until due is taken while its task is scheduled, and by nothing else: not while it is queued, running or over.
func TestKeysHeldUntilDue(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		taken := func(key string) bool {
			t.Helper()
			sub := x.sub(unique(key, task.ScopeUntilDue, task.OnConflictReject)) // due at once: it only looks
			x.submit(sub)
			if sub.Err != nil {
				wantKind(t, sub.Err, task.Conflict, "unique_key_taken")
			}
			return !sub.Created
		}
		for range 3 {
			if taken("k") {
				t.Fatal("tasks that are due hold a key")
			}
		}
		if n := x.count("unique_keys"); n != 0 {
			t.Fatalf("%d keys of tasks that are due", n)
		}
		pulled, _ := x.created(later("k", 0))
		second := x.sub(later("k", task.OnConflictReject))
		x.submit(second)
		if e := wantKind(t, second.Err, task.Conflict, "unique_key_taken"); e.TaskID != pulled || !taken("k") {
			t.Fatalf("a scheduled task does not hold its key: %v", e)
		}
		for _, end := range []struct {
			what string
			do   func(id int64)
		}{
			{"pulled forward", func(id int64) { _, err := x.s.RunNow(x.ctx, x.app.ID, id); x.ok(err) }},
			{"cancelled", func(id int64) { _, err := x.s.Cancel(x.ctx, x.app.ID, id); x.ok(err) }},
			{"due", func(id int64) {
				x.ok(x.s.Exec(x.ctx, fmt.Sprintf("UPDATE unique_keys SET expires_at=7 WHERE task_id=%d", id)))
			}},
			{"started", func(id int64) {
				x.ok(x.s.Exec(x.ctx, fmt.Sprintf("UPDATE bells SET due_at=7 WHERE id=%d", x.state(id).Holder)))
				x.claim(task.Bell{ID: x.state(id).Holder})
			}},
		} {
			end.do(pulled)
			if taken("k") {
				t.Errorf("%s: the key is still taken", end.what)
			}
			if pulled, _ = x.created(later("k", 0)); !taken("k") {
				t.Errorf("after one that was %s: the next scheduled task does not hold the key", end.what)
			}
		}
		_, err := x.s.Cancel(x.ctx, x.app.ID, pulled)
		x.ok(err)
		if n := x.count("unique_keys"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
}

// A re-opened task is due at once: it takes no key and is refused by none.
func TestReopenOfATaskWhoseKeyWasHeldUntilDue(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		id, _ := x.created(later("k", 0))
		_, err := x.s.Cancel(x.ctx, x.app.ID, id)
		x.ok(err)
		other, _ := x.created(later("k", 0))
		_, err = x.s.Reopen(x.ctx, x.app.ID, id, false)
		x.ok(err)
		if x.state(id).State != task.Waiting || x.state(other).State != task.Waiting {
			t.Error("one of them does not wait")
		}
	})
}

// Keys that meet in one flush: those that only look may meet each other and come before or after one that holds.
func TestKeysHeldUntilDueInOneFlush(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		look := func(c task.UniqueConflict) *task.Submission { return x.sub(unique("k", task.ScopeUntilDue, c)) }
		a, b, hold := look(0), look(0), x.sub(later("k", 0))
		c, keep, d := look(task.OnConflictReject), look(task.OnConflictKeep), x.sub(later("k", task.OnConflictReject))
		replace, e := look(task.OnConflictReplace), look(task.OnConflictReject)
		x.submit(a, b, hold, c, keep, d, replace, e)
		for what, sub := range map[string]*task.Submission{"before": a, "too": b, "holder": hold, "replacing": replace, "after": e} {
			if !sub.Created {
				t.Errorf("%s: not created: %v", what, sub.Err)
			}
		}
		wantKind(t, c.Err, task.Conflict, "unique_key_taken")
		wantKind(t, d.Err, task.Conflict, "unique_key_taken")
		if !keep.Kept || keep.TaskID != hold.ID {
			t.Errorf("keep: %+v", keep)
		}
		if row := x.state(hold.ID); row.State != task.Cancelled || row.Reason != task.Replaced {
			t.Errorf("the replaced one: %+v", row)
		}
	})
}

// Of many that want a key until due at the same moment, exactly one gets it.
func TestOneOfManyGetsAKeyHeldUntilDue(t *testing.T) {
	eachFront(t, func(t *testing.T, x *front) {
		for round := range 5 {
			var won atomic.Int32
			var wg sync.WaitGroup
			for range 12 {
				sub := x.sub(later(fmt.Sprint("k", round), task.OnConflictReject))
				wg.Go(func() {
					if _, err := x.s.Submit(x.ctx, []*task.Request{{AppID: x.app.ID, Tasks: []*task.Submission{sub}}}); err != nil {
						t.Errorf("submit: %v", err)
					}
					if sub.Created {
						won.Add(1)
					}
				})
			}
			if wg.Wait(); won.Load() != 1 {
				t.Fatalf("%d of 12 got the key", won.Load())
			}
		}
	})
}
