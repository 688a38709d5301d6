package app

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// pausedEvery is how long after its pause an app's new tasks may still be rung by their writers.
const pausedEvery = 500 * time.Millisecond

// pausedApps knows which apps are paused, so that writers leave their bells to the lane's owner, who rings none of them.
type pausedApps struct {
	list   func(context.Context) ([]task.App, error)
	paused atomic.Pointer[map[int32]bool]
}

// has reports whether an app was paused at the last look. While the database is gone the last look stands.
func (p *pausedApps) has(app int32) bool {
	m := p.paused.Load()
	return m != nil && (*m)[app]
}

// run looks until ctx ends.
func (p *pausedApps) run(ctx context.Context) {
	tick := time.NewTicker(pausedEvery)
	defer tick.Stop()
	for {
		if apps, err := p.list(ctx); err == nil {
			m := map[int32]bool{}
			for _, a := range apps {
				if a.Paused {
					m[a.ID] = true
				}
			}
			p.paused.Store(&m)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
