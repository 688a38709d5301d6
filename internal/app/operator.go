package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/taskweir/taskweir/internal/cli"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/doctor"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/runner/shell"
	"github.com/taskweir/taskweir/internal/sqldb"
)

// Command is the whole of cmd/taskweir: it gives the exit code.
func Command(args, environ []string, in io.Reader, out, errs io.Writer) int {
	shell.MaybeSupervise()
	environ, serveFaults := faultControl(environ)
	return cli.Run(context.Background(), cli.Deps{
		Version: Version(), Environ: environ, In: in, Out: out, Err: errs,
		Standalone: func(ctx context.Context, c *config.Config, o cli.StandaloneOptions) error {
			tuneGC(environ)
			if err := serveFaults(); err != nil {
				return err
			}
			return standalone(ctx, c, o, out, errs)
		},
		Migrate: migrate,
		Bench:   func(ctx context.Context, args []string) error { return Bench(ctx, args, environ, out, errs) },
		Probes:  doctor.Probes{Database: probeDatabase, Redis: probeRedis},
	}, args)
}

// standalone serves everything in this process, with the demo when it is asked for.
func standalone(ctx context.Context, c *config.Config, o cli.StandaloneOptions, out, errs io.Writer) error {
	var started func(context.Context, *App) error
	if o.Demo {
		// The demo's lines are what people came for: the log is kept to what needs attention.
		c.Log.Level = max(c.Log.Level, slog.LevelWarn)
		started = func(ctx context.Context, a *App) error { return a.Demo(ctx, out) }
	}
	return Serve(ctx, c, Options{Logger: NewLogger(c, errs), ExitWhenStartedReturns: o.DemoExit}, started)
}

// migrate runs up, down or status on the configured database.
func migrate(ctx context.Context, c *config.Config, action string) ([]cli.MigrationStep, error) {
	if err := needDatabaseFile(c, action); err != nil {
		return nil, err
	}
	store, err := sqldb.Open(ctx, sqldb.Options{URL: c.Database.URL.Reveal(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	var steps []sqldb.Step
	switch action {
	case "up":
		steps, err = store.Migrate(ctx, sqldb.Up)
	case "down":
		steps, err = store.Migrate(ctx, sqldb.Down)
	default:
		steps, err = store.Status(ctx)
	}
	out := make([]cli.MigrationStep, 0, len(steps))
	for _, s := range steps {
		out = append(out, cli.MigrationStep{Version: s.Version, Name: s.Name, AppliedAt: s.AppliedAt})
	}
	return out, err
}

// needDatabaseFile keeps a mistyped path from becoming an empty database when somebody only looks.
func needDatabaseFile(c *config.Config, action string) error {
	if c.Database.URL.Scheme() != "sqlite" || action == "up" {
		return nil
	}
	if _, err := os.Stat(sqlitePath(c.Database.URL)); err != nil {
		return fmt.Errorf("no such database: %w", err)
	}
	return nil
}

// probedDatabase shows a database to doctor.
type probedDatabase struct {
	*sqldb.Store
	probe sqldb.Probe
}

func probeDatabase(ctx context.Context, c *config.Config) (doctor.Database, error) {
	store, err := sqldb.Open(ctx, sqldb.Options{URL: c.Database.URL.Reveal(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	p, err := store.Probe(ctx)
	if err != nil {
		store.Close()
		return nil, err
	}
	return probedDatabase{store, p}, nil
}

// Variables gives what the probe read.
func (d probedDatabase) Variables(_ context.Context, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, n := range names {
		if v, ok := d.probe.Variables[n]; ok {
			out[n] = v
		}
	}
	out["version"] = d.probe.Version
	return out, nil
}

// Schema compares what was applied with what this program knows.
func (d probedDatabase) Schema(context.Context) (applied, known int, err error) {
	for _, s := range d.probe.Schema {
		if s.AppliedAt != 0 {
			applied = max(applied, s.Version)
		}
		if s.Name != "" {
			known = max(known, s.Version)
		}
	}
	return applied, known, nil
}

// Clock gives the database's time minus this machine's.
func (d probedDatabase) Clock() (offset, uncertainty time.Duration) {
	return d.probe.ClockOffset, d.probe.ClockError
}

func probeRedis(_ context.Context, c *config.Config) (doctor.Redis, error) {
	return rdb.Open(rdb.Options{URL: c.Redis.URL.Reveal()})
}
