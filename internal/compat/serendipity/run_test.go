package serendipity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// plain makes the fields of a task.
func plain(taskNo string, timeoutMs int) string {
	return fmt.Sprintf(`{"taskNo":%q,"content":"{\"no\":\"%s\"}","name":"任务 %s","timeout":%d}`, taskNo, taskNo, taskNo, timeoutMs)
}

func never(int, string) (int, string) { return 0, "" }

// A text is delivered byte for byte; an object as its JSON text without white space, in the order sent, with its digits.
func TestContent(t *testing.T) {
	s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", "")
	n := 0
	for sent, want := range map[string]string{
		`"{\"orderId\":1001,\"name\":\"张三\"}"`:                        `{"orderId":1001,"name":"张三"}`,
		`" { \"b\" : 1.50,\n\"a\":1e400 } "`:                          " { \"b\" : 1.50,\n\"a\":1e400 } ",
		`{"z":1, "a":[1, 2.50 ,9007199254740993], "é":"\u00e9 \/ x"}`: `{"z":1,"a":[1,2.50,9007199254740993],"é":"\u00e9 \/ x"}`,
		`[1, {"b":null}]`:     `[1,{"b":null}]`,
		`"\"a&data=b+c%20\""`: `"a&data=b+c%20"`,
	} {
		n++
		id := s.create(fmt.Sprintf(`{"taskNo":"c%d","content":%s,"name":"n","timeout":5000}`, n, sent))
		if got := s.callbacks(n)[n-1]; got.data != want {
			t.Errorf("%s arrived as %s", sent, got.data)
		}
		d := s.until(id, "done", inStatus(2))
		if d.Task.Content != want || d.Task.RetryTimes != 1 || len(d.Task.Logs) != 1 || d.Task.Logs[0].Remark != "success" || d.Task.Memo != nil || d.State != nil || d.TraceList != "null" ||
			d.CoroutineID == nil || *d.CoroutineID != d.Task.Logs[0].CoroutineID {
			t.Errorf("%+v %+v", d, d.Task)
		}
	}
}

// A run that fails is tried again step × n seconds after its end, whatever the status of the answer, until the retries are over.
func TestRetriesAreLinear(t *testing.T) {
	t.Parallel()
	type end struct {
		status int
		body   string
	}
	for no, answers := range map[string][]end{
		"wins":  {{200, "nein"}, {410, ""}, {202, "later"}, {500, " SUCCESS\n"}},
		"loses": {{200, "a"}, {404, "b"}, {503, "c"}, {200, strings.Repeat("长", 300)}},
	} {
		t.Run(no, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", `"step":1,"retryTotal":3`)
			s.answers(func(n int, _ string) (int, string) {
				e := answers[min(n, len(answers))-1]
				return e.status, e.body
			})
			id := s.create(plain(no, 5000))
			got := s.callbacks(4)
			for i := 1; i < 4; i++ {
				gap, want := got[i].at.Sub(got[i-1].at), time.Duration(i)*time.Second
				if gap < want-20*time.Millisecond || gap > want+700*time.Millisecond {
					t.Errorf("run %d came %v after the one before, want %v", i+1, gap, want)
				}
				if got[i].header.Get("retry") != strconv.Itoa(i) || got[i].header.Get("task-id") != strconv.FormatInt(id, 10) {
					t.Errorf("%v", got[i].header)
				}
			}
			if no == "wins" {
				d := s.until(id, "done", inStatus(2))
				if d.Task.RetryTimes != 4 || len(d.Task.Logs) != 4 || d.Task.Logs[0].Remark != "nein" || d.Task.Logs[3].Remark != "success" || d.Task.Step != 1 {
					t.Errorf("%+v", d.Task)
				}
				return
			}
			d := s.until(id, "failed", inStatus(4))
			if d.Task.Memo == nil || *d.Task.Memo != strings.Repeat("长", 255) || d.Task.RetryTimes != 4 || d.Task.Logs[1].Remark != "b" {
				t.Errorf("%+v", d.Task)
			}
			s.do("POST", "/task/create", plain(no, 1000)).want(t, 1, "请勿重复提交!") // in any status
		})
	}
}

// A run has its time to the millisecond; one that takes longer is broken off, and tried again like one that failed.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", `"step":1,"retryTotal":1`)
	s.answers(never)
	id := s.create(plain("slow", 230))
	got := s.callbacks(2)
	d := s.until(id, "failed", inStatus(4))
	gap := got[1].at.Sub(got[0].at)
	if gap < 1200*time.Millisecond || gap > 2*time.Second {
		t.Errorf("the second run came %v after the first, want 230 ms and 1 s", gap)
	}
	if len(d.Task.Logs) != 2 || d.Task.Logs[0].Remark != "任务执行超时" || d.Task.Memo == nil || *d.Task.Memo != "任务执行超时" || d.Task.Timeout != 230 {
		t.Errorf("%+v", d.Task)
	}
}

func TestStepsOfAnApp(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, nil)
	for fields, want := range map[string][2]int{"": {5, 5}, `"step":0`: {5, 5}, `"step":"7","retryTotal":"0"`: {7, 0}, `"step":3600,"retryTotal":10`: {3600, 10}} {
		s := newShop(t, a.URL()+"/serendipity", fields)
		id := s.create(`{"taskNo":"x","content":"{}","name":"n","timeout":1000,"runtime":"2030-01-01 08:00:00"}`)
		var got apiv1.Task
		if status := a.call(t, "GET", fmt.Sprintf("/v1/tasks/%d?app=%s", id, s.key), "", &got); status != 200 {
			t.Fatal(status)
		}
		if r := got.Retry; r.Policy != "linear" || int(r.BaseMs) != want[0]*1000 || r.CapMs != 3_600_000 || r.Jitter != 0 || int(r.Max) != want[1] {
			t.Errorf("%s: %+v", fields, r)
		}
		if got.RunAt != 1893456000000 || got.Kind != "serendipity.callback" || got.UniqueKey != "x" || got.State != "scheduled" {
			t.Errorf("%+v", got)
		}
		if d := s.detail("id=" + strconv.FormatInt(id, 10)); d.Task.Status != 0 || d.Task.Runtime != "2030-01-01 08:00:00" || d.Task.Step != want[0] || d.Task.UpdatedAt != nil || d.CoroutineID != nil || d.Task.RetryTimes != 1 {
			t.Errorf("%+v", d.Task)
		}
	}
}

// What a run does at this moment is asked of the worker that runs it: its real stack, and how long it has been running.
func TestLiveDetailAndCancel(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	s.answers(never)
	id := s.create(plain("live", 60_000))
	s.callbacks(1)
	byID := fmt.Sprintf("id=%d", id)
	d := s.until(id, "waiting for its answer", func(d detailed) bool { return d.State != nil && *d.State == "waiting" && d.Function != nil })
	if d.CoroutineID == nil || d.ServiceID == nil || d.Task == nil || d.Task.Status != 1 || d.Task.ID != id || d.Task.Name != "任务 live" {
		t.Fatalf("%+v %+v", d, d.Task)
	}
	var workers struct{ Items []apiv1.Worker }
	a.call(t, "GET", "/v1/workers", "", &workers)
	if len(workers.Items) != 1 || workers.Items[0].ID.String() != *d.ServiceID {
		t.Errorf("service_id %s, workers %+v", *d.ServiceID, workers)
	}
	coroutine := fmt.Sprintf("coroutine_id=%d", *d.CoroutineID)
	raw := s.do("GET", "/task/detail?"+coroutine, "")
	var only map[string]json.RawMessage
	if err := json.Unmarshal(raw.Data, &only); err != nil || len(only) != 8 {
		t.Errorf("%s %v", raw.raw, err)
	}
	live := s.detail(coroutine)
	var frames []struct {
		File, Function, Class, Type string
		Line                        int
	}
	if err := json.Unmarshal([]byte(live.TraceList), &frames); err != nil || len(frames) < 4 {
		t.Fatalf("%s %v", live.TraceList, err)
	}
	if f := frames[0]; live.File == nil || *live.File != f.File || *live.Function != f.Function || *live.Line != f.Line || f.Line < 1 || !strings.HasSuffix(f.File, ".go") || f.Class == "runtime" {
		t.Errorf("first frame %+v, %+v", f, live)
	}
	found := false
	for _, f := range frames {
		found = found || strings.HasSuffix(f.Class, "internal/runner/httpcall.Callback") && f.Function == "Run" && f.Type == "->"
	}
	if !found {
		t.Errorf("the callback's runner is not on the stack: %s", live.TraceList)
	}
	if live.Elapsed == nil || *live.Elapsed < 1 || *live.Elapsed > 60_000 || live.Round == nil || *live.Round < 1 || string(live.Vars) != "[]" {
		t.Errorf("%+v", live)
	}
	for _, q := range []string{coroutine + "&" + byID, "coroutine_id=" + strconv.FormatInt(*d.CoroutineID, 10) + "&task_id=" + strconv.FormatInt(id, 10)} {
		if both := s.detail(q); both.Task == nil || both.State == nil || *both.CoroutineID != *d.CoroutineID {
			t.Errorf("%s: %+v", q, both)
		}
	}
	// Two names of different tasks contradict each other; nothing is done.
	waiting := s.create(`{"taskNo":"w","content":"{}","name":"n","timeout":1000,"runtime":"2030-01-01 00:00:00"}`)
	for _, path := range []string{"/task/detail", "/task/cancel"} {
		s.do("POST", path, fmt.Sprintf(`{"coroutine_id":%d,"id":%d}`, *d.CoroutineID, waiting)).want(t, 1, "参数错误!")
	}
	// Another app sees and kills nothing.
	other := newShop(t, a.URL()+"/serendipity", "")
	for _, q := range []string{coroutine, byID, coroutine + "&" + byID} {
		if d := other.detail(q); d.State != nil || d.TraceList != "null" || d.Task != nil {
			t.Errorf("another app sees %+v", d)
		}
	}
	for _, body := range []string{fmt.Sprintf(`{"coroutine_id":%d}`, *d.CoroutineID), fmt.Sprintf(`{"id":%d}`, id), fmt.Sprintf(`{"id":%d}`, waiting)} {
		other.do("POST", "/task/cancel", body).want(t, 1, "Unknown!")
	}
	other.do("POST", "/nsq/publish", fmt.Sprintf(`{"task_id":%d}`, id)).want(t, 1, fmt.Sprintf("Unknown Task [%d]#", id))
	if d := s.detail(byID); d.State == nil {
		t.Error("it was touched")
	}
	// Killed within 2 s, and the connection with it.
	start := time.Now()
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"coroutine_id":%d}`, *d.CoroutineID)).want(t, 0, "Killed")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	for end := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s.callbacks(1)[0].isBroken(s) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the callback's connection was not closed")
		}
	}
	d = s.detail(byID)
	if d.Task.Status != 3 || d.Task.Memo == nil || *d.Task.Memo != "任务已取消" || d.State != nil {
		t.Errorf("%+v %+v", d, d.Task)
	}
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"coroutine_id":%d}`, *d.CoroutineID)).want(t, 1, "Unknown!")
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"id":%d}`, id)).want(t, 1, "Unknown!")
	if d := s.detail(coroutine); d.State != nil || d.TraceList != "null" {
		t.Errorf("a run that is over: %+v", d)
	}
	s.do("POST", "/task/create", plain("live", 1000)).want(t, 1, "请勿重复提交!")
	// What waits is killed by its id.
	s.do("POST", "/task/cancel", `id=`+strconv.FormatInt(waiting, 10)).want(t, 0, "Killed")
	if d := s.detail(fmt.Sprintf("id=%d", waiting)); d.Task.Status != 3 {
		t.Errorf("%+v", d.Task)
	}
}

// stubborn ignores the end of its context until it is let go.
type stubborn struct {
	kind string
	run  func(ctx context.Context, j worker.Job) task.Result
}

func (s stubborn) Kind() string { return s.kind }

func (s stubborn) Run(ctx context.Context, j worker.Job) task.Result { return s.run(ctx, j) }

// A handler that does not end is not said to be killed; and a class that is mapped is run by its handler, whose progress is
// seen and whose result is POSTed, until the receiver says success. Not beside other tests: a stack is found by its task's id, and
// the tasks of their standalones, in this same process, have the same ids.
func TestClassesAndHandlers(t *testing.T) {
	release := make(chan struct{})
	deaf := stubborn{"deaf.job", func(context.Context, worker.Job) task.Result {
		<-release
		return task.Result{Outcome: task.OutcomeFailed}
	}}
	report := stubborn{"report.job", func(ctx context.Context, j worker.Job) task.Result {
		if err := j.Report(map[string]any{"rows": 70}); err != nil {
			t.Error(err)
		}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return task.Result{Outcome: task.OutcomeSucceeded, Body: []byte(`{"sum": 1.50}`)}
	}}
	a := newStandalone(t, []string{`TASKWEIR_SERENDIPITY_CLASSES=SimpleJob=report.job,Ns\Deaf=deaf.job,Gone=never.declared`, "TASKWEIR_WORKER_GRACE=200ms"}, deaf, report)
	for _, kind := range []string{"deaf.job", "report.job"} { // whether or not the worker was quicker
		if status := a.call(t, "PUT", "/v1/kinds/"+kind, "", nil); status != 200 {
			t.Fatal(status)
		}
	}
	s := newShop(t, a.URL()+"/serendipity", `"step":1,"retryTotal":2`)
	s.answers(func(n int, _ string) (int, string) {
		return 200, map[bool]string{true: "success", false: "not yet"}[n > 1]
	})
	id := s.create(`{"taskNo":"r","content":{"class":"\\Ns\\SimpleJob","_params":{"a":1}},"name":"n","timeout":60000}`)
	d := s.until(id, "reporting", func(d detailed) bool { return string(d.Vars) == `{"rows":70}` && d.Function != nil })
	if *d.Round != 2 || d.Task.Content != `{"class":"\\Ns\\SimpleJob","_params":{"a":1}}` || !strings.Contains(d.TraceList, "TestClassesAndHandlers") {
		t.Errorf("%+v", d)
	}
	deafID := s.create(`{"taskNo":"d","content":"{\"class\":\"Ns\\\\Deaf\"}","name":"n","timeout":60000}`)
	d = s.until(deafID, "running", func(d detailed) bool { return d.State != nil })
	start := time.Now()
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"id":%d,"coroutine_id":%d}`, deafID, *d.CoroutineID)).want(t, 1, "Not fully killed, try again later...")
	if took := time.Since(start); took < 1900*time.Millisecond || took > 3*time.Second {
		t.Errorf("waited %v", took)
	}
	s.do("POST", "/task/create", `{"taskNo":"g","content":{"class":"Gone"},"name":"n","timeout":1000}`).want(t, 1, "Unknown!")
	close(release)
	s.until(deafID, "cancelled", inStatus(3))
	got := s.callbacks(2)
	for i, c := range got[:2] {
		if c.data != `{"sum":1.50}` || c.header.Get("task-id") != strconv.FormatInt(id, 10) || c.header.Get("retry") != strconv.Itoa(i) {
			t.Errorf("%+v", c)
		}
	}
	if gap := got[1].at.Sub(got[0].at); gap < time.Second {
		t.Errorf("delivered again after %v", gap)
	}
	if d := s.until(id, "done", inStatus(2)); d.Task.Result == nil || *d.Task.Result != `{"sum": 1.50}` {
		t.Errorf("%+v %q", d.Task, *d.Task.Result)
	}
	// Without a mapping the content is sent.
	s.answers(func(int, string) (int, string) { return 200, "success" })
	s.until(s.create(`{"taskNo":"u","content":{"class":"\\Ns\\Unknown"},"name":"n","timeout":1000}`), "done", inStatus(2))
	if got := s.callbacks(1); len(got) != 1 || got[0].data != `{"class":"\\Ns\\Unknown"}` {
		t.Errorf("%+v", got)
	}
}

// Publishing rings what waits again and runs what is over again; the number of runs goes on.
func TestPublish(t *testing.T) {
	s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", `"step":1,"retryTotal":0`)
	publish := func(id int64) {
		t.Helper()
		if r := s.do("POST", "/nsq/publish", fmt.Sprintf(`{"task_id":%d}`, id)).want(t, 0, "Ok!"); string(r.Data) != "[]" {
			t.Errorf("%s", r.raw)
		}
	}
	id := s.create(plain("p", 5000))
	s.until(id, "done", inStatus(2))
	publish(id)
	s.callbacks(2)
	if d := s.until(id, "done again", inStatus(2)); len(d.Task.Logs) != 2 {
		t.Errorf("%+v", d.Task)
	}
	s.answers(func(int, string) (int, string) { return 200, "no" })
	failed := s.create(plain("f", 5000))
	s.until(failed, "failed", inStatus(4))
	s.answers(func(int, string) (int, string) { return 200, "success" })
	publish(failed)
	s.until(failed, "done", inStatus(2))
	later := s.create(`{"taskNo":"l","content":"{}","name":"n","timeout":1000,"runtime":"2030-01-01 00:00:00"}`)
	publish(later) // its time has not come: it stays as it is
	if d := s.detail(fmt.Sprintf("id=%d", later)); d.Task.Status != 0 {
		t.Errorf("%+v", d.Task)
	}
	s.answers(never)
	running := s.create(plain("r", 60_000))
	s.callbacks(1)
	publish(running)
	if d := s.until(running, "running", inStatus(1)); len(d.Task.Logs) != 0 {
		t.Errorf("%+v", d.Task)
	}
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"id":%d}`, running)).want(t, 0, "Killed")
	publish(running)
	s.callbacks(2)
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"id":%d}`, running)).want(t, 0, "Killed")
}

// The same scenario leaves the same task as /v1, but for ids and instants.
func TestRowsAreThoseOfV1(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", `"step":1,"retryTotal":1`)
	native := func(no, more string) int64 {
		t.Helper()
		var made apiv1.Task
		body := fmt.Sprintf(`{"kind":"serendipity.callback","payload":{"no":"%s"},"uniqueKey":%q,"uniqueScope":"forever","timeoutMs":5000,
			"retry":{"policy":"linear","baseMs":1000,"capMs":3600000,"jitter":0,"max":1}%s}`, no, no, more)
		if status := a.call(t, "POST", "/v1/tasks?app="+s.key, body, &made); status != 201 {
			t.Fatalf("%d", status)
		}
		return int64(made.ID)
	}
	legacy := func(no, more string) int64 {
		t.Helper()
		return s.create(fmt.Sprintf(`{"taskNo":%q,"content":{"no":"%s"},"name":"n","timeout":5000%s}`, no, no, more))
	}
	verb := func(id int64, path string) {
		t.Helper()
		if status := a.call(t, "POST", fmt.Sprintf("/v1/tasks/%d/%sapp=%s", id, path, s.key), "", nil); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	for _, play := range []struct {
		name           string
		legacy, native func() int64
	}{
		{"fail, succeed, run again", func() int64 {
			id := legacy("A", "")
			s.until(id, "done", inStatus(2))
			s.do("POST", "/nsq/publish", fmt.Sprintf(`{"task_id":%d}`, id)).want(t, 0, "Ok!")
			s.callbacks(3)
			s.until(id, "done", inStatus(2))
			return id
		}, func() int64 {
			id := native("B", "")
			s.until(id, "done", inStatus(2))
			verb(id, "retry?force=true&")
			s.callbacks(3)
			s.until(id, "done", inStatus(2))
			return id
		}},
		{"scheduled, cancelled", func() int64 {
			id := legacy("C", `,"runtime":"2030-01-01 08:00:00"`)
			s.do("POST", "/task/cancel", fmt.Sprintf(`{"id":%d}`, id)).want(t, 0, "Killed")
			return id
		}, func() int64 {
			id := native("D", `,"runAt":"2030-01-01T00:00:00.000Z"`)
			verb(id, "cancel?")
			return id
		}},
	} {
		var shown [2]string
		for i, f := range []func() int64{play.legacy, play.native} {
			s.answers(func(n int, _ string) (int, string) { return 200, map[bool]string{true: "success", false: "no"}[n > 1] })
			var view map[string]any
			a.call(t, "GET", fmt.Sprintf("/v1/tasks/%d?app=%s", f(), s.key), "", &view)
			shown[i] = blurred(view)
		}
		if shown[0] != shown[1] {
			t.Errorf("%s:\nlegacy %s\n   /v1 %s", play.name, shown[0], shown[1])
		}
	}
}

// blurred is a task without ids, numbers and instants: those only say whether they are there.
func blurred(v any) string {
	var blur func(k string, v any) any
	blur = func(k string, v any) any {
		switch x := v.(type) {
		case map[string]any:
			for name := range x {
				x[name] = blur(name, x[name])
			}
		case []any:
			for i := range x {
				x[i] = blur(k, x[i])
			}
		case string:
			if k == "id" || k == "no" || k == "uniqueKey" || k == "worker" || k == "text" || strings.HasSuffix(k, "At") && !strings.HasPrefix(x, "2030") {
				return x != ""
			}
		}
		return v
	}
	raw, _ := json.Marshal(blur("", v))
	return string(raw)
}

// Without Redis nothing is unknown that the database knows: that the run runs, and for how long.
func TestWithoutALiveView(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, []string{"TASKWEIR_REDIS_URL=redis://127.0.0.1:1/"})
	s := newShop(t, a.URL()+"/serendipity", "")
	s.answers(never)
	id := s.create(plain("x", 60_000))
	s.callbacks(1)
	d := s.until(id, "running", func(d detailed) bool { return d.State != nil })
	if *d.State != "running" || d.TraceList != "null" || d.Elapsed == nil || d.File != nil || d.Task.Status != 1 {
		t.Errorf("%+v", d)
	}
	var p apiv1.Problem
	if status := a.call(t, http.MethodGet, fmt.Sprintf("/v1/tasks/%d/stack?app=%s", id, s.key), "", &p); status != 503 || p.Code != "live_view_unavailable" {
		t.Errorf("%d %+v", status, p)
	}
	s.do("POST", "/task/cancel", fmt.Sprintf(`{"coroutine_id":%d}`, *d.CoroutineID)) // found by the next heartbeat
	s.until(id, "cancelled", inStatus(3))
}
