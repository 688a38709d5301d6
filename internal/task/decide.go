package task

// Result is what a runner says of one attempt, before policy.
type Result struct {
	Outcome      Outcome // Succeeded, Failed, TimedOut, Cancelled, Snoozed
	Permanent    bool    // with Failed: no retry can help
	RetryAfterMs int64   // with Failed: at least this long (Retry-After); with Snoozed: exactly; 0: by policy
	HTTPStatus   int16
	Body         []byte // the result; nil: none
	Truncated    bool
	ErrCode      string
	ErrMessage   string
	Log          []byte

	// AwaitMs says that the attempt goes on elsewhere and is completed by a call within this time (Completion); the rest but
	// HTTPStatus and Delivery means nothing then. 0: it is over.
	AwaitMs int64
	// Delivery is how the call went, as JSON; nil: not to be kept. Keep asks for a row of the attempt although it was a plain
	// first success.
	Delivery []byte
	Keep     bool
}

// Next is where a task goes when an attempt ended.
type Next struct {
	To      State
	Reason  Reason
	RetryAt int64 // with Waiting
	Counts  bool  // the attempt counts as a failure
}

// Decide applies the retry policy to an attempt that ended at now. failures and epoch stand as they were during the
// attempt; cancelled says that a cancel was asked for. u in [0, 1) places the delay within the jitter.
//
// Cancel wins over everything but success. A retry that would be due after expiresAt fails at once.
func Decide(r Result, p RetryPolicy, failures int, expiresAt, now int64, cancelled bool, u float64) Next {
	if r.Outcome == OutcomeSucceeded && r.AwaitMs == 0 {
		return Next{To: Succeeded}
	}
	if cancelled || r.Outcome == OutcomeCancelled {
		return Next{To: Cancelled, Reason: ByUser}
	}
	if r.AwaitMs > 0 {
		return Next{To: Waiting, RetryAt: now + r.AwaitMs} // it has started: its expiry is over
	}
	if r.Outcome == OutcomeSnoozed || r.Outcome == OutcomeReleased {
		return notAfterExpiry(Next{To: Waiting, RetryAt: now + r.RetryAfterMs}, expiresAt)
	}
	if r.Permanent {
		return Next{To: Failed, Reason: Permanent, Counts: true}
	}
	if failures >= p.Max {
		return Next{To: Failed, Reason: Exhausted, Counts: true}
	}
	delay := max(p.Delay(failures+1, u), r.RetryAfterMs)
	return notAfterExpiry(Next{To: Waiting, RetryAt: now + delay, Counts: true}, expiresAt)
}

// DecideLost applies the rules for a task whose worker died or lost it (protocol section 3, "Three counters"): the first
// loss is due at once, the second and third with back-off, from the fourth each also counts as a failure.
func DecideLost(p RetryPolicy, failures, losses int, expiresAt, now int64, cancelled bool, u float64) Next {
	if cancelled {
		return Next{To: Cancelled, Reason: ByUser}
	}
	n := losses + 1
	if n == 1 {
		return notAfterExpiry(Next{To: Waiting, RetryAt: now}, expiresAt)
	}
	if n <= MaxLost {
		return notAfterExpiry(Next{To: Waiting, RetryAt: now + p.Delay(n-1, u)}, expiresAt)
	}
	if failures >= p.Max {
		return Next{To: Failed, Reason: LostWorker, Counts: true}
	}
	return notAfterExpiry(Next{To: Waiting, RetryAt: now + p.Delay(failures+1, u), Counts: true}, expiresAt)
}

// notAfterExpiry keeps I1: a waiting task never has expires_at <= due_at.
func notAfterExpiry(n Next, expiresAt int64) Next {
	if expiresAt != 0 && n.RetryAt >= expiresAt {
		return Next{To: Failed, Reason: Expired, Counts: n.Counts}
	}
	return n
}
