package bench

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/worker"
)

// System is a running installation: api, scheduler and worker in this process, on embedded parts or on real servers.
type System interface {
	// Name says what it runs on: "SQLite, embedded nsqd and Redis".
	Name() string
	// Client submits in process, past HTTP but through the same use case. app is made at first use; its tasks share
	// lanes with those of other apps.
	Client(ctx context.Context, app string) (Client, error)
	// BaseURL is the address of the API: "http://127.0.0.1:8080".
	BaseURL() string
	// Pause stops a queue, Resume lets it go on. A queue that does not exist yet is made.
	Pause(ctx context.Context, queue string) error
	Resume(ctx context.Context, queue string) error
	// Now is the database's clock in ms.
	Now() int64
	// DB reads the database that the system works on. The bench only SELECTs in it.
	DB() *sql.DB
	// Yard is where the yardstick may create, fill and drop a table of its own: the same server with the same session
	// settings, or a SQLite file of its own beside the system's, with the same settings and one connection.
	Yard() *sql.DB
	// SQLite tells the dialect of both.
	SQLite() bool
	// Close drains and ends everything.
	Close(ctx context.Context) error
}

// Client is one app's way in.
type Client interface {
	// Submit accepts tasks, all or none, and gives their ids in order. One task is a single submit, more are a batch
	// (≤ 500). Safe for concurrent use; concurrent calls are committed together.
	Submit(ctx context.Context, tasks ...Task) ([]int64, error)
	// Schedule makes schedules and gives their ids in order. Unschedule deletes them.
	Schedule(ctx context.Context, list ...Schedule) ([]int64, error)
	Unschedule(ctx context.Context, ids ...int64) error
	// Key is an API key of the app with scope manage or more.
	Key() string
}

// Task is what the bench submits.
type Task struct {
	Kind    string // Kind, or "http"
	Queue   string
	Payload []byte // raw JSON
	DueAt   int64  // ms of the database's clock; 0: now
	NoRetry bool   // retry.max 0
}

// Schedule is what the bench lets fire: at an interval within [StartAt, EndAt), or once. Times are ms of the database's clock.
type Schedule struct {
	Name            string // no other one of the app has it
	EveryMs, Anchor int64
	StartAt, EndAt  int64
	At              int64
	Task            Task // without a due time
}

// Settings are what a system is opened with.
type Settings struct {
	Slots  int           // of its worker
	Runner worker.Runner // registered beside the built-in ones
	Purge  bool          // a run of the platform's purge begins at once and is cancelled at the end
}

// Opener starts a system. The second system of a run works on the same database as the first, which is closed by then.
type Opener func(ctx context.Context, s Settings) (System, error)
