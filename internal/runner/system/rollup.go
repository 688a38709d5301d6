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
	// FoldStats sums the writers' rows of closed minutes (before minute, a unix minute) into one row of writer 0.
	FoldStats(ctx context.Context, before int64, limit int) (folded int, err error)
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
	Rows int `json:"rows"`
}

// Run folds until nothing is left.
func (r *Rollup) Run(ctx context.Context, _ worker.Job) task.Result {
	var done rolledUp
	for {
		n, err := r.store.FoldStats(ctx, r.clock.Now()/60_000-foldLate, foldRows)
		done.Rows += n
		if err == nil && n >= foldRows {
			err = sleep(ctx, foldPause)
		} else if err == nil {
			return result(done, nil)
		}
		if err != nil {
			return result(done, err)
		}
	}
}
