package scheduler

import "time"

const (
	minWindow    = 64
	windowTime   = 0.25 // seconds of throughput that may be rung and unclaimed
	meterBuckets = 10
	meterBucket  = 50 * time.Millisecond
)

// windowSize is W: how many tasks of a lane may be rung and unclaimed (protocol section 3, "Admission").
func windowSize(slots int, perSecond float64) int {
	return max(minWindow, 2*slots, int(windowTime*perSecond))
}

// meter measures how many tasks of a lane are claimed per second, over the last half second.
type meter struct {
	counts [meterBuckets]int
	at     int64 // number of the newest bucket
	first  int64 // number of the oldest bucket with anything in it since the meter was idle
	origin time.Time
}

func (m *meter) add(now time.Time, n int) {
	m.move(now)
	m.counts[m.at%meterBuckets] += n
}

// move makes the bucket of now the newest and empties those that are passed.
func (m *meter) move(now time.Time) {
	if m.origin.IsZero() {
		m.origin = now
	}
	b := int64(now.Sub(m.origin) / meterBucket)
	if b-m.at >= meterBuckets {
		clear(m.counts[:])
		m.first = b
	} else {
		for i := m.at + 1; i <= b; i++ {
			m.counts[i%meterBuckets] = 0
		}
	}
	m.at = max(m.at, b)
	m.first = max(m.first, m.at-meterBuckets+1)
}

// rate is tasks per second. A meter that was idle counts from when it was not, not over time that it did not see.
func (m *meter) rate(now time.Time) float64 {
	m.move(now)
	sum := 0
	for _, c := range m.counts {
		sum += c
	}
	span := now.Sub(m.origin) - time.Duration(m.first)*meterBucket
	return float64(sum) / max(span, meterBucket).Seconds()
}
