// Command cluster is "make cluster": a whole installation of separate processes on this machine, to try scaling, killing
// and draining on. It starts a private MariaDB, Redis, nsqd and nsqlookupd, one api, one scheduler and two workers, prints
// how to use them, and removes all of it at Ctrl-C. A process that ends meanwhile is reported; the rest goes on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	exitAfter := flag.Duration("exit-after", 0, "end by itself after this long; 0: at Ctrl-C")
	workers := flag.Int("workers", 2, "number of workers")
	quiet := flag.Bool("quiet", false, "do not print the processes' logs")
	flag.Parse()
	// The second Ctrl-C ends at once: the signal is no longer caught then, and the children die with this process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *workers, *quiet, *exitAfter); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

var errMissing = errors.New("servers are missing")

func run(ctx context.Context, workers int, quiet bool, exitAfter time.Duration) error {
	if err := install(ctx); err != nil {
		return err
	}
	out := newPrinter(os.Stdout)
	out.say("building")
	bin, err := testkit.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(bin)
	programs, err := testkit.BuildPrograms(ctx, bin)
	if err != nil {
		return err
	}
	o := testkit.ClusterOptions{Programs: programs, Workers: workers}
	if !quiet {
		o.Output = out.process
	}
	out.say("starting MariaDB, Redis, nsqd, nsqlookupd, api, scheduler and %d workers", workers)
	c, err := testkit.StartCluster(ctx, o)
	if err != nil {
		return err
	}
	tour(out, c)
	wait(ctx, out, c, exitAfter)
	return end(out, c)
}

// install brings what is missing where it may.
func install(ctx context.Context) error {
	missing := testkit.MissingServers(ctx)
	if len(missing) == 0 {
		return nil
	}
	if err := (testkit.Installer{Out: os.Stderr}).Install(ctx, missing); err != nil {
		fmt.Fprintln(os.Stderr, "cluster: not installed:", err)
	}
	if missing = testkit.MissingServers(ctx); len(missing) > 0 {
		for _, m := range missing {
			fmt.Fprintln(os.Stderr, "cluster: missing:", m.What, "-", m.Err)
		}
		return errMissing
	}
	return nil
}

// wait reports processes that end until ctx does, or exitAfter has passed.
func wait(ctx context.Context, out *printer, c *testkit.Cluster, exitAfter time.Duration) {
	if exitAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, exitAfter)
		defer cancel()
	}
	for _, p := range append(c.Processes(), c.MariaDB.Process, c.Redis.Process, c.NSQD[0].Process, c.Lookupd.Process) {
		go func() {
			select {
			case <-p.Done():
				if ctx.Err() == nil {
					out.say("%s (pid %d) has ended: exit code %d (-1: by a signal). The others go on.", p.Name(), p.PID(), p.ExitCode())
				}
			case <-ctx.Done():
			}
		}()
	}
	<-ctx.Done()
}

// end drains everything, whatever already ended, and removes the folder.
func end(out *printer, c *testkit.Cluster) error {
	out.say("draining; once more Ctrl-C ends at once")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := errors.Join(c.Drain(ctx), c.Close())
	if err == nil {
		out.say("everything is stopped and removed")
	}
	return err
}
