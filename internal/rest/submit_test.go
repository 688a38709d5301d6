package rest_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func TestSubmitAnswersTheTask(t *testing.T) {
	onBoth(t, func(w *world) {
		a := w.do("POST", "/v1/tasks", `{"kind":"echo"}`).want(201)
		got := a.task()
		if got.ID == 0 || got.Kind != "echo" || got.Queue != "default" || got.Priority != "normal" || got.State != "queued" || string(got.Payload) != "null" ||
			got.TimeoutMs != 60_000 || got.CreatedAt == 0 || got.RunAt != got.CreatedAt || len(got.App) != 16 ||
			got.Retry.Policy != "exponential" || got.Retry.BaseMs != 1000 || got.Retry.CapMs != 3_600_000 || got.Retry.Jitter != 0.2 || got.Retry.Max != 3 {
			w.t.Errorf("defaults: %s", a.Body)
		}
		again := w.do("GET", "/v1/tasks/"+got.ID.String(), "").want(200).task()
		if again.Verdict == nil || again.Verdict.Code != "no_worker_for_queue" {
			w.t.Errorf("verdict %+v", again.Verdict)
		}
		again.Verdict = nil
		if string(again.AppendJSON(nil)) != a.Body.String() {
			w.t.Errorf("answered from memory:\n%s\nread:\n%s", a.Body, again.AppendJSON(nil))
		}
	})
}

func TestSubmitEveryField(t *testing.T) {
	onBoth(t, func(w *world) {
		payload := `{ "b" : 1.50,  "a":[ "\u00e9<>" , 12345678901234567890 ] }`
		at := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		a := w.do("POST", "/v1/tasks", fmt.Sprintf(`{"kind":"echo","queue":"q-1","payload":%s,"priority":"high","runAt":%q,"timeoutMs":-1,"expiresAt":%q,
			"retry":{"policy":"list","delaysMs":[1,2,3],"max":7},"uniqueKey":"k","uniqueScope":"window","uniqueWindowMs":60000,"uniqueOnConflict":"keep","labels":{"z":"1","a":"ü"}}`,
			payload, at.Format(time.RFC3339Nano), at.Add(time.Second).Format(time.RFC3339Nano))).want(201)
		got := a.task()
		if !contains(a.Body.Bytes(), `"payload":`+payload+`,`) {
			w.t.Errorf("the payload is not byte for byte: %s", a.Body)
		}
		if got.State != "scheduled" || got.Priority != "high" || got.TimeoutMs != -1 || got.RunAt.Time() != at || got.ExpiresAt.Time() != at.Add(time.Second) ||
			got.Retry.Policy != "list" || got.Retry.Jitter != 0 || got.Retry.Max != 7 || len(got.Retry.DelaysMs) != 3 || got.UniqueKey != "k" || got.Labels["a"] != "ü" {
			w.t.Errorf("%s", a.Body)
		}
		read := w.do("GET", "/v1/tasks/"+got.ID.String(), "").want(200)
		if !contains(read.Body.Bytes(), `"payload":`+payload+`,`) {
			w.t.Errorf("the stored payload is not byte for byte: %s", read.Body)
		}
		again := read.task()
		if again.Verdict.Code != "not_due" {
			w.t.Errorf("verdict %+v", again.Verdict)
		}
		again.Verdict = nil
		if string(again.AppendJSON(nil)) != a.Body.String() {
			w.t.Errorf("answered from memory:\n%s\nread:\n%s", a.Body, again.AppendJSON(nil))
		}
	})
}

func TestBadInputNamesFieldAndRuleAndStoresNothing(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 256)
	past := `"2001-01-01T00:00:00Z"`
	for _, tc := range []struct {
		body, field, rule string
	}{
		{`{}`, "kind", "required"},
		{`{"kind":null}`, "kind", "required"},
		{`{"kind":""}`, "kind", "length"},
		{`{"kind":"no-such-kind"}`, "kind", "unknown"},
		{`{"kind":"Echo"}`, "kind", "pattern"},
		{`{"kind":"` + strings.Repeat("a", 65) + `"}`, "kind", "pattern"},
		{`{"kind":1}`, "kind", "type"},
		{`{"kind":"echo","queue":"a.b"}`, "queue", "pattern"},
		{`{"kind":"echo","queue":"` + strings.Repeat("q", 41) + `"}`, "queue", "pattern"},
		{`{"kind":"echo","queue":""}`, "queue", "length"},
		{`{"kind":"echo","queue":["a"]}`, "queue", "type"},
		{`{"kind":"echo","priority":"urgent"}`, "priority", "one_of"},
		{`{"kind":"echo","priority":1}`, "priority", "type"},
		{`{"kind":"echo","delayMs":-1}`, "delayMs", "range"},
		{`{"kind":"echo","delayMs":316310400001}`, "delayMs", "range"},
		{`{"kind":"echo","delayMs":1e300}`, "delayMs", "range"},
		{`{"kind":"echo","delayMs":1.5}`, "delayMs", "type"},
		{`{"kind":"echo","delayMs":"1"}`, "delayMs", "type"},
		{`{"kind":"echo","delayMs":1,"runAt":` + past + `}`, "delayMs", "conflict"},
		{`{"kind":"echo","runAt":"tomorrow"}`, "runAt", "format"},
		{`{"kind":"echo","runAt":"2030-01-01T00:00:00"}`, "runAt", "format"},
		{`{"kind":"echo","runAt":1700000000}`, "runAt", "type"},
		{`{"kind":"echo","timeoutMs":0}`, "timeoutMs", "range"},
		{`{"kind":"echo","timeoutMs":-2}`, "timeoutMs", "range"},
		{`{"kind":"echo","timeoutMs":604800001}`, "timeoutMs", "range"},
		{`{"kind":"echo","timeoutMs":true}`, "timeoutMs", "type"},
		{`{"kind":"echo","expiresAt":` + past + `}`, "expiresAt", "after"},
		{`{"kind":"echo","expiresAt":"2030-01-01T00:00:00Z","runAt":"2030-01-01T00:00:00Z"}`, "expiresAt", "after"},
		{`{"kind":"echo","expiresAt":"x"}`, "expiresAt", "format"},
		{`{"kind":"echo","retry":3}`, "retry", "type"},
		{`{"kind":"echo","retry":{"policy":"never"}}`, "retry.policy", "one_of"},
		{`{"kind":"echo","retry":{"baseMs":0}}`, "retry.baseMs", "range"},
		{`{"kind":"echo","retry":{"baseMs":86400001}}`, "retry.baseMs", "range"},
		{`{"kind":"echo","retry":{"capMs":86400001}}`, "retry.capMs", "range"},
		{`{"kind":"echo","retry":{"baseMs":100,"capMs":99}}`, "retry.capMs", "min"},
		{`{"kind":"echo","retry":{"capMs":999}}`, "retry.capMs", "min"},
		{`{"kind":"echo","retry":{"jitter":1.01}}`, "retry.jitter", "range"},
		{`{"kind":"echo","retry":{"jitter":-0.1}}`, "retry.jitter", "range"},
		{`{"kind":"echo","retry":{"jitter":1e999}}`, "retry.jitter", "range"},
		{`{"kind":"echo","retry":{"max":-1}}`, "retry.max", "range"},
		{`{"kind":"echo","retry":{"max":101}}`, "retry.max", "range"},
		{`{"kind":"echo","retry":{"policy":"list"}}`, "retry.delaysMs", "items"},
		{`{"kind":"echo","retry":{"policy":"list","delaysMs":[]}}`, "retry.delaysMs", "items"},
		{`{"kind":"echo","retry":{"policy":"list","delaysMs":[` + strings.Repeat("1,", 100) + `1]}}`, "retry.delaysMs", "items"},
		{`{"kind":"echo","retry":{"policy":"list","delaysMs":[1,-1]}}`, "retry.delaysMs[1]", "range"},
		{`{"kind":"echo","retry":{"policy":"list","delaysMs":[1,"2"]}}`, "retry.delaysMs[1]", "type"},
		{`{"kind":"echo","retry":{"delaysMs":[1]}}`, "retry.delaysMs", "conflict"},
		{`{"kind":"echo","retry":{"maximum":1}}`, "retry.maximum", "unknown_field"},
		{`{"kind":"echo","uniqueKey":""}`, "uniqueKey", "length"},
		{`{"kind":"echo","uniqueKey":"` + long + `"}`, "uniqueKey", "length"},
		{`{"kind":"echo","uniqueKey":"` + strings.Repeat("ü", 128) + `"}`, "uniqueKey", "length"},
		{`{"kind":"echo","uniqueKey":"k","uniqueScope":"always"}`, "uniqueScope", "one_of"},
		{`{"kind":"echo","uniqueKey":"k","uniqueScope":"window"}`, "uniqueWindowMs", "required"},
		{`{"kind":"echo","uniqueKey":"k","uniqueScope":"window","uniqueWindowMs":0}`, "uniqueWindowMs", "range"},
		{`{"kind":"echo","uniqueKey":"k","uniqueWindowMs":5}`, "uniqueWindowMs", "conflict"},
		{`{"kind":"echo","uniqueKey":"k","uniqueOnConflict":"fight"}`, "uniqueOnConflict", "one_of"},
		{`{"kind":"echo","uniqueScope":"forever"}`, "uniqueScope", "requires"},
		{`{"kind":"echo","uniqueOnConflict":"keep"}`, "uniqueOnConflict", "requires"},
		{`{"kind":"echo","labels":[]}`, "labels", "type"},
		{`{"kind":"echo","labels":{"a":1}}`, "labels.a", "type"},
		{`{"kind":"echo","labels":{"":"x"}}`, "labels.", "length"},
		{`{"kind":"echo","labels":{"` + strings.Repeat("k", 64) + `":"x"}}`, "labels." + strings.Repeat("k", 64), "length"},
		{`{"kind":"echo","labels":{"a":"` + long + `"}}`, "labels.a", "max_length"},
		{`{"kind":"echo","labels":{"a":"1","a":"2"}}`, "labels.a", "duplicate"},
		{`{"kind":"echo","labels":{` + labels(17) + `}}`, "labels", "max_items"},
		{`{"kind":"echo","completionUrl":"ftp://example.com"}`, "completionUrl", "format"},
		{`{"kind":"echo","completionUrl":"http://u:p@example.com"}`, "completionUrl", "format"},
		{`{"kind":"echo","completionUrl":""}`, "completionUrl", "format"},
		{`{"kind":"echo","colour":"red"}`, "colour", "unknown_field"},
		{`{"kind":"echo","kind":"sleep"}`, "kind", "duplicate"},
		{`{"kind":"sleep","payload":{"ms":-1}}`, "payload.ms", ""},
		{`{"kind":"sleep","payload":{"ms":604800001}}`, "payload.ms", ""},
		{`{"kind":"sleep","payload":{"ms":"1"}}`, "payload.ms", ""},
		{`{"kind":"sleep","payload":{"ms":1,"s":2}}`, "payload.s", "unknown_field"},
		{`{"kind":"sleep"}`, "payload", "type"},
		{`{"kind":"http","payload":{"url":"ftp://example.com"}}`, "payload.url", ""},
		{`{"kind":"http","payload":{}}`, "payload.url", ""},
		{`{"kind":"shell","payload":{}}`, "", ""},
		{`{"kind":"callback"}`, "kind", "requires"},
	} {
		a := w.do("POST", "/v1/tasks", tc.body)
		if tc.field == "" {
			a.want(422)
			continue
		}
		t.Run(tc.field+"/"+tc.rule, func(t *testing.T) { a.t = t; a.refused(422, tc.field, tc.rule) })
	}
	if n := w.tasks(); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
	if qs := decode[apiv1.List[apiv1.Queue]](w.do("GET", "/v1/queues", "").want(200)); len(qs.Items) != 0 {
		t.Errorf("queues were made: %+v", qs.Items)
	}
}

func labels(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf(`"l%d":"v"`, i))
	}
	return strings.Join(parts, ",")
}

func TestEveryBrokenRuleIsNamedAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.do("POST", "/v1/tasks", `{"kind":"X","queue":7,"timeoutMs":0,"retry":{"max":-1,"what":1},"oops":1}`)
	for _, f := range []string{"kind", "queue", "timeoutMs", "retry.max", "retry.what", "oops"} {
		a.refused(422, f, "")
	}
}

func TestLimitsThatAreJustInside(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{
		`{"kind":"echo","queue":"` + strings.Repeat("q", 40) + `"}`,
		`{"kind":"echo","delayMs":316224000000}`,
		`{"kind":"echo","delayMs":0,"timeoutMs":604800000}`,
		`{"kind":"echo","runAt":"2001-01-01T00:00:00.123456+02:00"}`,
		`{"kind":"echo","retry":{"policy":"linear","baseMs":86400000,"max":100}}`,
		`{"kind":"echo","retry":{"policy":"fixed","baseMs":1,"capMs":1,"jitter":1,"max":0}}`,
		`{"kind":"echo","retry":{"policy":"list","delaysMs":[` + strings.Repeat("0,", 99) + `86400000]}}`,
		`{"kind":"echo","uniqueKey":"` + strings.Repeat("k", 255) + `"}`,
		`{"kind":"echo","labels":{` + labels(16) + `}}`,
		`{"kind":"echo","labels":{"` + strings.Repeat("ü", 63) + `":"` + strings.Repeat("ü", 255) + `"}}`,
		`{"kind":"echo","payload":"` + strings.Repeat("x", task.MaxPayload-2) + `"}`,
		`{"kind":"echo","queue":null,"labels":null,"retry":null,"runAt":null,"delayMs":null,"uniqueKey":null,"payload":null}`,
		`{"kind":"sleep","payload":{"ms":604800000}}`,
	} {
		w.do("POST", "/v1/tasks", body).want(201)
	}
}

func TestMalformedOversizeAndDeep(t *testing.T) {
	w := newWorld(t)
	for body, code := range map[string]string{
		"": "malformed", "{": "malformed", "nope": "malformed", `[]`: "malformed", `"x"`: "malformed", `{"kind":"echo"} x`: "malformed", "{\"kind\":\"echo\xff\"}": "malformed",
		`{"kind":"echo","payload":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`: "too_deep",
		strings.Repeat("[", 100_000):                                "too_deep",
		`{"oops":` + strings.Repeat(`{"a":`, 100_000):               "too_deep",
		`{"kind":"echo","retry":` + strings.Repeat(`[`, 100_000):    "too_deep",
		`{"kind":"echo","labels":{"a":` + strings.Repeat(`[`, 2000): "too_deep",
	} {
		if p := w.do("POST", "/v1/tasks", body).want(400).problem(); p.Code != code {
			t.Errorf("%.40q: code %s, want %s", body, p.Code, code)
		}
	}
	big := `{"kind":"echo","payload":"` + strings.Repeat("x", task.MaxPayload-1) + `"}`
	w.do("POST", "/v1/tasks", big).refused(413, "payload", "max_length")
	if p := w.do("POST", "/v1/tasks", `{"kind":"echo","payload":"`+strings.Repeat("x", 16<<20)+`"}`).want(413).problem(); p.Code != "request_too_large" {
		t.Errorf("code %s", p.Code)
	}
	if n := w.tasks(); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
}

func TestBellsCarryTheTask(t *testing.T) {
	w := newWorld(t)
	small := w.submit(`{"kind":"echo","payload":{"a": 1},"timeoutMs":5,"expiresAt":"2099-01-01T00:00:00Z"}`)
	large := w.submit(`{"kind":"echo","payload":"` + strings.Repeat("x", 5000) + `"}`)
	w.svc.Close(context.Background()) // ringing comes after the answer
	b, it, ok := w.bells.item(int64(small.ID))
	if !ok || b.Kind != task.StartBell || !b.Direct || it.TimeoutMs != 5 || it.CreatedAt != int64(small.CreatedAt) || it.ExpiresAt == 0 {
		t.Fatalf("bell %+v", b)
	}
	body, err := task.DecodeBody(it.Body)
	if err != nil || string(body.Payload) != `{"a": 1}` {
		t.Errorf("body %q %v", body.Payload, err)
	}
	if _, it, ok := w.bells.item(int64(large.ID)); !ok || it.Body != nil {
		t.Errorf("a large body must be left to be read: %v, %d bytes", ok, len(it.Body))
	}
}

func TestIdempotencyKey(t *testing.T) {
	onBoth(t, func(w *world) {
		const key = "Idempotency-Key"
		first := w.do("POST", "/v1/tasks", `{"kind":"echo","payload":1}`, key, "a").want(201)
		again := w.do("POST", "/v1/tasks", `{"kind":"echo","payload":1}`, key, "a").want(201)
		if first.task().ID != again.task().ID || again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" {
			w.t.Errorf("replay: %s %v", again.Body, again.Header())
		}
		p := w.do("POST", "/v1/tasks", `{"kind":"echo","payload":2}`, key, "a").want(409).problem()
		if p.Code != "idempotency_key_reused" {
			w.t.Errorf("code %s", p.Code)
		}
		// Another app's keys are another namespace.
		_, other := w.newApp("other", "submit")
		if w.as(other).do("POST", "/v1/tasks", `{"kind":"echo","payload":1}`, key, "a").want(201).Header().Get("Idempotent-Replayed") != "" {
			w.t.Error("another app's key was replayed")
		}
		w.do("POST", "/v1/tasks", `{"kind":"echo"}`, key, "").refused(422, key, "length")
		w.do("POST", "/v1/tasks", `{"kind":"echo"}`, key, strings.Repeat("k", 256)).refused(422, key, "length")
		w.do("POST", "/v1/tasks", `{"kind":"echo"}`, key, strings.Repeat("k", 255)).want(201)
		// Only created tasks are remembered.
		w.do("POST", "/v1/tasks", `{"kind":"echo","queue":"B"}`, key, "b").want(422)
		w.do("POST", "/v1/tasks", `{"kind":"echo","queue":"b"}`, key, "b").want(201)
		w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u"}`).want(201)
		w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u"}`, key, "c").want(409)
		w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"v"}`, key, "c").want(201)
	})
}

func TestReplayAfterTheExpiry(t *testing.T) {
	w := newWorld(t)
	at := time.Now().Add(40 * time.Millisecond).UTC()
	body := `{"kind":"echo","expiresAt":"` + at.Format(time.RFC3339Nano) + `"}`
	first := w.do("POST", "/v1/tasks", body, "Idempotency-Key", "k").want(201).task()
	for w.svc.Now() <= at.UnixMilli()+1 {
		time.Sleep(time.Millisecond)
	}
	w.do("POST", "/v1/tasks", body).refused(422, "expiresAt", "after")
	again := w.do("POST", "/v1/tasks", body, "Idempotency-Key", "k").want(201)
	if again.task().ID != first.ID || again.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("replay: %s", again.Body)
	}
	w.do("POST", "/v1/tasks", body, "Idempotency-Key", "new").refused(422, "expiresAt", "after")
}

func TestOneKeyManyCallers(t *testing.T) {
	onBoth(t, func(w *world) {
		var mu sync.Mutex
		ids, created := map[apiv1.ID]bool{}, 0
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				a := w.do("POST", "/v1/tasks", `{"kind":"echo"}`, "Idempotency-Key", "same")
				mu.Lock()
				defer mu.Unlock()
				if a.Code != 201 {
					w.t.Errorf("%d %s", a.Code, a.Body)
					return
				}
				ids[a.task().ID] = true
				if a.Header().Get("Idempotent-Replayed") == "" {
					created++
				}
			})
		}
		wg.Wait()
		if len(ids) != 1 || created != 1 || w.tasks() != 1 {
			w.t.Errorf("%d ids, %d created, %d stored", len(ids), created, w.tasks())
		}
	})
}

func TestUniqueKey(t *testing.T) {
	onBoth(t, func(w *world) {
		first := w.submit(`{"kind":"echo","uniqueKey":"u","delayMs":60000}`)
		p := w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u"}`).want(409).problem()
		if p.Code != "unique_key_taken" || p.TaskID != first.ID {
			w.t.Errorf("%+v", p)
		}
		if kept := w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u","uniqueOnConflict":"keep"}`).want(200).task(); kept.ID != first.ID {
			w.t.Errorf("kept %v, want %v", kept.ID, first.ID)
		}
		second := w.submit(`{"kind":"echo","uniqueKey":"u","uniqueOnConflict":"replace"}`)
		if old := w.do("GET", "/v1/tasks/"+first.ID.String(), "").task(); old.State != "cancelled" || old.Reason != "replaced" {
			w.t.Errorf("the replaced task is %s %s", old.State, old.Reason)
		}
		worker, c := w.start(int64(second.ID))
		w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u","uniqueOnConflict":"replace"}`).want(409)
		w.finish(worker, c, task.Succeeded, nil)
		w.submit(`{"kind":"echo","uniqueKey":"u"}`)
		// Another app has keys of its own.
		_, other := w.newApp("other", "submit")
		w.as(other).do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"u"}`).want(201)
	})
}

func TestEqualUniqueKeysAtOnce(t *testing.T) {
	onBoth(t, func(w *world) {
		var mu sync.Mutex
		codes := map[int]int{}
		var winner apiv1.ID
		var losers []apiv1.ID
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				a := w.do("POST", "/v1/tasks", `{"kind":"echo","uniqueKey":"same"}`)
				mu.Lock()
				defer mu.Unlock()
				if codes[a.Code]++; a.Code == 201 {
					winner = a.task().ID
				} else {
					losers = append(losers, a.problem().TaskID)
				}
			})
		}
		wg.Wait()
		if codes[201] != 1 || codes[409] != 39 {
			w.t.Fatalf("answers %v", codes)
		}
		for _, id := range losers {
			if id != winner {
				w.t.Errorf("a loser was told of task %v, the winner is %v", id, winner)
			}
		}
	})
}

func TestBatch(t *testing.T) {
	onBoth(t, func(w *world) {
		a := w.do("POST", "/v1/tasks/batch", `{"tasks":[{"kind":"echo","payload":{"x" :1}},{"kind":"nope"},{"kind":"echo","uniqueKey":"u"},{"kind":"echo","uniqueKey":"u"},
			{"kind":"echo","uniqueKey":"u","uniqueOnConflict":"keep"},5,{"kind":"echo","retry":{"max":-1},"what":1}]}`).want(200)
		items := decode[apiv1.BatchAnswer](a).Items
		if len(items) != 7 {
			w.t.Fatalf("%s", a.Body)
		}
		if items[0].Task == nil || items[2].Task == nil || items[4].Task == nil || items[4].Task.ID != items[2].Task.ID || !contains(a.Body.Bytes(), `{"x" :1}`) {
			w.t.Errorf("%s", a.Body)
		}
		for i, want := range map[int]string{1: "tasks[1].kind", 5: "tasks[5]", 6: "tasks[6].retry.max"} {
			e := items[i].Error
			if e == nil || e.Status != 422 {
				w.t.Errorf("item %d: %+v", i, items[i])
				continue
			}
			if i == 5 && len(e.Errors) != 1 {
				w.t.Errorf("what is no object lacks no fields: %+v", e.Errors)
			}
			found := false
			for _, f := range e.Errors {
				found = found || f.Field == want
			}
			if !found {
				w.t.Errorf("item %d does not name %s: %+v", i, want, e.Errors)
			}
		}
		if e := items[3].Error; e == nil || e.Status != 409 || e.TaskID != items[2].Task.ID {
			w.t.Errorf("item 3: %+v", items[3])
		}
		if n := w.tasks(); n != 2 {
			w.t.Errorf("%d tasks were stored, want 2", n)
		}
	})
}

func TestBatchBounds(t *testing.T) {
	w := newWorld(t)
	batch := func(n int) string {
		return `{"tasks":[` + strings.TrimSuffix(strings.Repeat(`{"kind":"echo"},`, n), ",") + `]}`
	}
	w.do("POST", "/v1/tasks/batch", batch(0)).refused(422, "tasks", "items")
	w.do("POST", "/v1/tasks/batch", batch(1001)).refused(422, "tasks", "items")
	w.do("POST", "/v1/tasks/batch", batch(50_000)).refused(422, "tasks", "items")
	w.do("POST", "/v1/tasks/batch", `{"tasks":{}}`).refused(422, "tasks", "type")
	w.do("POST", "/v1/tasks/batch", `{"task":[]}`).refused(422, "task", "unknown_field")
	w.do("POST", "/v1/tasks/batch", `[]`).want(400)
	if n := w.tasks(); n != 0 {
		t.Fatalf("%d tasks were stored", n)
	}
	items := decode[apiv1.BatchAnswer](w.do("POST", "/v1/tasks/batch", batch(1000)).want(200)).Items
	seen := map[apiv1.ID]bool{}
	for _, it := range items {
		seen[it.Task.ID] = true
	}
	if len(seen) != 1000 || w.tasks() != 1000 {
		t.Errorf("%d ids, %d stored", len(seen), w.tasks())
	}
}

func TestBatchIdempotency(t *testing.T) {
	onBoth(t, func(w *world) {
		// Several flushes: 700 tasks; and one of 200 KiB each 100 so that bytes cut it, too.
		var b bytes.Buffer
		b.WriteString(`{"tasks":[`)
		for i := range 700 {
			if i > 0 {
				b.WriteByte(',')
			}
			pad := ""
			if i%100 == 0 {
				pad = strings.Repeat("x", 200<<10)
			}
			fmt.Fprintf(&b, `{"kind":"echo","payload":"%d%s"}`, i, pad)
		}
		b.WriteString(`]}`)
		first := w.do("POST", "/v1/tasks/batch", b.String(), "Idempotency-Key", "k").want(200)
		again := w.do("POST", "/v1/tasks/batch", b.String(), "Idempotency-Key", "k").want(200)
		if again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" {
			w.t.Errorf("headers %v %v", first.Header(), again.Header())
		}
		x, y := decode[apiv1.BatchAnswer](first).Items, decode[apiv1.BatchAnswer](again).Items
		if len(x) != 700 || len(y) != 700 {
			w.t.Fatalf("%d and %d items", len(x), len(y))
		}
		for i := range x {
			if x[i].Task == nil || y[i].Task == nil || x[i].Task.ID != y[i].Task.ID || string(x[i].Task.Payload) != string(y[i].Task.Payload) {
				w.t.Fatalf("item %d: %+v, replayed %+v", i, x[i], y[i])
			}
		}
		if n := w.tasks(); n != 700 {
			w.t.Errorf("%d tasks stored", n)
		}
		w.do("POST", "/v1/tasks/batch", `{"tasks":[{"kind":"echo"}]}`, "Idempotency-Key", "k").want(409)
	})
}

// TestBatchReplayStoresWhatIsMissing plays a process that died between two flushes of one batch.
func TestBatchReplayStoresWhatIsMissing(t *testing.T) {
	onBoth(t, func(w *world) {
		body := `{"tasks":[{"kind":"echo","payload":0},{"kind":"echo","payload":1},{"kind":"echo","payload":2},{"kind":"nope"}]}`
		x := decode[apiv1.BatchAnswer](w.do("POST", "/v1/tasks/batch", body, "Idempotency-Key", "k").want(200)).Items
		gone := int64(x[1].Task.ID)
		w.do("POST", "/v1/tasks/"+x[1].Task.ID.String()+"/cancel", "").want(200)
		if _, err := w.store.Purge(context.Background(), task.PurgeRequest{FromID: gone, OthersBefore: w.svc.Now() + 10_000, Now: w.svc.Now() + 10_000, Limit: 1}); err != nil {
			w.t.Fatal(err)
		}
		w.do("GET", "/v1/tasks/"+x[1].Task.ID.String(), "").want(404)
		a := w.do("POST", "/v1/tasks/batch", body, "Idempotency-Key", "k").want(200)
		y := decode[apiv1.BatchAnswer](a).Items
		for i := range 3 {
			if y[i].Task == nil || y[i].Task.ID != x[i].Task.ID || string(y[i].Task.Payload) != fmt.Sprint(i) {
				w.t.Errorf("item %d: %+v", i, y[i])
			}
		}
		if y[3].Error == nil || w.tasks() != 3 || a.Header().Get("Idempotent-Replayed") != "true" {
			w.t.Errorf("%s", a.Body)
		}
	})
}

// TestServerKnowsEveryFieldOfTheClient fails when a field is added to the wire types and not to the decoder.
func TestServerKnowsEveryFieldOfTheClient(t *testing.T) {
	w := newWorld(t)
	for typ, prefix := range map[reflect.Type]string{reflect.TypeFor[apiv1.Submit](): "", reflect.TypeFor[apiv1.Retry](): "retry."} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			body := `{"` + name + `":[[]]}` // of no field's type
			if prefix != "" {
				body = `{"retry":` + body + `}`
			}
			a := w.do("POST", "/v1/tasks", body)
			if name == "payload" {
				a.refused(422, "kind", "required")
				continue
			}
			a.t = t
			for _, e := range a.want(422).problem().Errors {
				if e.Rule == "unknown_field" {
					t.Errorf("the server does not know %s%s", prefix, name)
				}
			}
		}
	}
}
