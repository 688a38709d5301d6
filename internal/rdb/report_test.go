package rdb_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/task"
)

var _ control.Reports = (*rdb.Client)(nil)

func reportOf(t *testing.T, c *rdb.Client, worker, id int64, epoch int32) string {
	t.Helper()
	// Asked again: on a busy machine 50 ms may be over before a healthy server answers.
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		raw, err := c.Reported(t.Context(), worker, id, epoch)
		if err == nil {
			return string(raw)
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// What a task reported is seen by another process while its entry is shown, for the epoch that reported it, and by nobody after.
func TestReports(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), freshID()
		mine, other := open(t, url), open(t, url)
		report := func(id int64, epoch int32, vars string) {
			t.Helper()
			if err := mine.Report(ctx, w, []task.LiveReport{{TaskID: id, Epoch: epoch, Vars: json.RawMessage(vars)}}); err != nil {
				t.Fatal(err)
			}
		}
		report(7, 1, `"nobody is shown"`)
		if err := mine.Enter(ctx, w, []task.LiveEntry{{TaskID: 7, Epoch: 3}, {TaskID: 8, Epoch: 1}}); err != nil {
			t.Fatal(err)
		}
		report(9, 1, `"it is not shown"`)
		report(7, 3, `{"done":1}`)
		report(7, 3, `{"done":2}`)
		for _, x := range []struct {
			worker, id int64
			epoch      int32
			want       string
		}{{w, 7, 3, `{"done":2}`}, {w, 7, 2, ""}, {w, 7, 4, ""}, {w, 8, 1, ""}, {w, 9, 1, ""}, {w + 1, 7, 3, ""}} {
			if got := reportOf(t, other, x.worker, x.id, x.epoch); got != x.want {
				t.Errorf("worker +%d, task %d, epoch %d: %q, want %q", x.worker-w, x.id, x.epoch, got, x.want)
			}
		}
		if err := mine.Leave(ctx, w, []int64{7}); err != nil {
			t.Fatal(err)
		}
		if got := reportOf(t, other, w, 7, 3); got != "" {
			t.Errorf("after it left: %s", got)
		}
		report(7, 3, `"late"`)
		if got := reportOf(t, other, w, 7, 3); got != "" {
			t.Errorf("a late report: %s", got)
		}
		if err := mine.Leave(ctx, w, []int64{8}); err != nil {
			t.Fatal(err)
		}
	})
}

// A worker's reports are bounded together; one that has no room any more is not shown, rather than an old one.
func TestReportsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx, w := t.Context(), freshID()
		c := open(t, url)
		const n = 1_500
		large := json.RawMessage(`"` + strings.Repeat("x", 4<<10-2) + `"`)
		var entries []task.LiveEntry
		var small, big []task.LiveReport
		var ids []int64
		for id := int64(1); id <= n; id++ {
			entries, ids = append(entries, task.LiveEntry{TaskID: id, Epoch: 1}), append(ids, id)
			small = append(small, task.LiveReport{TaskID: id, Epoch: 1, Vars: json.RawMessage(fmt.Sprint(id))})
			big = append(big, task.LiveReport{TaskID: id, Epoch: 1, Vars: large})
		}
		if err := c.Enter(ctx, w, entries); err != nil {
			t.Fatal(err)
		}
		if err := c.Report(ctx, w, small); err != nil {
			t.Fatal(err)
		}
		if got := reportOf(t, c, w, n, 1); got != fmt.Sprint(n) {
			t.Fatalf("%.20s", got)
		}
		if err := c.Report(ctx, w, big); err != nil {
			t.Fatal(err)
		}
		if got := reportOf(t, c, w, 1, 1); got != string(large) {
			t.Errorf("the first: %.20s", got)
		}
		if got := reportOf(t, c, w, n, 1); got != "" {
			t.Errorf("beyond the bound: %.20s", got)
		}
		if err := c.Report(ctx, w, []task.LiveReport{{TaskID: 1, Epoch: 1, Vars: json.RawMessage(`"` + strings.Repeat("x", 8<<10) + `"`)}}); err != nil {
			t.Fatal(err)
		}
		if got := reportOf(t, c, w, 1, 1); got != "" {
			t.Errorf("one that is too long: %.20s", got)
		}
		if err := c.Leave(ctx, w, ids); err != nil {
			t.Fatal(err)
		}
	})
}

// What somebody else put into Redis is no report.
func TestReportsThatCannotBeRead(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		o, err := redis.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		raw := redis.NewClient(o)
		defer raw.Close()
		w, c := freshID(), open(t, url)
		key := fmt.Sprintf("taskweir:{worker:%d}:reports", w)
		for _, text := range []string{"", "x", `{"task":7,"epoch":1,"vars":`, `{"task":8,"epoch":1,"vars":1}`, `{"task":7,"epoch":1,"vars":"` + strings.Repeat("x", 5<<10) + `"}`} {
			if err := raw.HSet(t.Context(), key, "7", text).Err(); err != nil {
				t.Fatal(err)
			}
			if got := reportOf(t, c, w, 7, 1); got != "" {
				t.Errorf("%.40q: %s", text, got)
			}
		}
		if err := raw.HSet(t.Context(), key, "7", `{"task":7,"epoch":1,"vars":[1]}`).Err(); err != nil {
			t.Fatal(err)
		}
		if got := reportOf(t, c, w, 7, 1); got != "[1]" {
			t.Errorf("%q", got)
		}
		raw.Del(t.Context(), key)
	})
}

// A Redis that is silent or gone costs the one who asks for a task 50 ms, and those who come after nothing.
func TestReportsOfASilentRedis(t *testing.T) {
	gone, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for name, url := range map[string]string{"silent": "redis://" + listenSilently(t), "gone": gone.URL()} {
		t.Run(name, func(t *testing.T) {
			c := open(t, url)
			began := time.Now()
			if raw, err := c.Reported(t.Context(), 1, 1, 1); err == nil {
				t.Errorf("%s", raw)
			}
			if d := time.Since(began); d > 400*time.Millisecond {
				t.Errorf("the first took %v", d)
			}
			began = time.Now()
			for range 1_000 {
				if _, err := c.Reported(t.Context(), 1, 1, 1); err == nil {
					t.Error("an answer")
				}
			}
			if d := time.Since(began); d > 400*time.Millisecond {
				t.Errorf("a thousand more took %v", d)
			}
		})
	}
}
