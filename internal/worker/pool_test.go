package worker

import (
	"runtime"
	"sync"
	"testing"
)

// TestPoolEndsWhileItsGoroutinesComeBack: those that come back at the same moment must not keep the others from being let go. The test
// hangs when one is left.
func TestPoolEndsWhileItsGoroutinesComeBack(t *testing.T) {
	for range 300 {
		var p pool
		p.init(64)
		var all sync.WaitGroup
		back := make(chan struct{})
		for i := range 64 {
			all.Go(func() {
				if i%2 == 0 {
					<-back
				}
				p.idle.Add(1)
				if !p.over.Load() {
					<-p.work
				}
			})
		}
		for p.idle.Load() < 32 {
			runtime.Gosched()
		}
		close(back)
		p.end()
		all.Wait()
	}
}
