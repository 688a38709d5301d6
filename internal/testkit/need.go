package testkit

import (
	"os"
	"strconv"
)

// TB is what Need uses of a test.
type TB interface {
	Helper()
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// InCI reports whether CI=true: then a test that cannot run is a failure, not a skip.
func InCI() bool {
	on, err := strconv.ParseBool(os.Getenv("CI"))
	return err == nil && on
}

// Need skips the test with a reason when something it needs is not there, and fails it when CI=true.
func Need(t TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if InCI() {
		t.Fatalf("CI=true, and this cannot run: %v", err)
	}
	t.Skipf("skipped: %v", err)
}
