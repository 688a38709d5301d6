package sqldb_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// bulk makes an operation of app 1.
func (w *world) bulk(action task.BulkAction, f task.BulkFilter, dry bool) task.Bulk {
	w.t.Helper()
	b, replayed, err := w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: action, Filter: f, DryRun: dry}, nil, 1000)
	w.must(err)
	want(w.t, "replayed", replayed, false)
	want(w.t, "state", b.State, task.BulkRunning)
	return b
}

// runBulk steps until an operation is over.
func (w *world) runBulk(id int64, limit int) task.Bulk {
	w.t.Helper()
	for range 10_000 {
		step, err := w.s.StepBulk(w.ctx, id, limit)
		w.must(err)
		if step.Ended {
			b, err := w.s.BulkByID(w.ctx, 0, id)
			w.must(err)
			return b
		}
	}
	w.t.Fatal("the operation does not end")
	return task.Bulk{}
}

// bulkWorld is tasks of every state, queue, kind, label and app, in any order.
func bulkWorld(w *world) (ids []int64) {
	other, err := w.s.EnsureLane(w.ctx, "other", task.Low)
	w.must(err)
	w.must(w.s.TuneLane(w.ctx, other.ID, 100, 10))
	mix := func(i int, sub *task.Submission, head *task.BodyHead) {
		if i%3 == 0 {
			sub.LaneID = other.ID
		}
		if i%4 == 0 {
			sub.KindID = w.kinds[1]
		}
		if i%5 == 0 {
			sub.Flags |= task.HasLabels
			sub.Labels = []task.Label{{Key: "a", Value: "b"}}
			head.Labels = map[string]string{"a": "b"}
		}
		if i%7 == 0 {
			head.UniqueKey, head.UniqueScope = fmt.Sprint("u", sub.ID), task.ScopeUntilFinished
		}
		if i%11 == 0 {
			sub.AppID = 2
			if head.UniqueKey != "" {
				head.UniqueKey = ""
			}
		}
	}
	run, bells := w.submit(60, mix)
	ids = append(ids, run...)
	for _, lane := range []task.Lane{w.lane, other} {
		var mine []int64
		for _, b := range bells {
			if b.LaneID == lane.ID {
				mine = append(mine, b.ID)
			}
		}
		c, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: lane.ID, Bells: mine, Max: 500, Kinds: w.kinds})
		w.must(err)
		var ends []*task.Ending
		for i := range c.Tasks {
			e := w.ending(c, i)
			switch i % 4 {
			case 0:
				e.To, e.Outcome, e.Reason = task.Failed, task.OutcomeFailed, task.Permanent
			case 1:
				continue // goes on running
			}
			ends = append(ends, e)
		}
		w.finish(ends)
	}
	wait, _ := w.submit(60, mix)
	ids = append(ids, wait...)
	late, _ := w.submit(30, func(i int, sub *task.Submission, head *task.BodyHead) {
		mix(i, sub, head)
		sub.DueAt = w.now() + 3_600_000
	})
	return append(ids, late...)
}

// Every filter chooses what the list of the same filter shows, and only that is changed, once.
func TestBulkChoosesWhatListsShow(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids := bulkWorld(w)
		filters := []task.BulkFilter{{State: "queued"}, {State: "scheduled"}, {State: "running"}, {State: "succeeded"}, {State: "failed"}, {State: "cancelled"},
			{Queue: "other"}, {Kind: "sleep"}, {Label: &task.Label{Key: "a", Value: "b"}}, {Label: &task.Label{Key: "a", Value: "c"}}, {Queue: "nosuch"}, {Kind: "nosuch"},
			{State: "queued", Queue: "other"}, {State: "failed", Kind: "sleep"}, {State: "failed", Label: &task.Label{Key: "a", Value: "b"}}, {From: 1}, {To: 5}, {UniqueKey: fmt.Sprint("u", ids[7])},
			{IDs: ids[10:20]}}
		for _, f := range filters {
			for _, action := range []task.BulkAction{task.BulkCancel, task.BulkRetry, task.BulkDelete} {
				lf := task.Filter{AppID: 1, State: f.State, Queue: f.Queue, Kind: f.Kind, UniqueKey: f.UniqueKey, From: f.From, To: f.To, Limit: 1000}
				if f.Label != nil {
					lf.Label = *f.Label
				}
				page, err := w.s.List(w.ctx, lf)
				w.must(err)
				matched, applies := 0, 0
				for i := range page.Items {
					it := &page.Items[i].Task
					if len(f.IDs) > 0 && !slices.Contains(f.IDs, it.ID) {
						continue
					}
					matched++
					if action.Applies(it) {
						applies++
					}
				}
				b := w.runBulk(w.bulk(action, f, true).ID, 7)
				want(t, fmt.Sprintf("%+v %v", f, action), fmt.Sprint(b.State, b.Matched, b.Changed, b.Skipped), fmt.Sprint(task.BulkDone, matched, applies, matched-applies))
			}
		}
		want(t, "a dry run changes", w.count("SELECT COUNT(*) FROM tasks WHERE cancel_at<>0 OR epoch>1"), 0)
	})
}

// The three actions, one after the other, leave exactly what they should: tasks, bells, keys, lists and figures.
func TestBulkActions(t *testing.T) {
	eachWorld(t, func(w *world) {
		bulkWorld(w)
		mine := w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1")
		waiting := w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=2")
		running := w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=3")
		failed := w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=5")
		others := w.text("SELECT CONCAT('',SUM(state*id)) FROM tasks WHERE app_id=2")
		b := w.bulk(task.BulkCancel, task.BulkFilter{From: 1}, false)
		after, _ := w.submit(3, nil) // came later
		first, err := w.s.StepBulk(w.ctx, b.ID, 500)
		w.must(err)
		want(t, "asked", int64(len(first.Cancels)), running)
		b = w.runBulk(b.ID, 20)
		want(t, "cancel", fmt.Sprint(b.State, b.Matched, b.Changed, b.Skipped), fmt.Sprint(task.BulkDone, mine, waiting+running, mine-waiting-running))
		want(t, "cancelled", w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=6 AND reason<>0 AND holder=0"), waiting)
		want(t, "in the list of cancelled", w.count("SELECT COUNT(*) FROM ends WHERE app_id=1 AND state=6"), waiting)
		want(t, "cancelled in figures", w.count("SELECT SUM(cancelled) FROM stats WHERE app_id=1"), waiting)
		want(t, "asked to end", w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=3 AND cancel_at<>0"), running)
		want(t, "what came later waits", w.count("SELECT COUNT(*) FROM tasks WHERE id=? AND state=2", after[0]), 1)
		want(t, "keys of those that wait", w.count("SELECT COUNT(*) FROM unique_keys u JOIN tasks t ON t.id=u.task_id WHERE t.app_id=1 AND t.state=6"), 0)

		b = w.runBulk(w.bulk(task.BulkRetry, task.BulkFilter{To: w.now()}, false).ID, 500)
		want(t, "retry", fmt.Sprint(b.State, b.Changed), fmt.Sprint(task.BulkDone, waiting+failed))
		want(t, "wait again", w.count("SELECT COUNT(*) FROM tasks WHERE app_id=1 AND state=2"), waiting+failed+3)
		want(t, "lists of ends", w.count("SELECT COUNT(*) FROM ends WHERE app_id=1"), 0)
		mended, _, err := w.s.Audit(w.ctx, 0, 1<<40)
		w.must(err)
		want(t, "waiting without a bell that holds them", mended, 0)

		b = w.runBulk(w.bulk(task.BulkCancel, task.BulkFilter{State: "queued"}, false).ID, 500)
		want(t, "cancelled again", b.Changed, waiting+failed+3)
		b = w.runBulk(w.bulk(task.BulkDelete, task.BulkFilter{State: "cancelled"}, false).ID, 33)
		want(t, "deleted", fmt.Sprint(b.State, b.Changed, b.Skipped), fmt.Sprint(task.BulkDone, waiting+failed+3, 0))
		for _, table := range []string{"payloads p LEFT JOIN tasks t ON t.id=p.id", "ends p LEFT JOIN tasks t ON t.id=p.id", "task_labels p LEFT JOIN tasks t ON t.id=p.id",
			"attempts p LEFT JOIN tasks t ON t.id=p.task_id", "results p LEFT JOIN tasks t ON t.id=p.id"} {
			want(t, "left over in "+table, w.count("SELECT COUNT(*) FROM "+table+" WHERE t.id IS NULL"), 0)
		}
		want(t, "another app's tasks", w.text("SELECT CONCAT('',SUM(state*id)) FROM tasks WHERE app_id=2"), others)
	})
}

// Whoever works on an operation, however often and however many at once, each task is changed once and counted once.
func TestBulkIsDoneOnce(t *testing.T) {
	eachWorld(t, func(w *world) {
		const n = 1200
		for range 3 {
			w.submit(n/3, nil)
		}
		b := w.bulk(task.BulkCancel, task.BulkFilter{State: "queued"}, false)
		var wg sync.WaitGroup
		var mu sync.Mutex
		total := 0
		for i := range 4 {
			wg.Go(func() {
				for {
					step, err := w.s.StepBulk(w.ctx, b.ID, 31+i)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					total += step.Changed
					mu.Unlock()
					if got, err := w.s.BulkByID(w.ctx, 0, b.ID); err != nil || got.State != task.BulkRunning {
						return
					}
				}
			})
		}
		wg.Wait()
		got, err := w.s.BulkByID(w.ctx, 0, b.ID)
		w.must(err)
		want(t, "counted", fmt.Sprint(got.State, got.Matched, got.Changed, got.Skipped), fmt.Sprint(task.BulkDone, n, n, 0))
		want(t, "by steps", total, n)
		want(t, "cancelled", w.count("SELECT SUM(cancelled) FROM stats"), n)
	})
}

// A task whose key another one has by now is skipped; a task that the database refuses to change is stepped over and said; when all
// are, the operation gives up.
func TestBulkStepsOverWhatFails(t *testing.T) {
	w := newWorld(t, sqldbtest.New(t, "sqlite"))
	key := func(_ int, sub *task.Submission, head *task.BodyHead) {
		head.UniqueKey, head.UniqueScope = "one", task.ScopeUntilFinished
	}
	old, _ := w.submit(1, key)
	w.must2(w.s.Cancel(w.ctx, 0, old[0]))
	w.submit(1, key)
	ids, _ := w.submit(20, nil)
	w.runBulk(w.bulk(task.BulkCancel, task.BulkFilter{IDs: ids}, false).ID, 500)
	b := w.runBulk(w.bulk(task.BulkRetry, task.BulkFilter{State: "cancelled"}, false).ID, 500)
	want(t, "with a key that is taken", fmt.Sprint(b.State, b.Matched, b.Changed, b.Skipped), fmt.Sprint(task.BulkDone, 21, 20, 1))

	w.must(w.s.Exec(w.ctx, fmt.Sprintf("CREATE TRIGGER bad BEFORE UPDATE ON tasks WHEN OLD.id IN (%d,%d) BEGIN SELECT RAISE(ABORT,'no'); END", ids[3], ids[12])))
	b = w.bulk(task.BulkCancel, task.BulkFilter{IDs: ids}, false)
	step, err := w.s.StepBulk(w.ctx, b.ID, 500)
	w.must(err)
	want(t, "fails as a whole", step.Failed != nil && step.Changed == 0 && !step.Ended, true)
	b = w.runBulk(b.ID, 1)
	want(t, "one by one", fmt.Sprint(b.State, b.Matched, b.Changed, b.Skipped, b.Faults), fmt.Sprint(task.BulkDone, 20, 18, 2, 2))
	want(t, "said, without what the database says", b.Error != "" && !strings.Contains(b.Error, "ABORT"), true)

	w.must(w.s.Exec(w.ctx, "CREATE TRIGGER worse BEFORE UPDATE ON tasks BEGIN SELECT RAISE(ABORT,'no'); END"))
	w.submit(150, nil)
	b = w.bulk(task.BulkCancel, task.BulkFilter{State: "queued"}, false)
	for range 1000 {
		if step, err = w.s.StepBulk(w.ctx, b.ID, 1); err != nil || step.Ended {
			break
		}
	}
	w.must(err)
	b, err = w.s.BulkByID(w.ctx, 0, b.ID)
	w.must(err)
	want(t, "gave up", fmt.Sprint(b.State, b.Faults, b.FinishedAt > 0), fmt.Sprint(task.BulkFailed, 100, true))
}

func TestBulkIsStoppedListedAndForgotten(t *testing.T) {
	eachWorld(t, func(w *world) {
		w.submit(50, nil)
		b := w.bulk(task.BulkCancel, task.BulkFilter{State: "queued"}, false)
		w.must2(w.s.StepBulk(w.ctx, b.ID, 10))
		stopped, err := w.s.StopBulk(w.ctx, 1, b.ID)
		w.must(err)
		want(t, "stopping", stopped.State, task.BulkStopping)
		active, err := w.s.ActiveBulks(w.ctx)
		w.must(err)
		want(t, "active", fmt.Sprint(active), fmt.Sprint([]int64{b.ID}))
		b = w.runBulk(b.ID, 10)
		want(t, "stopped", fmt.Sprint(b.State, b.Changed, b.FinishedAt > 0), fmt.Sprint(task.BulkStopped, 10, true))
		if again, err := w.s.StopBulk(w.ctx, 1, b.ID); err != nil || again.State != task.BulkStopped {
			t.Errorf("stopped twice: %+v %v", again, err)
		}
		if _, err := w.s.StopBulk(w.ctx, 2, b.ID); task.KindOf(err) != task.NotFound {
			t.Errorf("another app's: %v", err)
		}
		// Idempotency and the number at once.
		key := &task.Idempotency{Key: [32]byte{7}, Body: [32]byte{1}}
		one, _, err := w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, key, 2)
		w.must(err)
		two, replayed, err := w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, key, 2)
		w.must(err)
		want(t, "the same again", fmt.Sprint(two.ID, replayed), fmt.Sprint(one.ID, true))
		_, _, err = w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, &task.Idempotency{Key: [32]byte{7}, Body: [32]byte{2}}, 2)
		want(t, "another body", task.CodeOf(err), "idempotency_key_reused")
		_, _, err = w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, nil, 2)
		w.must(err)
		_, _, err = w.s.CreateBulk(w.ctx, task.Bulk{AppID: 1, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, nil, 2)
		want(t, "too many", fmt.Sprint(task.CodeOf(err), task.KindOf(err) == task.Throttled), "too_many_bulk_operationstrue")
		var e *task.Error
		want(t, "says when", errors.As(err, &e) && e.RetryAfter > 0, true)
		_, _, err = w.s.CreateBulk(w.ctx, task.Bulk{AppID: 2, Action: task.BulkCancel, Filter: task.BulkFilter{Kind: "echo"}}, nil, 2)
		w.must(err)
		for app, n := range map[int32]int{0: 4, 1: 3, 2: 1} {
			var ids []int64
			cursor := ""
			for {
				page, err := w.s.Bulks(w.ctx, app, cursor, 2)
				w.must(err)
				for _, b := range page.Items {
					ids = append(ids, b.ID)
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			want(t, fmt.Sprint("listed of app ", app), len(ids), n)
			want(t, "newest first", slices.IsSortedFunc(ids, func(a, b int64) int { return int(b - a) }), true)
		}
		n, err := w.s.PurgeBulks(w.ctx, w.now()+1, 10)
		w.must(err)
		want(t, "forgotten", n, 1)
	})
}

// BenchmarkBulk measures how fast the tasks of one operation are changed: steps of 500, one after the other.
func BenchmarkBulk(b *testing.B) {
	for _, kind := range []string{"sqlite", "mysql"} {
		w := newWorld(b, sqldbtest.New(b, kind))
		const n = 20_000
		for range n / 500 {
			w.submit(500, nil)
		}
		for _, action := range []task.BulkAction{task.BulkCancel, task.BulkRetry, task.BulkCancel, task.BulkDelete} {
			b.Run(kind+"/"+action.String(), func(b *testing.B) {
				op := w.bulk(action, task.BulkFilter{To: 1 << 50}, false)
				changed := 0
				for b.Loop() {
					if step, err := w.s.StepBulk(w.ctx, op.ID, 500); err != nil || step.Failed != nil {
						b.Fatal(err, step.Failed)
					} else {
						changed += step.Changed
					}
				}
				b.ReportMetric(float64(changed)/b.Elapsed().Seconds(), "tasks/s")
				w.runBulk(op.ID, 500)
			})
		}
	}
}
