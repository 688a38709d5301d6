package scheduler

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// movedClock is a clock of the database that somebody sets.
type movedClock struct {
	hostClock
	by *atomic.Int64 // ms
}

func (c movedClock) Now() int64                   { return c.hostClock.Now() + c.by.Load() }
func (c movedClock) NowMicros() int64             { return c.hostClock.NowMicros() + c.by.Load()*1000 }
func (c movedClock) Until(ms int64) time.Duration { return c.hostClock.Until(ms - c.by.Load()) }

// The database's clock is set back by an hour, by mistake, and set right again. What was about to become due in that moment had been
// read ahead of its time, and its timer then stood at an hour.
func TestClockThatIsSetBackAndRightAgainHoldsNothingUp(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m, b, clock := newMemStore(), newBroker(), movedClock{by: new(atomic.Int64)}
		m.addLane(1, "q")
		m.addApp(1, 1)
		m.setWorker(alive(1, 16))
		_, stop := start(t, Options{Store: m, Publisher: b, Clock: clock, Alone: true})
		defer stop()
		time.Sleep(time.Second)
		bell := m.submit(1, 1, 1, 1, time.Now().Add(2500*time.Millisecond), false)[0]
		time.Sleep(1500 * time.Millisecond) // it is held for its instant
		clock.by.Store(-time.Hour.Milliseconds())
		time.Sleep(10 * time.Second)
		if rung := b.rung(bell); len(rung) > 0 {
			t.Fatal("rung before the database's clock had come to it")
		}
		clock.by.Store(0)
		right := time.Now()
		time.Sleep(5 * time.Second)
		if rung := b.rung(bell); len(rung) == 0 {
			t.Fatal("a bell that has been due since before the clock was right again is not rung")
		} else if late := rung[0].Sub(right); late > 1100*time.Millisecond {
			t.Errorf("rung %v after the clock was right again", late)
		}
	})
}
