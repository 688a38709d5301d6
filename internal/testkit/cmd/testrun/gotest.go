package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// goTest runs the suite and gives go test's exit code.
func goTest(ctx context.Context, o options, race bool, env []string, r *report) int {
	args := []string{"test", "-p", strconv.Itoa(o.parallel), "-timeout", o.timeout.String()}
	if race {
		args = append(args, "-race")
		r.did("race detector")
	}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	// -count=1: a cached answer says nothing about servers.
	args = append(append(args, "-count=1"), o.packages...)
	return goCommand(ctx, env, os.Stdout, args...)
}

// goCommand runs the go command and gives its exit code. When ctx ends it is interrupted, so that it ends its own children.
func goCommand(ctx context.Context, env []string, out io.Writer, args ...string) int {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 20 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return exit.ExitCode()
	}
	return fail(err)
}

// target is one fuzz target.
type target struct{ dir, name string }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\(`)

// fuzz runs every fuzz target for a moment. It prints one line for all of them, and everything about one that fails.
func fuzz(ctx context.Context, o options, env []string, r *report) int {
	targets, err := fuzzTargets(ctx, o.packages)
	if err != nil {
		return fail(err)
	}
	code := 0
	for _, t := range targets {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		var out bytes.Buffer
		c := 1
		for range 3 {
			out.Reset()
			c = goCommand(ctx, env, &out, "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", o.fuzz.String(), "-parallel", "2", t.dir)
			if c == 0 || !endedByItsTime(out.Bytes()) {
				break
			}
		}
		if c != 0 {
			fmt.Printf("%s in %s:\n%s", t.name, t.dir, out.Bytes())
			code = max(code, c)
		}
	}
	if len(targets) > 0 {
		r.did(fmt.Sprintf("%d fuzz targets for %s each", len(targets), o.fuzz))
	}
	return code
}

// endedByItsTime recognises a fuzz run that go itself calls failed because its time was over in the middle of an input. A
// finding always comes with the input that was written.
func endedByItsTime(out []byte) bool {
	return bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written"))
}

// fuzzTargets finds the fuzz targets of packages by reading their test files: asking the test binaries would link them all.
func fuzzTargets(ctx context.Context, packages []string) ([]target, error) {
	format := `{{$d := .Dir}}{{range .TestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`
	out, err := exec.CommandContext(ctx, "go", append([]string{"list", "-f", format}, packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list test files: %w", err)
	}
	var targets []target
	for _, file := range strings.Fields(string(out)) {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read test file: %w", err)
		}
		for _, m := range fuzzFunc.FindAllSubmatch(raw, -1) {
			targets = append(targets, target{filepath.Dir(file), string(m[1])})
		}
	}
	return targets, nil
}
