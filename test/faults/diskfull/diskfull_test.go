package diskfull_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/diskfull"
)

// Each disk is filled twice.
func TestFullDisks(t *testing.T) {
	testkit.Need(t, diskfull.Possible())
	programs, err := testkit.BuildPrograms(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	outs, err := diskfull.Run(t.Context(), diskfull.Options{Programs: programs, Seed: uint64(time.Now().UnixNano()), Rounds: 2,
		Evidence: filepath.Join(os.TempDir(), "taskweir-evidence"), Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range outs {
		if out.Report == nil || !out.OK() {
			t.Errorf("%s: %q", out.Name, out.Broken)
			continue
		}
		t.Logf("%s: %s", out.Name, out.Report.Summary(3))
		if out.Faults() != 2 || out.Report.Tasks < 100 {
			t.Errorf("%s: %d faults, %d tasks: that is no test", out.Name, out.Faults(), out.Report.Tasks)
		}
	}
}
