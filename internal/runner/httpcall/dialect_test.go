package httpcall

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/signature"
)

// form is a dialect as surfaces write them: a form, headers with names of their own, and a body that decides.
type form struct {
	build func(Target, worker.Job, time.Time) (Call, error)
}

func (form) Kind() string { return "form" }

func (f form) Build(to Target, job worker.Job, now time.Time) (Call, error) {
	if f.build != nil {
		return f.build(to, job, now)
	}
	h := http.Header{"app_key": {to.App.Key}, "at": {now.UTC().Format(time.DateTime)}, "Content-Type": {"application/x-www-form-urlencoded"}}
	h["secret-of"] = []string{fmt.Sprint(len(to.Secret))}
	return Call{Header: h, Body: append([]byte("data="), job.Payload...)}, nil
}

func (form) Judge(a Answer) task.Result {
	switch {
	case a.Code != "":
		return a.Failed()
	case strings.EqualFold(string(a.Body), "success"):
		return task.Result{Outcome: task.OutcomeSucceeded}
	}
	return task.Result{Outcome: task.OutcomeFailed, RetryAfterMs: a.RetryAfterMs}
}

func runForm(t *testing.T, url string, d form) task.Result {
	t.Helper()
	store := &apps{app: task.App{ID: 3, Key: "k3", Name: "shop", CallbackURL: url, Secret: []byte(appSecret)}}
	return NewCallbackKind(options(t), store, plainBox{}, d).Run(t.Context(), job(`1`))
}

func TestADialectBuildsAndJudges(t *testing.T) {
	status, body, header := 500, "Success", http.Header{}
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
	res := runForm(t, strings.Replace(s.URL, "//", "//u:p@", 1), form{})
	if res.Outcome != task.OutcomeSucceeded || res.HTTPStatus != 500 {
		t.Errorf("the body decides: %+v", res)
	}
	h := s.got.Header
	if s.body != "data=1" || h["App_key"][0] != "k3" || h.Get("At") != "2023-11-14 22:13:20" || h.Get("Secret-Of") != fmt.Sprint(len(appSecret)) {
		t.Errorf("%q %v", s.body, h)
	}
	for name, want := range map[string]string{"Taskweir-Task-Id": "17", "Taskweir-Epoch": "2", "Taskweir-Attempt": "99", "Idempotency-Key": "17", "Webhook-Id": "task_17"} {
		if h.Get(name) != want {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	if u, p, _ := s.got.BasicAuth(); u != "u" || p != "p" {
		t.Errorf("%s %s", u, p)
	}
	if err := signature.Verify(h, []byte(s.body), time.UnixMilli(int64(now)), signature.Secret(appSecret)); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		status int
		body   string
		header http.Header
		want   task.Result
	}{
		{200, "no", nil, task.Result{Outcome: task.OutcomeFailed, HTTPStatus: 200, ErrCode: "http_200", ErrMessage: "no"}},
		{202, "", nil, task.Result{Outcome: task.OutcomeFailed, HTTPStatus: 202, ErrCode: "http_202", ErrMessage: "answered 202 Accepted"}},
		{410, "gone", nil, task.Result{Outcome: task.OutcomeFailed, HTTPStatus: 410, ErrCode: "http_410", ErrMessage: "gone"}},
		{503, "later", http.Header{"Retry-After": {"7"}}, task.Result{Outcome: task.OutcomeFailed, HTTPStatus: 503, ErrCode: "http_503", ErrMessage: "later", RetryAfterMs: 7_000}},
	} {
		status, body, header = c.status, c.body, c.header
		got := runForm(t, s.URL, form{})
		if got.Delivery == nil {
			t.Errorf("%d: the call was not kept", c.status)
		}
		if got.Delivery = nil; fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%d: %+v, want %+v", c.status, got, c.want)
		}
	}
}

// TestADialectGoesNowhereItMayNot: another URL gets no credentials of the target, and is guarded and checked the same.
func TestADialectGoesNowhereItMayNot(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("success")) })
	to := func(url string, err error) form {
		return form{build: func(Target, worker.Job, time.Time) (Call, error) { return Call{URL: url, Method: "PUT"}, err }}
	}
	if res := runForm(t, "http://u:p@127.0.0.1:1", to(s.URL+"/x", nil)); res.Outcome != task.OutcomeSucceeded || s.got.Method != "PUT" || s.got.Header.Get("Authorization") != "" {
		t.Errorf("%+v %s %v", res, s.got.Method, s.got.Header)
	}
	if res := runForm(t, s.URL, to("http://10.0.0.1/", nil)); res.ErrCode != codeRefused || !res.Permanent {
		t.Errorf("%+v", res)
	}
	for _, d := range []form{to("ftp://x", nil), to("", errors.New("content is no JSON"))} {
		if res := runForm(t, s.URL, d); res.ErrCode != "invalid_payload" || !res.Permanent {
			t.Errorf("%+v", res)
		}
	}
}

func TestADialectHearsWhatWentWrong(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	s.Close()
	if res := runForm(t, s.URL, form{}); res.Outcome != task.OutcomeFailed || res.ErrCode != "connection_failed" || res.Permanent {
		t.Errorf("%+v", res)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(worker.ErrTimeout)
	store := &apps{app: task.App{ID: 3, CallbackURL: s.URL, Secret: []byte(appSecret)}}
	if res := NewCallbackKind(options(t), store, plainBox{}, form{}).Run(ctx, job(`1`)); res.ErrCode != codeInterrupted {
		t.Errorf("%+v", res)
	}
}
