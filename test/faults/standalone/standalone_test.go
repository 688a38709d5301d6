package standalone_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/standalone"
)

// A few kills of each kind: nothing is lost, nothing is done twice that nothing explains. The long plan does hundreds.
func TestKilledStandalone(t *testing.T) {
	programs := testkit.Programs{Dir: t.TempDir()}
	if err := testkit.Build(t.Context(), programs.Dir, "-tags=faults", "./cmd/taskweir"); err != nil {
		t.Fatal(err)
	}
	evidence := filepath.Join(os.TempDir(), "taskweir-evidence")
	out, err := standalone.Run(t.Context(), standalone.Options{Programs: programs, Points: true, Seed: uint64(time.Now().UnixNano()), Kills: 16, Evidence: evidence, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if out.Report == nil || !out.OK() {
		t.Fatalf("%q", out.Broken)
	}
	t.Log(out.Report.Summary(3))
	if out.Faults() < 16 || out.Report.Tasks < 100 {
		t.Errorf("%d faults, %d tasks: that is no test", out.Faults(), out.Report.Tasks)
	}
}
