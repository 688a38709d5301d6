// Command peers is "make peers": it measures Taskweir beside asynq, River, machinery and bare NSQ, on this machine, in one run.
//
// It installs the servers that are missing (as root on Debian 12), starts all of them on private ports in temporary folders,
// interleaves the rounds of the systems, ends everything, and prints a report. With -write it also writes the report to
// docs/benchmarks and the table of the README, but only one of a whole run in which nothing failed. It fails when something did
// not work, or when Taskweir lost or doubled a task, never because something was slow.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/report"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == childFlag {
		return child(ctx, os.Stdin, os.Stdout, os.Stderr)
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	if o.install {
		return installAll(ctx, o, os.Stderr)
	}
	if o.from != "" {
		rep, err := report.Read(o.from)
		if err != nil {
			return err
		}
		return publish(o, rep, rep.Broken())
	}
	rep, err := run(ctx, o, os.Stderr)
	if rep == nil {
		return err
	}
	return publish(o, rep, errors.Join(err, rep.Broken()))
}

// options are what the command line says.
type options struct {
	quick, write, noMemory, install bool
	rounds, delayed                 int
	systems, output, from           string
	only                            []string
	profiles                        string
	with                            *measure.Options // sizes that no flag gives; nil: those of the flags
}

var (
	errUsage = errors.New("-rounds is 1 to 25, and -o is markdown or json")
	errPart  = errors.New("only a whole run is written: -write goes with -rounds 2 or more, and without -quick, -only, -systems, -no-memory and -delayed")
)

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.BoolVar(&o.quick, "quick", false, "a tiny round that shows whether everything works; its figures mean nothing")
	fs.BoolVar(&o.write, "write", false, "write docs/benchmarks and the table of README.md")
	fs.BoolVar(&o.noMemory, "no-memory", false, "leave out the memory with a million delayed tasks")
	fs.BoolVar(&o.install, "install", false, "measure nothing: install the servers that are missing")
	fs.IntVar(&o.rounds, "rounds", 0, "rounds whose median is shown (default 3, quick 1)")
	fs.IntVar(&o.delayed, "delayed", 0, "delayed tasks with which memory is measured, for trying (default 1000000)")
	fs.StringVar(&o.systems, "systems", "", "measure only these, a comma list of "+strings.Join(names(), ", "))
	fs.Func("only", "take only these measures, a comma list of "+strings.Join(measure.Measures(), ", "), func(list string) error {
		o.only = strings.Split(list, ",")
		for _, name := range o.only {
			if !slices.Contains(measure.Measures(), name) {
				return fmt.Errorf("%q is no measure", name)
			}
		}
		return nil
	})
	fs.StringVar(&o.profiles, "profiles", "", "write a CPU profile of each round's process to this folder")
	fs.StringVar(&o.output, "o", "markdown", "markdown or json")
	fs.StringVar(&o.from, "from", "", "measure nothing: report what an earlier run wrote as JSON to this file")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.rounds == 0 {
		o.rounds = 3
		if o.quick {
			o.rounds = 1
		}
	}
	if fs.NArg() > 0 || o.rounds < 1 || o.rounds > 25 || o.output != "markdown" && o.output != "json" {
		return o, errUsage
	}
	if o.write && o.from == "" && !o.whole() {
		return o, errPart
	}
	return o, nil
}

// whole says that everything is measured, and often enough to be published.
func (o options) whole() bool {
	return !o.quick && !o.noMemory && o.only == nil && o.systems == "" && o.delayed == 0 && o.rounds >= 2
}

func (o options) sizes() measure.Options {
	if o.with != nil {
		return *o.with
	}
	sizes := measure.Full()
	if o.quick {
		sizes = measure.Quick()
	}
	if o.delayed > 0 {
		sizes.Delayed = o.delayed
	}
	return sizes
}

// publish prints the report and, where it was asked for and nothing failed, writes the files. What failed is given back.
func publish(o options, rep *report.Report, failed error) error {
	var errs []error
	if o.write {
		root, err := testkit.Root()
		if err == nil {
			err = write(rep, root, failed)
		}
		errs = append(errs, err)
	}
	if o.output == "json" {
		errs = append(errs, rep.JSON(os.Stdout))
	} else {
		errs = append(errs, rep.Markdown(os.Stdout))
	}
	return errors.Join(append(errs, failed)...)
}

var errNotWritten = errors.New("docs/benchmarks and README.md are as they were")

// write writes the files into a source tree. Of a run in which something failed nothing is published; what it measured is kept in
// a temporary file.
func write(rep *report.Report, root string, failed error) error {
	if failed == nil {
		return rep.Write(root)
	}
	f, err := os.CreateTemp("", "peers-not-written-*.json")
	if err != nil {
		return fmt.Errorf("%w: %w", errNotWritten, err)
	}
	if err := errors.Join(rep.JSON(f), f.Close()); err != nil {
		return fmt.Errorf("%w: %w", errNotWritten, err)
	}
	return fmt.Errorf("%w: what was measured is in %s", errNotWritten, f.Name())
}
