package rest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// runBulk does the steps of an operation, as a scheduler would.
func (w *world) runBulk(id apiv1.ID) apiv1.Bulk {
	w.t.Helper()
	for range 1000 {
		step, err := w.store.StepBulk(context.Background(), int64(id), 10)
		if err != nil {
			w.t.Fatal(err)
		}
		if step.Ended {
			break
		}
	}
	return decode[apiv1.Bulk](w.do("GET", "/v1/bulk/"+id.String(), "").want(200))
}

func TestBulk(t *testing.T) {
	onBoth(t, func(w *world) {
		_, key := w.newApp("shop", "submit")
		shop := w.as(key)
		for i := range 25 {
			shop.submit(fmt.Sprintf(`{"kind":"echo","queue":"q%d","labels":{"batch":"%d"}}`, i%2, i%5))
		}
		other := w.submit(`{"kind":"echo","queue":"q0"}`)
		dry := decode[apiv1.Bulk](shop.do("POST", "/v1/bulk", `{"action":"cancel","filter":{"queue":"q0"},"dryRun":true}`).want(202))
		if dry.State != "running" || !dry.DryRun || dry.Filter.Queue != "q0" || dry.CreatedAt == 0 || dry.FinishedAt != 0 {
			t.Fatalf("%+v", dry)
		}
		if dry = shop.runBulk(dry.ID); dry.State != "done" || dry.Matched != 13 || dry.Changed != 13 || dry.FinishedAt == 0 {
			t.Fatalf("%+v", dry)
		}
		const body = `{"action":"cancel","filter":{"labels":{"batch":"3"}}}`
		first := shop.do("POST", "/v1/bulk", body, "Idempotency-Key", "k").want(202)
		again := shop.do("POST", "/v1/bulk", body, "Idempotency-Key", "k").want(202)
		op := decode[apiv1.Bulk](first)
		if decode[apiv1.Bulk](again).ID != op.ID || again.Header().Get("Idempotent-Replayed") != "true" || first.Header().Get("Idempotent-Replayed") != "" {
			t.Error("not the same operation")
		}
		if p := shop.do("POST", "/v1/bulk", strings.Replace(body, "3", "4", 1), "Idempotency-Key", "k").want(409).problem(); p.Code != "idempotency_key_reused" {
			t.Error(p.Code)
		}
		late := shop.submit(`{"kind":"echo","labels":{"batch":"3"}}`)
		if op = shop.runBulk(op.ID); op.Changed != 5 || op.Matched != 5 || op.State != "done" {
			t.Errorf("%+v", op)
		}
		if s := shop.do("GET", "/v1/tasks/"+late.ID.String(), "").task().State; s != "queued" {
			t.Errorf("a task that came later is %s", s)
		}
		if s := w.do("GET", "/v1/tasks/"+other.ID.String(), "").task().State; s != "queued" {
			t.Errorf("another app's task is %s", s)
		}
		// ETag, 404s, lists, scopes.
		got := shop.do("GET", "/v1/bulk/"+op.ID.String(), "").want(200)
		shop.do("GET", "/v1/bulk/"+op.ID.String(), "", "If-None-Match", got.Header().Get("ETag")).want(304)
		_, stranger := w.newApp("stranger", "admin")
		w.as(stranger).do("GET", "/v1/bulk/"+op.ID.String(), "").want(404)
		w.as(stranger).do("POST", "/v1/bulk/"+op.ID.String()+"/stop", "").want(404)
		shop.do("GET", "/v1/bulk/0", "").want(404)
		page := decode[apiv1.List[apiv1.Bulk]](shop.do("GET", "/v1/bulk?limit=1", "").want(200))
		if len(page.Items) != 1 || page.Items[0].ID != op.ID || page.NextCursor == nil {
			t.Fatalf("%+v", page)
		}
		page = decode[apiv1.List[apiv1.Bulk]](shop.do("GET", "/v1/bulk?limit=1&cursor="+*page.NextCursor, "").want(200))
		if len(page.Items) != 1 || page.Items[0].ID != dry.ID || page.NextCursor != nil {
			t.Fatalf("%+v", page)
		}
		if p := shop.do("POST", "/v1/bulk", `{"action":"delete","filter":{"state":"cancelled"}}`).want(403).problem(); p.Code != "scope_too_small" {
			t.Error(p.Code)
		}
		running := decode[apiv1.Bulk](shop.do("POST", "/v1/bulk", `{"action":"retry","filter":{"state":"cancelled"}}`).want(202))
		if s := decode[apiv1.Bulk](shop.do("POST", "/v1/bulk/"+running.ID.String()+"/stop", "").want(200)).State; s != "stopping" {
			t.Error(s)
		}
		if s := shop.runBulk(running.ID); s.State != "stopped" || s.Changed != 0 {
			t.Errorf("%+v", s)
		}
		for range 5 {
			shop.do("POST", "/v1/bulk", `{"action":"retry","filter":{"state":"cancelled"}}`).want(202)
		}
		if a := shop.do("POST", "/v1/bulk", `{"action":"retry","filter":{"state":"cancelled"}}`).want(429); a.problem().Code != "too_many_bulk_operations" || a.Header().Get("Retry-After") == "" {
			t.Error(a.Body)
		}
		// One entry for each operation and for its stop.
		if n := len(w.audit("action=bulk.cancel")) + len(w.audit("action=bulk.retry")) + len(w.audit("action=bulk.stop")); n != 2+6+1 {
			t.Errorf("%d entries", n)
		}
	})
}

// Bad input names its field and changes nothing.
func TestBulkRefusesBadInput(t *testing.T) {
	w := newWorld(t)
	w.submit(`{"kind":"echo"}`)
	ids := `"1"` + strings.Repeat(`,"1"`, 1000)
	for _, x := range [][3]string{
		{`{}`, "action", "required"}, {`{"action":"x","filter":{"kind":"echo"}}`, "action", "one_of"}, {`{"action":7,"filter":{"kind":"echo"}}`, "action", "type"},
		{`{"action":"cancel"}`, "filter", "required"}, {`{"action":"cancel","filter":{}}`, "filter", "required"}, {`{"action":"cancel","filter":[]}`, "filter", "type"},
		{`{"action":"cancel","filter":{"state":"done"}}`, "filter.state", "one_of"}, {`{"action":"cancel","filter":{"state":""}}`, "filter.state", ""},
		{`{"action":"cancel","filter":{"queue":"A B"}}`, "filter.queue", "pattern"}, {`{"action":"cancel","filter":{"kind":"A B"}}`, "filter.kind", "pattern"},
		{`{"action":"cancel","filter":{"labels":{"a":"b","c":"d"}}}`, "filter.labels", "max_items"}, {`{"action":"cancel","filter":{"labels":7}}`, "filter.labels", "type"},
		{`{"action":"cancel","filter":{"uniqueKey":"` + strings.Repeat("x", 256) + `"}}`, "filter.uniqueKey", "length"}, {`{"action":"cancel","filter":{"ids":[]}}`, "filter.ids", "min_items"},
		{`{"action":"cancel","filter":{"ids":["1"],"kind":"echo"}}`, "filter.ids", "alone"}, {`{"action":"cancel","filter":{"ids":[` + ids + `]}}`, "filter.ids", "max_items"},
		{`{"action":"cancel","filter":{"ids":["x"]}}`, "filter.ids[0]", "format"}, {`{"action":"cancel","filter":{"from":"yesterday"}}`, "filter.from", "format"},
		{`{"action":"cancel","filter":{"from":"2999-01-01T00:00:00Z"}}`, "filter.from", "range"}, {`{"action":"cancel","filter":{"from":"2020-01-02T00:00:00Z","to":"2020-01-01T00:00:00Z"}}`, "filter.to", "after"},
		{`{"action":"cancel","filter":{"kind":"echo"},"dryRun":"yes"}`, "dryRun", "type"}, {`{"action":"cancel","filter":{"kind":"echo","host":"x"}}`, "filter.host", ""},
		{`{"action":"cancel","filter":{"kind":"echo"},"now":true}`, "now", ""},
	} {
		w.do("POST", "/v1/bulk", x[0]).refused(422, x[1], x[2])
	}
	w.do("POST", "/v1/bulk", `{"action":"cancel","filter":{"kind":"echo"}}`, "Idempotency-Key", strings.Repeat("k", 256)).refused(422, "Idempotency-Key", "length")
	w.do("POST", "/v1/bulk?app=*", `{"action":"cancel","filter":{"kind":"echo"}}`).refused(422, "app", "")
	w.do("POST", "/v1/bulk", `[1]`).want(400)
	w.do("GET", "/v1/bulk?limit=0", "").refused(422, "limit", "range")
	w.do("GET", "/v1/bulk?cursor=x", "").want(400)
	if n := len(decode[apiv1.List[apiv1.Bulk]](w.do("GET", "/v1/bulk?app=*", "").want(200)).Items); n != 0 {
		t.Errorf("%d operations were made", n)
	}
	if n := len(w.audit("action=bulk.cancel")); n != 0 {
		t.Errorf("%d entries", n)
	}
}
