package usage

import "time"

// Usage is what a tree of processes uses.
type Usage struct {
	CPU    time.Duration // user and kernel, since the first process began, with that of children that have ended
	Memory int64         // bytes in RAM; a page that several processes share counts once
}
