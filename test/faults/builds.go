package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// builds are the programs with failpoints, with and without the race detector, built when they are first needed.
type builds struct {
	dir         string
	out         io.Writer
	plain, race testkit.Programs
}

func newBuilds(ctx context.Context, out io.Writer) (*builds, error) {
	dir, err := testkit.TempDir()
	if err != nil {
		return nil, err
	}
	b := &builds{dir: dir, out: out}
	if b.plain, err = b.build(ctx, "plain", "-tags=faults", "./cmd/api", "./cmd/scheduler", "./cmd/worker", "./cmd/taskweir"); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

// build builds programs, without what only a debugger needs: half of the time would be that.
func (b *builds) build(ctx context.Context, name string, args ...string) (testkit.Programs, error) {
	began := time.Now()
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return testkit.Programs{}, fmt.Errorf("build: %w", err)
	}
	if err := testkit.Build(ctx, dir, append([]string{"-ldflags=-s -w"}, args...)...); err != nil {
		return testkit.Programs{}, err
	}
	fmt.Fprintf(b.out, "built %s in %v\n", strings.Join(args, " "), time.Since(began).Round(100*time.Millisecond))
	return testkit.Programs{Dir: dir}, nil
}

// raced are those of a cluster that are built with -race when some are.
var raced = map[string]bool{"api2": true, "scheduler2": true, "worker2": true, "worker4": true}

// programs gives the programs of each unit. race is all, some or none.
func (b *builds) programs(ctx context.Context, race string) (func(unit string) testkit.Programs, error) {
	if race != "none" && b.race.Dir == "" {
		var err error
		if b.race, err = b.build(ctx, "race", "-tags=faults", "-race", "./cmd/api", "./cmd/scheduler", "./cmd/worker"); err != nil {
			return nil, err
		}
	}
	return func(unit string) testkit.Programs {
		if unit != "" && (race == "all" || race == "some" && raced[unit]) {
			return b.race
		}
		return b.plain
	}, nil
}

func (b *builds) remove() { _ = os.RemoveAll(b.dir) } // what stays is swept away by the next run
