package history

// The rules. Each is a promise that README, the design or issue 4 makes, and each has a planted violation in the tests.
const (
	// RuleLost: a task that was answered 2xx exists, as it was asked for, and is in a final state in the end.
	RuleLost Rule = "lost"
	// RulePhantom: no task exists that nobody can have submitted, or whose submit was refused.
	RulePhantom Rule = "phantom"
	// RuleIdempotency: one Idempotency-Key makes its tasks once, and answers the same tasks each time.
	RuleIdempotency Rule = "idempotency"
	// RuleAnswer: a call fails, or is answered 5xx, only near a fault that can do that; it is refused only where a client had to expect it.
	RuleAnswer Rule = "answer"
	// RuleFinal: a final state is left by an explicit retry only; there is one final state per explicit retry.
	RuleFinal Rule = "final"
	// RuleRetry: a task was re-opened as often as clients asked for it, neither less nor more.
	RuleRetry Rule = "retry"
	// RuleOutcome: the final state is the one that the calls, the clients and the task's limits led to.
	RuleOutcome Rule = "outcome"
	// RuleEpoch: epochs count claims: each from 1 to the row's has one attempt, and the row agrees with the newest.
	RuleEpoch Rule = "epoch"
	// RuleDouble: at most one result per epoch is committed, and it is the one that this epoch's call was answered with.
	RuleDouble Rule = "double"
	// RuleEffect: each call that the sink saw belongs to an attempt that exists; no epoch calls twice.
	RuleEffect Rule = "effect"
	// RuleAttempt: an attempt ends badly because the sink said so, or because a fault hit its worker or its call at that time.
	RuleAttempt Rule = "attempt"
	// RuleDuplicate: an effect comes again in a later epoch only because of the task's retry policy, an explicit retry or a fault.
	RuleDuplicate Rule = "duplicate"
	// RuleLate: an effect begins after a later epoch was claimed, or after a confirmed cancel, only when a fault stopped, cut
	// off or delayed its worker.
	RuleLate Rule = "late"
	// RuleFence: a sink that fences refused every stale effect that it could know to be stale.
	RuleFence Rule = "fence"
	// RuleEarly: no task starts before it is due, and none after it has expired.
	RuleEarly Rule = "early"
	// RuleUnique: no two tasks hold a unique key at once; a refusal names one who held it; ended keys are free.
	RuleUnique Rule = "unique"
	// RuleLimit: no more tasks run at once than a limit of concurrency allows, every limit is there in the end, and nobody holds a place.
	RuleLimit Rule = "limit"
	// RuleCounters: GET /v1/stats says what the history says.
	RuleCounters Rule = "counters"
	// RuleSlot: each slot of a schedule has one row and one task; where clocks were moved, none has two.
	RuleSlot Rule = "slot"
	// RuleTold: each final state of a task with a completion URL is told.
	RuleTold Rule = "told"
	// RuleLeft: no due bell, no claim and no held slot is left over.
	RuleLeft Rule = "left"
	// RuleWitness: the history itself is whole: without a measured clock nothing can be compared.
	RuleWitness Rule = "witness"
)

// Rules lists every rule.
func Rules() []Rule {
	return []Rule{RuleLost, RulePhantom, RuleIdempotency, RuleAnswer, RuleFinal, RuleRetry, RuleOutcome, RuleEpoch, RuleDouble, RuleEffect,
		RuleAttempt, RuleDuplicate, RuleLate, RuleFence, RuleEarly, RuleUnique, RuleLimit, RuleCounters, RuleSlot, RuleTold, RuleLeft, RuleWitness}
}
