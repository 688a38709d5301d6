package testkit

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// With the race detector and two or more processors, synctest.Test in place of Bubble kills this program nearly every time.
func TestBubbleSurvivesManyTimersUnderTheRaceDetector(t *testing.T) {
	threads := runtime.GOMAXPROCS(0)
	Bubble(t, func(*testing.T) {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 20_000 {
					select {
					case <-time.NewTimer(0).C:
					default:
					}
				}
			})
		}
		all.Wait()
	})
	if now := runtime.GOMAXPROCS(0); now != threads {
		t.Fatalf("GOMAXPROCS is %d after the last bubble, was %d", now, threads)
	}
}

func TestOneThreadUntilTheLastBubbleEnds(t *testing.T) {
	threads := runtime.GOMAXPROCS(3)
	defer runtime.GOMAXPROCS(threads)
	var l threadLimit
	l.enter()
	l.enter()
	l.leave()
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Fatalf("GOMAXPROCS is %d while a bubble is open", n)
	}
	l.leave()
	if n := runtime.GOMAXPROCS(0); n != 3 {
		t.Fatalf("GOMAXPROCS is %d after the last bubble, was 3", n)
	}
}

func TestBubbleHasVirtualTime(t *testing.T) {
	Bubble(t, func(*testing.T) {
		began := time.Now()
		time.Sleep(time.Hour)
		synctest.Wait()
		if took := time.Since(began); took != time.Hour {
			t.Errorf("an hour took %v", took)
		}
	})
}
