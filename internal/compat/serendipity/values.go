package serendipity

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/task"
)

// text reads a parameter that is a text of at most so many characters.
func text(v compat.Value, name string, required bool, most int) (string, error) {
	if !v.Given() {
		if required {
			return "", rule(name, ruleRequired)
		}
		return "", nil
	}
	s, ok := v.Scalar()
	switch {
	case !ok || strings.ContainsRune(s, 0):
		return "", rule(name, ruleString)
	case required && strings.TrimSpace(s) == "":
		return "", rule(name, ruleRequired)
	case utf8.RuneCountInString(s) > most:
		return "", rule(name, ruleLength(most))
	}
	return s, nil
}

// whole reads a parameter that is a whole number of a range, as a number or as a text of its digits.
func whole(v compat.Value, name string, least, most int64) (m control.Maybe[int64], err error) {
	if !v.Given() {
		return m, nil
	}
	s, ok := v.Scalar()
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	switch {
	case !ok || err != nil && !errors.Is(err, strconv.ErrRange):
		return m, rule(name, ruleInteger)
	case err != nil || n < least || n > most:
		return m, rule(name, ruleRange(least, most))
	}
	return control.Some(n), nil
}

// number reads a parameter that names something by a positive number. given is false when it is not there.
func number(v compat.Value) (n int64, given bool, err error) {
	if !v.Given() {
		return 0, false, nil
	}
	s, ok := v.Scalar()
	n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if !ok || err != nil || n < 1 {
		return 0, true, refusal(textBadParams)
	}
	return n, true, nil
}

// fieldsOf lists the rules that a use case found broken.
func fieldsOf(err error) []task.FieldError {
	var e *task.Error
	if errors.As(err, &e) {
		return e.Fields
	}
	return nil
}
