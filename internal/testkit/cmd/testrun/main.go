// Command testrun is "make test": it installs what is missing where it may, starts private servers, and runs the whole test
// suite against them and against the embedded parts.
//
// The order is: servers; fuzz targets (a moment each) and the tests of packages that need no race detector; go test with the
// race detector, the slowest packages first. The output of go test comes last on standard output, as go test writes it; how long
// the slowest packages took, and the closing line, which says what did and what did not run, go to standard error. The exit
// code is 0 only if everything that ran passed and, with CI=true, nothing was missing.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	var o options
	flag.DurationVar(&o.fuzz, "fuzz", time.Second, "how long each fuzz target runs; 0: only its seeds, as part of go test")
	flag.DurationVar(&o.timeout, "timeout", 15*time.Minute, "go test's limit for one package")
	flag.StringVar(&o.run, "run", "", "go test's -run")
	flag.BoolVar(&o.noRace, "no-race", false, "without the race detector")
	flag.IntVar(&o.parallel, "p", 3, "packages at once; most of them wait most of the time")
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

// runAll first runs what the race detector does not watch (two jobs at once: fuzz targets, pure packages), then the suite.
func runAll(ctx context.Context, o options, race bool, servers *testkit.Servers, r *report) int {
	env := os.Environ()
	if servers != nil {
		env = append(env, servers.TestEnv()...)
	}
	packages, err := listPackages(ctx, o.packages)
	if err != nil {
		return fail(err)
	}
	raced, plain := split(packages, race)
	code := aside(ctx, o, env, packages, plain, r)
	if race {
		r.did("race detector")
	}
	if len(raced) > 0 {
		code = max(code, goTest(ctx, o, race, env, io.MultiWriter(os.Stdout, &r.times), raced...))
	}
	return code
}

// aside runs fuzz targets and the packages of plain, two jobs at once.
func aside(ctx context.Context, o options, env []string, packages []pkg, plain []string, r *report) int {
	var jobs []func() int
	var outputs []*bytes.Buffer
	for _, path := range plain {
		out := &bytes.Buffer{}
		outputs = append(outputs, out)
		jobs = append(jobs, func() int { return goTest(ctx, o, false, env, out, path) })
	}
	if o.fuzz > 0 && o.run == "" {
		f, err := newFuzzer(ctx, o, env)
		if err != nil {
			return fail(err)
		}
		defer f.close()
		began, targets := time.Now(), 0
		for _, p := range packages {
			if len(p.fuzz) > 0 {
				targets += len(p.fuzz)
				jobs = append(jobs, func() int { return f.fuzz(ctx, p) })
			}
		}
		defer func() {
			r.did(fmt.Sprintf("%d fuzz targets for %s each (%s in all)", targets, o.fuzz, time.Since(began).Round(time.Second)))
		}()
	}
	code := twoAtOnce(jobs)
	for _, out := range outputs {
		_, _ = io.MultiWriter(os.Stdout, &r.times).Write(out.Bytes()) // as much of the report as can be written
	}
	return code
}

// twoAtOnce runs jobs, two at once, and gives the highest exit code.
func twoAtOnce(jobs []func() int) int {
	var mu sync.Mutex
	var all sync.WaitGroup
	code, next := 0, 0
	for range 2 {
		all.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(jobs) {
					return
				}
				c := jobs[i]()
				mu.Lock()
				code = max(code, c)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "testrun:", err)
	return 1
}
