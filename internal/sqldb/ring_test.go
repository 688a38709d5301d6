package sqldb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Commands never share a bell with other tasks, however they come to wait: submitted, again, pulled forward, re-opened,
// mended. Each has its own bell.
func TestCommandsHaveBellsOfTheirOwn(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, err := w.s.DeclareKinds(w.ctx, []string{task.ShellKind})
		w.must(err)
		shell := ids[task.ShellKind]
		mixed := func(i int, sub *task.Submission, _ *task.BodyHead) {
			if sub.AppID = 1; i%2 == 1 {
				sub.KindID = shell
			}
		}
		kinds := map[int64]int32{}
		check := func(what string, bells []task.Bell, tasks int) {
			t.Helper()
			n := 0
			for _, b := range bells {
				n += len(b.TaskIDs)
				for _, id := range b.TaskIDs {
					if (kinds[id] == shell) != (b.Kind == task.ShellBell) {
						t.Errorf("%s: task %d of kind %d is in a bell of kind %d", what, id, kinds[id], b.Kind)
					}
				}
				if b.Kind == task.ShellBell && len(b.TaskIDs) != 1 {
					t.Errorf("%s: a bell of %d commands", what, len(b.TaskIDs))
				}
			}
			if n != tasks {
				t.Errorf("%s: %d tasks in bells, want %d", what, n, tasks)
			}
		}
		tasks, bells := w.submit(20, mixed)
		for i, id := range tasks {
			kinds[id] = w.kinds[0]
			if i%2 == 1 {
				kinds[id] = shell
			}
		}
		check("submitted", bells, 20)
		if len(bells) != 11 {
			t.Errorf("%d bells for 10 plain tasks and 10 commands", len(bells))
		}
		pairs, err := w.s.DuePairs(w.ctx)
		w.must(err)
		if len(pairs) != 2 || pairs[0].Kind != task.StartBell || pairs[1].Kind != task.ShellBell {
			t.Errorf("pairs %+v", pairs)
		}
		var due []task.Bell
		for _, p := range pairs {
			some, err := w.s.DueBells(w.ctx, p.LaneID, p.AppID, p.Kind, w.now()+1000, task.BellAfter{}, 100)
			w.must(err)
			due = append(due, some...)
		}
		check("due", due, 20)
		depths, err := w.s.Queues(w.ctx, 1, w.now()+1000)
		w.must(err)
		if depths[0].Waiting != 20 {
			t.Errorf("depth %+v", depths[0])
		}

		got, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells), Max: 20})
		if w.must(err); len(got.Tasks) != 20 {
			t.Fatalf("claimed %d of 20", len(got.Tasks))
		}
		var ends []*task.Ending
		for i := range 10 {
			e := w.ending(got, i)
			e.KindID = kinds[e.TaskID]
			e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, w.now()
			ends = append(ends, e)
		}
		again, err := w.s.Finish(w.ctx, task.FinishBatch{WorkerID: w.worker, Endings: ends})
		w.must(err)
		check("tried again", again, 10)
		lost, err := w.s.Release(w.ctx, got.ClaimID, nil, task.CauseLost)
		w.must(err)
		check("lost", lost, 10)
		now, err := w.s.RunNow(w.ctx, 1, tasks[1])
		w.must(err)
		check("pulled forward", []task.Bell{now}, 1)
		w.must2(w.s.Cancel(w.ctx, 1, tasks[1]))
		open, err := w.s.Reopen(w.ctx, 1, tasks[1], false)
		w.must(err)
		check("re-opened", []task.Bell{open}, 1)
		w.must(w.s.Exec(w.ctx, "DELETE FROM bells"))
		_, mended, err := w.s.Audit(w.ctx, tasks[0], tasks[19])
		w.must(err)
		check("mended", mended, 20)
	})
}

// The first tasks of a kind of commands are told apart from the moment that the kind is known.
func TestCommandsAreKnownAtOnce(t *testing.T) {
	eachWorld(t, func(w *world) {
		w.submit(1, nil) // what was read before the kind was declared
		ids, err := w.s.DeclareKinds(w.ctx, []string{task.ShellKind})
		w.must(err)
		_, bells := w.submit(3, func(_ int, sub *task.Submission, _ *task.BodyHead) { sub.KindID = ids[task.ShellKind] })
		for _, b := range bells {
			if b.Kind != task.ShellBell {
				t.Fatalf("bell %+v", b)
			}
		}
	})
}

// What an idle scheduler asks tells the earliest due time of each shard, and does not grow with apps.
func TestShardsDue(t *testing.T) {
	eachWorld(t, func(w *world) {
		ids, err := w.s.DeclareKinds(w.ctx, []string{task.ShellKind})
		w.must(err)
		other, err := w.s.EnsureLane(w.ctx, "other", task.Low)
		w.must(err)
		base := w.now() + 60_000
		at := func(lane, kind int32, due int64) func(int, *task.Submission, *task.BodyHead) {
			return func(i int, sub *task.Submission, _ *task.BodyHead) {
				sub.LaneID, sub.KindID, sub.AppID, sub.DueAt, sub.ExpiresAt = lane, kind, int32(1+i), due, due+1
			}
		}
		if got, err := w.s.ShardsDue(w.ctx); err != nil || len(got) != 0 {
			t.Fatalf("empty: %v, %v", got, err)
		}
		w.submit(20, at(w.lane.ID, w.kinds[0], base+5_000))
		w.submit(1, at(w.lane.ID, ids[task.ShellKind], base+3_000))
		w.submit(1, at(other.ID, w.kinds[0], base+4_000))
		got, err := w.s.ShardsDue(w.ctx)
		w.must(err)
		want(t, "shards", fmt.Sprint(got), fmt.Sprint(map[int]int64{task.ShardOf(w.lane.ID): base + 3_000, task.ShardOf(other.ID): base + 4_000}))
		ahead, err := w.s.LookAhead(w.ctx, task.ShardOf(w.lane.ID), base, base+5_000, 100)
		w.must(err)
		if len(ahead) != 21 || ahead[0].Kind != task.ShellBell || !slices.IsSortedFunc(ahead, func(a, b task.Bell) int { return int(a.DueAt - b.DueAt) }) {
			t.Errorf("%d ahead, the first %+v", len(ahead), ahead[0])
		}
		if ahead, err = w.s.LookAhead(w.ctx, task.ShardOf(w.lane.ID), base, base+5_000, 2); err != nil || len(ahead) != 2 {
			t.Errorf("%d ahead of 2, %v", len(ahead), err)
		}
	})
}

// Every question about what is due dives into an index: none walks the table, however it is asked.
func TestDueQuestionsDive(t *testing.T) {
	eachWorld(t, func(w *world) {
		for range 4 {
			w.submit(500, func(i int, sub *task.Submission, _ *task.BodyHead) {
				sub.AppID, sub.DueAt = int32(1+i), w.now()+3_600_000
			})
		}
		w.must(w.s.Analyze(w.ctx))
		for name, query := range w.s.DueQueries() {
			rows, err := w.s.DB().QueryContext(w.ctx, map[bool]string{true: "EXPLAIN ", false: "EXPLAIN QUERY PLAN "}[w.s.IsMySQL()]+query)
			w.must(err)
			columns, err := rows.Columns()
			w.must(err)
			for rows.Next() {
				cells := make([]any, len(columns))
				for i := range cells {
					cells[i] = new([]byte)
				}
				w.must(rows.Scan(cells...))
				var line []string
				for _, c := range cells {
					line = append(line, string(*c.(*[]byte)))
				}
				plan := strings.Join(line, " ")
				if w.s.IsMySQL() {
					if !strings.Contains(plan, "Using index for group-by") {
						t.Errorf("%s: %s", name, plan)
					}
				} else if strings.Contains(plan, "SCAN bells") && !strings.Contains(plan, "COVERING INDEX") || strings.Contains(plan, "SCAN b") && !strings.Contains(plan, "SCAN bells") {
					t.Errorf("%s: %s", name, plan)
				}
			}
			w.must(rows.Close())
		}
	})
}

// With 5,000 apps that have something due later, one app's depths cost a few reads, and all of them a bounded number.
func TestDepthsWithManyApps(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 5,000 bells")
	}
	eachWorld(t, func(w *world) {
		for k := range 10 {
			w.submit(500, func(i int, sub *task.Submission, _ *task.BodyHead) {
				sub.AppID, sub.DueAt = int32(1+500*k+i), w.now()+3_600_000
			})
		}
		cost := func(f func()) time.Duration {
			best := time.Hour
			for range 5 {
				begin := time.Now()
				f()
				best = min(best, time.Since(begin))
			}
			return best
		}
		one := cost(func() {
			d, err := w.s.Queues(context.Background(), 7, w.now())
			w.must(err)
			if d[0].Scheduled != 1 {
				t.Errorf("one app: %+v", d[0])
			}
		})
		pairs := cost(func() { w.must2(w.s.DuePairs(w.ctx)) })
		idle := cost(func() { w.must2(w.s.ShardsDue(w.ctx)) })
		t.Logf("depths of one app %v, all pairs %v, what an idle scheduler asks %v", one, pairs, idle)
		if !w.s.IsMySQL() && (idle > pairs/5 || one > pairs/5) { // a hundred times less; over a socket the way there and back counts
			t.Errorf("depths of one app %v, all pairs %v, what an idle scheduler asks %v", one, pairs, idle)
		}
		all, err := w.s.Queues(w.ctx, 0, w.now())
		w.must(err)
		if all[0].Scheduled < 5_000 && !all[0].AtLeast {
			t.Errorf("all apps: %+v", all[0])
		}
	})
}
