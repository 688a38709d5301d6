package httpcall

import (
	"net/http"
	"net/url"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Dialect is one surface's way to call an app back: how the request looks, and what an answer means. A surface may
// translate; it may not decide. Everything else is the same for all of them and not a dialect's to do: where the app's
// callbacks go, the guard, TLS, limits of size and of concurrency, the headers that name task, epoch and attempt, the
// Standard Webhooks signature, metrics, and what is kept of an attempt for inspection.
//
// A dialect is used by many goroutines at once and keeps nothing of what it is given.
type Dialect interface {
	// Kind is the kind of task that it sends, for example "goodjob.callback".
	Kind() string
	// Build makes the request of one attempt. now is the database's clock. An error is the end of the task: its text is
	// shown, so it names no secret.
	Build(to Target, job worker.Job, now time.Time) (Call, error)
	// Judge says what an answer means. What it leaves empty is filled in: HTTPStatus, and of a failure ErrCode and
	// ErrMessage. RetryAfterMs of the result only lengthens the pause that the task's policy says.
	Judge(a Answer) task.Result
}

// Target is where a call goes and whose it is.
type Target struct {
	App    task.App // with its settings; Secret is sealed
	URL    *url.URL // without name and password; not to be changed
	Secret string   // the signing secret, opened; never to be logged
}

// Call is a request as a dialect builds it.
type Call struct {
	URL    string      // "": the target's
	Method string      // "": POST
	Header http.Header // sent with the names as they are spelled here; those that the component sets itself are overwritten
	Body   []byte
}

// Answer is what came of a call.
type Answer struct {
	Status    int // 0: no answer came
	Header    http.Header
	Body      []byte // first 64 KiB of a 2xx, first 2 KiB of anything else; nil: empty
	Truncated bool   // there was more

	// Code says why no whole answer came: "address_refused", "name_not_resolved", "certificate_refused",
	// "connection_failed" or "interrupted" (the attempt's own time limit, or a cancel); "" when one did. A body that broke off
	// has a Status and a Code.
	Code      string
	Message   string // for people, with Code
	Permanent bool   // with Code: trying again cannot help

	// RetryAfterMs is what the Retry-After header asks for, at most an hour; 0: nothing.
	RetryAfterMs int64
}

// Failed is the result of a call that got no whole answer, for dialects that mean by it what everybody does.
func (a *Answer) Failed() task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: a.Permanent, HTTPStatus: int16(a.Status), ErrCode: a.Code, ErrMessage: a.Message}
}

// native is the dialect of kind callback: the payload, byte for byte.
type native struct{}

func (native) Kind() string { return "callback" }

var jsonType = []string{"application/json"}

func (native) Build(_ Target, job worker.Job, _ time.Time) (Call, error) {
	h := make(http.Header, 10)
	h["Content-Type"] = jsonType
	return Call{Header: h, Body: job.Payload}, nil
}

func (native) Judge(a Answer) task.Result { return judge(&a) }
