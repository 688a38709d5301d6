package task

import (
	"testing"
	"time"
)

// A rate goes on soon after the database's clock was set back or forth, and is still a rate then.
func TestRateAfterTheClockWasSet(t *testing.T) {
	const hour = int64(time.Hour)
	start := 500_000 * hour
	for _, by := range []int64{-hour, hour} {
		l := Limits{RateTasks: 50, RatePerMs: 1000, RateBurst: 5}
		var c LimitCount
		now := start
		startAll := func(during time.Duration) (n int) {
			for end := now + int64(during); now < end; now += int64(10 * time.Millisecond) {
				k := l.Allows(c, now, true, 100)
				c = l.Started(c, k, now)
				n += k
			}
			return n
		}
		if n := startAll(10 * time.Second); n < 500 || n > 506 {
			t.Fatalf("%d starts in 10 s", n)
		}
		if at := l.NextAt(c, now); at-now > int64(time.Second/50) {
			t.Errorf("the next start is %v off", time.Duration(at-now))
		}
		now += by
		if at := l.NextAt(c, now); at-now > int64(time.Second/50) {
			t.Errorf("clock set by %v: the next start is %v off", time.Duration(by), time.Duration(at-now))
		}
		if n := startAll(10 * time.Second); n < 500 || n > 511 { // the burst once more
			t.Errorf("clock set by %v: %d starts in 10 s", time.Duration(by), n)
		}
	}
}

// A clock that is set back a little changes nothing, and a rate of one a day does not start anew for an hour.
func TestRateDoesNotStartAnewForLittle(t *testing.T) {
	const now = 500_000 * int64(time.Hour)
	for _, x := range []struct {
		limits Limits
		back   time.Duration
	}{
		{Limits{RateTasks: 50, RatePerMs: 1000, RateBurst: 5}, 900 * time.Millisecond},
		{Limits{RateTasks: 1, RatePerMs: MaxRatePerMs, RateBurst: 1}, time.Hour},
	} {
		c := x.limits.Started(LimitCount{}, x.limits.RateBurst, now)
		if n := x.limits.Allows(c, now-int64(x.back), false, 10); n != 0 {
			t.Errorf("%+v, set back by %v: %d may start", x.limits, x.back, n)
		}
		if at := x.limits.NextAt(c, now-int64(x.back)); at <= now-int64(x.back) {
			t.Errorf("%+v, set back by %v: the next start is at once", x.limits, x.back)
		}
	}
}
