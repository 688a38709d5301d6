package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/runner/shell"
)

// Main is a whole process of one role: configuration, start, signals, drain. It gives the exit code. The first SIGTERM or
// SIGINT drains, the second ends at once.
func Main(role config.Role, args, environ []string, stderr io.Writer) int {
	shell.MaybeSupervise()
	tuneGC(environ)
	environ, serveFaults := faultControl(environ)
	cfg, err := config.Load(role, args, environ)
	if errors.Is(err, config.ErrHelp) {
		fmt.Fprintln(stderr, err)
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	err = serveFaults()
	if err == nil {
		err = Serve(context.Background(), cfg, Options{Logger: NewLogger(cfg, stderr)}, nil)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// NewLogger is the structured log of a process.
func NewLogger(cfg *config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.Log.Level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// Serve starts the process, calls started (which may be nil) with it, and returns when a signal, ctx, started or a failed
// part has ended it. The error of started is the error of Serve.
func Serve(ctx context.Context, cfg *config.Config, o Options, started func(context.Context, *App) error) error {
	signals := make(chan os.Signal, 2)
	if !o.NoSignals {
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(signals)
	}

	a, err := startUnlessSignalled(ctx, cfg, o, signals)
	if err != nil {
		return err
	}
	side, cancelSide := context.WithCancelCause(ctx)
	ended := make(chan error, 1)
	if started != nil {
		go func() { ended <- started(side, a) }()
	}
	err = wait(ctx, a, signals, ended)
	cancelSide(errStopping)
	return errors.Join(err, stop(a, signals))
}

// startUnlessSignalled gives up a start that takes long (a migration, a database that does not answer) at the first signal.
func startUnlessSignalled(ctx context.Context, cfg *config.Config, o Options, signals chan os.Signal) (*App, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case s := <-signals:
			cancel(&signalled{s})
			signals <- s // for a start that was done at that moment
		case <-started:
		}
	}()
	a, err := Start(ctx, cfg, o)
	close(started)
	<-watched
	if by, ok := errors.AsType[*signalled](context.Cause(ctx)); ok && err != nil {
		return a, by // the error is what the end of the context did to whatever was under way
	}
	return a, err
}

// signalled ends a start.
type signalled struct{ by os.Signal }

// Error names the signal.
func (s *signalled) Error() string { return fmt.Sprintf("ended by a signal (%s) while starting", s.by) }

// stop drains, and ends at once at the next signal.
func stop(a *App, signals <-chan os.Signal) error {
	stopped := make(chan error, 1)
	go func() { stopped <- a.Stop() }()
	select {
	case err := <-stopped:
		return err
	case <-signals:
	}
	a.log.Warn("second signal: ending at once; other workers rescue what ran here")
	a.Kill()
	select {
	case err := <-stopped:
		return err
	case <-time.After(time.Second):
		return errors.New("ended at once, at the second signal")
	}
}

// wait returns when something asks the process to end.
func wait(ctx context.Context, a *App, signals <-chan os.Signal, ended <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			a.log.Info("draining", "signal", s.String(), "at_most", a.cfg.DrainTime)
			return nil
		case <-a.Drained():
			select {
			case err := <-a.failed: // it ended for this
				return err
			default:
			}
			a.log.Info("drained as asked, ending")
			return nil
		case err := <-a.failed:
			return err
		case err := <-ended:
			if err != nil || a.opts.ExitWhenStartedReturns {
				return err
			}
			ended = nil
		}
	}
}
