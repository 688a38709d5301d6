package httpkit

import (
	"encoding/json"

	"github.com/taskweir/taskweir/internal/task"
)

// space skips white space.
func (s *Scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// next gives the first byte of the next value; 0 at the end or after an error.
func (s *Scanner) next() byte {
	if s.err != nil {
		return 0
	}
	s.space()
	if s.i == len(s.b) {
		s.fail("ends too early")
		return 0
	}
	return s.b[s.i]
}

// enter reads the opening bracket of an object or array.
func (s *Scanner) enter() bool {
	if s.depth++; s.depth > MaxDepth {
		s.tooDeep()
		return false
	}
	s.i++
	return true
}

func (s *Scanner) tooDeep() {
	if s.err == nil {
		s.err = &task.Error{Kind: task.Malformed, Code: "too_deep", Message: "the body is nested deeper than 1000 levels",
			Fields: []task.FieldError{{Field: s.name(), Rule: "max_depth", Message: "must not be nested deeper than 1000 levels, counted from the body"}}}
	}
}

// more reads what stands between elements and reports whether another one follows.
func (s *Scanner) more(end byte, first bool) bool {
	c := s.next()
	switch {
	case s.err != nil:
		return false
	case c == end:
		s.i++
		return false
	case first:
		return true
	case c == ',':
		s.i++
		return true
	}
	s.fail("lacks a comma or bracket")
	return false
}

// key reads a member's name and the colon.
func (s *Scanner) key() ([]byte, bool) {
	if s.next() != '"' {
		s.fail("lacks a member name")
		return nil, false
	}
	raw, plain := s.stringToken()
	if s.err != nil {
		return nil, false
	}
	key := raw[1 : len(raw)-1]
	if !plain {
		key = unquote(raw)
	}
	if s.next() != ':' {
		s.fail("lacks a colon")
		return nil, false
	}
	s.i++
	return key, true
}

func (s *Scanner) literal(word string) {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		s.fail("has an unknown word")
		return
	}
	s.i += len(word)
}

// stringToken reads a string with its quotes; plain says that it holds no escape.
func (s *Scanner) stringToken() (raw []byte, plain bool) {
	from := s.i
	plain = true
	for s.i++; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[from:s.i], plain
		case c < ' ':
			s.fail("has a control character in a string")
			return nil, false
		case c == '\\':
			plain = false
			if !s.escape() {
				s.fail("has a bad escape")
				return nil, false
			}
		}
	}
	s.fail("ends within a string")
	return nil, false
}

// escape reads an escape up to its last byte.
func (s *Scanner) escape() bool {
	s.i++
	if s.i >= len(s.b) {
		return false
	}
	switch s.b[s.i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if s.i++; s.i >= len(s.b) || !isHex(s.b[s.i]) {
				return false
			}
		}
		return true
	}
	return false
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// number reads a number's text, or notes that there is none.
func (s *Scanner) number() ([]byte, bool) {
	c := s.next()
	if c != '-' && (c < '0' || c > '9') {
		return nil, s.wrong("must be a number")
	}
	from := s.i
	s.numberToken()
	return s.b[from:s.i], s.err == nil
}

func (s *Scanner) numberToken() {
	if s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case s.digits() == 0:
		s.fail("has a bad number")
		return
	}
	if s.at('.') {
		if s.i++; s.digits() == 0 {
			s.fail("has a bad number")
			return
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if s.digits() == 0 {
			s.fail("has a bad number")
		}
	}
}

func (s *Scanner) at(c byte) bool { return s.i < len(s.b) && s.b[s.i] == c }

func (s *Scanner) digits() int {
	from := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i - from
}

// nest is a stack of open brackets, one bit each: set for objects.
type nest struct {
	bits [MaxDepth/64 + 1]uint64
	n    int
}

func (n *nest) push(object bool) {
	w, m := n.n/64, uint64(1)<<(n.n%64)
	if object {
		n.bits[w] |= m
	} else {
		n.bits[w] &^= m
	}
	n.n++
}

func (n *nest) object() bool { return n.bits[(n.n-1)/64]&(1<<((n.n-1)%64)) != 0 }

// skip reads any value without looking at it.
func (s *Scanner) skip() {
	switch c := s.next(); {
	case s.err != nil:
	case c == '{' || c == '[':
		s.skipNested()
	default:
		s.scalar(c)
	}
}

func (s *Scanner) scalar(c byte) {
	switch {
	case c == '"':
		s.stringToken()
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		s.numberToken()
	default:
		s.fail("has an unexpected character")
	}
}

// skipNested reads an object or array with a stack of its own instead of recursion.
func (s *Scanner) skipNested() {
	var open nest
	for {
		opened := false
		switch c := s.next(); {
		case s.err != nil:
			return
		case c == '{' || c == '[':
			if s.depth+open.n >= MaxDepth {
				s.tooDeep()
				return
			}
			open.push(c == '{')
			s.i++
			opened = true
		default:
			s.scalar(c)
		}
		if !s.toNextValue(&open, opened) {
			return
		}
	}
}

// toNextValue reads closing brackets and commas up to the next value, and the name before it. It reports whether there is
// one: not after the last bracket or an error. opened says that a bracket was opened just before.
func (s *Scanner) toNextValue(open *nest, opened bool) bool {
	for s.err == nil && open.n > 0 {
		end := byte(']')
		if open.object() {
			end = '}'
		}
		if s.more(end, opened) {
			if end == '}' {
				s.key()
			}
			return s.err == nil
		}
		open.n--
		opened = false
	}
	return false
}

// unquote decodes a string token that holds escapes.
func unquote(raw []byte) []byte {
	var v string
	if json.Unmarshal(raw, &v) != nil {
		return raw
	}
	return []byte(v)
}
