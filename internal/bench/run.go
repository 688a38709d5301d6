package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Run measures what open opens and reports. An error means that something did not work, not that it was slow; figures
// that were taken before it are in the report.
func Run(ctx context.Context, o Options, open Opener) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := newRunner()
	sys, err := open(ctx, Settings{Slots: o.Slots, Runner: r, Purge: o.Purge})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	rep := newReport(sys, o)
	b := &bench{o: o, sys: sys, runner: r, rep: rep}
	err = b.rounds(ctx)
	if cerr := closeSystem(ctx, sys); err == nil {
		err = cerr
	}
	if err == nil && o.Backlog > 0 && o.takes(StepFairness) {
		err = b.fairness(ctx, open)
	}
	rep.finish()
	if err != nil {
		return rep, fmt.Errorf("bench: %w", err)
	}
	return rep, nil
}

// bench is one run.
type bench struct {
	o      Options
	sys    System
	runner *runner
	rep    *Report
	client Client
	round  int
}

// step is one thing that is measured in every round.
type step struct {
	name string
	do   func(context.Context) error
}

func (b *bench) rounds(ctx context.Context) error {
	var err error
	if b.client, err = b.sys.Client(ctx, "bench"); err != nil {
		return fmt.Errorf("make app: %w", err)
	}
	if err := b.warm(ctx); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	for b.round = range b.o.Rounds {
		for _, s := range []step{
			{StepYardsticks, b.yardsticks}, {StepSubmit, b.submits}, {StepDrain, b.drain}, {StepSteady, b.steady},
			{StepCallbacks, b.callbacks}, {StepPickup, b.pickup}, {StepDelays, b.delays}, {StepCancel, b.cancels}, {StepSchedules, b.schedules},
		} {
			if !b.o.takes(s.name) {
				continue
			}
			began := time.Now()
			if err := s.do(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			b.progress("round %d of %d: %s, %.1f s", b.round+1, b.o.Rounds, s.name, time.Since(began).Seconds())
		}
	}
	return nil
}

// latencyQueue is the queue of everything that measures latencies: one that every worker has known for a while.
const latencyQueue = "bench-latency"

// warm runs some tasks in every queue so that lanes, connections and pools are there, and waits until the system has
// learned what they are like: a new queue is served within a second, not at once, and how large the batches of its tasks
// may be follows from how long they run. Queues live for months; what is measured is one that is known.
func (b *bench) warm(ctx context.Context) error {
	for _, name := range []string{latencyQueue, queue("submit"), queue("drain"), queue("steady")} {
		s, err := b.fill(ctx, name, 1_000, Task{Kind: Kind, Payload: noop})
		if err != nil {
			return err
		}
		if err := b.account(ctx, nil, s); err != nil {
			return err
		}
	}
	return pause(ctx, b.o.Learned)
}

// hold pauses a queue and waits until that is known everywhere. It gives the count of runs so far: what is submitted from
// now on waits.
func (b *bench) hold(ctx context.Context, queue string) (ran int64, err error) {
	if err := b.sys.Pause(ctx, queue); err != nil {
		return 0, fmt.Errorf("pause: %w", err)
	}
	return b.runner.ran.Load(), pause(ctx, b.o.Known)
}

func (b *bench) progress(format string, args ...any) {
	if b.o.Progress != nil {
		fmt.Fprintf(b.o.Progress, format+"\n", args...)
	}
}

// queue names a queue; the rounds share it.
func queue(what string) string { return "bench-" + what }

// account waits until the span is done and adds what became of it to the figure.
func (b *bench) account(ctx context.Context, f *Figure, s span) error {
	got, err := settle(ctx, b.sys, s, b.o.Patience, 50*time.Millisecond)
	if err != nil {
		return err
	}
	b.rep.fate(f, s, got)
	return nil
}

// batchSize is how many tasks the bench submits at once.
const batchSize = 500

// fill submits n tasks like t by batches from two callers.
func (b *bench) fill(ctx context.Context, queue string, n int, t Task) (span, error) {
	t.Queue = queue
	batch := make([]Task, batchSize)
	for i := range batch {
		batch[i] = t
	}
	perCaller := make(submitted, 2)
	left := make(chan int, n/batchSize+1)
	for rest := n; rest > 0; rest -= batchSize {
		left <- min(rest, batchSize)
	}
	close(left)
	errs := make(chan error, 2)
	for i := range 2 {
		go func() {
			for size := range left {
				ids, err := b.client.Submit(ctx, batch[:size]...)
				if err != nil {
					errs <- err
					return
				}
				perCaller[i].add(ids...)
			}
			errs <- nil
		}()
	}
	err := errors.Join(<-errs, <-errs)
	return perCaller.all(), err
}

// closeSystem ends a system even when ctx has ended.
func closeSystem(ctx context.Context, sys System) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := sys.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// processes are the processes whose processor time is shown.
func (o Options) processes() map[string]int {
	all := map[string]int{"taskweir (with clients)": os.Getpid()}
	for name, pid := range o.Processes {
		all[name] = pid
	}
	return all
}
