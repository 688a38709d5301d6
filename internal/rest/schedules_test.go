package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// yearly fires on 1 January, so that nothing is due while a test runs.
const yearly = `{"name":"yearly","spec":{"cron":"0 0 1 1 *"},"task":{"kind":"echo"}}`

// with is yearly with other members; a member that is "" is left out.
func with(members ...string) string {
	all := map[string]string{"name": `"yearly"`, "spec": `{"cron":"0 0 1 1 *"}`, "task": `{"kind":"echo"}`}
	for i := 0; i+1 < len(members); i += 2 {
		all[members[i]] = members[i+1]
	}
	var parts []string
	for k, v := range all {
		if v != "" {
			parts = append(parts, `"`+k+`":`+v)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// schedule makes a schedule and gives it.
func (w *world) schedule(body string) apiv1.Schedule {
	w.t.Helper()
	return decode[apiv1.Schedule](w.do("POST", "/v1/schedules", body).want(201))
}

func (w *world) slots(id apiv1.ID) []apiv1.Slot {
	w.t.Helper()
	return decode[apiv1.List[apiv1.Slot]](w.do("GET", "/v1/schedules/"+id.String()+"/slots?limit=1000", "").want(200)).Items
}

func TestScheduleDefaultsAreShown(t *testing.T) {
	onBoth(t, func(w *world) {
		a := w.do("POST", "/v1/schedules", yearly).want(201)
		var got map[string]json.RawMessage
		if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"name": `"yearly"`, "version": `1`, "description": `"At 00:00 on day 1 of the month in January, UTC"`, "spec": `{"cron":"0 0 1 1 *","dialect":"auto"}`, "zone": `"UTC"`, "dstGap": `"shift"`, "dstOverlap": `"first"`,
			"misfire": `{"policy":"once","maxAgeMs":3600000}`, "overlap": `"allow"`, "jitterMs": `0`, "startAt": `null`, "endAt": `null`,
			"maxConsecutiveFailures": `0`, "consecutiveFailures": `0`, "paused": `false`, "pausedReason": `null`, "labels": `{}`,
			"task": `{"kind":"echo","queue":"default","priority":"normal","timeoutMs":60000,"retry":{"policy":"exponential","baseMs":1000,"capMs":3600000,"jitter":0.2,"max":3},` +
				`"uniqueKey":null,"uniqueScope":null,"uniqueWindowMs":null,"uniqueOnConflict":null,"limitKey":null,"labels":{},"completionUrl":null,"payload":null}`,
		} {
			if string(got[name]) != want {
				t.Errorf("%s is %s, want %s", name, got[name], want)
			}
		}
		s := decode[apiv1.Schedule](a)
		if s.NextAt == 0 || s.CreatedAt == 0 || s.UpdatedAt != s.CreatedAt || s.App == "" || !strings.HasPrefix(a.Header().Get("ETag"), `"1-`) {
			t.Errorf("%+v %v", s, a.Header())
		}
		if again := w.do("GET", "/v1/schedules/"+s.ID.String(), "").want(200); again.Body.String() != a.Body.String() || again.Header().Get("ETag") != a.Header().Get("ETag") {
			t.Errorf("%s\nis read as\n%s", a.Body, again.Body)
		}
	})
}

func TestEveryFieldOfAScheduleIsKept(t *testing.T) {
	const payload = `{"a" :  1.0, "t":"{{slot}} {{ slotUnix }} {{schedule.name}} <&>"}`
	w := newWorld(t)
	body := `{"name":"ä full one","spec":{"cron":"0 30 2 ? * MON","dialect":"quartz"},"zone":"Europe/Berlin","dstGap":"skip","dstOverlap":"both","misfire":{"policy":"all","maxAgeMs":5},
	 "overlap":"queue","jitterMs":86400000,"startAt":"2030-01-01T00:00:00+01:00","endAt":"2040-01-01T00:00:00Z","maxConsecutiveFailures":1000,"paused":true,"labels":{"team":"a"},
	 "task":{"kind":"echo","queue":"q","priority":"high","timeoutMs":-1,"retry":{"policy":"list","delaysMs":[1,2],"max":7},"uniqueKey":"u","uniqueScope":"window","uniqueWindowMs":9,
	 "uniqueOnConflict":"keep","limitKey":"customer-7","labels":{"k":"v"},"completionUrl":"https://example.org/done","payload":` + payload + `}}`
	a := w.do("POST", "/v1/schedules", body).want(201)
	if !contains(a.Body.Bytes(), `"payload":`+payload) {
		t.Errorf("the payload was touched: %s", a.Body)
	}
	s := decode[apiv1.Schedule](a)
	p := func(s string) *string { return &s }
	want := apiv1.Schedule{ID: s.ID, App: s.App, Version: 1, Name: "ä full one", Description: s.Description, Spec: apiv1.ScheduleSpecInForce{Cron: "0 30 2 ? * MON", Dialect: "quartz"},
		Zone: "Europe/Berlin", DSTGap: "skip", DSTOverlap: "both", Misfire: apiv1.MisfireInForce{Policy: "all", MaxAgeMs: 5}, Overlap: "queue", JitterMs: 86400000,
		StartAt: 1893452400000, EndAt: 2208988800000, MaxConsecutiveFailures: 1000, Paused: true, PausedReason: p("by_user"), Labels: map[string]string{"team": "a"},
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt}
	window := int64(9)
	want.Task = apiv1.ScheduleTask{Kind: "echo", Queue: "q", Priority: "high", TimeoutMs: -1, Retry: apiv1.RetryInForce{Policy: "list", BaseMs: 1000, CapMs: 3600000, Max: 7, DelaysMs: []int64{1, 2}},
		UniqueKey: p("u"), UniqueScope: p("window"), UniqueWindowMs: &window, UniqueOnConflict: p("keep"), LimitKey: p("customer-7"), Labels: map[string]string{"k": "v"}, CompletionURL: p("https://example.org/done"), Payload: s.Task.Payload}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v\nwant\n%+v", s, want)
	}
	// What is shown, without what is the server's, makes the same schedule.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(a.Body.Bytes(), &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "app", "version", "description", "pausedReason", "nextAt", "consecutiveFailures", "createdAt", "updatedAt"} {
		w.do("PUT", "/v1/schedules/"+s.ID.String(), with(name, "null")).refused(422, name, "read_only")
		delete(members, name)
	}
	back, _ := json.Marshal(members)
	again := decode[apiv1.Schedule](w.do("PUT", "/v1/schedules/"+s.ID.String(), string(back)).want(200))
	again.Version, again.UpdatedAt = want.Version, want.UpdatedAt
	again.Task.Payload, want.Task.Payload = nil, nil
	if !reflect.DeepEqual(again, want) {
		t.Errorf("%+v\nwant\n%+v", again, want)
	}
}

func TestScheduleRulesAreNamed(t *testing.T) {
	w := newWorld(t)
	spec := func(s string) string { return with("spec", s) }
	work := func(s string) string { return with("task", s) }
	for _, c := range []struct{ body, field, rule string }{
		{with("name", ""), "name", "required"},
		{with("name", `""`), "name", "length"},
		{with("name", `"`+strings.Repeat("ä", 101)+`"`), "name", "length"},
		{with("name", `"a\u0007b"`), "name", "length"},
		{with("name", `7`), "name", "type"},
		{with("nope", `1`), "nope", "unknown_field"},
		{spec(""), "spec", "required"},
		{spec(`null`), "spec", "required"},
		{spec(`[]`), "spec", "type"},
		{spec(`{}`), "spec.cron", "required"},
		{spec(`{"cron":"* * * * *","everyMs":1000}`), "spec.cron", "conflict"},
		{spec(`{"cron":""}`), "spec.cron", "length"},
		{spec(`{"cron":"* * * * *","nope":1}`), "spec.nope", "unknown_field"},
		{spec(`{"cron":"* * * * *","dialect":"vixie"}`), "spec.dialect", "one_of"},
		{spec(`{"everyMs":1000,"dialect":"unix"}`), "spec.dialect", "requires"},
		{spec(`{"everyMs":0}`), "spec.everyMs", "range"},
		{spec(`{"everyMs":999}`), "spec.everyMs", "range"},
		{spec(`{"everyMs":315360000001}`), "spec.everyMs", "range"},
		{spec(`{"everyMs":1.5}`), "spec.everyMs", "type"},
		{spec(`{"everyMs":1000,"anchor":"1969-01-01T00:00:00Z"}`), "spec.anchor", "range"},
		{spec(`{"cron":"* * * * *","anchor":"2030-01-01T00:00:00Z"}`), "spec.anchor", "conflict"},
		{spec(`{"at":"tomorrow"}`), "spec.at", "format"},
		{spec(`{"at":"1970-01-01T00:00:00Z"}`), "spec.at", "range"},
		{spec(`{"at":"2020-01-01T00:00:00Z"}`), "spec.at", "never"},
		{spec(`{"cron":"61 * * * *"}`), "spec.cron", "range"},
		{spec(`{"cron":"* * * *"}`), "spec.cron", "fields"},
		{spec(`{"cron":"*/0 * * * *"}`), "spec.cron", "step"},
		{spec(`{"cron":"* * * * 8"}`), "spec.cron", "range"},
		{spec(`{"cron":"0 0 31 2 *"}`), "spec.cron", "never"},
		{spec(`{"cron":"0 0 0 1 1 ? 2020"}`), "spec.cron", "never"},
		{with("zone", `"Mars/Olympus"`), "zone", "unknown"},
		{with("zone", `"Local"`), "zone", "unknown"},
		{with("zone", `""`), "zone", "length"},
		{with("dstGap", `"both"`), "dstGap", "one_of"},
		{with("dstOverlap", `"skip"`), "dstOverlap", "one_of"},
		{with("misfire", `"once"`), "misfire", "type"},
		{with("misfire", `{"policy":"never"}`), "misfire.policy", "one_of"},
		{with("misfire", `{"maxAgeMs":-1}`), "misfire.maxAgeMs", "range"},
		{with("misfire", `{"age":1}`), "misfire.age", "unknown_field"},
		{with("overlap", `"wait"`), "overlap", "one_of"},
		{with("jitterMs", `-1`), "jitterMs", "range"},
		{with("jitterMs", `86400001`), "jitterMs", "range"},
		{with("startAt", `"1960-01-01T00:00:00Z"`), "startAt", "range"},
		{with("endAt", `"x"`), "endAt", "format"},
		{with("startAt", `"2040-01-01T00:00:00Z"`, "endAt", `"2040-01-01T00:00:00Z"`), "endAt", "after"},
		{with("endAt", `"2020-01-01T00:00:00Z"`), "endAt", "never"},
		{with("startAt", `"2040-01-02T00:00:00Z"`, "endAt", `"2040-12-31T00:00:00Z"`), "endAt", "never"},
		{with("maxConsecutiveFailures", `1001`), "maxConsecutiveFailures", "range"},
		{with("maxConsecutiveFailures", `-1`), "maxConsecutiveFailures", "range"},
		{with("paused", `"no"`), "paused", "type"},
		{with("labels", `{"":"x"}`), "labels.", "length"},
		{work(""), "task", "required"},
		{work(`null`), "task", "required"},
		{work(`"echo"`), "task", "type"},
		{work(`{}`), "task.kind", "required"},
		{work(`{"kind":"nobody.knows"}`), "task.kind", "unknown"},
		{work(`{"kind":"echo","retry":{"max":101}}`), "task.retry.max", "range"},
		{work(`{"kind":"echo","retry":{"nope":1}}`), "task.retry.nope", "unknown_field"},
		{work(`{"kind":"echo","nope":1}`), "task.nope", "unknown_field"},
		{work(`{"kind":"echo","queue":"A"}`), "task.queue", "pattern"},
		{work(`{"kind":"echo","runAt":"2040-01-01T00:00:00Z"}`), "task.runAt", "conflict"},
		{work(`{"kind":"echo","delayMs":0}`), "task.delayMs", "conflict"},
		{work(`{"kind":"echo","expiresAt":"2040-01-01T00:00:00Z"}`), "task.expiresAt", "conflict"},
		{work(`{"kind":"echo","uniqueKey":"u","uniqueScope":"until_due"}`), "task.uniqueScope", "conflict"},
		{work(`{"kind":"sleep","payload":{"ms":-1}}`), "task.payload.ms", "range"},
		{work(`{"kind":"http","payload":{"url":"{{slot}}"}}`), "task.payload.url", ""},
		{work(`{"kind":"callback"}`), "task.kind", "requires"},
		{work(`{"kind":"echo","payload":"{{date}}"}`), "task.payload", "template"},
		{work(`{"kind":"echo","payload":"{{slot"}`), "task.payload", "template"},
	} {
		w.do("POST", "/v1/schedules", c.body).refused(422, c.field, c.rule)
	}
	// Everything at once, and nothing that only follows from something else.
	p := w.do("POST", "/v1/schedules", `{"name":"","spec":{"cron":"61 * * * *"},"zone":"UTC","overlap":"x","task":{"kind":"http","payload":"{{nope}}","retry":{"max":-1}}}`).want(422).problem()
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	if want := "name overlap task.payload task.retry.max spec.cron"; strings.Join(fields, " ") != want {
		t.Errorf("%v, want %s", fields, want)
	}
	w.do("POST", "/v1/schedules", with("task", `{"kind":"echo","payload":"`+strings.Repeat("x", task.MaxPayload)+`"}`)).refused(413, "task.payload", "max_length")
	w.do("POST", "/v1/schedules", with("task", `{"kind":"echo","payload":"`+strings.Repeat("{{slot}}", 20_000)+`"}`)).refused(422, "task.payload", "max_length")
	w.do("POST", "/v1/schedules", `[]`).want(400)
	w.do("POST", "/v1/schedules", `{`).want(400)
	if n := len(decode[apiv1.List[apiv1.Schedule]](w.do("GET", "/v1/schedules", "").want(200)).Items); n != 0 {
		t.Errorf("%d schedules were made", n)
	}
}

func TestErrorsPointIntoTheExpression(t *testing.T) {
	w := newWorld(t)
	for expr, want := range map[string]apiv1.Place{
		"61 * * * *":     {At: 0, Length: 2},
		"* * * *":        {At: 0, Length: 7},
		"*/0 * * * *":    {At: 2, Length: 1},
		"0 9 * * 8":      {At: 8, Length: 1},
		"0 9 * * MON-XY": {At: 12, Length: 2},
		"0 ü * * *":      {At: 2, Length: 1},
	} {
		raw, _ := json.Marshal(expr)
		want.Text = expr
		p := w.do("POST", "/v1/schedules/preview", `{"spec":{"cron":`+string(raw)+`}}`).want(422).problem()
		if len(p.Errors) != 1 || p.Errors[0].Place == nil || *p.Errors[0].Place != want {
			t.Errorf("%s: %+v", expr, p.Errors)
		}
	}
}

func TestScheduleNamesAreUniqueInAnApp(t *testing.T) {
	onBoth(t, func(w *world) {
		first := w.schedule(yearly)
		p := w.do("POST", "/v1/schedules", yearly).want(409).problem()
		if p.Code != "name_taken" || p.ScheduleID != first.ID {
			t.Errorf("%+v", p)
		}
		second := w.schedule(with("name", `"other"`))
		if p := w.do("PUT", "/v1/schedules/"+second.ID.String(), yearly).want(409).problem(); p.Code != "name_taken" || p.ScheduleID != first.ID {
			t.Errorf("%+v", p)
		}
		w.do("PUT", "/v1/schedules/"+first.ID.String(), yearly).want(200)
		_, key := w.newApp("b", "manage")
		w.as(key).schedule(yearly)
		w.do("DELETE", "/v1/schedules/"+first.ID.String(), "").want(204)
		w.schedule(yearly)
	})
}

func TestNamesAreNoBlanksAndNoNumbers(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{" ", " a", "a ", "17", "0"} {
		w.do("POST", "/v1/schedules", with("name", `"`+name+`"`)).refused(422, "name", "pattern")
	}
	w.schedule(with("name", `"a 17"`))
}

func TestCreatingAScheduleIsRepeatable(t *testing.T) {
	onBoth(t, func(w *world) {
		first := w.do("POST", "/v1/schedules", yearly, "Idempotency-Key", "k").want(201)
		again := w.do("POST", "/v1/schedules", yearly, "Idempotency-Key", "k").want(201)
		if again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" || again.Body.String() != first.Body.String() {
			t.Errorf("%v %s", again.Header(), again.Body)
		}
		if p := w.do("POST", "/v1/schedules", with("name", `"x"`), "Idempotency-Key", "k").want(409).problem(); p.Code != apiv1.CodeIdempotencyKeyReused {
			t.Errorf("%+v", p)
		}
		w.do("POST", "/v1/schedules", with("name", `"x"`), "Idempotency-Key", "").refused(422, "Idempotency-Key", "length")
		w.do("POST", "/v1/tasks", `{"kind":"echo"}`, "Idempotency-Key", "k").want(409)
	})
}

func TestTriggersAndBackfillsAreRepeatable(t *testing.T) {
	testkit.Says(t, "Repeated within 24 h under the same `Idempotency-Key`, a trigger answers with the slot that it made, and a backfill makes what is missing of the first and answers with all of it.")
	onBoth(t, func(w *world) {
		s := w.schedule(with("spec", `{"cron":"@hourly"}`))
		path := "/v1/schedules/" + s.ID.String()
		first := w.do("POST", path+"/trigger", "", "Idempotency-Key", "t").want(201)
		again := w.do("POST", path+"/trigger", "", "Idempotency-Key", "t").want(201)
		if again.Body.String() != first.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" {
			t.Errorf("%s\n%s %v", first.Body, again.Body, again.Header())
		}
		if p := w.do("POST", path+"/trigger", "{}", "Idempotency-Key", "t").want(409).problem(); p.Code != apiv1.CodeIdempotencyKeyReused {
			t.Errorf("%+v", p)
		}
		w.do("POST", path+"/trigger", "", "Idempotency-Key", "").refused(422, "Idempotency-Key", "length")
		other := w.schedule(with("name", `"other"`))
		w.do("POST", "/v1/schedules/"+other.ID.String()+"/trigger", "", "Idempotency-Key", "t").want(409)

		const most = `{"from":"2026-01-01T00:00:00Z","to":"2026-02-11T00:00:00Z"}`
		made := w.do("POST", path+"/backfill", most, "Idempotency-Key", "b").want(201)
		again = w.do("POST", path+"/backfill", most, "Idempotency-Key", "b").want(201)
		if a, b := decode[apiv1.Backfill](made), decode[apiv1.Backfill](again); !reflect.DeepEqual(a, b) || len(a.Items) != 984 || again.Header().Get("Idempotent-Replayed") != "true" {
			t.Errorf("%d items of %s, again %d of %s: %v", len(a.Items), a.ID, len(b.Items), b.ID, again.Header())
		}
		w.do("POST", path+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-02-10T00:00:00Z"}`, "Idempotency-Key", "b").want(409)
		if n := len(w.slots(s.ID)); n != 985 {
			t.Errorf("%d slots", n)
		}

		// What made nothing is not remembered.
		alone := w.schedule(with("name", `"alone"`, "overlap", `"skip"`))
		path = "/v1/schedules/" + alone.ID.String()
		run := decode[apiv1.Slot](w.do("POST", path+"/trigger", "").want(201))
		w.do("POST", path+"/trigger", "", "Idempotency-Key", "a").want(409)
		w.do("POST", "/v1/tasks/"+run.TaskID.String()+"/cancel", "").want(200)
		a := w.do("POST", path+"/trigger", "", "Idempotency-Key", "a").want(201)
		if a.Header().Get("Idempotent-Replayed") != "" {
			t.Error("a refused trigger was remembered")
		}
	})
}

// Many at once under one key make one run.
func TestOneKeyAtOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.schedule(yearly)
		answers := make(chan answer, 16)
		for range cap(answers) {
			go func() { answers <- w.do("POST", "/v1/schedules/"+s.ID.String()+"/trigger", "", "Idempotency-Key", "k") }()
		}
		for range cap(answers) {
			(<-answers).want(201)
		}
		if n := len(w.slots(s.ID)); n != 1 || w.tasks() != 1 {
			t.Errorf("%d slots, %d tasks", n, w.tasks())
		}
		for range cap(answers) { // without a key each makes its own
			go func() { answers <- w.do("POST", "/v1/schedules/"+s.ID.String()+"/trigger", "") }()
		}
		for range cap(answers) {
			(<-answers).want(201)
		}
		if n := len(w.slots(s.ID)); n != 17 || w.tasks() != 17 {
			t.Errorf("%d slots, %d tasks", n, w.tasks())
		}
	})
}

func TestSchedulesBelongToAnApp(t *testing.T) {
	w := newWorld(t)
	mine := w.schedule(yearly)
	path := "/v1/schedules/" + mine.ID.String()
	app, manage := w.newApp("b", "manage")
	other := w.as(manage)
	for _, c := range []struct{ method, path, body string }{
		{"GET", path, ""}, {"PUT", path, yearly}, {"DELETE", path, ""}, {"POST", path + "/pause", ""}, {"POST", path + "/resume", ""}, {"POST", path + "/trigger", ""},
		{"POST", path + "/skip-next", ""}, {"POST", path + "/backfill", `{"from":"2020-01-01T00:00:00Z","to":"2021-01-01T00:00:00Z"}`}, {"GET", path + "/slots", ""}, {"GET", path + "/preview", ""},
	} {
		if p := other.do(c.method, c.path, c.body).want(404).problem(); p.Code != "schedule_not_found" {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
		w.do(c.method, strings.Replace(c.path, path, "/v1/schedules/x", 1), c.body).want(404)
		if c.method == "GET" {
			continue
		}
		key := decode[apiv1.Key](w.do("POST", "/v1/apps/"+mine.App+"/keys", `{"scope":"submit"}`).want(201)).Key
		w.as(key).do(c.method, c.path, c.body).want(403)
	}
	if n := len(decode[apiv1.List[apiv1.Schedule]](other.do("GET", "/v1/schedules", "").want(200)).Items); n != 0 {
		t.Errorf("another app's schedules are listed")
	}
	other.do("GET", path+"?app="+mine.App, "").want(403)
	_, read := w.newApp("c", "read")
	w.as(read).do("POST", "/v1/schedules", yearly).want(403)
	w.as(read).do("POST", "/v1/schedules/preview", `{"spec":{"cron":"@daily"}}`).want(200)
	// An admin acts on other apps.
	theirs := decode[apiv1.Schedule](w.do("POST", "/v1/schedules?app="+app, yearly).want(201))
	if theirs.App != app {
		t.Errorf("%+v", theirs)
	}
	w.do("POST", "/v1/schedules?app=*", yearly).refused(422, "app", "one_of")
	all := decode[apiv1.List[apiv1.Schedule]](w.do("GET", "/v1/schedules?app=*", "").want(200)).Items
	if len(all) != 2 || all[0].ID != theirs.ID || all[0].App != app || all[1].App != mine.App {
		t.Errorf("%+v", all)
	}
	if got := decode[apiv1.Schedule](w.do("PUT", "/v1/schedules/"+theirs.ID.String()+"?app=*", with("name", `"z"`)).want(200)); got.App != app || got.Name != "z" {
		t.Errorf("%+v", got)
	}
}

func TestListsOfSchedules(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.schedule(with("name", fmt.Sprintf(`"s%d"`, i), "paused", fmt.Sprint(i%2 == 1)))
	}
	names := func(query string) (out []string, next *string) {
		l := decode[apiv1.List[apiv1.Schedule]](w.do("GET", "/v1/schedules?"+query, "").want(200))
		for _, s := range l.Items {
			out = append(out, s.Name)
		}
		return out, l.NextCursor
	}
	page, next := names("limit=3")
	if strings.Join(page, " ") != "s4 s3 s2" || next == nil {
		t.Fatalf("%v %v", page, next)
	}
	if page, next = names("limit=3&cursor=" + *next); strings.Join(page, " ") != "s1 s0" || next != nil {
		t.Errorf("%v %v", page, next)
	}
	if page, _ = names("paused=true"); strings.Join(page, " ") != "s3 s1" {
		t.Errorf("%v", page)
	}
	if page, _ = names("paused=false&name=s2"); strings.Join(page, " ") != "s2" {
		t.Errorf("%v", page)
	}
	if page, _ = names("name=s9"); len(page) != 0 {
		t.Errorf("%v", page)
	}
	w.do("GET", "/v1/schedules?paused=maybe", "").refused(422, "paused", "type")
	w.do("GET", "/v1/schedules?limit=0", "").refused(422, "limit", "range")
	w.do("GET", "/v1/schedules?limit=x", "").refused(422, "limit", "type")
	w.do("GET", "/v1/schedules?name=", "").refused(422, "name", "length")
	w.do("GET", "/v1/schedules?nope=1", "").refused(422, "nope", "unknown_parameter")
	w.do("GET", "/v1/schedules?cursor=zzz", "").want(400)
	w.do("GET", "/v1/schedules/16/slots?outcome=x", "").refused(422, "outcome", "one_of")
	w.do("GET", "/v1/schedules/16/slots?from=x", "").refused(422, "from", "format")
	w.do("GET", "/v1/schedules/16/slots?from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z", "").refused(422, "to", "after")
}

// What was skipped stays skipped: a pause or an edit in between plans the first slot that nobody took out.
func TestSkippedSlotsStaySkipped(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.schedule(yearly)
		at := "/v1/schedules/" + s.ID.String()
		for range 2 {
			w.do("POST", at+"/skip-next", "").want(200)
		}
		third := decode[apiv1.Schedule](w.do("GET", at, "").want(200)).NextAt
		w.do("POST", at+"/pause", "").want(200)
		if got := decode[apiv1.Schedule](w.do("POST", at+"/resume", "").want(200)).NextAt; got != third {
			t.Errorf("next is %v after a pause, want %v", got, third)
		}
		if got := decode[apiv1.Schedule](w.do("PUT", at, yearly).want(200)).NextAt; got != third {
			t.Errorf("next is %v after an edit, want %v", got, third)
		}
		if got := decode[apiv1.Slot](w.do("POST", at+"/skip-next", "").want(200)).Slot; got != third {
			t.Errorf("%v was skipped, want %v", got, third)
		}
	})
}

// A slot that was written ahead and whose task has ended cannot be taken out: the one after is.
func TestSkipPassesSlotsThatBegan(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.schedule(with("spec", `{"everyMs":1000}`))
		ahead := w.slots(s.ID)
		if len(ahead) == 0 {
			t.Fatal("nothing was written ahead")
		}
		for _, slot := range ahead {
			w.do("POST", "/v1/tasks/"+slot.TaskID.String()+"/cancel", "").want(200)
		}
		got := decode[apiv1.Slot](w.do("POST", "/v1/schedules/"+s.ID.String()+"/skip-next", "").want(200))
		if got.Slot <= ahead[0].Slot || got.Outcome != "skipped" {
			t.Errorf("%+v was skipped; the last one ahead is %v", got, ahead[0].Slot)
		}
	})
}

func TestTagsOfSchedules(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/v1/schedules", yearly).want(201)
	s, tag := decode[apiv1.Schedule](a), a.Header().Get("ETag")
	path := "/v1/schedules/" + s.ID.String()
	if r := w.do("GET", path, "", "If-None-Match", tag).want(304); r.Body.Len() != 0 {
		t.Errorf("%s", r.Body)
	}
	w.do("GET", path, "", "If-None-Match", `"1-0"`).want(200)
	// Skipping a slot changes what is shown and not the version.
	w.do("POST", path+"/skip-next", "", "If-Match", tag).want(200)
	moved := w.do("GET", path, "", "If-None-Match", tag).want(200)
	if now := moved.Header().Get("ETag"); now == tag || !strings.HasPrefix(now, `"1-`) {
		t.Errorf("%s after %s", now, tag)
	}
	for _, stale := range []string{`"2"`, `"0-x"`, `1`, `""`, `W/"1"`, ``, `"-1"`} {
		for _, c := range []struct{ method, path, body string }{{"PUT", path, yearly}, {"DELETE", path, ""}, {"POST", path + "/pause", ""}, {"POST", path + "/skip-next", ""}} {
			if p := w.do(c.method, c.path, c.body, "If-Match", stale).want(412).problem(); p.Code != apiv1.CodePreconditionFailed {
				t.Errorf("%+v", p)
			}
		}
	}
	w.do("PUT", path, yearly, "If-Match", `"7", `+tag).want(200)
	w.do("PUT", path, yearly, "If-Match", tag).want(412)
	w.do("PUT", path, yearly, "If-Match", `*`).want(200)
	w.do("POST", path+"/pause", "", "If-Match", `"3"`).want(200)
	w.do("DELETE", path, "", "If-Match", `"4"`).want(204)
}

func TestPreviewHonoursEveryOption(t *testing.T) {
	w := newWorld(t)
	preview := func(body string) apiv1.Preview {
		t.Helper()
		return decode[apiv1.Preview](w.do("POST", "/v1/schedules/preview", body).want(200))
	}
	at := func(p apiv1.Preview) string {
		var out []string
		for _, f := range p.Fires {
			out = append(out, f.At.String()[:16])
		}
		return strings.Join(out, " ")
	}
	if n := len(preview(`{"spec":{"cron":"@hourly"}}`).Fires); n != 5 {
		t.Errorf("%d fires by default", n)
	}
	if p := preview(`{"spec":{"cron":"@hourly"}}`); int64(p.Fires[0].At) <= w.store.Clock().Now()-60_000 || p.Description != "Every hour, UTC" && !strings.Contains(p.Description, "UTC") {
		t.Errorf("%+v", p)
	}
	for body, want := range map[string]string{
		// Strictly after from.
		`{"spec":{"cron":"0 0 * * *"},"from":"2027-01-01T00:00:00Z","count":2}`:                                             "2027-01-02T00:00 2027-01-03T00:00",
		`{"spec":{"cron":"0 0 * * *"},"from":"2026-12-31T23:59:59.999Z","count":1}`:                                         "2027-01-01T00:00",
		`{"spec":{"cron":"0 0 1 * * ?","dialect":"quartz"},"from":"2027-01-01T00:00:00Z","count":1}`:                        "2027-01-01T01:00",
		`{"spec":{"everyMs":5400000,"anchor":"2027-01-01T00:10:00Z"},"from":"2027-01-01T00:10:00Z","count":2}`:              "2027-01-01T01:40 2027-01-01T03:10",
		`{"spec":{"at":"2027-01-01T00:10:00Z"},"from":"2026-01-01T00:10:00Z"}`:                                              "2027-01-01T00:10",
		`{"spec":{"at":"2027-01-01T00:10:00Z"},"from":"2027-01-01T00:10:00Z"}`:                                              "",
		`{"spec":{"cron":"0 0 0 1 1 ? 2020"}}`:                                                                              "",
		`{"spec":{"cron":"0 2 * * *"},"zone":"Asia/Tokyo","from":"2027-01-01T00:00:00Z","count":1}`:                         "2027-01-01T17:00",
		`{"spec":{"cron":"30 2 * * *"},"zone":"Europe/Berlin","dstGap":"skip","from":"2027-03-27T12:00:00Z","count":1}`:     "2027-03-29T00:30",
		`{"spec":{"cron":"30 2 * * *"},"zone":"Europe/Berlin","dstOverlap":"both","from":"2027-10-30T12:00:00Z","count":2}`: "2027-10-31T00:30 2027-10-31T01:30",
		`{"spec":{"cron":"0 0 * * *"},"from":"2027-01-01T00:00:00Z","startAt":"2027-02-01T00:00:00Z","count":1}`:            "2027-02-01T00:00",
		`{"spec":{"cron":"0 0 * * *"},"from":"2027-01-01T00:00:00Z","endAt":"2027-01-03T00:00:00Z"}`:                        "2027-01-02T00:00",
		`{"spec":{"cron":"0 0 * * *"},"from":"2027-01-01T00:00:00Z","endAt":"2027-01-02T00:00:00Z"}`:                        "",
		`{"spec":{"cron":"0 0 * * *"},"from":"2027-01-01T00:00:00Z","zone":null,"count":1,"jitterMs":null,"dstGap":null}`:   "2027-01-02T00:00",
	} {
		if got := at(preview(body)); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	p := preview(`{"spec":{"cron":"30 2 * * *"},"zone":"Europe/Berlin","from":"2027-03-27T12:00:00Z","count":1,"jitterMs":30000}`)
	if f := p.Fires[0]; f.Local != "2027-03-28T03:30:00+02:00" || f.DueAt != 0 || !strings.Contains(f.Note, "02:30 does not exist") || !strings.Contains(f.Note, "up to 30s later (jitter)") {
		t.Errorf("%+v", f)
	}
	if n := len(preview(`{"spec":{"everyMs":1000},"count":1000}`).Fires); n != 1000 {
		t.Errorf("%d fires", n)
	}
	for _, c := range []struct{ body, field, rule string }{
		{`{}`, "spec", "required"},
		{`{"spec":{"cron":"@daily"},"count":0}`, "count", "range"},
		{`{"spec":{"cron":"@daily"},"count":1001}`, "count", "range"},
		{`{"spec":{"cron":"@daily"},"from":"x"}`, "from", "format"},
		{`{"spec":{"cron":"@daily"},"from":"1960-01-01T00:00:00Z"}`, "from", "range"},
		{`{"spec":{"cron":"@daily"},"name":"x"}`, "name", "unknown_field"},
		{`{"spec":{"cron":"@daily"},"zone":"x"}`, "zone", "unknown"},
		{`{"spec":{"cron":"0 0 31 2 *"}}`, "spec.cron", "never"},
		{`{"spec":{"cron":"@daily"},"startAt":"2030-01-01T00:00:00Z","endAt":"2029-01-01T00:00:00Z"}`, "endAt", "after"},
	} {
		w.do("POST", "/v1/schedules/preview", c.body).refused(422, c.field, c.rule)
	}
	w.do("POST", "/v1/schedules/preview", `7`).want(400)
}

func TestSlotsOfOneSchedule(t *testing.T) {
	onBoth(t, func(w *world) {
		s := w.schedule(with("spec", `{"cron":"@daily"}`))
		path := "/v1/schedules/" + s.ID.String()
		made := decode[apiv1.Backfill](w.do("POST", path+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-08T00:00:00Z"}`).want(201))
		if len(made.Items) != 7 {
			t.Fatalf("%+v", made)
		}
		l := decode[apiv1.List[apiv1.Slot]](w.do("GET", path+"/slots?limit=5", "").want(200))
		if len(l.Items) != 5 || l.NextCursor == nil || l.Items[0].Slot.String() != "2026-01-07T00:00:00.000Z" {
			t.Fatalf("%+v", l)
		}
		rest := decode[apiv1.List[apiv1.Slot]](w.do("GET", path+"/slots?limit=5&cursor="+*l.NextCursor, "").want(200))
		if len(rest.Items) != 2 || rest.NextCursor != nil || rest.Items[1] != made.Items[0] {
			t.Errorf("%+v", rest)
		}
		some := decode[apiv1.List[apiv1.Slot]](w.do("GET", path+"/slots?from=2026-01-02T00:00:00Z&to=2026-01-04T00:00:00Z&outcome=fired", "").want(200))
		if len(some.Items) != 2 {
			t.Errorf("%+v", some)
		}
		got := w.do("GET", "/v1/tasks/"+made.Items[0].TaskID.String(), "").want(200).task()
		if got.ScheduleID != s.ID || got.Slot != made.Items[0].Slot || made.Items[0].Origin != "backfill" || made.Items[0].Backfill != made.ID {
			t.Errorf("%+v", got)
		}
	})
}

// FuzzSchedule sends anything as a schedule, a preview and a range: whatever comes, it is answered by 2xx or 4xx, never by 5xx.
func FuzzSchedule(f *testing.F) {
	w := newWorld(f)
	s := w.schedule(yearly)
	for i, body := range []string{yearly, `{"name":"a","spec":{"everyMs":1000,"anchor":null},"zone":"Europe/Berlin","misfire":{"policy":"all"},"task":{"kind":"echo","payload":"{{slot}}","retry":{"max":1}}}`,
		`{"spec":{"cron":"0 0 0 ? FEB 2#5"},"count":3,"from":"2027-01-01T00:00:00Z","jitterMs":5,"endAt":"2030-01-01T00:00:00Z"}`,
		`{"from":"2026-01-01T00:00:00Z","to":"2026-01-08T00:00:00Z"}`, `{"name":1,"spec":{"at":"x","b":[{}]},"labels":{"a":1},"task":[]}`, `{"id":"1","task":{"task":{}}}`, "{}", "[", `{"spec":{"cron":"\u0000"}}`} {
		f.Add(body, byte(i))
	}
	f.Fuzz(func(t *testing.T, body string, to byte) {
		routes := []struct{ method, path string }{{"POST", "/v1/schedules/preview"}, {"POST", "/v1/schedules"}, {"PUT", "/v1/schedules/" + s.ID.String()}, {"POST", "/v1/schedules/" + s.ID.String() + "/backfill"}}
		r := routes[int(to)%len(routes)]
		a := w.in(t).do(r.method, r.path, body)
		if a.Code >= 500 {
			t.Fatalf("%s %s: %d %s", r.method, r.path, a.Code, a.Body)
		}
		if a.Code != http.StatusOK && a.Code != http.StatusCreated && a.problem().Code == "" {
			t.Fatalf("%d without a code: %s", a.Code, a.Body)
		}
	})
}
