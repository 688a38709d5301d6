package history

import (
	"math"
	"slices"
	"time"
)

const (
	// rounding is what storing milliseconds takes off a time.
	rounding = time.Millisecond
	// processClock is how far a process's idea of the database's clock may be off on a quiet loopback, beside half of a round trip: what
	// the two clocks drift apart until it asks again, and the rounding of both.
	processClock = 2 * time.Millisecond
	// asks is how often processes ask for the database's time. On a busy machine their round trips are as slow as the samples
	// around that time; how slow the quickest of their five was nobody but they know, so half of the slowest sample counts.
	asks = 6 * time.Second
	// slowTrip bounds that: a sample that took longer met a database that was away, and an offset is not believed from such.
	slowTrip = 100 * time.Millisecond
	// drift is how fast two clocks of one machine may move apart: what NTP slews at most (500 ppm).
	drift = 500e-6
	// near is how far a sample may be from the time that it is used for before a farther, sharper one is no better.
	near = 5 * time.Second
	// settling is how long after a fault of a clock, or of the way to it, processes may still be off: they ask every 5 s.
	settling = 11 * time.Second
)

// clocks turns times of the database into times of the harness, each with its error.
type clocks struct {
	database []offset
	sink     []Lag
	skews    []Fault
	largest  time.Duration // error that was used, of times within the run
}

// offset is a sample as bounds of harness time for DB = 0.
type offset struct {
	db     int64
	at     time.Duration
	lo, hi time.Duration // harness time minus database time
}

func newClocks(h *History) *clocks {
	c := &clocks{sink: slices.Clone(h.Clock.Sink)}
	for _, s := range h.Clock.Database {
		db := time.Duration(s.DB) * time.Millisecond
		c.database = append(c.database, offset{db: s.DB, at: s.At, lo: s.At - db - rounding, hi: s.At + s.Trip - db})
	}
	slices.SortFunc(c.database, func(a, b offset) int { return int(a.db - b.db) })
	slices.SortFunc(c.sink, func(a, b Lag) int { return int(a.At - b.At) })
	for _, f := range h.Faults {
		if f.Skew > 0 {
			c.skews = append(c.skews, f)
		}
	}
	return c
}

// span is a time of the harness that is known to lie between two.
type span struct{ lo, hi time.Duration }

// of gives when a stored time was. It is the sharpest of the samples around it, widened by what a clock drifts until then, by the
// error of the process that wrote it and by the faults that touched clocks then.
func (c *clocks) of(ms int64) span {
	t := time.Duration(ms) * time.Millisecond
	best := span{math.MinInt64, math.MaxInt64}
	width := time.Duration(math.MaxInt64)
	at, _ := slices.BinarySearchFunc(c.database, ms, func(o offset, ms int64) int { return int(o.db - ms) })
	for i := max(0, at-8); i < min(len(c.database), at+8); i++ {
		o := c.database[i]
		away := time.Duration(max(o.db-ms, ms-o.db)) * time.Millisecond
		if away > near && width < time.Duration(math.MaxInt64) {
			continue
		}
		slack := time.Duration(float64(away) * drift)
		s := span{t + o.lo - slack, t + o.hi + slack}
		if w := s.hi - s.lo; w < width {
			best, width = s, w
		}
	}
	if len(c.database) == 0 {
		return best
	}
	err := processClock + c.slowest(at)/2
	for i := range c.skews {
		f := &c.skews[i]
		if best.hi >= f.Injected-f.Skew && best.lo <= f.until()+settling+f.Skew {
			err = max(err, processClock+c.slowest(at)/2+f.Skew)
		}
	}
	best = span{best.lo - err, best.hi + rounding + err}
	if ms >= c.database[0].db && ms <= c.database[len(c.database)-1].db {
		c.largest = max(c.largest, (best.hi-best.lo)/2)
	}
	return best
}

// slowest is the longest round trip of the samples in the time before number at in which a process asked last.
func (c *clocks) slowest(at int) (trip time.Duration) {
	at = min(at, len(c.database)-1)
	for i := at; i >= 0 && c.database[at].at-c.database[i].at <= asks; i-- {
		trip = max(trip, c.database[i].hi-c.database[i].lo-rounding)
	}
	return min(trip, slowTrip)
}

// lag is how late the sink may have noticed a call that reached it about then: the worst of the probes around it.
func (c *clocks) lag(at time.Duration) time.Duration {
	worst := time.Millisecond
	from, _ := slices.BinarySearchFunc(c.sink, at-2*time.Second, func(l Lag, at time.Duration) int { return int(l.At - at) })
	for _, l := range c.sink[from:] {
		if l.At > at+2*time.Second {
			break
		}
		worst = max(worst, l.Lag)
	}
	return worst
}
