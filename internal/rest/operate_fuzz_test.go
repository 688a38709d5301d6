package rest_test

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzOperate sends anything to what people set: apps, limits, bulk operations, with any If-Match. Whatever comes, it is
// answered by 2xx or by a 4xx that has a code.
func FuzzOperate(f *testing.F) {
	base := newWorld(f)
	base.newApp("fuzzed", "submit")
	routes := []struct{ method, path string }{{"POST", "/v1/apps"}, {"PATCH", "/v1/apps/fuzzed"}, {"PUT", "/v1/queues/mail"}, {"PUT", "/v1/limit-keys/k"}, {"POST", "/v1/bulk"}, {"PATCH", "/v1/schedules/1"}}
	for i, body := range []string{`{"name":"a","weight":2,"callbackUrl":null,"limits":{"rate":{"tasks":1}}}`, `{"paused":true,"step":1,"remark":"r","signatureMode":"x"}`, `{"limits":{"concurrency":2},"paused":false}`,
		`{"limits":{"rate":{"tasks":5,"perMs":1000,"burst":9}}}`, `{"action":"cancel","filter":{"state":"queued","ids":["1"]},"dryRun":true}`, `{"id":"x","signingSecret":"s"}`, "[]", `{"\u0000":1}`} {
		f.Add(body, `W/"x", *`, byte(i))
	}
	f.Fuzz(func(t *testing.T, body, match string, to byte) {
		w := base.in(t)
		r := routes[int(to)%len(routes)]
		var headers []string
		if match != "" {
			headers = []string{"If-Match", match}
		}
		sane(t, w.do(r.method, r.path, body, headers...), r.method+" "+r.path+" "+body)
	})
}

// FuzzQueries asks with any query: whatever comes, it is answered by 200 or by a 4xx that has a code.
func FuzzQueries(f *testing.F) {
	base := newWorld(f)
	base.submit(`{"kind":"echo","labels":{"a":"b"}}`)
	paths := []string{"/v1/tasks", "/v1/stats", "/v1/bulk", "/v1/schedules", "/v1/limit-keys", "/v1/queues", "/v1/workers", "/v1/apps", "/v1/kinds"}
	for i, query := range []string{"state=queued&label=a:b&limit=3", "from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z&step=1h&by=queue", "limit=0", "cursor=a&cursor=b", "label=:&from=x", "%zz=1&;", "limit=99999999999999999999", "kind=%00"} {
		f.Add(query, byte(i))
	}
	f.Fuzz(func(t *testing.T, query string, to byte) {
		query = strings.Map(func(r rune) rune {
			if r <= ' ' || r >= 127 || r == '#' {
				return -1 // no request line can hold it
			}
			return r
		}, query)
		if strings.Contains(query, "wait=") {
			return // waits for it
		}
		path := paths[int(to)%len(paths)]
		sane(t, base.in(t).do("GET", path+"?"+query, ""), path+"?"+query)
	})
}

// sane fails the test unless the answer is a success or a refusal with a code.
func sane(t *testing.T, a answer, what string) {
	t.Helper()
	switch {
	case a.Code >= 500:
		t.Fatalf("%s: %d %s", what, a.Code, a.Body)
	case a.Code >= 300 && a.Code != http.StatusNotModified && a.problem().Code == "":
		t.Fatalf("%s: %d without a code: %s", what, a.Code, a.Body)
	}
}
