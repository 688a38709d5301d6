package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/dbclock"
	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/trace"
	"github.com/taskweir/taskweir/internal/worker"
)

// Options are what a process is told beside its configuration.
type Options struct {
	Logger *slog.Logger // required
	// ExitWhenStartedReturns ends Serve when its started function returns without an error.
	ExitWhenStartedReturns bool
	// NoWorker leaves the worker of a standalone out until StartWorker (benchmarks fill queues first).
	NoWorker bool
	// Runners are registered beside the built-in ones.
	Runners []worker.Runner
	// OnlyRunners makes a worker process run nothing but Runners: no built-in kinds, and not the platform's own queue.
	OnlyRunners bool
	// Spans takes the spans of traces instead of the configured collector (tests).
	Spans trace.SpanExporter
	// NoSignals leaves SIGTERM and SIGINT to the caller: the end of Serve's context drains.
	NoSignals bool
}

// App is one running process.
type App struct {
	cfg  *config.Config
	opts Options
	log  *slog.Logger
	life lifecycle
	// failed gets the error of a part that cannot go on.
	failed chan error

	metrics   *metrics.Set
	alone     bool // standalone on its own database, with the data folder's lock
	store     *sqldb.Store
	clock     *dbclock.Clock
	redis     *rdb.Client
	changes   *events.Writer
	codec     *message.Codec
	directory *nsqbus.Directory
	publisher *nsqbus.Publisher
	table     *bell.Table
	ringer    *bell.Ringer
	box       *secret.Box
	tracer    *trace.Tracer // nil: nothing is traced
	scheduler atomic.Pointer[scheduler.Scheduler]
	service   *control.Service
	server    *httpkit.Server
	ops       *httpkit.Server

	apiListener, opsListener net.Listener

	engine  *worker.Engine
	drained chan struct{}
}

// Start makes and starts the process that cfg describes. When it fails, everything is ended again and the error says
// what to do.
func Start(ctx context.Context, cfg *config.Config, o Options) (_ *App, err error) {
	a := &App{cfg: cfg, opts: o, log: o.Logger, failed: make(chan error, 16), drained: make(chan struct{})}
	a.life.log = a.log
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop())
		}
	}()
	a.metrics = metrics.New(Version())
	steps := []struct {
		what  string
		roles config.Role
		do    func(context.Context) error
	}{
		{"listen", config.API | config.Standalone, a.listenAPI},
		{"listen", config.Scheduler | config.Worker, a.listenOps},
		{"data folder", config.Standalone, a.openDataDir},
		{"tracing", allRoles, a.startTracing},
		{"database", allRoles, a.openStore},
		{"live view", allRoles, a.openLive},
		{"broker", allRoles, a.openBroker},
		{"lanes", allRoles, a.openLanes},
		{"ringer", allRoles, a.startRinger},
		{"scheduler", config.Scheduler | config.Standalone, a.startScheduler},
		{"api", config.API | config.Standalone, a.startAPI},
		{"worker", config.Worker | config.Standalone, a.startWorkerAtStart},
		{"ops", config.Scheduler | config.Worker, a.startOps},
	}
	for _, s := range steps {
		if !s.roles.Has(cfg.Role) {
			continue
		}
		if err := s.do(ctx); err != nil {
			return nil, fmt.Errorf("start %s: %w", s.what, err)
		}
	}
	return a, nil
}

const allRoles = config.API | config.Scheduler | config.Worker | config.Standalone

// Stop drains and ends the process. It returns within the drain time and about 2 s, whatever handlers do.
func (a *App) Stop() error { return a.life.stop(a.cfg.DrainTime + afterDrain) }

// afterDrain is what everything together may take beyond the drain time.
const afterDrain = 1800 * time.Millisecond

// Kill ends the worker at once: its tasks are rescued by others.
func (a *App) Kill() {
	if a.engine != nil {
		a.engine.Kill()
	}
}

// Drained is closed when a worker process has drained because the API asked it to: nothing is left for it to do. It is never
// closed for a standalone, whose API goes on.
func (a *App) Drained() <-chan struct{} {
	if a.cfg.Role != config.Worker {
		return nil
	}
	return a.drained
}

// Registered waits until the worker of this process is known to the database, so that tasks of its kinds are accepted. It gives
// the part's error when the worker cannot go on.
func (a *App) Registered(ctx context.Context) error {
	select {
	case <-a.engine.Registered():
		return nil
	case <-a.drained: // it ended before it came to that
		select {
		case err := <-a.failed:
			return err
		default:
			return errors.New("the worker was ended before it registered")
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Addr is where the API listens; empty in other processes.
func (a *App) Addr() string {
	if a.apiListener == nil {
		return ""
	}
	return a.apiListener.Addr().String()
}

// OpsAddr is where health and metrics are served.
func (a *App) OpsAddr() string {
	if a.opsListener == nil {
		return a.Addr()
	}
	return a.opsListener.Addr().String()
}

// URL is the API's base address.
func (a *App) URL() string { return "http://" + a.Addr() }

// APIKey is the bootstrap key: an API key with scope admin of the app default.
func (a *App) APIKey() string { return a.cfg.BootstrapKey.Reveal() }

// Service is the use cases, for callers in the same process.
func (a *App) Service() *control.Service { return a.service }

// fail reports that a part cannot go on; the process ends.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
		a.log.Error("part failed", "error", err)
	}
}

// Version is the version of the build: the module's, or the commit of a build from source.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}

// bound is how long a part may take to end when nothing else is said.
const bound = 3 * time.Second
