package schedule

import "testing"

// FuzzPolicies holds the names of overlap and misfire policies against String: what is known is called so, and nothing else is
// known.
func FuzzPolicies(f *testing.F) {
	for _, s := range []string{"", "allow", "skip", "queue", "cancel_previous", "once", "all", "Allow", "unknown_4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if o, ok := ParseOverlap(s); ok && o.String() != s && !(s == "" && o == Allow) {
			t.Fatalf("overlap %q is %s", s, o)
		}
		if m, ok := ParseMisfire(s); ok && m.String() != s && !(s == "" && m == MisfireOnce) {
			t.Fatalf("misfire %q is %s", s, m)
		}
		for _, o := range []Overlap{Allow, Skip, Queue, CancelPrevious} {
			if _, ok := ParseOverlap(s); o.String() == s && !ok {
				t.Fatalf("overlap %q is not known", s)
			}
		}
		for _, m := range []Misfire{MisfireOnce, MisfireSkip, MisfireAll} {
			if _, ok := ParseMisfire(s); m.String() == s && !ok {
				t.Fatalf("misfire %q is not known", s)
			}
		}
	})
}
