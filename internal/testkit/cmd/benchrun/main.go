// Command benchrun is "make bench": it runs "taskweir bench" on embedded parts, and then on a private MariaDB, Redis, nsqd and
// nsqlookupd with their default durability, and shows what a standalone costs that has nothing to do.
//
// The bench itself is part of the product (see internal/bench); this command adds the servers. It fails when something did
// not work or a task was lost, never because something was slow.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "rough figures within two minutes")
	flag.IntVar(&o.rounds, "rounds", 0, "rounds whose median is shown; 0: the bench's own default")
	flag.StringVar(&o.output, "o", "markdown", "markdown or json")
	flag.StringVar(&o.only, "only", "", "standalone or servers; empty: both")
	flag.StringVar(&o.steps, "steps", "", "measure only these, a comma list; empty: everything (see taskweir bench --only)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "benchrun:", err)
		os.Exit(1)
	}
}

type options struct {
	quick               bool
	rounds              int
	output, only, steps string
}

// results is what is printed.
type results struct {
	Idle    *idle           `json:"idle,omitempty"`
	Systems []*bench.Report `json:"systems"`
	// Takeover is measured with the servers.
	Takeover *takeover `json:"takeover,omitempty"`
}

var (
	errUsage = errors.New("-o is markdown or json, -only is standalone or servers")
	errFate  = errors.New("tasks were lost or started early, or slots are missing or doubled")
)

func run(ctx context.Context, o options) error {
	if o.output != "markdown" && o.output != "json" || o.only != "" && o.only != "standalone" && o.only != "servers" {
		return errUsage
	}
	dir, err := testkit.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintln(os.Stderr, "benchrun: building")
	if err := testkit.Build(ctx, dir, "./cmd/taskweir"); err != nil {
		return err
	}
	r, err := measure(ctx, o, testkit.Programs{Dir: dir})
	if perr := r.print(o); err == nil {
		err = perr
	}
	return err
}

func measure(ctx context.Context, o options, p testkit.Programs) (*results, error) {
	var r results
	if o.only != "servers" {
		var err error
		if r.Idle, err = measureIdle(ctx, o, p); err != nil {
			return &r, err
		}
		if err := r.embedded(ctx, o, p); err != nil {
			return &r, err
		}
	}
	if o.only != "standalone" {
		if err := r.servers(ctx, o, p); err != nil {
			return &r, err
		}
		if o.steps == "" || slices.Contains(strings.Split(o.steps, ","), "schedules") {
			rounds := 3
			if o.quick {
				rounds = 1
			}
			var err error
			if r.Takeover, err = measureTakeover(ctx, p, rounds); err != nil {
				return &r, err
			}
			if r.Takeover.Missing > 0 || r.Takeover.Doubled > 0 {
				return &r, errFate
			}
		}
	}
	for _, rep := range r.Systems {
		if rep.Lost > 0 || rep.Early > 0 {
			return &r, fmt.Errorf("%s: %w", rep.System, errFate)
		}
	}
	return &r, nil
}

func (r *results) embedded(ctx context.Context, o options, p testkit.Programs) error {
	fmt.Fprintln(os.Stderr, "benchrun: embedded parts")
	rep, err := runBench(ctx, o, p, nil, nil)
	if rep != nil {
		r.Systems = append(r.Systems, rep)
	}
	return err
}

func (r *results) servers(ctx context.Context, o options, p testkit.Programs) (err error) {
	missing := testkit.MissingServers(ctx)
	if len(missing) > 0 {
		if ierr := (testkit.Installer{Out: os.Stderr}).Install(ctx, missing); ierr != nil {
			fmt.Fprintln(os.Stderr, "benchrun: not installed:", ierr)
		}
	}
	fmt.Fprintln(os.Stderr, "benchrun: MariaDB, Redis, nsqd and nsqlookupd")
	s, err := testkit.StartServers(ctx, testkit.ServersOptions{MariaDB: testkit.MariaDBOptions{BufferPoolMiB: 512, LogFileMiB: 256}})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	const database = "taskweir_bench"
	if err := s.MariaDB.CreateDatabase(ctx, database); err != nil {
		return err
	}
	processes := []string{fmt.Sprintf("mariadbd=%d", s.MariaDB.PID()), fmt.Sprintf("redis=%d", s.Redis.PID()), fmt.Sprintf("nsqd=%d", s.NSQD[0].PID())}
	rep, err := runBench(ctx, o, p, s.Env(database), processes)
	if rep != nil {
		r.Systems = append(r.Systems, rep)
	}
	return err
}

func (r *results) print(o options) error {
	if o.output == "json" {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	if r.Idle != nil {
		r.Idle.markdown(os.Stdout)
	}
	for _, rep := range r.Systems {
		if err := rep.Markdown(os.Stdout); err != nil {
			return err
		}
		fmt.Println()
	}
	if r.Takeover != nil {
		r.Takeover.markdown(os.Stdout)
	}
	return nil
}
