package worker

import (
	"math"
	"runtime"
	"runtime/metrics"
	"time"
)

// crowdedFrom is how long goroutines wait for a processor, on average, where processors are short. With processors to spare it is
// 10 to 20 µs.
const crowdedFrom = 100 * time.Microsecond

// crowd tells whether the processors of this process are short.
type crowd struct {
	waits  [1]metrics.Sample // a histogram of how long goroutines waited
	before []uint64          // as its counts were at the last look
	ready  [1]metrics.Sample // how many wait now
}

// look reports whether goroutines that were ready had to wait for a processor since the last look. Waits are known when they are over, of
// one in eight; where none ended, it counts who waits, for which the runtime stops scheduling for a moment.
func (c *crowd) look() bool {
	c.waits[0].Name, c.ready[0].Name = "/sched/latencies:seconds", "/sched/goroutines/runnable:goroutines"
	metrics.Read(c.waits[:])
	if v := c.waits[0].Value; v.Kind() == metrics.KindFloat64Histogram {
		if mean, some := c.mean(v.Float64Histogram()); some {
			return mean >= crowdedFrom.Seconds()
		}
	}
	metrics.Read(c.ready[:])
	v := c.ready[0].Value
	return v.Kind() == metrics.KindUint64 && v.Uint64() > uint64(runtime.GOMAXPROCS(0))
}

// mean is the average of what came to a histogram since the last look, if anything did.
func (c *crowd) mean(h *metrics.Float64Histogram) (mean float64, some bool) {
	if len(c.before) != len(h.Counts) {
		c.before = make([]uint64, len(h.Counts))
	}
	n, sum := uint64(0), 0.0
	for i, count := range h.Counts {
		d := count - c.before[i]
		c.before[i] = count
		if d == 0 {
			continue
		}
		n += d
		sum += float64(d) * middle(h.Buckets[i], h.Buckets[i+1])
	}
	return sum / float64(max(n, 1)), n > 0
}

// middle is a value for a bucket of a histogram, whose outer ones are open.
func middle(from, to float64) float64 {
	switch {
	case math.IsInf(from, 0):
		return max(to, 0)
	case math.IsInf(to, 0):
		return from
	}
	return (from + to) / 2
}
