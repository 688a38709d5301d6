package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
)

// Run is a worker process of an installation: it claims and executes tasks, and serves health and metrics. It needs the database to
// start (whoever starts it tries again: deploy has systemd units), and waits for it when it goes away later. It returns when it has drained (nil): after SIGTERM or SIGINT, after the end of ctx, or because the API
// asked for it; or with why it could not start or go on. A second signal ends it at once: what ran is rescued by others.
func (w *Worker) Run(ctx context.Context) error {
	return w.serve(ctx, config.Worker, nil)
}

// RunStandalone is a whole installation in this process, for development: API, scheduler and this worker, built-in kinds
// included, on an embedded database, broker and live view, with nothing installed. It keeps everything in its data folder
// (.taskweir; see [DataDir]) and loses nothing when it is started again; the command line finds its address and key there. It
// returns as Run does. started may be nil; it is called once everything is up and the handlers' kinds are known.
func (w *Worker) RunStandalone(ctx context.Context, started func(*Process)) error {
	return w.serve(ctx, config.Standalone, started)
}

// Main is a whole program: os.Exit(w.Main()). Without arguments but flags it is Run, with the argument "standalone" it is
// RunStandalone; --help lists the settings. It gives the exit code: 0 drained, 1 could not start or go on, 2 configuration.
func (w *Worker) Main() int { return w.main(context.Background(), os.Args[1:], os.Stderr) }

func (w *Worker) main(ctx context.Context, args []string, errs io.Writer) int {
	role := config.Worker
	if len(args) > 0 && args[0] == "standalone" {
		role, args = config.Standalone, args[1:]
	}
	cfg, o, err := w.configure(role, append(append([]string{}, w.args...), args...), errs)
	if err != nil {
		fmt.Fprintln(errs, err)
		if errors.Is(err, config.ErrHelp) {
			return 0
		}
		return 2
	}
	if err := app.Serve(ctx, cfg, o, nil); err != nil {
		fmt.Fprintln(errs, err)
		return 1
	}
	return 0
}

func (w *Worker) serve(ctx context.Context, role config.Role, started func(*Process)) error {
	cfg, o, err := w.configure(role, w.args, os.Stderr)
	if err != nil {
		return err
	}
	if started == nil {
		return app.Serve(ctx, cfg, o, nil)
	}
	return app.Serve(ctx, cfg, o, func(ctx context.Context, a *app.App) error {
		if err := a.Registered(ctx); err != nil {
			return nil //nolint:nilerr // the process is ending: whoever ends it says why
		}
		started(&Process{a})
		return nil
	})
}

// configure reads the settings and gives what the process is made of.
func (w *Worker) configure(role config.Role, args []string, errs io.Writer) (*config.Config, app.Options, error) {
	runners, err := w.Runners()
	if err != nil {
		return nil, app.Options{}, err
	}
	cfg, err := config.Load(role, args, w.environment())
	if err != nil {
		return nil, app.Options{}, err
	}
	log := w.logger
	if log == nil {
		log = app.NewLogger(cfg, errs)
	}
	for _, r := range runners {
		r.(*runner).log = log
	}
	return cfg, app.Options{Logger: log, Runners: runners, OnlyRunners: !w.builtIns, NoSignals: !w.signals}, nil
}

// environment is the environment with the options over it. An option takes the place of a file that its setting may come from.
func (w *Worker) environment() []string {
	environ := w.environ
	if environ == nil {
		environ = os.Environ()
	}
	out := make([]string, 0, len(environ)+len(w.settings))
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		_, set := w.settings[strings.TrimSuffix(name, "_FILE")]
		if _, exact := w.settings[name]; !set && !exact {
			out = append(out, kv)
		}
	}
	for name, value := range w.settings {
		out = append(out, name+"="+value)
	}
	return out
}

// Start is Run for tests and tools: it returns when everything is up. ctx bounds the start only; the caller stops the process.
// Signals are the caller's. A program that is a worker beside something else calls Run in a goroutine, with [IgnoreSignals].
func (w *Worker) Start(ctx context.Context) (*Process, error) { return w.start(ctx, config.Worker) }

// StartStandalone is RunStandalone in the same way.
func (w *Worker) StartStandalone(ctx context.Context) (*Process, error) {
	return w.start(ctx, config.Standalone)
}

func (w *Worker) start(ctx context.Context, role config.Role) (*Process, error) {
	cfg, o, err := w.configure(role, w.args, os.Stderr)
	if err != nil {
		return nil, err
	}
	a, err := app.Start(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	if err := a.Registered(ctx); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return &Process{a}, nil
}

// Process is a worker, or a standalone, that runs.
type Process struct{ app *app.App }

// URL is the base address of a standalone's API; empty for a worker.
func (p *Process) URL() string {
	if p.app.Addr() == "" {
		return ""
	}
	return p.app.URL()
}

// APIKey is a standalone's API key with scope admin; empty for a worker.
func (p *Process) APIKey() string { return p.app.APIKey() }

// OpsAddr is where health and metrics are served, host:port.
func (p *Process) OpsAddr() string { return p.app.OpsAddr() }

// Stop drains and ends the process; it returns within the drain time and about 2 s, whatever handlers do. The error says what
// did not end well.
func (p *Process) Stop() error { return p.app.Stop() }

// Kill makes the next Stop give up what runs at once, as the death of the process would: others rescue it.
func (p *Process) Kill() { p.app.Kill() }
