// Package payload reads the payloads of built-in kinds strictly and says what is wrong with them by field and rule, in the
// form that a submit answers with. Fields are paths within the payload; the empty path is the payload itself.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// Decode reads one JSON object into the struct that v points to. Unknown fields, wrong types and anything behind the
// object are refused.
func Decode(raw []byte, v any) *task.FieldError {
	if first := bytes.TrimLeft(raw, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return &task.FieldError{Rule: "type", Message: "must be an object"}
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return wrong(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &task.FieldError{Rule: "type", Message: "must be one JSON value"}
	}
	return nil
}

// wrong turns a decoder's error into a field and a rule.
func wrong(err error) *task.FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return &task.FieldError{Field: kind.Field, Rule: "type", Message: "must be " + word(kind)}
	}
	// The decoder's error for unknown fields has no type of its own.
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return &task.FieldError{Field: strings.TrimSuffix(name, `"`), Rule: "unknown_field", Message: "is not known"}
	}
	return &task.FieldError{Rule: "type", Message: "is not valid JSON"}
}

// word names what was expected.
func word(e *json.UnmarshalTypeError) string {
	switch e.Type.Kind().String() {
	case "string":
		return "a string"
	case "slice":
		return "a list"
	case "map", "struct":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a whole number"
}

// Text is an error for people, for payloads that turn out wrong only when they are run.
func Text(e task.FieldError) string {
	if e.Field == "" {
		return "payload " + e.Message
	}
	return "payload." + e.Field + " " + e.Message
}
