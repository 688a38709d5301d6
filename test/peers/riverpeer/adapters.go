package riverpeer

import (
	"bytes"
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/taskweir/taskweir/test/peers/servers"
	"github.com/taskweir/taskweir/test/peers/system"
)

const (
	durable = "a submit is committed and synced; so is its end"
	// stockWorkers is the MaxWorkers of River's own examples: it has no default.
	stockWorkers = 100
)

// Tuned is River with the settings that did best on two processors.
func Tuned() system.Adapter {
	return adapter("river", "River, PostgreSQL", tuning{workers: 2000, cooldown: 2 * time.Millisecond, poll: 20 * time.Millisecond, conns: 32}, []system.Setting{
		{Name: "MaxWorkers", Value: "2000"},
		{Name: "FetchCooldown", Value: "2 ms"},
		{Name: "FetchPollInterval", Value: "20 ms"},
		{Name: "MaxConns of pgxpool", Value: "32 for inserts, 32 for the worker"},
	})
}

// Stock is River with its default settings.
func Stock() system.Adapter {
	a := adapter("river-stock", "River, PostgreSQL, default settings", tuning{workers: stockWorkers}, []system.Setting{
		{Name: "MaxWorkers", Value: "100 (as in River's examples; there is no default)"},
		{Name: "FetchCooldown", Value: "100 ms (default)"},
		{Name: "FetchPollInterval", Value: "1 s (default)"},
		{Name: "MaxConns of pgxpool", Value: "4, or the number of processors if larger (default), for inserts and for the worker"},
	})
	a.Tuned = "river"
	return a
}

// All are the adapters of this package.
func All() []system.Adapter { return []system.Adapter{Tuned(), Stock()} }

func adapter(name, title string, with tuning, settings []system.Setting) system.Adapter {
	return system.Adapter{
		Name: name, Title: title, Durable: durable,
		Settings: append(settings,
			system.Setting{Name: "bulk", Value: "InsertManyFast"},
			system.Setting{Name: "fsync, synchronous_commit", Value: "on, on (defaults)"},
			system.Setting{Name: "shared_buffers", Value: "128 MB (default)"},
			system.Setting{Name: "all others", Value: "default"}),
		Modules: []string{"github.com/riverqueue/river", "github.com/riverqueue/river/riverdriver/riverpgxv5", "github.com/jackc/pgx/v5"},
		Missing: servers.MissingPostgres,
		Serve: func(ctx context.Context, dir string) (system.Servers, error) {
			return servers.All(ctx, dir, servers.Postgres)
		},
		Open: func(ctx context.Context, addrs map[string]string, _ string, h system.Handler) (system.System, error) {
			return open(ctx, servers.PostgresURL(addrs["postgres"]), h, with)
		},
	}
}

// tuning is what differs from River's defaults; a zero is the default.
type tuning struct {
	workers        int
	cooldown, poll time.Duration
	conns          int32
}

// args are the arguments of every job.
type args struct {
	What   system.Kind `json:"kind"`
	Number int64       `json:"number"`
	Pad    string      `json:"pad"`
}

// Kind implements river.JobArgs.
func (args) Kind() string { return "task" }

// insert is a task as River takes it.
func insert(t system.Task) (args, *river.InsertOpts) {
	_, rest, _ := bytes.Cut(t.Payload(), []byte(`"pad":"`))
	a := args{What: t.Kind, Number: t.Number, Pad: string(bytes.TrimSuffix(rest, []byte(`"}`)))} // as many bytes as every other system carries
	if t.Due.IsZero() {
		return a, nil
	}
	return a, &river.InsertOpts{ScheduledAt: t.Due}
}
