package serendipity_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The examples of the document, as they stand there.
func TestDocument(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	fixture := func(name string) string {
		t.Helper()
		raw, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return compactJSON(t, string(raw))
	}
	// Creating an application: the same members, and one that later documents have.
	var want, got struct {
		Code int
		Msg  string
		Data map[string]string
	}
	if err := json.Unmarshal([]byte(fixture("application-create")), &want); err != nil {
		t.Fatal(err)
	}
	r := s.send("POST", "/application/create", `{"appName":"帅的批爆","linkUrl":"http://127.0.0.1:1/"}`, nil)
	if err := json.Unmarshal([]byte(r.raw), &got); err != nil || got.Code != want.Code || got.Msg != want.Msg || got.Data["payload"] != want.Data["payload"] {
		t.Errorf("%s %v", r.raw, err)
	}
	for name := range want.Data {
		if len(got.Data[name]) != len(want.Data[name]) {
			t.Errorf("%s is %q, the document has %q", name, got.Data[name], want.Data[name])
		}
	}
	if len(got.Data) != len(want.Data)+1 || len(got.Data["secretKey"]) != 32 {
		t.Errorf("%s", r.raw)
	}
	const body = `{"taskNo":"a6","content":"{}","name":"n","timeout":1000}`
	s.create(body)
	if r := s.do("POST", "/task/create", body); r.raw != fixture("task-create") || r.status != 200 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := s.do("POST", "/task/cancel", `{"coroutine_id":9007199254740991}`); r.raw != fixture("task-cancel") || r.status != 200 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	for _, r := range []*reply{s.do("GET", "/task/detail?coroutine_id=123456789", ""), s.do("POST", "/task/detail", `{"coroutine_id":123456789}`), s.do("POST", "/task/detail", `coroutine_id=123456789`)} {
		if r.raw != fixture("task-detail") || r.status != 200 {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
}

func TestSignatures(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	const path = "/task/detail?coroutine_id=5"
	good := func(h http.Header) {
		t.Helper()
		s.send("GET", path, "", h).want(t, 0, "ok!")
	}
	bad := func(what string, h http.Header) {
		t.Helper()
		r := s.send("GET", path, "", h)
		if r.status != 401 || r.raw != `{"code":401,"msg":"UNAUTHORIZED","data":[]}` {
			t.Errorf("%s: %d %s", what, r.status, r.raw)
		}
	}
	now := time.Now()
	good(s.token)
	good(s.token) // it is a token: again and again
	good(s.signed(now, "anything"))
	good(s.signed(now.Add(-29*24*time.Hour), "p"))
	good(s.signed(now.Add(290*time.Second), "p"))
	bad("older than 30 days", s.signed(now.Add(-30*24*time.Hour-time.Minute), "p"))
	bad("from the future", s.signed(now.Add(310*time.Second), "p"))
	hyphen := s.signed(now, "p")
	hyphen["app-key"] = hyphen["app_key"]
	delete(hyphen, "app_key")
	good(hyphen)
	bearer := s.signed(now, "p")
	bearer["Authorization"] = []string{"Bearer nobody-knows-this-key"}
	good(bearer)
	// The document's table writes a date-time: it is one of Asia/Shanghai.
	dated := s.signed(now, "p")
	zone, _ := time.LoadLocation("Asia/Shanghai")
	dated["timestamps"] = []string{now.In(zone).Format("2006-01-02 15:04:05")}
	dated["signature"] = []string{signOf(dated["timestamps"][0], dated["nonce"][0], "p", s.secret)}
	good(dated)
	for _, name := range []string{"app_key", "nonce", "timestamps", "payload", "signature"} {
		h := s.signed(now, "p")
		delete(h, name)
		bad("without "+name, h)
		h = s.signed(now, "p")
		h[name] = []string{""}
		bad("with an empty "+name, h)
		h = s.signed(now, "p")
		h[name] = []string{h[name][0] + "1"}
		bad("with another "+name, h)
		h[name] = []string{strings.Repeat("1", 300)}
		bad("with a long "+name, h)
		for _, x := range injections {
			h := s.signed(now, "p")
			h[name] = []string{x}
			bad("with "+x+" as "+name, h)
		}
	}
	other := newShop(t, a.URL()+"/serendipity", "")
	forged := s.signed(now, "p")
	forged["app_key"] = []string{other.key}
	bad("with another app's key", forged)
	wrongTime := s.signed(now, "p")
	wrongTime["timestamps"] = []string{"yesterday"}
	wrongTime["signature"] = []string{signOf("yesterday", wrongTime["nonce"][0], "p", s.secret)}
	bad("with a time that is none", wrongTime)
	html := http.Header{"Accept": {"text/html,application/xhtml+xml"}}
	if r := s.send("GET", path, "", html); r.status != 401 || r.raw != "<h2>HTTP 401 UNAUTHORIZED</h2>" || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %s", r.status, r.raw)
	}
	for method, path := range map[string]string{"POST": "/nowhere", "PUT": "/task/create"} {
		if r := s.send(method, path, "", nil); r.status != map[string]int{"POST": 404, "PUT": 405}[method] || r.Code != r.status || string(r.Data) != "[]" {
			t.Errorf("%s %s: %d %s", method, path, r.status, r.raw)
		}
	}
	// Fresh headers for whoever knows the secret.
	fresh := s.send("POST", "/application/refresh-signature", `{"app_key":"`+s.key+`","secret_key":"`+s.secret+`"}`, nil).want(t, 0, "Ok!")
	var h map[string]string
	if err := json.Unmarshal(fresh.Data, &h); err != nil || h["payload"] != "f3c5fa5b2b4045bcb1132ddece49c0f4" || h["nonce"] == map[string][]string(s.token)["nonce"][0] {
		t.Errorf("%s %v", fresh.raw, err)
	}
	good(http.Header{"app_key": {h["appKey"]}, "nonce": {h["nonce"]}, "timestamps": {h["timestamps"]}, "payload": {h["payload"]}, "signature": {h["signature"]}})
	for _, body := range []string{`{}`, `{"app_key":"` + s.key + `"}`, `{"app_key":"` + s.key + `","secret_key":"` + other.secret + `"}`, `{"app_key":"x","secret_key":"` + s.secret + `"}`,
		`{"app_key":["` + s.key + `"],"secret_key":{}}`, `{"app_key":"' OR 1=1 -- ","secret_key":"' OR 1=1 -- "}`} {
		s.send("POST", "/application/refresh-signature", body, nil).want(t, 1, "Unknown Application Key#")
	}
}

var injections = []string{`' OR '1'='1`, `"; DROP TABLE tasks; --`, `1) OR SLEEP(5)#`, `\`, `%00`, `../../etc/passwd`, `${jndi:ldap://x}`, `<script>`}

// In strict mode the headers are good for one request of this moment.
func TestStrictMode(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	if status := a.call(t, "PATCH", "/v1/apps/"+s.key, `{"signatureMode":"strict"}`, nil); status != 200 {
		t.Fatal(status)
	}
	if status := a.call(t, "PATCH", "/v1/apps/"+s.key, `{"signatureMode":"lax"}`, nil); status != 422 {
		t.Error(status)
	}
	digest := func(body string) string { sum := md5.Sum([]byte(body)); return hex.EncodeToString(sum[:]) }
	sha := func(body string) string { sum := sha256.Sum256([]byte(body)); return hex.EncodeToString(sum[:]) }
	now := time.Now()
	refused := func(what, method, path, body string, h http.Header) {
		t.Helper()
		if r := s.send(method, path, body, h); r.status != 401 || r.Msg != "UNAUTHORIZED" {
			t.Errorf("%s: %d %s", what, r.status, r.raw)
		}
	}
	body := func(n int) string { return fmt.Sprintf(`{"taskNo":"s%d","content":"{}","name":"n","timeout":1000}`, n) }
	refused("the token", "POST", "/task/create", body(0), s.token)
	h := s.signed(now, digest(body(1)))
	refused("another body", "POST", "/task/create", body(2), h)
	s.send("POST", "/task/create", body(1), h).want(t, 0, "ok!") // what was refused used nothing up
	refused("replayed", "POST", "/task/create", body(1), h)
	again := s.signed(now, digest(body(3)))
	again["nonce"] = h["nonce"]
	again["signature"] = []string{signOf(again["timestamps"][0], h["nonce"][0], digest(body(3)), s.secret)}
	refused("a used nonce", "POST", "/task/create", body(3), again)
	s.send("POST", "/task/create", body(4), s.signed(now.Add(-290*time.Second), sha(body(4)))).want(t, 0, "ok!")
	refused("stale", "POST", "/task/create", body(5), s.signed(now.Add(-310*time.Second), digest(body(5))))
	refused("early", "POST", "/task/create", body(5), s.signed(now.Add(310*time.Second), digest(body(5))))
	s.send("GET", "/task/detail?coroutine_id=7", "", s.signed(now, digest("coroutine_id=7"))).want(t, 0, "ok!")
	s.send("GET", "/task/detail?coroutine_id=7", "", s.signed(now, digest(""))).want(t, 0, "ok!")
	refused("another query", "GET", "/task/detail?coroutine_id=8", "", s.signed(now, digest("coroutine_id=7")))
	// The signed text has no separators: its parts cannot be cut elsewhere to make a new nonce of it.
	zone, _ := time.LoadLocation("Asia/Shanghai")
	minute := now.In(zone).Format("2006-01-02 15:04")
	cut := func(ts, nonce, payload string) http.Header {
		return http.Header{"app_key": {s.key}, "nonce": {nonce}, "timestamps": {ts}, "payload": {payload}, "signature": {signOf(ts, nonce, payload, s.secret)}}
	}
	q := "coroutine_id=9"
	s.send("GET", "/task/detail?"+q, "", cut(minute+":11", "nonceA", digest(q))).want(t, 0, "ok!")
	refused("cut elsewhere", "GET", "/task/detail?"+q, "", cut(minute+":1", "1nonceA", digest(q)))
}

// GoodJob and Serendipity-job live at the root together: the headers tell whose request it is.
func TestAtTheRootBesideGoodJob(t *testing.T) {
	a := newStandalone(t, []string{"TASKWEIR_LEGACY_ROOT=goodjob,serendipity"})
	s := newShop(t, a.URL(), "")
	id := s.create(`{"taskNo":"r1","content":"{}","name":"n","timeout":1000}`)
	s.until(id, "done", inStatus(2))
	for _, h := range []http.Header{{"nonce": {"x"}}, {"timestamps": {"1"}}, {"payload": {"p"}}} {
		if r := s.send("POST", "/task/create", "{}", h); r.status != 401 || r.Msg != "UNAUTHORIZED" {
			t.Errorf("%v: %d %s", h, r.status, r.raw)
		}
	}
	for _, h := range []http.Header{nil, {"app_key": {s.key}}, {"nonce_str": {"abcdef"}, "timestamp": {"x"}, "version": {"1.0"}}} {
		if r := s.send("POST", "/task/create", "{}", h); r.status != 200 || !strings.Contains(r.raw, `"message":"`) {
			t.Errorf("%v: %d %s", h, r.status, r.raw)
		}
	}
}

// Creating an application takes an administrator's key unless the listener is on loopback, whoever asks.
func TestRegistration(t *testing.T) {
	a := newStandalone(t, []string{"TASKWEIR_HTTP_ADDR=0.0.0.0:0"})
	_, port, _ := strings.Cut(a.Addr(), "]:")
	if port == "" {
		port = a.Addr()[strings.LastIndexByte(a.Addr(), ':')+1:]
	}
	s := &shop{t: t, base: "http://127.0.0.1:" + port + "/serendipity"}
	const body = `{"appName":"x","linkUrl":"http://127.0.0.1:1/"}`
	for _, h := range []http.Header{nil, {"Authorization": {"Bearer nobody-knows-this-key"}}, {"X-Forwarded-For": {"127.0.0.1"}}} {
		if r := s.send("POST", "/application/create", body, h); r.status != 401 || r.raw != `{"code":401,"msg":"UNAUTHORIZED","data":[]}` {
			t.Errorf("%v: %d %s", h, r.status, r.raw)
		}
	}
	s.send("POST", "/application/create", body, http.Header{"Authorization": {"Bearer " + a.APIKey()}}).want(t, 0, "Ok!")
}

func TestInput(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	long := func(n int) string { return strings.Repeat("长", n) }
	for body, msg := range map[string]string{
		`{"linkUrl":"http://h/"}`:                                                 "应用名称 字段是必须的",
		`{"appName":" ","linkUrl":"http://h/"}`:                                   "应用名称 字段是必须的",
		`{"appName":"` + long(101) + `","linkUrl":"http://h/"}`:                   "应用名称 不能超过 100 个字符",
		`{"appName":{"a":1},"linkUrl":"http://h/"}`:                               "应用名称 必须是字符串",
		`{"appName":"a"}`:                                                         "接口地址 字段是必须的",
		`{"appName":"a","linkUrl":"nothing"}`:                                     "接口地址 无效的格式",
		`{"appName":"a","linkUrl":"ftp://h/"}`:                                    "接口地址 无效的格式",
		`{"appName":"a","linkUrl":"http://h/` + long(200) + `"}`:                  "接口地址 不能超过 200 个字符",
		`{"appName":"a","linkUrl":"http://h/","step":3601}`:                       "重试间隔 必须在 0 到 3600 之间",
		`{"appName":"a","linkUrl":"http://h/","step":-1}`:                         "重试间隔 必须在 0 到 3600 之间",
		`{"appName":"a","linkUrl":"http://h/","step":1.5}`:                        "重试间隔 必须是整数",
		`{"appName":"a","linkUrl":"http://h/","step":"x"}`:                        "重试间隔 必须是整数",
		`{"appName":"a","linkUrl":"http://h/","retryTotal":11}`:                   "重试次数 必须在 0 到 10 之间",
		`{"appName":"a","linkUrl":"http://h/","retryTotal":99999999999999999999}`: "重试次数 必须在 0 到 10 之间",
		`{"appName":"a","linkUrl":"http://h/","remark":"` + long(256) + `"}`:      "任务描述 不能超过 255 个字符",
		`{"appName":`: "参数错误!",
		`[1]`:         "应用名称 字段是必须的",
	} {
		s.send("POST", "/application/create", body, nil).want(t, 1, msg)
	}
	for fields, msg := range map[string]string{
		`"taskNo":"","content":"{}","name":"n","timeout":1`:                     "任务编号 字段是必须的",
		`"taskNo":"` + long(51) + `","content":"{}","name":"n","timeout":1`:     "任务编号 不能超过 50 个字符",
		`"taskNo":[1],"content":"{}","name":"n","timeout":1`:                    "任务编号 必须是字符串",
		`"taskNo":"i","name":"n","timeout":1`:                                   "任务内容 字段是必须的",
		`"taskNo":"i","content":"","name":"n","timeout":1`:                      "任务内容 字段是必须的",
		`"taskNo":"i","content":"haha","name":"n","timeout":1`:                  "任务内容 必须是一个合法的 JSON 字符串",
		`"taskNo":"i","content":"{\"a\":}","name":"n","timeout":1`:              "任务内容 必须是一个合法的 JSON 字符串",
		`"taskNo":"i","content":"{}","timeout":1`:                               "任务名称 字段是必须的",
		`"taskNo":"i","content":"{}","name":"` + long(65) + `","timeout":1`:     "任务名称 不能超过 64 个字符",
		`"taskNo":"i","content":"{}","name":"n"`:                                "任务的执行限制时间 字段是必须的",
		`"taskNo":"i","content":"{}","name":"n","timeout":0`:                    "任务的执行限制时间 必须在 1 到 604800000 之间",
		`"taskNo":"i","content":"{}","name":"n","timeout":-2`:                   "任务的执行限制时间 必须在 -1 到 604800000 之间",
		`"taskNo":"i","content":"{}","name":"n","timeout":604800001`:            "任务的执行限制时间 必须在 -1 到 604800000 之间",
		`"taskNo":"i","content":"{}","name":"n","timeout":"soon"`:               "任务的执行限制时间 必须是整数",
		`"taskNo":"i","content":"{}","name":"n","timeout":1,"runtime":"morgen"`: "执行时间 必须是一个合法的日期",
	} {
		s.do("POST", "/task/create", "{"+fields+"}").want(t, 1, msg)
	}
	// Over a limit, the surface's own envelope.
	huge := `{"taskNo":"h","name":"n","timeout":1,"content":"` + strings.Repeat("x", 3<<20) + `"}`
	s.do("POST", "/task/create", huge).want(t, 1, "提交数据过大!")
	s.do("POST", "/task/create", `{"taskNo":"h","name":"n","timeout":1,"content":"\"`+strings.Repeat("x", 257<<10)+`\""}`).want(t, 1, "任务内容 不能超过 262144 字节")
	for _, path := range []string{"/task/detail", "/task/cancel"} {
		for _, body := range []string{`{}`, `{"coroutine_id":"abc"}`, `{"coroutine_id":0}`, `{"coroutine_id":-5}`, `{"coroutine_id":1.5}`, `{"coroutine_id":[1]}`, `{"id":"1 OR 1=1"}`,
			`{"coroutine_id":99999999999999999999}`, `{"coroutine_id":1,"id":"x"}`, `{"id":1,"task_id":2}`, `{"id":1,"task_id":"x"}`, `{"coroutine_id":`} {
			s.do("POST", path, body).want(t, 1, "参数错误!")
		}
		s.do("POST", path+"?coroutine_id=5", `{}`).want(t, 1, "参数错误!") // a POST's parameters are its body
	}
	for text, shown := range map[string]string{`"abc"`: "abc", `7777777`: "7777777", `"1;DROP TABLE tasks"`: "1;DROP TABLE tasks", `""`: "", `1.5`: "1.5"} {
		s.do("POST", "/nsq/publish", `{"task_id":`+text+`}`).want(t, 1, "Unknown Task ["+shown+"]#")
	}
	s.do("POST", "/nsq/publish", `{}`).want(t, 1, "Unknown Task []#")
	// Nothing of it was stored; and text that looks like SQL is text.
	for i, x := range injections {
		quoted, _ := json.Marshal(x)
		content, _ := json.Marshal(string(quoted))
		id := s.create(`{"taskNo":` + string(quoted) + `,"content":` + string(content) + `,"name":` + string(quoted) + `,"timeout":5000}`)
		d := s.until(id, "done", inStatus(2))
		if d.Task.TaskNo != x || d.Task.Name != x || d.Task.Content != string(quoted) || s.callbacks(i + 1)[i].data != string(quoted) {
			t.Errorf("%q: %+v", x, d.Task)
		}
		s.do("POST", "/task/create", `{"taskNo":`+string(quoted)+`,"content":"{}","name":"n","timeout":1}`).want(t, 1, "请勿重复提交!")
	}
	// A client that leaves taskNo out gets a number; numbers may be texts and texts numbers.
	id := s.create(`{"content":"{}","name":7,"timeout":"5000"}`)
	if d := s.until(id, "done", inStatus(2)); len(d.Task.TaskNo) != 36 || d.Task.Name != "7" || d.Task.Timeout != 5000 {
		t.Errorf("%+v", d.Task)
	}
	id = s.create(`taskNo=1e3&content=%7B%22a%22%3A1%7D&name=n&timeout=-1`)
	if d := s.until(id, "done", inStatus(2)); d.Task.TaskNo != "1e3" || d.Task.Timeout != 60_000 {
		t.Errorf("%+v", d.Task)
	}
}

// What comes with a callback is signed as a request is. It is no token: receivers log what they get, and some send it on.
func TestACallbacksHeadersAreNoToken(t *testing.T) {
	s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", "")
	s.create(`{"taskNo":"t","content":"{}","name":"n","timeout":5000}`)
	got := s.callbacks(1)[0].header
	h := http.Header{}
	for _, name := range []string{"app_key", "nonce", "timestamps", "payload", "signature"} {
		if h[name] = []string{got.Get(name)}; h[name][0] == "" {
			t.Fatalf("%s is missing: %v", name, got)
		}
	}
	if r := s.send("GET", "/task/detail?coroutine_id=5", "", h); r.status != 401 || r.Msg != "UNAUTHORIZED" {
		t.Errorf("the headers of a callback open the API: %d %s", r.status, r.raw)
	}
	s.do("GET", "/task/detail?coroutine_id=5", "").want(t, 0, "ok!")
}

// A secret that was replaced signs requests for as long as was said, to the moment; without that it has ended.
func TestReplacedSecrets(t *testing.T) {
	t.Parallel()
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	ask := func() int { t.Helper(); return s.send("GET", "/task/detail?coroutine_id=5", "", s.token).status }
	var app struct{ SigningSecret, OldSecretUntil string }
	replace := func(query string) {
		t.Helper()
		if status := a.call(t, "POST", "/v1/apps/"+s.key+"/secret"+query, "", &app); status != 200 {
			t.Fatal(status)
		}
	}
	replace("?overlapMs=2000")
	until, err := time.Parse(time.RFC3339, app.OldSecretUntil)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 200 {
		t.Errorf("a token of the old secret: %d", got)
	}
	fresh := &shop{t: t, base: s.base, key: s.key, secret: app.SigningSecret}
	fresh.send("GET", "/task/detail?coroutine_id=5", "", fresh.signed(time.Now(), "p")).want(t, 0, "ok!")
	for time.Now().Before(until.Add(50 * time.Millisecond)) {
		time.Sleep(20 * time.Millisecond)
		ask() // what is remembered does not outlive the secret
	}
	if got := ask(); got != 401 {
		t.Errorf("after its end: %d", got)
	}
	s.token = fresh.signed(time.Now(), "p")
	if got := ask(); got != 200 {
		t.Errorf("the new one: %d", got)
	}
	replace("")
	if got := ask(); got != 401 {
		t.Errorf("replaced without an overlap: %d", got)
	}
}

// A shop that has an app already keeps its key, its secret and the token that it was once given: it changes its base URL and
// nothing else.
func TestAnAppThatMoves(t *testing.T) {
	a := newStandalone(t, nil)
	s := newShop(t, a.URL()+"/serendipity", "")
	moved := &shop{t: t, base: s.base, key: "wWt1aSZj2KXMO7fE", secret: "vph1291T6Q6ZK262p2z611922tKBpUj6"}
	moved.token = moved.signed(time.Now().Add(-20*24*time.Hour), "f3c5fa5b2b4045bcb1132ddece49c0f4")
	if r := moved.send("GET", "/task/detail?coroutine_id=5", "", moved.token); r.status != 401 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	body := fmt.Sprintf(`{"id":%q,"signingSecret":%q,"name":"帅的批爆","callbackUrl":"http://127.0.0.1:1/","step":7,"retryTotal":0}`, moved.key, moved.secret)
	if status := a.call(t, "POST", "/v1/apps", body, nil); status != 201 {
		t.Fatal(status)
	}
	moved.send("GET", "/task/detail?coroutine_id=5", "", moved.token).want(t, 0, "ok!") // at once, although it was refused before
	id := moved.create(`{"taskNo":"m","content":"{}","name":"n","timeout":1000,"runtime":"2030-01-01 08:00:00"}`)
	if d := moved.detail(fmt.Sprintf("id=%d", id)); d.Task == nil || d.Task.Step != 7 {
		t.Errorf("%+v", d.Task)
	}
}

// Of fifty who create the same task at the same moment one does; the others are told so, whatever becomes of it.
func TestTheSameTaskFiftyTimesAtOnce(t *testing.T) {
	s := newShop(t, newStandalone(t, nil).URL()+"/serendipity", "")
	for round, runtime := range []string{`"2030-01-01 08:00:00"`, `null`} { // one that waits, one that runs and ends meanwhile
		body := fmt.Sprintf(`{"taskNo":"once%d","content":"{}","name":"n","timeout":5000,"runtime":%s}`, round, runtime)
		answers := make(chan string, 50)
		for range cap(answers) {
			go func() { answers <- s.do("POST", "/task/create", body).raw }()
		}
		made := 0
		for range cap(answers) {
			switch raw := <-answers; {
			case strings.HasPrefix(raw, `{"code":0,"msg":"ok!","data":{"taskId":`):
				made++
			case raw != `{"code":1,"msg":"请勿重复提交!","data":[]}`:
				t.Error(raw)
			}
		}
		if made != 1 {
			t.Errorf("made %d times", made)
		}
	}
	if got := s.callbacks(1); len(got) != 1 {
		t.Errorf("%d callbacks", len(got))
	}
}
