package serendipity

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// Name is the surface's name in the setting "surfaces", and its prefix.
const Name = "serendipity"

// maxBody bounds a request: a content of 256 KiB in the longest way to write it down.
const maxBody = 2 << 20

// TokenLife is the default of Options.TokenLife.
const TokenLife = 30 * 24 * time.Hour

// Options are what the surface needs. Fields without a remark are required.
type Options struct {
	Service *control.Service
	Nonces  compat.Nonces
	Zone    *time.Location // of date-times without a zone
	Logger  *slog.Logger
	// Classes says which kind of task runs a content.class: the whole name without a leading backslash, or its last part. nil: none.
	Classes map[string]string
	// TokenLife is how long signed headers are taken in token mode. 0: 30 days.
	TokenLife time.Duration
}

type api struct {
	svc       *control.Service
	nonces    compat.Nonces
	zone      *time.Location
	log       *slog.Logger
	classes   map[string]string
	tokenLife time.Duration
}

// New makes the surface.
func New(o Options) compat.Surface {
	a := &api{svc: o.Service, nonces: o.Nonces, zone: o.Zone, log: o.Logger, classes: o.Classes, tokenLife: o.TokenLife}
	if a.tokenLife <= 0 {
		a.tokenLife = TokenLife
	}
	s := compat.Surface{Name: Name, Speaks: speaks, Elsewhere: fail}
	route := func(method, path string, h httpkit.Handler) {
		s.Routes = append(s.Routes, httpkit.Route{Method: method, Path: path, Handle: h, Fail: fail})
	}
	route(http.MethodPost, "/application/create", a.createApplication)
	route(http.MethodPost, "/application/refresh-signature", a.refreshSignature)
	route(http.MethodPost, "/task/create", a.guarded(a.createTask))
	route(http.MethodPost, "/task/detail", a.guarded(a.taskDetail))
	route(http.MethodGet, "/task/detail", a.guarded(a.taskDetail))
	route(http.MethodPost, "/task/cancel", a.guarded(a.cancelTask))
	route(http.MethodPost, "/nsq/publish", a.guarded(a.publish))
	return s
}

// speaks reports whether a request has one of the headers that only this document knows (specification 1.1).
func speaks(r *httpkit.Request) bool {
	return r.HasHeader("nonce") || r.HasHeader("timestamps") || r.HasHeader("payload")
}

// refusal is an answer with code 1: what the client reads of an error.
type refusal string

// Error is the text.
func (r refusal) Error() string { return string(r) }

// Unwrap says that it is nobody's fault but the client's: it is not logged.
func (refusal) Unwrap() error { return errRefused }

var errRefused = &task.Error{Kind: task.Invalid, Code: "refused"}

// rule refuses a parameter.
func rule(name, text string) error { return refusal(name + " " + text) }

// errUnauthorized is every failure of a signature.
var errUnauthorized = &task.Error{Kind: task.Unauthorized, Code: "unauthorized", Message: "the signature does not hold"}

// envelope is every answer. Empty data is an array.
type envelope struct {
	Code int    `json:"code"` // 0; 1 for a refusal; else the status
	Msg  string `json:"msg"`
	Data any    `json:"data"`
}

var noData = []int{}

// ok answers with data.
func ok(msg string, data any) (httpkit.Response, error) {
	return httpkit.JSON(http.StatusOK, envelope{0, msg, data})
}

// fail renders an error in the envelope. What is refused has status 200; only a signature that does not hold, an address without a
// route and our own faults have a status of their own, and are HTML for those who ask for HTML, as they were.
func fail(r *httpkit.Request, err error) httpkit.Response {
	var e *task.Error
	var known refusal
	switch {
	case errors.As(err, &known):
		return answer(http.StatusOK, 1, string(known))
	case !errors.As(err, &e) || e.Kind == task.Internal:
		return status(r, http.StatusInternalServerError)
	case e.Kind == task.Unauthorized, e.Kind == task.Forbidden:
		return status(r, http.StatusUnauthorized)
	case e.Code == "method_not_allowed":
		return status(r, http.StatusMethodNotAllowed)
	case e.Code == "not_found":
		return status(r, http.StatusNotFound)
	case e.Kind == task.TooLarge:
		return answer(http.StatusOK, 1, textTooLarge)
	case e.Kind == task.Malformed:
		return answer(http.StatusOK, 1, textBadParams)
	case e.Kind == task.Unavailable, e.Kind == task.Throttled:
		r.SetHeader("Retry-After", "1")
	}
	return answer(http.StatusOK, 1, textUnknown)
}

func answer(status, code int, msg string) httpkit.Response {
	resp, err := httpkit.JSON(status, envelope{code, msg, noData})
	if err != nil {
		return httpkit.Response{Status: http.StatusInternalServerError}
	}
	return resp
}

// status answers with an HTTP status.
func status(r *httpkit.Request, code int) httpkit.Response {
	text := strings.ToUpper(http.StatusText(code))
	if strings.Contains(r.Header("Accept"), "text/html") {
		return httpkit.Response{Status: code, ContentType: "text/html; charset=utf-8", Body: []byte("<h2>HTTP " + httpCode(code) + " " + text + "</h2>")}
	}
	return answer(code, code, text)
}

// parameters reads them from where they belong: the body of a POST, the query of a GET.
func parameters(r *httpkit.Request) (p compat.Params, err error) {
	if r.Method() != http.MethodPost {
		if p, err = compat.ParseForm(r.RawQuery()); err != nil {
			return nil, refusal(textBadParams)
		}
		return p, nil
	}
	r.LimitBody(maxBody)
	body, err := r.Body()
	if err != nil {
		return nil, err
	}
	if p, err = compat.Decode(r.Header("Content-Type"), body); err != nil {
		return nil, refusal(textBadParams)
	}
	return p, nil
}
