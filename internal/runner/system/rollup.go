package system

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

const (
	foldRows  = 500
	foldPause = 50 * time.Millisecond
	foldLate  = 2 // minutes that are left to writers that are late
)

// RollupStore is what the rollup needs of the database.
type RollupStore interface {
	// FoldStats does one step of summing up what writers counted in closed minutes.
	FoldStats(ctx context.Context, req task.FoldRequest) (task.FoldReport, error)
}

// Rollup runs system.rollup: it sums up the statistics of closed minutes.
type Rollup struct {
	store RollupStore
	clock Clock
}

// NewRollup makes the runner.
func NewRollup(store RollupStore, clock Clock) *Rollup { return &Rollup{store, clock} }

// Kind is system.rollup.
func (*Rollup) Kind() string { return KindRollup }

// rolledUp is the result of a run.
type rolledUp struct {
	Rows        int `json:"rows"`
	SteppedOver int `json:"steppedOver,omitempty"` // rows that cannot be summed up: the next run tries them again
}

// Run folds until nothing is left.
func (r *Rollup) Run(ctx context.Context, _ worker.Job) task.Result {
	var done rolledUp
	req := task.FoldRequest{Before: r.clock.Now()/60_000 - foldLate, Limit: foldRows}
	for {
		report, err := r.store.FoldStats(ctx, req)
		done.Rows += report.Folded
		done.SteppedOver += report.SteppedOver
		if req.Minute, req.App = report.Minute, report.App; err == nil && report.More {
			err = sleep(ctx, foldPause)
		} else if err == nil {
			return result(done, nil)
		}
		if err != nil {
			return result(done, err)
		}
	}
}
