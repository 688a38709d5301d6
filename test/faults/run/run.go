// Package run lets a plan happen: a cluster, a load, round after round of faults, and in the end the check of the whole history.
//
// # What is measured
//
// When the faults of a round are over, a probe task is submitted, and the run waits until it and every task that ran when one
// of the faults struck is final. A fault's time to recover is the longest of these: from the end of the round to the end of the probe, and to
// the end of the last task that ran anywhere when the fault struck; and from the fault's own beginning or end (faults.Result.From) to the
// end of the last task of the workers that it hurt, unless another heavy fault of the round was in the way: then those count from the end of
// the round too. How long a process takes from its start until it is ready is measured on its own, and bounded by the same 20 s.
//
// # What is a failure
//
// Everything that the checker finds; a process that ended without being hurt; a report of the race detector, a panic or a fatal error
// in any log; a recovery that took longer than 20 s; what a fault itself asserts (a worker was declared dead because the
// database was away). A fault that the harness could not do is one too: a table must not count what did not happen.
package run

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/load"
	"github.com/taskweir/taskweir/test/faults/plan"
)

const (
	// RecoverWithin is how long a recovery may take.
	RecoverWithin = 20 * time.Second
	// waitsFor is how long a recovery is waited for, so that its time is known.
	waitsFor = 90 * time.Second
	// settlesWithin bounds the wait for the last task.
	settlesWithin = 2 * time.Minute
	// warmUp is how long the load runs before the first fault.
	warmUp = 3 * time.Second
)

// Options say what is run.
type Options struct {
	Name     string
	Plan     *plan.Plan
	Pace     faults.Pace
	Seed     uint64                                 // of the load
	Rate     float64                                // tasks a second
	Programs func(unit string) testkit.Programs     // built with the tag faults
	Enough   func(faults int, d time.Duration) bool // asked after each round
	Clocks   bool                                   // the plan moves clocks: see faults.Ahead
	Evidence string                                 // where logs and history go when something is wrong
	Log      io.Writer                              // one line for each round
}

// Outcome is what became of a run.
type Outcome struct {
	Name    string
	Pace    faults.Pace
	Results []*faults.Result
	Report  *history.Report
	Broken  []string // failures that are not the checker's
	Took    time.Duration
}

// OK reports whether nothing is wrong.
func (o *Outcome) OK() bool { return len(o.Broken) == 0 && o.Report != nil && o.Report.OK() }

// Faults counts what was injected.
func (o *Outcome) Faults() (n int) {
	for _, r := range o.Results {
		n += r.Times
	}
	return n
}

// run is one under way.
type run struct {
	Options
	began time.Time
	c     *cluster.Cluster
	load  *load.Load
	probe *prober

	ahead     *history.Fault // of the end
	submitted time.Duration  // how long there was a load
	out       *Outcome
}

func (r *run) now() time.Duration { return time.Since(r.began) }

// Do lets the plan happen. An error means that there was no run; what went wrong in it stands in the outcome.
func Do(ctx context.Context, o Options) (*Outcome, error) {
	r := &run{Options: o, began: time.Now(), out: &Outcome{Name: o.Name, Pace: o.Pace}}
	if err := r.start(ctx); err != nil {
		return nil, err
	}
	sleep(ctx, warmUp)
	failed := r.rounds(ctx)
	if o.Clocks {
		f, err := faults.Ahead(ctx, r.c, r.now)
		r.ahead, failed = &f, errors.Join(failed, err)
		sleep(ctx, faults.ClockRead) // everybody has seen it
	}
	r.submitted = r.now()
	h, stopped := r.load.Stop(ctx, settlesWithin)
	r.finish(h, errors.Join(failed, stopped))
	r.out.Took = r.now()
	if !r.out.OK() {
		if err := r.keep(h); err != nil {
			r.broken("the evidence could not be kept: %v", err)
		}
	}
	return r.out, r.c.Close()
}

func (r *run) start(ctx context.Context) error {
	port, err := testkit.FreePort()
	if err != nil {
		return err
	}
	sink := testkit.Loopback(port)
	if r.c, err = cluster.Start(ctx, cluster.Options{Programs: r.Programs, Sink: sink, Now: r.now,
		Env: append(r.Pace.Env(), "TASKWEIR_DRAIN_TIME=5s")}); err != nil {
		return err
	}
	r.load, err = load.Start(ctx, load.Options{Shifting: r.Clocks, APIs: r.c.APIs(), Key: r.c.Keys.Bootstrap, Database: r.c.DatabaseURL(), Seed: r.Seed,
		Rate: r.Rate, Fence: true, Sink: sink, SinkURL: r.c.SinkURL(), Began: r.began})
	if err != nil {
		return errors.Join(err, r.c.Close())
	}
	r.probe = &prober{apis: r.c.Direct(), key: r.c.Keys.Bootstrap, url: r.c.SinkURL() + "/probe"}
	return nil
}

// rounds does the plan's rounds until it is enough.
func (r *run) rounds(ctx context.Context) error {
	from := r.now()
	for !r.Enough(r.out.Faults(), r.now()-from) {
		if err := r.round(ctx, r.Plan.Next()); err != nil {
			return err
		}
	}
	return nil
}

// round does the faults of one round, all at once, and measures the recovery.
func (r *run) round(ctx context.Context, round plan.Round) error {
	results := make([]*faults.Result, len(round.Injections))
	var wg sync.WaitGroup
	for i, injection := range round.Injections {
		wg.Go(func() { results[i] = r.Plan.Kind(injection.Kind).Do(ctx, r.c, r.Pace, r.now, injection) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("round %d: %w", round.N, context.Cause(ctx))
	}
	took, failed := r.recovery(ctx, results)
	if failed != nil {
		r.broken("round %d did not recover: %v\n%s", round.N, failed, round)
	}
	for _, res := range results {
		if res.Check != nil && ctx.Err() == nil {
			res.Broken = append(res.Broken, res.Check(ctx)...)
		}
		for _, b := range res.Broken {
			r.broken("round %d: %s", round.N, b)
		}
		if res.Err != nil {
			r.broken("round %d: a fault could not be done: %v", round.N, res.Err)
		}
	}
	r.note(round, results, took)
	return failed
}

// note keeps the results and tells how the round went.
func (r *run) note(round plan.Round, results []*faults.Result, took time.Duration) {
	n, names := 0, ""
	for _, res := range results {
		n += res.Times
		names += fmt.Sprintf(" %s ×%d (%v);", res.Injection.Kind, res.Times, res.Recovered.Round(10*time.Millisecond))
	}
	r.out.Results = append(r.out.Results, results...)
	accepted, effects := r.load.Progress()
	fmt.Fprintf(r.Log, "%s %7v round %d: %d faults, well after %v; %d so far, %d tasks, %d effects:%s\n", r.Name, r.now().Round(100*time.Millisecond), round.N, n,
		took.Round(10*time.Millisecond), r.out.Faults(), accepted, effects, names)
}

func (r *run) broken(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.out.Broken = append(r.out.Broken, text)
	fmt.Fprintf(r.Log, "%s %7v BROKEN %s\n", r.Name, r.now().Round(100*time.Millisecond), text)
}

// finish checks the history and looks through the logs.
func (r *run) finish(h *history.History, failed error) {
	if failed != nil {
		r.broken("the run was not finished: %v", failed)
	}
	for _, s := range r.c.Surprises() {
		r.broken("%s", s)
	}
	for _, line := range Alarms(r.c.Logs()) {
		r.broken("%s", line)
	}
	if h == nil {
		return
	}
	for i, res := range r.out.Results {
		if res.Times == 0 {
			continue
		}
		f := res.Fault
		f.N, f.Recovered = i+1, res.Recovered
		h.Faults = append(h.Faults, f)
	}
	if r.ahead != nil {
		r.ahead.N = len(r.out.Results) + 1
		h.Faults = append(h.Faults, *r.ahead)
	}
	for _, u := range r.c.Units() {
		if u.Role.Ours() {
			h.Processes = append(h.Processes, u.Lives()...)
		}
	}
	h.Beat = r.Pace.Beat
	r.out.Report = history.Check(h)
	r.enough()
}

// leastTasks is the part of the load's rate that must have been taken, whatever the faults: what nobody asked for, or was always refused,
// proves nothing.
const leastTasks = 0.1

// enough wants the run to have had a load.
func (r *run) enough() {
	least := leastTasks * r.Rate * r.submitted.Seconds()
	if got := r.out.Report.Tasks; float64(got) < least {
		r.broken("only %d tasks were accepted in %v; at least %.0f were to be", got, r.submitted.Round(time.Second), least)
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
