package bench

import (
	"context"
	"fmt"
	"time"
)

// fairSlots are the slots of the fairness run's worker.
const fairSlots = 8

// fairness measures how long 10 tasks of app B take while app A has a big backlog of 10 ms tasks on few slots, in the same
// lane. What is left of A's backlog stays paused.
func (b *bench) fairness(ctx context.Context, open Opener) (err error) {
	began := time.Now()
	sys, err := open(ctx, Settings{Slots: fairSlots, Runner: b.runner})
	if err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	b.sys = sys
	defer func() {
		if cerr := closeSystem(ctx, sys); err == nil {
			err = cerr
		}
	}()
	if b.client, err = sys.Client(ctx, "bench-a"); err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	small, err := sys.Client(ctx, "bench-b")
	if err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	const queue = "bench-fair"
	if _, err := b.fill(ctx, queue, b.o.Backlog, Task{Kind: Kind, Payload: pad(`{"ms":10,"pad":"`)}); err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	f := b.rep.figure(fairFigure, "ms")
	for range b.o.Rounds {
		if err := b.meet(ctx, f, small, queue); err != nil {
			return fmt.Errorf("fairness: %w", err)
		}
	}
	b.progress("fairness, %.1f s", time.Since(began).Seconds())
	if err := sys.Pause(ctx, queue); err != nil {
		return fmt.Errorf("fairness: %w", err)
	}
	return nil
}

// meet submits B's tasks and waits until they are done.
func (b *bench) meet(ctx context.Context, f *Figure, small Client, queue string) error {
	tasks := make([]Task, 10)
	for i := range tasks {
		tasks[i] = Task{Kind: Kind, Queue: queue, Payload: noop}
	}
	began := time.Now()
	ids, err := small.Submit(ctx, tasks...)
	if err != nil {
		return err
	}
	var s span
	s.add(ids...)
	got, err := settle(ctx, b.sys, s, b.o.Patience, 2*time.Millisecond)
	if err != nil {
		return err
	}
	f.add(ms(time.Since(began)))
	b.rep.fate(f, s, got)
	return pause(ctx, time.Second) // the next ten meet the backlog anew
}
