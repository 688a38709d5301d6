package app

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/runner/shell"
)

// TestMain lets this binary be the supervisor of the commands that tests run: a worker starts its own executable as one, and
// without this call that would be all tests once more.
func TestMain(m *testing.M) {
	shell.MaybeSupervise()
	if len(os.Args) > 1 && os.Args[1] == "standalone" { // tests of what ends a process start this binary as the program
		os.Exit(Command(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
