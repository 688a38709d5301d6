package openapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// The vars that stand for {id} and {name}, by what is before them.
var idsOf = map[string]string{"tasks": "id", "schedules": "schedule", "workers": "worker", "bulk": "bulk"}

// anywhere asks an operation about the things that the successes left.
func (w *world) anywhere(o openapi.Operation) *ask {
	a := w.ask(o.ID)
	kind := strings.Split(o.Path+"///", "/")[2]
	if v, ok := idsOf[kind]; ok {
		a.with("id", w.vars[v])
	}
	switch kind {
	case "queues":
		a.with("name", "reports")
	case "kinds":
		a.with("name", "report.monthly")
	}
	return a
}

// missingOf is the code of a thing that is not there, by the parameter of the path that names it.
func missingOf(o openapi.Operation, param string) (code, value string) {
	kind := strings.Split(o.Path, "/")[2]
	const nowhere = "9007199254740990"
	switch {
	case param == "attempt":
		return "attempt_not_found", nowhere
	case o.ID == "getKind":
		return "kind_not_found", "nosuchkind"
	case param == "id":
		return strings.TrimSuffix(kind, "s") + "_not_found", nowhere
	case param == "app":
		return "app_not_found", "nosuchapp"
	case param == "key" && kind == "apps":
		return "api_key_not_found", nowhere
	case param == "key" && (o.ID == "getLimitKey" || o.ID == "deleteLimitKey"):
		return "limit_key_not_found", "nosuchkey"
	case param == "name" && kind == "queues" && o.ID != "putQueue":
		return "queue_not_found", "nosuchqueue"
	}
	return "", ""
}

// lesser are keys of each scope's lesser neighbour.
func (w *world) lesser() map[string]string {
	app := w.newApp("lesser").ID
	read := w.newKey(app, "read")
	return map[string]string{"read": read, "submit": read, "manage": w.newKey(app, "submit"), "admin": w.newKey(app, "manage")}
}

// disabled is a key of an app that was disabled.
func (w *world) disabled() string {
	app := w.newApp("disabled").ID
	key := w.newKey(app, "admin")
	w.ask("updateApp").with("app", app).send(`{"disabled":true}`).do().want(200)
	return key
}

// commonProblems provokes what every operation does.
func commonProblems(w *world) {
	lesser, disabled := w.lesser(), w.disabled()
	deep := `{"x":` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `}`
	for _, o := range openapi.Operations() {
		if o.Scope == "" {
			continue
		}
		w.anywhere(o).as("").do().code("unauthorized")
		w.anywhere(o).as("a-key-that-is-nobodys").do().code("unauthorized")
		w.anywhere(o).query("%zz").do().code("malformed")
		w.anywhere(o).query("no-such-parameter=1").do().code("invalid")
		if slices.Contains(o.Problems(), "app_disabled") {
			w.anywhere(o).as(disabled).do().code("app_disabled")
		}
		takesApp := slices.Contains(o.Query, "app")
		if takesApp {
			w.anywhere(o).query("app=nosuchapp").do().code("app_not_found")
			w.anywhere(o).query("app=nosuchapp").as(lesser["read"]).do().code("scope_too_small")
		}
		if o.Scope != "read" {
			w.ofLesser(o, lesser[o.Scope]).do().code("scope_too_small")
		}
		for _, p := range o.PathParams() {
			if code, value := missingOf(o, p); code != "" {
				a := w.anywhere(o).with(p, value)
				if o.Body != nil {
					a.send(openapi.Operations()[indexOf(o.ID)].Example.Body)
				}
				a.do().code(code)
			}
		}
		if o.Reads != openapi.Nothing {
			w.anywhere(o).send(deep).do().code("too_deep")
			w.tooLarge(o)
		}
		if o.Reads == openapi.Required {
			w.anywhere(o).send(`{"nope":1}`).do().code("invalid")
			w.anywhere(o).send(`{`).do().code("malformed")
		}
		if !o.IfMatch && o.Method != "GET" {
			w.anywhere(o).header("If-Match", `*`).send(o.Example.Body).do().code("invalid") // not ignored
		}
		if o.IfMatch {
			w.anywhere(o).header("If-Match", `"99-x"`).send(o.Example.Body).do().code("precondition_failed")
		}
	}
}

func indexOf(id string) int {
	return slices.IndexFunc(openapi.Operations(), func(o openapi.Operation) bool { return o.ID == id })
}

// ofLesser asks with a key of another app, which sees none of the things: the scope is looked at first, or the request is its own app's.
func (w *world) ofLesser(o openapi.Operation, key string) *ask {
	return w.anywhere(o).send(o.Example.Body).as(key)
}

// tooLarge announces a body that is too large, and sends none of it.
func (w *world) tooLarge(o openapi.Operation) {
	w.t.Helper()
	a := w.anywhere(o)
	path := a.o.Path
	for name, v := range a.vars {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(v))
	}
	req, err := http.NewRequestWithContext(w.t.Context(), o.Method, w.url+path, io.NopCloser(bytes.NewReader(make([]byte, 17<<20))))
	if err != nil {
		w.t.Fatal(err)
	}
	req.ContentLength = 17 << 20
	req.Header.Set("Expect", "100-continue")
	req.Header.Set("Authorization", "Bearer "+w.key)
	res, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.c.check(w.t, a.o, res, body); err != nil {
		w.t.Errorf("%s: %v", o.ID, err)
	}
}

func taskProblems(w *world) {
	calls := receiver(w.t)
	big := `"` + strings.Repeat("x", 262_144) + `"`
	w.submit(`{"kind":"echo","delayMs":600000,"uniqueKey":"mine"}`)
	w.ask("submitTask").send(`{"kind":"echo","uniqueKey":"mine"}`).do().code("unique_key_taken")
	w.ask("submitTask").send(`{"kind":"echo","payload":` + big + `}`).do().code("payload_too_large")
	for _, o := range openapi.Operations() {
		if o.Idempotent {
			w.reuse(o)
		}
	}

	waiting := w.submit(`{"kind":"echo","delayMs":600000}`).ID
	done := w.final(w.submit(`{"kind":"echo"}`).ID).ID
	w.ask("retryTask").id(waiting).do().code("not_retryable")
	w.ask("retryTask").id(waiting).send(`{"payload":1}`).do().code("task_not_final")
	w.ask("retryTask").id(done).send(`{"payload":1}`).do().code("task_succeeded")
	w.ask("retryTask").id(done).send(`{"payload":` + big + `,"force":true}`).do().code("payload_too_large")
	if got := w.ask("getTaskLog").id(waiting).do().want(200); got.Header.Get("Content-Type") != plainText || len(got.body) > 0 {
		w.t.Errorf("the log of a task that never ran: %q, %q", got.Header.Get("Content-Type"), got.body)
	}
	w.ask("runTaskNow").id(done).do().code("not_waiting")
	w.ask("abandonTask").id(done).do().code("not_a_zombie")
	running := apiv1.ID(0)
	if err := running.UnmarshalJSON([]byte(w.vars["running"])); err != nil {
		w.t.Fatal(err)
	}
	w.ask("resendTask").id(running).do().code("not_waiting")
	w.ask("getTaskStack").id(done).do().code("task_not_running")
	w.ask("getTaskLog").id(done).query("attempt=9007199254740990").do().code("attempt_not_found")

	failed := w.submit(fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/400"},"uniqueKey":"again"}`, calls.URL)).ID
	w.final(failed)
	w.submit(`{"kind":"echo","delayMs":600000,"uniqueKey":"again"}`)
	w.ask("retryTask").id(failed).do().code("unique_key_taken")
	w.ask("resendTask").id(failed).do().code("unique_key_taken")

	complete := func(id apiv1.ID, epoch int, outcome string) answer {
		return w.ask("completeTask").id(id).send(fmt.Sprintf(`{"epoch":%d,"outcome":%q}`, epoch, outcome)).do()
	}
	complete(done, 7, "succeeded").code("epoch_mismatch")
	complete(done, 1, "failed").code("already_ended")
	complete(running, 1, "succeeded").code("attempt_running")
	w.ask("completeTask").id(done).send(`{"epoch":1,"outcome":"succeeded","result":` + big + `}`).do().code("payload_too_large")
	w.ask("cancelTask").id(running).query("wait=10s").do().want(200)
	complete(running, 1, "succeeded").code("task_cancelled")
	late := w.submit(fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/1"},"retry":{"max":0}}`, calls.URL)).ID
	w.until(late, in("failed"))
	complete(late, 1, "succeeded").code("completion_too_late")

	// More than 32 MiB of payloads.
	var ids []string
	one := `{"kind":"echo","delayMs":600000,"payload":"` + strings.Repeat("x", 262_000) + `"}`
	for range 3 {
		items := into[apiv1.BatchAnswer](w.ask("submitTasks").send(`{"tasks":[` + strings.TrimSuffix(strings.Repeat(one+",", 50), ",") + `]}`).do().want(200)).Items
		for _, it := range items {
			ids = append(ids, it.Task.ID.String())
		}
	}
	w.ask("listTasks").query("ids=" + strings.Join(ids, ",")).do().code("answer_too_large")
}

// reuse uses an idempotency key of each operation that makes something for another request.
func (w *world) reuse(o openapi.Operation) {
	w.t.Helper()
	key := "reused-" + o.ID
	first, second := o.Example.Body, strings.Replace(o.Example.Body, "{", "{ ", 1)
	switch o.ID {
	case "retryTask":
		first, second = `{"payload":1,"force":true}`, `{"payload":2,"force":true}`
	case "triggerSchedule":
		first, second = ``, `{}`
	case "createSchedule":
		second = strings.Replace(first, "nightly", "nightly2", 1)
	case "backfillSchedule":
		now := time.Now().UTC()
		first = fmt.Sprintf(`{"from":%q,"to":%q}`, now.Add(-3*time.Hour).Format(time.RFC3339), now.Add(-time.Minute).Format(time.RFC3339))
		second = strings.Replace(first, "{", "{ ", 1)
	}
	a := w.anywhere(o).send(first).header(apiv1.HeaderIdempotencyKey, key).do()
	if a.StatusCode >= 300 {
		w.t.Errorf("%s: %d %s", o.ID, a.StatusCode, a.body)
	}
	if a := w.anywhere(o).send(first).header(apiv1.HeaderIdempotencyKey, key).do(); a.Header.Get(apiv1.HeaderReplayed) != "true" {
		w.t.Errorf("%s does not say that it was repeated: %d %s", o.ID, a.StatusCode, a.body)
	}
	w.anywhere(o).send(second).header(apiv1.HeaderIdempotencyKey, key).do().code("idempotency_key_reused")
}

func scheduleProblems(w *world) {
	s := w.schedule("problems", "").ID
	w.ask("createSchedule").send(fmt.Sprintf(hourly, "problems", "")).do().code("name_taken")
	w.ask("replaceSchedule").id(s).send(fmt.Sprintf(hourly, "hourly", "")).do().code("name_taken")
	large := `{"name":"large","spec":{"everyMs":3600000},"task":{"kind":"echo","payload":"` + strings.Repeat("x", 262_144) + `"}}`
	w.ask("createSchedule").send(large).do().code("payload_too_large")
	w.ask("replaceSchedule").id(s).send(large).do().code("payload_too_large")

	own := into[apiv1.List[apiv1.Schedule]](w.ask("listSchedules").query("app=" + task.SystemApp).do().want(200)).Items[0].ID
	w.ask("createSchedule").query("app=" + task.SystemApp).send(fmt.Sprintf(hourly, "mine", "")).do().code("system_schedule")
	w.ask("replaceSchedule").id(own).query("app=" + task.SystemApp).send(fmt.Sprintf(hourly, "mine", "")).do().code("system_schedule")
	w.ask("deleteSchedule").id(own).query("app=" + task.SystemApp).do().code("system_schedule")
	w.ask("backfillSchedule").id(own).query("app=" + task.SystemApp).send(`{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`).do().code("system_schedule")

	skips := into[apiv1.Schedule](w.ask("createSchedule").send(`{"name":"skips","spec":{"everyMs":3600000},"overlap":"skip","task":{"kind":"sleep","payload":{"ms":600000}}}`).do().want(201)).ID
	w.ask("triggerSchedule").id(skips).do().want(201)
	w.ask("triggerSchedule").id(skips).do().code("schedule_overlap")

	w.submit(`{"kind":"echo","delayMs":600000,"uniqueKey":"slot"}`)
	taken := into[apiv1.Schedule](w.ask("createSchedule").send(`{"name":"taken","spec":{"everyMs":3600000},"task":{"kind":"echo","uniqueKey":"slot"}}`).do().want(201)).ID
	w.ask("triggerSchedule").id(taken).do().code("slot_failed")

	w.ask("pauseSchedule").id(s).do().want(200)
	w.ask("skipNextSlot").id(s).do().code("schedule_paused")
	once := into[apiv1.Schedule](w.ask("createSchedule").send(`{"name":"once more","spec":{"at":"2090-01-01T00:00:00Z"},"task":{"kind":"echo"}}`).do().want(201)).ID
	w.ask("skipNextSlot").id(once).do().want(200)
	w.ask("skipNextSlot").id(once).do().code("no_next_slot")
}

func appProblems(w *world) {
	own := into[apiv1.TaskList](w.ask("listTasks").query("limit=1").do()).Items[0].App
	w.ask("updateApp").with("app", own).send(`{"disabled":true}`).do().code("app_needed")
	w.ask("createApp").send(`{"name":"again","id":"` + w.vars["app"] + `"}`).do().code("app_key_taken")
	w.ask("testCallback").query("kind=nosuch.callback").do().code("test_failed")
}

// overloaded holds all that a process has for large bodies by requests that do not end, and asks every operation that reads one.
func overloaded(w *world) {
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	part := make([]byte, 15<<20) // so much that room for all of it is taken
	for i := range part {
		part[i] = ' '
	}
	for range 6 { // of 16 MiB each: 96 MiB
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			w.t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", w.key, 16<<20)
		if _, err := conn.Write(part); err != nil {
			w.t.Fatal(err)
		}
	}
	large := `{"x":"` + strings.Repeat("x", 70_000) + `"}`
	deadline := time.Now().Add(30 * time.Second)
	for _, o := range openapi.Operations() {
		for o.Reads != openapi.Nothing && time.Now().Before(deadline) { // until the server has read what was sent
			if a := w.anywhere(o).send(large).do(); a.StatusCode == http.StatusServiceUnavailable {
				a.code("overloaded")
				break
			}
		}
	}
}

// streamProblems opens as many streams as an app may have in a process, and ends the process's streams. No stream begins after it.
func streamProblems(w *world) {
	w.ask("createEventTicket").send(`{"task":"9007199254740990"}`).do().code("task_not_found")
	id := w.submit(`{"kind":"echo","delayMs":600000}`).ID
	who, err := w.svc.Authenticate(w.t.Context(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	var open []*control.TaskStream
	for {
		st, _, err := w.svc.FollowTask(w.t.Context(), who, int64(id), "")
		if task.CodeOf(err) == "too_many_streams" {
			break
		}
		if err != nil || len(open) > 3000 {
			w.t.Fatalf("after %d streams: %v", len(open), err)
		}
		open = append(open, st)
	}
	full := func(code string) {
		w.ask("followTask").id(id).do().code(code)
		w.ask("getTaskLog").id(id).query("follow=true").do().code(code)
		w.ask("listenEvents").do().code(code)
	}
	full("too_many_streams")
	for _, st := range open {
		st.Close()
	}
	w.svc.StopWaiting()
	full("stopping")
}

func withoutRedis(w *world, stop func()) {
	id := w.submit(`{"kind":"sleep","payload":{"ms":600000}}`).ID
	w.until(id, in("running"))
	stop()
	w.ask("getTaskStack").id(id).do().code("live_view_unavailable")
	w.ask("getTaskLog").id(id).do().code("live_view_unavailable")
	w.ask("getWorker").with("id", w.vars["worker"]).do().code("live_view_unavailable")
	// Last: nothing is executed after it.
	w.ask("drainWorker").with("id", w.vars["worker"]).do().want(200)
}
