package sqldb_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// TestReadsDoNotGrow: what one list, look of a scheduler or step of a walk reads is bounded, whatever is in the tables. The server
// counts the rows that it reads; a plan that scans, sorts or joins the wrong way round counts them all.
func TestReadsDoNotGrow(t *testing.T) {
	const rows, most = 40_000, 11_000
	w := newWorld(t, sqldbtest.New(t, "mysql"))
	fillTasks(w, rows)
	w.must(w.s.Exec(w.ctx, "UPDATE ids SET next=10000000 WHERE name IN ('task','run')"))
	waiting, _ := w.submit(200, nil)
	w.must(w.s.Exec(w.ctx, "INSERT INTO bells SELECT id+1000000,0,lane_id%16,lane_id,app_id,0,created_at+4000000,0,1,id,0 FROM tasks"))
	now := w.now()
	asks := map[string]func() error{
		"due pairs":    func() error { _, err := w.s.DuePairs(w.ctx); return err },
		"shards due":   func() error { _, err := w.s.ShardsDue(w.ctx); return err },
		"depths":       func() error { _, err := w.s.Queues(w.ctx, 0, now); return err },
		"range of ids": func() error { _, _, err := w.s.TaskIDRange(w.ctx); return err },
		"audit":        func() error { _, _, err := w.s.Audit(w.ctx, 1, 1000); return err },
		"purge, in vain": func() error {
			_, err := w.s.Purge(w.ctx, task.PurgeRequest{FromID: 1, Limit: 500})
			return err
		},
		"stats": func() error {
			_, err := w.s.Stats(w.ctx, task.StatsQuery{AppID: 1, From: now - 3_600_000, To: now, StepMs: 60_000})
			return err
		},
		"one task": func() error { _, err := w.s.Views(w.ctx, 1, waiting[:1]); return err },
	}
	for name, f := range listFilters(now - rows/2) {
		for _, app := range []int32{1, 0} {
			f.AppID, f.Limit = app, 50
			asks[fmt.Sprintf("list %s, app %d", name, app)] = func() error { _, err := w.s.List(w.ctx, f); return err }
		}
	}
	w.s.DB().SetMaxOpenConns(1) // whose session counts
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			w.must2(w.s.DB().ExecContext(w.ctx, "ANALYZE TABLE tasks,payloads,bells,ends,task_labels,stats,stat_sums"))
		}
		for name, ask := range asks {
			before := w.rowsRead()
			w.must(ask())
			if n := w.rowsRead() - before; n > most {
				t.Errorf("%s, analyzed %v: %d rows read of %d", name, analyzed, n, rows)
			}
		}
	}
}

// TestSlowListsComeInParts: where the disk is slow a request says soon where to go on, and going on finds everything.
func TestSlowListsComeInParts(t *testing.T) {
	url := sqldbtest.URL(t, "mysql")
	w := newWorld(t, sqldbtest.Open(t, url))
	w.s.SetListTime(500 * time.Millisecond)
	fillTasks(w, 20_000)
	for i := range 2 {
		w.must2(w.s.CreateApp(w.ctx, task.App{Key: fmt.Sprint("app", i), Name: "a", Weight: 1}))
	}
	steps := 0
	w.must2(w.s.List(w.ctx, task.Filter{AppID: 2})) // names are known from here on: they are read by the pool that the hook closes
	sqldb.HookMySQL(t, w.s, url, func(query string, _ func() ([][2]string, error), run func() error) error {
		if strings.Contains(query, "FROM tasks FORCE INDEX (app)") {
			steps++
			time.Sleep(200 * time.Millisecond)
		}
		return run()
	})
	f := task.Filter{AppID: 2, Kind: "sleep", Limit: 50} // one task, the oldest of 5,000
	found, requests := 0, 0
	for requests = 1; ; requests++ {
		steps = 0
		page, err := w.s.List(w.ctx, f)
		w.must(err)
		if found += len(page.Items); steps > 3 || requests > 20 {
			t.Fatalf("request %d read %d times", requests, steps)
		}
		if f.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	if found != 1 || requests < 4 {
		t.Errorf("%d found by %d requests", found, requests)
	}
}

// rowsRead is how many rows and index entries the session has read.
func (w *world) rowsRead() (total int64) {
	w.t.Helper()
	rows, err := w.s.DB().QueryContext(w.ctx, "SHOW SESSION STATUS LIKE 'Handler_read%'")
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var n int64
		w.must(rows.Scan(&name, &n))
		if name != "Handler_read_rnd_deleted" {
			total += n
		}
	}
	w.must(rows.Err())
	return total
}
