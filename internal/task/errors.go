package task

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is the closed list of what can be wrong. Each surface maps it to its own answers in one table.
type Kind uint8

// The kinds, with the status of the native API behind each.
const (
	Internal     Kind = iota // 500: a bug or an unexpected fault; its text is logged, never sent
	Malformed                // 400: not JSON, or not of the shape
	Unauthorized             // 401: no or wrong credential
	Forbidden                // 403: the credential's scope is too small
	NotFound                 // 404: unknown, or another app's
	Conflict                 // 409: contradicts what is stored; says with what
	TooLarge                 // 413
	Invalid                  // 422: a rule broken; names field and rule
	Throttled                // 429, with RetryAfter
	Unavailable              // 503, with RetryAfter: nothing was changed, or (code outcome_unknown) it is not known
)

// FieldError says which field broke which rule.
type FieldError struct {
	Field   string // path in the request: "tasks[3].retry.baseMs"
	Rule    string // stable: "required", "range", "max_length", "unknown_field", "type", "pattern", "one_of", "conflict", …
	Message string // for people
	Place   *Place // where in the field's text; nil: the whole of it
}

// Place points into a text that a rule refused.
type Place struct {
	Text       string // as it was given
	At, Length int    // in characters from 0; At may be the text's end
}

// Error is what the core answers when it refuses or cannot.
type Error struct {
	Kind       Kind
	Code       string        // stable, snake_case: "task_not_found", "unique_key_taken", "outcome_unknown"
	Message    string        // for people; never an internal text
	Fields     []FieldError  // for Malformed, TooLarge and Invalid
	TaskID     int64         // the other task, for Conflict; else 0
	ScheduleID int64         // the other schedule, for Conflict about a schedule's name; else 0
	RetryAfter time.Duration // for Throttled and Unavailable, and where asking again soon helps
	Cause      error         // logged, never sent
}

// Error is the text for logs.
func (e *Error) Error() string {
	s := e.Code
	if e.Message != "" {
		s += ": " + e.Message
	}
	for _, f := range e.Fields {
		s += fmt.Sprintf(" [%s %s: %s]", f.Field, f.Rule, f.Message)
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf is the kind of err; Internal for everything that is not an *Error.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// CodeOf is the stable code of err; empty for everything that is not an *Error.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Missing answers that a thing is unknown or another app's: the two are never told apart.
func Missing(what string) *Error {
	return &Error{Kind: NotFound, Code: what + "_not_found", Message: "no such " + strings.ReplaceAll(what, "_", " ")}
}

// InvalidField answers that one field broke a rule.
func InvalidField(field, rule, message string) *Error {
	return &Error{Kind: Invalid, Code: "invalid", Message: field + ": " + message, Fields: []FieldError{{Field: field, Rule: rule, Message: message}}}
}

// Gone answers that a dependency cannot be reached; nothing was changed.
func Gone(code string, cause error) *Error {
	return &Error{Kind: Unavailable, Code: code, Message: "temporarily unavailable, nothing was changed", RetryAfter: time.Second, Cause: cause}
}

// ErrFenced is returned to a worker whose row is gone: it was declared dead and must register anew.
var ErrFenced = errors.New("worker was declared dead")
