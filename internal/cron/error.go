package cron

import (
	"strings"
	"unicode/utf8"
)

// Error says what is wrong with a Spec, and where.
type Error struct {
	// Field is the part of the request: "cron", "dialect", "everyMs", "anchor", "at", "zone", "dstGap" or "dstOverlap".
	Field string
	// Rule is a stable word: "required", "conflict", "one_of", "range", "max_length", "fields" (their number), "step", "reversed",
	// "syntax", "unknown" (name or zone), "days" (day-of-month together with day-of-week), "never".
	Rule string
	// Message is a sentence for people.
	Message string
	// Part names the field of the expression: "minute", "day-of-week"; empty when it is none in particular.
	Part string
	// Expr is the expression as it was given; empty when the fault is not in one.
	Expr string
	// Pos and Len are the place of the fault in Expr, in bytes: Pos+Len is never beyond its end.
	Pos, Len int
}

// Error is the message with the name of the expression's field before it.
func (e *Error) Error() string {
	if e.Part != "" {
		return e.Part + ": " + e.Message
	}
	return e.Message
}

// Caret gives two lines: the expression, and ^^^ under the place. It is empty when the fault is not in an expression. Characters
// that a terminal would not show as one column are replaced by a blank or a question mark.
func (e *Error) Caret() string {
	if e.Expr == "" || e.Pos < 0 || e.Len < 0 || e.Pos+e.Len > len(e.Expr) {
		return ""
	}
	var line strings.Builder
	for _, r := range e.Expr {
		line.WriteRune(printable(r))
	}
	indent := utf8.RuneCountInString(e.Expr[:e.Pos])
	under := max(1, utf8.RuneCountInString(e.Expr[e.Pos:e.Pos+e.Len]))
	return line.String() + "\n" + strings.Repeat(" ", indent) + strings.Repeat("^", under)
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case r < ' ' || r >= 0x7f:
		return '?'
	}
	return r
}

// clip shortens foreign text for a message.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
