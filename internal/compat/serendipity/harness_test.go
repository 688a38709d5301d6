package serendipity_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
	"go.uber.org/goleak"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if err := testkit.AtOnce(3); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// plant is a running standalone.
type plant struct{ *app.App }

// newStandalone starts one in a folder, with settings and runners beyond those of every test. It is stopped with the test.
func newStandalone(t testing.TB, environ []string, runners ...worker.Runner) plant {
	t.Helper()
	cfg, err := config.Load(config.Standalone, nil, append([]string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + t.TempDir()}, environ...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(t.Context(), cfg, app.Options{Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})), Runners: runners})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return plant{a}
}

// call is one request of the administrator to /v1.
func (p plant) call(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.APIKey())
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, raw, err)
	}
	return res.StatusCode
}

// shop is a client of Serendipity-job as its document describes one, with its receiver.
type shop struct {
	t           *testing.T
	base        string // with the surface's prefix, or without
	key, secret string
	token       http.Header // the headers that creating the application answered

	mu      sync.Mutex
	answer  func(n int, data string) (status int, body string) // of the n-th callback, from 1
	got     []callback
	arrived chan struct{}
}

type callback struct {
	data   string
	body   string
	header http.Header
	at     time.Time
	broken bool // the connection ended before the answer
}

// reply is the envelope.
type reply struct {
	status int
	header http.Header
	raw    string
	Code   int             `json:"code"`
	Msg    string          `json:"msg"`
	Data   json.RawMessage `json:"data"`
}

func (r *reply) want(t *testing.T, code int, msg string) *reply {
	t.Helper()
	if r.status != 200 || r.Code != code || r.Msg != msg || code == 1 && string(r.Data) != "[]" {
		t.Errorf("status %d, %s; want code %d %q", r.status, r.raw, code, msg)
	}
	return r
}

// newShop makes a receiver and an application with the fields beside name and URL.
func newShop(t *testing.T, base, fields string) *shop {
	t.Helper()
	s := &shop{t: t, base: base, arrived: make(chan struct{}, 1000)}
	s.answer = func(int, string) (int, string) { return 200, "success" }
	srv := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	if fields != "" {
		fields = "," + fields
	}
	r := s.send("POST", "/application/create", `{"appName":"帅的批爆","linkUrl":"`+srv.URL+`/cb"`+fields+`}`, nil)
	r.want(t, 0, "Ok!")
	var got struct{ Nonce, Timestamps, Signature, AppKey, Payload, SecretKey string }
	if err := json.Unmarshal(r.Data, &got); err != nil || len(got.AppKey) != 16 || len(got.SecretKey) != 32 || len(got.Nonce) != 16 {
		t.Fatalf("%s %v", r.raw, err)
	}
	s.key, s.secret = got.AppKey, got.SecretKey
	s.token = http.Header{"app_key": {got.AppKey}, "nonce": {got.Nonce}, "timestamps": {got.Timestamps}, "payload": {got.Payload}, "signature": {got.Signature}}
	if got.Signature != signOf(got.Timestamps, got.Nonce, got.Payload, s.secret) || got.Payload != "f3c5fa5b2b4045bcb1132ddece49c0f4" {
		t.Errorf("%s", r.raw)
	}
	return s
}

func signOf(timestamps, nonce, payload, secret string) string {
	m := hmac.New(sha256.New, []byte(secret))
	io.WriteString(m, timestamps+nonce+payload)
	return base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(m.Sum(nil))))
}

// signed makes headers of the shop's own.
func (s *shop) signed(at time.Time, payload string) http.Header {
	ts, nonce := strconv.FormatInt(at.Unix(), 10), rand.Text()[:16]
	return http.Header{"app_key": {s.key}, "nonce": {nonce}, "timestamps": {ts}, "payload": {payload}, "signature": {signOf(ts, nonce, payload, s.secret)}}
}

// send sends a request with exactly these headers.
func (s *shop) send(method, path, body string, h http.Header) *reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" && strings.HasPrefix(strings.TrimSpace(body), "{") {
		req.Header["Content-Type"] = []string{"application/json"}
	} else if body != "" {
		req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	}
	for k, v := range h {
		req.Header[k] = v
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if err := json.Unmarshal(raw, r); err != nil && !strings.HasPrefix(r.raw, "<h2>") {
		s.t.Errorf("%s %s: %d %s", method, path, r.status, raw)
	}
	return r
}

// do sends a request with the token.
func (s *shop) do(method, path, body string) *reply {
	s.t.Helper()
	return s.send(method, path, body, s.token)
}

// create submits a task and gives its id.
func (s *shop) create(body string) int64 {
	s.t.Helper()
	r := s.do("POST", "/task/create", body).want(s.t, 0, "ok!")
	var got struct {
		TaskID int64 `json:"taskId"`
	}
	if err := json.Unmarshal(r.Data, &got); err != nil || got.TaskID < 1 || string(r.Data) != fmt.Sprintf(`{"taskId":%d}`, got.TaskID) {
		s.t.Fatalf("%s %v", r.raw, err)
	}
	return got.TaskID
}

// detailed is what detail answers.
type detailed struct {
	State       *string         `json:"state"`
	TraceList   string          `json:"trace_list"`
	File        *string         `json:"executed_file_name"`
	Function    *string         `json:"executed_function_name"`
	Line        *int            `json:"executed_function_line"`
	Vars        json.RawMessage `json:"vars"`
	Round       *int64          `json:"round"`
	Elapsed     *int64          `json:"elapsed"`
	CoroutineID *int64          `json:"coroutine_id"`
	ServiceID   *string         `json:"service_id"`
	Task        *struct {
		ID         int64
		TaskNo     string `json:"task_no"`
		Name       string
		Status     int
		Step       int
		Runtime    string
		Content    string
		Timeout    int
		RetryTimes int `json:"retry_times"`
		Memo       *string
		Result     *string
		CreatedAt  string  `json:"created_at"`
		UpdatedAt  *string `json:"updated_at"`
		Logs       []struct {
			CoroutineID int64 `json:"coroutine_id"`
			Retry       int
			Remark      string
			CreatedAt   string `json:"created_at"`
		}
	}
}

func (s *shop) detail(query string) detailed {
	s.t.Helper()
	var d detailed
	r := s.do("GET", "/task/detail?"+query, "").want(s.t, 0, "ok!")
	if err := json.Unmarshal(r.Data, &d); err != nil {
		s.t.Fatalf("%s: %v", r.raw, err)
	}
	return d
}

// until asks for a task's detail until it is as wanted.
func (s *shop) until(id int64, what string, ok func(detailed) bool) detailed {
	s.t.Helper()
	var d detailed
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if d = s.detail("id=" + strconv.FormatInt(id, 10)); ok(d) {
			return d
		}
	}
	s.t.Fatalf("task %d is never %s: %+v %+v", id, what, d, d.Task)
	return d
}

func inStatus(n int) func(detailed) bool {
	return func(d detailed) bool { return d.Task != nil && d.Task.Status == n }
}

// receive is the shop's receiver. It checks the headers as the document's reader would.
func (s *shop) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	h := r.Header
	sum := md5.Sum(body)
	if want := signOf(h.Get("timestamps"), h.Get("nonce"), h.Get("payload"), s.secret); r.Method != "POST" || len(form) != 1 || h.Get("signature") != want ||
		h.Get("app_key") != s.key || h.Get("payload") != hex.EncodeToString(sum[:]) {
		s.t.Errorf("callback %s %q %v", r.Method, body, h)
	}
	s.mu.Lock()
	s.got = append(s.got, callback{data: form.Get("data"), body: string(body), header: h.Clone(), at: time.Now()})
	n, answer := len(s.got), s.answer
	s.mu.Unlock()
	s.arrived <- struct{}{}
	status, text := answer(n, form.Get("data"))
	if status == 0 { // never: until the caller goes away
		<-r.Context().Done()
		s.mu.Lock()
		if n <= len(s.got) {
			s.got[n-1].broken = true
		}
		s.mu.Unlock()
		s.arrived <- struct{}{}
		return
	}
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// isBroken reports whether the connection of the callback ended before its answer.
func (c callback) isBroken(s *shop) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.broken
}

// answers sets what the receiver says.
func (s *shop) answers(f func(n int, data string) (int, string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.got = f, nil
}

// callbacks waits until there are n.
func (s *shop) callbacks(n int) []callback {
	s.t.Helper()
	for end := time.After(60 * time.Second); ; {
		s.mu.Lock()
		got := append([]callback(nil), s.got...)
		s.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-s.arrived:
		case <-end:
			s.t.Fatalf("%d callbacks, want %d", len(got), n)
		}
	}
}

func compactJSON(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
