package mixed_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/mixed"
)

// A few replacements, in both directions.
func TestTwoBuildsAtOnce(t *testing.T) {
	_, _, err := mixed.Previous(t.Context())
	testkit.Need(t, err)
	programs, err := testkit.BuildPrograms(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := mixed.Run(t.Context(), mixed.Options{Programs: programs, Seed: uint64(time.Now().UnixNano()), Replaced: 6,
		Evidence: filepath.Join(os.TempDir(), "taskweir-evidence"), Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if out.Report == nil || !out.OK() {
		t.Fatalf("%q", out.Broken)
	}
	t.Log(out.Report.Summary(3))
	if out.Faults() < 6 || out.Report.Tasks < 100 {
		t.Errorf("%d faults, %d tasks: that is no test", out.Faults(), out.Report.Tasks)
	}
}
