package sqldb

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Every bucket begins where the one before it ends, and a duration is in the bucket that says so.
func TestBucketsAreWithoutGaps(t *testing.T) {
	for i := range histBuckets - 1 {
		lo, hi := bucketFrom(i), bucketFrom(i+1)
		if hi <= lo || bucketOf(lo) != i || bucketOf(hi-1) != i || bucketOf(hi) != i+1 {
			t.Fatalf("bucket %d: [%d, %d) but %d, %d, %d", i, lo, hi, bucketOf(lo), bucketOf(hi-1), bucketOf(hi))
		}
	}
	if bucketOf(-5) != 0 || bucketOf(1<<62) != histBuckets-1 {
		t.Error("what is out of range is not in the outermost buckets")
	}
}

// The percentile that is read is near that of the durations themselves, also of several histograms that were stored and added.
func TestP95IsNear(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		var all []int64
		var sum histogram
		for range 1 + rnd.IntN(4) {
			var h histogram
			for range 1 + rnd.IntN(400) {
				d := rnd.Int64N(1 << (1 + rnd.IntN(26)))
				all = append(all, d)
				h.wait[bucketOf(d)]++
				h.run[bucketOf(2*d)]++
			}
			sum.add(h.encode())
		}
		slices.Sort(all)
		exact := all[(len(all)*95+99)/100-1]
		for name, x := range map[string][2]int64{"wait": {sum.wait.p95(), exact}, "run": {sum.run.p95(), 2 * exact}} {
			if got, want := x[0], x[1]; got < want*4/5-1 || got > want*5/4+1 {
				t.Fatalf("round %d, %s of %d: %d, exactly it is %d", round, name, len(all), got, want)
			}
		}
	}
	if got := new(buckets).p95(); got != -1 {
		t.Errorf("p95 of nothing: %d", got)
	}
}

// What a failed transaction would have counted is not in what the next one writes; what was committed is not written again.
func TestLiveHistograms(t *testing.T) {
	var h histograms
	times := []attemptTimes{{statKey{1, 2, 3}, 5, 100}, {statKey{1, 2, 4}, 5, 100}}
	first := h.count(9, 10, times)
	if len(first) != 2 || first[0].count != 1 {
		t.Fatalf("%+v", first)
	}
	h.takeBack(9, 10, times)
	second := h.count(9, 10, times[:1])
	if len(second) != 1 || second[0].count != 1 {
		t.Fatalf("after a failure: %+v", second)
	}
	h.committed(second)
	if third := h.count(9, 10, times[1:]); len(third) != 1 || third[0].kind != 4 {
		t.Fatalf("what was committed is written again: %+v", third)
	} // and fails without a word: the next minute's first flush brings it
	if other := h.count(8, 10, times[:1]); len(other) != 1 || other[0].writer != 8 {
		t.Fatalf("another writer: %+v", other)
	}
	if next := h.count(9, 11, times[:1]); len(next) != 2 || next[0].minute != 10 || next[0].kind != 4 || next[1].minute != 11 {
		t.Fatalf("the next minute: %+v", next)
	}
	if late := h.count(9, 13, times[:1]); len(late) != 1 || len(h.byKey) != 1 {
		t.Fatalf("minutes that may be summed up are written or kept: %+v, %d", late, len(h.byKey))
	}
}

func FuzzHistogram(f *testing.F) {
	var h histogram
	h.wait[3], h.run[80] = 7, 1<<40
	f.Add(h.encode())
	f.Add([]byte{2, 255, 255, 1})
	f.Add([]byte{1, 3, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var one, two histogram
		one.add(b)
		enc := one.encode()
		if len(enc) > histBytes {
			t.Fatalf("%d bytes", len(enc))
		}
		if enc == nil {
			return
		}
		if two.add(enc); two != one {
			t.Errorf("%v became %v", one, two)
		}
		one.wait.p95()
		one.run.p95()
	})
}
