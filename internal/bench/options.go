package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options bound a run. Use Defaults or Quick and change what is needed.
type Options struct {
	Rounds    int            // 1 … 25
	Processes map[string]int // name → process id of servers whose processor time is shown; this process is added
	Progress  io.Writer      // gets a line per step; nil: none
	Only      []string       // the steps to take, of Steps; empty: all of them
	Purge     bool           // old tasks are deleted meanwhile, from the beginning of the rounds on

	Submit       time.Duration // each way of submitting
	Yard         time.Duration // each yardstick
	Steady       time.Duration // each way of steady work
	Latency      time.Duration // pickup, and delays spread over time
	Drain        int           // tasks drained
	Callbacks    int           // HTTP tasks drained
	Instant      int           // tasks due in one instant
	InstantAhead time.Duration // how long before it they are submitted
	Cancels      int           // tasks cancelled
	Backlog      int           // tasks of app A that app B meets; 0: no fairness run
	Schedules    int           // schedules that fire each second
	Sleeping     int           // schedules that sleep; 0: their cost is not measured
	Idle         time.Duration // of an idle system, twice
	Slots        int           // of the worker, but for the fairness run, which has 8
	Known        time.Duration // after this everybody knows of a new or a paused queue
	Learned      time.Duration // after this the schedulers know how long the tasks of a queue run
	Patience     time.Duration // tasks not done after this are lost
}

// Defaults are what the published figures are made with. About five minutes on two cores.
func Defaults() Options {
	return Options{Rounds: 3, Submit: 500 * time.Millisecond, Yard: 1500 * time.Millisecond, Steady: 3 * time.Second, Latency: 4 * time.Second,
		Drain: 50_000, Callbacks: 15_000, Instant: 10_000, InstantAhead: 3 * time.Second, Cancels: 200, Backlog: 100_000, Slots: 256,
		Schedules: 1_000, Sleeping: 100_000, Idle: 10 * time.Second,
		Known: time.Second, Learned: 5 * time.Second, Patience: time.Minute}
}

// Quick shows within half a minute whether everything works. Its figures are rough.
func Quick() Options {
	return Options{Rounds: 1, Submit: 250 * time.Millisecond, Yard: 500 * time.Millisecond, Steady: time.Second, Latency: time.Second,
		Drain: 10_000, Callbacks: 3_000, Instant: 2_000, InstantAhead: 2500 * time.Millisecond, Cancels: 50, Backlog: 20_000, Slots: 256,
		Schedules: 1_000, Sleeping: 5_000, Idle: 2 * time.Second,
		Known: time.Second, Learned: 5 * time.Second, Patience: 30 * time.Second}
}

// Steps are the names of what a round measures, in order, and of the fairness run that follows the rounds. Goals that are
// ratios need StepYardsticks, and those of the instant StepDrain.
const (
	StepYardsticks = "yardsticks"
	StepSubmit     = "submit"
	StepDrain      = "drain"
	StepSteady     = "steady"
	StepCallbacks  = "callbacks"
	StepPickup     = "pickup"
	StepDelays     = "delays"
	StepCancel     = "cancel"
	StepSchedules  = "schedules"
	StepFairness   = "fairness"
)

// Steps lists what may stand in Options.Only.
func Steps() []string {
	return []string{StepYardsticks, StepSubmit, StepDrain, StepSteady, StepCallbacks, StepPickup, StepDelays, StepCancel, StepSchedules, StepFairness}
}

// takes reports whether a step is to be taken.
func (o Options) takes(step string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, step) }

// check names the first setting that cannot be.
func (o Options) check() error {
	if o.Rounds < 1 || o.Rounds > maxRounds {
		return fmt.Errorf("rounds: must be 1 to %d, is %d", maxRounds, o.Rounds)
	}
	for _, step := range o.Only {
		if !slices.Contains(Steps(), step) {
			return fmt.Errorf("only: %q is no step: use %s", step, strings.Join(Steps(), ", "))
		}
	}
	return nil
}

const maxRounds = 25
