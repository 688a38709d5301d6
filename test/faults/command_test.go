package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/report"
	"github.com/taskweir/taskweir/test/faults/run"
)

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-pace", "slow"}, {"-race", "yes"}, {"-rate", "0"}, {"-heavy", "-1"}, {"-count", "-1"}, {"-for", "-1s"}, {"-phase", "0s"}, {"rest"}, {"-no-such"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
	for _, args := range [][]string{{"-only", "("}, {"-only", "no such kind"}} {
		s, err := parse(args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.wishes(); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

func turnOf(t *testing.T, n int, args ...string) []phase {
	t.Helper()
	s, err := parse(append(args, "-seed", "7"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.wishes()
	if err != nil {
		t.Fatal(err)
	}
	return s.turn(w, n)
}

func TestShortRunIsOnePassAndTheClocks(t *testing.T) {
	list := turnOf(t, 0)
	if len(list) != 2 || list[0].clocks || !list[1].clocks || list[0].pace != faults.Fast || list[0].race != "none" || list[1].race != "some" {
		t.Errorf("%+v", list)
	}
	if list := turnOf(t, 0, "-only", "^clock"); len(list) != 1 || !list[0].clocks {
		t.Errorf("only clocks: %+v", list)
	}
	if list := turnOf(t, 0, "-only", "SIGKILL"); len(list) != 1 || list[0].clocks {
		t.Errorf("no clocks: %+v", list)
	}
}

func TestLongRunHasEveryPaceAndTheRaceDetector(t *testing.T) {
	seeds := map[uint64]bool{}
	for n := range 3 {
		paces, races := map[string]int{}, map[string]int{}
		for _, p := range turnOf(t, n, "-for", "1h") {
			paces[p.pace.Name]++
			races[p.race]++
			if seeds[p.seed] {
				t.Errorf("seed %d comes again", p.seed)
			}
			seeds[p.seed] = true
		}
		if paces["fast"] != 3 || paces["default"] != 1 || races["some"] != 2 || races["none"] != 2 {
			t.Errorf("turn %d: %v %v", n, paces, races)
		}
	}
	for _, p := range turnOf(t, 0, "-for", "1h", "-pace", "default", "-race", "all") {
		if p.pace != faults.Default || p.race != "all" {
			t.Errorf("%+v", p)
		}
	}
}

func TestPrintedPlanIsThatOfTheSeed(t *testing.T) {
	printed := func(seed string) string {
		var b bytes.Buffer
		if err := command(t.Context(), []string{"-print", "-seed", seed}, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := printed("3")
	if first != printed("3") || first == printed("4") {
		t.Error("a seed does not replay its plan, or every seed has the same")
	}
	if !strings.Contains(first, "seed 3\n") || !strings.Contains(first, "clock jump of all") || !strings.Contains(first, "SIGKILL worker") {
		t.Error(first)
	}
}

func TestTablesOfABrokenOrPartialRunAreNotPublished(t *testing.T) {
	lines := []report.Line{{Name: "a", Times: 7}, {Name: "b", Times: 3}}
	for _, c := range []struct {
		args   []string
		broken int
		fit    bool
	}{
		{[]string{"-for", "1h", "-count", "10"}, 0, true},
		{[]string{"-for", "1h", "-count", "10"}, 1, false},
		{[]string{"-for", "1h", "-count", "11"}, 0, false},
		{[]string{"-for", "1h", "-only", "a"}, 0, false},
		{[]string{"-for", "1h", "-runs", "cluster"}, 0, false},
		{nil, 0, false},
	} {
		s, err := parse(c.args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if why := s.unfit(lines, c.broken); (why == "") != c.fit {
			t.Errorf("%v, %d broken: %q", c.args, c.broken, why)
		}
	}
}

func TestNotesSayWhatTheTableIsOf(t *testing.T) {
	s, err := parse([]string{"-for", "1h", "-seed", "7"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	kinds := []faults.Kind{{Name: "a", Group: "A"}, {Name: "never", Group: "A"}}
	outcomes := []*run.Outcome{{Pace: faults.Default, Results: []*faults.Result{
		{Injection: faults.Injection{Kind: "a"}, Group: "A", Times: 3, Recovered: 14 * time.Second}}}}
	notes := s.notes(kinds, linesOf(kinds, outcomes), outcomes)
	for _, want := range []string{"Seed 7, commit ", ": 3 faults in 1 runs", "At the default pace (dead after 12s): 3 faults, time to recover 14.0 / 14.0 s.", "opportunity: never."} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %s", want, notes)
		}
	}
}

func TestEveryKindHasALineWithWhatBothWitnessesSay(t *testing.T) {
	kinds := []faults.Kind{{Name: "a", Group: "A"}, {Name: "never", Group: "A"}}
	result := func(kind, group string, times, inFlight int, recovered time.Duration) *faults.Result {
		return &faults.Result{Injection: faults.Injection{Kind: kind}, Group: group, Times: times, InFlight: inFlight, Recovered: recovered}
	}
	lines := linesOf(kinds, []*run.Outcome{
		{Results: []*faults.Result{result("a", "A", 3, 5, time.Second), result("a", "A", 0, 2, time.Hour), result("other", "O", 1, 0, 0)},
			Report: &history.Report{ByKind: []history.KindCount{{Kind: "a", Lost: 1, Double: 2, Duplicates: 3, Late: 4}, {Kind: "nobody's", Lost: 9}}}},
		{Results: []*faults.Result{result("a", "A", 1, 1, 2*time.Second)}},
	})
	if len(lines) != 3 || lines[0].Times != 4 || lines[0].InFlight != 6 || lines[0].Lost != 1 || lines[0].Double != 2 || lines[0].Duplicates != 3 || lines[0].Late != 4 {
		t.Errorf("%+v", lines)
	}
	if got := lines[0].Recovered; len(got) != 2 || got[0] != time.Second || got[1] != 2*time.Second {
		t.Errorf("what had no opportunity did not recover: %v", got)
	}
	if lines[1].Name != "never" || lines[1].Times != 0 || lines[2].Name != "other" || lines[2].Group != "O" {
		t.Errorf("%+v", lines)
	}
}
