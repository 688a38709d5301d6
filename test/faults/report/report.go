// Package report makes the tables of docs/faults.md and of the README out of what the runs did, and writes them there.
//
// A line's numbers come from two witnesses: how often a fault acted, what ran when it struck and how long it took until all was well
// come from the harness; what was lost, committed twice, done again or done late comes from the checker, which knows nothing of
// what the harness had expected.
package report

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Line is one line of a table.
type Line struct {
	Name, Group string
	Times       int // injected
	InFlight    int // tasks that were running when it struck, summed up
	Lost        int
	Double      int // epochs with two committed results
	Duplicates  int // effects of a later epoch that it explains
	Late        int // effects that began too late, each refused or refusable by its epoch
	Recovered   []time.Duration
}

// add sums another line up.
func (l *Line) add(o Line) {
	l.Times += o.Times
	l.InFlight += o.InFlight
	l.Lost += o.Lost
	l.Double += o.Double
	l.Duplicates += o.Duplicates
	l.Late += o.Late
	l.Recovered = append(l.Recovered, o.Recovered...)
}

// Merge sums up lines of the same name, in the order of first sight.
func Merge(lines []Line, name func(Line) string) []Line {
	var out []Line
	at := map[string]int{}
	for _, l := range lines {
		n := name(l)
		i, known := at[n]
		if !known {
			i = len(out)
			at[n] = i
			out = append(out, Line{Name: n, Group: l.Group})
		}
		out[i].add(l)
	}
	return out
}

// ByName and ByGroup are what Merge may sum up by.
func ByName(l Line) string  { return l.Name }
func ByGroup(l Line) string { return l.Group }

// Table is the lines as Markdown, with their sum. A task that was lost, or committed twice, while several kinds of fault acted stands
// in each of their lines, so that those two are not summed up but given.
func Table(lines []Line, lost, double int) string {
	var b strings.Builder
	b.WriteString("| Fault | times injected | tasks in flight | lost | double commits | duplicates | late effects | time to recover, median / longest |\n")
	b.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|\n")
	sum := Line{Name: "**all**"}
	for _, l := range lines {
		b.WriteString(l.row())
		sum.add(l)
	}
	sum.Lost, sum.Double = lost, double
	b.WriteString(sum.row())
	return b.String()
}

func (l Line) row() string {
	return fmt.Sprintf("| %s | %s | %s | %d | %d | %d | %d | %s |\n", l.Name, thousands(l.Times), thousands(l.InFlight), l.Lost, l.Double, l.Duplicates, l.Late, l.Recovery())
}

// Recovery is the median and the longest time to recover; a dash where nothing was measured.
func (l Line) Recovery() string {
	if len(l.Recovered) == 0 {
		return "–"
	}
	list := slices.Clone(l.Recovered)
	slices.SortFunc(list, cmp.Compare[time.Duration])
	return fmt.Sprintf("%.1f / %.1f s", list[len(list)/2].Seconds(), list[len(list)-1].Seconds())
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// Between the markers of a name stands what the command wrote.
func markers(name string) (begin, end string) {
	return "<!-- " + name + ": written by make faults-long; do not edit -->\n", "<!-- end of " + name + " -->\n"
}

// Insert replaces what stands between the markers of a name in a file.
func Insert(path, name, text string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := markers(name)
	before, rest, found := strings.Cut(string(raw), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s has no place for it: %q … %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+text+end+after), 0o644)
}
