package goodjob

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Every callback verifies by the document's algorithm, over the names of the app's style, and delivers its content byte for byte.
func TestCallbacksAreSigned(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	d := NewDialect(zone)
	const secret = "vph1291T6Q6ZK262p2z611922tKBpUj6"
	nonces := map[string]bool{}
	for style, names := range map[string][2]string{"": {"app-key", "nonce-str"}, task.HeaderHyphen: {"app-key", "nonce-str"}, task.HeaderUnderscore: {"app_key", "nonce_str"}} {
		for _, content := range []string{`{"orderId":1001,"name":"张三"}`, ` "a&b=c+d%20\u0000" `, "0", `"` + strings.Repeat("张", 50_000) + `"`} {
			to := httpcall.Target{App: task.App{Key: "5347838620634821", Legacy: task.Legacy{HeaderStyle: style}}, Secret: secret}
			call, err := d.Build(to, worker.Job{TaskID: 81, Retry: 2, Payload: []byte(content)}, time.UnixMilli(1614916801_999))
			if err != nil {
				t.Fatal(err)
			}
			h := func(name string) string { return strings.Join(call.Header[name], ",") }
			if h("app-key") != to.App.Key || h("app_key") != to.App.Key || h("nonce-str") != h("nonce_str") || len(h("nonce-str")) != 10 || nonces[h("nonce-str")] ||
				h("timestamp") != "2021-03-05 12:00:01" || h("version") != "1.0" || h("task-id") != "81" || h("retry") != "2" || call.Method != "" && call.Method != http.MethodPost ||
				h("Content-Type") != "application/x-www-form-urlencoded" {
				t.Errorf("%v", call.Header)
			}
			nonces[h("nonce-str")] = true
			body, err := url.ParseQuery(string(call.Body))
			if err != nil || len(body) != 1 || body.Get("data") != content {
				t.Errorf("%v %.80s", err, call.Body)
			}
			want := md5Of(names[0] + "=" + to.App.Key + "&data=" + content + "&" + names[1] + "=" + h("nonce-str") + "&timestamp=" + h("timestamp") + "&version=1.0" + secret)
			if h("signature") != want {
				t.Errorf("style %q: signature %s, want %s", style, h("signature"), want)
			}
		}
	}
}

// The body decides, whatever the status; every failure is tried again.
func TestAnswersOfReceivers(t *testing.T) {
	for _, c := range []struct {
		a    httpcall.Answer
		want task.Result
	}{
		{httpcall.Answer{Status: 200, Body: []byte("success")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 200, Body: []byte(" SUCCESS\r\n")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 200, Body: []byte("\"success\"")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 200, Body: []byte("'Success'\n")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 202, Body: []byte("success")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 410, Body: []byte("success")}, task.Result{Outcome: task.OutcomeSucceeded}},
		{httpcall.Answer{Status: 200, Body: []byte("successful")}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer}},
		{httpcall.Answer{Status: 200, Body: []byte(`"success`)}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer}},
		{httpcall.Answer{Status: 200, Body: []byte("{\"code\":\"success\"}")}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer}},
		{httpcall.Answer{Status: 200, Body: []byte("success" + strings.Repeat(" ", 1000))}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeOtherAnswer}},
		{httpcall.Answer{Status: 200}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeEmptyAnswer}},
		{httpcall.Answer{Status: 202}, task.Result{Outcome: task.OutcomeFailed, ErrCode: codeEmptyAnswer}},
		{httpcall.Answer{Status: 410, Body: []byte("gone")}, task.Result{Outcome: task.OutcomeFailed}},
		{httpcall.Answer{Status: 503, Body: []byte("later"), RetryAfterMs: 60_000}, task.Result{Outcome: task.OutcomeFailed, RetryAfterMs: 60_000}},
		{httpcall.Answer{Code: "connection_failed", Message: "m"}, task.Result{Outcome: task.OutcomeFailed, ErrCode: "connection_failed", ErrMessage: "m"}},
		{httpcall.Answer{Code: "address_refused", Message: "m", Permanent: true}, task.Result{Outcome: task.OutcomeFailed, ErrCode: "address_refused", ErrMessage: "m"}},
		{httpcall.Answer{Status: 200, Body: []byte("success"), Code: "connection_failed", Message: "broke off"}, task.Result{Outcome: task.OutcomeFailed, HTTPStatus: 200, ErrCode: "connection_failed", ErrMessage: "broke off"}},
	} {
		got := Dialect{}.Judge(c.a)
		if got.Outcome != c.want.Outcome || got.Permanent || got.ErrCode != c.want.ErrCode || got.ErrMessage != c.want.ErrMessage || got.RetryAfterMs != c.want.RetryAfterMs || got.Body != nil {
			t.Errorf("%d %.20q: %+v, want %+v", c.a.Status, c.a.Body, got, c.want)
		}
	}
}

// FuzzSignature holds the text that is signed against a reading of it: what is signed verifies, and for one secret only.
func FuzzSignature(f *testing.F) {
	f.Add("application/json", []byte(`{"taskNo":"a6","content":{"a":[1,null,true]}}`), "abc123", "2021-03-04 11:42:36")
	f.Add("", []byte("taskNo=a6&content=%7B%7D&x[]=&y=0"), "nonce&x=1", "1614829356")
	f.Fuzz(func(t *testing.T, kind string, body []byte, nonce, at string) {
		p, err := compat.Decode(kind, body)
		if err != nil {
			return
		}
		c := credentials{appKey: "5347838620634821", nonce: nonce, time: at, version: "1.0"}
		for _, form := range readings(p) {
			s, ok := sign(p, c, "secret-a", form)
			if ok && (!verified(p, c, []string{"secret-a"}, s) || verified(p, c, []string{"secret-b"}, s)) {
				t.Fatalf("%q signed as %s", body, s)
			}
		}
	})
}
