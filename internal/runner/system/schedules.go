package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// The kinds, and the names of their schedules.
const (
	KindPurge    = task.SystemKind + "purge"
	KindRollup   = task.SystemKind + "rollup"
	NamePurge    = "purge"
	NameRollup   = "rollup"
	purgeEvery   = 5 * time.Minute
	rollupEvery  = time.Minute
	slotsKeptMs  = 30 * 86_400_000
	auditKeptMs  = 90 * 86_400_000
	installTries = 5
)

// Retention says how long things are kept, in ms. It is the payload of the purge.
type Retention struct {
	SucceededMs int64 `json:"succeededMs"` // succeeded tasks
	OthersMs    int64 `json:"othersMs"`    // failed and cancelled tasks
	SlotsMs     int64 `json:"slotsMs"`     // slots of schedules, and bulk operations
	AuditMs     int64 `json:"auditMs"`     // entries of the audit trail
}

// InstallStore is what making the system app and its schedules needs of the database.
type InstallStore interface {
	AppByKey(ctx context.Context, key string) (task.App, error)
	CreateApp(ctx context.Context, a task.App) (task.App, error)
	EnsureLane(ctx context.Context, queue string, p task.Priority) (task.Lane, error)
	DeclareKinds(ctx context.Context, names []string) (map[string]int32, error)
	ScheduleIDs(ctx context.Context, n int) (int64, error)
	CreateSchedule(ctx context.Context, row schedule.Row, fire *schedule.Fire, idem *task.Idempotency) (got schedule.Row, replayed bool, w schedule.Written, err error)
	ChangeSchedule(ctx context.Context, before, after schedule.Row, now int64, fire *schedule.Fire) (schedule.Row, schedule.Written, error)
	ListSchedules(ctx context.Context, f schedule.Filter) ([]schedule.Row, string, error)
}

// Install makes the system app and its schedules where they are missing, and brings definitions of an earlier start up to date:
// how long tasks are kept is a setting of the schedulers. A paused schedule stays paused. Several processes may do it at once.
func Install(ctx context.Context, store InstallStore, now int64, keep Retention) error {
	app, err := ensureApp(ctx, store)
	if err != nil {
		return err
	}
	lane, err := store.EnsureLane(ctx, task.SystemQueue, task.Normal)
	if err != nil {
		return err
	}
	kinds, err := store.DeclareKinds(ctx, []string{KindPurge, KindRollup})
	if err != nil {
		return err
	}
	defs, err := definitions(keep, lane.ID, kinds)
	if err != nil {
		return err
	}
	for _, name := range []string{NamePurge, NameRollup} {
		if err := ensureSchedule(ctx, store, app.ID, name, defs[name], now); err != nil {
			return fmt.Errorf("schedule %s of the system app: %w", name, err)
		}
	}
	return nil
}

func ensureApp(ctx context.Context, store InstallStore) (task.App, error) {
	app, err := store.AppByKey(ctx, task.SystemApp)
	if task.KindOf(err) != task.NotFound {
		return app, err
	}
	app, err = store.CreateApp(ctx, task.App{Key: task.SystemApp, Name: "Taskweir", Weight: 1, Legacy: task.Legacy{RetryTotal: -1}})
	if task.KindOf(err) == task.Conflict { // another process was first
		return store.AppByKey(ctx, task.SystemApp)
	}
	return app, err
}

// definitions are the schedules by name.
func definitions(keep Retention, lane int32, kinds map[string]int32) (map[string]*schedule.Definition, error) {
	if keep.SlotsMs == 0 {
		keep.SlotsMs = slotsKeptMs
	}
	if keep.AuditMs == 0 {
		keep.AuditMs = auditKeptMs
	}
	payload, err := json.Marshal(keep)
	if err != nil {
		return nil, fmt.Errorf("encode retention: %w", err)
	}
	return map[string]*schedule.Definition{
		NamePurge:  definition(KindPurge, purgeEvery, 2*purgeEvery, payload, lane, kinds),
		NameRollup: definition(KindRollup, rollupEvery, 5*rollupEvery, []byte("{}"), lane, kinds),
	}, nil
}

func definition(kind string, every, timeout time.Duration, payload []byte, lane int32, kinds map[string]int32) *schedule.Definition {
	once := task.DefaultRetry()
	once.Max = 0
	return &schedule.Definition{Spec: cron.Spec{EveryMs: every.Milliseconds()}, Zone: "UTC", DSTGap: cron.Shift, DSTOverlap: cron.First,
		Misfire: schedule.MisfireOnce, MaxAgeMs: schedule.DefaultMaxAgeMs, Overlap: schedule.Skip,
		Task: schedule.Template{Kind: kind, KindID: kinds[kind], Queue: task.SystemQueue, Priority: task.Normal, LaneID: lane,
			TimeoutMs: int32(timeout.Milliseconds()), Head: task.BodyHead{Retry: &once}, Payload: payload}}
}

// ensureSchedule makes one schedule, or changes its definition. Somebody who pauses or fires it meanwhile makes the change
// begin anew.
func ensureSchedule(ctx context.Context, store InstallStore, app int32, name string, d *schedule.Definition, now int64) error {
	raw, err := d.Encode()
	if err != nil {
		return err
	}
	table, err := schedule.Compile(d)
	if err != nil {
		return err
	}
	for range installTries {
		if err = ensureOnce(ctx, store, schedule.Row{AppID: app, Name: name, Version: 1, NextAt: table.Next(now), Definition: raw}, now); task.KindOf(err) != task.Conflict {
			return err
		}
	}
	return err
}

func ensureOnce(ctx context.Context, store InstallStore, want schedule.Row, now int64) error {
	rows, _, err := store.ListSchedules(ctx, schedule.Filter{AppID: want.AppID, Name: want.Name, Limit: 1})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		if want.ID, err = store.ScheduleIDs(ctx, 1); err != nil {
			return err
		}
		_, _, _, err = store.CreateSchedule(ctx, want, nil, nil)
		return err
	}
	before := rows[0]
	if string(before.Definition) == string(want.Definition) {
		return nil
	}
	after := before
	after.Definition = want.Definition
	if after.Pause == schedule.NotPaused {
		after.NextAt = want.NextAt
	}
	_, _, err = store.ChangeSchedule(ctx, before, after, now, nil)
	return err
}

var errRetention = errors.New("the payload must say how long succeeded and other tasks, slots and the audit trail are kept, 1 minute at the least")

const leastKeptMs = 60_000

func (r Retention) check() error {
	if min(r.SucceededMs, r.OthersMs, r.SlotsMs, r.AuditMs) < leastKeptMs {
		return errRetention
	}
	return nil
}
