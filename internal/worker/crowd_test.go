package worker

import (
	"math"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

func TestCrowdMean(t *testing.T) {
	c := new(crowd)
	h := &metrics.Float64Histogram{Counts: []uint64{0, 0, 0, 0}, Buckets: []float64{math.Inf(-1), 0, 10, 20, math.Inf(1)}}
	for _, s := range []struct {
		counts []uint64
		want   float64
	}{
		{[]uint64{0, 0, 0, 0}, -1},
		{[]uint64{0, 3, 1, 0}, 7.5},
		{[]uint64{0, 3, 1, 0}, -1}, // nothing came since
		{[]uint64{4, 3, 2, 0}, 3},
		{[]uint64{4, 3, 2, 2}, 20},
	} {
		h.Counts = s.counts
		if got, some := c.mean(h); some != (s.want >= 0) || some && got != s.want {
			t.Errorf("the mean up to %v is %v (%v), want %v", s.counts, got, some, s.want)
		}
	}
}

// TestCrowdSeesWhetherProcessorsAreShort: the runtime of this very process says it.
func TestCrowdSeesWhetherProcessorsAreShort(t *testing.T) {
	c := new(crowd)
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 64 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					until := time.Now().Add(50 * time.Microsecond)
					for time.Now().Before(until) { // busy
					}
					runtime.Gosched()
				}
			}
		})
	}
	seen := false
	for end := time.Now().Add(20 * time.Second); !seen && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		seen = c.look()
	}
	close(stop)
	all.Wait()
	if !seen {
		t.Error("hundreds of goroutines that compute were not seen to wait for processors")
	}
	for end := time.Now().Add(20 * time.Second); ; { // goroutines of other tests may be on their way out
		time.Sleep(10 * time.Millisecond)
		if !c.look() {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody waits any more, and it is said that somebody does")
		}
	}
}
