package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report collects what ran and what did not.
type report struct {
	ran, not []string
	times    times
}

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
	if slowest := r.times.slowest(12); slowest != "" {
		fmt.Fprintln(os.Stderr, "testrun: slowest packages: "+slowest)
	}
	fmt.Fprintln(os.Stderr, line)
}

// times reads how long each package took from the output of go test that is written to it.
type times struct{ out bytes.Buffer }

var packageLine = regexp.MustCompile(`(?m)^(?:ok  |FAIL)\t(\S+)\t([0-9.]+)s`)

func (t *times) Write(p []byte) (int, error) { return t.out.Write(p) }

// slowest gives the n slowest packages and the sum of all.
func (t *times) slowest(n int) string {
	type one struct {
		path    string
		seconds float64
	}
	var all []one
	sum := 0.0
	for _, m := range packageLine.FindAllStringSubmatch(t.out.String(), -1) {
		seconds, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			continue
		}
		sum += seconds
		all = append(all, one{strings.TrimPrefix(m[1], module), seconds})
	}
	if len(all) == 0 {
		return ""
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Compare(b.seconds, a.seconds) })
	var out []string
	for _, o := range all[:min(n, len(all))] {
		out = append(out, fmt.Sprintf("%s %.0f s", o.path, o.seconds))
	}
	return fmt.Sprintf("%s; %d packages took %.0f s in sum", strings.Join(out, ", "), len(all), sum)
}
