package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/usage"
)

// Spec is one round of one system.
type Spec struct {
	Options   Options           `json:"options"`
	Addrs     map[string]string `json:"addrs"`
	Processes map[string]int    `json:"processes"` // of the servers
	Dir       string            `json:"dir"`       // of this round alone
	Memory    bool              `json:"memory"`    // measure memory and nothing else
	Only      []string          `json:"only"`      // the measures to take; empty: all
	Profile   string            `json:"profile"`   // file for a CPU profile of the measures; empty: none
	Progress  io.Writer         `json:"-"`
}

// Round opens the adapter and takes every measure. Figures that were taken before an error are in the result.
func Round(ctx context.Context, a system.Adapter, spec Spec) (_ *Result, err error) {
	r := &round{o: spec.Options, spec: spec, adapter: a, rec: newRecorder(), hasBulk: map[bool]bool{}, res: &Result{Modules: modules(a.Modules)}}
	recv, err := newReceiver(r.rec)
	if err != nil {
		return r.res, err
	}
	defer recv.close()
	r.rec.url.Store(&recv.url)
	r.url, r.recv = recv.url, recv
	if r.sys, err = a.Open(ctx, spec.Addrs, spec.Dir, r.rec); err != nil {
		return r.res, fmt.Errorf("open %s: %w", a.Name, err)
	}
	defer func() {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if cerr := r.sys.Close(within); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close %s: %w", a.Name, cerr))
		}
	}()
	stop, err := startProfile(spec.Profile)
	if err != nil {
		return r.res, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, m := range r.measures() {
		if !r.takes(m.name) {
			continue
		}
		began := time.Now()
		if err := m.take(ctx); err != nil {
			return r.res, fmt.Errorf("%s, %s: %w", a.Name, m.name, err)
		}
		r.say("%s, %.1f s", m.name, time.Since(began).Seconds())
		if err := pause(ctx, r.o.Settle); err != nil {
			return r.res, err
		}
	}
	return r.res, nil
}

// say tells how far the round is.
func (r *round) say(format string, args ...any) {
	if r.spec.Progress != nil {
		fmt.Fprintf(r.spec.Progress, "  %s: %s\n", r.adapter.Name, fmt.Sprintf(format, args...))
	}
}

// round is one round under way.
type round struct {
	o       Options
	spec    Spec
	adapter system.Adapter
	sys     system.System
	rec     *recorder
	res     *Result
	url     string        // of the receiver
	recv    *receiver     //
	hasBulk map[bool]bool // whether the system takes tasks in bulk, for now and delayed
	number  atomic.Int64  // of the last task
}

// startProfile writes a CPU profile of this process until it is stopped.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// The measure that nothing goes without.
const warmUp = "warm up"

// Measures are what may stand in Spec.Only.
func Measures() []string {
	var names []string
	for _, m := range (&round{}).measures() {
		if m.name != warmUp {
			names = append(names, m.name)
		}
	}
	return append(names, "memory")
}

func (r *round) takes(name string) bool {
	return len(r.spec.Only) == 0 || name == warmUp || slices.Contains(r.spec.Only, name)
}

// measure is one thing that is measured.
type measure struct {
	name string
	take func(context.Context) error
}

// measures are those that the adapter takes part in, in order.
func (r *round) measures() []measure {
	switch {
	case r.spec.Memory:
		return []measure{{warmUp, r.warm}, {"memory", r.memory}}
	case r.adapter.Tuned != "":
		all := []measure{{warmUp, r.warm}}
		if r.adapter.Throughput {
			all = append(all, measure{"drain", r.drain}, measure{"steady", r.steady}, measure{"callbacks", r.callbacks})
		}
		return append(all, measure{"pickup", r.pickup}, measure{"instant", r.instants}, measure{"spread", r.spread})
	}
	return []measure{{warmUp, r.warm}, {"submit", r.submits}, {"drain", r.drain}, {"steady", r.steady}, {"HTTP", r.http},
		{"callbacks", r.callbacks}, {"pickup", r.pickup}, {"instant", r.instants}, {"spread", r.spread}, {"cancel", r.cancels}}
}

// section opens a section for the tasks that come, and lets the system count anew.
func (r *round) section(ctx context.Context, room int, times bool) (*section, error) {
	if err := r.sys.Mark(ctx); err != nil {
		return nil, fmt.Errorf("mark: %w", err)
	}
	s := newSection(r.number.Load()+1, room, times)
	r.rec.open.Store(s)
	return s, nil
}

// next makes a task.
func (r *round) next(kind system.Kind) system.Task {
	return system.Task{Number: r.number.Add(1), Kind: kind, URL: r.url}
}

// many makes tasks with consecutive numbers.
func (r *round) many(n int, kind system.Kind, due time.Time) []system.Task {
	last := r.number.Add(int64(n))
	tasks := make([]system.Task, n)
	for i := range tasks {
		tasks[i] = system.Task{Number: last - int64(n) + int64(i) + 1, Kind: kind, Due: due, URL: r.url}
	}
	return tasks
}

// submitted is how many tasks of the section were submitted.
func (r *round) submitted(s *section) int64 { return r.number.Load() - s.from + 1 }

// warm runs some tasks by each way, calls among them, so that connections and pools are there, and gives a system that learns from them
// time for it.
func (r *round) warm(ctx context.Context) error {
	s, err := r.section(ctx, 3*r.o.Warm+system.BulkSize, false)
	if err != nil {
		return err
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	for _, delayed := range []bool{false, true} {
		if err := r.askBulk(ctx, delayed); err != nil {
			return err
		}
	}
	tasks := r.o.Warm
	if r.adapter.Tuned != "" {
		tasks /= 10 // stock settings may take half a minute for all of them, and are shown by latencies only
	}
	if _, err := r.fill(ctx, tasks, system.Noop, time.Time{}); err != nil {
		return err
	}
	if _, err := r.fillSingly(ctx, tasks, system.Noop, time.Time{}); err != nil {
		return err
	}
	if !r.spec.Memory { // the connections of calls would be counted
		if _, err := r.fill(ctx, tasks, system.Call, time.Time{}); err != nil {
			return err
		}
	}
	if _, err := r.finish(ctx, warmUp, s); err != nil {
		return err
	}
	if !r.adapter.Learns {
		return nil
	}
	return pause(ctx, r.o.Learn)
}

func (r *round) work(ctx context.Context) error {
	if err := r.sys.Work(ctx); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	return nil
}

func (r *round) hold(ctx context.Context) error {
	if err := r.sys.Hold(ctx); err != nil {
		return fmt.Errorf("hold: %w", err)
	}
	return nil
}

// finish waits until every task of the section has ended on the system's record, notes what became of them, and gives the
// instant at which that was known.
func (r *round) finish(ctx context.Context, name string, s *section) (ended time.Duration, err error) {
	want := r.submitted(s)
	if err := r.handled(ctx, s, want); err != nil {
		return 0, err
	}
	fate := Fate{Measure: name, Submitted: want, Lost: want - s.handled.Load()}
	missing, ended, err := r.recorded(ctx, want-fate.Lost)
	if err != nil {
		return 0, err
	}
	fate.Lost, fate.Doubled = fate.Lost+missing, s.extra.Load()
	r.res.Fates = append(r.res.Fates, fate)
	return ended, nil
}

// recorded waits until n tasks of the section are on the system's record as ended, but not for ever. It gives how many are missing
// there, and the instant at which the wait was over.
func (r *round) recorded(ctx context.Context, n int64) (missing int64, ended time.Duration, err error) {
	within, cancel := context.WithTimeout(ctx, r.o.Patience)
	defer cancel()
	err = r.sys.Await(within, n)
	ended = r.rec.now()
	if err != nil && (ctx.Err() != nil || within.Err() == nil) {
		return 0, 0, fmt.Errorf("await: %w", err)
	}
	switch done, err := r.sys.Completed(ctx); {
	case err == nil:
		return max(0, n-done), ended, nil
	case !errors.Is(err, system.ErrNone):
		return 0, 0, fmt.Errorf("count completed: %w", err)
	}
	return 0, ended, nil
}

// handled waits until n tasks have started, or until none starts any more.
func (r *round) handled(ctx context.Context, s *section, n int64) error {
	seen, at := int64(-1), time.Now()
	for {
		now := s.handled.Load()
		if now >= n {
			return nil
		}
		if now != seen {
			seen, at = now, time.Now()
		}
		if time.Since(at) > r.o.Patience {
			return nil // the rest is lost, and is told so
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// cpu is the processor time that this process and all servers have used.
func (r *round) cpu() (map[string]time.Duration, error) {
	used := map[string]time.Duration{}
	for name, pid := range r.processes() {
		cpu, err := usage.CPU(pid)
		if err != nil {
			return nil, fmt.Errorf("processor time of %s: %w", name, err)
		}
		used[name] = cpu
	}
	return used, nil
}

// thisProcess is the name of this process: producer and worker, and whatever the system has in it.
const thisProcess = "client and worker"

func (r *round) processes() map[string]int {
	all := map[string]int{thisProcess: os.Getpid()}
	for name, pid := range r.spec.Processes {
		all[name] = pid
	}
	return all
}

// modules gives the versions of modules in this program.
func modules(paths []string) map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, path := range paths {
		for _, dep := range info.Deps {
			if dep.Path == path && dep.Replace == nil {
				versions[path] = dep.Version
			}
		}
	}
	return versions
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
