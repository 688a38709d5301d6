package history

import "testing"

// Nothing is wrong with histories in which nothing is wrong, and every effect of their faults is explained.
func TestLegalHistoriesPass(t *testing.T) {
	for seed := range uint64(200) {
		r := Check(legal(seed))
		if !r.OK() {
			t.Fatalf("seed %d: %s", seed, r.Summary(3))
		}
		if r.Late != 1 || r.Refused != 1 || r.Lost != 0 || r.Double != 0 || r.Found < 2 || r.Unsure != 0 {
			t.Fatalf("seed %d: %+v", seed, r)
		}
		by := map[Cause]int{}
		for _, d := range r.Duplicates {
			by[d.By]++
		}
		if by[ByFault] != 2 || by[ByNothing] != 0 || by[ByPolicy] == 0 {
			t.Fatalf("seed %d: %v", seed, by)
		}
		lines := map[string]KindCount{}
		for _, k := range r.ByKind {
			lines[k.Kind] = k
		}
		if k := lines["SIGSTOP worker"]; k.Faults != 1 || k.Duplicates != 1 || k.Late != 1 || k.Tasks == 0 {
			t.Fatalf("seed %d: %+v", seed, k)
		}
		if k := lines["SIGKILL worker"]; k.Duplicates != 1 || k.Late != 0 || k.Slowest == 0 {
			t.Fatalf("seed %d: %+v", seed, k)
		}
	}
}
