package serendipity

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Kind is the kind of the surface's tasks.
const Kind = "serendipity.callback"

// success is the answer that ends a task well.
const success = "success"

// codeEmptyAnswer is the failure of an answer with nothing in it.
const codeEmptyAnswer = "answer_empty"

const codeOtherAnswer = "answer_not_success"

// Dialect is how the surface calls an app back (httpcall.Dialect): a POST of the form field "data", with the document's headers.
// payload is the MD5 of the body, so that a receiver that checks it knows that nobody changed what it got. The app's key is
// sent in both spellings, because proxies drop names with underscores and the document has only that.
//
// The body of the answer decides: "success", in any case, with white space or quotes around it. Everything else is tried again
// after step × n seconds, whatever the status: 202 and 410 mean nothing here.
type Dialect struct{}

// Kind is serendipity.callback.
func (Dialect) Kind() string { return Kind }

var formType = []string{"application/x-www-form-urlencoded"}

// Build makes the request of one run.
func (Dialect) Build(to httpcall.Target, job worker.Job, now time.Time) (httpcall.Call, error) {
	return callOf(to, job, string(job.Payload), now), nil
}

// ResultKind is the kind of the deliveries of results: of tasks whose class is run by a handler.
const ResultKind = "serendipity.result"

// Results is how the result of a handler is POSTed to the app: as a callback is, with the result's JSON as data.
type Results struct{ Dialect }

// Kind is serendipity.result.
func (Results) Kind() string { return ResultKind }

// Build makes the request of one delivery (task.CompletionPayload). It goes to the app's URL of now.
func (Results) Build(to httpcall.Target, job worker.Job, now time.Time) (httpcall.Call, error) {
	var p task.CompletionPayload
	if err := json.Unmarshal(job.Payload, &p); err != nil {
		return httpcall.Call{}, errors.New("is no delivery of a result")
	}
	id, err := strconv.ParseInt(p.Event.Data.ID, 10, 64)
	if err != nil {
		return httpcall.Call{}, errors.New("is no delivery of a result")
	}
	data := "null"
	if len(p.Event.Data.Result) > 0 {
		data = string(p.Event.Data.Result)
	}
	job.TaskID = id // the client knows the task, not its delivery
	return callOf(to, job, data, now), nil
}

// callOf POSTs data.
func callOf(to httpcall.Target, job worker.Job, data string, now time.Time) httpcall.Call {
	body := []byte("data=" + url.QueryEscape(data))
	p := called(md5Hex(body), to.Secret, now.UnixMilli())
	key := []string{to.App.Key}
	h := make(http.Header, 20)
	h["Content-Type"] = formType
	h["app_key"], h["app-key"] = key, key
	h["nonce"] = []string{p.nonce}
	h["timestamps"] = []string{p.timestamps}
	h["payload"] = []string{p.payload}
	h["signature"] = []string{p.signature}
	h["task-id"] = []string{strconv.FormatInt(job.TaskID, 10)}
	h["retry"] = []string{strconv.Itoa(job.Retry)}
	return httpcall.Call{Header: h, Body: body}
}

// Judge says what an answer means.
func (Dialect) Judge(a httpcall.Answer) task.Result {
	if a.Code != "" {
		res := a.Failed()
		res.Permanent = false // the document knows no failure that is not tried again
		return res
	}
	if succeeded(a.Body) {
		return task.Result{Outcome: task.OutcomeSucceeded}
	}
	res := task.Result{Outcome: task.OutcomeFailed, RetryAfterMs: a.RetryAfterMs}
	switch {
	case a.Status >= 400: // the component's code and text
	case len(a.Body) == 0:
		res.ErrCode = codeEmptyAnswer
	default:
		res.ErrCode = codeOtherAnswer
	}
	return res
}

// succeeded reports whether a body is "success".
func succeeded(body []byte) bool {
	const longest = 64 // with white space around it
	if len(body) > longest {
		return false
	}
	s := strings.ToLower(strings.TrimSpace(string(body)))
	if len(s) > 1 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	return s == success
}
