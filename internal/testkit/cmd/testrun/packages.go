package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const module = "github.com/taskweir/taskweir/"

// slowFirst are the packages that take longest, the longest first: begun last, the last of them would run alone.
var slowFirst = []string{"internal/e2e", "internal/sqldb", "internal/scheduler", "internal/rest", "internal/app", "internal/nsqbus", "internal/bench", "internal/compat/serendipity", "internal/rdb", "internal/compat/goodjob"}

// unraced are packages whose own tests run without the race detector: they start no goroutine, or one step after the other, and
// what they share is under load in the packages that use them, which the detector does watch.
var unraced = []string{"internal/cron", "internal/modelcheck"}

// pkg is one package of the suite.
type pkg struct {
	Dir, ImportPath           string
	TestGoFiles, XTestGoFiles []string
	fuzz                      []string // the names of its fuzz targets
}

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz[A-Za-z0-9_]*)\(`)

// listPackages resolves patterns, in the order in which the packages should begin. Fuzz targets are found by reading test
// files: asking the test binaries would link them all.
func listPackages(ctx context.Context, patterns []string) ([]pkg, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles"}, patterns...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read go list: %w", err)
		}
		if err := p.findFuzz(); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b pkg) int { return a.rank() - b.rank() })
	return all, nil
}

func (p *pkg) findFuzz() error {
	for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		raw, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			return fmt.Errorf("read test file: %w", err)
		}
		for _, m := range fuzzFunc.FindAllSubmatch(raw, -1) {
			p.fuzz = append(p.fuzz, string(m[1]))
		}
	}
	return nil
}

func (p *pkg) rank() int {
	if i := slices.Index(slowFirst, strings.TrimPrefix(p.ImportPath, module)); i >= 0 {
		return i
	}
	return len(slowFirst)
}

// split gives the paths of the packages that the race detector watches, and of those that run without it.
func split(packages []pkg, race bool) (raced, plain []string) {
	for _, p := range packages {
		if race && slices.Contains(unraced, strings.TrimPrefix(p.ImportPath, module)) {
			plain = append(plain, p.ImportPath)
		} else {
			raced = append(raced, p.ImportPath)
		}
	}
	return raced, plain
}
