package compat

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/httpkit"
)

// kind is what a value is.
type kind uint8

const (
	null kind = iota
	boolean
	number // text holds its digits as they were sent
	text
	nestedJSON // raw holds it
	nestedForm // sub holds it
)

// Value is the value of a parameter. The zero Value is null, as is an absent parameter.
type Value struct {
	kind kind
	text string // boolean: "1" or ""
	raw  []byte // valid JSON
	sub  Params
	flat *flat // of nestedJSON; nil: not taken apart yet
}

// Text is a value that is a text.
func Text(s string) Value { return Value{kind: text, text: s} }

// jsonValue makes a value of one valid JSON value.
func jsonValue(raw []byte) Value {
	switch raw[0] {
	case 'n':
		return Value{}
	case 't':
		return Value{kind: boolean, text: "1"}
	case 'f':
		return Value{kind: boolean}
	case '"':
		s, _ := httpkit.NewScanner(raw).String() // it was scanned before
		return Text(s)
	case '{', '[':
		return Value{kind: nestedJSON, raw: raw}
	}
	return Value{kind: number, text: string(raw)}
}

// Given reports whether there is a value: neither null nor an empty text.
func (v Value) Given() bool { return v.kind != null && (v.kind != text || v.text != "") }

// Nested reports whether the value has parts.
func (v Value) Nested() bool { return v.kind == nestedJSON || v.kind == nestedForm }

// Scalar gives the value as PHP makes a string of it: a text as it is, a number in the digits that were sent, true as 1,
// false and null as nothing. ok is false for a value with parts and for a text that is not UTF-8.
func (v Value) Scalar() (s string, ok bool) {
	return v.text, !v.Nested() && utf8.ValidString(v.text)
}

// Compact gives a value that was sent as a JSON object or array as JSON text without white space: names in the order sent,
// numbers in the digits sent, escapes as they were. ok is false for every other value, also for one with parts that came in
// a form, where every part is a text.
func (v Value) Compact() (raw []byte, ok bool) {
	if v.kind != nestedJSON {
		return nil, false
	}
	if v.flat != nil {
		return v.flat.compact, true
	}
	var out bytes.Buffer
	if err := json.Compact(&out, v.raw); err != nil {
		return nil, false
	}
	return out.Bytes(), true
}

// falsy reports whether PHP's array_filter drops the value: nothing, "", "0", zero, false, an empty array.
func (v Value) falsy() bool {
	switch v.kind {
	case null:
		return true
	case number:
		digits, _, _ := strings.Cut(strings.ToLower(v.text), "e")
		return strings.Trim(digits, "-0.") == ""
	case nestedJSON:
		return len(bytes.TrimSpace(v.raw[1:len(v.raw)-1])) == 0
	case nestedForm:
		return len(v.sub) == 0
	}
	return v.text == "" || v.text == "0"
}
