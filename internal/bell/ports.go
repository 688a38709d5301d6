package bell

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Publisher puts messages on a lane's topic (scheduler.Publisher).
type Publisher interface {
	Publish(ctx context.Context, lane task.Lane, rungs []task.Rung) error
}

// Lanes is the table of lanes as read lately (≤ 200 ms ago).
type Lanes interface {
	// Lane gives a lane with its credit and pause as of the last reading.
	Lane(id int32) (task.Lane, bool)
}

// Clock is the database's clock.
type Clock interface {
	// NowMicros is the database's time in µs since 1970 UTC.
	NowMicros() int64
	// Uncertainty is how far NowMicros may be off.
	Uncertainty() time.Duration
}
