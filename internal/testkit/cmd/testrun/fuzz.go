package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// onlyOurs has the compiler count how often each branch of our packages runs, which is what guides fuzzing. go test -fuzz would
// have it done in every package, the libraries and the standard library too: the counters of a program that links them are a
// million, and are sent between two processes with each input. Targets of such a program then run 40 inputs a second instead
// of thousands, and do not get through the inputs that they know in a moment.
const onlyOurs = "-gcflags=" + module + "...=-d=libfuzzer"

// slowFuzz are targets whose single input is a lot of work, and how many inputs are enough of them where others take their
// thousands. What is known of them is not kept: so much goes on in them at once that each input seems to find something new.
var slowFuzz = map[string]string{
	"internal/openapi FuzzRequests": "60x", // each input is twenty requests to a server
}

// fuzzer runs fuzz targets for a moment each: one binary a package, linked once.
type fuzzer struct {
	o     options
	env   []string
	dir   string // the binaries' folder
	cache string // where go keeps the inputs that found something new
	out   io.Writer
}

func newFuzzer(ctx context.Context, o options, env []string, out io.Writer) (*fuzzer, error) {
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the build cache: %w", err)
	}
	dir, err := os.MkdirTemp("", "taskweir-fuzz-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for fuzz binaries: %w", err)
	}
	return &fuzzer{o, env, dir, filepath.Join(strings.TrimSpace(string(cache)), "fuzz"), out}, nil
}

func (f *fuzzer) close() {
	_ = os.RemoveAll(f.dir) // temporary
}

// jobs are the packages that have targets, one job each.
func (f *fuzzer) jobs(ctx context.Context, packages []pkg) (out []func() int) {
	for _, p := range packages {
		if len(p.fuzz) > 0 {
			out = append(out, func() int { return f.fuzz(ctx, p) })
		}
	}
	return out
}

// fuzz runs the targets of one package. It prints nothing but what fails, and everything about that.
func (f *fuzzer) fuzz(ctx context.Context, p pkg) int {
	binary := filepath.Join(f.dir, strings.ReplaceAll(strings.TrimPrefix(p.ImportPath, module), "/", "-"))
	var out bytes.Buffer
	// Neither symbols for a debugger, which are a third of the time to link, nor vet, which make lint runs.
	if code := command(ctx, p.Dir, f.env, &out, "go", "test", "-c", "-vet=off", onlyOurs, "-ldflags=-w", "-o", binary, "."); code != 0 {
		fmt.Fprintf(f.out, "fuzz targets of %s:\n%s", p.Dir, out.Bytes())
		return code
	}
	defer os.Remove(binary) //nolint:errcheck // its folder is removed too
	worst := 0
	for _, target := range p.fuzz {
		if ctx.Err() != nil {
			return fail(context.Cause(ctx))
		}
		if code := f.target(ctx, p, binary, target); code != 0 {
			worst = max(worst, code)
		}
	}
	return worst
}

// target runs one target. A run that only got through the inputs that are known has found nothing because it looked for
// nothing: it is given more, and in the end called a failure.
func (f *fuzzer) target(ctx context.Context, p pkg, binary, target string) int {
	amount, cache := f.o.fuzz, f.cache
	if slow := slowFuzz[strings.TrimPrefix(p.ImportPath, module)+" "+target]; slow != "" {
		cache = f.dir
		if strings.HasSuffix(amount, "x") {
			amount = slow
		}
	}
	var out bytes.Buffer
	code, began := 1, time.Now()
	for _, amount := range []string{amount, amount, tenfold(amount)} {
		out.Reset()
		code = command(ctx, p.Dir, f.env, &out, binary, "-test.run=^$", "-test.fuzz=^"+target+"$", "-test.fuzztime="+amount,
			"-test.parallel=1", "-test.timeout="+f.o.timeout.String(), "-test.fuzzcachedir="+filepath.Join(cache, p.ImportPath))
		if code == 0 && unguided(out.Bytes()) {
			fmt.Fprintf(f.out, "%s in %s: %s no longer makes the compiler count branches\n", target, p.Dir, onlyOurs)
			return 1
		}
		if code != 0 && !endedByItsTime(out.Bytes()) || code == 0 && wentBeyondTheKnown(out.Bytes()) {
			break
		}
	}
	if code == 0 && !wentBeyondTheKnown(out.Bytes()) {
		out.WriteString("nothing was fuzzed\n")
		code = 1
	}
	if f.o.verbose {
		fmt.Fprintf(f.out, "%s in %s, %.1f s: %s\n", target, p.Dir, time.Since(began).Seconds(), lastLine(out.Bytes()))
	}
	if code != 0 {
		fmt.Fprintf(f.out, "%s in %s:\n%s", target, p.Dir, out.Bytes())
	}
	return code
}

// tenfold is ten times as many inputs ("3000x"), or ten times as long ("1s").
func tenfold(amount string) string {
	if n, ok := strings.CutSuffix(amount, "x"); ok {
		return n + "0x"
	}
	d, err := time.ParseDuration(amount)
	if err != nil {
		return amount
	}
	return (10 * d).String()
}

// endedByItsTime recognises a fuzz run that go itself calls failed because its time was over in the middle of an input. A
// finding always comes with the input that was written.
func endedByItsTime(out []byte) bool {
	return bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written"))
}

// wentBeyondTheKnown tells whether inputs were made, after the known ones.
func wentBeyondTheKnown(out []byte) bool { return bytes.Contains(out, []byte("now fuzzing")) }

// unguided recognises a binary without counters.
func unguided(out []byte) bool { return bytes.Contains(out, []byte("without coverage guidance")) }

// lastLine is the last line that says how many inputs ran.
func lastLine(out []byte) string {
	said := ""
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "execs:") {
			said = strings.TrimSpace(line)
		}
	}
	return said
}
