// Command testrun is "make test": it installs what is missing where it may, starts private servers, and runs the whole test
// suite against them and against the embedded parts.
//
// Servers come first. Then two things run beside each other: go test with the race detector, the slowest packages first, and,
// at the lowest priority, so that they use only what the suite leaves while it waits, the fuzz targets (some thousand inputs each)
// and the tests of packages that need no race detector. What runs beside says nothing until the suite is done. How long the
// slowest packages took, and the closing line, which says what did and what did not run, go to standard error. The exit code
// is 0 only if everything that ran passed and, with CI=true, nothing was missing.
//
// With -fuzz-only ("make fuzz") only the fuzz targets run, without servers, and tell how far they came.
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
	flag.StringVar(&o.fuzz, "fuzz", "5000x", "inputs of each fuzz target (5000x), or how long it runs (30s); 0: only its seeds, as part of go test")
	flag.BoolVar(&o.fuzzOnly, "fuzz-only", false, "only the fuzz targets")
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
	if o.fuzzOnly {
		o.verbose = true
		os.Exit(onlyFuzz(ctx, o))
	}
	os.Exit(run(ctx, o))
}

type options struct {
	fuzz     string // go test's -fuzztime; 0: none
	fuzzOnly bool
	verbose  bool // fuzz targets that find nothing are told of too
	timeout  time.Duration
	run      string
	noRace   bool
	parallel int
	packages []string
}

// onlyFuzz runs the fuzz targets and nothing else.
func onlyFuzz(ctx context.Context, o options) int {
	if root, err := testkit.Root(); err != nil {
		return fail(err)
	} else if err := os.Chdir(root); err != nil {
		return fail(err)
	}
	packages, err := listPackages(ctx, o.packages)
	if err != nil {
		return fail(err)
	}
	f, err := newFuzzer(ctx, o, os.Environ(), os.Stdout)
	if err != nil {
		return fail(err)
	}
	defer f.close()
	return twoAtOnce(f.jobs(ctx, packages))
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

// runAll runs the suite and, beside it, what the race detector does not watch.
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
	var beside bytes.Buffer
	var notes report
	ended := make(chan int, 1)
	go func() { ended <- aside(ctx, o, env, packages, plain, &beside, &notes) }()
	code := 0
	if race {
		r.did("race detector")
	}
	if len(raced) > 0 {
		code = goTest(ctx, o, race, env, io.MultiWriter(os.Stdout, &r.times), raced...)
	}
	code = max(code, <-ended)
	_, _ = io.MultiWriter(os.Stdout, &r.times).Write(beside.Bytes()) // as much of the report as can be written
	r.ran = append(r.ran, notes.ran...)
	return code
}

// aside runs the packages of plain and fuzz targets, two jobs at once, and writes what they say to out.
func aside(ctx context.Context, o options, env []string, packages []pkg, plain []string, out io.Writer, r *report) int {
	out = &oneAtATime{w: out}
	ctx = lowest(ctx)
	var jobs []func() int
	for _, path := range plain {
		jobs = append(jobs, func() int {
			var all bytes.Buffer
			code := goTest(ctx, o, false, env, &all, path)
			_, _ = out.Write(all.Bytes()) // into memory
			return code
		})
	}
	if o.fuzz != "0" && o.run == "" {
		f, err := newFuzzer(ctx, o, env, out)
		if err != nil {
			return fail(err)
		}
		defer f.close()
		began, targets := time.Now(), f.jobs(ctx, packages)
		jobs = append(jobs, targets...)
		defer func() {
			n := 0
			for _, p := range packages {
				n += len(p.fuzz)
			}
			r.did(fmt.Sprintf("%d fuzz targets, %s each (beside the others, in %s)", n, o.fuzz, time.Since(began).Round(time.Second)))
		}()
	}
	return twoAtOnce(jobs)
}

// oneAtATime is a writer for several.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
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
