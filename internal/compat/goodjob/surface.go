package goodjob

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// Name is the surface's name in the setting "surfaces", and its prefix.
const Name = "goodjob"

// maxBody bounds a request: a content of 256 KiB in the longest way to write it down.
const maxBody = 2 << 20

// Options are what the surface needs. All fields are required.
type Options struct {
	Service *control.Service
	Nonces  compat.Nonces
	Zone    *time.Location // of date-times without a zone
	Logger  *slog.Logger
}

// New makes the surface.
func New(o Options) compat.Surface {
	a := &api{svc: o.Service, nonces: o.Nonces, zone: o.Zone, log: o.Logger}
	s := compat.Surface{Name: Name, Elsewhere: elsewhere}
	route := func(method, path string, h httpkit.Handler) {
		s.Routes = append(s.Routes, httpkit.Route{Method: method, Path: path, Handle: h, Fail: fail})
	}
	route(http.MethodGet, "/", a.hello)
	route(http.MethodPost, "/application", a.createApplication)
	route(http.MethodPost, "/task/create", a.signed(a.createTask))
	route(http.MethodPost, "/task/abort", a.signed(a.abortTask))
	route(http.MethodPost, "/task/retry", a.signed(a.retryTask))
	route(http.MethodPost, "/task/detail", a.signed(a.taskDetail))
	route(http.MethodGet, "/task/detail", a.signed(a.taskDetail))
	return s
}

type api struct {
	svc    *control.Service
	nonces compat.Nonces
	zone   *time.Location
	log    *slog.Logger
}

func (*api) hello(context.Context, *httpkit.Request) (httpkit.Response, error) {
	return httpkit.Response{Status: http.StatusOK, Body: []byte(`{"code":200,"data":["good.job"],"message":""}`)}, nil
}

// codeRefusal marks errors whose message is the text that the client reads, in an answer with code 0.
const codeRefusal = "goodjob_refusal"

// refusal refuses with a text.
func refusal(text string) error {
	return &task.Error{Kind: task.Invalid, Code: codeRefusal, Message: text}
}

// rule refuses a parameter.
func rule(name, text string) error { return refusal(name + " " + text) }

// envelope is every answer.
type envelope struct {
	Code    int    `json:"code"` // 200, 0 for a refusal, or the status of what is not there
	Data    any    `json:"data"`
	Message string `json:"message"`
}

type nothing struct{}

// ok answers with data.
func ok(data any) (httpkit.Response, error) {
	return httpkit.JSON(http.StatusOK, envelope{200, data, ""})
}

// fail renders an error in the envelope. Only what is our own fault has another status than 200, as it had.
func fail(r *httpkit.Request, err error) httpkit.Response {
	code, text := 0, ""
	var e *task.Error
	switch {
	case !errors.As(err, &e) || e.Kind == task.Internal:
		return httpkit.Response{Status: http.StatusInternalServerError, ContentType: "text/plain; charset=utf-8", Body: []byte(textInternal)}
	case e.Code == codeRefusal:
		text = e.Message
	case e.Kind == task.TooLarge:
		text = textTooLarge
	case e.Kind == task.Malformed:
		text = textUnreadable
	case e.Code == "method_not_allowed":
		code, text = http.StatusMethodNotAllowed, textNoMethod
	case e.Code == "not_found":
		code, text = http.StatusNotFound, textNotFound
	case e.Kind == task.Unavailable, e.Kind == task.Throttled:
		text = textBusy
		r.SetHeader("Retry-After", "1")
	default:
		text = textNotStored
	}
	resp, err := httpkit.JSON(http.StatusOK, envelope{code, nothing{}, text})
	if err != nil {
		return httpkit.Response{Status: http.StatusInternalServerError}
	}
	return resp
}

// elsewhere answers below the prefix where there is no route.
func elsewhere(r *httpkit.Request, err error) httpkit.Response { return fail(r, err) }
