package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/report"
	"github.com/taskweir/taskweir/test/peers/system"
)

// lead starts the servers of all systems, takes the rounds, interleaved, and reports.
type lead struct {
	o       options
	sizes   measure.Options
	errs    io.Writer
	dir     string
	systems []*running
	began   time.Time

	profiles int // written so far
}

// running is a system whose servers are up.
type running struct {
	system.Adapter
	servers system.Servers // nil: it has none
	report  *report.System
}

// run is the whole comparison. What was measured before an error is in the report.
func run(ctx context.Context, o options, errs io.Writer) (_ *report.Report, err error) {
	l := &lead{o: o, sizes: o.sizes(), errs: errs, began: time.Now()}
	list, err := chosen(o.systems)
	if err != nil {
		return nil, err
	}
	if err := l.install(ctx, list); err != nil {
		return nil, err
	}
	if l.dir, err = testkit.TempDir(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	rep := report.New(o.rounds, l.sizes)
	if rep.Machine.Disk, err = testkit.DiskOf(l.dir); err != nil {
		return nil, err
	}
	if err := rep.Machine.Disk.Durable(); err != nil && o.write {
		return nil, fmt.Errorf("%s: %w", l.dir, err)
	}
	for _, a := range list {
		s, err := l.serve(ctx, a)
		if err != nil {
			return rep, err
		}
		rep.Systems = append(rep.Systems, s.report)
		l.say("%s: %s", s.Title, s.report.Servers())
	}
	err = l.rounds(ctx)
	rep.Finish(time.Since(l.began))
	return rep, err
}

// installAll installs the servers of the chosen systems.
func installAll(ctx context.Context, o options, errs io.Writer) error {
	list, err := chosen(o.systems)
	if err != nil {
		return err
	}
	return (&lead{errs: errs}).install(ctx, list)
}

// install installs what is missing, and fails when something still is.
func (l *lead) install(ctx context.Context, list []system.Adapter) error {
	missing := missingFor(ctx, list)
	if len(missing) == 0 {
		return nil
	}
	if err := (testkit.Installer{Out: l.errs}).Install(ctx, missing); err != nil {
		l.say("not installed: %v", err)
	}
	var errs []error
	for _, m := range missingFor(ctx, list) {
		errs = append(errs, errors.New(m.String()))
	}
	return errors.Join(errs...)
}

// missingFor lists what is missing, each package once.
func missingFor(ctx context.Context, list []system.Adapter) []testkit.Missing {
	var all []testkit.Missing
	seen := map[string]bool{}
	for _, a := range list {
		if a.Missing == nil {
			continue
		}
		for _, m := range a.Missing(ctx) {
			if !seen[m.What] {
				seen[m.What] = true
				all = append(all, m)
			}
		}
	}
	return all
}

// serve starts the servers of one system.
func (l *lead) serve(ctx context.Context, a system.Adapter) (*running, error) {
	s := &running{Adapter: a, report: report.NewSystem(a)}
	if a.Serve == nil {
		l.systems = append(l.systems, s)
		return s, nil
	}
	within, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	dir := filepath.Join(l.dir, a.Name)
	if err := os.Mkdir(dir, 0o755); err != nil { // a server may run as another user
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	var err error
	if s.servers, err = a.Serve(within, dir); err != nil {
		return nil, fmt.Errorf("start the servers of %s: %w", a.Name, err)
	}
	l.systems = append(l.systems, s)
	if s.report.Versions, err = s.servers.Versions(within); err != nil {
		return nil, fmt.Errorf("versions of %s: %w", a.Name, err)
	}
	return s, nil
}

// rounds takes every round of every system: the first of all, then the second of all. The machine's mood changes by the minute,
// and so it meets all of them. Memory comes last: it leaves a million tasks behind.
func (l *lead) rounds(ctx context.Context) error {
	for i := range l.o.rounds {
		if slices.Equal(l.o.only, []string{"memory"}) {
			break
		}
		for _, s := range l.order(i) {
			l.say("round %d of %d: %s (%s since the start)", i+1, l.o.rounds, s.Title, time.Since(l.began).Round(time.Second))
			if l.round(ctx, s, false); ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	for _, s := range l.systems {
		if s.Tuned != "" || l.o.noMemory || len(l.o.only) > 0 && !slices.Contains(l.o.only, "memory") {
			continue
		}
		l.say("memory: %s (%s since the start)", s.Title, time.Since(l.began).Round(time.Second))
		if l.round(ctx, s, true); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// order turns by one in each round, so that no system always comes after the same one.
func (l *lead) order(round int) []*running {
	n := len(l.systems)
	turned := make([]*running, 0, n)
	for i := range n {
		turned = append(turned, l.systems[(i+round*n/l.o.rounds)%n])
	}
	return turned
}

// round takes one round. When it fails, the report says so, and the others go on.
func (l *lead) round(ctx context.Context, s *running, memory bool) {
	spec := measure.Spec{Options: l.sizes, Memory: memory, Only: l.o.only}
	if l.o.profiles != "" {
		l.profiles++
		spec.Profile = filepath.Join(l.o.profiles, fmt.Sprintf("%02d-%s.pprof", l.profiles, s.Name))
	}
	if s.servers != nil {
		spec.Addrs, spec.Processes = s.servers.Addrs(), s.servers.Processes()
	}
	got, err := start(ctx, s.Adapter, spec, l.dir, l.errs)
	if got != nil {
		s.report.Add(got)
	}
	if err != nil {
		s.report.Errors = append(s.report.Errors, err.Error())
		l.say("%v", err)
	}
}

// stop ends all servers and removes their folders.
func (l *lead) stop() error {
	var errs []error
	for _, s := range l.systems {
		if s.servers != nil {
			errs = append(errs, s.servers.Stop())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

func (l *lead) say(format string, args ...any) { fmt.Fprintf(l.errs, "peers: "+format+"\n", args...) }
