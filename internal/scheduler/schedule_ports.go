package scheduler

import (
	"context"

	"github.com/taskweir/taskweir/internal/schedule"
)

// ScheduleStore is what firing schedules needs of the database. The obligations of Store hold here too.
type ScheduleStore interface {
	// TaskIDs takes n consecutive task ids and gives the first.
	TaskIDs(ctx context.Context, n int) (int64, error)
	// DueSchedules lists schedules of the shards whose next slot is at or before until, in the order of next slots. The rows
	// come without definitions: their readers keep those by (id, version).
	DueSchedules(ctx context.Context, shards []int, until int64, limit int) ([]schedule.Row, error)
	// Schedules reads rows whole, by ids; unknown ones are left out.
	Schedules(ctx context.Context, ids []int64) ([]schedule.Row, error)
	// Fire writes the slots of up to task.MaxFlushTasks shots and their tasks in one transaction, and moves the schedules on. A schedule that
	// was changed meanwhile is left out (Lost). Slots that have a row are left as they are. What is admitted (schedule.Admit)
	// is decided inside, under the schedules' locks; outcomes and task ids of the shots are set to what was written.
	Fire(ctx context.Context, fires []*schedule.Fire) (schedule.Written, error)
	// ReleaseSlot starts held slots, one of each of some schedules: the shot's slot must be the oldest held one of its schedule and nothing of
	// the schedule may be running or waiting, or the fire is Lost.
	ReleaseSlot(ctx context.Context, fires ...*schedule.Fire) (schedule.Written, error)
	// EndPrevious ends a bounded number of runs that a slot replaces (schedule.Written.Rest), from the task id after on; next 0: none is left.
	EndPrevious(ctx context.Context, rest schedule.Rest, after int64) (cancels []schedule.Cancel, next int64, err error)
	// Releasable lists the oldest held slot of each schedule (of any shard) that is not paused and has no open run.
	Releasable(ctx context.Context, limit int) ([]schedule.Slot, error)
	// HasHeld reports whether any slot is held at all: while none is, nobody polls for them closely.
	HasHeld(ctx context.Context) (bool, error)
	// EndedRuns lists runs that ended and are not settled yet, in the order of their ends as far as it is known.
	EndedRuns(ctx context.Context, limit int) ([]schedule.Run, error)
	// SettleQuiet settles those of some ended runs, of several schedules, that change no schedule, and gives the others.
	SettleQuiet(ctx context.Context, runs []schedule.Run) (left []schedule.Run, err error)
	// Settle counts ended runs of one schedule (schedule.AfterRun with maxFailures; 0: no limit) and pauses it at the limit. A run is counted once.
	Settle(ctx context.Context, scheduleID int64, runs []schedule.Run, maxFailures int) (paused bool, err error)
}
