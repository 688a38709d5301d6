package scheduler

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Store is what the scheduler needs of the database. The obligations of worker.Store hold here too.
type Store interface {
	// Lease takes or renews a lease: granted when it is free, expired or the owner's. Times are the database's.
	Lease(ctx context.Context, name string, owner int64, ttl time.Duration) (granted bool, term int64, err error)
	// GiveUpLease frees it if it is the owner's.
	GiveUpLease(ctx context.Context, name string, owner int64) error
	// LeaseOwners gives every lease that has not expired, name to owner: one read instead of a guarded write for each
	// lease that somebody else holds.
	LeaseOwners(ctx context.Context) (map[string]int64, error)
	// NewOwner allocates an owner id that was never used (the workers' sequence).
	NewOwner(ctx context.Context) (int64, error)

	Lanes(ctx context.Context) ([]task.Lane, error)
	// Kinds lists every kind ever declared.
	Kinds(ctx context.Context) ([]task.KindRow, error)
	// TuneLane writes what writers re-read: credit and bell size.
	TuneLane(ctx context.Context, laneID int32, credit, bellSize int) error
	// Apps lists every app (weight, paused).
	Apps(ctx context.Context) ([]task.App, error)

	// LookAhead lists start bells of a shard with from < due_at <= to, in due order.
	LookAhead(ctx context.Context, shard int, from, to int64, limit int) ([]task.Bell, error)
	// ShardsDue gives the earliest due time of the start bells, by shard; shards without any are left out. Its cost does
	// not grow with bells, apps or lanes.
	ShardsDue(ctx context.Context) (map[int]int64, error)
	// DuePairs lists the (lane, app) pairs that have start bells, each with the earliest due time of each kind of them, by
	// skipping through the index: it never reads a bell per row.
	DuePairs(ctx context.Context) ([]task.LaneApp, error)
	// DueBells lists start bells of one kind of a pair that are due by now, after a position, in (due_at, id) order.
	DueBells(ctx context.Context, laneID, appID int32, kind task.BellKind, now int64, after task.BellAfter, limit int) ([]task.Bell, error)
	// DueFlows lists flows of a pair that have start bells of a kind, each with the earliest due time, by flow, behind a flow. Its
	// cost grows with the flows that it gives, not with bells.
	DueFlows(ctx context.Context, laneID, appID int32, kind task.BellKind, after int64, limit int) ([]task.FlowDue, error)
	// FlowBells lists the first bells of flows that are due by now, at most as many of each as is wanted.
	FlowBells(ctx context.Context, laneID, appID int32, kind task.BellKind, now int64, wants []task.FlowWant) ([]task.Bell, error)
	// LimitsSince lists limits that were set, changed or ended (Idle) after a version, 0: all, and the version that this is as of.
	LimitsSince(ctx context.Context, since int64) ([]task.Limit, int64, error)
	// LimitCounts tells how limits stand; those that are gone are left out.
	LimitCounts(ctx context.Context, scopes []task.LimitScope) (map[task.LimitScope]task.LimitCount, error)
	// AuditLimits counts up to limit limits of concurrency behind a scope anew, mends those that are off, and gives how many
	// these were and where to go on; "": at the end.
	AuditLimits(ctx context.Context, after task.LimitScope, limit int) (mended int, next task.LimitScope, err error)
	// BellsLeft gives those of the ids that are still in the table, with how many tasks are left in each.
	BellsLeft(ctx context.Context, ids []int64) (map[int64]int, error)
	// Rungs reads what a message needs of the bells' tasks: bodies up to task.MaxInlineBody; tasks that do not wait in
	// their bell any more are left out.
	Rungs(ctx context.Context, bells []task.Bell) ([]task.Rung, error)

	// Expire executes due expire bells of a shard and gives how many tasks it ended and whether more are due.
	Expire(ctx context.Context, shard int, limit int) (ended int, more bool, err error)

	// Workers lists workers that are not gone, and with all also the gone ones of the last hour.
	Workers(ctx context.Context, all bool) ([]task.Worker, error)
	// DeclareGone sets a worker to gone if its beat is still the watched one.
	DeclareGone(ctx context.Context, workerID, watchedBeat int64) (bool, error)
	// DeclareAllGone sets every worker to gone: only for a standalone that holds the data folder's lock.
	DeclareAllGone(ctx context.Context) (int, error)
	// OrphanClaims lists claims whose worker is gone or unknown.
	OrphanClaims(ctx context.Context, limit int) ([]int64, error)
	// Release takes every task from a claim (worker.Store.Release).
	Release(ctx context.Context, claimID int64, only []int64, cause task.ReleaseCause) ([]task.Bell, error)

	// TaskIDRange gives the smallest and largest task id, 0, 0 when there is none.
	TaskIDRange(ctx context.Context) (first, last int64, err error)
	// Audit looks for waiting tasks without their bell and running tasks without their claim in [from, to], mends them and
	// gives how many it mended and the new bells.
	Audit(ctx context.Context, from, to int64) (mended int, bells []task.Bell, err error)
	// PurgeKeys deletes expired idempotency rows and window keys, bounded; gone workers older than a day too.
	PurgeKeys(ctx context.Context, now int64, limit int) (int, error)
}

// Clock is the database's clock (internal/dbclock).
type Clock interface {
	// Now is the database's time in ms.
	Now() int64
	// NowMicros is the same in µs.
	NowMicros() int64
	// Until is how long it is until an instant in ms; zero or negative when it is past. Who must not be early adds
	// Uncertainty.
	Until(ms int64) time.Duration
	// Uncertainty bounds the measured error.
	Uncertainty() time.Duration
}

// Publisher puts messages on a lane's topic.
type Publisher interface {
	// Publish signs, encodes and publishes bells of one lane (one message each, several per MPUB). An error means that
	// the outcome of some of them is unknown: the re-ring settles it.
	Publish(ctx context.Context, lane task.Lane, rungs []task.Rung) error
	// Generation grows whenever an nsqd vanished or a new connection was made: what was rung before may be lost.
	Generation() int64
}

// Witness tells workers that a scheduler reaches the database.
type Witness interface {
	SawDatabase(ctx context.Context) error
}
