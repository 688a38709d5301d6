package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/doctor"
)

// Deps are what the composition root gives the commands. A hook that is nil leaves its command out.
type Deps struct {
	Version string
	Environ []string // as os.Environ gives it
	In      io.Reader
	Out     io.Writer // results
	Err     io.Writer // everything else

	// Standalone runs everything in this process until ctx ends or a signal has drained it. It takes signals itself.
	Standalone func(ctx context.Context, c *config.Config, o StandaloneOptions) error
	// Bench measures; args are everything after "bench". It takes signals itself.
	Bench func(ctx context.Context, args []string) error
	// Migrate runs "up", "down" or "status" and gives the steps it ran, for status all of them.
	Migrate func(ctx context.Context, c *config.Config, action string) ([]MigrationStep, error)
	// Probes open the database and Redis for doctor.
	Probes doctor.Probes

	pause  func(ctx context.Context, d time.Duration) error // between requests; nil: a timer
	screen *terminal                                        // what Out is; nil: look
	faulty func()                                           // called with every look of top, for tests
	asks   bool                                             // somebody answers on In although it is no terminal
}

// StandaloneOptions are the flags of standalone that are no settings.
type StandaloneOptions struct {
	Demo     bool // submit three tasks and print what happens to them
	DemoExit bool // end when they are done
}

// MigrationStep is one step of the schema.
type MigrationStep struct {
	Version   int    `json:"version"`
	Name      string `json:"name"`
	AppliedAt int64  `json:"appliedAt"` // ms since 1970; 0: not applied
}

// Run executes a command line and gives the exit code. Errors are printed to Deps.Err.
func Run(ctx context.Context, d Deps, args []string) int {
	root := Root(d)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var own *exitError
	if err != nil && !(errors.As(err, &own) && own.silent) {
		fmt.Fprintln(d.Err, "taskweir: "+printableLines(err.Error()))
	}
	return exitCode(err)
}

// Root is the whole command tree.
func Root(d Deps) *cobra.Command {
	p := &program{Deps: d, clock: &serverClock{}}
	root := group("taskweir", "Distributed task scheduler: run it, operate it, submit tasks",
		`Taskweir stores tasks durably, starts them on time on one of many workers, retries and cancels them.

  taskweir standalone --demo         start everything in this process and see it work
  taskweir tasks submit echo --payload '{"hello": "world"}' --wait

Commands that talk to the API take its address and key from a context (taskweir context), from --url and TASKWEIR_API_KEY, or from
the data folder of a standalone started in the same directory.

Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 not found, 4 refused, 5 unavailable, 6 conflict,
7 credentials, 8 and 9 a task failed or was cancelled; see taskweir help exit-codes.`)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetIn(d.In)
	root.SetOut(d.Out)
	root.SetErr(d.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		hint := ""
		if strings.Contains(err.Error(), "time: ") && strings.Contains(err.Error(), "duration") {
			hint = "\n  durations are written like 500ms, 90s, 15m or 48h"
		}
		return usage(fmt.Errorf("%w%s\n  see: %s --help", err, hint, c.CommandPath()))
	})
	p.globalFlags(root)
	if d.Standalone != nil {
		root.AddCommand(p.standalone())
	}
	root.AddCommand(p.tasks(), p.schedules(), p.queues(), p.limitKeys(), p.kinds(), p.workers(), p.apps(), p.bulk(), p.stats(), p.events(), p.audit(), p.openapi(), p.top(), p.context())
	if d.Migrate != nil {
		root.AddCommand(p.migrate())
	}
	if d.Probes.Database != nil {
		root.AddCommand(p.doctor())
	}
	if d.Bench != nil {
		root.AddCommand(p.bench())
	}
	root.AddCommand(p.version())
	root.AddCommand(topics()...)
	return root
}

// program is one invocation.
type program struct {
	Deps
	format outputFormat
	times  timesFormat
	quiet  bool
	clock  *serverClock
	app    string // the app that is acted on, where a route takes one; empty: the key's own
}

func (p *program) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.VarP(&p.format, "output", "o", "how results are printed: table or json")
	f.BoolVarP(&p.quiet, "quiet", "q", false, "print only ids or names, one a line")
	f.Var(&p.times, "time", "how times are printed: auto, relative, absolute or utc")
	fixed := func(flag string, values ...string) {
		_ = root.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	fixed("output", "table", "json")
	fixed("time", "auto", "relative", "absolute", "utc")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if p.quiet && p.json() {
			return usage(errors.New("--quiet and --output json say different things: keep one"))
		}
		return nil
	}
}

// apiFlags gives a group of commands the flags that say which API.
func (p *program) apiFlags(cmd *cobra.Command) {
	config.AddFlags(cmd.PersistentFlags(), config.CLI)
	_ = cmd.RegisterFlagCompletionFunc("context", p.completeContexts)
}

// group is a command that only holds others.
func group(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(c, args[0])
			}
			return c.Help()
		},
	}
}

func unknown(c *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q", c.CommandPath()+" "+name)
	if near := c.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(errors.New(text + "\n  see: " + c.CommandPath() + " --help"))
}

// arguments checks how many arguments there are and names what is missing.
func arguments(low, high int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage(fmt.Errorf("%s needs %s\n  see: %s --help", c.CommandPath(), what, c.CommandPath()))
		case high >= 0 && len(args) > high:
			return usage(fmt.Errorf("argument %q is one too many\n  see: %s --help", args[high], c.CommandPath()))
		}
		return nil
	}
}

// connected wraps a command that talks to the API: settings, client, Ctrl-C.
func (p *program) connected(run func(ctx context.Context, c *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, app, err := p.loadCLI(cmd)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		c := newClient(cfg, p.Version, p.clock)
		p.app = app
		if p.pause != nil {
			c.pause = p.pause
		}
		defer c.http.CloseIdleConnections()
		return run(ctx, c, args)
	}
}

// operating wraps a command that talks to the servers behind the API.
func (p *program) operating(run func(ctx context.Context, c *config.Config) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.LoadFlags(config.Operator, cmd.Flags(), p.Environ)
		if err != nil {
			return err
		}
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		return run(ctx, cfg)
	}
}

var errInterrupted = errors.New("interrupted")

// interruptible ends with Ctrl-C or SIGTERM; a second one ends the process as usual.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			signal.Stop(signals)
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}
