package client

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// FuzzAnswer reads anything as an answer: a refusal always says its status and a title or a code, and waits no longer than a day;
// a task that is read is the same when it is written and read again.
func FuzzAnswer(f *testing.F) {
	f.Add(429, "5", "Mon, 02 Jan 2006 15:04:05 GMT", "application/problem+json", []byte(`{"title":"t","status":429,"code":"rate_limited","errors":[{"field":"a","rule":"b"}]}`))
	f.Add(200, "-1", "", "application/json", []byte(`{"id":"1","state":"queued","attempts":[{"id":"3","epoch":1,"outcome":null}],"dueAt":"2030-01-02T15:04:05.000Z","labels":{"a":"b"},"payload":{"x":[1]}}`))
	f.Add(502, "Mon, 02 Jan 2006 15:04:06 GMT", "Mon, 02 Jan 2006 15:04:05 GMT", "text/html", []byte("<html>"))
	f.Add(503, "99999999999999999999", "x", "", []byte("null"))
	f.Fuzz(func(t *testing.T, status int, after, date, kind string, body []byte) {
		r := &request{method: "GET", path: "/v1/tasks/1", key: "k"}
		resp := &Response{StatusCode: status, Header: http.Header{"Retry-After": {after}, "Date": {date}, "Content-Type": {kind}}, Body: body}
		e := refusal(r, resp)
		if e.StatusCode != status || e.RetryAfter < 0 || e.RetryAfter > 24*time.Hour || e.Problem.Code == "" && e.Problem.Status != status ||
			!strings.Contains(e.Error(), r.path) {
			t.Fatalf("%+v of %d %q", e, status, body)
		}
		one, err := decode[apiv1.Task](r, resp)
		if err != nil {
			return
		}
		raw, err := json.Marshal(one)
		if err != nil {
			t.Fatalf("%q is read as %+v, which cannot be written: %v", body, one, err)
		}
		again, err := decode[apiv1.Task](r, &Response{Body: raw})
		if err != nil {
			t.Fatalf("%q is written as %s: %v", body, raw, err)
		}
		if twice, err := json.Marshal(again); err != nil || !sameText(raw, twice) {
			t.Fatalf("%q is written as %s, then as %s, %v", body, raw, twice, err)
		}
	})
}

func sameText(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// FuzzAddress reads anything as the address of the API: what is taken is a URL to which paths can be appended, without a
// password, and reading it again changes nothing.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"http://localhost:8080", "https://x.example/base/", "http://u:p@h", "http://h?x", "http://h#f", "ftp://h", "http://", "//h", "http://[::1]:80//", "http://h/%zz", "http://h/a?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := address(raw)
		if err != nil {
			return
		}
		if again, err := address(got); err != nil || again != got || strings.ContainsAny(got, "?#") || strings.HasSuffix(got, "/") || !strings.HasPrefix(got, "http") {
			t.Fatalf("%q is %q, then %q, %v", raw, got, again, err)
		}
		if _, err := http.NewRequest("GET", got+"/v1/tasks", nil); err != nil {
			t.Fatalf("%q is %q: %v", raw, got, err)
		}
	})
}
