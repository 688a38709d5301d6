package nsqpeer

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

func TestDeferredMessagesAreNeverDueEarly(t *testing.T) {
	if d := wait(time.Time{}); d != 0 {
		t.Errorf("a task without a due time waits %v", d)
	}
	for range 1000 {
		due := time.Now().Add(50 * time.Millisecond)
		if d := wait(due); d%time.Millisecond != 0 || time.Now().Add(d).Before(due) {
			t.Fatalf("waits %v, which is too early", d)
		}
	}
}

func TestNothingStartsBeforeItsTime(t *testing.T) {
	if by := systemtest.Earliest(t, Wide()); by > 0 {
		t.Errorf("a task started %v before its time", by)
	}
}
