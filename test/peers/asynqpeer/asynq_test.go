package asynqpeer

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/test/peers/systemtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAdapters(t *testing.T) {
	for _, a := range All() {
		t.Run(a.Name, func(t *testing.T) { systemtest.Check(t, a) })
	}
}

// The package comment says so, and the benchmark's page with it: when asynq mends it, both must be told.
func TestTasksStartUpToASecondEarly(t *testing.T) {
	if by := systemtest.Earliest(t, Memory()); by <= 0 || by >= time.Second {
		t.Errorf("the earliest task started %v before its time", by)
	} else {
		t.Logf("the earliest task started %v before its time", by)
	}
}
