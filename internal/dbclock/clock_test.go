package dbclock

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// server is a database's clock that is ahead of the host's by some time and takes a while to answer.
type server struct {
	ahead   time.Duration
	there   []time.Duration // way there and back, by call; the last repeats
	calls   int
	failing bool
	mu      sync.Mutex
}

func (s *server) ask(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing {
		return 0, errors.New("gone")
	}
	d := s.there[min(s.calls, len(s.there)-1)]
	s.calls++
	time.Sleep(d)
	at := time.Now().Add(s.ahead).UnixMicro()
	time.Sleep(d)
	return at, nil
}

func (s *server) now() int64 { return time.Now().Add(s.ahead).UnixMicro() }

func TestBestRoundTripWins(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		s := &server{ahead: -time.Hour, there: []time.Duration{50 * time.Millisecond, time.Millisecond, 20 * time.Millisecond}}
		c := New(s.ask, nil)
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if off := c.NowMicros() - s.now(); off != 0 {
			t.Errorf("off by %d µs", off)
		}
		if u := c.Uncertainty(); u != time.Millisecond {
			t.Errorf("uncertainty %v", u)
		}
		if got := c.OffsetFromHost(); got != -time.Hour {
			t.Errorf("offset %v", got)
		}
		due := c.Now() + 5_000
		if got := c.Until(due); got != 5*time.Second+time.Millisecond {
			t.Errorf("until in 5 s: %v", got)
		}
		time.Sleep(c.Until(due))
		if s.now() < due*1000 {
			t.Error("woke early")
		}
	})
}

func TestClockNeverGoesBackForJitter(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		s := &server{there: []time.Duration{time.Millisecond}}
		c := New(s.ask, nil)
		if err := c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := c.NowMicros()
		for _, there := range []time.Duration{9, 3, 1, 7, 2} {
			s.there = []time.Duration{there * time.Millisecond}
			s.ahead -= 700 * time.Microsecond // within what a measurement can see
			if err := c.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			now := c.NowMicros()
			if now < last {
				t.Errorf("went back by %d µs", last-now)
			}
			if off := time.Duration(now-s.now()) * time.Microsecond; off > c.Uncertainty() || off < -c.Uncertainty() {
				t.Errorf("off by %v, said to be within %v", off, c.Uncertainty())
			}
			last = now
		}
	})
}

func TestClockFollowsADatabaseThatWasSet(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		s := &server{there: []time.Duration{time.Millisecond}}
		c := New(s.ask, nil)
		for _, ahead := range []time.Duration{0, time.Hour, -time.Hour, 3 * time.Second} {
			s.ahead = ahead
			if err := c.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			if off := time.Duration(c.NowMicros()-s.now()) * time.Microsecond; off.Abs() > time.Millisecond {
				t.Errorf("ahead by %v: off by %v", ahead, off)
			}
		}
	})
}

func TestRunSyncsAndSurvivesErrors(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		s := &server{there: []time.Duration{time.Millisecond}, failing: true}
		c := New(s.ask, nil)
		if err := c.Sync(t.Context()); err == nil {
			t.Error("no error")
		}
		before := c.NowMicros()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		time.Sleep(6 * time.Second)
		if c.NowMicros() < before+6_000_000 {
			t.Error("the clock stood still")
		}
		synctest.Wait()
		s.mu.Lock()
		s.failing, s.ahead = false, time.Minute
		s.mu.Unlock()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := c.OffsetFromHost(); (got - time.Minute).Abs() > time.Millisecond {
			t.Errorf("offset %v", got)
		}
		cancel()
		<-done
	})
}

func TestHost(t *testing.T) {
	c := New(Host, nil)
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := time.Duration(c.NowMicros()-time.Now().UnixMicro()) * time.Microsecond; d.Abs() > 50*time.Millisecond {
		t.Errorf("off by %v", d)
	}
}
