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

// shop is a client and a receiver in PHP, as they worked with GoodJob.
type shop struct {
	phpShop
	base           string
	appKey, secret string
	serial         int
}

type shopAnswer struct {
	Code    int
	Message string
	Data    json.RawMessage
	raw     string
}

type shopDetail struct {
	TaskID, TaskNo, Content       string
	Status, Step                  int
	Runtime, CreatedAt, UpdatedAt int64
	Logs                          []shopLog
}

type shopLog struct {
	Retry                int
	Remark               string
	CreatedAt, UpdatedAt int64
}

type shopCall struct {
	At           float64
	Good         bool
	Data         string
	Fields       []string
	Method, Type string
	Headers      []string
	Retry        string
}

func newShop(t *testing.T, base, style string) *shop {
	t.Helper()
	s := &shop{phpShop: openPHPShop(t, "goodjob", "RECEIVER_STYLE="+style), base: base}
	params := map[string]any{"appName": "商城", "linkUrl": s.callbackURL, "step": 1, "retryTotal": 2}
	if style == "underscore" {
		params["callbackHeaderStyle"] = style
	}
	var app struct{ AppKey, SecretKey string }
	s.must("application", params, &app)
	s.appKey, s.secret = app.AppKey, app.SecretKey
	s.knows(s.appKey, s.secret)
	return s
}

// php runs the client.
func (s *shop) php(command string, params map[string]any) shopAnswer {
	s.t.Helper()
	a := shopAnswer{raw: s.client([]string{s.base, s.appKey, s.secret}, command, params)}
	if err := json.Unmarshal([]byte(a.raw), &a); err != nil {
		s.t.Fatalf("%s: %s: %v", command, a.raw, err)
	}
	return a
}

// must is a command that has to succeed.
func (s *shop) must(command string, params map[string]any, into any) {
	s.t.Helper()
	a := s.php(command, params)
	if a.Code != 200 || a.Message != "" {
		s.t.Fatalf("%s %v: %s", command, params, a.raw)
	}
	if into != nil {
		if err := json.Unmarshal(a.Data, into); err != nil {
			s.t.Fatalf("%s: %v", a.raw, err)
		}
	}
}

// refused is a command that has to be answered with a text.
func (s *shop) refused(command string, params map[string]any, text string) {
	s.t.Helper()
	if a := s.php(command, params); a.Code != 0 || a.Message != text || string(a.Data) != "{}" {
		s.t.Errorf("%s %v: %s, want %s", command, params, a.raw, text)
	}
}

// create submits a task whose receiver gives these answers, one a run.
func (s *shop) create(params map[string]any, answers ...string) string {
	s.t.Helper()
	s.serial++
	content, _ := json.Marshal(map[string]any{"no": s.t.Name() + fmt.Sprint(s.serial), "名": "张三 &=+%", "answers": answers})
	all := map[string]any{"taskNo": fmt.Sprint("a", s.serial), "content": string(content)}
	for k, v := range params {
		all[k] = v
	}
	var made struct{ TaskID string }
	s.must("create", all, &made)
	return made.TaskID
}

func (s *shop) detail(id string) (d shopDetail) {
	s.t.Helper()
	s.must("detail", map[string]any{"taskId": id}, &d)
	return d
}

// reaches waits until a task has a status.
func (s *shop) reaches(id string, status int, within time.Duration) shopDetail {
	s.t.Helper()
	var d shopDetail
	eventually(s.t, within, fmt.Sprintf("status %d of task %s", status, id), func() bool {
		d = s.detail(id)
		return d.Status == status
	})
	return d
}

// calls reads what came to the receiver with a content.
func (s *shop) calls(content string) (out []shopCall) {
	s.t.Helper()
	eachCall(&s.phpShop, func(line string, c shopCall) {
		data, _ := base64.StdEncoding.DecodeString(c.Data)
		if !c.Good || c.Method != "POST" || len(c.Fields) != 1 || c.Type != "application/x-www-form-urlencoded" {
			s.t.Errorf("a bad call: %s", line)
		}
		for _, name := range []string{"app-key", "app_key", "nonce-str", "nonce_str"} {
			if !strings.Contains(line, `"`+name+`"`) {
				s.t.Errorf("no header %s: %s", name, line)
			}
		}
		if string(data) == content {
			out = append(out, c)
		}
	})
	return out
}

// A PHP shop goes through everything that the document has, against real processes, on machines of different zones: only its base
// URL has changed.
func TestGoodJobShopInPHP(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, style string
		root        bool
	}{{"UTC", "", false}, {"America/New_York", "underscore", true}} {
		t.Run(c.zone, func(t *testing.T) {
			t.Parallel()
			env, base := []string{"TZ=" + c.zone}, "/goodjob"
			if c.root {
				env, base = append(env, "TASKWEIR_LEGACY_ROOT=goodjob"), ""
			}
			p := standalone(t, testkit.StandaloneOptions{Env: env})
			playShop(t, newShop(t, p.BaseURL+base, c.style))
		})
	}
}

// The same on separate processes.
func goodJobShopOnACluster(t *testing.T) {
	c := cluster(t)
	playShop(t, newShop(t, c.BaseURL+"/goodjob", ""))
}

// A worker is killed while it waits for a receiver: another one calls it again, once, and the crash costs none of the task's retries.
func goodJobTaskOfAKilledWorker(t *testing.T) {
	c := cluster(t)
	logsOnFailure(t, c.Processes()...)
	s := newShop(t, c.BaseURL+"/goodjob", "")
	victim, other := c.Workers[0], c.Workers[1]
	if err := other.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := s.create(nil, "slow once")
	content := s.detail(id).Content
	eventually(t, 10*time.Second, "the callback runs", func() bool { return len(s.calls(content)) == 1 })
	if err := other.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	victim.Kill()
	d := s.reaches(id, 2, 30*time.Second)
	calls := s.calls(content)
	if len(calls) != 2 || calls[1].Retry != "0" || len(d.Logs) != 2 || d.Logs[0].Retry != 1 || d.Logs[0].Remark != "执行节点异常,任务已重新投递!" ||
		d.Logs[1].Retry != 2 || d.Logs[1].Remark != "success" {
		t.Errorf("%d calls, %+v", len(calls), d)
	}
}

func playShop(t *testing.T, s *shop) {
	t.Run("create, callback, detail", s.playSuccess)
	t.Run("a time of its own", s.playDelayed)
	t.Run("failures and their spacing", s.playFailures)
	t.Run("abort and retry", s.playAbort)
	t.Run("refusals", s.playRefusals)
}

func (s *shop) in(t *testing.T) *shop {
	c := *s
	c.t = t
	return &c
}

func (s *shop) playSuccess(t *testing.T) {
	s = s.in(t)
	for _, answer := range []string{"success", "SUCCESS", "success\n", `"success"`} {
		id := s.create(nil, answer)
		d := s.reaches(id, 2, 10*time.Second)
		calls := s.calls(d.Content)
		if len(calls) != 1 || calls[0].Retry != "0" || d.TaskID != id || d.Step != 1 || len(d.Logs) != 1 || d.Logs[0].Retry != 1 || d.Logs[0].Remark != "success" ||
			d.Logs[0].CreatedAt < d.CreatedAt || d.Runtime != d.CreatedAt || d.UpdatedAt < d.CreatedAt {
			t.Errorf("%q: %+v, %d calls", answer, d, len(calls))
		}
		s.serial += 100
	}
	var d shopDetail
	id := s.create(nil, "success")
	s.must("get:detail", map[string]any{"taskId": id}, &d)
	s.must("json:detail", map[string]any{"taskId": json.Number(id)}, &d)
	if d.TaskID != id {
		t.Errorf("%+v", d)
	}
	var made struct{ TaskID string }
	s.must("json:create", map[string]any{"taskNo": "object", "content": map[string]any{"z": 1, "a": []any{true, nil, "张"}, "answers": []string{"success"}}}, &made)
	d = s.reaches(made.TaskID, 2, 10*time.Second)
	if len(s.calls(d.Content)) != 1 || !strings.Contains(d.Content, `[true,null,"\u5f20"]`) {
		t.Errorf("%+v", d)
	}
}

func (s *shop) playDelayed(t *testing.T) {
	s = s.in(t)
	began := time.Now()
	id := s.create(map[string]any{"taskNo": "later", "inSeconds": 4}, "success")
	d := s.detail(id)
	if d.Status != 0 || d.Runtime < began.Unix()+2 || d.Runtime > time.Now().Unix()+4 {
		t.Fatalf("runtime is %d s from now: %+v", d.Runtime-time.Now().Unix(), d)
	}
	s.refused("create", map[string]any{"taskNo": "later", "content": "{}"}, "请勿重复提交！")
	d = s.reaches(id, 2, 15*time.Second)
	calls := s.calls(d.Content)
	if len(calls) != 1 || calls[0].At < float64(d.Runtime) || calls[0].At > float64(d.Runtime)+2 {
		t.Errorf("called %v, planned %d", calls, d.Runtime)
	}
	s.create(map[string]any{"taskNo": "later"}, "success")
}

func (s *shop) playFailures(t *testing.T) {
	s = s.in(t)
	id := s.create(nil, "库存不足", "500", "success")
	d := s.reaches(id, 2, 20*time.Second)
	calls := s.calls(d.Content)
	if len(calls) != 3 || len(d.Logs) != 3 || d.Logs[0].Remark != "库存不足" || d.Logs[1].Remark != "API接口异常,数据请求失败!" || d.Logs[2].Remark != "success" {
		t.Fatalf("%+v, %d calls", d, len(calls))
	}
	for i, want := range []float64{1, 2} { // step × n after the end
		if gap := calls[i+1].At - calls[i].At; gap < want || gap > want+1.5 {
			t.Errorf("retry %d came %.3f s after the run before it", i+1, gap)
		}
		if d.Logs[i].Retry != i+1 {
			t.Errorf("%+v", d.Logs)
		}
	}
	lost := s.create(nil, "no")
	d = s.reaches(lost, 2, 20*time.Second)
	if len(d.Logs) != 3 || len(s.calls(d.Content)) != 3 {
		t.Errorf("exhausted: %+v", d)
	}
	s.must("retry", map[string]any{"taskId": lost}, nil)
	eventually(t, 10*time.Second, "a fourth run", func() bool { return len(s.detail(lost).Logs) >= 4 })
	s.must("abort", map[string]any{"taskId": lost}, nil)
}

func (s *shop) playAbort(t *testing.T) {
	s = s.in(t)
	id := s.create(map[string]any{"inSeconds": 3600}, "success")
	s.must("abort", map[string]any{"taskId": id}, nil)
	if d := s.detail(id); d.Status != 3 || len(s.calls(d.Content)) != 0 {
		t.Errorf("%+v", d)
	}
	s.refused("abort", map[string]any{"taskId": id}, "任务已执行拦截失败!")
	s.must("retry", map[string]any{"taskId": id}, nil)
	if d := s.reaches(id, 2, 10*time.Second); len(s.calls(d.Content)) != 1 {
		t.Errorf("%+v", d)
	}
	s.refused("abort", map[string]any{"taskId": id}, "任务已执行拦截失败!")

	slow := s.create(nil, "slow")
	eventually(t, 10*time.Second, "the slow callback runs", func() bool { return len(s.calls(s.detail(slow).Content)) == 1 })
	s.refused("retry", map[string]any{"taskId": slow}, "任务正在执行，请稍后重试!")
	began := time.Now()
	s.must("abort", map[string]any{"taskId": slow}, nil)
	d := s.detail(slow)
	if d.Status != 3 || len(d.Logs) != 1 || d.Logs[0].Remark != "系统拦截" || time.Since(began) > 4*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), d)
	}
}

func (s *shop) playRefusals(t *testing.T) {
	s = s.in(t)
	id := s.create(nil, "success")
	s.must("nonce=once-only-1:detail", map[string]any{"taskId": id}, nil)
	s.refused("nonce=once-only-1:detail", map[string]any{"taskId": id}, "请勿重复提交！")
	s.refused("nonce=short:detail", map[string]any{"taskId": id}, "随机字符串不能小于6位！")
	for _, ahead := range []string{"at=-290:", "at=290:"} {
		s.must(ahead+"detail", map[string]any{"taskId": id}, nil)
	}
	for _, ahead := range []string{"at=-305:", "at=310:", "at=-28800:"} {
		s.refused(ahead+"detail", map[string]any{"taskId": id}, "请求时间与系统偏差过大！")
	}
	s.refused("detail", map[string]any{"taskId": "999999999"}, "没有找到相任务记录!")
	s.refused("abort", map[string]any{"taskId": "x"}, "任务信息获取失败!")
	s.refused("retry", map[string]any{"taskId": "04479d0a8ec8a5784cfededf7de970c5"}, "任务ID输入有误!")
	s.refused("create", map[string]any{"taskNo": "a", "content": "haha"}, "任务内容 必须是一个合法的 JSON 字符串")
	s.refused("create", map[string]any{"content": "{}"}, "任务编号 字段是必须的")
	s.refused("application", map[string]any{"appName": "x"}, "接口地址 字段是必须的")
	s.refused("application", map[string]any{"appName": "x", "linkUrl": s.callbackURL, "step": 3601}, "步长值 必须在 1 到 3600 之间")
	good := s.secret
	s.secret = strings.Repeat("x", 32)
	s.refused("detail", map[string]any{"taskId": id}, "签名校验失败！")
	s.secret = good
	key := s.appKey
	s.appKey = "1111111111111111"
	s.refused("detail", map[string]any{"taskId": id}, "应用不存在或者未审核！")
	s.appKey = key
}
