package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/task"
)

// The causes with which a handler's context ends (context.Cause).
var (
	// ErrTimeout: the task's own timeout, counted from the handler's start.
	ErrTimeout = errors.New("task timed out")
	// ErrCancelled: a client or person asked for it.
	ErrCancelled = errors.New("task cancelled")
	// ErrFenced: the task, or everything this worker holds, belongs to somebody else now.
	ErrFenced = errors.New("task fenced")
	// ErrDrained: the worker ends and its drain time is over.
	ErrDrained = errors.New("worker drained")
	// ErrKilled is what Run returns after Kill.
	ErrKilled = errors.New("worker killed")
)

// Clock is the database's clock, the only wall clock.
type Clock interface {
	// Now is the database's time in ms.
	Now() int64
	// NowMicros is the same in µs.
	NowMicros() int64
}

// Options configures an engine. Zero values take the defaults named with each field; Store, Source, Clock and at least one
// runner are required.
type Options struct {
	Store   Store
	Source  Source
	Live    Live            // nil: no live view; cancel then takes up to BeatEvery
	Ringer  Ringer          // nil: new bells are left to the lane's owner
	Changes task.ChangeSink // hears of attempts that begin; nil: nobody does
	Clock   Clock
	Runners []Runner

	Slots      int      // tasks that run at once; 256
	ShellSlots int      // of those, tasks of kind shell; 2 × CPUs
	Queues     []string // queues to serve; empty: all, new ones too

	DrainTime      time.Duration // what running tasks get after Drain; 10 s
	Grace          time.Duration // from the end of a context to zombie; 2 s
	ZombieAfter    time.Duration // from zombie to closed without its handler; 5 min
	BeatEvery      time.Duration // 3 s
	SelfFenceAfter time.Duration // without a good beat; 9 s
	LanesEvery     time.Duration // how often the table of lanes is read; 1 s
	LiveAfter      time.Duration // run time from which a task is in the live view; 200 ms
	HoldFor        time.Duration // how long a bell waits here for a slot, or for its time; 1 s
	GatherAtMost   time.Duration // longest that a claim of a backlog waits for more free slots; 5 ms
	WatchdogAfter  time.Duration // silence of an inlet before the database is asked whether that can be; 5 s

	MaxResults     int // results that wait for the flusher before nothing more is claimed; 2,000
	MaxResultBytes int // the same for what handlers returned, in bytes of results and logs; 32 MiB
	MaxFlush       int // endings per transaction; task.MaxFlushTasks

	Logger  *slog.Logger
	Metrics *metrics.Set
	Tracer  Tracer // nil: attempts are not traced
	Host    string // os.Hostname
	Version string
}

// shellKind is the one kind with a limit of its own (protocol section 3, "Slots and batches").
const shellKind = "shell"

// maxClaim bounds bells and tasks of one claim transaction.
const maxClaim = 500

// withDefaults checks what is required and fills in the rest.
func (o Options) withDefaults() (Options, error) {
	if o.Store == nil || o.Source == nil || o.Clock == nil {
		return o, errors.New("worker: store, source and clock are required")
	}
	if len(o.Runners) == 0 {
		return o, errors.New("worker: no runner")
	}
	seen := make(map[string]bool, len(o.Runners))
	for _, r := range o.Runners {
		if seen[r.Kind()] {
			return o, fmt.Errorf("worker: two runners for kind %q", r.Kind())
		}
		seen[r.Kind()] = true
	}
	setInt(&o.Slots, 256)
	setInt(&o.ShellSlots, 2*runtime.NumCPU())
	o.ShellSlots = min(o.ShellSlots, o.Slots)
	setInt(&o.MaxResults, 2_000)
	setInt(&o.MaxResultBytes, 32<<20)
	setInt(&o.MaxFlush, task.MaxFlushTasks)
	o.MaxFlush = min(o.MaxFlush, o.MaxResults)
	setTime(&o.DrainTime, 10*time.Second)
	setTime(&o.Grace, 2*time.Second)
	setTime(&o.ZombieAfter, 5*time.Minute)
	setTime(&o.BeatEvery, 3*time.Second)
	setTime(&o.SelfFenceAfter, 9*time.Second)
	setTime(&o.LanesEvery, time.Second)
	setTime(&o.LiveAfter, 200*time.Millisecond)
	setTime(&o.HoldFor, time.Second)
	setTime(&o.GatherAtMost, 5*time.Millisecond)
	setTime(&o.WatchdogAfter, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Host == "" {
		o.Host, _ = os.Hostname()
	}
	return o, nil
}

func setInt(p *int, v int) {
	if *p <= 0 {
		*p = v
	}
}

func setTime(p *time.Duration, v time.Duration) {
	if *p <= 0 {
		*p = v
	}
}
