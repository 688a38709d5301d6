package sqldb

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// keptPostponed is about how many rows of postponed attempts a task has. A task whose endpoint is dead for a week is postponed
// thousands of times, which uses no retry: without a bound its rows, and what reads a task whole, would grow for as long.
const keptPostponed = 50

// forgetPostponed deletes the row of the attempt before so many epochs, if it was postponed, of tasks that wait again. Attempts that
// ended otherwise are kept: retry policies bound them.
func (f *finishing) forgetPostponed(ctx context.Context, t tx, groups []finishGroup) error {
	for i := range groups {
		g := &groups[i]
		if g.to != task.Waiting || g.epoch <= keptPostponed {
			continue
		}
		old := newText(2).s(" AND epoch=").n(int64(g.epoch) - keptPostponed).s(" AND outcome=").n(int64(task.OutcomeSnoozed)).String()
		if err := f.s.dropIDs(ctx, t, listDelete{table: "attempts", column: "task_id", after: old}, g.ids); err != nil {
			return err
		}
	}
	return nil
}
