package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/plan"
	"github.com/taskweir/taskweir/test/faults/run"
)

// wishes are the kinds of fault that a run is to have.
type wishes struct{ common, clocks []faults.Kind }

func (w wishes) all() []faults.Kind { return slices.Concat(w.common, w.clocks) }

// wishes are the catalogue's kinds whose name matches.
func (s *settings) wishes() (wishes, error) {
	only, err := regexp.Compile(s.only)
	if err != nil {
		return wishes{}, fmt.Errorf("-only: %w", err)
	}
	other := func(k faults.Kind) bool { return !only.MatchString(k.Name) }
	w := wishes{slices.DeleteFunc(faults.Catalogue(cluster.Standard()), other), slices.DeleteFunc(faults.Clocks(), other)}
	if len(w.all()) == 0 {
		return wishes{}, fmt.Errorf("no kind of fault matches %q", s.only)
	}
	return w, nil
}

// phase is one run with a cluster of its own.
type phase struct {
	name   string
	pace   faults.Pace
	race   string
	clocks bool
	heavy  int // faults of a round
	plan   *plan.Plan
	seed   uint64
	most   time.Duration // of a long run
}

// clocksFor is how long clocks are moved about in one turn of a long run.
const clocksFor = 90 * time.Second

// turn makes the phases of turn number n, from 0. A short run has one turn of two phases: the catalogue, and the clocks with the race
// detector. A turn of a long run hurts the cluster at the fast pace, at the defaults, and again at the fast pace with the race detector, and
// then moves clocks. Its rounds have as many heavy faults as they may, so that a phase of five minutes at the fast pace has the whole catalogue.
func (s *settings) turn(w wishes, n int) []phase {
	fast := phase{pace: faults.Fast, race: "none", heavy: 9, most: s.phase}
	patient, raced, clocks := fast, fast, fast
	if s.isLong() {
		fast.heavy, raced.heavy, raced.race = 3, 3, "some"
	}
	patient.pace, patient.heavy, patient.race = faults.Default, 3, "some"
	clocks.clocks, clocks.heavy, clocks.most = true, 1, min(clocksFor, s.phase)
	all := []phase{fast, patient, raced, clocks}
	if !s.isLong() {
		clocks.race = "some"
		all = []phase{fast, clocks}
	}
	all = slices.DeleteFunc(all, func(p phase) bool { return p.clocks && len(w.clocks) == 0 || !p.clocks && len(w.common) == 0 })
	for i := range all {
		s.fill(&all[i], w, n*len(all)+i)
	}
	return all
}

// fill gives phase number n its plan, and what the flags say.
func (s *settings) fill(p *phase, w wishes, n int) {
	p.name, p.seed = fmt.Sprintf("seed%d.%d", s.seed, n), s.seed+uint64(n)*1_000_003
	switch s.pace {
	case faults.Default.Name:
		p.pace = faults.Default
	case faults.Fast.Name:
		p.pace = faults.Fast
	}
	if s.race != "" {
		p.race = s.race
	}
	o := plan.Options{Seed: p.seed, Shape: cluster.Standard(), Kinds: w.common, Pace: p.pace, Heavy: p.heavy, Cheap: s.cheap, Full: true}
	if p.clocks {
		o.Kinds = w.clocks
	} else if s.heavy > 0 {
		o.Heavy = s.heavy
	}
	if o.Cheap == 0 && s.isLong() {
		o.Cheap = 12
	}
	p.plan = plan.New(o)
}

// forCluster is how much of a long run is the standard cluster's: what the other runs take of it is at the most a fifth, as far as is known
// beforehand.
func (s *settings) forCluster() time.Duration { return s.long * 4 / 5 }

// phases runs one phase after another until it is enough. next is told of each before it begins.
func (s *settings) phases(ctx context.Context, b *builds, w wishes, out io.Writer, next func(phase)) (outcomes []*run.Outcome, err error) {
	began, total := time.Now(), 0
	over := func(more int) bool {
		return (s.count == 0 || total+more >= s.count) && (s.long == 0 || time.Since(began) >= s.forCluster())
	}
	for n := 0; n == 0 || s.isLong() && !over(0); n++ {
		for _, p := range s.turn(w, n) {
			if context.Cause(ctx) == errTooLong {
				break
			}
			if n > 0 && over(0) && ctx.Err() == nil { // the first turn is whole: every kind of fault is in it
				break
			}
			if _, err := b.programs(ctx, p.race); err != nil { // before anything runs beside it
				return outcomes, errors.Join(err, ctx.Err())
			}
			next(p)
			o, err := s.one(ctx, b, p, over, out)
			if err != nil {
				return outcomes, errors.Join(err, ctx.Err())
			}
			total += o.Faults()
			outcomes = append(outcomes, o)
			fmt.Fprintf(out, "%s: %d faults in %v: %s", p.name, o.Faults(), o.Took.Round(time.Second), verdict(o))
			if ctx.Err() != nil {
				return outcomes, nil // what there is is shown
			}
		}
	}
	return outcomes, nil
}

func (s *settings) one(ctx context.Context, b *builds, p phase, over func(int) bool, out io.Writer) (*run.Outcome, error) {
	programs, err := b.programs(ctx, p.race)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "%s: pace %s, -race %s\n", p.name, p.pace.Name, p.race)
	return run.Do(ctx, run.Options{Name: p.name, Plan: p.plan, Pace: p.pace, Seed: p.seed, Rate: s.rate, Programs: programs, Clocks: p.clocks,
		Evidence: s.evidence, Log: out, Enough: func(faults int, d time.Duration) bool {
			if !s.isLong() {
				return p.plan.Pass() > 1
			}
			return (d >= p.most || over(faults)) && (!p.clocks || p.plan.Pass() > 1) // a pass of the clocks is short
		}})
}
