package testkit

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Bubble runs f in a bubble of testing/synctest. Tests call it in place of synctest.Test.
//
// With the race detector on, Go code runs on one thread at a time while any bubble is open. The runtime of Go 1.26 gives all
// timers of a bubble one context of the race detector (runtime/time.go, timer.unlockAndRun), which two threads must not use at
// once; nothing keeps two threads from running timers of one bubble (each runs those that it looks at), and then the process
// dies inside the detector (SIGSEGV in __tsan::SlotLock, or one of its CHECKs). The detector finds no fewer races: it goes by
// what happens before what, not by what happens at the same instant.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if raceDetector {
		oneThread.enter()
		defer oneThread.leave()
	}
	synctest.Test(t, f)
}

// oneThread keeps GOMAXPROCS at 1 while anybody is inside.
var oneThread threadLimit

type threadLimit struct {
	mu     sync.Mutex
	inside int
	before int // GOMAXPROCS when the first entered
}

func (l *threadLimit) enter() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside++; l.inside == 1 {
		l.before = runtime.GOMAXPROCS(1)
	}
}

func (l *threadLimit) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside--; l.inside == 0 {
		runtime.GOMAXPROCS(l.before)
	}
}
