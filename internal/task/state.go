package task

import "fmt"

// State is the stored state of a task.
type State uint8

// The stored states. Their numbers are in the database: never renumber.
const (
	Blocked   State = 1 // waits for workflow parents
	Waiting   State = 2 // in a bell: due now or later
	Running   State = 3 // in a claim
	Succeeded State = 4
	Failed    State = 5
	Cancelled State = 6
)

// Final reports whether nothing automatic may leave the state.
func (s State) Final() bool { return s >= Succeeded }

// Shown is the state as clients see it: a waiting task is "scheduled" until dueAt and "queued" from then on.
func (s State) Shown(dueAt, now int64) string {
	switch s {
	case Blocked:
		return "blocked"
	case Waiting:
		if dueAt > now {
			return "scheduled"
		}
		return "queued"
	case Running:
		return "running"
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	}
	return fmt.Sprintf("state-%d", uint8(s))
}

// Reason says why a task is in its final state.
type Reason int16

// The reasons. Their numbers are in the database: never renumber.
const (
	NoReason   Reason = 0
	Exhausted  Reason = 1 // failed more often than retry.max allows
	Permanent  Reason = 2 // the runner said that no retry can help
	Expired    Reason = 3 // not started by expiresAt
	LostWorker Reason = 4 // exhausted by the death of workers
	Replaced   Reason = 5 // another task took its unique key
	ByUser     Reason = 6 // cancelled by a client or person
	ByParent   Reason = 7 // ended because a workflow parent did
	Abandoned  Reason = 8 // a zombie that was closed by hand
	BySchedule Reason = 9 // its schedule was paused, changed or deleted before the slot, or started its next run
)

var reasonNames = [...]string{"", "exhausted", "permanent", "expired", "lost", "replaced", "by_user", "parent", "abandoned", "by_schedule"}

// String is the reason as clients see it; empty for NoReason.
func (r Reason) String() string {
	if r < 0 || int(r) >= len(reasonNames) {
		return fmt.Sprintf("reason_%d", int16(r))
	}
	return reasonNames[r]
}

// Outcome is how one attempt ended.
type Outcome uint8

// The outcomes. Their numbers are in the database: never renumber.
const (
	OutcomeNone      Outcome = 0 // still running
	OutcomeSucceeded Outcome = 1
	OutcomeFailed    Outcome = 2
	OutcomeTimedOut  Outcome = 3
	OutcomeCancelled Outcome = 4
	OutcomeLost      Outcome = 5 // its worker died or lost it
	OutcomeReleased  Outcome = 6 // handed back by a draining worker; counts nothing
	OutcomeSnoozed   Outcome = 7 // postponed by its handler; counts nothing
)

var outcomeNames = [...]string{"", "succeeded", "failed", "timed_out", "cancelled", "lost", "released", "snoozed"}

// String is the outcome as clients see it; empty while the attempt runs.
func (o Outcome) String() string {
	if int(o) >= len(outcomeNames) {
		return fmt.Sprintf("outcome_%d", uint8(o))
	}
	return outcomeNames[o]
}

// Flags say which extras a task has, so that a plain task pays for none of them.
type Flags uint32

// The flags. Their values are in the database and in messages: never renumber.
const (
	HasUnique      Flags = 1 << 0 // holds (or held) a unique key; the key stands in the body
	UntilStarted   Flags = 1 << 1 // with HasUnique: the key is released by the claim
	HasCompletion  Flags = 1 << 2 // has a completion URL
	HasLabels      Flags = 1 << 3
	HasResult      Flags = 1 << 4 // a results row exists
	HasAttempts    Flags = 1 << 5 // at least one attempts row exists
	HasLog         Flags = 1 << 6 // an attempts row holds a log
	InWorkflow     Flags = 1 << 7
	Zombie         Flags = 1 << 8  // its handler ignored cancel or timeout and still runs
	Truncated      Flags = 1 << 9  // the stored result was cut
	HasRetryPolicy Flags = 1 << 10 // the body names a retry policy of its own
	TracksSchedule Flags = 1 << 11 // a run of a schedule that must know when it ends (table schedule_runs)
	// Awaiting: the attempt goes on without a worker. Its receiver took it over and completes it by the due time, which is
	// that of a deadline bell. The task is stored as waiting and shown as running.
	Awaiting Flags = 1 << 12
	// HasLimitKey: the body names a limit key.
	HasLimitKey Flags = 1 << 13
	// The places that a running task holds in limits of concurrency: of its queue, its app and its limit key. The claim sets them
	// and every arrow out of running clears them, each in the transaction that moves limits.running.
	InQueueLimit Flags = 1 << 14
	InAppLimit   Flags = 1 << 15
	InKeyLimit   Flags = 1 << 16
)

// PlaceFlags are the places in limits.
const PlaceFlags = InQueueLimit | InAppLimit | InKeyLimit

// Has reports whether every flag of f is set.
func (fs Flags) Has(f Flags) bool { return fs&f == f }

// Priority orders lanes of one queue.
type Priority uint8

// The priorities. Their numbers are in the database: never renumber.
const (
	High   Priority = 1
	Normal Priority = 2
	Low    Priority = 3
)

// ParsePriority knows high, normal and low; empty means normal.
func ParsePriority(s string) (Priority, bool) {
	switch s {
	case "high":
		return High, true
	case "", "normal":
		return Normal, true
	case "low":
		return Low, true
	}
	return 0, false
}

// String is high, normal or low.
func (p Priority) String() string {
	switch p {
	case High:
		return "high"
	case Normal:
		return "normal"
	case Low:
		return "low"
	}
	return fmt.Sprintf("priority-%d", uint8(p))
}

// WorkerState is the stored state of a worker row.
type WorkerState uint8

// The worker states. Their numbers are in the database: never renumber.
const (
	WorkerAlive    WorkerState = 1
	WorkerDraining WorkerState = 2
	WorkerGone     WorkerState = 3
)

// String is alive, draining or gone.
func (s WorkerState) String() string {
	switch s {
	case WorkerAlive:
		return "alive"
	case WorkerDraining:
		return "draining"
	case WorkerGone:
		return "gone"
	}
	return fmt.Sprintf("worker-state-%d", uint8(s))
}
