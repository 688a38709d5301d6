package goodjob

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// document gives the document's examples of answers, without white space.
func document(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("testdata/document.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples map[string]json.RawMessage
	if err := json.Unmarshal(raw, &examples); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, text := range examples {
		var v strings.Builder
		inString := false
		for i, c := range string(text) { // names keep their order
			if c == '"' && (i == 0 || text[i-1] != '\\') {
				inString = !inString
			}
			if inString || !strings.ContainsRune(" \n", c) {
				v.WriteRune(c)
			}
		}
		out[name] = v.String()
	}
	return out
}

// The answers look as the document's examples do, byte for byte but for ids, secrets and white space.
func TestAnswersAreThoseOfTheDocument(t *testing.T) {
	w := onSQLite(t)
	examples := document(t)
	ids := regexp.MustCompile(`"(appKey|secretKey|taskId)":"[0-9a-zA-Z]+"`)
	same := func(name, body string) {
		t.Helper()
		if got, want := ids.ReplaceAllString(body, `"$1":""`), ids.ReplaceAllString(examples[name], `"$1":""`); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	same("application", w.register(form("appName", "任务名称", "linkUrl", "http://www.api.com/callback"), formHeader()).body)
	same("create", w.call("/task/create", "taskNo", "a6", "runtime", "2021-03-05 12:00:00", "content", `{"orderId":1001}`).body)
	id := w.create("taskNo", "a7", "runtime", w.later(600))
	same("abort", w.call("/task/abort", "taskId", id).body)
	same("retry", w.call("/task/retry", "taskId", id).body)
}

// The document's example of a detail has a content that no create would take: it shows how one is rendered.
func TestDetailIsThatOfTheDocument(t *testing.T) {
	v := task.View{
		Task: task.Task{State: task.Failed, Epoch: 1, CreatedAt: 1601257976_500, DueAt: 1601257977_000, StartedAt: 1601257977_100, FinishedAt: 1601257978_900},
		Body: task.Body{Payload: []byte("haha"), Head: task.BodyHead{UniqueKey: "a6", RunAt: 1601255400_000,
			Retry: &task.RetryPolicy{Policy: "linear", BaseMs: 10_000, CapMs: 3_600_000, Max: 3}}},
		Attempts: []task.Attempt{{Epoch: 1, Outcome: task.OutcomeFailed, ErrCode: "http_500", ErrMessage: "<h1>oops</h1>", FinishedAt: 1601257978_900}},
	}
	d := detailOf(&v, 1601257980_000)
	d.TaskID = "c0e539dd52d38a052fec7b96715a0ae7"
	resp, err := ok(d)
	if err != nil || string(resp.Body) != document(t)["detail"] {
		t.Errorf("got  %s\nwant %s", resp.Body, document(t)["detail"])
	}
}

func TestStatuses(t *testing.T) {
	const now = 1_000_000
	for _, c := range []struct {
		row  task.Task
		want int
	}{
		{task.Task{State: task.Waiting, DueAt: now + 1}, 0},
		{task.Task{State: task.Waiting, DueAt: now}, 1},
		{task.Task{State: task.Waiting, DueAt: now + 1, Epoch: 1}, 1}, // waits for a retry
		{task.Task{State: task.Running, Epoch: 1}, 1},
		{task.Task{State: task.Succeeded, Epoch: 1}, 2},
		{task.Task{State: task.Failed, Epoch: 1}, 2},
		{task.Task{State: task.Cancelled}, 3},
		{task.Task{State: task.Blocked}, 0},
	} {
		if got := statusOf(&task.View{Task: c.row}, now); got != c.want {
			t.Errorf("%+v: %d, want %d", c.row, got, c.want)
		}
	}
}

func TestRemarksAndNumbersOfRuns(t *testing.T) {
	long := strings.Repeat("张", 300)
	got := logsOf([]task.Attempt{
		{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer, ErrMessage: "库存不足", FinishedAt: 1_999},
		{Outcome: task.OutcomeReleased, FinishedAt: 2_000},
		{Outcome: task.OutcomeSnoozed, FinishedAt: 2_000},
		{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer, ErrMessage: long, FinishedAt: 3_000},
		{Outcome: task.OutcomeFailed, ErrCode: codeEmptyAnswer, ErrMessage: "answered 200 OK", FinishedAt: 4_000},
		{Outcome: task.OutcomeFailed, ErrCode: "connection_failed", ErrMessage: "dial tcp", FinishedAt: 5_000},
		{Outcome: task.OutcomeTimedOut, FinishedAt: 6_000},
		{Outcome: task.OutcomeLost, FinishedAt: 7_000},
		{Outcome: task.OutcomeCancelled, FinishedAt: 8_000},
		{Outcome: task.OutcomeSucceeded, FinishedAt: 9_000},
		{Outcome: task.OutcomeNone},
	})
	want := []log{{1, "库存不足", 1, 0}, {2, long[:255*3], 3, 0}, {3, "", 4, 0}, {4, remarkFailed, 5, 0}, {5, remarkFailed, 6, 0}, {6, remarkLost, 7, 0},
		{7, remarkIntercepted, 8, 0}, {8, success, 9, 0}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
}

// Whatever is put into the fields, it is only what it says: nothing of it is executed, in SQL, in JSON, in headers or in paths.
func TestInjectionsDoNothing(t *testing.T) {
	onBoth(t, func(w *world) {
		before := w.create("taskNo", "before", "runtime", w.later(600))
		for _, evil := range []string{`' OR '1'='1`, `'; DROP TABLE tasks; -- `, `\'; DELETE FROM apps; -- `, `" , "code":200, "x":"`, `${jndi:ldap://127.0.0.1/a}`, `{{7*7}}`, `<script>alert(1)</script>`,
			"a\r\nX-Injected: 1", `%00%0d%0a`, `../../etc/passwd`, "`id`", `$(id)`, "😀\u202e", `UNION SELECT secret FROM apps`} {
			content := quoted(evil)
			id := w.create("taskNo", evil, "content", content)
			d := w.detail(id)
			if d.TaskNo != evil || d.Content != content {
				w.t.Errorf("%q became %+v", evil, d)
			}
			for _, path := range []string{"/task/detail", "/task/abort", "/task/retry"} {
				if a := w.call(path, "taskId", evil); a.Code != 0 {
					w.t.Errorf("%s of %q: %s", path, evil, a.body)
				}
			}
			if a := w.call("/task/create", "taskNo", "x", "content", "1", "runtime", evil); a.Message != nameRuntime+" "+ruleDate {
				w.t.Errorf("runtime %q: %s", evil, a.body)
			}
			if a := w.register(form("appName", evil, "linkUrl", "http://127.0.0.1:9/", "remark", evil), formHeader()); a.Code == 200 {
				var made application
				w.decode(a.Data, &made)
				var shown struct{ Name, Remark string }
				if w.v1("GET", "/v1/apps/"+made.AppKey, "", &shown); shown.Name != evil || shown.Remark != evil {
					w.t.Errorf("%q became %+v", evil, shown)
				}
			}
			h := w.headers(map[string]string{"taskId": id})
			for _, name := range []string{"app_key", "nonce_str", "timestamp", "version", "signature"} {
				forged := map[string]string{}
				for k, v := range h {
					forged[k] = v
				}
				forged[name] = strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(evil)
				if a := w.send("POST", "/goodjob/task/detail", "taskId="+id, forged); a.Code != 0 {
					w.t.Errorf("%s %q: %s", name, evil, a.body)
				}
			}
		}
		if d := w.detail(before); d.Status != statusWaiting || d.TaskNo != "before" {
			w.t.Errorf("%+v", d)
		}
	})
}
