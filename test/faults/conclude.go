package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/report"
	"github.com/taskweir/taskweir/test/faults/run"
)

// conclude prints the tables, writes them where they belong, and says whether anything is wrong.
func (s *settings) conclude(kinds []faults.Kind, outcomes []*run.Outcome, out io.Writer) error {
	lines := linesOf(kinds, outcomes)
	broken, lost, double := 0, 0, 0
	for _, o := range outcomes {
		if !o.OK() {
			broken++
		}
		if o.Report != nil {
			lost, double = lost+o.Report.Lost, double+o.Report.Double
		}
	}
	byKind, byGroup := report.Table(report.Merge(lines, report.ByName), lost, double), report.Table(report.Merge(lines, report.ByGroup), lost, double)
	notes := s.notes(kinds, lines, outcomes)
	fmt.Fprintf(out, "\n%s\n%s\n", byKind, notes)
	if s.write {
		if why := s.unfit(lines, broken); why != "" {
			fmt.Fprintf(out, "README.md and docs/faults.md stay as they are: %s\n", why)
		} else if err := s.insert(byKind+"\n"+notes, byGroup+"\n"+s.source(lines, outcomes)+"\n"); err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%w in %d of %d phases of seed %d; evidence: %s", errBroken, broken, len(outcomes), s.seed, s.evidence)
	}
	fmt.Fprintf(out, "nothing is wrong; seed %d\n", s.seed)
	return nil
}

// unfit says why the tables of a run are not to be published; empty: they are.
func (s *settings) unfit(lines []report.Line, broken int) string {
	times := total(lines)
	switch {
	case broken > 0:
		return fmt.Sprintf("something was wrong in %d phases", broken)
	case s.only != "" || s.runs != "":
		return "it was only a part of a run (-only, -runs)"
	case !s.isLong():
		return "it was not a long run (-for, -count)"
	case times < s.count:
		return fmt.Sprintf("%d faults were wanted, and %d were injected", s.count, times)
	}
	return ""
}

func total(lines []report.Line) (times int) {
	for _, l := range lines {
		times += l.Times
	}
	return times
}

// source is one sentence on where a table comes from.
func (s *settings) source(lines []report.Line, outcomes []*run.Outcome) string {
	var took time.Duration
	tasks := 0
	for _, o := range outcomes {
		took += o.Took
		if o.Report != nil {
			tasks += o.Report.Tasks
		}
	}
	return fmt.Sprintf("Seed %d, commit %s: %d faults in %d runs that took %.0f minutes together, with %d tasks, on %d cores (%s/%s).",
		s.seed, commit(), total(lines), len(outcomes), took.Minutes(), tasks, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
}

// notes is what stands below the table of kinds: where it comes from, how long recovery took at each pace, and which kinds never found an
// opportunity.
func (s *settings) notes(kinds []faults.Kind, lines []report.Line, outcomes []*run.Outcome) string {
	text := s.source(lines, outcomes) + "\n\n"
	for _, pace := range []faults.Pace{faults.Fast, faults.Default} {
		all := report.Line{}
		for _, o := range outcomes {
			for _, r := range o.Results {
				if o.Pace == pace && r.Times > 0 && r.Recovered > 0 {
					all.Times += r.Times
					all.Recovered = append(all.Recovered, r.Recovered)
				}
			}
		}
		if all.Times > 0 {
			text += fmt.Sprintf("At the %s pace (dead after %v): %d faults, time to recover %s.\n", pace.Name, pace.DeadAfter, all.Times, all.Recovery())
		}
	}
	if !s.isLong() || s.only != "" || len(kinds) == 0 {
		return text
	}
	var never []string
	for _, l := range report.Merge(lines, report.ByName) {
		if l.Times == 0 {
			never = append(never, l.Name)
		}
	}
	if len(never) == 0 {
		return text + "\nEvery kind of the catalogue was injected.\n"
	}
	return text + "\nNot injected in this run, for want of an opportunity: " + strings.Join(never, ", ") + ".\n"
}

// commit names the commit that is checked out; with a plus when it was changed.
func commit() string {
	root, err := testkit.Root()
	if err != nil {
		return "unknown"
	}
	out, err := exec.Command("git", "-C", root, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (s *settings) insert(byKind, byGroup string) error {
	root, err := testkit.Root()
	if err != nil {
		return err
	}
	if err := report.Insert(filepath.Join(root, "docs", "faults.md"), "table of faults by kind", byKind); err != nil {
		return err
	}
	return report.Insert(filepath.Join(root, "README.md"), "table of faults", byGroup)
}

// linesOf makes a line for each kind of fault, also for those that never found an opportunity.
func linesOf(kinds []faults.Kind, outcomes []*run.Outcome) []report.Line {
	var lines []report.Line
	at := map[string]int{}
	line := func(name, group string) *report.Line {
		i, known := at[name]
		if !known {
			i = len(lines)
			at[name] = i
			lines = append(lines, report.Line{Name: name, Group: group})
		}
		return &lines[i]
	}
	for _, k := range kinds {
		line(k.Name, k.Group)
	}
	for _, o := range outcomes {
		for _, r := range o.Results {
			l := line(r.Injection.Kind, r.Group)
			if r.Times == 0 {
				continue // it had no opportunity
			}
			l.Times += r.Times
			l.InFlight += r.InFlight
			if r.Recovered > 0 {
				l.Recovered = append(l.Recovered, r.Recovered)
			}
		}
		if o.Report == nil {
			continue
		}
		for _, k := range o.Report.ByKind {
			if _, injected := at[k.Kind]; !injected {
				continue // the end of a run that had moved clocks
			}
			l := line(k.Kind, "")
			l.Lost += k.Lost
			l.Double += k.Double
			l.Duplicates += k.Duplicates
			l.Late += k.Late
		}
	}
	return lines
}
