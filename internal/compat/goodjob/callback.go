package goodjob

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Kind is the kind of the surface's tasks.
const Kind = "goodjob.callback"

// success is the answer that ends a task well.
const success = "success"

// Codes of failures that detail shows in its own way.
const (
	codeOtherAnswer = "answer_not_success"
	codeEmptyAnswer = "answer_empty"
)

// Dialect is how the surface calls an app back (httpcall.Dialect): a POST of the form field "data", signed by the document's
// algorithm over the hyphenated names of the headers, or the underscored ones for apps of that style. Both spellings are
// sent, because proxies drop names with underscores and the document has only those.
//
// The body of the answer decides: "success", in any case, with white space or quotes around it. Everything else is tried again after step × n
// seconds, whatever the status: 202 and 410 mean nothing here.
type Dialect struct{ zone *time.Location }

// NewDialect makes it. zone is that of the header "timestamp".
func NewDialect(zone *time.Location) Dialect { return Dialect{zone} }

// Kind is goodjob.callback.
func (Dialect) Kind() string { return Kind }

var (
	formType     = []string{"application/x-www-form-urlencoded"}
	versionValue = []string{version}
)

// Build makes the request of one run.
func (d Dialect) Build(to httpcall.Target, job worker.Job, now time.Time) (httpcall.Call, error) {
	data := string(job.Payload)
	c := credentials{appKey: to.App.Key, nonce: randomNonce(), time: compat.FormatAt(now, d.zone), version: version,
		hyphens: to.App.Legacy.HeaderStyle != task.HeaderUnderscore}
	signature := signCallback(data, c, to.Secret)
	key, nonce, id := []string{c.appKey}, []string{c.nonce}, []string{strconv.FormatInt(job.TaskID, 10)}
	h := make(http.Header, 24)
	h["Content-Type"] = formType
	h["app-key"], h["app_key"] = key, key
	h["nonce-str"], h["nonce_str"] = nonce, nonce
	h["timestamp"] = []string{c.time}
	h["version"] = versionValue
	h["signature"] = []string{signature}
	h["task-id"] = id
	h["retry"] = []string{strconv.Itoa(job.Retry)}
	return httpcall.Call{Header: h, Body: []byte("data=" + url.QueryEscape(data))}, nil
}

// signCallback signs the data of a callback.
func signCallback(data string, c credentials, secret string) string {
	s, _ := sign(compat.Params{{Name: "data", Value: compat.Text(data)}}, c, secret, compat.Form{}) // data is shorter than what can be joined
	return s
}

// randomNonce draws ten letters and digits.
func randomNonce() string { return rand.Text()[:10] }

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
