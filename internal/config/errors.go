package config

import (
	"fmt"
	"strings"
)

// Problem is one broken rule.
type Problem struct {
	Key    string // the setting, or the unknown name
	Source string // where the value came from; empty for a missing one
	Text   string // the rule and what is wrong, never a secret
}

// String names the key, the source and the rule.
func (p Problem) String() string {
	if p.Source == "" {
		return p.Key + ": " + p.Text
	}
	return p.Key + " (" + p.Source + "): " + p.Text
}

// Error is every problem of a configuration at once, in the order of the settings.
type Error struct {
	Role     Role
	Problems []Problem
}

// Error lists the problems, one a line.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("configuration of %s: %s", e.Role, e.Problems[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration of %s: %d problems", e.Role, len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

func (e *Error) add(key, source, text string) {
	e.Problems = append(e.Problems, Problem{Key: key, Source: source, Text: text})
}

func (e *Error) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}
