package app

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/compat/goodjob"
	"github.com/taskweir/taskweir/internal/compat/serendipity"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/outbound"
	"github.com/taskweir/taskweir/internal/runner/basic"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/runner/shell"
	"github.com/taskweir/taskweir/internal/runner/system"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// checks are the built-in kinds, and how a payload of each is checked at submit.
func checks() map[string]func(payload []byte) []task.FieldError {
	return map[string]func(payload []byte) []task.FieldError{
		"http": httpcall.CheckHTTP, "callback": httpcall.CheckCallback,
		task.CompletionKind: httpcall.CheckCompletion, httpcall.ProbeKind: httpcall.CheckProbe, "shell": shell.Check, "sleep": basic.CheckSleep, "echo": nil,
		goodjob.Kind:     httpcall.CheckCallback,
		serendipity.Kind: httpcall.CheckCallback, serendipity.ResultKind: httpcall.CheckCompletion,
	}
}

// BuiltIn reports whether a kind is the platform's own: nobody else may run it.
func BuiltIn(kind string) bool {
	_, known := checks()[kind]
	return known || task.IsSystemKind(kind)
}

// ownKindsOnly reports whether this worker runs nothing but what was given to it.
func (a *App) ownKindsOnly() bool { return a.opts.OnlyRunners && a.cfg.Role == config.Worker }

// runners executes what this worker is allowed to.
func (a *App) runners() ([]worker.Runner, error) {
	if a.ownKindsOnly() {
		return a.opts.Runners, nil
	}
	client := outbound.New(outbound.Options{Allow: a.cfg.Outbound.Allow})
	a.life.onStop("outgoing connections", bound, func(context.Context) error { client.Close(); return nil })
	o := httpcall.Options{Client: client, Clock: a.clock, Metrics: a.metrics, UserAgent: "Taskweir/" + Version(), Gate: a.gate(), Tracer: a.callTracer()}
	callbacks := []*httpcall.Callback{httpcall.NewCallback(o, a.store, a.box)}
	for _, d := range a.dialects() {
		callbacks = append(callbacks, httpcall.NewCallbackKind(o, a.store, a.box, d))
	}
	rs := []worker.Runner{basic.Echo{}, basic.Sleep{}, httpcall.NewHTTP(o), httpcall.NewCompletion(o, a.store, a.box), httpcall.NewProbe(callbacks...),
		system.NewPurge(a.store, a.clock, a.log), system.NewRollup(a.store, a.clock)}
	for _, c := range callbacks {
		rs = append(rs, c)
	}
	if !a.cfg.Worker.Shell {
		return append(rs, a.opts.Runners...), nil
	}
	sh, err := shell.New(shell.Options{Grace: a.cfg.Worker.Grace / 2, Logger: a.log})
	if err != nil {
		return nil, err
	}
	return append(append(rs, sh), a.opts.Runners...), nil
}

// gate is what stands before the outgoing calls of all kinds of this worker.
func (a *App) gate() *httpcall.Gate {
	calls := a.cfg.Outbound.EndpointCalls
	if calls == 0 {
		calls = max(1, a.cfg.Worker.Slots/2)
	}
	return httpcall.NewGate(httpcall.GateOptions{Concurrency: calls, Legacy: a.cfg.Outbound.BreakerLegacy, Metrics: a.metrics, Logger: a.log})
}

func (a *App) startWorkerAtStart(ctx context.Context) error {
	if a.opts.NoWorker {
		return nil
	}
	return a.StartWorker(ctx)
}

// StartWorker starts the worker of this process. Once is enough; Start does it unless Options.NoWorker is set.
func (a *App) StartWorker(context.Context) error {
	o, err := a.busOptions()
	if err != nil {
		return err
	}
	// nsqd is to leave a silent worker alone before the schedulers declare it dead, which is 3/4 of DeadAfter after its
	// silence began at the earliest: a beat may have been a quarter old.
	o.SilentAfter = a.cfg.Liveness.DeadAfter * 2 / 3
	source := nsqbus.NewSource(a.directory, a.codec, o)
	a.life.onStop("source", bound, func(context.Context) error { source.Close(); return nil })
	rs, err := a.runners()
	if err != nil {
		return err
	}
	w := a.cfg.Worker
	a.engine, err = worker.New(worker.Options{
		Store: workerStore{a.store, a.table, a.ownKindsOnly()}, LanesEvery: 200 * time.Millisecond, Source: source, Live: a.redis, Ringer: a.ringer, Changes: a.changes, Clock: a.clock, Runners: rs,
		Slots: w.Slots, ShellSlots: w.ShellSlots, Queues: a.queues(),
		// No time at all is a choice here; to the engine it is one that was not made.
		DrainTime: max(a.cfg.DrainTime, time.Millisecond), Grace: max(w.Grace, time.Millisecond), ZombieAfter: w.ZombieAfter, BeatEvery: a.cfg.Liveness.Beat,
		SelfFenceAfter: a.cfg.Liveness.DeadAfter * 3 / 4,
		Logger:         a.log, Metrics: a.metrics, Tracer: a.runTracer(), Version: Version(),
	})
	if err != nil {
		return err
	}
	go a.runWorker()
	a.life.onStop("worker", a.cfg.DrainTime+2*time.Second, func(ctx context.Context) error {
		a.engine.Drain()
		select {
		case <-a.drained:
			return nil
		case <-ctx.Done():
			a.engine.Kill()
			return context.Cause(ctx)
		}
	})
	return nil
}

// queues are those that the worker serves; none are all.
func (a *App) queues() []string {
	if a.ownKindsOnly() {
		return a.cfg.Worker.Queues
	}
	return withSystem(a.cfg.Worker.Queues)
}

// withSystem adds the queue of the platform's own work to the queues that a worker was told to serve; none are all.
func withSystem(queues []string) []string {
	if len(queues) == 0 || slices.Contains(queues, task.SystemQueue) {
		return queues
	}
	return append(slices.Clone(queues), task.SystemQueue)
}

// workerStore answers the worker's question for lanes from the table that this process re-reads anyway, so that asking
// often, for the sake of the first task of a new queue, costs nothing.
type workerStore struct {
	*sqldb.Store
	table *bell.Table
	// strange leaves out the platform's own queue: this worker runs nothing of it, and what it took it would only give back.
	strange bool
}

// Lanes lists the lanes as of at most 200 ms ago.
func (s workerStore) Lanes(context.Context) ([]task.Lane, error) {
	all := s.table.All()
	if !s.strange {
		return all, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(l task.Lane) bool { return l.Queue == task.SystemQueue }), nil
}

// runWorker runs the engine to its end: drained by a signal or by the API, or killed.
func (a *App) runWorker() {
	defer close(a.drained)
	if err := a.engine.Run(context.Background()); err != nil && !errors.Is(err, worker.ErrKilled) {
		a.fail(err)
		return
	}
	if a.cfg.Role == config.Standalone {
		a.log.Info("worker drained: nothing is executed until the next start")
	}
}
