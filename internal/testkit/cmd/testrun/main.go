// Command testrun is "make test": it installs what is missing where it may, starts private servers, and runs the whole test
// suite against them and against the embedded parts.
//
// The order is: servers, fuzz targets (a moment each), go test. The output of go test comes last on standard output, as go
// test writes it; the closing line, which says what did and what did not run, goes to standard error. The exit code is 0
// only if everything that ran passed and, with CI=true, nothing was missing.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	var o options
	flag.DurationVar(&o.fuzz, "fuzz", time.Second, "how long each fuzz target runs; 0: only its seeds, as part of go test")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "go test's limit for one package")
	flag.StringVar(&o.run, "run", "", "go test's -run")
	flag.BoolVar(&o.noRace, "no-race", false, "without the race detector")
	flag.IntVar(&o.parallel, "p", 2, "packages at once")
	flag.Parse()
	if o.packages = flag.Args(); len(o.packages) == 0 {
		o.packages = []string{"./..."}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, o))
}

type options struct {
	fuzz, timeout time.Duration
	run           string
	noRace        bool
	parallel      int
	packages      []string
}

// run gives the exit code.
func run(ctx context.Context, o options) int {
	began := time.Now()
	if root, err := testkit.Root(); err != nil {
		return fail(err)
	} else if err := os.Chdir(root); err != nil {
		return fail(err)
	}
	var r report
	race := prepare(ctx, o, &r)
	servers, err := startServers(ctx, &r)
	if err != nil {
		return fail(err)
	}
	code := runAll(ctx, o, race, servers, &r)
	if servers != nil {
		if err := servers.Close(); err != nil {
			code = fail(err)
		}
	}
	if testkit.InCI() && len(r.not) > 0 {
		code = max(code, 1)
	}
	r.print(code, time.Since(began))
	return code
}

func runAll(ctx context.Context, o options, race bool, servers *testkit.Servers, r *report) int {
	env := os.Environ()
	if servers != nil {
		env = append(env, servers.TestEnv()...)
	}
	code := 0
	if o.fuzz > 0 && o.run == "" {
		code = fuzz(ctx, o, env, r)
	}
	return max(code, goTest(ctx, o, race, env, r))
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "testrun:", err)
	return 1
}
