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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/run"
)

var (
	errBroken  = errors.New("something is wrong")
	errTooLong = errors.New("one pass through the catalogue took longer than it may")
)

// shortWithin is how long a short run may take; it takes half of that.
const shortWithin = 8 * time.Minute

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
	f.StringVar(&s.pace, "pace", "", "default or fast for all; empty: fast, and one phase of four of a long run default")
	f.StringVar(&s.race, "race", "", "all, some or none of the processes are built with -race; empty: some in half of the phases")
	f.Float64Var(&s.rate, "rate", 50, "tasks submitted each second")
	f.IntVar(&s.heavy, "heavy", 0, "heavy faults of a round; 0: 9 in a short run, 3 in a long one")
	f.IntVar(&s.cheap, "cheap", 0, "cheap faults of a round; 0: as many as a pass needs, 12 in a long run")
	f.BoolVar(&s.print, "print", false, "print the plan of the first pass and end")
	f.BoolVar(&s.write, "write", false, "write the tables of a whole run in which nothing was wrong into README.md and docs/faults.md")
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

func command(ctx context.Context, args []string, out io.Writer) error {
	s, err := parse(args, out)
	if err != nil {
		return err
	}
	w, err := s.wishes()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d\n", s.seed)
	if s.print {
		for _, p := range s.turn(w, 0) {
			fmt.Fprintf(out, "%s: pace %s, -race %s\n", p.name, p.pace.Name, p.race)
			p.plan.Print(out, 1, 0)
		}
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
	if !s.isLong() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, shortWithin, errTooLong)
		defer cancel()
	}
	outcomes, err := s.everything(ctx, b, w, named, &lockedWriter{w: out})
	if err != nil {
		return err
	}
	kinds := w.all()
	if !slices.Contains(named, runCluster) {
		kinds = nil // none of them had an opportunity
	}
	return s.conclude(kinds, outcomes, out)
}

// everything does all runs that are named. Those beside the standard cluster's do not hurt each other, nor the clocks of a cluster of their
// own: in a short run they go on at the same time, since all of them mostly wait.
func (s *settings) everything(ctx context.Context, b *builds, w wishes, named []string, out io.Writer) (outcomes []*run.Outcome, err error) {
	var others []*run.Outcome
	var failed error
	var wg sync.WaitGroup
	begin := sync.OnceFunc(func() {
		wg.Go(func() { others, failed = s.others(ctx, named, b.plain, out) })
	})
	if slices.Contains(named, runCluster) {
		outcomes, err = s.phases(ctx, b, w, out, func(p phase) {
			if p.clocks && !s.isLong() {
				begin()
			}
		})
	}
	if err == nil {
		begin()
	}
	wg.Wait()
	return append(outcomes, others...), errors.Join(err, failed)
}

// lockedWriter is for several who write lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
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
