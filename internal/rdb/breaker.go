package rdb

import (
	"sync"
	"time"
)

// openFor is how long after a failure nobody asks again.
const openFor = time.Second

// breaker keeps a Redis that is gone from slowing those who use it: after a failure it refuses for a second, then lets
// one caller try while the others are still refused.
type breaker struct {
	mu     sync.Mutex
	until  time.Time // refuse until then; zero while all is well
	broken bool
}

// allows reports whether to ask. While Redis is gone, one caller a second is allowed to.
func (b *breaker) allows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.broken {
		return true
	}
	now := time.Now()
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(openFor)
	return true
}

// failed opens the breaker and reports whether it was closed before.
func (b *breaker) failed() (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	news = !b.broken
	b.broken, b.until = true, time.Now().Add(openFor)
	return news
}

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = false
}
