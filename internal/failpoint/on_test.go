//go:build faults

package failpoint_test

import (
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/failpoint"
)

// passes tells which of the first 12 passes of a point act.
func passes(t *testing.T, r failpoint.Rule) string {
	t.Helper()
	r.Action, r.Error = failpoint.Fail, "deadlock"
	if err := failpoint.Set(failpoint.DBExec, r); err != nil {
		t.Fatal(err)
	}
	defer failpoint.Clear(failpoint.DBExec)
	var out strings.Builder
	for range 12 {
		if failpoint.Fails(failpoint.DBExec) == failpoint.Deadlock {
			out.WriteByte('x')
		} else {
			out.WriteByte('.')
		}
	}
	return out.String()
}

func TestFailpointRulesActAtTheirPasses(t *testing.T) {
	for _, c := range []struct {
		rule failpoint.Rule
		want string
	}{
		{failpoint.Rule{}, "xxxxxxxxxxxx"},
		{failpoint.Rule{Times: 1}, "x..........."},
		{failpoint.Rule{Skip: 3, Times: 2}, "...xx......."},
		{failpoint.Rule{Every: 4}, "...x...x...x"},
		{failpoint.Rule{Skip: 1, Every: 2, Times: 3}, "..x.x.x....."},
	} {
		before := failpoint.Counts()["db.exec"]
		if got := passes(t, c.rule); got != c.want {
			t.Errorf("%+v: %s, want %s", c.rule, got, c.want)
		}
		after := failpoint.Counts()["db.exec"]
		if after.Passed-before.Passed != 12 || after.Acted-before.Acted != int64(strings.Count(c.want, "x")) {
			t.Errorf("%+v: counted %+v after %+v", c.rule, after, before)
		}
	}
}

func TestFailpointRulesThatCannotBeAreRefused(t *testing.T) {
	for _, c := range []struct {
		point failpoint.Point
		rule  failpoint.Rule
	}{
		{failpoint.ClaimRun, failpoint.Rule{Action: "explode"}},
		{failpoint.ClaimRun, failpoint.Rule{Action: failpoint.Fail, Error: "deadlock"}},
		{failpoint.ClaimRun, failpoint.Rule{Action: failpoint.Offset}},
		{failpoint.ClaimRun, failpoint.Rule{Action: failpoint.Delay, DelayMs: -1}},
		{failpoint.ClaimRun, failpoint.Rule{Action: failpoint.Kill, Times: -1}},
		{failpoint.DBClock, failpoint.Rule{Action: failpoint.Kill}},
		{failpoint.DBExec, failpoint.Rule{Action: failpoint.Fail}},
		{failpoint.SubmitAnswer, failpoint.Rule{Action: failpoint.Fail, Error: "lost_before"}},
	} {
		if err := failpoint.Set(c.point, c.rule); err == nil {
			t.Errorf("%s took %+v", c.point, c.rule)
			failpoint.Clear(c.point)
		}
	}
}

func TestFailpointNames(t *testing.T) {
	counts := failpoint.Counts()
	for name := range counts {
		if p, known := failpoint.Named(name); !known || p.String() != name || name == "" {
			t.Errorf("%q is %v, %v", name, p, known)
		}
	}
	if _, known := failpoint.Named("unknown"); known || len(counts) != 13 {
		t.Errorf("%d points: %v", len(counts), counts)
	}
}
