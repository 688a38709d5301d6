package app

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// submitMany submits n tasks alike and gives the last one's id.
func (a *App) submitMany(t *testing.T, n int, one string) (last apiv1.ID) {
	t.Helper()
	for n > 0 {
		k := min(n, 500)
		n -= k
		body := `{"tasks":[` + strings.TrimSuffix(strings.Repeat(one+",", k), ",") + `]}`
		var raw json.RawMessage
		if status := a.call(t, "POST", "/v1/tasks/batch", body, &raw); status/100 != 2 {
			t.Fatalf("batch: %d %.300s", status, raw)
		}
	}
	return a.submit(t, one).ID
}

// What nobody can start now holds nobody up: tasks of a kind that no worker runs, and commands that wait for their few
// slots, while others of the same app and queue come behind them.
func TestWhatCannotStartHoldsNobodyUp(t *testing.T) {
	if testing.Short() {
		t.Skip("runs commands and waits for slots")
	}
	for _, c := range []struct{ name, one, verdict string }{
		{"unknown kind", `{"kind":"ghost"}`, "no_worker_for_kind"},
		{"commands", `{"kind":"shell","payload":{"script":"sleep 30"}}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newStandalone(t, t.TempDir(), "TASKWEIR_WORKER_SHELL=true", "TASKWEIR_DRAIN_TIME=200ms")
			if status := a.call(t, "PUT", "/v1/kinds/ghost", "", nil); status/100 != 2 {
				t.Fatalf("declare: %d", status)
			}
			last := a.submitMany(t, 1_200, c.one)
			begin := time.Now()
			var ids []apiv1.ID
			for i := range 20 {
				ids = append(ids, a.submit(t, fmt.Sprintf(`{"kind":"echo","payload":{"n":%d}}`, i)).ID)
			}
			for _, id := range ids {
				for {
					var got apiv1.Task
					if a.call(t, "GET", "/v1/tasks/"+id.String(), "", &got); got.State == "succeeded" {
						break
					}
					if time.Since(begin) > 10*time.Second {
						t.Fatalf("task %s is %s after %v", id, got.State, time.Since(begin))
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
			t.Logf("20 others ended %v after the %s", time.Since(begin), c.name)
			if c.verdict == "" {
				return
			}
			var waits apiv1.Task
			if a.call(t, "GET", "/v1/tasks/"+last.String(), "", &waits); waits.State != "queued" || waits.Verdict == nil || waits.Verdict.Code != c.verdict {
				t.Errorf("%s, verdict %+v", waits.State, waits.Verdict)
			}
		})
	}
}

// A few tasks of one app meet the backlog of another in the same lane, on few slots: they are all started before more than
// a window of the other's (protocol section 3, "Admission"), also when a bell of theirs is taken in parts.
func TestASmallAppIsNotStarvedByALargeOne(t *testing.T) {
	if testing.Short() {
		t.Skip("works off a backlog for seconds")
	}
	a := newStandalone(t, t.TempDir(), "TASKWEIR_WORKER_SLOTS=8", "TASKWEIR_DRAIN_TIME=200ms")
	var app apiv1.App
	if status := a.call(t, "POST", "/v1/apps", `{"name":"small"}`, &app); status/100 != 2 {
		t.Fatalf("app: %d", status)
	}
	var key apiv1.Key
	if status := a.call(t, "POST", "/v1/apps/"+app.ID+"/keys", `{"name":"k","scope":"submit"}`, &key); status/100 != 2 {
		t.Fatalf("key: %d", status)
	}
	a.submitMany(t, 4_000, `{"kind":"sleep","payload":{"ms":10}}`)
	const mine = "app_id=(SELECT id FROM apps WHERE name='small')"
	for total := 10; total <= 60; total += 10 {
		time.Sleep(150 * time.Millisecond) // the large app's bells are rung by a scheduler from now on, a window at a time
		since := a.number(t, "SELECT MAX(started_at) FROM tasks")
		var raw json.RawMessage
		ten := `{"tasks":[` + strings.TrimSuffix(strings.Repeat(`{"kind":"sleep","payload":{"ms":10}},`, 10), ",") + `]}`
		if status := a.callAs(t, key.Key, "POST", "/v1/tasks/batch", ten, &raw); status/100 != 2 {
			t.Fatalf("batch: %d %s", status, raw)
		}
		for deadline := time.Now().Add(30 * time.Second); a.number(t, "SELECT COUNT(*) FROM tasks WHERE state=4 AND "+mine) < total; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not ended after 30 s")
			}
		}
		until := a.number(t, "SELECT MAX(started_at) FROM tasks WHERE "+mine)
		others := a.number(t, "SELECT COUNT(*) FROM tasks WHERE started_at BETWEEN ? AND ? AND NOT "+mine, since, until)
		t.Logf("%d tasks of the large app were started in the %d ms until the small one's last", others, until-since)
		if a.number(t, "SELECT COUNT(*) FROM tasks WHERE state=2") == 0 {
			t.Fatal("the backlog was gone too early to prove anything")
		}
		if others > 600 { // a window is a quarter of a second's tasks and at least 64, 150 to 250 here, and the writers' credit
			t.Errorf("%d tasks of the large app came first", others)
		}
	}
}

// number looks behind the API.
func (a *App) number(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := a.store.Reader().QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
