package worker

import (
	"math"
	"time"
)

// never is an instant that does not come.
const never = math.MaxInt64

// mono measures spans by the process's monotonic clock. Its readings are compared with each other only, never stored and
// never compared with a time of the database.
type mono struct{ base time.Time }

// newMono starts a second back, so that no reading is 0, which means "not yet" wherever one is kept.
func newMono() mono { return mono{base: time.Now().Add(-time.Second)} }

// ns is the time since just before the engine was made.
func (m mono) ns() int64 { return int64(time.Since(m.base)) }

// at is the instant of a reading, for context deadlines.
func (m mono) at(ns int64) time.Time { return m.base.Add(time.Duration(ns)) }

// alarm is a timer that can be asked for an earlier instant from any goroutine and is waited for by one.
type alarm struct {
	wake  chan struct{}
	timer *time.Timer
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{wake: make(chan struct{}, 1), timer: t}
}

// ring makes the waiting goroutine look again at once.
func (a *alarm) ring() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// set arms the timer for an instant; only the waiting goroutine may call it.
func (a *alarm) set(inNs int64) {
	if inNs == never {
		a.timer.Stop()
		return
	}
	a.timer.Reset(time.Duration(max(0, inNs)))
}
