//go:build !faults

package sqldbtest

import "testing"

// Beside lets a test run beside others, if nothing that they share can be in their way: databases are each test's own.
func Beside(t *testing.T) {
	t.Helper()
	t.Parallel()
}
