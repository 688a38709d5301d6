package task

import "testing"

// FuzzParsePriority holds names against String: a name that is known is the name of what it stands for.
func FuzzParsePriority(f *testing.F) {
	for _, s := range []string{"", "high", "normal", "low", "High", "low ", "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := ParsePriority(s)
		if known := s == "" || s == High.String() || s == Normal.String() || s == Low.String(); ok != known {
			t.Fatalf("%q: known %v", s, ok)
		}
		if ok && p.String() != s && !(s == "" && p == Normal) {
			t.Fatalf("%q is %s", s, p)
		}
		if !ok && p != 0 {
			t.Fatalf("%q is refused, and %s", s, p)
		}
	})
}
