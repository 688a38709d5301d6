package history

import (
	"slices"
	"time"
)

// conflicts are the codes with which calls about a task may be refused (409): somebody, or the task itself, was quicker.
var conflicts = map[OpKind][]string{
	OpRetry:    {"not_retryable", "unique_key_taken"},
	OpRunNow:   {"not_waiting"},
	OpComplete: {"epoch_mismatch", "completion_too_late", "task_cancelled", "already_ended", "not_awaited", "attempt_running"},
	OpMisuse:   {"idempotency_key_reused"},
}

// tooSoon is how much sooner than by the harness's clock an API may take an expiry for past: the time before the first try in which the
// expiry was computed, and the error of the API's clock after an outage.
const tooSoon = 200 * time.Millisecond

// refusals checks that what was refused had to be: neither a key (401, 403) nor a task (404) is ever wrong here, nor a body (422).
func (c *checker) refusals(o *Op) {
	switch {
	case o.Done():
		for i := range min(len(o.Items), len(o.Wants)) {
			if it := &o.Items[i]; it.Task == 0 && !c.refusable(o, &o.Wants[i], it.Status, it.Code) {
				c.violate(RuleAnswer, it.Holder, "op %d (%s) was refused item %d, %q: %d %s", o.N, o.Kind, i, o.Wants[i].Tag, it.Status, it.Code)
			}
		}
	case o.Status < 400 || o.Status > 499 || o.Status == 429: // sent again: a try that failed
	case o.Kind == OpSubmit && len(o.Wants) == 1 && c.refusable(o, &o.Wants[0], o.Status, o.Code):
	case o.Status == 409 && slices.Contains(conflicts[o.Kind], o.Code):
	default:
		c.violate(RuleAnswer, o.Task, "op %d (%s) was refused: %d %s", o.N, o.Kind, o.Status, o.Code)
	}
}

// refusable reports whether a submit had to expect this refusal: its unique key was taken, or its expiry had passed when an API at last
// took the call, or by a clock that was moved.
func (c *checker) refusable(o *Op, w *Want, status int, code string) bool {
	switch {
	case o.Kind == OpReplay: // it was made once
		return false
	case status == 409 && code == "unique_key_taken":
		return w.Unique != nil && w.Unique.OnConflict != "keep"
	case status == 422 && code == "invalid" && w.ExpiresInMs > 0:
		return o.Answered-o.Sent >= time.Duration(w.ExpiresInMs)*time.Millisecond-tooSoon || c.faults.part(span{o.Sent, o.Answered}, settling, PartClock) != nil
	}
	return false
}
