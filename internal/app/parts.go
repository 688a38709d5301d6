package app

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/runner/system"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
)

// openDataDir locks the folder and completes the configuration by the keys that are kept there.
func (a *App) openDataDir(context.Context) error {
	dir := a.cfg.DataDir
	lock, err := lockDataDir(dir)
	if err != nil {
		return err
	}
	a.life.onStop("data folder", bound, func(context.Context) error { return lock.Close() })
	if err := a.keepKeys(dir); err != nil {
		return err
	}
	own := "sqlite://" + filepath.Join(dir, databaseFile)
	if !a.cfg.Database.URL.IsSet() {
		a.cfg.Database.URL = config.SecretURL(own)
	}
	a.alone = a.cfg.Database.URL.Reveal() == own
	return config.WriteStandalone(dir, a.URL())
}

// keepKeys makes the keys that nobody configured and keeps them, so that the next start has the same.
func (a *App) keepKeys(dir string) error {
	if !a.cfg.BootstrapKey.IsSet() {
		key, err := keptKey(dir, config.BootstrapKeyFile, randomKey("twk_"))
		if err != nil {
			return err
		}
		a.cfg.BootstrapKey = config.Secret(key)
	}
	if !a.cfg.ClusterKey.IsSet() {
		key, err := keptKey(dir, config.ClusterKeyFile, randomKey(""))
		if err != nil {
			return err
		}
		a.cfg.ClusterKey = config.Secret(key)
	}
	if a.cfg.EncryptionKey.IsSet() {
		return nil
	}
	text, err := keptKey(dir, config.EncryptionKeyFile, randomKey(""))
	if err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != len(a.cfg.EncryptionKey) {
		return fmt.Errorf("%s in the data folder is damaged: it must hold base64 of 32 bytes", config.EncryptionKeyFile)
	}
	a.cfg.EncryptionKey = config.Key(raw)
	return nil
}

// openStore opens the database. A standalone brings its own schema up to date; others say what to run.
func (a *App) openStore(ctx context.Context) error {
	if err := a.lockSQLite(); err != nil {
		return err
	}
	store, err := sqldb.Open(ctx, sqldb.Options{URL: a.cfg.Database.URL.Reveal(), Logger: a.log, Metrics: a.metrics, MaxConns: a.cfg.Database.MaxConns})
	if err != nil {
		return err
	}
	a.store, a.clock = store, store.Clock()
	a.life.onStop("database", bound, func(context.Context) error { return store.Close() })
	if a.cfg.Role == config.Standalone {
		if _, err := store.Migrate(ctx, sqldb.Up); err != nil {
			return err
		}
	}
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	a.life.run("clock", a.fail, quiet(a.clock.Run))
	box, err := secret.New(a.cfg.EncryptionKey)
	if err != nil {
		return err
	}
	a.box = box
	return nil
}

// openLive opens the live view: the configured Redis, or an embedded one.
func (a *App) openLive(context.Context) error {
	url := a.cfg.Redis.URL.Reveal()
	if url == "" {
		server, err := redisembed.Start()
		if err != nil {
			return err
		}
		a.life.onStop("embedded redis", bound, func(context.Context) error { server.Close(); return nil })
		url = server.URL()
	}
	client, err := rdb.Open(rdb.Options{URL: url, Logger: a.log})
	if err != nil {
		return err
	}
	a.redis = client
	a.startChanges()
	a.life.onStop("redis", bound, func(context.Context) error { return client.Close() })
	return nil
}

// openBroker connects to the configured nsqds, or starts an embedded one.
func (a *App) openBroker(context.Context) error {
	nsqds := a.cfg.NSQ.Nsqd
	if len(nsqds) == 0 && len(a.cfg.NSQ.Lookupd) == 0 {
		server, err := nsqembed.Start(nsqembed.Options{DataDir: filepath.Join(a.cfg.DataDir, brokerDir), Logger: a.log})
		if err != nil {
			return err
		}
		a.life.onStop("embedded nsqd", 8*time.Second, func(context.Context) error { server.Close(); return nil })
		nsqds = []string{server.TCPAddr()}
	}
	var err error
	if a.codec, err = message.New([]byte(a.cfg.ClusterKey.Reveal())); err != nil {
		return err
	}
	if a.directory, err = nsqbus.NewDirectory(nsqbus.DirectoryOptions{NSQD: nsqds, Lookupd: a.cfg.NSQ.Lookupd, Logger: a.log}); err != nil {
		return err
	}
	a.life.onStop("nsqd directory", bound, func(context.Context) error { a.directory.Close(); return nil })
	o, err := a.busOptions()
	if err != nil {
		return err
	}
	a.publisher = nsqbus.NewPublisher(a.directory, a.codec, o)
	a.life.onStop("publisher", bound, func(context.Context) error { a.publisher.Close(); return nil })
	return nil
}

// openLanes starts the table of lanes that the process re-reads.
func (a *App) openLanes(ctx context.Context) error {
	// The first lane exists before the first task, so that this one need not wait until workers have heard of it.
	if _, err := a.store.EnsureLane(ctx, "default", task.Normal); err != nil {
		return err
	}
	a.table = bell.NewTable(a.store.Lanes, a.log)
	if err := a.table.Refresh(ctx); err != nil {
		return err
	}
	a.life.run("lanes", a.fail, quiet(a.table.Run))
	return nil
}

// startScheduler starts ringing, schedules, rescue and the chores.
func (a *App) startScheduler(ctx context.Context) error {
	// The platform's own work; workers run it. Its schedules are there before the first scheduler of the database is.
	keep := system.Retention{SucceededMs: a.cfg.Retention.Succeeded.Milliseconds(), OthersMs: a.cfg.Retention.Failed.Milliseconds(),
		AuditMs: a.cfg.Retention.Audit.Milliseconds()}
	if err := system.Install(ctx, a.store, a.clock.Now(), keep); err != nil {
		return fmt.Errorf("system app: %w", err)
	}
	s, err := scheduler.New(scheduler.Options{
		Store: a.store, Schedules: a.store, Bulks: a.store, Publisher: a.publisher, Ringer: a.ringer, Signals: a.redis, Witness: a.redis,
		Clock: a.clock, Logger: a.log, Metrics: a.metrics, Alone: a.alone,
		Intervals: scheduler.Intervals{DeadAfter: a.cfg.Liveness.DeadAfter},
	})
	if err != nil {
		return err
	}
	a.scheduler.Store(s)
	if a.alone {
		// Before the worker of this process registers: whoever is in the database now is dead.
		if err := s.Recover(ctx); err != nil {
			return err
		}
	}
	a.life.run("scheduler", a.fail, s.Run)
	return nil
}

// startRinger starts the ringing of what this process itself writes: an API its submits, a worker its retries, a scheduler the
// tasks of the slots that it fires, so that their starts do not wait for whoever owns their lanes.
func (a *App) startRinger(context.Context) error {
	wake := func() {
		if s := a.scheduler.Load(); s != nil { // not yet, or in no process of this role
			s.Wake()
		}
	}
	paused := &pausedApps{list: a.store.Apps}
	a.life.run("paused apps", a.fail, quiet(paused.run))
	a.ringer = bell.New(bell.Options{Publisher: a.publisher, Lanes: a.table, Clock: a.clock, Wake: wake, Skip: paused.has, Logger: a.log, Metrics: a.metrics})
	a.life.run("ringer", a.fail, quiet(a.ringer.Run))
	return nil
}

// lockSQLite makes this process the only one on a SQLite file outside its own data folder. Split processes may share a
// data folder, never a SQLite database.
func (a *App) lockSQLite() error {
	url := a.cfg.Database.URL
	if url.Scheme() != "sqlite" || a.alone {
		return nil
	}
	lock, err := lockDataDir(filepath.Dir(sqlitePath(url)))
	if err != nil {
		return err
	}
	a.life.onStop("database lock", bound, func(context.Context) error { return lock.Close() })
	return nil
}

func sqlitePath(url config.SecretURL) string { return strings.TrimPrefix(url.Reveal(), "sqlite://") }

// busOptions is how every connection to nsqd is made.
func (a *App) busOptions() (nsqbus.Options, error) {
	o := nsqbus.Options{AuthSecret: a.cfg.NSQ.AuthSecret.Reveal(), Name: "taskweir-" + a.cfg.Role.String(), Logger: a.log}
	var err error
	o.TLS, err = a.cfg.NSQ.TLSConfig()
	return o, err
}

// quiet makes a loop that cannot fail one that lifecycle runs.
func quiet(loop func(context.Context)) func(context.Context) error {
	return func(ctx context.Context) error { loop(ctx); return nil }
}
