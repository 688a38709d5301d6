package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/plan"
	"github.com/taskweir/taskweir/test/faults/run"
)

var errBroken = errors.New("something is wrong")

// settings are the command's flags.
type settings struct {
	seed     uint64
	long     time.Duration
	count    int
	phase    time.Duration
	only     string
	runs     string
	pace     string
	race     string
	rate     float64
	heavy    int
	cheap    int
	print    bool
	write    bool
	evidence string
}

func parse(args []string, out io.Writer) (*settings, error) {
	s := &settings{}
	f := flag.NewFlagSet("faults", flag.ContinueOnError)
	f.SetOutput(out)
	f.Uint64Var(&s.seed, "seed", 0, "draw this plan again; 0: another one each time")
	f.DurationVar(&s.long, "for", 0, "a long run of about this duration; 0: one pass through the catalogue, for CI, unless -count is given")
	f.IntVar(&s.count, "count", 0, "a long run until so many faults were injected")
	f.DurationVar(&s.phase, "phase", 5*time.Minute, "of a long run: each phase has a cluster of its own")
	f.StringVar(&s.only, "only", "", "only kinds of fault whose name matches this regular expression")
	f.StringVar(&s.runs, "runs", "", "only these runs: cluster, standalone, disk, mixed; empty: all, but in a short run not mixed")
	f.StringVar(&s.pace, "pace", "", "default or fast for all; empty: fast, and every third phase of a long run default")
	f.StringVar(&s.race, "race", "", "all, some or none of the processes are built with -race; empty: none, and every second phase of a long run some")
	f.Float64Var(&s.rate, "rate", 50, "tasks submitted each second")
	f.IntVar(&s.heavy, "heavy", 0, "heavy faults of a round at the most; 0: 7 in a short run, 3 in a long one")
	f.IntVar(&s.cheap, "cheap", 0, "cheap faults of a round; 0: as many as a pass needs, 6 in a long run")
	f.BoolVar(&s.print, "print", false, "print the plan of the first pass and end")
	f.BoolVar(&s.write, "write", false, "write the tables into README.md and docs/faults.md")
	f.StringVar(&s.evidence, "evidence", filepath.Join(os.TempDir(), "taskweir-faults"), "folder for logs and history when something is wrong")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected arguments: %v", f.Args())
	}
	if s.seed == 0 {
		s.seed = rand.Uint64N(1_000_000) + 1
	}
	return s, s.check()
}

func (s *settings) check() error {
	if !slices.Contains([]string{"", faults.Default.Name, faults.Fast.Name}, s.pace) {
		return fmt.Errorf("-pace is default or fast, not %q", s.pace)
	}
	if !slices.Contains([]string{"", "all", "some", "none"}, s.race) {
		return fmt.Errorf("-race is all, some or none, not %q", s.race)
	}
	if s.rate <= 0 || s.heavy < 0 || s.cheap < 0 || s.count < 0 || s.long < 0 || s.phase <= 0 {
		return errors.New("no number may be negative, and neither -rate nor -phase 0")
	}
	return nil
}

// isLong reports whether it is not the one pass of CI.
func (s *settings) isLong() bool { return s.long > 0 || s.count > 0 }

// kinds are the catalogue's that are wished for.
func (s *settings) kinds(shape cluster.Shape) ([]faults.Kind, error) {
	only, err := regexp.Compile(s.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	kinds := slices.DeleteFunc(faults.Catalogue(shape), func(k faults.Kind) bool { return !only.MatchString(k.Name) })
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no kind of fault matches %q", s.only)
	}
	return kinds, nil
}

// phase is one run with a cluster of its own.
type phase struct {
	name string
	pace faults.Pace
	race string
	plan *plan.Plan
	seed uint64
}

// phase makes phase number n, from 0.
func (s *settings) newPhase(n int, kinds []faults.Kind) phase {
	p := phase{name: fmt.Sprintf("seed%d.%d", s.seed, n), pace: faults.Fast, race: s.race, seed: s.seed + uint64(n)*1_000_003}
	if s.pace == faults.Default.Name || s.pace == "" && s.isLong() && n%3 == 1 {
		p.pace = faults.Default
	}
	if p.race == "" {
		p.race = "none"
		if s.isLong() && n%2 == 1 {
			p.race = "some"
		}
	}
	o := plan.Options{Seed: p.seed, Shape: cluster.Standard(), Kinds: kinds, Pace: p.pace, Heavy: s.heavy, Cheap: s.cheap, Full: !s.isLong()}
	if o.Heavy == 0 {
		o.Heavy = 7
		if s.isLong() {
			o.Heavy = 3
		}
		if p.pace.Name == faults.Default.Name {
			o.Heavy = 2
		}
	}
	if o.Cheap == 0 && s.isLong() {
		o.Cheap = 6
	}
	p.plan = plan.New(o)
	return p
}

func command(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	kinds, err := s.kinds(cluster.Standard())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d\n", s.seed)
	if s.print {
		s.newPhase(0, kinds).plan.Print(out, 1, 0)
		return nil
	}
	named, err := s.wanted()
	if err != nil {
		return err
	}
	b, err := newBuilds(ctx, out)
	if err != nil {
		return err
	}
	defer b.remove()
	var outcomes []*run.Outcome
	if slices.Contains(named, runCluster) {
		if outcomes, err = s.phases(ctx, b, kinds, out); err != nil {
			return err
		}
	}
	others, err := s.others(ctx, named, b.plain, out)
	if outcomes = append(outcomes, others...); err != nil {
		return err
	}
	return s.conclude(kinds, outcomes, out)
}

// phases runs one phase after another until it is enough.
func (s *settings) phases(ctx context.Context, b *builds, kinds []faults.Kind, out io.Writer) (outcomes []*run.Outcome, err error) {
	began, total := time.Now(), 0
	over := func(more int) bool {
		return s.isLong() && (s.count == 0 || total+more >= s.count) && (s.long == 0 || time.Since(began) >= s.long)
	}
	for n := 0; n == 0 || s.isLong() && !over(0); n++ {
		p := s.newPhase(n, kinds)
		programs, err := b.programs(ctx, p.race)
		if err != nil {
			return outcomes, err
		}
		fmt.Fprintf(out, "%s: pace %s, -race %s\n", p.name, p.pace.Name, p.race)
		o, err := run.Do(ctx, run.Options{Name: p.name, Plan: p.plan, Pace: p.pace, Seed: p.seed, Rate: s.rate, Programs: programs, Evidence: s.evidence, Log: out,
			Enough: func(faults int, d time.Duration) bool {
				if !s.isLong() {
					return p.plan.Pass() > 1
				}
				return d >= s.phase || over(faults)
			}})
		if err != nil {
			return outcomes, errors.Join(err, ctx.Err())
		}
		total += o.Faults()
		outcomes = append(outcomes, o)
		fmt.Fprintf(out, "%s: %d faults in %v: %s", p.name, o.Faults(), o.Took.Round(time.Second), verdict(o))
		if ctx.Err() != nil {
			break
		}
	}
	return outcomes, nil
}

// verdict is what is to be said of a phase.
func verdict(o *run.Outcome) string {
	text := "ok\n"
	if !o.OK() {
		text = "BROKEN\n" + strings.Join(o.Broken, "\n") + "\n"
	}
	if o.Report != nil {
		text += o.Report.Summary(5)
	}
	return text
}
