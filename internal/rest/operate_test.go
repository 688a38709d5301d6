package rest_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (w *world) stats(query string) apiv1.Stats {
	w.t.Helper()
	return decode[apiv1.Stats](w.do("GET", "/v1/stats?"+query, "").want(200))
}

// Figures are those of the caller's app, by what was asked for, with times of what ran; the system's are in nobody's.
func TestStats(t *testing.T) {
	onBoth(t, func(w *world) {
		app, key := w.newApp("shop", "submit")
		shop := w.as(key)
		for range 3 {
			one := shop.submit(`{"kind":"echo","queue":"mail"}`)
			worker, c := w.start(int64(one.ID))
			w.finish(worker, c, task.Succeeded, nil)
		}
		shop.submit(`{"kind":"sleep","queue":"other","payload":{"ms":5}}`)
		w.submit(`{"kind":"echo"}`)

		sum := func(s apiv1.Stats) (out string) {
			for _, it := range s.Items {
				timed := it.WaitP95Ms != nil && it.RunP95Ms != nil
				out += fmt.Sprintf("%s %d/%d %v;", it.Key, it.Submitted, it.Succeeded, timed)
			}
			return out
		}
		hour := "stepMs=3600000&from=" + url.QueryEscape(time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
		for _, x := range []struct{ key, query, want string }{
			{key, hour, " 4/3 true;"},
			{key, hour + "&by=queue", "mail 3/3 true;other 1/0 false;"},
			{key, hour + "&by=kind", "echo 3/3 true;sleep 1/0 false;"},
			{key, hour + "&by=app", app + " 4/3 true;"},
			{rootKey, hour, " 1/0 false;"},
			{rootKey, hour + "&app=" + app, " 4/3 true;"},
			{rootKey, hour + "&app=*", " 5/3 true;"},
		} {
			s := w.as(x.key).stats(x.query)
			if got := sum(s); got != x.want && strings.Count(got, ";") == strings.Count(x.want, ";") { // an hour may just have begun
				t.Errorf("%s: %s, want %s", x.query, got, x.want)
			}
			if int64(s.From)%3_600_000 != 0 || int64(s.To)%3_600_000 != 0 || s.StepMs != 3_600_000 {
				t.Errorf("not whole steps: %+v", s)
			}
		}
		if s := shop.stats(""); s.StepMs != 60_000 || s.To-s.From < 3_600_000 || s.To-s.From > 3_600_000+2*60_000 {
			t.Errorf("defaults: %d … %d by %d", s.From, s.To, s.StepMs)
		}
	})
}

func TestStatsRefusesBadInput(t *testing.T) {
	w := newWorld(t)
	for _, x := range [][3]string{
		{"from=yesterday", "from", "format"}, {"to=2020-01-01T00:00:00", "to", "format"}, {"stepMs=abc", "stepMs", "type"}, {"stepMs=1000", "stepMs", "range"},
		{"stepMs=90000", "stepMs", "range"}, {"stepMs=-60000", "stepMs", "range"}, {"stepMs=99999999999999", "stepMs", "range"}, {"by=host", "by", "one_of"}, {"by=", "by", "length"},
		{"from=2030-01-02T00:00:00Z&to=2030-01-01T00:00:00Z", "to", "after"}, {"to=9999-01-01T00:00:00Z", "to", "range"},
		{"from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z&stepMs=60000", "stepMs", "retention"}, {"from=2001-01-01T00:00:00Z&stepMs=60000", "stepMs", "max_items"},
		{"from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z&stepMs=3600000", "stepMs", "retention"}, {"queue=a", "queue", "unknown_parameter"},
	} {
		w.do("GET", "/v1/stats?"+x[0], "").refused(422, x[1], x[2])
	}
	w.as("not-a-key-of-anybody").do("GET", "/v1/stats", "").want(401)
	w.do("GET", "/v1/stats?from=2001-01-01T00:00:00Z", "").want(200)
}

func (w *world) audit(query string) []apiv1.AuditEntry {
	w.t.Helper()
	return decode[apiv1.List[apiv1.AuditEntry]](w.do("GET", "/v1/audit?"+query, "").want(200)).Items
}

// Every change leaves one entry that says who made it, from where, and what was there before and after; what changed nothing and
// what was refused leaves none, a submit neither.
func TestEveryChangeIsAudited(t *testing.T) {
	onBoth(t, func(w *world) {
		app, key := w.newApp("shop", "manage")
		shop := w.as(key)
		one := shop.submit(`{"kind":"echo","delayMs":60000}`)
		two := shop.submit(`{"kind":"echo","delayMs":60000}`)
		sch := decode[apiv1.Schedule](shop.do("POST", "/v1/schedules", `{"name":"s","spec":{"cron":"0 0 1 1 *"},"task":{"kind":"echo","payload":{"password":"hunter2"}}}`).want(201))
		before := len(w.audit("limit=1000"))
		at := func(path string) string {
			return strings.NewReplacer("{one}", one.ID.String(), "{two}", two.ID.String(), "{sch}", sch.ID.String(), "{app}", app).Replace(path)
		}
		k := decode[apiv1.Key](w.do("POST", "/v1/apps/"+app+"/keys", `{"scope":"read","name":"dash"}`).want(201))
		steps := []struct {
			w                     *world
			method, path, body    string
			action, target        string
			entryBefore, entryNow string
		}{
			{shop, "POST", "/v1/tasks/{one}/run-now", "", "task.run_now", "{one}", "null", "null"},
			{shop, "POST", "/v1/tasks/{one}/cancel", "", "task.cancel", "{one}", "null", "null"},
			{shop, "POST", "/v1/tasks/{one}/cancel", "", "", "", "", ""}, // was cancelled
			{shop, "POST", "/v1/tasks/{one}/retry", "", "task.retry", "{one}", "null", "null"},
			{shop, "POST", "/v1/tasks/{two}/retry", "", "", "", "", ""}, // refused
			{shop, "POST", "/v1/queues/default/pause", "", "queue.pause", "default", `{"paused":false}`, `{"paused":true}`},
			{shop, "POST", "/v1/queues/default/resume", "", "queue.resume", "default", `{"paused":true}`, `{"paused":false}`},
			{shop, "POST", "/v1/queues/nosuch/pause", "", "", "", "", ""},
			{shop, "PUT", "/v1/kinds/mine", "", "kind.declare", "mine", "null", "null"},
			{shop, "POST", "/v1/schedules/{sch}/pause", "", "schedule.pause", "{sch}", `"paused":false`, `"paused":true`},
			{shop, "POST", "/v1/schedules/{sch}/resume", "", "schedule.resume", "{sch}", `"paused":true`, `"paused":false`},
			{shop, "POST", "/v1/schedules/{sch}/skip-next", "", "schedule.skip_next", "{sch}", "null", `"slot":"`},
			{shop, "POST", "/v1/schedules/{sch}/trigger", "", "schedule.trigger", "{sch}", "null", `"outcome":"fired"`},
			{shop, "PUT", "/v1/schedules/{sch}", `{"name":"t","spec":{"everyMs":86400000},"task":{"kind":"echo"}}`, "schedule.replace", "{sch}", `"name":"s"`, `"name":"t"`},
			{shop, "PUT", "/v1/schedules/{sch}", `{"name":"t","spec":{"everyMs":60000},"misfire":{"policy":"skip"},"task":{"kind":"echo","priority":"low","payload":"payload-that-is-private"}}`, "schedule.replace", "{sch}",
				`"spec":{"everyMs":86400000}`, `"misfire":{"maxAgeMs":3600000,"policy":"skip"},"overlap":"allow","spec":{`},
			{shop, "DELETE", "/v1/schedules/{sch}", "", "schedule.delete", "{sch}", `"name":"t"`, "null"},
			{shop, "PATCH", "/v1/apps/{app}", `{"weight":2}`, "", "", "", ""}, // scope too small
			{w, "PATCH", "/v1/apps/{app}", `{"weight":7}`, "app.update", "{app}", `"weight":1`, `"weight":7`},
			{w, "PATCH", "/v1/apps/{app}", `{"limits":{"concurrency":3}}`, "app.update", "{app}", `"limits":{}`, `"limits":{"concurrency":3}`},
			{shop, "PUT", "/v1/queues/default", `{"limits":{"rate":{"tasks":5,"perMs":100,"burst":2}},"paused":true}`, "queue.update", "default", "null", `{"limits":{"rate":{"burst":2,"perMs":100,"tasks":5}},"paused":true}`},
			{w, "PATCH", "/v1/apps/{app}", `{"weight":0}`, "", "", "", ""},
			{w, "POST", "/v1/apps/{app}/secret?overlapMs=5", "", "app.rotate_secret", "{app}", "null", `{"overlapMs":5}`},
			{w, "DELETE", "/v1/apps/{app}/keys/" + k.ID.String(), "", "key.revoke", k.ID.String(), `"app":"` + app, "null"},
			{w, "DELETE", "/v1/apps/{app}/keys/" + k.ID.String(), "", "", "", "", ""},
		}
		count := before + 1 // the key
		for _, x := range steps {
			x.w.do(x.method, at(x.path), x.body, "X-Request-Id", "req-"+x.action)
			all := w.audit("limit=1000")
			if x.action == "" {
				if len(all) != count {
					t.Fatalf("%s %s left an entry: %+v", x.method, x.path, all[0])
				}
				continue
			}
			if count++; len(all) != count {
				t.Fatalf("%s %s: %d entries, want %d", x.method, x.path, len(all), count)
			}
			e := all[0]
			if e.Action != x.action || e.Target != at(x.target) || !strings.Contains(string(e.Before), x.entryBefore) || !strings.Contains(string(e.After), x.entryNow) ||
				e.Actor.Surface != "v1" || e.Actor.Key == 0 || e.Actor.Address == "" || e.Request != "req-"+x.action || e.At == 0 {
				t.Errorf("%s %s: %+v before %s after %s", x.method, x.path, e, e.Before, e.After)
			}
			if mine := x.w.key == key; mine != (e.Actor.App == app) || mine && e.Actor.Scope != "manage" {
				t.Errorf("%s: actor %+v", x.action, e.Actor)
			}
			if both := string(e.Before) + string(e.After); strings.Contains(both, "hunter2") || strings.Contains(both, "secret\"") {
				t.Errorf("%s shows a secret: %s", x.action, both)
			}
		}
		// No entry of any change holds a secret: neither one that was given nor one that was drawn.
		brought := decode[apiv1.App](w.do("POST", "/v1/apps", `{"name":"b","signingSecret":"brought-secret-0123456789"}`).want(201))
		drawn := decode[apiv1.App](w.do("POST", "/v1/apps/"+brought.ID+"/secret", "").want(200)).SigningSecret
		w.do("PATCH", "/v1/apps/"+brought.ID, `{"keepDeliveries":true,"remark":"r"}`).want(200)
		whole := w.do("GET", "/v1/audit?limit=1000", "").want(200).Body.String()
		for _, secret := range []string{"hunter2", "payload-that-is-private", "brought-secret", drawn, key, k.Key, rootKey} {
			if secret == "" || strings.Contains(whole, secret) {
				t.Errorf("the audit trail holds %q", secret)
			}
		}
		// Who may see what.
		for _, e := range shop.audit("limit=1000") {
			if e.App != app {
				t.Errorf("an app sees what is not its own: %+v", e)
			}
		}
		if n := len(shop.audit("target=" + one.ID.String())); n != 3 {
			t.Errorf("%d entries of a task", n)
		}
		if n := len(w.audit("action=queue.pause")); n != 1 {
			t.Errorf("%d entries of an action", n)
		}
		w.as(key).do("GET", "/v1/audit?app=other", "").want(403)
		_, reader := w.newApp("reader", "submit")
		w.as(reader).do("GET", "/v1/audit", "").want(403)
	})
}

// Pages of every filter together are the list, without a gap or a repetition, also where many entries have one time.
func TestAuditPages(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := context.Background()
		now := w.store.Clock().Now()
		for i := range 57 {
			e := &task.AuditEntry{AppID: int32(1 + i%2), Action: []string{"a.b", "c.d", "e.f"}[i%3], Target: fmt.Sprint("t", i%5), Actor: task.Actor{App: "x", Surface: "v1"}}
			if err := w.store.WriteAudit(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range []task.AuditFilter{{}, {AppID: 1}, {Action: "c.d"}, {Target: "t3"}, {AppID: 2, Action: "a.b"}, {AppID: 1, Target: "t1"}, {Action: "e.f", Target: "t0"},
			{From: now - 1000}, {To: now - 1000}, {From: now - 1000, To: now + 100_000, AppID: 1}} {
			whole := f
			whole.Limit = 1000
			all, err := w.store.AuditTrail(ctx, whole)
			if err != nil {
				t.Fatal(err)
			}
			f.Limit = 3
			var paged []task.AuditEntry
			for {
				page, err := w.store.AuditTrail(ctx, f)
				if err != nil {
					t.Fatal(err)
				}
				paged = append(paged, page.Items...)
				if f.Cursor = page.Next; f.Cursor == "" {
					break
				}
			}
			if len(paged) != len(all.Items) {
				t.Fatalf("%+v: %d in pages, %d at once", f, len(paged), len(all.Items))
			}
			for i := range paged {
				if paged[i].ID != all.Items[i].ID || i > 0 && (paged[i].At > paged[i-1].At || paged[i].At == paged[i-1].At && paged[i].ID >= paged[i-1].ID) {
					t.Fatalf("%+v: entry %d is %d after %d", f, i, paged[i].ID, all.Items[i].ID)
				}
			}
		}
		if n, err := w.store.PurgeAudit(ctx, w.store.Clock().Now()+1, 20); err != nil || n != 20 {
			t.Errorf("purged %d, %v", n, err)
		}
		for _, x := range [][3]string{{"limit=0", "limit", "range"}, {"limit=x", "limit", "type"}, {"action=DROP%20TABLE", "action", "format"}, {"target=" + strings.Repeat("x", 129), "target", "length"},
			{"from=1", "from", "format"}, {"from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z", "to", "after"}, {"action=", "action", "length"}} {
			w.do("GET", "/v1/audit?"+x[0], "").refused(422, x[1], x[2])
		}
		w.do("GET", "/v1/audit?cursor=abc", "").want(400)
	})
}

// A disabled app has no credentials and takes no tasks, on any surface; nothing of it is lost, and enabled it goes on.
func TestDisabledApp(t *testing.T) {
	onBoth(t, func(w *world) {
		app, key := w.newApp("shop", "manage")
		shop := w.as(key)
		one := shop.submit(`{"kind":"echo"}`)
		patched := decode[apiv1.App](w.do("PATCH", "/v1/apps/"+app, `{"disabled":true}`).want(200))
		if !patched.Disabled {
			t.Fatal("not disabled")
		}
		for _, x := range [][2]string{{"GET", "/v1/tasks"}, {"GET", "/v1/tasks/" + one.ID.String()}, {"POST", "/v1/tasks"}, {"GET", "/v1/apps"}} {
			if p := shop.do(x[0], x[1], `{"kind":"echo"}`).want(403).problem(); p.Code != "app_disabled" {
				t.Errorf("%v: %s", x, p.Code)
			}
		}
		if _, err := w.svc.SignerOf(context.Background(), app); task.KindOf(err) != task.NotFound {
			t.Errorf("its signature is taken: %v", err)
		}
		for _, path := range []string{"/v1/tasks?app=", "/v1/schedules?app="} {
			body := `{"kind":"echo"}`
			if strings.Contains(path, "schedules") {
				body = `{"name":"n","spec":{"everyMs":60000},"task":{"kind":"echo"}}`
			}
			if p := w.do("POST", path+app, body).want(403).problem(); p.Code != "app_disabled" {
				t.Errorf("%s: %s", path, p.Code)
			}
		}
		if n := len(decode[apiv1.TaskList](w.do("GET", "/v1/tasks?app="+app, "").want(200)).Items); n != 1 {
			t.Errorf("%d tasks, 1 was accepted", n)
		}
		w.do("PATCH", "/v1/apps/"+app, `{"disabled":false}`).want(200)
		shop.do("GET", "/v1/tasks/"+one.ID.String(), "").want(200)
		// What cannot be disabled.
		own := decode[apiv1.List[apiv1.App]](w.do("GET", "/v1/apps?limit=1000", "").want(200)).Items
		for _, a := range own {
			if a.Name == "default" {
				if p := w.do("PATCH", "/v1/apps/"+a.ID, `{"disabled":true}`).want(409).problem(); p.Code != "app_needed" {
					t.Error(p.Code)
				}
			}
		}
		w.do("POST", "/v1/apps", `{"name":"x","disabled":true}`).refused(422, "disabled", "not_allowed")
		w.do("PATCH", "/v1/apps/"+app, `{"disabled":"yes"}`).refused(422, "disabled", "type")
	})
}
