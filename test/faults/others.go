package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/diskfull"
	"github.com/taskweir/taskweir/test/faults/mixed"
	"github.com/taskweir/taskweir/test/faults/run"
	"github.com/taskweir/taskweir/test/faults/standalone"
)

// The runs beside that of the standard cluster, as -runs names them.
const (
	runCluster    = "cluster"
	runStandalone = "standalone"
	runDisk       = "disk"
	runMixed      = "mixed"
)

// wanted lists the runs that are to be done: in a short one all but mixed, which builds all programs a second time.
func (s *settings) wanted() ([]string, error) {
	all := []string{runCluster, runStandalone, runDisk, runMixed}
	if s.runs == "" {
		if s.isLong() {
			return all, nil
		}
		return all[:3], nil
	}
	named := strings.Split(s.runs, ",")
	for _, name := range named {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("-runs names some of %s, not %q", strings.Join(all, ", "), name)
		}
	}
	return named, nil
}

// others does the runs that hurt something else than the standard cluster. Which of them this machine cannot do is said, and is a
// failure where CI=true.
func (s *settings) others(ctx context.Context, named []string, programs testkit.Programs, out io.Writer) (outcomes []*run.Outcome, err error) {
	kills, rounds, replaced := 12, 1, 6
	if s.isLong() { // about a fifth of half an hour, and of what is longer
		times := max(1, int(s.long/(30*time.Minute)))
		kills, rounds, replaced = 32*times, 2*times, 8*times
	}
	runs := map[string]func() ([]*run.Outcome, error){
		runStandalone: func() ([]*run.Outcome, error) {
			o, err := standalone.Run(ctx, standalone.Options{Programs: programs, Points: true, Seed: s.seed, Kills: kills, Rate: s.rate, Evidence: s.evidence, Log: out})
			return []*run.Outcome{o}, err
		},
		runDisk: func() ([]*run.Outcome, error) {
			return diskfull.Run(ctx, diskfull.Options{Programs: programs, Seed: s.seed, Rounds: rounds, Rate: s.rate, Evidence: s.evidence, Log: out})
		},
		runMixed: func() ([]*run.Outcome, error) {
			o, err := mixed.Run(ctx, mixed.Options{Programs: programs, Seed: s.seed, Replaced: replaced, Rate: s.rate, Evidence: s.evidence, Log: out})
			return []*run.Outcome{o}, err
		},
	}
	for _, name := range named {
		if runs[name] == nil {
			continue // the cluster's
		}
		done, err := runs[name]()
		if errors.Is(err, diskfull.ErrNoMount) || errors.Is(err, mixed.ErrNoHistory) {
			if testkit.InCI() {
				return outcomes, err
			}
			fmt.Fprintf(out, "%s: left out: %v\n", name, err)
			continue
		}
		if err != nil {
			return outcomes, errors.Join(fmt.Errorf("%s: %w", name, err), ctx.Err())
		}
		for _, o := range done {
			outcomes = append(outcomes, o)
			fmt.Fprintf(out, "%s: %d faults in %v: %s", o.Name, o.Faults(), o.Took.Round(time.Second), verdict(o))
		}
	}
	return outcomes, nil
}
