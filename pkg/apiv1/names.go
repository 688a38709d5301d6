package apiv1

// States of a task.
const (
	StateScheduled = "scheduled" // due later
	StateQueued    = "queued"    // due, not started
	StateRunning   = "running"
	StateSucceeded = "succeeded"
	StateFailed    = "failed"
	StateCancelled = "cancelled"
	StateBlocked   = "blocked" // waits for other tasks
)

// Final reports whether nothing automatic leaves the state.
func Final(state string) bool {
	return state == StateSucceeded || state == StateFailed || state == StateCancelled
}

// Priorities of a task.
const (
	PriorityHigh   = "high"
	PriorityNormal = "normal"
	PriorityLow    = "low"
)

// Outcomes of an attempt.
const (
	OutcomeSucceeded = "succeeded"
	OutcomeFailed    = "failed"
	OutcomeTimedOut  = "timed_out"
	OutcomeCancelled = "cancelled"
	OutcomeLost      = "lost"     // its worker died
	OutcomeReleased  = "released" // handed back by a draining worker
	OutcomeSnoozed   = "snoozed"  // postponed by its handler
)

// Reasons why a task is in its final state.
const (
	ReasonExhausted = "exhausted" // no retry was left
	ReasonPermanent = "permanent" // an error that no retry can mend
	ReasonExpired   = "expired"   // not started by expiresAt
	ReasonLost      = "lost"      // too many workers died with it
	ReasonReplaced  = "replaced"  // another task took its unique key
	ReasonByUser    = "by_user"
	ReasonParent    = "parent"
	ReasonAbandoned = "abandoned" // a zombie closed by hand
)

// Verdict codes: why a task is where it is.
const (
	VerdictNotDue             = "not_due"
	VerdictQueuePaused        = "queue_paused"
	VerdictAppPaused          = "app_paused"
	VerdictLimitKeyPaused     = "limit_key_paused"
	VerdictNoWorkerForQueue   = "no_worker_for_queue"
	VerdictNoWorkerForKind    = "no_worker_for_kind"
	VerdictRateLimited        = "rate_limited"
	VerdictConcurrencyLimited = "concurrency_limited"
	VerdictBehindOlder        = "behind_older"
	VerdictBlockedByParent    = "blocked_by_parent"
	VerdictBrokerUnreachable  = "broker_unreachable"
	VerdictCancelling         = "cancelling"
	VerdictRunning            = "running"
	VerdictFinal              = "final"
)

// Retry policies.
const (
	RetryFixed       = "fixed"
	RetryLinear      = "linear" // base × n
	RetryExponential = "exponential"
	RetryList        = "list"
)

// Unique scopes and what a submit does when its key is taken.
const (
	UniqueUntilDue      = "until_due"
	UniqueUntilStarted  = "until_started"
	UniqueUntilFinished = "until_finished"
	UniqueWindow        = "window"
	UniqueForever       = "forever"

	UniqueReject  = "reject"
	UniqueKeep    = "keep"
	UniqueReplace = "replace"
)

// Scopes of an API key, each holding those before it.
const (
	ScopeRead   = "read"
	ScopeSubmit = "submit"
	ScopeManage = "manage"
	ScopeAdmin  = "admin"
)

// Codes of problems that clients act on. The list of codes is open.
const (
	CodeInvalid              = "invalid"                // 422, with errors
	CodeMalformed            = "malformed"              // 400
	CodeUnauthorized         = "unauthorized"           // 401
	CodeScopeTooSmall        = "scope_too_small"        // 403
	CodeTaskNotFound         = "task_not_found"         // 404
	CodeUniqueKeyTaken       = "unique_key_taken"       // 409, with taskId
	CodeIdempotencyKeyReused = "idempotency_key_reused" // 409
	CodeTaskNotFinal         = "task_not_final"         // 409
	CodePreconditionFailed   = "precondition_failed"    // 412
	CodePayloadTooLarge      = "payload_too_large"      // 413
	CodeRequestTooLarge      = "request_too_large"      // 413
	CodeOverloaded           = "overloaded"             // 503, nothing was changed
	CodeOutcomeUnknown       = "outcome_unknown"        // 503, repeat with the same Idempotency-Key
	CodeLiveViewUnavailable  = "live_view_unavailable"  // 503, only the live view is gone
)

// Headers of the API.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderReplayed       = "Idempotent-Replayed"
	HeaderLogFrom        = "Taskweir-Log-From" // where the body begins in the output of an attempt
	HeaderAttempt        = "Taskweir-Attempt"  // the id of the attempt whose output it is
)
