package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/signature"
)

// newApp makes an app with a callback URL and an API key, and gives its id, signing secret and key.
func (a *App) newApp(t *testing.T, callback string) (id, secret, key string) {
	t.Helper()
	var app apiv1.App
	if status := a.call(t, "POST", "/v1/apps", fmt.Sprintf(`{"name":"shop","callbackUrl":%q}`, callback), &app); status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	var k apiv1.Key
	if status := a.call(t, "POST", "/v1/apps/"+app.ID+"/keys", `{"scope":"manage"}`, &k); status != http.StatusCreated {
		t.Fatalf("status %d", status)
	}
	return app.ID, app.SigningSecret, k.Key
}

func (a *App) submitAs(t *testing.T, key, body string) apiv1.Task {
	t.Helper()
	var got apiv1.Task
	if status := a.callAs(t, key, "POST", "/v1/tasks", body, &got); status != http.StatusCreated {
		t.Fatalf("submit %s: status %d", body, status)
	}
	return got
}

// until polls a task until something holds, for 20 s.
func (a *App) until(t *testing.T, id apiv1.ID, what string, holds func(apiv1.Task) bool) apiv1.Task {
	t.Helper()
	var got apiv1.Task
	for range 1000 {
		a.call(t, "GET", "/v1/tasks/"+id.String()+"?app=*", "", &got)
		if holds(got) {
			return got
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	t.Fatalf("not %s: %+v", what, got)
	return got
}

// TestAReceiverCompletesLater: it takes the task over, and may complete it before the worker has stored that. The end is told.
func TestAReceiverCompletesLater(t *testing.T) {
	type call struct {
		header http.Header
		body   string
	}
	told := make(chan call, 10)
	taken := make(chan http.Header, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/done" {
			told <- call{r.Header, string(body)}
			return
		}
		w.Header().Set(apiv1.HeaderCompleteWithin, "60")
		w.WriteHeader(http.StatusAccepted)
		taken <- r.Header
	}))
	defer s.Close()
	a := newStandalone(t, t.TempDir())
	_, secret, key := a.newApp(t, s.URL)
	for _, outcome := range []string{`"succeeded","result":{"sent": 17}`, `"failed","permanent":true,"error":{"code":"no_stock","message":"none left"}`} {
		id := a.submitAs(t, key, fmt.Sprintf(`{"kind":"callback","completionUrl":%q,"labels":{"order":"17"}}`, s.URL+"/done")).ID
		if h := <-taken; h.Get("Taskweir-Task-Id") != id.String() {
			t.Fatalf("%v", h)
		}
		var got apiv1.Task
		if status := a.callAs(t, key, "POST", "/v1/tasks/"+id.String()+"/complete", `{"epoch":1,"outcome":`+outcome+`}`, &got); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if apiv1.Final(got.State) != true || len(got.Attempts) != 1 || !strings.HasPrefix(outcome, `"`+got.State) {
			t.Errorf("%+v", got)
		}
		c := <-told
		if err := signature.Verify(c.header, []byte(c.body), time.Now(), signature.Secret(secret)); err != nil {
			t.Error(err)
		}
		var e struct {
			Type string
			Data apiv1.Task
		}
		if err := json.Unmarshal([]byte(c.body), &e); err != nil || e.Type != "task."+got.State || e.Data.ID != id || e.Data.Labels["order"] != "17" {
			t.Errorf("%v: %s", err, c.body)
		}
	}
}

// TestAnAttemptOutlivesEveryProcess: taken over before a restart, completed after it.
func TestAnAttemptOutlivesEveryProcess(t *testing.T) {
	taken := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(apiv1.HeaderCompleteWithin, "600")
		w.WriteHeader(http.StatusAccepted)
		taken <- struct{}{}
	}))
	defer s.Close()
	dir := t.TempDir()
	a, err := tryStandalone(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	id := a.submit(t, fmt.Sprintf(`{"kind":"http","payload":{"url":%q},"timeoutMs":30000}`, s.URL)).ID
	<-taken
	got := a.until(t, id, "handed over", func(t apiv1.Task) bool { return t.CompleteBy != 0 })
	if got.State != "running" || got.FinishedAt != 0 || len(got.Attempts) != 1 || got.Attempts[0].Outcome != "" {
		t.Errorf("%+v", got)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	a = newStandalone(t, dir)
	got = a.until(t, id, "still running", func(t apiv1.Task) bool { return t.State == "running" })
	var p apiv1.Problem
	if status := a.call(t, "POST", "/v1/tasks/"+id.String()+"/complete", `{"epoch":2,"outcome":"succeeded"}`, &p); status != http.StatusConflict || p.Code != "epoch_mismatch" {
		t.Errorf("%d %s", status, p.Code)
	}
	for range 2 { // the second is a repetition
		if status := a.call(t, "POST", "/v1/tasks/"+id.String()+"/complete", `{"epoch":1,"outcome":"succeeded","result":"late"}`, &got); status != http.StatusOK || got.State != "succeeded" || string(got.Result) != `"late"` {
			t.Errorf("%d %+v", status, got)
		}
	}
	if len(taken) != 0 {
		t.Error("it was called again")
	}
}

// TestAnAttemptThatNobodyCompletes is tried again by the task's policy, and what it sent can be looked at.
func TestAnAttemptThatNobodyCompletes(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set(apiv1.HeaderCompleteWithin, "1")
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer s.Close()
	a := newStandalone(t, t.TempDir())
	got := a.wait(t, a.submit(t, fmt.Sprintf(`{"kind":"http","payload":{"url":%q,"body":"seen"},"retry":{"policy":"fixed","baseMs":50}}`, s.URL)).ID)
	if got.State != "succeeded" || got.Failures != 1 || len(got.Attempts) != 2 || got.Attempts[0].Error == nil || got.Attempts[0].Error.Code != "completion_timeout" {
		t.Fatalf("%+v", got)
	}
	for i, status := range []int{202, 200} {
		var d struct{ Delivery apiv1.Delivery }
		path := fmt.Sprintf("/v1/tasks/%s/attempts/%s", got.ID, got.Attempts[i].ID)
		if code := a.call(t, "GET", path, "", &d); code != http.StatusOK || d.Delivery.Status != status || d.Delivery.RequestBody != "seen" {
			t.Errorf("%d: %+v", code, d.Delivery)
		}
	}
	if code := a.call(t, "POST", "/v1/tasks/"+got.ID.String()+"/resend", "", &got); code != http.StatusOK {
		t.Errorf("status %d", code)
	}
	if got = a.wait(t, got.ID); calls.Load() != 3 || len(got.Attempts) != 3 {
		t.Errorf("%d calls, %+v", calls.Load(), got)
	}
}

func TestTestCallback(t *testing.T) {
	t.Parallel()
	var secret atomic.Value
	mode := "verifies"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		good := signature.Verify(r.Header, body, time.Now(), signature.Secret(secret.Load().(string))) == nil
		if r.Header.Get("Taskweir-Probe") != "1" {
			t.Error("a probe does not say so")
		}
		switch {
		case mode == "verifies" && good, mode == "believes anything":
		case mode == "moved":
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusFound)
		case mode == "broken":
			http.Error(w, "the disk is full", http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	a := newStandalone(t, t.TempDir())
	id, sec, _ := a.newApp(t, s.URL+"/hook?token=hide-me")
	secret.Store(sec)
	for _, c := range []struct {
		mode string
		ok   bool
		says string
	}{
		{"verifies", true, "takes what is signed well"}, {"believes anything", true, "does not verify signatures"}, {"refuses", false, "another secret"},
		{"moved", false, "https://elsewhere.example/"}, {"broken", false, "the disk is full"}, {"gone", false, "Is the receiver running"},
	} {
		if mode = c.mode; mode == "gone" {
			s.Close()
		}
		var got apiv1.CallbackTest
		if status := a.call(t, "POST", "/v1/apps/"+id+"/test-callback", "", &got); status != http.StatusOK {
			t.Fatalf("%s: status %d", c.mode, status)
		}
		text := strings.Join(got.Findings, "\n")
		if got.OK != c.ok || !strings.Contains(text, c.says) || strings.Contains(fmt.Sprint(got), "hide-me") || strings.Contains(fmt.Sprint(got), sec) {
			t.Errorf("%s: %+v", c.mode, got)
		}
	}
	for address, says := range map[string]string{"http://10.0.0.1/": "guard refused", "http://nobody.invalid/": "does not resolve"} {
		if status := a.call(t, "PATCH", "/v1/apps/"+id, fmt.Sprintf(`{"callbackUrl":%q}`, address), nil); status != http.StatusOK {
			t.Fatal(status)
		}
		var got apiv1.CallbackTest
		for range 20 { // workers read an app again after 5 s
			a.call(t, "POST", "/v1/apps/"+id+"/test-callback", "", &got)
			if strings.HasPrefix(got.URL, address) {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
		if got.OK || !strings.Contains(strings.Join(got.Findings, "\n"), says) {
			t.Errorf("%s: %+v", address, got)
		}
	}
}

// TestADeadEndpointDelaysOnlyItsOwnTasks: with a quarter of the slots that its tasks would take, the others go on at once; its own are
// postponed without using a retry, and are done when it is back.
func TestADeadEndpointDelaysOnlyItsOwnTasks(t *testing.T) {
	t.Parallel()
	var dead atomic.Bool
	dead.Store(true)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if dead.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer s.Close()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hangs.Close()
	a := newStandalone(t, t.TempDir(), "TASKWEIR_WORKER_SLOTS=8")
	batch := func(url string, n int, rest string) (ids []apiv1.ID) {
		for range n {
			ids = append(ids, a.submit(t, fmt.Sprintf(`{"kind":"http","payload":{"url":%q}%s}`, url, rest)).ID)
		}
		return ids
	}
	waiting := batch(hangs.URL, 30, "")
	failing := batch(s.URL, 20, `,"retry":{"policy":"fixed","baseMs":1,"max":50}`)
	start := time.Now()
	for range 5 {
		if got := a.wait(t, a.submit(t, `{"kind":"echo","payload":1}`).ID); got.State != "succeeded" {
			t.Fatalf("%+v", got)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("others waited %v", took)
	}
	snoozed := a.until(t, failing[19], "postponed", func(t apiv1.Task) bool {
		n := len(t.Attempts)
		return n > 0 && t.Attempts[n-1].Outcome == "snoozed" && t.Attempts[n-1].Error.Code == "endpoint_resting"
	})
	if snoozed.State != "scheduled" && snoozed.State != "queued" {
		t.Errorf("%s", snoozed.State)
	}
	dead.Store(false)
	close(release)
	for _, id := range append(failing, waiting...) {
		got := a.until(t, id, "done", func(t apiv1.Task) bool { return t.State == "succeeded" })
		failed := 0
		for _, x := range got.Attempts {
			if x.Outcome == "failed" {
				failed++
			}
		}
		if failed != got.Failures {
			t.Errorf("%d failed attempts, %d count", failed, got.Failures)
		}
	}
}
