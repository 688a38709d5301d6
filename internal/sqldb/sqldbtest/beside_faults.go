//go:build faults

package sqldbtest

import "testing"

// Beside lets a test run beside others, but not in a build with failpoints: those are of the whole process, and one test's would
// strike another.
func Beside(t *testing.T) { t.Helper() }
