package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// swowShop is a client and a receiver in PHP, as they worked with Serendipity-job.
type swowShop struct {
	phpShop
	base        string
	credentials string // as creating the application answered them
}

type swowAnswer struct {
	Code int
	Msg  string
	Data json.RawMessage
	raw  string // with the status
}

type swowDetail struct {
	State       *string
	TraceList   string  `json:"trace_list"`
	CoroutineID *int64  `json:"coroutine_id"`
	ServiceID   *string `json:"service_id"`
	Elapsed     *int64
	Task        *struct {
		Status     int
		RetryTimes int `json:"retry_times"`
		Runtime    string
		Memo       *string
		Logs       []struct{ Remark string }
	}
}

type swowCall struct {
	At     float64
	Good   bool
	Data   string
	Fields []string
	Method string
	Retry  string
	TaskID string
}

func newSwowShop(t *testing.T, base string) *swowShop {
	t.Helper()
	s := &swowShop{phpShop: openPHPShop(t, "serendipity"), base: base}
	a := s.must("application/create", map[string]any{"appName": "商城", "linkUrl": s.callbackURL, "step": 1, "retryTotal": 2}, "Ok!")
	s.credentials = string(a.Data)
	var app struct{ AppKey, SecretKey string }
	if err := json.Unmarshal(a.Data, &app); err != nil {
		t.Fatal(err)
	}
	s.knows(app.AppKey, app.SecretKey)
	return s
}

// php runs the client.
func (s *swowShop) php(command string, params map[string]any) swowAnswer {
	s.t.Helper()
	credentials := s.credentials
	if credentials == "" {
		credentials = "null"
	}
	a := swowAnswer{raw: s.client([]string{s.base, credentials}, command, params)}
	_, body, _ := strings.Cut(a.raw, " ")
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		s.t.Fatalf("%s: %s: %v", command, a.raw, err)
	}
	return a
}

// must is a command that has to succeed with a text.
func (s *swowShop) must(command string, params map[string]any, msg string) swowAnswer {
	s.t.Helper()
	a := s.php(command, params)
	if a.Code != 0 || a.Msg != msg || !strings.HasPrefix(a.raw, "200 ") {
		s.t.Fatalf("%s %v: %s", command, params, a.raw)
	}
	return a
}

// refused is a command that has to be answered exactly so.
func (s *swowShop) refused(command string, params map[string]any, want string) {
	s.t.Helper()
	if a := s.php(command, params); a.raw != want {
		s.t.Errorf("%s %v: %s, want %s", command, params, a.raw, want)
	}
}

func (s *swowShop) create(mode, no string, more map[string]any, answers ...string) (id int64) {
	s.t.Helper()
	content, _ := json.Marshal(map[string]any{"no": no, "名": "张三 &=+%", "answers": answers})
	params := map[string]any{"taskNo": no, "name": "订单", "timeout": 60_000, "content": string(content)}
	for k, v := range more {
		params[k] = v
	}
	var made struct{ TaskID int64 }
	if err := json.Unmarshal(s.must(mode+"task/create", params, "ok!").Data, &made); err != nil || made.TaskID == 0 {
		s.t.Fatal(err)
	}
	return made.TaskID
}

func (s *swowShop) detail(command string, params map[string]any) (d swowDetail) {
	s.t.Helper()
	if err := json.Unmarshal(s.must(command, params, "ok!").Data, &d); err != nil {
		s.t.Fatal(err)
	}
	return d
}

// reaches waits until a task has a status.
func (s *swowShop) reaches(id int64, status int) (d swowDetail) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, fmt.Sprintf("status %d of task %d", status, id), func() bool {
		d = s.detail("get:task/detail", map[string]any{"id": id})
		return d.Task != nil && d.Task.Status == status
	})
	return d
}

// calls reads what came to the receiver for a task.
func (s *swowShop) calls(id int64) (out []swowCall) {
	s.t.Helper()
	eachCall(&s.phpShop, func(line string, c swowCall) {
		if !c.Good || c.Method != "POST" || len(c.Fields) != 1 || c.Fields[0] != "data" {
			s.t.Errorf("a bad call: %s", line)
		}
		if c.TaskID == fmt.Sprint(id) {
			out = append(out, c)
		}
	})
	return out
}

// A PHP shop goes through everything that the document has, against real processes on machines of different zones: only its base
// URL has changed.
func TestSerendipityShopInPHP(t *testing.T) {
	t.Parallel()
	for zone, root := range map[string]bool{"UTC": false, "America/New_York": true} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			env, base := []string{"TZ=" + zone}, "/serendipity"
			if root {
				env, base = append(env, "TASKWEIR_LEGACY_ROOT=serendipity,goodjob"), ""
			}
			p := standalone(t, testkit.StandaloneOptions{Env: env})
			newSwowShop(t, p.BaseURL+base).play()
		})
	}
}

// The same on separate processes: the worker that is asked for a stack, and told to kill a run, is another process.
func serendipityShopOnACluster(t *testing.T) {
	c := cluster(t)
	newSwowShop(t, c.BaseURL+"/serendipity").play()
}

func (s *swowShop) play() {
	t := s.t
	// create → callback → detail
	id := s.create("", "a1", nil, "success")
	d := s.reaches(id, 2)
	calls := s.calls(id)
	data, _ := base64.StdEncoding.DecodeString(calls[0].Data)
	if len(calls) != 1 || calls[0].Retry != "0" || len(d.Task.Logs) != 1 || d.Task.Logs[0].Remark != "success" || !strings.Contains(string(data), `"名":"张三 \u0026=+%"`) {
		t.Errorf("%+v, %+v, %s", d.Task, calls, data)
	}
	s.refused("task/create", map[string]any{"taskNo": "a1", "name": "n", "timeout": 1000, "content": "{}"}, `200 {"code":1,"msg":"请勿重复提交!","data":[]}`)
	// The headers that creating the application answered, again and again; a form; an object; a time of its own.
	s.reaches(s.create("token:", "a2", map[string]any{"content": map[string]any{"z": 1, "answers": []string{"success"}}}), 2)
	s.reaches(s.create("token:form:", "a3", nil, "success"), 2)
	began := time.Now()
	later := s.create("", "a4", map[string]any{"inSeconds": 3}, "success")
	if d := s.detail("form:task/detail", map[string]any{"id": later}); d.Task.Status != 0 || d.State != nil {
		t.Errorf("%+v", d.Task)
	}
	s.reaches(later, 2)
	if at := s.calls(later)[0].At - float64(began.UnixMilli())/1000; at < 2 || at > 6 {
		t.Errorf("called after %.3f s, planned for 3", at)
	}
	// detail of a run → cancel
	slow := s.create("", "slow", nil, "slow")
	eventually(t, 10*time.Second, "the callback runs", func() bool {
		d = s.detail("get:task/detail", map[string]any{"id": slow})
		return d.State != nil && d.TraceList != "null" && d.CoroutineID != nil && len(s.calls(slow)) == 1
	})
	live := s.detail("get:task/detail", map[string]any{"coroutine_id": *d.CoroutineID})
	if live.State == nil || live.Elapsed == nil || !strings.Contains(live.TraceList, "httpcall") || live.Task != nil {
		t.Errorf("%+v", live)
	}
	s.refused("task/cancel", map[string]any{"coroutine_id": 9007199254740991}, `200 {"code":1,"msg":"Unknown!","data":[]}`)
	began = time.Now()
	s.must("task/cancel", map[string]any{"coroutine_id": *d.CoroutineID}, "Killed")
	if took := time.Since(began); took > 3*time.Second { // with a PHP process
		t.Errorf("killed after %v", took)
	}
	s.reaches(slow, 3)
	s.refused("task/cancel", map[string]any{"coroutine_id": *d.CoroutineID}, `200 {"code":1,"msg":"Unknown!","data":[]}`)
	// retry
	flaky := s.create("", "flaky", nil, "库存不足", "no", "success")
	d = s.reaches(flaky, 2)
	calls = s.calls(flaky)
	if len(calls) != 3 || len(d.Task.Logs) != 3 || d.Task.Logs[0].Remark != "库存不足" || d.Task.RetryTimes != 3 {
		t.Fatalf("%+v, %d calls", d.Task, len(calls))
	}
	for i, want := range []float64{1, 2} { // step × n after the end; the receiver serves one at a time
		if gap := calls[i+1].At - calls[i].At; gap < want-0.05 || gap > want+5 {
			t.Errorf("retry %d came %.3f s after the run before it", i+1, gap)
		}
	}
	lost := s.create("", "lost", nil, "nein")
	if d = s.reaches(lost, 4); len(s.calls(lost)) != 3 || d.Task.Memo == nil || *d.Task.Memo != "nein" {
		t.Errorf("%+v", d.Task)
	}
	s.must("nsq/publish", map[string]any{"task_id": lost}, "Ok!")
	eventually(t, 10*time.Second, "a fourth run", func() bool { return len(s.calls(lost)) > 3 })
	s.refused("nsq/publish", map[string]any{"task_id": 999999999}, `200 {"code":1,"msg":"Unknown Task [999999999]#","data":[]}`)
	// signatures
	s.refused("bad:get:task/detail", map[string]any{"id": id}, `401 {"code":401,"msg":"UNAUTHORIZED","data":[]}`)
	var app struct{ AppKey, SecretKey string }
	_ = json.Unmarshal([]byte(s.credentials), &app)
	old := s.credentials
	s.credentials = string(s.must("application/refresh-signature", map[string]any{"app_key": app.AppKey, "secret_key": app.SecretKey}, "Ok!").Data)
	s.must("token:get:task/detail", map[string]any{"coroutine_id": 1}, "ok!")
	if s.credentials == old {
		t.Error("the headers are not fresh")
	}
	s.must("nsq/publish", map[string]any{"task_id": id}, "Ok!")
}

// What the operator sets, seen by the same PHP: classes that handlers run, the strict mode, a secret that is replaced, and an app
// that brings its key along. And runs that take too long.
func TestSerendipityShopInPHPWithSettings(t *testing.T) {
	t.Parallel()
	p := standalone(t, testkit.StandaloneOptions{Env: []string{"TASKWEIR_SERENDIPITY_CLASSES=SimpleJob=echo"}})
	admin := newClient(t, p.BaseURL, p.Key)
	s := newSwowShop(t, p.BaseURL+"/serendipity")
	// The result of the class's handler is POSTed like a callback, and tried again like one.
	id := s.create("", "c1", map[string]any{"content": map[string]any{"class": `\App\Jobs\SimpleJob`, "answers": []string{"not yet", "success"}}})
	if d := s.reaches(id, 2); len(d.Task.Logs) != 1 {
		t.Errorf("%+v", d.Task)
	}
	eventually(t, 15*time.Second, "the result is delivered", func() bool { return len(s.calls(id)) == 2 })
	calls := s.calls(id)
	if data, _ := base64.StdEncoding.DecodeString(calls[1].Data); string(data) != `{"class":"\\App\\Jobs\\SimpleJob","answers":["not yet","success"]}` &&
		string(data) != `{"answers":["not yet","success"],"class":"\\App\\Jobs\\SimpleJob"}` {
		t.Errorf("%s", data)
	}
	if gap := calls[1].At - calls[0].At; gap < 0.95 {
		t.Errorf("delivered again after %.3f s", gap)
	}
	// The strict mode takes what the client signs, once, and no token.
	var app struct{ AppKey, SecretKey string }
	if err := json.Unmarshal([]byte(s.credentials), &app); err != nil {
		t.Fatal(err)
	}
	admin.must(t, "PATCH", "/v1/apps/"+app.AppKey, `{"signatureMode":"strict"}`, nil)
	s.refused("token:task/create", map[string]any{"taskNo": "t"}, `401 {"code":401,"msg":"UNAUTHORIZED","data":[]}`)
	s.reaches(s.create("form:", "s1", nil, "success"), 2)
	// A run that takes too long is tried again step × n after its end, and has failed when the retries are over.
	slow := s.create("", "slow", map[string]any{"timeout": 250}, "slow")
	d := s.reaches(slow, 4)
	if len(d.Task.Logs) != 3 || d.Task.Memo == nil || *d.Task.Memo != "任务执行超时" {
		t.Errorf("%+v", d.Task)
	}
	// The same shop as if it had been another system's: the key and the secret of its code, and another base URL.
	var moved struct{ ID, CallbackURL string }
	admin.must(t, "GET", "/v1/apps/"+app.AppKey, "", &moved)
	const key, secret = "wWt1aSZj2KXMO7fE", "vph1291T6Q6ZK262p2z611922tKBpUj6"
	admin.must(t, "POST", "/v1/apps", fmt.Sprintf(`{"id":%q,"signingSecret":%q,"name":"moved","callbackUrl":%q}`, key, secret, moved.CallbackURL), nil)
	s.credentials = fmt.Sprintf(`{"appKey":%q,"secretKey":%q}`, key, secret)
	s.knows(key, secret)
	s.reaches(s.create("", "m1", nil, "success"), 2)
}
