package history

import (
	"testing"
	"time"
)

// replacing is a task whose key another one takes by replacing it, within the key's window, that long after the first was replaced.
func replacing(gap time.Duration) func(w *world) {
	return func(w *world) {
		const at = 130 * time.Second
		u := &Unique{Key: "replaced key", Scope: "window", WindowMs: 60_000, OnConflict: "replace"}
		first := w.submit(at, Want{RetryMax: 3, DelayMs: 20_000, Unique: u})
		first.become(at+time.Second, "cancelled", "replaced")
		first.put()
		second := w.submit(at+time.Second-ms+gap, Want{RetryMax: 3, Unique: u})
		second.claim(at+2*time.Second, w.worker())
		second.succeed(at + 2*time.Second + 50*ms)
		second.put()
	}
}

// Whoever replaces a task takes its key at that moment, although the key's window is not over. Before that moment it is the first one's.
func TestWhoeverReplacesATaskTakesItsKey(t *testing.T) {
	for seed := range uint64(20) {
		if r := Check(legal(seed, replacing(0))); !r.OK() {
			t.Fatalf("seed %d: %s", seed, r.Summary(3))
		}
		r := Check(legal(seed, replacing(-500*ms)))
		if len(r.Violations) == 0 || r.Violations[0].Rule != RuleUnique {
			t.Fatalf("seed %d: two tasks had one key for half a second: %s", seed, r.Summary(3))
		}
	}
}
