package goodjob

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (w *world) register(body string, headers map[string]string) answer {
	w.t.Helper()
	return w.send("POST", "/goodjob/application", body, headers)
}

func TestApplicationsAreMade(t *testing.T) {
	onBoth(t, func(w *world) {
		for _, c := range []struct {
			body, kind string
			want       task.Legacy
		}{
			{form("appName", "商城　shop", "linkUrl", "https://example.com/a?b=c", "step", "10", "retryTotal", "5", "remark", "订单\n第二行"), "",
				task.Legacy{Surface: Name, Step: 10, RetryTotal: 5, Remark: "订单\n第二行"}},
			{`{"appName":"x","linkUrl":"http://example.com","step":3600,"retryTotal":"10","remark":"r","callbackHeaderStyle":"underscore"}`, "application/json",
				task.Legacy{Surface: Name, Step: 3600, RetryTotal: 10, Remark: "r", HeaderStyle: "underscore"}},
			{`{"appName":12,"linkUrl":"http://example.com","step":null,"retryTotal":"","remark":"r"}`, "application/json; charset=utf-8",
				task.Legacy{Surface: Name, Step: 5, RetryTotal: 3, Remark: "r"}},
		} {
			a := w.register(c.body, map[string]string{"Content-Type": c.kind, "Authorization": "Bearer not-a-key-at-all-but-no-error"})
			w.ok(a)
			var made application
			w.decode(a.Data, &made)
			if !regexp.MustCompile(`^[1-9][0-9]{15}$`).MatchString(made.AppKey) || !regexp.MustCompile(`^[0-9A-Za-z]{32}$`).MatchString(made.SecretKey) {
				w.t.Errorf("%+v", made)
			}
			app, err := w.store.AppByKey(context.Background(), made.AppKey)
			if err != nil || app.Legacy != c.want {
				w.t.Errorf("%+v %v, want %+v", app.Legacy, err, c.want)
			}
			var shown apiv1.App
			if w.v1("GET", "/v1/apps/"+made.AppKey, "", &shown) != 200 || shown.Surface != Name || shown.Step != c.want.Step || *shown.RetryTotal != c.want.RetryTotal {
				w.t.Errorf("/v1 shows %+v", shown)
			}
		}
		made := w.newApp("plain", "http://example.com/")
		app, err := w.store.AppByKey(context.Background(), made.AppKey)
		if err != nil || !regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`).MatchString(app.Legacy.Remark) || app.Legacy.Remark > w.later(0) || app.Legacy.Remark < w.later(-60) {
			w.t.Errorf("remark by default %q, in Shanghai it is %s", app.Legacy.Remark, w.later(0))
		}
	})
}

func TestApplicationsWithWrongParameters(t *testing.T) {
	w := onSQLite(t)
	long := strings.Repeat("字", 101)
	for _, c := range []struct{ field, value, text string }{
		{"appName", "", nameApp + " " + ruleRequired},
		{"appName", "  ", nameApp + " " + ruleRequired},
		{"appName", long, nameApp + " 不能超过 100 个字符"},
		{"appName", "a\x00b", nameApp + " " + ruleString},
		{"appName", "a\xffb", nameApp + " " + ruleString},
		{"appName", "a\nb", nameApp + " " + ruleURL},
		{"step", "x", nameStep + " " + ruleNumeric},
		{"step", "0x10", nameStep + " " + ruleNumeric},
		{"step", "NaN", nameStep + " " + ruleNumeric},
		{"step", "1.5", nameStep + " " + ruleInteger},
		{"step", "0", nameStep + " 必须在 1 到 3600 之间"},
		{"step", "-5", nameStep + " 必须在 1 到 3600 之间"},
		{"step", "3601", nameStep + " 必须在 1 到 3600 之间"},
		{"step", "99999999999999999999999", nameStep + " 必须在 1 到 3600 之间"},
		{"retryTotal", "many", nameRetry + " " + ruleNumeric},
		{"retryTotal", "0", nameRetry + " 必须在 1 到 10 之间"},
		{"retryTotal", "11", nameRetry + " 必须在 1 到 10 之间"},
		{"linkUrl", "", nameURL + " " + ruleRequired},
		{"linkUrl", "example.com", nameURL + " " + ruleURL},
		{"linkUrl", "ftp://example.com/", nameURL + " " + ruleURL},
		{"linkUrl", "javascript:alert(1)", nameURL + " " + ruleURL},
		{"linkUrl", "http://", nameURL + " " + ruleURL},
		{"linkUrl", "http://example.com:65536/", nameURL + " " + ruleURL},
		{"linkUrl", "http://example.com:0/", nameURL + " " + ruleURL},
		{"linkUrl", "http://example.com/" + strings.Repeat("a", 200), nameURL + " 不能超过 200 个字符"},
		{"remark", strings.Repeat("字", 256), nameRemark + " 不能超过 255 个字符"},
		{"callbackHeaderStyle", "camel", nameStyle + " " + ruleURL},
	} {
		given := map[string]string{"appName": "shop", "linkUrl": "http://example.com/", "step": "5", "retryTotal": "3", "remark": "r"}
		given[c.field] = c.value
		var pairs []string
		for k, v := range given {
			pairs = append(pairs, k, v)
		}
		w.refused(w.register(form(pairs...), formHeader()), c.text)
	}
	json := map[string]string{"Content-Type": "application/json"}
	w.refused(w.register("", formHeader()), nameApp+" "+ruleRequired)
	w.refused(w.register(`{"appName":`, json), textUnreadable)
	w.refused(w.register(`{"appName":{"a":1},"linkUrl":"http://example.com"}`, json), nameApp+" "+ruleString)
	w.refused(w.register(`{"appName":"a","step":[1],"linkUrl":"http://example.com"}`, json), nameStep+" "+ruleNumeric)
	w.refused(w.send("POST", "/goodjob/application?"+form("appName", "a", "linkUrl", "http://example.com"), "", formHeader()), nameApp+" "+ruleRequired)
	apps, err := w.store.Apps(context.Background())
	if err != nil || len(apps) != 2 { // default and the world's
		t.Errorf("%d apps, %v", len(apps), err)
	}
}

// Where others than this machine can reach the listener, only an administrator makes apps.
func TestApplicationsNeedAnAdministrator(t *testing.T) {
	w := newWorld(t, sqldbtest.New(t, "sqlite"), false)
	var other struct{ Key string }
	if w.v1("POST", "/v1/apps", `{"name":"o"}`, nil) != 201 {
		t.Fatal("no app")
	}
	apps, _ := w.store.Apps(context.Background())
	if w.v1("POST", "/v1/apps/"+apps[1].Key+"/keys", `{"scope":"manage"}`, &other) != 201 {
		t.Fatal("no key")
	}
	body := form("appName", "a", "linkUrl", "http://example.com/")
	for _, authorization := range []string{"", "Bearer wrong-but-long-enough", "Bearer " + other.Key, "Basic " + rootKey} {
		h := formHeader()
		h["Authorization"] = authorization
		h["X-Forwarded-For"], h["X-Real-Ip"] = "127.0.0.1", "127.0.0.1"
		w.refused(w.register(body, h), textNeedsAdmin)
	}
	h := formHeader()
	h["Authorization"] = "Bearer " + rootKey
	w.ok(w.register(body, h))
}

// Who changes an app's settings in /v1 changes its next tasks; its secret is the one that it signs with from then on.
func TestSettingsOfAnApplicationChange(t *testing.T) {
	w := onSQLite(t)
	path := "/v1/apps/" + w.app.AppKey
	if w.v1("PATCH", path, `{"step":7,"retryTotal":0,"callbackHeaderStyle":"underscore"}`, nil) != 200 {
		t.Fatal("refused")
	}
	if d := w.detail(w.create()); d.Step != 7 {
		t.Errorf("step %d", d.Step)
	}
	for _, bad := range []string{`{"step":0}`, `{"step":3601}`, `{"retryTotal":11}`, `{"callbackHeaderStyle":"x"}`, `{"remark":"` + strings.Repeat("字", 256) + `"}`, `{"surface":"goodjob"}`} {
		if status := w.v1("PATCH", path, bad, nil); status != 422 {
			t.Errorf("%s: %d", bad, status)
		}
	}
	var rotated apiv1.App
	if w.v1("POST", path+"/secret", "", &rotated) != 200 {
		t.Fatal("not rotated")
	}
	w.refused(w.call("/task/detail", "taskId", "1"), textBadSignature)
	w.app.SecretKey = rotated.SigningSecret
	w.refused(w.call("/task/detail", "taskId", "999"), textDetailMissing)
}

// An app that has a key and a secret already keeps them, as it has its step and its retries: nothing but a base URL is changed in its code.
func TestAnAppThatMovesHere(t *testing.T) {
	w := onSQLite(t)
	const body = `{"id":"5347838620634821","signingSecret":"vph1291T6Q6ZK262p2z611922tKBpUj6","name":"商城","callbackUrl":"http://127.0.0.1:9/cb",
		"step":10,"retryTotal":5,"remark":"订单"}`
	if status := w.v1("POST", "/v1/apps", body, nil); status != 201 {
		t.Fatal(status)
	}
	w.app = application{"5347838620634821", "vph1291T6Q6ZK262p2z611922tKBpUj6"}
	if d := w.detail(w.create()); d.Step != 10 {
		t.Errorf("%+v", d)
	}
	if status := w.v1("POST", "/v1/apps", body, nil); status != 409 {
		t.Errorf("a second one with its key: %d", status)
	}
}

// A secret that was rotated with an overlap goes on verifying what clients sign, as it goes on signing what receivers get: clients and
// receivers change when they can.
func TestAnOldSecretVerifiesForAWhile(t *testing.T) {
	w := onSQLite(t)
	old := w.app.SecretKey
	var rotated apiv1.App
	if w.v1("POST", "/v1/apps/"+w.app.AppKey+"/secret?overlapMs=60000", "", &rotated) != 200 {
		t.Fatal("not rotated")
	}
	for _, secret := range []string{old, rotated.SigningSecret} {
		w.app.SecretKey = secret
		w.create()
	}
	w.clock.ahead.Store(61_000)
	if w.v1("PATCH", "/v1/apps/"+w.app.AppKey, `{"remark":"r"}`, nil) != 200 { // what was remembered of it is read again
		t.Fatal("refused")
	}
	w.create()
	w.app.SecretKey = old
	w.refused(w.call("/task/detail", "taskId", "1"), textBadSignature)
}

func TestWhatIsElsewhere(t *testing.T) {
	w := onSQLite(t)
	for _, prefix := range []string{"/goodjob", ""} { // it is mounted at the root too
		if a := w.send("GET", prefix+"/", "", nil); a.body != `{"code":200,"data":["good.job"],"message":""}` || a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		h := w.headers(map[string]string{"taskId": "7"})
		w.refused(w.send("POST", prefix+"/task/detail", "taskId=7", h), textDetailMissing)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/goodjob/nothing", `{"code":404,"data":{},"message":"Not Found."}`},
		{"POST", "/goodjob/task/push", `{"code":404,"data":{},"message":"Not Found."}`},
		{"GET", "/goodjob/application", `{"code":405,"data":{},"message":"Method Not Allowed."}`},
		{"PUT", "/goodjob/task/detail", `{"code":405,"data":{},"message":"Method Not Allowed."}`},
		{"POST", "/task/push", `{"code":404,"data":{},"message":"Not Found."}`},
		{"GET", "/application", `{"code":405,"data":{},"message":"Method Not Allowed."}`},
	} {
		if a := w.send(c.method, c.path, "", nil); a.status != 200 || a.body != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	for _, path := range []string{"/goodjobs", "/tasks", "/v1/nothing", "/nothing"} {
		if r := w.sendRaw("GET", path, "", nil); r.Code != 404 || !strings.Contains(r.Header().Get("Content-Type"), "problem") {
			t.Errorf("%s: %d %s", path, r.Code, r.Body)
		}
	}
}
