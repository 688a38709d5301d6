package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// What errors.Is finds in an *Error, by its status.
var (
	ErrInvalid      = errors.New("the request breaks a rule")           // 400, 413, 422, and what the client itself refuses to send
	ErrUnauthorized = errors.New("no valid API key")                    // 401
	ErrForbidden    = errors.New("the API key's scope is too small")    // 403
	ErrNotFound     = errors.New("not found")                           // 404: unknown, or another app's
	ErrConflict     = errors.New("conflict")                            // 409
	ErrPrecondition = errors.New("it was changed since it was read")    // 412: IfMatch
	ErrThrottled    = errors.New("too many requests")                   // 429
	ErrUnavailable  = errors.New("the service is unavailable just now") // 502, 503, 504, and requests without an answer
	ErrNotModified  = errors.New("not modified")                        // 304: IfNoneMatch
)

// Error is an answer that is no success.
type Error struct {
	// Problem is what the server said. Its Code is stable; it is empty when something else answered, a proxy for example.
	Problem        apiv1.Problem
	StatusCode     int
	Method, Path   string        // what was asked
	RetryAfter     time.Duration // as the server wished; 0: it did not say
	Tries          int           // how often it was sent
	IdempotencyKey string        // of the request; "": none
}

// Error says what was refused, and which fields are wrong.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "taskweir: %s %s: %d", e.Method, e.Path, e.StatusCode)
	if e.Problem.Code != "" {
		b.WriteString(" " + e.Problem.Code)
	}
	said := e.Problem.Detail
	if said == "" {
		said = e.Problem.Title
	}
	if said == "" {
		said = http.StatusText(e.StatusCode)
	}
	b.WriteString(": " + said)
	if len(e.Problem.Errors) > 1 { // a single one is in the detail
		for i, f := range e.Problem.Errors {
			b.WriteString([]string{"; ", " ("}[btoi(i == 0)] + f.Field + ": " + f.Message)
		}
		b.WriteString(")")
	}
	if e.Problem.TaskID != 0 {
		b.WriteString("; the other task is " + e.Problem.TaskID.String())
	}
	if e.Problem.ScheduleID != 0 {
		b.WriteString("; the other schedule is " + e.Problem.ScheduleID.String())
	}
	if e.StatusCode >= 500 && e.Problem.RequestID != "" {
		b.WriteString("; request " + e.Problem.RequestID)
	}
	return b.String()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Unwrap gives the problem.
func (e *Error) Unwrap() error { return &e.Problem }

// Is reports whether target is the sentinel of the status.
func (e *Error) Is(target error) bool {
	switch e.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return target == ErrInvalid
	case http.StatusUnauthorized:
		return target == ErrUnauthorized
	case http.StatusForbidden:
		return target == ErrForbidden
	case http.StatusNotFound:
		return target == ErrNotFound
	case http.StatusConflict:
		return target == ErrConflict
	case http.StatusPreconditionFailed:
		return target == ErrPrecondition
	case http.StatusTooManyRequests:
		return target == ErrThrottled
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == ErrUnavailable
	}
	return false
}

// Fields are the rules that the request broke, by field.
func (e *Error) Fields() []apiv1.FieldError { return e.Problem.Errors }

// MaybeDone reports whether the request may have been carried out although its answer is no success.
func (e *Error) MaybeDone() bool {
	switch e.StatusCode {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusInternalServerError, http.StatusServiceUnavailable:
		return e.Problem.Code == "" || e.Problem.Code == apiv1.CodeOutcomeUnknown || e.Problem.Code == "internal"
	}
	return false
}

// NoAnswerError is a request without a whole answer: nothing listens, the connection broke, the try took too long, or the
// context ended. errors.Is sees the cause.
type NoAnswerError struct {
	Method, URL    string
	Cause          error
	Tries          int
	MaybeDone      bool   // it may have been carried out
	IdempotencyKey string // with it the same request may be sent again safely; "": none
}

// Error says what was asked and what happened instead of an answer.
func (e *NoAnswerError) Error() string {
	s := fmt.Sprintf("taskweir: no answer to %s %s: %v", e.Method, e.URL, e.Cause)
	if e.Tries > 1 {
		s += fmt.Sprintf(" (%d tries)", e.Tries)
	}
	if e.MaybeDone && e.Method != http.MethodGet {
		s += "; it may have been carried out"
	}
	return s
}

// Unwrap gives the cause.
func (e *NoAnswerError) Unwrap() error { return e.Cause }

// Is reports whether target is ErrUnavailable, unless the context ended or no repeat would help: a wrong certificate, a redirect.
func (e *NoAnswerError) Is(target error) bool {
	return target == ErrUnavailable && mayPass(e.Cause) && !errors.Is(e.Cause, context.Canceled) && !errors.Is(e.Cause, context.DeadlineExceeded)
}

// ended is why a context ended: its cause, and what errors.Is expects.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w (%w)", cause, err)
}

// IsNotFound reports whether err is a 404: what was named does not exist or is another app's.
func IsNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// IsConflict reports whether err is a 409. ConflictingTask and ConflictingSchedule name the other one.
func IsConflict(err error) bool { return errors.Is(err, ErrConflict) }

// IsInvalid reports whether the request itself is wrong: Fields says where.
func IsInvalid(err error) bool { return errors.Is(err, ErrInvalid) }

// IsTemporary reports whether the same request may go well later: 429, 502, 503, 504, or no answer.
func IsTemporary(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrThrottled)
}

// Code is the stable code of the server's problem; "" when err holds none.
func Code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problem.Code
	}
	return ""
}

// Fields are the rules that a request broke, by field; nil when err is no such answer.
func Fields(err error) []apiv1.FieldError {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problem.Errors
	}
	return nil
}

// ConflictingTask is the task that a request conflicts with, for example the one that holds its unique key.
func ConflictingTask(err error) (apiv1.ID, bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Problem.TaskID == 0 {
		return 0, false
	}
	return e.Problem.TaskID, true
}

// ConflictingSchedule is the schedule that a request conflicts with, for example the one that has its name.
func ConflictingSchedule(err error) (apiv1.ID, bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Problem.ScheduleID == 0 {
		return 0, false
	}
	return e.Problem.ScheduleID, true
}
