package task

import (
	"math/rand/v2"
	"testing"
)

func TestDecide(t *testing.T) {
	p := RetryPolicy{Policy: "fixed", BaseMs: 100, CapMs: 1000, Max: 2}
	const now = 1_000_000
	for _, c := range []struct {
		name      string
		r         Result
		failures  int
		expiresAt int64
		cancelled bool
		want      Next
	}{
		{"success", Result{Outcome: OutcomeSucceeded}, 0, 0, false, Next{To: Succeeded}},
		{"success wins over cancel", Result{Outcome: OutcomeSucceeded}, 0, 0, true, Next{To: Succeeded}},
		{"first failure retries", Result{Outcome: OutcomeFailed}, 0, 0, false, Next{To: Waiting, RetryAt: now + 100, Counts: true}},
		{"a timeout retries like a failure", Result{Outcome: OutcomeTimedOut}, 1, 0, false, Next{To: Waiting, RetryAt: now + 100, Counts: true}},
		{"exhausted", Result{Outcome: OutcomeFailed}, 2, 0, false, Next{To: Failed, Reason: Exhausted, Counts: true}},
		{"permanent", Result{Outcome: OutcomeFailed, Permanent: true}, 0, 0, false, Next{To: Failed, Reason: Permanent, Counts: true}},
		{"cancel wins over retry", Result{Outcome: OutcomeFailed}, 0, 0, true, Next{To: Cancelled, Reason: ByUser}},
		{"cancelled", Result{Outcome: OutcomeCancelled}, 0, 0, false, Next{To: Cancelled, Reason: ByUser}},
		{"Retry-After lengthens", Result{Outcome: OutcomeFailed, RetryAfterMs: 5000}, 0, 0, false, Next{To: Waiting, RetryAt: now + 5000, Counts: true}},
		{"Retry-After never shortens", Result{Outcome: OutcomeFailed, RetryAfterMs: 5}, 0, 0, false, Next{To: Waiting, RetryAt: now + 100, Counts: true}},
		{"a retry after expiry fails at once", Result{Outcome: OutcomeFailed}, 0, now + 100, false, Next{To: Failed, Reason: Expired, Counts: true}},
		{"a retry before expiry waits", Result{Outcome: OutcomeFailed}, 0, now + 101, false, Next{To: Waiting, RetryAt: now + 100, Counts: true}},
		{"snoozed counts nothing", Result{Outcome: OutcomeSnoozed, RetryAfterMs: 7}, 2, 0, false, Next{To: Waiting, RetryAt: now + 7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(c.r, p, c.failures, c.expiresAt, now, c.cancelled, 0.5); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestDecideLost(t *testing.T) {
	p := RetryPolicy{Policy: "fixed", BaseMs: 100, CapMs: 1000, Max: 1}
	const now = 1_000_000
	for _, c := range []struct {
		name             string
		failures, losses int
		expiresAt        int64
		cancelled        bool
		want             Next
	}{
		{"the first loss is due at once", 0, 0, 0, false, Next{To: Waiting, RetryAt: now}},
		{"the second waits", 0, 1, 0, false, Next{To: Waiting, RetryAt: now + 100}},
		{"the third waits and counts nothing", 1, 2, 0, false, Next{To: Waiting, RetryAt: now + 100}},
		{"the fourth counts", 0, 3, 0, false, Next{To: Waiting, RetryAt: now + 100, Counts: true}},
		{"the fourth exhausts", 1, 3, 0, false, Next{To: Failed, Reason: LostWorker, Counts: true}},
		{"cancel wins", 0, 0, 0, true, Next{To: Cancelled, Reason: ByUser}},
		{"lost after its expiry", 0, 0, now, false, Next{To: Failed, Reason: Expired}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := DecideLost(p, c.failures, c.losses, c.expiresAt, now, c.cancelled, 0.5); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestDecideNeverStrands checks for random inputs what the invariants need: a waiting task is due before it expires, a
// final state has its reason, and no policy retries more often than it says.
func TestDecideNeverStrands(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	policies := []string{"fixed", "linear", "exponential", "list"}
	for range 50_000 {
		p := RetryPolicy{Policy: policies[rnd.IntN(4)], BaseMs: 1 + rnd.Int64N(86_400_000), CapMs: 86_400_000, Jitter: rnd.Float64(), Max: rnd.IntN(101), DelaysMs: []int64{1 + rnd.Int64N(1000), 5}}
		now := rnd.Int64N(1 << 41)
		var expires int64
		if rnd.IntN(2) == 0 {
			expires = now - 1000 + rnd.Int64N(1_000_000)
		}
		failures := rnd.IntN(110)
		r := Result{Outcome: Outcome(1 + rnd.IntN(7)), Permanent: rnd.IntN(4) == 0, RetryAfterMs: rnd.Int64N(5000)}
		cancelled := rnd.IntN(3) == 0
		n := Decide(r, p, failures, expires, now, cancelled, rnd.Float64())
		if r.Outcome == OutcomeLost {
			n = DecideLost(p, failures, rnd.IntN(10), expires, now, cancelled, rnd.Float64())
		}
		switch {
		case n.To == Waiting && n.RetryAt < now:
			t.Fatalf("due in the past: %+v", n)
		case n.To == Waiting && expires != 0 && n.RetryAt >= expires:
			t.Fatalf("waits for its expiry: %+v, expires %d", n, expires)
		case n.To == Waiting && cancelled:
			t.Fatalf("retried although cancelled: %+v", n)
		case n.To == Waiting && n.Counts && failures >= p.Max:
			t.Fatalf("retried beyond max: failures %d, max %d", failures, p.Max)
		case n.To != Waiting && n.To != Succeeded && n.Reason == NoReason:
			t.Fatalf("no reason: %+v", n)
		}
	}
}

func TestRetryDelay(t *testing.T) {
	for _, c := range []struct {
		name string
		p    RetryPolicy
		n    int
		u    float64
		want int64
	}{
		{"fixed", RetryPolicy{Policy: "fixed", BaseMs: 50, CapMs: 100}, 7, 0, 50},
		{"linear", RetryPolicy{Policy: "linear", BaseMs: 50, CapMs: 1000}, 3, 0, 150},
		{"linear capped", RetryPolicy{Policy: "linear", BaseMs: 50, CapMs: 120}, 3, 0, 120},
		{"exponential first", RetryPolicy{Policy: "exponential", BaseMs: 1000, CapMs: 3_600_000}, 1, 0, 1000},
		{"exponential fourth", RetryPolicy{Policy: "exponential", BaseMs: 1000, CapMs: 3_600_000}, 4, 0, 8000},
		{"exponential far out stays capped", RetryPolicy{Policy: "exponential", BaseMs: 1000, CapMs: 3_600_000}, 5000, 0, 3_600_000},
		{"list", RetryPolicy{Policy: "list", DelaysMs: []int64{5, 9}}, 2, 0, 9},
		{"list repeats its last", RetryPolicy{Policy: "list", DelaysMs: []int64{5, 9}}, 8, 0, 9},
		{"jitter low end", RetryPolicy{Policy: "fixed", BaseMs: 1000, CapMs: 9000, Jitter: 0.2}, 1, 0, 800},
		{"jitter never beyond the cap", RetryPolicy{Policy: "exponential", BaseMs: 1000, CapMs: 4000, Jitter: 0.5}, 9, 0.99, 4000},
		{"jitter middle", RetryPolicy{Policy: "fixed", BaseMs: 1000, CapMs: 1000, Jitter: 0.2}, 1, 0.5, 1000},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.Delay(c.n, c.u); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
