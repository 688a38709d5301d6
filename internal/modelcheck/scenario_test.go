package modelcheck_test

import (
	"github.com/taskweir/taskweir/internal/task"
)

// againID is added to the id of a task when it is submitted again with the same idempotency key.
const againID = 10

// scenario is what is submitted and what may happen, each at most so often. Bounded so, the states are finite, and all of them are
// visited.
type scenario struct {
	name     string
	tasks    []submission
	together bool // all tasks are one request: one bell
	epochs   int64
	outcomes []ending
	maxes    []int // most tasks of a claim; nil: all
	limit    int   // concurrency of the queue; 0: none
	bounds   budget
	pairs    bool // two calls at once: one between what another reads and its transaction
	lostWith bool // another call between a commit and the look-up of its lost answer

	deeper budget // added to bounds by make model, which also sets pairs
}

// deep is the scenario with more of everything.
func (sc scenario) deep() *scenario {
	b, d := &sc.bounds, &sc.deeper
	b.crashes, b.stops, b.losts, b.unknowns = b.crashes+d.crashes, b.stops+d.stops, b.losts+d.losts, b.unknowns+d.unknowns
	b.cancels, b.reopens, b.runNows = b.cancels+d.cancels, b.reopens+d.reopens, b.runNows+d.runNows
	b.releases, b.resubmits = b.releases+d.releases, b.resubmits+d.resubmits
	sc.pairs = true
	return &sc
}

// submission is one task.
type submission struct {
	retries    int
	retryMs    int64
	delayMs    int64
	expiresMs  int64 // from its submit; 0: never
	key        string
	scope      task.UniqueScope
	onConflict task.UniqueConflict
}

// budget is how often things may still happen that could go on for ever.
type budget struct{ crashes, stops, losts, unknowns, cancels, reopens, runNows, releases, resubmits int8 }

// spent reports whether more happened than may: two calls at once may both have taken what was left.
func (b *budget) spent() bool {
	return min(b.crashes, b.stops, b.losts, b.unknowns, b.cancels, b.reopens, b.runNows, b.releases, b.resubmits) < 0
}

// ending is how a handler can end.
type ending uint8

const (
	succeeds ending = iota
	fails
	failsForGood
	snoozes
	awaits
)

var endingNames = [...]string{"succeeds", "fails", "fails for good", "is snoozed", "is taken over by its receiver"}

// result is what the handler reports.
func (e ending) result() task.Result {
	switch e {
	case fails:
		return task.Result{Outcome: task.OutcomeFailed, ErrCode: "model"}
	case failsForGood:
		return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "model"}
	case snoozes:
		return task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: 10}
	case awaits:
		return task.Result{Outcome: task.OutcomeSucceeded, AwaitMs: 100}
	}
	return task.Result{Outcome: task.OutcomeSucceeded}
}
