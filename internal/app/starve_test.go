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
