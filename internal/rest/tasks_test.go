package rest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestCredentials(t *testing.T) {
	w := newWorld(t)
	app := w.submit(`{"kind":"echo"}`).App
	for name, key := range map[string]string{"none": "", "wrong": "wrong-key-that-nobody-has", "short": "x", "app key": app, "long": strings.Repeat("k", 200)} {
		a := w.as(key).do("POST", "/v1/tasks", `{"kind":"echo"}`).want(401)
		if a.problem().Code != "unauthorized" || a.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %s", name, a.Body)
		}
		w.as(key).do("GET", "/v1/tasks", "").want(401)
	}
	if w.tasks() != 1 {
		t.Error("a refused request stored something")
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		w.as("").do("GET", path, "").want(200)
	}
}

func TestScopes(t *testing.T) {
	w := newWorld(t)
	keys := map[string]string{}
	appID, admin := w.newApp("scopes", "admin")
	keys["admin"] = admin
	for _, s := range []string{"read", "submit", "manage"} {
		keys[s] = decode[apiv1.Key](w.do("POST", "/v1/apps/"+appID+"/keys", `{"scope":"`+s+`"}`).want(201)).Key
	}
	order := []string{"read", "submit", "manage", "admin"}
	for _, tc := range []struct{ method, path, body, needs string }{
		{"GET", "/v1/tasks", "", "read"}, {"GET", "/v1/tasks/1", "", "read"}, {"GET", "/v1/tasks?ids=1", "", "read"}, {"GET", "/v1/tasks/1/log", "", "read"}, {"GET", "/v1/tasks/1/stack", "", "read"},
		{"POST", "/v1/tasks", `{"kind":"echo"}`, "submit"}, {"POST", "/v1/tasks/batch", `{"tasks":[{"kind":"echo"}]}`, "submit"},
		{"POST", "/v1/tasks/1/cancel", "", "submit"}, {"POST", "/v1/tasks/1/retry", "", "submit"}, {"POST", "/v1/tasks/1/retry", `{"payload":1}`, "submit"}, {"POST", "/v1/tasks/1/run-now", "", "submit"},
		{"POST", "/v1/tasks/1/abandon", "", "manage"}, {"PUT", "/v1/kinds/mine", "", "manage"}, {"POST", "/v1/queues/default/pause", "", "manage"},
		{"POST", "/v1/queues/default/resume", "", "manage"}, {"POST", "/v1/workers/1/drain", "", "manage"},
		{"GET", "/v1/kinds", "", "read"}, {"GET", "/v1/queues", "", "read"}, {"GET", "/v1/queues/default", "", "read"}, {"GET", "/v1/workers", "", "read"}, {"GET", "/v1/workers/1", "", "read"},
		{"GET", "/v1/apps", "", "read"}, {"GET", "/v1/apps/" + appID, "", "read"},
		{"POST", "/v1/apps", `{"name":"x"}`, "admin"}, {"PATCH", "/v1/apps/" + appID, `{}`, "admin"}, {"GET", "/v1/apps/" + appID + "/keys", "", "admin"},
		{"POST", "/v1/apps/" + appID + "/keys", `{"scope":"read"}`, "admin"}, {"DELETE", "/v1/apps/" + appID + "/keys/999", "", "admin"},
	} {
		allowed := false
		for _, scope := range order {
			allowed = allowed || scope == tc.needs
			a := w.as(keys[scope]).do(tc.method, tc.path, tc.body)
			if refused := a.Code == 403 && a.problem().Code == "scope_too_small"; refused == allowed || a.Code >= 500 {
				t.Errorf("%s %s with scope %s: %d %s", tc.method, tc.path, scope, a.Code, a.Body)
			}
		}
	}
}

func TestAnotherAppsTasks(t *testing.T) {
	w := newWorld(t)
	mine := w.submit(`{"kind":"echo","delayMs":60000}`)
	otherID, otherKey := w.newApp("other", "manage")
	other := w.as(otherKey)
	theirs := other.submit(`{"kind":"echo","delayMs":60000}`)
	id := mine.ID.String()
	for _, tc := range []struct{ method, path, body string }{
		{"GET", "/v1/tasks/" + id, ""}, {"POST", "/v1/tasks/" + id + "/cancel", ""}, {"POST", "/v1/tasks/" + id + "/retry", ""}, {"POST", "/v1/tasks/" + id + "/retry", `{"payload":1}`},
		{"POST", "/v1/tasks/" + id + "/run-now", ""}, {"POST", "/v1/tasks/" + id + "/abandon", ""}, {"GET", "/v1/tasks/" + id + "/log", ""}, {"GET", "/v1/tasks/" + id + "/stack", ""},
	} {
		if p := other.do(tc.method, tc.path, tc.body).want(404).problem(); p.Code != "task_not_found" {
			t.Errorf("%s %s: %s", tc.method, tc.path, p.Code)
		}
	}
	if l := decode[apiv1.TaskList](other.do("GET", "/v1/tasks?ids="+id+","+theirs.ID.String(), "").want(200)); len(l.Items) != 1 || l.Items[0].ID != theirs.ID {
		t.Errorf("many by id: %+v", l.Items)
	}
	if l := decode[apiv1.TaskList](other.do("GET", "/v1/tasks", "").want(200)); len(l.Items) != 1 || l.Items[0].ID != theirs.ID {
		t.Errorf("list: %+v", l.Items)
	}
	if got := w.do("GET", "/v1/tasks/"+id, "").want(200).task(); got.State != "scheduled" {
		t.Errorf("the task was changed: %s", got.State)
	}
	// An administrator names the app; others may not.
	w.do("GET", "/v1/tasks/"+theirs.ID.String(), "").want(404)
	w.do("GET", "/v1/tasks/"+theirs.ID.String()+"?app="+otherID, "").want(200)
	w.do("GET", "/v1/tasks/"+theirs.ID.String()+"?app=*", "").want(200)
	if n := w.tasks(); n != 2 {
		t.Errorf("app=* lists %d tasks, want 2", n)
	}
	other.do("GET", "/v1/tasks?app="+mine.App, "").want(403)
	other.do("GET", "/v1/tasks?app=*", "").want(403)
	other.do("GET", "/v1/tasks?app="+otherID, "").want(200)
	w.do("GET", "/v1/tasks?app=nobody", "").want(404)
	w.do("POST", "/v1/tasks?app=*", `{"kind":"echo"}`).refused(422, "app", "one_of")
	if got := w.do("POST", "/v1/tasks?app="+otherID, `{"kind":"echo"}`).want(201).task(); got.App != otherID {
		t.Errorf("submitted for app %s", got.App)
	}
	w.do("GET", "/v1/apps/"+otherID, "").want(200)
	other.do("GET", "/v1/apps/"+mine.App, "").want(404)
	if l := decode[apiv1.List[apiv1.App]](other.do("GET", "/v1/apps", "").want(200)); len(l.Items) != 1 || l.Items[0].ID != otherID {
		t.Errorf("apps: %+v", l.Items)
	}
}

func TestUnknownTasksAndParameters(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"1", "0", "-1", "abc", "99999999999999999999", "9007199254740992"} {
		w.do("GET", "/v1/tasks/"+id, "").want(404)
	}
	id := w.submit(`{"kind":"echo"}`).ID.String()
	for path, field := range map[string]string{
		"/v1/tasks?limit=0": "limit", "/v1/tasks?limit=1001": "limit", "/v1/tasks?limit=x": "limit", "/v1/tasks?state=done": "state", "/v1/tasks?state=": "state", "/v1/tasks?queue=A": "queue",
		"/v1/tasks?kind=A": "kind", "/v1/tasks?label=a": "label", "/v1/tasks?label=:b": "label", "/v1/tasks?from=x": "from", "/v1/tasks?to=2030-01-01": "to",
		"/v1/tasks?from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z": "to", "/v1/tasks?oops=1": "oops", "/v1/tasks?ids=1,x": "ids[1]", "/v1/tasks?ids=1&state=queued": "state",
		"/v1/tasks?ids=" + strings.Repeat("1,", 1000) + "1": "ids", "/v1/tasks/" + id + "?wait=31s": "wait", "/v1/tasks/" + id + "?wait=-1s": "wait", "/v1/tasks/" + id + "?wait=5": "wait",
		"/v1/tasks/" + id + "/log?attempt=x": "attempt", "/v1/tasks?uniqueKey=" + strings.Repeat("u", 256): "uniqueKey",
	} {
		w.do("GET", path, "").refused(422, field, "")
	}
	for _, cursor := range []string{"x", "%20", "AAAA", strings.Repeat("A", 600)} {
		if a := w.do("GET", "/v1/tasks?cursor="+cursor, ""); a.Code != 400 && a.Code != 422 {
			t.Errorf("cursor %.10q: %d", cursor, a.Code)
		}
	}
	w.do("POST", "/v1/tasks/"+id+"/cancel", `{"now":true}`).refused(422, "now", "unknown_field")
	w.do("POST", "/v1/tasks/"+id+"/retry", `{"now":true}`).refused(422, "now", "unknown_field")
	w.do("POST", "/v1/tasks/"+id+"/retry", `{"force":1}`).refused(422, "force", "type")
	w.do("POST", "/v1/workflows", `{}`).want(404)
	w.do("DELETE", "/v1/tasks/"+id, "").want(405)
}

func TestListPages(t *testing.T) {
	onBoth(t, func(w *world) {
		var want []apiv1.ID
		for i := range 25 {
			want = append([]apiv1.ID{w.submit(fmt.Sprintf(`{"kind":"echo","queue":"q%d","labels":{"n":"%d"}}`, i%2, i%5)).ID}, want...)
		}
		var got []apiv1.ID
		cursor, pages := "", 0
		for {
			l := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?limit=10&cursor="+cursor, "").want(200))
			for _, it := range l.Items {
				got = append(got, it.ID)
			}
			if pages++; l.NextCursor == "" || pages > 10 {
				break
			}
			cursor = l.NextCursor
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			w.t.Errorf("pages give %v, want %v", got, want)
		}
		for q, n := range map[string]int{"queue=q0": 13, "queue=q1": 12, "label=n:3": 5, "kind=echo": 25, "kind=sleep": 0, "state=queued": 25, "state=running": 0, "queue=none": 0,
			"from=2001-01-01T00:00:00Z": 25, "to=2001-01-01T00:00:00Z": 0} {
			if l := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?limit=100&"+q, "").want(200)); len(l.Items) != n {
				w.t.Errorf("%s: %d tasks, want %d", q, len(l.Items), n)
			}
		}
		ids := want[3].String() + ",9007199254740991," + want[0].String()
		if l := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?ids="+ids, "").want(200)); len(l.Items) != 2 || l.Items[0].ID != want[3] || l.Items[1].ID != want[0] {
			w.t.Errorf("by ids: %+v", l.Items)
		}
	})
}

func TestWaitAnswersWhenTheTaskIsFinal(t *testing.T) {
	for _, hook := range []bool{false, true} {
		t.Run(fmt.Sprintf("hook=%v", hook), func(t *testing.T) {
			w := newWorld(t)
			id := w.submit(`{"kind":"echo"}`).ID
			worker, c := w.start(int64(id))
			got := make(chan answer, 1)
			go func() { got <- w.do("GET", "/v1/tasks/"+id.String()+"?wait=30s", "") }()
			w.finish(worker, c, task.Succeeded, func(e *task.Ending) { e.Result = []byte(`{"r":[1, 2]}`) })
			if hook {
				w.svc.Finished([]int64{int64(id)})
			}
			a := <-got
			if x := a.want(200).task(); x.State != "succeeded" || string(x.Result) != `{"r":[1, 2]}` || x.Verdict.Code != "final" || len(x.Attempts) != 1 || x.Attempts[0].Outcome != "succeeded" {
				t.Errorf("%s", a.Body)
			}
		})
	}
}

func TestWaitEndsInTime(t *testing.T) {
	w := newWorld(t)
	id := w.submit(`{"kind":"echo"}`).ID
	start := time.Now()
	if x := w.do("GET", "/v1/tasks/"+id.String()+"?wait=120ms", "").want(200).task(); x.State != "queued" {
		t.Errorf("state %s", x.State)
	}
	if d := time.Since(start); d < 120*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
	// Stopping answers at once.
	got := make(chan answer, 1)
	go func() { got <- w.do("GET", "/v1/tasks/"+id.String()+"?wait=30s", "") }()
	w.svc.StopWaiting()
	(<-got).want(200)
	w.do("GET", "/v1/tasks/"+id.String()+"?wait=30s", "").want(200)
}

func TestConditionalGet(t *testing.T) {
	w := newWorld(t)
	path := "/v1/tasks/" + w.submit(`{"kind":"echo","delayMs":60000}`).ID.String()
	tag := w.do("GET", path, "").want(200).Header().Get("ETag")
	w.do("GET", path, "", "If-None-Match", tag).want(http.StatusNotModified)
	w.do("POST", path+"/cancel", "").want(200)
	w.do("GET", path, "", "If-None-Match", tag).want(200)
}

func TestCancel(t *testing.T) {
	onBoth(t, func(w *world) {
		waiting := w.submit(`{"kind":"echo","delayMs":60000}`).ID.String()
		if x := w.do("POST", "/v1/tasks/"+waiting+"/cancel", "{}").want(200).task(); x.State != "cancelled" || x.Reason != "by_user" || x.FinishedAt == 0 {
			w.t.Errorf("a waiting task: %+v", x)
		}
		w.do("POST", "/v1/tasks/"+waiting+"/cancel", "").want(200)

		id := w.submit(`{"kind":"echo"}`).ID
		worker, c := w.start(int64(id))
		x := w.do("POST", "/v1/tasks/"+id.String()+"/cancel?wait=1ms", "").want(202).task()
		if x.State != "running" || x.CancelRequestedAt == 0 {
			w.t.Errorf("a running task: %+v", x)
		}
		if len(w.live.sent) != 1 || w.live.sent[0] != (task.Signal{Kind: "cancel", TaskID: int64(id), Epoch: 1}) {
			w.t.Errorf("signals %+v", w.live.sent)
		}
		if v := w.do("GET", "/v1/tasks/"+id.String(), "").task().Verdict; v.Code != "cancelling" {
			w.t.Errorf("verdict %+v", v)
		}
		got := make(chan answer, 1)
		go func() { got <- w.do("POST", "/v1/tasks/"+id.String()+"/cancel?wait=30s", "") }()
		w.finish(worker, c, task.Cancelled, func(e *task.Ending) { e.Reason = task.ByUser })
		a := <-got
		if x := a.want(200).task(); x.State != "cancelled" {
			w.t.Errorf("%s", a.Body)
		}
	})
}

func TestRetryAndRunNow(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.submit(`{"kind":"echo","payload":{"a":1},"retry":{"max":0},"labels":{"l":"v"},"queue":"q"}`).ID
		path := "/v1/tasks/" + id.String()
		w.do("POST", path+"/retry", "").want(409)
		w.do("POST", path+"/retry", `{"payload":2}`).want(409)
		worker, c := w.start(int64(id))
		w.do("POST", path+"/run-now", "").want(409)
		w.finish(worker, c, task.Failed, func(e *task.Ending) {
			e.Reason, e.ErrCode, e.ErrMessage, e.HTTPStatus, e.Log = task.Exhausted, "http_500", "it broke", 500, []byte("line\n")
		})
		x := w.do("GET", path, "").want(200).task()
		if x.State != "failed" || x.Reason != "exhausted" || x.Error == nil || x.Error.Code != "http_500" || x.Error.HTTPStatus != 500 || x.Verdict.Code != "final" ||
			len(x.Attempts) != 1 || x.Attempts[0].LogTail != "line\n" || x.Attempts[0].ID == 0 || x.Attempts[0].Worker != apiv1.ID(worker) {
			w.t.Errorf("failed: %+v", x)
		}
		log := w.do("GET", path+"/log", "").want(200)
		if log.Body.String() != "line\n" || !strings.HasPrefix(log.Header().Get("Content-Type"), "text/plain") {
			w.t.Errorf("log %q", log.Body)
		}
		if got := w.do("GET", path+"/log?attempt="+x.Attempts[0].ID.String(), "").want(200).Body.String(); got != "line\n" {
			w.t.Errorf("log of the attempt %q", got)
		}
		w.do("GET", path+"/log?attempt=999999999", "").want(404)
		// An edited payload makes a new task.
		a := w.do("POST", path+"/retry", `{"payload":{"a" : 2}}`, "Idempotency-Key", "k").want(201)
		n := a.task()
		if n.ID == id || n.RetryOf != id || n.Queue != "q" || n.Labels["l"] != "v" || n.Retry.Max != 0 || n.State != "queued" || string(n.Payload) != `{"a" : 2}` {
			w.t.Errorf("%s", a.Body)
		}
		if again := w.do("POST", path+"/retry", `{"payload":{"a" : 2}}`, "Idempotency-Key", "k").want(201).task(); again.ID != n.ID {
			w.t.Error("the retry was not replayed")
		}
		// The task itself is re-opened and rung.
		before := w.bells.listed(int64(id))
		if x := w.do("POST", path+"/retry", "").want(200).task(); x.ID != id || x.State != "queued" || x.Failures != 0 || len(x.Attempts) != 1 {
			w.t.Errorf("re-opened: %+v", x)
		}
		if w.bells.listed(int64(id)) != before+1 {
			w.t.Error("the re-opened task was not rung")
		}
		worker, c = w.start(int64(id))
		w.finish(worker, c, task.Succeeded, nil)
		w.do("POST", path+"/retry", "").want(409)
		w.do("POST", path+"/retry", `{"force":true}`).want(200)

		later := w.submit(`{"kind":"echo","delayMs":600000}`).ID
		if x := w.do("POST", "/v1/tasks/"+later.String()+"/run-now", "").want(200).task(); x.State != "queued" {
			w.t.Errorf("run-now: %s", x.State)
		}
		w.start(int64(later))
	})
}

func TestAbandon(t *testing.T) {
	w := newWorld(t)
	id := w.submit(`{"kind":"echo","retry":{"max":0}}`).ID
	path := "/v1/tasks/" + id.String()
	worker, c := w.start(int64(id))
	w.do("POST", path+"/abandon", "").want(409)
	if err := w.store.MarkZombie(context.Background(), worker, int64(id), c.Tasks[0].Epoch, true); err != nil {
		t.Fatal(err)
	}
	if x := w.do("GET", path, "").task(); !x.Zombie || x.Verdict.Code != "running" {
		t.Errorf("%+v", x)
	}
	if x := w.do("POST", path+"/abandon", "").want(200).task(); x.State == "running" {
		t.Errorf("abandoned: %s", x.State)
	}
	if len(w.live.sent) != 1 || w.live.sent[0].Kind != "abandon" {
		t.Errorf("signals %+v", w.live.sent)
	}
}

func TestResultsThatAreNotJSON(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]string{`{"a" : 1}`: `{"a" : 1}`, "plain text": `"plain text"`, "\xff\xfe": `{"base64":"//4="}`,
		strings.Repeat("[", 5000): `"` + strings.Repeat("[", 5000) + `"`} {
		id := w.submit(`{"kind":"echo"}`).ID
		worker, c := w.start(int64(id))
		w.finish(worker, c, task.Succeeded, func(e *task.Ending) { e.Result = []byte(body) })
		if x := w.do("GET", "/v1/tasks/"+id.String(), "").want(200).task(); string(x.Result) != want {
			t.Errorf("result %.40q is shown as %.40q", body, x.Result)
		}
	}
}

func TestQueuesAndVerdicts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	id := w.submit(`{"kind":"echo","queue":"mail"}`).ID
	verdict := func() string { return w.do("GET", "/v1/tasks/"+id.String(), "").want(200).task().Verdict.Code }
	w.do("POST", "/v1/queues/none/pause", "").want(404)
	w.do("GET", "/v1/queues/none", "").want(404)
	if q := decode[apiv1.Queue](w.do("POST", "/v1/queues/mail/pause", "").want(200)); !q.Paused || q.Name != "mail" || q.Depth.Value != 1 || q.OldestDueAt == 0 {
		t.Errorf("%+v", q)
	}
	waitFor(t, func() bool { return verdict() == "queue_paused" })
	if q := decode[apiv1.Queue](w.do("POST", "/v1/queues/mail/resume", "").want(200)); q.Paused {
		t.Errorf("%+v", q)
	}
	waitFor(t, func() bool { return verdict() == "no_worker_for_queue" })
	if _, err := w.store.NewWorker(ctx, task.WorkerInfo{Host: "a", Slots: 1, Kinds: []string{"sleep"}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return verdict() == "no_worker_for_kind" })
	if _, err := w.store.NewWorker(ctx, task.WorkerInfo{Host: "b", Slots: 1, Kinds: []string{"echo"}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return verdict() == "behind_older" })
	app := w.do("GET", "/v1/tasks/"+id.String(), "").task().App
	w.do("PATCH", "/v1/apps/"+app, `{"paused":true}`).want(200)
	waitFor(t, func() bool { return verdict() == "app_paused" })
}

// waitFor waits for what is re-read once a second.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen within 5 s")
		}
	}
}

func TestWorkers(t *testing.T) {
	w := newWorld(t)
	worker, err := w.store.NewWorker(context.Background(), task.WorkerInfo{Host: "h", PID: 7, Slots: 4, Kinds: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/v1/workers/%d", worker)
	l := decode[apiv1.List[apiv1.Worker]](w.do("GET", "/v1/workers", "").want(200))
	if len(l.Items) != 1 || l.Items[0].ID != apiv1.ID(worker) || l.Items[0].State != "alive" || l.Items[0].Slots != 4 || l.Items[0].Queues == nil {
		t.Errorf("%+v", l)
	}
	mine := w.submit(`{"kind":"echo"}`)
	row, err := w.store.State(context.Background(), 0, int64(mine.ID))
	if err != nil {
		t.Fatal(err)
	}
	w.live.list = []task.LiveEntry{{TaskID: 5, AppID: row.AppID + 100, Kind: "echo"}, {TaskID: 6, AppID: row.AppID, Kind: "echo", AttemptID: 9}}
	if x := decode[apiv1.Worker](w.do("GET", path, "").want(200)); len(x.Running) != 2 {
		t.Errorf("an admin sees %+v", x.Running)
	}
	_, reader := w.newApp("reader", "read")
	if x := decode[apiv1.Worker](w.as(reader).do("GET", path, "").want(200)); x.Running == nil || len(x.Running) != 0 {
		t.Errorf("another app sees %+v", x.Running)
	}
	w.live.gone = errors.New("connection refused")
	a := w.do("GET", path, "").want(503)
	if a.problem().Code != "live_view_unavailable" || a.Header().Get("Retry-After") == "" {
		t.Errorf("%s", a.Body)
	}
	w.do("GET", "/v1/workers", "").want(200)
	if x := decode[apiv1.Worker](w.do("POST", path+"/drain", "").want(200)); x.State != "draining" {
		t.Errorf("%+v", x)
	}
	w.do("POST", "/v1/workers/99999/drain", "").want(404)
	w.do("GET", "/v1/workers/99999", "").want(404)
}

func TestKinds(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v1/tasks", `{"kind":"my.kind"}`).refused(422, "kind", "unknown")
	w.do("PUT", "/v1/kinds/My", "").refused(422, "name", "pattern")
	if k := decode[apiv1.Kind](w.do("PUT", "/v1/kinds/my.kind", "").want(200)); k.Name != "my.kind" || k.BuiltIn {
		t.Errorf("%+v", k)
	}
	w.do("POST", "/v1/tasks", `{"kind":"my.kind"}`).want(201)
	// A kind that another process declares is known at once.
	if _, err := w.store.DeclareKinds(context.Background(), []string{"other"}); err != nil {
		t.Fatal(err)
	}
	w.do("POST", "/v1/tasks", `{"kind":"other"}`).want(201)
	l := decode[apiv1.List[apiv1.Kind]](w.do("GET", "/v1/kinds", "").want(200))
	if len(l.Items) != len(checks)+2 {
		t.Errorf("%+v", l.Items)
	}
}

func TestAppsAndKeys(t *testing.T) {
	onBoth(t, func(w *world) {
		for body, field := range map[string]string{`{}`: "name", `{"name":""}`: "name", `{"name":5}`: "name", `{"name":"x","callbackUrl":"ftp://x"}`: "callbackUrl", `{"name":"x","callbackUrl":"/x"}`: "callbackUrl",
			`{"name":"x","callbackUrl":"http://u:p@h/"}`: "callbackUrl", `{"name":"x","weight":0}`: "weight", `{"name":"x","weight":1001}`: "weight", `{"name":"x","secret":"s"}`: "secret",
			`{"name":"` + strings.Repeat("n", 101) + `"}`: "name"} {
			w.do("POST", "/v1/apps", body).refused(422, field, "")
		}
		for body, field := range map[string]string{`"id":""`: "id", `"id":"seventeen-letters"`: "id", `"id":"a b"`: "id", `"id":"a/b"`: "id", `"id":"*"`: "id", `"id":7`: "id",
			`"signingSecret":""`: "signingSecret", `"signingSecret":"short"`: "signingSecret", `"signingSecret":"with a space in it"`: "signingSecret",
			`"signingSecret":"0123456789abcdé"`: "signingSecret", `"signingSecret":"` + strings.Repeat("s", 129) + `"`: "signingSecret"} {
			w.do("POST", "/v1/apps", `{"name":"x",`+body+`}`).refused(422, field, "")
		}
		moved := decode[apiv1.App](w.do("POST", "/v1/apps", `{"name":"moved","id":"wWt1aSZj2KXMO7fE","signingSecret":"vph1291T6Q6ZK262p2z611922tKBpUj6"}`).want(201))
		if moved.ID != "wWt1aSZj2KXMO7fE" || moved.SigningSecret != "vph1291T6Q6ZK262p2z611922tKBpUj6" {
			w.t.Errorf("%+v", moved)
		}
		w.do("POST", "/v1/apps", `{"name":"again","id":"wWt1aSZj2KXMO7fE"}`).want(409)
		w.do("PATCH", "/v1/apps/"+moved.ID, `{"id":"other"}`).refused(422, "id", "")
		w.do("PATCH", "/v1/apps/"+moved.ID, `{"signingSecret":"vph1291T6Q6ZK262p2z611922tKBpUj7"}`).refused(422, "signingSecret", "")
		if raw := w.do("GET", "/v1/apps/"+moved.ID, "").want(200); strings.Contains(raw.Body.String(), "vph1291") {
			w.t.Error("a secret is shown twice")
		}
		w.do("POST", "/v1/apps", `{"name":"x"}`, "Idempotency-Key", "k").refused(422, "Idempotency-Key", "")
		app := decode[apiv1.App](w.do("POST", "/v1/apps", `{"name":"x","callbackUrl":"http://127.0.0.1/cb","weight":5}`).want(201))
		if len(app.ID) != 16 || len(app.SigningSecret) != 32 || app.Weight != 5 || app.CreatedAt == 0 {
			w.t.Errorf("%+v", app)
		}
		path := "/v1/apps/" + app.ID
		read := w.do("GET", path, "").want(200)
		if contains(read.Body.Bytes(), app.SigningSecret) || contains(read.Body.Bytes(), "signingSecret") {
			w.t.Error("the secret is shown again")
		}
		tag := read.Header().Get("ETag")
		got := decode[apiv1.App](w.do("PATCH", path, `{"name":"y"}`, "If-Match", tag).want(200))
		if got.Name != "y" || got.CallbackURL != "http://127.0.0.1/cb" || got.Weight != 5 {
			w.t.Errorf("%+v", got)
		}
		if p := w.do("PATCH", path, `{"name":"z"}`, "If-Match", tag).want(412).problem(); p.Code != "precondition_failed" {
			w.t.Errorf("%+v", p)
		}
		if got := decode[apiv1.App](w.do("PATCH", path, `{"callbackUrl":null}`).want(200)); got.CallbackURL != "" || got.Name != "y" {
			w.t.Errorf("%+v", got)
		}
		w.do("PATCH", path, `{"name":""}`).refused(422, "name", "length")
		w.do("GET", "/v1/apps/nobody", "").want(404)

		w.do("POST", path+"/keys", `{"scope":"root"}`).refused(422, "scope", "one_of")
		w.do("POST", path+"/keys", `{}`).refused(422, "scope", "one_of")
		k1 := decode[apiv1.Key](w.do("POST", path+"/keys", `{"scope":"submit","name":"one"}`).want(201))
		k2 := decode[apiv1.Key](w.do("POST", path+"/keys", `{"scope":"submit"}`).want(201))
		w.as(k1.Key).do("POST", "/v1/tasks", `{"kind":"echo"}`).want(201)
		w.as(k2.Key).do("POST", "/v1/tasks", `{"kind":"callback"}`).refused(422, "kind", "requires")
		w.do("PATCH", path, `{"callbackUrl":"https://example.com/cb"}`).want(200)
		w.as(k2.Key).do("POST", "/v1/tasks", `{"kind":"callback"}`).want(201)
		list := w.do("GET", path+"/keys", "").want(200)
		if contains(list.Body.Bytes(), k1.Key) || len(decode[apiv1.List[apiv1.Key]](list).Items) != 2 {
			w.t.Errorf("%s", list.Body)
		}
		if keys := decode[apiv1.List[apiv1.Key]](list).Items; len(keys) != 2 || keys[0].ID != k2.ID || keys[1].ID != k1.ID {
			w.t.Errorf("not newest first: %+v", keys)
		}
		w.do("DELETE", path+"/keys/"+k1.ID.String(), "").want(204)
		w.as(k1.Key).do("POST", "/v1/tasks", `{"kind":"echo"}`).want(401)
		w.as(k2.Key).do("POST", "/v1/tasks", `{"kind":"echo"}`).want(201)
		w.do("DELETE", path+"/keys/999999", "").want(404)
		w.do("DELETE", path+"/keys/x", "").want(404)
	})
}

// Lists of what has an age are newest first, page by page, and what is added meanwhile moves nothing.
func TestListsAreNewestFirst(t *testing.T) {
	onBoth(t, func(w *world) {
		var made []string
		for i := range 5 {
			made = append(made, decode[apiv1.App](w.do("POST", "/v1/apps", fmt.Sprintf(`{"name":"app %d"}`, i)).want(201)).ID)
		}
		var seen []string
		cursor := ""
		for range 4 {
			page := decode[apiv1.List[apiv1.App]](w.do("GET", "/v1/apps?limit=2&cursor="+cursor, "").want(200))
			for _, a := range page.Items {
				seen = append(seen, a.ID)
			}
			if page.NextCursor == nil {
				break
			}
			cursor = *page.NextCursor
			w.do("POST", "/v1/apps", `{"name":"later"}`).want(201)
		}
		slices.Reverse(made)
		if len(seen) < 5 || !slices.Equal(seen[:5], made) {
			w.t.Errorf("listed %v, want %v and what was there before", seen, made)
		}
		w.do("GET", "/v1/apps?cursor=%21", "").refused(422, "cursor", "format")
	})
}

func TestBootstrapKeyIsReplaced(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, bad := range []string{"", "short", strings.Repeat("k", 129), "sixteen chars \x01\x02\x03", " leading space 0000"} {
		if err := w.svc.Bootstrap(ctx, bad); err == nil {
			t.Errorf("bootstrap key %q was taken", bad)
		}
	}
	app := w.submit(`{"kind":"echo"}`).App
	if err := w.svc.Bootstrap(ctx, "another root key 2"); err != nil {
		t.Fatal(err)
	}
	w.do("GET", "/v1/tasks", "").want(401)
	if got := w.as("another root key 2").submit(`{"kind":"echo"}`).App; got != app {
		t.Errorf("app %s, was %s", got, app)
	}
}

func TestDatabaseGone(t *testing.T) {
	w := newWorld(t)
	w.do("GET", "/v1/tasks", "").want(200)
	w.store.Close()
	for _, tc := range []struct{ method, path, body string }{{"POST", "/v1/tasks", `{"kind":"echo","queue":"new"}`}, {"GET", "/v1/tasks/1", ""}, {"GET", "/v1/tasks", ""}, {"GET", "/v1/queues", ""}} {
		a := w.do(tc.method, tc.path, tc.body).want(503)
		if a.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", tc.method, tc.path)
		}
	}
	w.do("GET", "/readyz", "").want(503)
	w.do("GET", "/healthz", "").want(200)
}

// FuzzSubmit sends anything as a task: whatever comes, it is answered by 201 or a 4xx, never by a 5xx.
func FuzzSubmit(f *testing.F) {
	for _, s := range []string{`{"kind":"echo"}`, `{"kind":"echo","retry":{"delaysMs":[1]},"labels":{"a":"b"},"runAt":"2030-01-01T00:00:00Z"}`, `{"tasks":[{"kind":"echo"},5]}`, `{"kind":"\u0065cho","payload":[{"a":"\ud800"}]}`} {
		f.Add(s, false)
		f.Add(s, true)
	}
	base := newWorld(f)
	f.Fuzz(func(t *testing.T, body string, batch bool) {
		w := base.in(t)
		path := "/v1/tasks"
		if batch {
			path += "/batch"
		}
		if a := w.do("POST", path, body); a.Code >= 500 || a.Code < 200 {
			t.Errorf("%q: %d %s", body, a.Code, a.Body)
		}
	})
}

// FuzzCursor sends anything as a cursor.
func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "AWkC", "AWQCAgI", "x", "////"} {
		f.Add(s)
	}
	base := newWorld(f)
	f.Fuzz(func(t *testing.T, cursor string) {
		w := base.in(t)
		q := fmt.Sprintf("%x", cursor)
		for _, c := range []string{q, strings.Map(func(r rune) rune {
			if r > ' ' && r < 127 && !strings.ContainsRune("&#%+;?", r) {
				return r
			}
			return -1
		}, cursor)} {
			for _, state := range []string{"", "&state=queued", "&state=running", "&state=failed"} {
				if a := w.do("GET", "/v1/tasks?cursor="+c+state, ""); a.Code >= 500 {
					t.Errorf("%q: %d %s", c, a.Code, a.Body)
				}
			}
		}
	})
}

func TestShortListsHavePages(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"one", "two", "three", "four"} {
		w.do("PUT", "/v1/kinds/"+name, "").want(200)
		w.newApp(name, "read")
		w.submit(`{"kind":"echo","delayMs":3600000,"queue":"` + name + `"}`)
	}
	for path, most := range map[string]int{"/v1/kinds": 9, "/v1/apps": 5, "/v1/queues": 4, "/v1/workers": 0} {
		whole := w.do("GET", path+"?limit=1000", "").want(200)
		if !strings.HasSuffix(whole.Body.String(), `"nextCursor":null}`) {
			t.Errorf("%s: %s", path, whole.Body)
		}
		want := decode[apiv1.List[map[string]any]](whole).Items
		if len(want) != most {
			t.Fatalf("%s: %d items, want %d", path, len(want), most)
		}
		var got []map[string]any
		for query := "?limit=2"; ; {
			page := decode[apiv1.List[map[string]any]](w.do("GET", path+query, "").want(200))
			got = append(got, page.Items...)
			if len(page.Items) > 2 || len(got) > most {
				t.Fatalf("%s%s: %d items", path, query, len(page.Items))
			}
			if page.NextCursor == nil {
				break
			}
			query = "?limit=2&cursor=" + *page.NextCursor
		}
		if !reflect.DeepEqual(got, want) && len(want) > 0 {
			t.Errorf("%s: by pages %v, at once %v", path, got, want)
		}
		for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "limit=", "cursor=*"} {
			field, _, _ := strings.Cut(bad, "=")
			w.do("GET", path+"?"+bad, "").refused(422, field, "")
		}
	}
}

func TestSigningSecretIsReplaced(t *testing.T) {
	onBoth(t, func(w *world) {
		apps := decode[apiv1.List[apiv1.App]](w.do("GET", "/v1/apps", "").want(200)).Items
		path := "/v1/apps/" + apps[0].ID
		before, err := w.store.AppByKey(context.Background(), apps[0].ID)
		if err != nil {
			w.t.Fatal(err)
		}
		_, small := w.newApp("other", "manage")
		w.as(small).do("POST", path+"/secret", "").want(403)
		w.do("POST", path+"/secret", `{"secret":"mine"}`).refused(422, "secret", "unknown_field")
		w.do("POST", path+"/secret", "", "Idempotency-Key", "k").refused(422, "Idempotency-Key", "")
		w.do("POST", "/v1/apps/nobody/secret", "").want(404)
		if now, _ := w.store.AppByKey(context.Background(), apps[0].ID); !bytes.Equal(now.Secret, before.Secret) {
			w.t.Error("a refused request changed the secret")
		}
		got := decode[apiv1.App](w.do("POST", path+"/secret", "").want(200))
		if got.ID != apps[0].ID || len(got.SigningSecret) != 32 {
			w.t.Errorf("%+v", got)
		}
		if now, _ := w.store.AppByKey(context.Background(), apps[0].ID); bytes.Equal(now.Secret, before.Secret) || contains(now.Secret, got.SigningSecret) {
			w.t.Error("the secret is the old one, or is not sealed")
		}
		if read := w.do("GET", path, "").want(200); contains(read.Body.Bytes(), "signingSecret") {
			w.t.Errorf("it is shown again: %s", read.Body)
		}
	})
}

func TestManyLargeTasksAtOnce(t *testing.T) {
	w := newWorld(t)
	one := w.submit(`{"kind":"echo"}`).ID.String()
	if l := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?ids="+one+strings.Repeat(","+one, 999), "").want(200)); len(l.Items) != 1 {
		t.Errorf("one task is answered %d times", len(l.Items))
	}
	item := `{"kind":"echo","delayMs":3600000,"payload":"` + strings.Repeat("x", task.MaxPayload-2) + `"}`
	batch := `{"tasks":[` + strings.Repeat(item+",", 49) + item + `]}`
	var ids []string
	for range 3 {
		for _, it := range decode[apiv1.BatchAnswer](w.do("POST", "/v1/tasks/batch", batch).want(200)).Items {
			ids = append(ids, it.Task.ID.String())
		}
	}
	if l := decode[apiv1.TaskList](w.do("GET", "/v1/tasks?ids="+strings.Join(ids[:120], ","), "").want(200)); len(l.Items) != 120 {
		t.Errorf("%d tasks of 30 MiB", len(l.Items))
	}
	if p := w.do("GET", "/v1/tasks?ids="+strings.Join(ids, ","), "").want(413).problem(); p.Code != "answer_too_large" {
		t.Errorf("%+v", p)
	}
}

func TestExpiredAfterAnAttemptSaysSo(t *testing.T) {
	w := newWorld(t)
	id := w.submit(`{"kind":"echo","expiresAt":"2099-01-01T00:00:00Z"}`).ID
	worker, claimed := w.start(int64(id))
	w.finish(worker, claimed, task.Failed, func(e *task.Ending) { e.Reason = task.Expired })
	got := w.do("GET", "/v1/tasks/"+id.String(), "").want(200).task()
	if got.Error == nil || got.Error.Code != "expired" || !strings.Contains(got.Error.Message, "again") || !strings.Contains(got.Verdict.Text, "again") {
		t.Errorf("%+v %+v", got.Error, got.Verdict)
	}
}
