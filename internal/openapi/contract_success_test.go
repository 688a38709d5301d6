package openapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// TestContract holds a running standalone, and APIs on failing databases, against the document: every operation answers every success
// and every problem that it is said to answer, each valid by its schema, and nothing else is answered.
func TestContract(t *testing.T) {
	c := readContract(t, openapi.JSON())
	w, stopRedis := standalone(t, c)
	// One after the other: what a step makes, others count on.
	if !t.Run("successes", func(t *testing.T) { successes(w.in(t)) }) {
		return
	}
	t.Run("problems of every operation", func(t *testing.T) { commonProblems(w.in(t)) })
	t.Run("problems of tasks", func(t *testing.T) { taskProblems(w.in(t)) })
	t.Run("problems of schedules", func(t *testing.T) { scheduleProblems(w.in(t)) })
	t.Run("problems of apps", func(t *testing.T) { appProblems(w.in(t)) })
	t.Run("problems of bulk operations", func(t *testing.T) { bulkProblems(t, c) })
	t.Run("large bodies", func(t *testing.T) { overloaded(w.in(t)) })
	t.Run("streams", func(t *testing.T) { streamProblems(w.in(t)) })
	t.Run("without Redis", func(t *testing.T) { withoutRedis(w.in(t), stopRedis) })
	t.Run("faults", func(t *testing.T) { faults(t, c) })
	if t.Failed() {
		return // what is missing is what failed
	}
	for _, k := range c.missing() {
		t.Errorf("documented, but never seen: %s", k)
	}
}

// successes exercises every operation, and leaves in w.vars a thing for each parameter of a path.
func successes(w *world) {
	taskSuccesses(w)
	scheduleSuccesses(w)
	fleetSuccesses(w)
	appSuccesses(w)
	eventSuccesses(w)
	operateSuccesses(w)
	pageSuccesses(w)
}

// receiver answers calls of tasks; it refuses /400, and takes /n over for n seconds.
func receiver(t testing.TB) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch within := strings.Trim(r.URL.Path, "/"); within {
		case "":
		case "400":
			rw.WriteHeader(http.StatusBadRequest)
		default:
			rw.Header().Set(apiv1.HeaderCompleteWithin, within)
			rw.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// tagged reads something twice: whole, and with its tag.
func (w *world) tagged(operation, name, value string) {
	w.t.Helper()
	for range 20 { // what moves by itself may move in between
		first := w.ask(operation).with(name, value).do().want(200)
		if w.ask(operation).with(name, value).header("If-None-Match", first.Header.Get("ETag")).do().StatusCode == http.StatusNotModified {
			w.c.note(w.c.ops[operation], "304")
			return
		}
	}
	w.t.Errorf("%s never answered 304", operation)
}

func taskSuccesses(w *world) {
	calls := receiver(w.t)
	done := w.final(w.submit(`{"kind":"echo","payload":{"a":[1,2.50,"x"]},"labels":{"team":"a"},"queue":"reports","priority":"high",
		"retry":{"policy":"list","delaysMs":[10,20],"max":2}}`).ID)
	w.vars["id"] = done.ID.String()
	w.submit(`{"kind":"echo","delayMs":600000,"uniqueKey":"kept","expiresAt":"2099-01-01T00:00:00Z","timeoutMs":-1,"completionUrl":"https://example.com/done"}`)
	w.ask("submitTask").send(`{"kind":"echo","uniqueKey":"kept","uniqueOnConflict":"keep"}`).do().want(200)
	w.ask("submitTask").send(`{"kind":"sleep","payload":{"ms":0},"uniqueKey":"win","uniqueScope":"window","uniqueWindowMs":1000}`).header("Idempotency-Key", "k1").do().want(201)
	if a := w.ask("submitTask").send(`{"kind":"sleep","payload":{"ms":0},"uniqueKey":"win","uniqueScope":"window","uniqueWindowMs":1000}`).
		header("Idempotency-Key", "k1").do().want(201); a.Header.Get(apiv1.HeaderReplayed) != "true" {
		w.t.Error("a repeated submit does not say so")
	}
	batch := into[apiv1.BatchAnswer](w.ask("submitTasks").send(`{"tasks":[{"kind":"echo"},{"kind":"http","payload":{"url":"` + calls.URL + `/400"}},{"kind":"nosuchkind"}]}`).do().want(200))
	failed := batch.Items[1].Task.ID
	if got := w.final(failed); got.State != "failed" {
		w.t.Errorf("%+v", got)
	}
	w.ask("getTaskLog").id(failed).do().want(200)
	for _, q := range []string{"", "limit=2", "state=failed&queue=default&kind=http", "label=team:a&from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z",
		"uniqueKey=kept&app=*", "ids=" + done.ID.String() + ",999999"} {
		w.ask("listTasks").query(q).do().want(200)
	}
	page := into[apiv1.TaskList](w.ask("listTasks").query("limit=1").do())
	w.ask("listTasks").query("limit=1&cursor=" + page.NextCursor).do().want(200)
	w.tagged("getTask", "id", done.ID.String())

	w.ask("retryTask").send(`{"force":true}`).do().want(200)
	w.ask("retryTask").id(failed).send(`{"payload":{"url":"http://127.0.0.1:1/"}}`).do().want(201)
	w.ask("retryTask").id(failed).do().want(200)
	w.final(failed)
	w.final(done.ID)
	w.ask("resendTask").do().want(200)
	w.final(done.ID)
	w.ask("runTaskNow").id(w.submit(`{"kind":"echo","delayMs":600000}`).ID).do().want(200)
	w.ask("cancelTask").id(w.submit(`{"kind":"echo","delayMs":600000}`).ID).send(`{}`).do().want(200)

	long := w.submit(`{"kind":"sleep","payload":{"ms":600000}}`).ID
	w.until(long, in("running"))
	w.vars["running"] = long.String()
	for range 100 { // the worker knows it a moment after the database
		if w.ask("getTaskStack").id(long).do().StatusCode == 200 {
			break
		}
	}

	zombie := w.submit(`{"kind":"stubborn"}`).ID
	w.until(zombie, in("running"))
	w.ask("cancelTask").id(zombie).query("wait=10ms").do().want(202)
	w.until(zombie, func(t apiv1.Task) bool { return t.Zombie })
	w.ask("abandonTask").id(zombie).do().want(200)

	taken := w.submit(fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/60","body":{"a":1}}}`, calls.URL)).ID
	held := w.until(taken, func(t apiv1.Task) bool { return t.CompleteBy != 0 })
	w.ask("completeTask").id(taken).send(`{"epoch":1,"outcome":"failed","error":{"code":"busy","message":"later"},"permanent":true}`).do().want(200)
	w.vars["attempt"] = held.Attempts[0].ID.String()
	w.vars["call"] = taken.String()
	w.ask("getAttempt").id(taken).do().want(200)
	first := w.ask("getAttempt").id(taken).do().want(200)
	w.ask("getAttempt").id(taken).header("If-None-Match", first.Header.Get("ETag")).do().want(304)
	again := w.submit(fmt.Sprintf(`{"kind":"http","payload":{"url":"%s/60"}}`, calls.URL)).ID
	w.until(again, func(t apiv1.Task) bool { return t.CompleteBy != 0 })
	w.ask("completeTask").id(again).send(`{"epoch":1,"outcome":"succeeded","result":{"sent":true}}`).do().want(200)
}

const hourly = `{"name":%q,"spec":{"everyMs":3600000},"task":{"kind":"echo","payload":"{{slot}}"}%s}`

func (w *world) schedule(name, more string) apiv1.Schedule {
	w.t.Helper()
	return into[apiv1.Schedule](w.ask("createSchedule").send(fmt.Sprintf(hourly, name, more)).do().want(201))
}

func scheduleSuccesses(w *world) {
	s := w.schedule("hourly", `,"zone":"Europe/Berlin","dstGap":"skip","dstOverlap":"both","misfire":{"policy":"all","maxAgeMs":1000},"overlap":"allow","jitterMs":1000,
		"startAt":"2020-01-01T00:00:00Z","endAt":"2099-01-01T00:00:00Z","maxConsecutiveFailures":3,"labels":{"a":"b"}`)
	id := s.ID
	w.vars["schedule"] = id.String()
	w.ask("createSchedule").send(`{"name":"cron","spec":{"cron":"30 2 * * *","dialect":"unix"},"task":{"kind":"echo","uniqueKey":"u","uniqueScope":"window","uniqueWindowMs":5}}`).do().want(201)
	w.ask("createSchedule").send(`{"name":"once","spec":{"at":"2090-01-01T00:00:00Z"},"paused":true,"task":{"kind":"echo"}}`).do().want(201)
	for _, q := range []string{"", "paused=true", "name=hourly", "limit=1"} {
		w.ask("listSchedules").query(q).do().want(200)
	}
	w.ask("previewSchedule").send(`{"spec":{"cron":"30 2 * * *"},"zone":"Europe/Berlin","count":3,"from":"2026-03-28T00:00:00Z","jitterMs":5}`).do().want(200)
	w.tagged("getSchedule", "id", id.String())
	tag := w.ask("getSchedule").id(id).do().Header.Get("ETag")
	w.ask("replaceSchedule").id(id).header("If-Match", tag).send(fmt.Sprintf(hourly, "hourly", "")).do().want(200)
	w.ask("pauseSchedule").id(id).do().want(200)
	w.ask("resumeSchedule").id(id).do().want(200)
	w.ask("triggerSchedule").id(id).do().want(201)
	w.ask("skipNextSlot").id(id).do().want(200)
	now := time.Now().UTC()
	w.ask("backfillSchedule").id(id).send(fmt.Sprintf(`{"from":%q,"to":%q}`, now.Add(-3*time.Hour).Format(time.RFC3339), now.Add(-time.Minute).Format(time.RFC3339))).do().want(201)
	w.ask("backfillSchedule").id(id).send(`{"from":"2020-01-01T00:00:01Z","to":"2020-01-01T00:00:02Z"}`).do().want(200)
	for _, q := range []string{"", "outcome=fired", "from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z&limit=1"} {
		w.ask("listSlots").id(id).query(q).do().want(200)
	}
	w.ask("previewStoredSchedule").id(id).query("count=3&from=2030-01-01T00:00:00Z").do().want(200)

	queued := into[apiv1.Schedule](w.ask("createSchedule").send(`{"name":"queued","spec":{"everyMs":3600000},"overlap":"queue","task":{"kind":"sleep","payload":{"ms":600000}}}`).do().want(201)).ID
	w.ask("triggerSchedule").id(queued).do().want(201)
	w.ask("triggerSchedule").id(queued).do().want(202)
	w.ask("deleteSchedule").id(queued).do().want(204)
}

func fleetSuccesses(w *world) {
	for _, q := range []string{"", "limit=1"} {
		w.ask("listKinds").query(q).do().want(200)
		w.ask("listQueues").query(q).do().want(200)
		w.ask("listWorkers").query(q).do().want(200)
	}
	w.ask("listWorkers").query("all=true").do().want(200)
	w.ask("declareKind").with("name", "report.monthly").do().want(200)
	w.tagged("getQueue", "name", "reports")
	w.ask("pauseQueue").with("name", "reports").do().want(200)
	w.ask("resumeQueue").with("name", "reports").do().want(200)
	w.ask("putQueue").with("name", "limited").send(`{"limits":{"rate":{"tasks":50},"concurrency":7},"paused":true}`).do().want(200)
	w.ask("putQueue").with("name", "limited").send(`{}`).do().want(200)
	w.ask("putLimitKey").with("key", "a").send(`{"limits":{"concurrency":3}}`).do().want(200)
	w.ask("putLimitKey").with("key", "b").send(`{"limits":{"rate":{"tasks":1,"perMs":60000,"burst":2}}}`).do().want(200)
	w.tagged("getLimitKey", "key", "a")
	w.ask("pauseLimitKey").with("key", "a").do().want(200)
	w.ask("resumeLimitKey").with("key", "a").do().want(200)
	for _, q := range []string{"", "limit=1"} {
		w.ask("listLimitKeys").query(q).do().want(200)
	}
	w.ask("deleteLimitKey").with("key", "b").do().want(204)
	id := into[apiv1.List[apiv1.Worker]](w.ask("listWorkers").do()).Items[0].ID
	w.vars["worker"] = id.String()
	w.tagged("getWorker", "id", id.String())
}

func appSuccesses(w *world) {
	calls := receiver(w.t)
	a := into[apiv1.App](w.ask("createApp").send(fmt.Sprintf(`{"name":"billing","callbackUrl":%q,"weight":3,"step":10,"retryTotal":2,"remark":"r"}`, calls.URL)).do().want(201)).ID
	w.vars["app"] = a
	for _, q := range []string{"", "limit=1"} {
		w.ask("listApps").query(q).do().want(200)
	}
	w.tagged("getApp", "app", a)
	w.ask("updateApp").send(`{"weight":4,"paused":false,"signatureMode":"strict","callbackHeaderStyle":"underscore"}`).do().want(200)
	w.ask("testCallback").do().want(200)
	w.ask("rotateSecret").query("overlapMs=1000").do().want(200)
	k := into[apiv1.Key](w.ask("createKey").send(`{"name":"web","scope":"submit"}`).do().want(201))
	w.vars["key"] = k.ID.String()
	w.ask("listKeys").query("limit=1").do().want(200)
	w.ask("revokeKey").do().want(204)
}

func eventSuccesses(w *world) {
	id := w.submit(`{"kind":"http","payload":{"url":"http://127.0.0.1:1/"},"retry":{"policy":"fixed","baseMs":1,"max":1}}`).ID
	w.final(id)
	stream := string(w.ask("followTask").id(id).do().want(200).body)
	steps := regexp.MustCompile(`(?m)^id: (.+)$`).FindAllStringSubmatch(stream, -1)
	if len(steps) < 4 {
		w.t.Fatalf("only %d events: %s", len(steps), stream)
	}
	w.ask("followTask").id(id).query("lastEventId=" + steps[len(steps)-1][1]).do().want(204)
	w.ask("listenEvents").query("type=failed,succeeded&queue=default").do().want(200)
	w.ask("getTaskLog").id(id).query("follow=true&from=0").do().want(200)
	ticket := into[apiv1.Ticket](w.ask("createEventTicket").do().want(201)).Ticket
	w.ask("listenEvents").as("").query("ticket=" + ticket).do().want(200)
	ticket = into[apiv1.Ticket](w.ask("createEventTicket").send(fmt.Sprintf(`{"task":%q}`, id)).do().want(201)).Ticket
	w.ask("followTask").id(id).as("").query("ticket=" + ticket).do().want(200)
}

func pageSuccesses(w *world) {
	for _, op := range []string{"health", "ready", "metrics", "openapi", "docs"} {
		w.ask(op).as("").do().want(200)
	}
	w.tagged("openapi", "", "")
	w.tagged("docs", "", "")
}
