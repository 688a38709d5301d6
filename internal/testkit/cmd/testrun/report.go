package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// report collects what ran and what did not.
type report struct{ ran, not []string }

func (r *report) did(what string)    { r.ran = append(r.ran, what) }
func (r *report) didNot(what string) { r.not = append(r.not, what) }

func (r *report) print(code int, took time.Duration) {
	verdict := "passed"
	if code != 0 {
		verdict = "FAILED"
	}
	line := fmt.Sprintf("testrun: %s in %s. Ran: embedded parts (SQLite, miniredis, in-process nsqd)", verdict, took.Round(time.Second))
	for _, s := range r.ran {
		line += ", " + s
	}
	if len(r.not) == 0 {
		line += ". Nothing was left out."
	} else {
		line += ". NOT run: " + strings.Join(r.not, "; ") + "."
	}
	fmt.Fprintln(os.Stderr, line)
}
