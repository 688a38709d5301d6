// Package payload reads the payloads of built-in kinds strictly and says what is wrong with them by field and rule, in the
// form that a submit answers with. Fields are paths within the payload; the empty path is the payload itself.
package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// Decode reads one JSON object into the struct that v points to. Unknown fields, wrong types, fields that are given twice
// and anything behind the object are refused.
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
	return members(raw, reflect.TypeOf(v).Elem())
}

// members looks at the names of a valid object: the decoder takes URL for url, and the last of two.
func members(raw []byte, t reflect.Type) *task.FieldError {
	known := make(map[string]bool, t.NumField()) // name: was seen
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		known[name] = false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	_, _ = d.Token() // the opening brace
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		switch seen, ok := known[name]; {
		case !ok:
			return unknown(name)
		case seen:
			return &task.FieldError{Field: name, Rule: "duplicate", Message: "is given twice"}
		}
		known[name] = true
		var skipped json.RawMessage
		if err := d.Decode(&skipped); err != nil {
			return wrong(err)
		}
	}
	return nil
}

// maxName is how much of an unknown field's name is repeated in an answer.
const maxName = 80

func unknown(name string) *task.FieldError {
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "") + "…"
	}
	return &task.FieldError{Field: name, Rule: "unknown_field", Message: "is not known"}
}

// wrong turns a decoder's error into a field and a rule.
func wrong(err error) *task.FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return &task.FieldError{Field: kind.Field, Rule: "type", Message: "must be " + word(kind)}
	}
	// The decoder's error for unknown fields has no type of its own.
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name, err := strconv.Unquote(quoted)
		if err != nil {
			name = quoted
		}
		return unknown(name)
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
