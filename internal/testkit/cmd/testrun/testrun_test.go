package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

func TestPackagesAreListedSlowestFirst(t *testing.T) {
	all, err := listPackages(t.Context(), []string{module + "internal/bench", module + "internal/cron", module + "internal/sqldb", module + "internal/e2e"})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, p := range all {
		order = append(order, strings.TrimPrefix(p.ImportPath, module))
	}
	if want := []string{"internal/e2e", "internal/sqldb", "internal/bench", "internal/cron"}; !slices.Equal(order, want) {
		t.Fatalf("%q, want %q", order, want)
	}
	if bench := all[2]; !slices.Equal(bench.fuzz, []string{"FuzzSingleID"}) || filepath.Base(bench.Dir) != "bench" {
		t.Fatalf("%+v", bench)
	}
	raced, plain := split(all, true)
	if len(raced) != 3 || !slices.Equal(plain, []string{module + "internal/cron"}) {
		t.Fatalf("%q, %q", raced, plain)
	}
	if raced, plain = split(all, false); len(raced) != 4 || len(plain) != 0 {
		t.Fatalf("without the race detector: %q, %q", raced, plain)
	}
	if _, err := listPackages(t.Context(), []string{"./no/such/folder"}); err == nil {
		t.Fatal("a folder that does not exist has no error")
	}
}

func TestPackagesNamedHereExist(t *testing.T) {
	for _, path := range slices.Concat(slowFirst, unraced) {
		if _, err := os.Stat(filepath.Join("../../../..", path)); err != nil {
			t.Error(err)
		}
	}
}

func TestTwoAtOnceRunsAllAndGivesTheWorst(t *testing.T) {
	var ran atomic.Int32
	var jobs []func() int
	for i := range 7 {
		jobs = append(jobs, func() int { ran.Add(1); return i % 3 })
	}
	if code := twoAtOnce(jobs); code != 2 || ran.Load() != 7 {
		t.Fatalf("code %d, %d ran", code, ran.Load())
	}
	if code := twoAtOnce(nil); code != 0 {
		t.Fatalf("code %d of no job", code)
	}
}

func TestSlowestPackages(t *testing.T) {
	var out times
	fmt.Fprint(&out, "ok  \t"+module+"internal/a\t1.500s\nFAIL\t"+module+"internal/b\t20.000s\nFAIL\n?   \tx\t[no test files]\nok  \t"+module+"c\t0.5s\n")
	if got, want := out.slowest(2), "internal/b 20 s, internal/a 2 s; 3 packages took 22 s in sum"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if got := new(times).slowest(2); got != "" {
		t.Fatalf("%q of nothing", got)
	}
}

func TestCommandPassesTheExitCode(t *testing.T) {
	var out strings.Builder
	if code := command(t.Context(), "", os.Environ(), &out, "go", "version"); code != 0 || !strings.HasPrefix(out.String(), "go version ") {
		t.Fatalf("code %d, %q", code, out.String())
	}
	if code := command(t.Context(), "", os.Environ(), &out, "go", "no-such-subcommand"); code != 2 {
		t.Fatalf("code %d", code)
	}
	if code := command(lowest(t.Context()), "", os.Environ(), &out, "go", "no-such-subcommand"); code != 2 {
		t.Fatalf("code %d at the lowest priority", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := command(ctx, "", os.Environ(), &out, "go", "version"); code == 0 {
		t.Fatal("success after the end of the context")
	}
}
