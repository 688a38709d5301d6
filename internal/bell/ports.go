package bell

import (
	"context"

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
