package riverpeer

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/test/peers/systemtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdapters(t *testing.T) {
	for _, a := range All() {
		t.Run(a.Name, func(t *testing.T) { systemtest.Check(t, a) })
	}
}

func TestNothingStartsBeforeItsTime(t *testing.T) {
	if by := systemtest.Earliest(t, Tuned()); by > 0 {
		t.Errorf("a task started %v before its time", by)
	}
}
