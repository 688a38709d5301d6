package main

import (
	"fmt"
	"io"
	"path/filepath"

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
	fmt.Fprintf(out, "\n%s\n", byKind)
	if s.write {
		if err := s.insert(byKind, byGroup); err != nil {
			return err
		}
	}
	if broken > 0 {
		return fmt.Errorf("%w in %d of %d phases of seed %d; evidence: %s", errBroken, broken, len(outcomes), s.seed, s.evidence)
	}
	fmt.Fprintf(out, "nothing is wrong; seed %d\n", s.seed)
	return nil
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
