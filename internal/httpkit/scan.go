package httpkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

// MaxDepth is how deep JSON may be nested, counted from the request's outermost value.
const MaxDepth = 1_000

const (
	maxBroken  = 100 // field errors of one request
	maxChecked = 64  // members of an object that are checked for duplicates
)

// Scanner reads JSON in one pass, without reflection and without recursion into values that nobody asked for. Each value
// method reads one value: the right one, or a broken rule is noted with the value's path and the value is skipped. A
// syntax error ends everything: methods then do nothing, loops end, and Err tells.
type Scanner struct {
	b      []byte
	i      int
	depth  int
	path   []segment
	base   int // path[:base] is left out of field names
	seen   [][]byte
	broken []task.FieldError
	err    error
}

type segment struct {
	key   []byte
	index int // with key nil
}

// NewScanner reads b, which must not change while the scanner or what it gave as Raw is in use.
func NewScanner(b []byte) *Scanner {
	s := &Scanner{b: b}
	if !utf8.Valid(b) {
		s.fail("is not UTF-8")
	}
	return s
}

// Err is the syntax error, a *task.Error of kind Malformed, or nil.
func (s *Scanner) Err() error { return s.err }

// Broken gives the broken rules found so far.
func (s *Scanner) Broken() []task.FieldError { return s.broken }

// End reads up to the end of the text and gives Err.
func (s *Scanner) End() error {
	if s.space(); s.err == nil && s.i < len(s.b) {
		s.fail("goes on after its end")
	}
	return s.err
}

// Sub runs fn with paths that begin here and gives the rules broken in it.
func (s *Scanner) Sub(fn func()) []task.FieldError {
	base, outer := s.base, s.broken
	s.base, s.broken = len(s.path), nil
	fn()
	inner := s.broken
	s.base, s.broken = base, outer
	return inner
}

func (s *Scanner) fail(what string) {
	if s.err == nil {
		s.err = &task.Error{Kind: task.Malformed, Code: "malformed", Message: fmt.Sprintf("the body is not JSON: it %s at byte %d", what, s.i)}
	}
}

// Break notes a broken rule of the value at hand.
func (s *Scanner) Break(rule, message string) {
	if len(s.broken) < maxBroken {
		s.broken = append(s.broken, task.FieldError{Field: s.name(), Rule: rule, Message: message})
	}
}

// name is the path of the value at hand: "retry.delaysMs[3]".
func (s *Scanner) name() string {
	var out []byte
	for _, p := range s.path[s.base:] {
		if p.key == nil {
			out = append(strconv.AppendInt(append(out, '['), int64(p.index), 10), ']')
			continue
		}
		if len(out) > 0 {
			out = append(out, '.')
		}
		key := p.key
		if len(key) > 80 {
			key = append(bytes.ToValidUTF8(key[:80:80], nil), "…"...)
		}
		out = append(out, key...)
	}
	return string(out)
}

// Unknown refuses the member at hand by name and skips it.
func (s *Scanner) Unknown() {
	s.Break("unknown_field", "is not a field of this request")
	s.skip()
}

// Object calls fn for each member; fn reads the value. It reports whether there was an object.
func (s *Scanner) Object(fn func(key []byte)) bool {
	if s.next() != '{' {
		return s.wrong("must be an object")
	}
	if !s.enter() {
		return false
	}
	from := len(s.seen)
	for first := true; s.more('}', first); first = false {
		key, ok := s.key()
		if !ok {
			break
		}
		s.path = append(s.path, segment{key: key})
		if s.repeated(key, from) {
			s.Break("duplicate", "is given twice")
			s.skip()
		} else {
			fn(key)
		}
		s.path = s.path[:len(s.path)-1]
	}
	s.seen = s.seen[:from]
	s.depth--
	return s.err == nil
}

func (s *Scanner) repeated(key []byte, from int) bool {
	for _, k := range s.seen[from:] {
		if bytes.Equal(k, key) {
			return true
		}
	}
	if len(s.seen)-from < maxChecked {
		s.seen = append(s.seen, key)
	}
	return false
}

// Array calls fn for each element; fn reads the value. It reports whether there was an array.
func (s *Scanner) Array(fn func(i int)) bool {
	if s.next() != '[' {
		return s.wrong("must be an array")
	}
	if !s.enter() {
		return false
	}
	for n := 0; s.more(']', n == 0); n++ {
		s.path = append(s.path, segment{index: n})
		fn(n)
		s.path = s.path[:len(s.path)-1]
	}
	s.depth--
	return s.err == nil
}

// Null reads a null if there is one.
func (s *Scanner) Null() bool {
	if s.next() != 'n' {
		return false
	}
	s.literal("null")
	return s.err == nil
}

// String reads a string.
func (s *Scanner) String() (string, bool) {
	if s.next() != '"' {
		return "", s.wrong("must be a string")
	}
	raw, plain := s.stringToken()
	if s.err != nil {
		return "", false
	}
	if plain {
		return string(raw[1 : len(raw)-1]), true
	}
	var v string
	if err := json.Unmarshal(raw, &v); err != nil {
		s.fail("has a bad string")
		return "", false
	}
	return v, true
}

// Int reads a whole number. One beyond 64 bits is given as the nearest that fits, so that a range check finds it.
func (s *Scanner) Int() (int64, bool) {
	tok, ok := s.number()
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(tok), 10, 64); err == nil {
		return n, true
	}
	f, _ := strconv.ParseFloat(string(tok), 64)
	switch {
	case f != math.Trunc(f) && !math.IsInf(f, 0):
		s.Break("type", "must be a whole number")
		return 0, false
	case f >= math.MaxInt64:
		return math.MaxInt64, true
	case f <= math.MinInt64:
		return math.MinInt64, true
	}
	return int64(f), true
}

// Float reads a number. One that is too large for a float64 is infinite.
func (s *Scanner) Float() (float64, bool) {
	tok, ok := s.number()
	if !ok {
		return 0, false
	}
	f, _ := strconv.ParseFloat(string(tok), 64)
	return f, true
}

// Bool reads true or false.
func (s *Scanner) Bool() (v, ok bool) {
	switch s.next() {
	case 't':
		s.literal("true")
		return true, s.err == nil
	case 'f':
		s.literal("false")
		return false, s.err == nil
	}
	return false, s.wrong("must be true or false")
}

// Raw reads any value and gives its bytes as they stand in the text.
func (s *Scanner) Raw() []byte {
	s.space()
	from := s.i
	s.skip()
	if s.err != nil {
		return nil
	}
	return s.b[from:s.i]
}

// wrong notes a value of the wrong type and skips it.
func (s *Scanner) wrong(message string) bool {
	if s.err == nil {
		s.Break("type", message)
		s.skip()
	}
	return false
}

// ValidJSON reports whether b is one JSON value within MaxDepth.
func ValidJSON(b []byte) bool {
	s := NewScanner(b)
	s.skip()
	return s.End() == nil
}
