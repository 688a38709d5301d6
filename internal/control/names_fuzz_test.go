package control

import (
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// FuzzNames holds the names of scopes, unique scopes and conflicts against what writes them: a name that is known is the name of
// what it stands for, and no other text is known.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", "none", "read", "submit", "manage", "admin", "until_due", "until_started", "until_finished", "window", "forever", "reject", "keep", "replace", "Read"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if x, ok := ParseScope(s); ok && ScopeName(x) != s || !ok && x != 0 {
			t.Fatalf("scope %q is %s, %v", s, ScopeName(x), ok)
		}
		if x, ok := parseUniqueScope(s); ok && UniqueScopeName(x) != s && !(s == "" && x == task.ScopeUntilFinished) || !ok && x != 0 {
			t.Fatalf("unique scope %q is %s, %v", s, UniqueScopeName(x), ok)
		}
		if x, ok := parseUniqueConflict(s); ok && UniqueConflictName(x) != s && !(s == "" && x == task.OnConflictReject) || !ok && x != 0 {
			t.Fatalf("conflict %q is %s, %v", s, UniqueConflictName(x), ok)
		}
	})
}
