package app

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/runner/shell"
)

// TestMain lets this binary be the supervisor of the commands that tests run: a worker starts its own executable as one, and
// without this call that would be all tests once more.
func TestMain(m *testing.M) {
	shell.MaybeSupervise()
	goleak.VerifyTestMain(m)
}
