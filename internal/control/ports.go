package control

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// Store is what the use cases need of the database. The obligations of worker.Store hold here too. Methods that take an
// appID answer task.Missing when the thing is another app's; appID 0 sees every app.
type Store interface {
	// TaskIDs takes n consecutive task ids from this process's block and gives the first. A block older than 5 s is
	// thrown away.
	TaskIDs(ctx context.Context, n int) (int64, error)
	// Submit is one flush: one transaction for all requests (≤ 500 tasks). Requests of one flush that meet in an idempotency
	// key or a unique key get what one flush after the other would have given them. A request whose Idem is not First is a
	// later part of a batch or what is missing of a replayed one: tasks of it that are there already are left alone (TaskID
	// set, not Created). It sets the results on requests and
	// submissions and gives the new start bells with Direct set. A non-retryable error belongs to some task of the flush:
	// the caller splits the flush to find it.
	Submit(ctx context.Context, reqs []*task.Request) ([]task.Bell, error)

	// Remembered looks a hashed idempotency key up: the hash of its body and the ids of its tasks. ok is false when it is
	// unknown or older than 24 h.
	Remembered(ctx context.Context, key [32]byte) (idem task.Idempotency, ok bool, err error)

	// EnsureLane gives the lane of (queue, priority), made at first use.
	EnsureLane(ctx context.Context, queue string, p task.Priority) (task.Lane, error)
	Lanes(ctx context.Context) ([]task.Lane, error)
	// Kinds lists every kind ever declared.
	Kinds(ctx context.Context) ([]task.KindRow, error)
	DeclareKinds(ctx context.Context, names []string) (map[string]int32, error)

	// Views reads tasks whole, in the order of ids; unknown ids and those of other apps are left out.
	Views(ctx context.Context, appID int32, ids []int64) ([]task.View, error)
	// History reads what a task's events are made of: its row and names, and a page of its attempts from an epoch on. more: there
	// are further ones.
	History(ctx context.Context, appID int32, id int64, from int32) (v task.View, more bool, err error)
	// Names gives what an app, a lane and a kind are called, from memory after their first use; empty for an id that is 0.
	Names(ctx context.Context, app, lane, kind int32) (appKey, queue, kindName string, err error)
	// State reads only what waiting for a task needs.
	State(ctx context.Context, appID int32, id int64) (task.Task, error)
	// Held tells how many tasks stand, in one query, for those who wait for them. Unknown ids are left out.
	Held(ctx context.Context, ids []int64) ([]task.Held, error)
	List(ctx context.Context, f task.Filter) (task.Page, error)
	// TaskOfAttempt gives the task of an attempt that runs, or that has a row of its own. Missing otherwise.
	TaskOfAttempt(ctx context.Context, appID int32, attemptID int64) (int64, error)
	// Log gives the log of an attempt (0: the newest that has one); nil when there is none.
	Log(ctx context.Context, appID int32, id, attemptID int64) ([]byte, error)

	// Output gives what is kept of the output of an attempt that has ended (0: the newest that has any), with where it begins; ID 0:
	// there is none.
	Output(ctx context.Context, appID int32, id, attemptID int64) (task.Attempt, error)

	// Cancel ends a waiting task, marks a running one, and leaves a final one as it is.
	Cancel(ctx context.Context, appID int32, id int64) (task.CancelReport, error)
	// RunNow pulls a waiting task forward. Conflict when it does not wait.
	RunNow(ctx context.Context, appID int32, id int64) (task.Bell, error)
	// Reopen is the explicit retry: failed and cancelled tasks, succeeded ones with force. Conflict for others, and
	// when another task has its unique key.
	Reopen(ctx context.Context, appID int32, id int64, force bool) (task.Bell, error)
	// Complete ends an attempt that awaits it. Running in the report: its worker has not stored yet that it does. Conflict says
	// why it comes to nothing.
	Complete(ctx context.Context, appID int32, c task.Completion) (task.CompletionReport, error)
	// Abandon closes a zombie at once. Conflict when the task is none. The bell is set when it is retried.
	Abandon(ctx context.Context, appID int32, id int64) (*task.Bell, error)

	// SetQueuePaused pauses or resumes every lane of a queue, also those made later. Missing when there is no such queue.
	SetQueuePaused(ctx context.Context, queue string, paused bool) error
	// Queues tells depth and age of every queue. appID 0 counts all apps.
	Queues(ctx context.Context, appID int32, now int64) ([]task.QueueDepth, error)

	Workers(ctx context.Context, all bool) ([]task.Worker, error)
	ClaimsOf(ctx context.Context, workerID int64) ([]task.Claim, error)
	// DrainWorker asks a worker to drain. Missing when it is gone.
	DrainWorker(ctx context.Context, workerID int64) error

	CreateApp(ctx context.Context, a task.App) (task.App, error)
	// UpdateApp stores everything that can change but the secrets.
	UpdateApp(ctx context.Context, a task.App) error
	// SetSecret stores the secrets. Conflict when the present one is not was.
	SetSecret(ctx context.Context, a task.App, was []byte) error
	Apps(ctx context.Context) ([]task.App, error)
	AppByID(ctx context.Context, id int32) (task.App, error)
	AppByKey(ctx context.Context, key string) (task.App, error)
	CreateAPIKey(ctx context.Context, k task.APIKey) (task.APIKey, error)
	APIKeys(ctx context.Context, appID int32) ([]task.APIKey, error)
	APIKeyByHash(ctx context.Context, hash [32]byte) (task.APIKey, error)
	RevokeAPIKey(ctx context.Context, appID int32, id int64) error
	// TakeBootstrapKey makes the app default if it is missing and replaces its bootstrap key by this hash.
	TakeBootstrapKey(ctx context.Context, a task.App, hash [32]byte, hint string) error

	ScheduleStore
	OperateStore
	LimitStore

	// Ping reports whether the database answers.
	Ping(ctx context.Context) error
}

// Signals tells workers to act at once. Best effort: the database has it already.
type Signals interface {
	Signal(ctx context.Context, workerID int64, s task.Signal) error
	// Running lists the live view of a worker. Its error means that Redis is gone.
	Running(ctx context.Context, workerID int64) ([]task.LiveEntry, error)
	// Look asks a worker what it sees of an attempt at this moment, for about a second. Its error means that Redis is gone or
	// the worker silent.
	Look(ctx context.Context, workerID, taskID int64, epoch int32) (task.LiveDetail, error)
}

// Ringer publishes bells after a commit (worker.Ringer).
type Ringer interface {
	Ring(bells ...task.Rung)
}

// Tracer tells what a task that is submitted under ctx keeps of the trace that its request belongs to: a W3C traceparent, or "".
type Tracer interface {
	Parent(ctx context.Context) string
}

// Clock is the database's clock.
type Clock interface {
	// Now is the database's time in ms.
	Now() int64
}
