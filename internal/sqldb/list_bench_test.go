package sqldb_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// BenchmarkListOfMany measures every filter of lists in a database with TASKWEIR_BENCH_LIST_ROWS tasks (200,000) of 4 apps: one in a
// thousand failed, cancelled or with a label, and few of a rare kind, which no index knows. One op is one page; "worst-ms" is the
// slowest of all.
func BenchmarkListOfMany(b *testing.B) {
	rows, _ := strconv.Atoi(os.Getenv("TASKWEIR_BENCH_LIST_ROWS"))
	if rows == 0 {
		rows = 200_000
	}
	for _, kind := range []string{"sqlite", "mysql"} {
		w := newWorld(b, sqldbtest.New(b, kind))
		fillTasks(w, rows)
		for name, f := range listFilters(w.now() - int64(rows)/2) {
			for _, app := range []int32{1, 0} {
				f.AppID, f.Limit = app, 50
				b.Run(fmt.Sprintf("%s/%s/app=%d", kind, name, app), func(b *testing.B) {
					worst, n := time.Duration(0), 0
					for b.Loop() {
						began := time.Now()
						page, err := w.s.List(w.ctx, f)
						if err != nil {
							b.Fatal(err)
						}
						worst, n = max(worst, time.Since(began)), len(page.Items)
					}
					b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
					b.ReportMetric(float64(n), "tasks")
				})
			}
		}
	}
}

// listFilters are all that lists can be asked for, in a database that fillTasks filled; from lies among its tasks.
func listFilters(from int64) map[string]task.Filter {
	return map[string]task.Filter{
		"all": {}, "succeeded": {State: "succeeded"}, "failed": {State: "failed"}, "cancelled": {State: "cancelled"}, "running": {State: "running"}, "queued": {State: "queued"},
		"scheduled": {State: "scheduled"}, "blocked": {State: "blocked"}, "queue": {Queue: "default"}, "no-queue": {Queue: "nosuch"}, "kind": {Kind: "echo"}, "rare-kind": {Kind: "sleep"},
		"label": {Label: task.Label{Key: "a", Value: "b"}}, "no-label": {Label: task.Label{Key: "a", Value: "c"}}, "unique-key": {UniqueKey: "nosuch"},
		"from": {From: from}, "to": {To: from}, "window": {From: from - 1000, To: from}, "failed-rare-kind": {State: "failed", Kind: "sleep"},
	}
}

// fillTasks writes final tasks, one for each of the last milliseconds.
func fillTasks(w *world, rows int) {
	w.t.Helper()
	began, now := time.Now(), w.now()
	const part = 2000
	for at := 0; at < rows; at += part {
		var tasks, bodies, ends, labels []string
		for id := at + 1; id <= min(at+part, rows); id++ {
			app, state, kind, flags := 1+id%4, 4, w.kinds[0], 0
			switch {
			case id%1000 < 4:
				state = 5
			case id%1000 < 8:
				state = 6
			case id%1000 < 12:
				flags = int(task.HasLabels)
				labels = append(labels, fmt.Sprintf("(%d,'a','b',%d)", app, id))
			}
			if id%50_000 < 4 {
				kind = w.kinds[1]
			}
			if state != 4 {
				ends = append(ends, fmt.Sprintf("(%d,%d,%d,%d,x'0000000000000000')", app, state, id, now))
			}
			created := now - int64(rows-id)
			tasks = append(tasks, fmt.Sprintf("(%d,%d,%d,%d,%d,0,1,0,0,%d,%d,%d,0,1000,0,1,%d,%d,%d,0,0)", id, app, w.lane.ID, kind, state, flags, created, created, created, created, id))
			bodies = append(bodies, fmt.Sprintf("(%d,x'01007b7d')", id))
		}
		for table, values := range map[string][]string{"tasks": tasks, "payloads": bodies, "ends": ends, "task_labels": labels} {
			if len(values) > 0 {
				w.must(w.s.Exec(w.ctx, "INSERT INTO "+table+" VALUES "+strings.Join(values, ",")))
			}
		}
	}
	w.t.Logf("%d tasks in %v", rows, time.Since(began).Round(time.Second))
}
