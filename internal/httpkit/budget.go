package httpkit

import "sync/atomic"

// bodyBudget is how many bytes of large request bodies a process holds at once. A body is decoded and copied before it is
// stored, so what a process needs in the worst case is a few times this.
const bodyBudget = 96 << 20

// budget bounds a number of bytes without waiting: who cannot have them is told to come again.
type budget struct{ left atomic.Int64 }

func newBudget(n int64) *budget {
	b := &budget{}
	b.left.Store(n)
	return b
}

// take reports whether n bytes were left, and takes them.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// give puts n bytes back.
func (b *budget) give(n int64) {
	if n > 0 {
		b.left.Add(n)
	}
}
