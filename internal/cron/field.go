package cron

import (
	"fmt"
	"strings"
)

// field describes one field of an expression.
type field struct {
	name     string
	min, max int
	names    []string // of the values from first on
	first    int
	maxStep  int // of a step that has no end: */n and a/n
}

var (
	monthNames = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	dayNames   = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

	secondField     = field{name: "second", min: 0, max: 59, maxStep: 59}
	minuteField     = field{name: "minute", min: 0, max: 59, maxStep: 59}
	hourField       = field{name: "hour", min: 0, max: 23, maxStep: 23}
	dayField        = field{name: "day-of-month", min: 1, max: 31, maxStep: 31}
	monthField      = field{name: "month", min: 1, max: 12, names: monthNames, first: 1, maxStep: 12}
	unixWeekday     = field{name: "day-of-week", min: 0, max: 7, names: dayNames, first: 0, maxStep: 7}
	quartzWeekday   = field{name: "day-of-week", min: 1, max: 7, names: dayNames, first: 1, maxStep: 7}
	quartzYearField = field{name: "year", min: FirstYear, max: 9999, maxStep: 9999}

	unixFields   = []*field{&minuteField, &hourField, &dayField, &monthField, &unixWeekday}
	quartzFields = []*field{&secondField, &minuteField, &hourField, &dayField, &monthField, &quartzWeekday, &quartzYearField}
)

// byName gives the value of a name of three letters, in any case.
func (f *field) byName(word string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(name, word) {
			return f.first + i, true
		}
	}
	return 0, false
}

// span is where a field lies in the expression.
type span struct{ pos, end int }

// parser holds an expression and where its fields are.
type parser struct {
	expr   string
	fields []span
}

// split finds the fields of an expression; there is at least one then.
func split(expr string) (parser, error) {
	p := parser{expr: expr}
	if len(expr) > MaxExpression {
		return p, &Error{Field: "cron", Rule: "max_length", Message: fmt.Sprintf("the expression has %d bytes; at most %d are allowed", len(expr), MaxExpression)}
	}
	start := -1
	for i := 0; i <= len(expr); i++ {
		if i < len(expr) && expr[i] != ' ' && expr[i] != '\t' {
			if expr[i] < ' ' || expr[i] >= 0x7f {
				return p, p.failAt(i, runLength(expr[i:]), "syntax", "only letters, digits and punctuation of ASCII may stand in an expression, on one line")
			}
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			p.fields = append(p.fields, span{start, i})
			start = -1
		}
	}
	if len(p.fields) == 0 {
		return p, p.failAt(0, len(expr), "required", "the expression is empty")
	}
	return p, nil
}

// runLength counts the bytes at the start of s that may not stand in an expression.
func runLength(s string) int {
	n := 0
	for n < len(s) && (s[n] < ' ' && s[n] != '\t' || s[n] >= 0x7f) {
		n++
	}
	return n
}

// text is field number i.
func (p parser) text(i int) string { return p.expr[p.fields[i].pos:p.fields[i].end] }

// end is where the last field ends.
func (p parser) end() int { return p.fields[len(p.fields)-1].end }

// span gives position and length of the fields from first to last.
func (p parser) span(first, last int) (pos, length int) {
	return p.fields[first].pos, p.fields[last].end - p.fields[first].pos
}

// fail points at field number i.
func (p parser) fail(i int, rule, message string) error {
	return p.failAt(p.fields[i].pos, p.fields[i].end-p.fields[i].pos, rule, message)
}

func (p parser) failAt(pos, length int, rule, message string) error {
	return &Error{Field: "cron", Rule: rule, Message: message, Expr: p.expr, Pos: pos, Len: length}
}

// reader goes through one field of an expression.
type reader struct {
	p   parser
	f   *field
	pos int // where it stands
	end int // where the field ends
}

func (p parser) reader(i int, f *field) *reader {
	return &reader{p: p, f: f, pos: p.fields[i].pos, end: p.fields[i].end}
}

// peek is the character it stands at, in upper case; 0 at the end.
func (r *reader) peek() byte {
	if r.pos >= r.end {
		return 0
	}
	return upper(r.p.expr[r.pos])
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// accept goes past c if it stands there.
func (r *reader) accept(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

// itemEnds tells whether an item of the list ends here.
func (r *reader) itemEnds() bool { return r.pos >= r.end || r.p.expr[r.pos] == ',' }

// itemEnd is where the item that r stands in ends.
func (r *reader) itemEnd() int {
	if n := strings.IndexByte(r.p.expr[r.pos:r.end], ','); n >= 0 {
		return r.pos + n
	}
	return r.end
}

// fail points at the text from pos to end; at least at one character, unless the expression ends there.
func (r *reader) fail(pos, end int, rule, message string, args ...any) error {
	if len(args) > 0 {
		message = fmt.Sprintf(message, args...)
	}
	if end <= pos {
		end = pos + 1
	}
	if end > r.end {
		pos, end = min(pos, r.end-1), r.end
	}
	return &Error{Field: "cron", Part: r.f.name, Rule: rule, Message: message, Expr: r.p.expr, Pos: pos, Len: end - pos}
}

const maxNumber = 999_999_999

// number reads digits. what says in a message what should stand there.
func (r *reader) number(what string) (int, error) {
	start, n := r.pos, 0
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		n = min(n*10+int(c-'0'), maxNumber+1)
		r.pos++
	}
	if r.pos == start {
		return 0, r.unexpected(what)
	}
	if n > maxNumber {
		return 0, r.fail(start, r.pos, "range", "the number is too large")
	}
	return n, nil
}

// unexpected says what should stand where r stands.
func (r *reader) unexpected(what string) error {
	if r.itemEnds() {
		return r.fail(r.pos, r.pos+1, "syntax", "%s is missing here", what)
	}
	return r.fail(r.pos, r.itemEnd(), "syntax", "%s should stand here instead of %q", what, clip(r.p.expr[r.pos:r.itemEnd()]))
}

// word goes past letters and gives them.
func (r *reader) word() string {
	start := r.pos
	for c := r.peek(); c >= 'A' && c <= 'Z'; c = r.peek() {
		r.pos++
	}
	return r.p.expr[start:r.pos]
}

// unknown refuses the word from start to where r stands.
func (r *reader) unknown(start int) error {
	word := r.p.expr[start:r.pos]
	if len(r.f.names) == 0 {
		return r.fail(start, r.pos, "unknown", "%q: this field has no names, only numbers from %d to %d", clip(word), r.f.min, r.f.max)
	}
	hint := ""
	if len(word) > 3 {
		if _, ok := r.f.byName(word[:3]); ok {
			hint = fmt.Sprintf("; write %s", strings.ToUpper(word[:3]))
		}
	}
	return r.fail(start, r.pos, "unknown", "unknown name %q: the names are %s%s", clip(word), strings.Join(r.f.names, ", "), hint)
}

// inRange refuses a number, written from start on, that the field does not have.
func (r *reader) inRange(n, start int) error {
	if n >= r.f.min && n <= r.f.max {
		return nil
	}
	hint := ""
	if r.f == &quartzWeekday && n == 0 {
		hint = "; in Quartz Sunday is 1"
	}
	return r.fail(start, r.pos, "range", "%s is out of range: %d to %d%s", clip(r.p.expr[start:r.pos]), r.f.min, r.f.max, hint)
}

// step reads the n of /n. open tells that the range before it has no written end: n is limited then.
func (r *reader) step(open bool) (int, error) {
	start := r.pos
	n, err := r.number("a step (a number)")
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, r.fail(start, r.pos, "step", "a step of 0 goes nowhere")
	}
	if open && n > r.f.maxStep {
		return 0, r.fail(start, r.pos, "step", "a step of %d is larger than the field: at most %d; for longer intervals use @every", n, r.f.maxStep)
	}
	return n, nil
}

// itemDone makes sure that nothing stands between an item and the next comma.
func (r *reader) itemDone() error {
	if r.itemEnds() {
		return nil
	}
	return r.fail(r.pos, r.itemEnd(), "syntax", "%q makes no sense here", clip(r.p.expr[r.pos:r.itemEnd()]))
}

// list calls item for each item of the field.
func (r *reader) list(item func() error) error {
	for {
		if r.itemEnds() {
			return r.fail(r.pos, r.pos+1, "syntax", "a value is missing here")
		}
		if err := item(); err != nil {
			return err
		}
		if err := r.itemDone(); err != nil {
			return err
		}
		if !r.accept(',') {
			return nil
		}
	}
}
