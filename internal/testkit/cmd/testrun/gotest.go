package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// plainInRace keeps SQLite out of the race detector: it is C that was translated to Go, shares no memory with what is tested
// here but through database/sql, and checking its every access is most of what a test of the store would do.
const plainInRace = "-gcflags=modernc.org/...=-race=false"

// goTest runs the suite and gives go test's exit code.
func goTest(ctx context.Context, o options, race bool, env []string, out io.Writer, paths ...string) int {
	args := []string{"test", "-p", strconv.Itoa(o.parallel), "-timeout", o.timeout.String()}
	if race {
		args = append(args, "-race", plainInRace)
		env = append(env, "GORACE=atexit_sleep_ms=100 "+os.Getenv("GORACE")) // else each program sleeps a second at its end
	}
	if o.run != "" {
		args = append(args, "-run", o.run)
	}
	// -count=1: a cached answer says nothing about servers.
	args = append(append(args, "-count=1"), paths...)
	return command(ctx, "", env, out, "go", args...)
}

// command runs a program in a folder ("": this one) and gives its exit code. When ctx ends it is interrupted, so that it ends its
// own children.
func command(ctx context.Context, dir string, env []string, out io.Writer, name string, args ...string) int {
	if polite, err := exec.LookPath("nice"); err == nil && isLowest(ctx) {
		name, args = polite, append([]string{"-n", "19", name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, out, out
	if out == os.Stdout {
		cmd.Stderr = os.Stderr
	}
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

type priority struct{}

// lowest gives a context whose commands run at the lowest priority, where the system has such a thing.
func lowest(ctx context.Context) context.Context { return context.WithValue(ctx, priority{}, true) }

func isLowest(ctx context.Context) bool { return ctx.Value(priority{}) != nil }
