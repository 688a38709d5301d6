package goodjob

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestTasksWithWrongParameters(t *testing.T) {
	w := onSQLite(t)
	for _, c := range []struct{ field, value, text string }{
		{"taskNo", "", nameTaskNo + " " + ruleRequired},
		{"taskNo", strings.Repeat("号", 51), nameTaskNo + " 不能超过 50 个字符"},
		{"taskNo", "a\xff", nameTaskNo + " " + ruleString},
		{"runtime", "soon", nameRuntime + " " + ruleDate},
		{"runtime", "2021-02-30 12:00:00", nameRuntime + " " + ruleDate},
		{"content", "", nameContent + " " + ruleRequired},
		{"content", "haha", nameContent + " " + ruleJSON},
		{"content", "{", nameContent + " " + ruleJSON},
		{"content", "{} x", nameContent + " " + ruleJSON},
		{"content", "\"\xff\"", nameContent + " " + ruleJSON},
		{"content", strings.Repeat("[", 5000) + strings.Repeat("]", 5000), nameContent + " " + ruleJSON},
		{"content", `"` + strings.Repeat("x", 256<<10) + `"`, nameContent + " 不能超过 262144 字节"},
	} {
		given := map[string]string{"taskNo": "a6", "content": "{}", c.field: c.value}
		var pairs []string
		for k, v := range given {
			pairs = append(pairs, k, v)
		}
		w.refused(w.call("/task/create", pairs...), c.text)
	}
	w.refused(w.call("/task/create"), nameTaskNo+" "+ruleRequired)
	for _, path := range []string{"/task/abort", "/task/retry", "/task/detail"} {
		w.refused(w.call(path), nameTaskID+" "+ruleRequired)
		w.refused(w.call(path, "taskId", ""), nameTaskID+" "+ruleRequired)
	}
	if n := w.count(); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
}

func (w *world) count() int {
	var list apiv1.TaskList
	if w.v1("GET", "/v1/tasks?app=*&limit=1000", "", &list) != 200 {
		w.t.Fatal("no list")
	}
	return len(list.Items)
}

// A body beyond every limit is answered in the envelope.
func TestTooLargeIsAnsweredInTheEnvelope(t *testing.T) {
	w := onSQLite(t)
	for _, size := range []int{3 << 20, 17 << 20} {
		body := "content=" + strings.Repeat("1", size)
		for _, path := range []string{"/task/create", "/application"} {
			w.refused(w.send("POST", "/goodjob"+path, body, w.headers(nil)), textTooLarge)
		}
	}
	w.refused(w.send("POST", "/goodjob/task/create", `{"content":`, map[string]string{"app_key": w.app.AppKey, "nonce_str": "123456", "timestamp": w.later(0),
		"version": "1.0", "signature": "x", "Content-Type": "application/json"}), textUnreadable)
}

// sentJSON makes a signed request with a JSON body; signed is what the client signed, in the form that PHP joins.
func (w *world) sentJSON(path, body string, signed map[string]string) answer {
	w.t.Helper()
	h := w.headers(signed)
	h["Content-Type"] = "application/json"
	return w.send("POST", "/goodjob"+path, body, h)
}

func TestContentIsKeptByteForByte(t *testing.T) {
	onBoth(t, func(w *world) {
		for _, content := range []string{`{"orderId":1001,"name":"张三"}`, ` { "a" : 1.50, "b":1e2 } `, `"haha"`, `12345678901234567890123`, `[1, 2]`, `true`, `null`, "{\"u\":\"\\u5f20\\/\"}\n"} {
			id := w.create("content", content)
			if d := w.detail(id); d.Content != content {
				w.t.Errorf("%q became %q", content, d.Content)
			}
			quotedContent, _ := json.Marshal(content)
			a := w.sentJSON("/task/create", `{"taskNo":"j","content":`+string(quotedContent)+`}`, map[string]string{"taskNo": "j", "content": content})
			w.ok(a)
			var made struct{ TaskID string }
			w.decode(a.Data, &made)
			if d := w.detail(made.TaskID); d.Content != content {
				w.t.Errorf("as JSON %q became %q", content, d.Content)
			}
		}
	})
}

func TestContentAsAnObject(t *testing.T) {
	w := onSQLite(t)
	body := `{"taskNo":"o","content":{ "b" : 1.50, "a" : {"x":[true,null,"\u5f20"]}, "e": "" }}`
	const want = `{"b":1.50,"a":{"x":[true,null,"\u5f20"]},"e":""}`
	for what, signed := range map[string]map[string]string{
		"name by name":                 {"taskNo": "o", "content[b]": "1.50", "content[a][x][0]": "1", "content[a][x][2]": "张", "content[e]": ""},
		"as its text":                  {"taskNo": "o", "content": want},
		"as its text, empties dropped": {"taskNo": "o", "content": want},
	} {
		h := w.headers(nil)
		h["Content-Type"] = "application/json"
		if what == "name by name" { // in the order sent, not sorted
			h["signature"] = md5Of("app_key=" + h["app_key"] + "&content[b]=1.50&content[a][x][0]=1&content[a][x][2]=张&content[e]=&nonce_str=" + h["nonce_str"] +
				"&taskNo=o&timestamp=" + h["timestamp"] + "&version=1.0" + w.app.SecretKey)
		} else {
			h["signature"] = w.signature(signed, h)
		}
		a := w.send("POST", "/goodjob/task/create", body, h)
		if a.Code != 200 {
			t.Errorf("%s: %s", what, a.body)
			continue
		}
		var made struct{ TaskID string }
		w.decode(a.Data, &made)
		if d := w.detail(made.TaskID); d.Content != want {
			t.Errorf("%s: %s", what, d.Content)
		}
	}
	w.refused(w.call("/task/create", "taskNo", "f", "content[a]", "1"), nameContent+" "+ruleJSON)
	w.refused(w.sentJSON("/task/create", `{"taskNo":{"a":1},"content":"1"}`, map[string]string{"taskNo[a]": "1", "content": "1"}), nameTaskNo+" "+ruleString)
}

// Numbers keep their digits: what is signed, and what they name.
func TestNumbersKeepTheirDigits(t *testing.T) {
	w := onSQLite(t)
	id := w.create()
	a := w.sentJSON("/task/detail", `{"taskId":`+id+`}`, map[string]string{"taskId": id})
	w.ok(a)
	const far = "9007199254740993" // 2^53 + 1: no float64
	w.refused(w.sentJSON("/task/detail", `{"taskId":`+far+`}`, map[string]string{"taskId": far}), textDetailMissing)
	w.refused(w.sentJSON("/task/detail", `{"taskId":`+far+`}`, map[string]string{"taskId": "9007199254740992"}), textBadSignature)
	w.refused(w.sentJSON("/task/detail", `{"taskId":1.0}`, map[string]string{"taskId": "1.0"}), textDetailMissing)
	a = w.sentJSON("/task/create", `{"taskNo":12345678901234567890123,"content":1.50}`, map[string]string{"taskNo": "12345678901234567890123", "content": "1.50"})
	w.ok(a)
	var made struct{ TaskID string }
	w.decode(a.Data, &made)
	if d := w.detail(made.TaskID); d.TaskNo != "12345678901234567890123" || d.Content != "1.50" {
		t.Errorf("%+v", d)
	}
}

// Clients of the first generation leave out what PHP calls empty before they sign.
func TestSignaturesWithoutEmptyValues(t *testing.T) {
	w := onSQLite(t)
	h := w.headers(map[string]string{"taskNo": "a", "content": "1"})
	w.ok(w.send("POST", "/goodjob/task/create", "taskNo=a&content=1&runtime=&zero=0", h))
	h = w.headers(map[string]string{"taskNo": "a", "content": "1", "runtime": "", "zero": "0"})
	w.ok(w.send("POST", "/goodjob/task/create", "taskNo=a&content=1&runtime=&zero=0", h))
	h = w.headers(map[string]string{"taskNo": "a", "content": "1", "runtime": ""})
	w.refused(w.send("POST", "/goodjob/task/create", "taskNo=a&content=1&runtime=&zero=0", h), textBadSignature)
}

// A number is taken while its task has status 0, and at no other time.
func TestTaskNumbers(t *testing.T) {
	onBoth(t, func(w *world) {
		again := func() answer { return w.call("/task/create", "taskNo", "a6", "content", "{}") }
		for range 2 { // due at once: status 1 from the beginning
			if d := w.detail(w.create("taskNo", "a6")); d.Status != statusRunning || d.TaskNo != "a6" {
				w.t.Errorf("%+v", d)
			}
		}
		id := w.create("taskNo", "a6", "runtime", w.later(3))
		if d := w.detail(id); d.Status != statusWaiting {
			w.t.Errorf("%+v", d)
		}
		w.refused(again(), textRepeated)
		w.refused(w.call("/task/create", "taskNo", "a6", "content", "{}", "runtime", w.later(3600)), textRepeated)
		other := *w
		other.app = w.newApp("other", "http://127.0.0.1:9/")
		other.create("taskNo", "a6") // numbers are the app's own

		w.ok(w.call("/task/abort", "taskId", id))
		id = w.create("taskNo", "a6", "runtime", w.later(3600))
		w.ok(w.call("/task/retry", "taskId", id)) // pulled forward: status 1
		w.ok(again())
		id = w.create("taskNo", "a6", "runtime", w.later(2))
		w.refused(again(), textRepeated)
		w.due(id)
		if d := w.detail(id); d.Status != statusRunning {
			w.t.Errorf("due: %+v", d)
		}
		w.ok(again())
		if d := w.detail(w.create("taskNo", "past", "runtime", "2020-09-28 09:10:00")); d.Status != statusRunning || d.Runtime != 1601255400 { // as in the document
			w.t.Errorf("of the past: %+v", d)
		}
	})
}

// due waits until a scheduled task's time has come.
func (w *world) due(id string) {
	w.t.Helper()
	at := w.row(id).DueAt
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for w.svc.Now() < at {
		select {
		case <-tick.C:
		case <-w.t.Context().Done():
			w.t.Fatal("not due")
		}
	}
}

func TestOneOfManyAtOnceGetsANumber(t *testing.T) {
	onBoth(t, func(w *world) {
		var won, refused atomic.Int32
		var wg sync.WaitGroup
		when := w.later(600)
		for i := range 16 {
			signed := map[string]string{"taskNo": "same", "content": "{}", "runtime": when}
			h := w.headers(nil)
			h["nonce_str"] = fmt.Sprintf("at-once-%d", i)
			h["signature"] = w.signature(signed, h)
			wg.Go(func() {
				switch r := w.sendRaw("POST", "/goodjob/task/create", form("taskNo", "same", "content", "{}", "runtime", when), h); {
				case strings.Contains(r.Body.String(), `"code":200`):
					won.Add(1)
				case strings.Contains(r.Body.String(), textRepeated):
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || refused.Load() != 15 {
			w.t.Errorf("%d won, %d were refused", won.Load(), refused.Load())
		}
	})
}

func TestAbort(t *testing.T) {
	onBoth(t, func(w *world) {
		scheduled, due := w.create("runtime", w.later(3600)), w.create()
		for _, id := range []string{scheduled, due} {
			w.ok(w.call("/task/abort", "taskId", id))
			if d := w.detail(id); d.Status != statusCancelled || d.UpdatedAt == 0 || len(d.Logs) != 0 {
				w.t.Errorf("%+v", d)
			}
			w.refused(w.call("/task/abort", "taskId", id), textAbortLate)
		}
		retrying := w.create()
		worker, c := w.start(retrying)
		w.finish(worker, c, task.Waiting, task.OutcomeFailed, func(e *task.Ending) {
			e.RetryAt, e.ErrCode, e.ErrMessage = w.svc.Now()+60_000, codeOtherAnswer, "no"
		})
		if d := w.detail(retrying); d.Status != statusRunning {
			w.t.Errorf("waiting for a retry: %+v", d)
		}
		w.ok(w.call("/task/abort", "taskId", retrying))
		if d := w.detail(retrying); d.Status != statusCancelled || len(d.Logs) != 1 || d.Logs[0].Remark != "no" {
			w.t.Errorf("%+v", d)
		}

		running := w.create()
		worker, c = w.start(running)
		ended := make(chan struct{})
		go func() { // a worker that obeys
			defer close(ended)
			for w.row(running).CancelAt == 0 {
			}
			w.finish(worker, c, task.Cancelled, task.OutcomeCancelled, func(e *task.Ending) { e.Reason = task.ByUser })
		}()
		w.ok(w.call("/task/abort", "taskId", running))
		<-ended
		if d := w.detail(running); d.Status != statusCancelled || len(d.Logs) != 1 || d.Logs[0].Remark != remarkIntercepted {
			w.t.Errorf("%+v", d)
		}

		stubborn := w.create()
		w.start(stubborn)
		w.ok(w.call("/task/abort", "taskId", stubborn)) // asked for; the document promises no more
		w.refused(w.call("/task/abort", "taskId", stubborn), textAskedBefore)

		done := w.create()
		worker, c = w.start(done)
		w.finish(worker, c, task.Succeeded, task.OutcomeSucceeded, nil)
		w.refused(w.call("/task/abort", "taskId", done), textAbortLate)
	})
}

func TestRetry(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.create("runtime", w.later(3600))
		w.ok(w.call("/task/retry", "taskId", id))
		if d := w.detail(id); d.Status != statusRunning || d.Runtime < w.svc.Now()/1000+3000 {
			w.t.Errorf("pulled forward: %+v", d)
		}
		worker, c := w.start(id)
		w.refused(w.call("/task/retry", "taskId", id), textRetryRunning)
		w.finish(worker, c, task.Failed, task.OutcomeFailed, func(e *task.Ending) { e.Reason, e.ErrCode = task.Exhausted, "http_500" })
		if d := w.detail(id); d.Status != statusProcessed {
			w.t.Errorf("failed: %+v", d)
		}
		w.ok(w.call("/task/retry", "taskId", id))
		if d := w.detail(id); d.Status != statusRunning {
			w.t.Errorf("re-opened: %+v", d)
		}
		worker, c = w.start(id)
		w.finish(worker, c, task.Succeeded, task.OutcomeSucceeded, nil)
		w.ok(w.call("/task/retry", "taskId", id)) // a succeeded one too
		w.ok(w.call("/task/abort", "taskId", id))
		w.ok(w.call("/task/retry", "taskId", id)) // and a cancelled one
		d := w.detail(id)
		if d.Status != statusRunning || len(d.Logs) != 2 || d.Logs[0].Retry != 1 || d.Logs[0].Remark != remarkFailed || d.Logs[1].Retry != 2 || d.Logs[1].Remark != success {
			w.t.Errorf("%+v", d)
		}
	})
}

// Another app's task is not there, and nothing that is no id is.
func TestTasksOfOthers(t *testing.T) {
	w := onSQLite(t)
	other := *w
	other.app = w.newApp("other", "http://127.0.0.1:9/")
	id := other.create("runtime", w.later(600))
	for _, taskID := range []string{id, "999999999", "0", "-1", "+" + id, " " + id, id + ".0", "1e3", "04479d0a8ec8a5784cfededf7de970c5", "9223372036854775808", "1 OR 1=1", "张"} {
		w.refused(w.call("/task/detail", "taskId", taskID), textDetailMissing)
		w.refused(w.call("/task/abort", "taskId", taskID), textAbortMissing)
		w.refused(w.call("/task/retry", "taskId", taskID), textRetryMissing)
	}
	if row := w.row(id); row.State != task.Waiting || row.CancelAt != 0 || row.DueAt < w.svc.Now() {
		t.Errorf("it was touched: %+v", row)
	}
}

// The same scenarios leave the same rows as /v1: submitted and cancelled; run, failed, run again and succeeded; failed for good
// and re-opened.
func TestRowsAreThoseOfV1(t *testing.T) {
	onBoth(t, func(w *world) {
		if w.v1("PATCH", "/v1/apps/"+w.app.AppKey, `{"step":10,"retryTotal":4}`, nil) != 200 {
			w.t.Fatal("no settings")
		}
		const content = `{"orderId":1001, "name":"张三"}`
		when := w.svc.Now()/1000*1000 + 600_000
		submit := map[string]func(delayed bool) string{
			"legacy": func(delayed bool) string {
				pairs := []string{"taskNo", "a6", "content", content}
				if delayed {
					pairs = append(pairs, "runtime", compat.FormatTime(when, w.zone))
				}
				return w.create(pairs...)
			},
			"v1": func(delayed bool) string {
				body := fmt.Sprintf(`{"kind":%q,"payload":%s,"uniqueKey":"a6","uniqueScope":"until_due","timeoutMs":30000,
					"retry":{"policy":"linear","baseMs":10000,"capMs":3600000,"jitter":0,"max":4}`, Kind, content)
				if delayed {
					body += fmt.Sprintf(`,"runAt":%q`, time.UnixMilli(when).UTC().Format("2006-01-02T15:04:05.000Z"))
				}
				var made apiv1.Task
				if status := w.v1("POST", "/v1/tasks?app="+w.app.AppKey, body+"}", &made); status != 201 {
					w.t.Fatalf("status %d", status)
				}
				return made.ID.String()
			},
		}
		verb := map[string]func(id, legacy, native string){
			"legacy": func(id, legacy, _ string) { w.ok(w.call("/task/"+legacy, "taskId", id)) },
			"v1": func(id, _, native string) {
				if status := w.v1("POST", "/v1/tasks/"+id+native+"app="+w.app.AppKey, "", nil); status != 200 {
					w.t.Fatalf("%s: status %d", native, status)
				}
			},
		}
		scenarios := []func(how string) string{
			func(how string) string {
				id := submit[how](true)
				verb[how](id, "abort", "/cancel?")
				return id
			},
			func(how string) string {
				id := submit[how](true)
				verb[how](id, "retry", "/run-now?")
				worker, c := w.start(id)
				w.finish(worker, c, task.Waiting, task.OutcomeFailed, func(e *task.Ending) { e.RetryAt, e.ErrCode = w.svc.Now()+10_000, "http_500" })
				verb[how](id, "retry", "/run-now?")
				worker, c = w.start(id)
				w.finish(worker, c, task.Succeeded, task.OutcomeSucceeded, nil)
				verb[how](id, "retry", "/retry?force=true&")
				worker, c = w.start(id)
				w.finish(worker, c, task.Failed, task.OutcomeFailed, func(e *task.Ending) { e.Reason, e.ErrCode = task.Exhausted, "http_500" })
				return id
			},
			func(how string) string {
				id := submit[how](false)
				worker, c := w.start(id)
				w.finish(worker, c, task.Failed, task.OutcomeFailed, func(e *task.Ending) { e.Reason, e.ErrCode = task.Exhausted, "http_500" })
				verb[how](id, "retry", "/retry?")
				verb[how](id, "abort", "/cancel?")
				return id
			},
		}
		for i, play := range scenarios {
			legacy, native := w.whole(play("legacy")), w.whole(play("v1"))
			if !reflect.DeepEqual(legacy, native) {
				w.t.Errorf("scenario %d:\nlegacy %+v\n   /v1 %+v", i, legacy, native)
			}
			// The number is free again, whoever had it.
			w.ok(w.call("/task/abort", "taskId", submit["v1"](true)))
			w.ok(w.call("/task/abort", "taskId", submit["legacy"](true)))
		}
	})
}

// whole is everything that is stored of a task, but for ids and instants: those only say whether they are there.
func (w *world) whole(id string) task.View {
	w.t.Helper()
	vs, err := w.store.Views(context.Background(), 0, []int64{number(w.t, id)})
	if err != nil || len(vs) != 1 {
		w.t.Fatalf("%d, %v", len(vs), err)
	}
	v := vs[0]
	for _, n := range []*int64{&v.ID, &v.Holder, &v.WorkerID, &v.AttemptID, &v.CreatedAt, &v.StartedAt, &v.FinishedAt, &v.CancelAt} {
		*n = min(*n, 1)
	}
	if v.Body.Head.RunAt == 0 || v.Epoch > 0 {
		v.DueAt = min(v.DueAt, 1)
	}
	for i := range v.Attempts {
		for _, n := range []*int64{&v.Attempts[i].ID, &v.Attempts[i].TaskID, &v.Attempts[i].WorkerID, &v.Attempts[i].StartedAt, &v.Attempts[i].FinishedAt} {
			*n = min(*n, 1)
		}
	}
	return v
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}
