package nsqbus

import (
	"log/slog"
	"sync"
	"time"
)

const grumbleEvery = 10 * time.Second

// grumble is a log line at most once in 10 s, with the number of those that were not written: whoever reaches nsqd can
// send any number of bad messages.
type grumble struct {
	mu     sync.Mutex
	last   time.Time
	silent int
}

func (g *grumble) say(log *slog.Logger, text string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.last) >= grumbleEvery {
		log.Warn(text, append(args, "more", g.silent)...)
		g.last, g.silent = now, 0
		return
	}
	g.silent++
}
