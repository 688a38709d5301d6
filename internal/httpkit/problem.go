package httpkit

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// statuses is the one table from kinds of errors to statuses.
var statuses = map[task.Kind]int{
	task.Internal:     http.StatusInternalServerError,
	task.Malformed:    http.StatusBadRequest,
	task.Unauthorized: http.StatusUnauthorized,
	task.Forbidden:    http.StatusForbidden,
	task.NotFound:     http.StatusNotFound,
	task.Conflict:     http.StatusConflict,
	task.TooLarge:     http.StatusRequestEntityTooLarge,
	task.Invalid:      http.StatusUnprocessableEntity,
	task.Throttled:    http.StatusTooManyRequests,
	task.Unavailable:  http.StatusServiceUnavailable,
}

// Status is the status of the native API for an error.
func Status(err error) int { return statuses[task.KindOf(told(err))] }

// told gives an error after which nobody knows what was done the code that says so, where no use case has: neither is it a fault of
// the server, nor may what caused it say that nothing was changed.
func told(err error) error {
	if !errors.Is(err, task.ErrOutcomeUnknown) || task.CodeOf(err) == codeUnknown {
		return err
	}
	return &task.Error{Kind: task.Unavailable, Code: codeUnknown, RetryAfter: time.Second, Cause: err,
		Message: "it is not known whether anything was changed; look at it before you ask again"}
}

const codeUnknown = "outcome_unknown"

// ErrPrecondition is answered by 412: what the client had read is not what is there now.
var ErrPrecondition = errors.New("precondition failed")

// ProblemOf is the problem that an error is shown as. Texts of internal faults are left out.
func ProblemOf(err error) apiv1.Problem {
	if errors.Is(err, ErrPrecondition) {
		return apiv1.Problem{Status: http.StatusPreconditionFailed, Title: http.StatusText(http.StatusPreconditionFailed),
			Code: apiv1.CodePreconditionFailed, Detail: "it was changed since it was read"}
	}
	var e *task.Error
	if !errors.As(told(err), &e) {
		e = &task.Error{Kind: task.Internal}
	}
	return problem(statuses[e.Kind], e)
}

func problem(status int, e *task.Error) apiv1.Problem {
	p := apiv1.Problem{Status: status, Title: http.StatusText(status), Code: e.Code, Detail: e.Message, TaskID: apiv1.ID(e.TaskID), ScheduleID: apiv1.ID(e.ScheduleID)}
	if status == http.StatusInternalServerError {
		p.Code, p.Detail = "internal", "something went wrong on the server; its log has the request id"
		return p
	}
	for _, f := range e.Fields {
		wire := apiv1.FieldError{Field: f.Field, Rule: f.Rule, Message: f.Message}
		if f.Place != nil {
			wire.Place = &apiv1.Place{Text: f.Place.Text, At: f.Place.At, Length: f.Place.Length}
		}
		p.Errors = append(p.Errors, wire)
	}
	return p
}

// Problem renders an error as application/problem+json with its status and headers.
func Problem(r *Request, err error) Response {
	if errors.Is(err, context.Canceled) && r.c.Request.Context().Err() != nil {
		return Response{Status: 499} // the client is gone: nobody reads this
	}
	var e *task.Error
	if errors.As(told(err), &e) && (e.Kind == task.Throttled || e.Kind == task.Unavailable || e.RetryAfter > 0) {
		r.SetHeader("Retry-After", retryAfter(e.RetryAfter))
	}
	return r.render(ProblemOf(err))
}

// Problem renders an error with a status that no kind stands for.
func (r *Request) Problem(status int, e *task.Error) Response { return r.render(problem(status, e)) }

func (r *Request) render(p apiv1.Problem) Response {
	if p.Status == http.StatusUnauthorized {
		r.SetHeader("WWW-Authenticate", `Bearer realm="taskweir"`)
	}
	p.RequestID = r.ID()
	resp, err := JSON(p.Status, p)
	if err != nil {
		return Response{Status: http.StatusInternalServerError}
	}
	resp.ContentType = "application/problem+json"
	return resp
}
