package worker

import (
	"math"
	"runtime/metrics"
	"time"
)

// crowdedFrom is how long goroutines wait for a processor, on average, where processors are short. With processors to spare it is
// 10 to 20 µs.
const crowdedFrom = 100 * time.Microsecond

// crowd tells whether the processors of this process are short.
type crowd struct {
	sample [1]metrics.Sample
	before []uint64 // as the counts were at the last look
}

// look reports whether goroutines that were ready had to wait for a processor since the last look. It costs as much as
// reading the clock a few times.
func (c *crowd) look() bool {
	c.sample[0].Name = "/sched/latencies:seconds"
	metrics.Read(c.sample[:])
	if c.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return false // a runtime that does not say
	}
	return c.mean(c.sample[0].Value.Float64Histogram()) >= crowdedFrom.Seconds()
}

// mean is the average of what came to a histogram since the last look; 0: nothing did.
func (c *crowd) mean(h *metrics.Float64Histogram) float64 {
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
	if n == 0 {
		return 0
	}
	return sum / float64(n)
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
