package control

import (
	"context"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// ScheduleStore is what the use cases of schedules need of the database. Methods that take an appID answer task.Missing when
// the schedule is another app's; appID 0 sees every app. Those that change a schedule take the version that was read and
// answer a Conflict with code version_changed when it has another one; they give the row as written. ChangeSchedule and
// SkipSlot answer the same when the next slot or the pause is not what was read: the schedule fired or was paused by its
// failures meanwhile, and the caller reads again and repeats.
type ScheduleStore interface {
	// ScheduleIDs takes n ids of schedules or backfills; the smallest is schedule.FirstBackfill.
	ScheduleIDs(ctx context.Context, n int) (int64, error)
	// CreateSchedule inserts a schedule and, in the same transaction, what fire says (nil: nothing). A taken name is a Conflict with code
	// name_taken and its ScheduleID. Of row, version, failures and times are the store's. idem may be nil; a known key answers the schedule of then (replayed), with another body a Conflict.
	CreateSchedule(ctx context.Context, row schedule.Row, fire *schedule.Fire, idem *task.Idempotency) (got schedule.Row, replayed bool, w schedule.Written, err error)
	// ChangeSchedule writes name, definition, pause and next slot of a row whose version and NextAt are still those of before: it cancels the
	// waiting tasks of slots after now (their slot rows are deleted, so that they can be planned again), then writes fire.
	ChangeSchedule(ctx context.Context, before, after schedule.Row, now int64, fire *schedule.Fire) (schedule.Row, schedule.Written, error)
	// SkipSlot makes the next planned slot skipped: its waiting look-ahead task is cancelled, or its row is inserted and the
	// schedule moved on.
	SkipSlot(ctx context.Context, row schedule.Row, slot, next int64) (schedule.Row, error)
	// DeleteSchedule deletes it and cancels its waiting look-ahead tasks. Its slots are purged later; runs that have begun go on.
	DeleteSchedule(ctx context.Context, row schedule.Row, now int64) error
	// ScheduleByID reads one row whole.
	ScheduleByID(ctx context.Context, appID int32, id int64) (schedule.Row, error)
	// ListSchedules lists rows whole, newest first.
	ListSchedules(ctx context.Context, f schedule.Filter) ([]schedule.Row, string, error)
	// ListSlots lists slots of a schedule, newest slot first.
	ListSlots(ctx context.Context, f schedule.SlotFilter) ([]schedule.Slot, string, error)
	// Fire writes triggers, backfills and what a schedule owes before it is changed (scheduler.ScheduleStore.Fire). A manual slot
	// that the overlap policy refuses is SkippedOverlap without a task and leaves no row.
	Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error)
	// EndPrevious ends a bounded number of runs that a slot replaces (schedule.Written.Rest), from the task id after on; next 0: none is left.
	EndPrevious(ctx context.Context, rest schedule.Rest, after int64) (cancels []schedule.Cancel, next int64, err error)
	// OpenRuns lists tasks of the schedule that have not ended, for answers that name them; at most limit.
	OpenRuns(ctx context.Context, scheduleID int64, limit int) ([]int64, error)
}
