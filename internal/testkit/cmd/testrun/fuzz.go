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
)

// fuzzer runs fuzz targets for a moment each: one binary a package, linked once.
type fuzzer struct {
	o     options
	env   []string
	dir   string // the binaries' folder
	cache string // where go keeps the inputs that found something new
	out   io.Writer
}

func newFuzzer(ctx context.Context, o options, env []string) (*fuzzer, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the build cache: %w", err)
	}
	dir, err := os.MkdirTemp("", "taskweir-fuzz-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for fuzz binaries: %w", err)
	}
	return &fuzzer{o, env, dir, filepath.Join(strings.TrimSpace(string(out)), "fuzz"), os.Stdout}, nil
}

func (f *fuzzer) close() {
	_ = os.RemoveAll(f.dir) // temporary
}

// fuzz runs the targets of one package. It prints nothing but what fails, and everything about that.
func (f *fuzzer) fuzz(ctx context.Context, p pkg) int {
	binary := filepath.Join(f.dir, strings.ReplaceAll(strings.TrimPrefix(p.ImportPath, module), "/", "-"))
	var out bytes.Buffer
	if code := command(ctx, p.Dir, f.env, &out, "go", "test", "-c", "-fuzz=.", "-o", binary, "."); code != 0 {
		fmt.Fprintf(f.out, "fuzz targets of %s:\n%s", p.Dir, out.Bytes())
		return code
	}
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

func (f *fuzzer) target(ctx context.Context, p pkg, binary, target string) int {
	var out bytes.Buffer
	code := 1
	for range 3 {
		out.Reset()
		code = command(ctx, p.Dir, f.env, &out, binary, "-test.run=^$", "-test.fuzz=^"+target+"$", "-test.fuzztime="+f.o.fuzz.String(),
			"-test.parallel=1", "-test.timeout="+f.o.timeout.String(), "-test.fuzzcachedir="+filepath.Join(f.cache, p.ImportPath))
		if code == 0 || !endedByItsTime(out.Bytes()) {
			break
		}
	}
	if code == 0 && !bytes.Contains(out.Bytes(), []byte("fuzz: elapsed")) {
		out.WriteString("nothing was fuzzed\n")
		code = 1
	}
	if code != 0 {
		fmt.Fprintf(f.out, "%s in %s:\n%s", target, p.Dir, out.Bytes())
	}
	return code
}

// endedByItsTime recognises a fuzz run that go itself calls failed because its time was over in the middle of an input. A
// finding always comes with the input that was written.
func endedByItsTime(out []byte) bool {
	return bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input written"))
}
