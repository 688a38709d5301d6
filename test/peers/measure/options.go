package measure

import "time"

// Options bound a round. Use Full or Quick.
type Options struct {
	Submit    time.Duration `json:"submit"`    // each way of submitting
	Steady    time.Duration `json:"steady"`    // each way of steady work
	Latency   time.Duration `json:"latency"`   // pickup, and delays spread over time
	Yard      time.Duration `json:"yard"`      // each yardstick
	Drain     int           `json:"drain"`     // no-op tasks drained
	Callbacks int           `json:"callbacks"` // HTTP tasks drained
	Instant   int           `json:"instant"`   // tasks due in one instant
	Cancels   int           `json:"cancels"`   // tasks cancelled
	Delayed   int           `json:"delayed"`   // tasks that wait when memory is measured
	Warm      int           `json:"warm"`      // tasks run before anything is measured
	Learn     time.Duration `json:"learn"`     // what a system that learns is given then
	Settle    time.Duration `json:"settle"`    // between two measures, and before memory is read
	Patience  time.Duration `json:"patience"`  // without a start for this long, the rest is lost
	Late      time.Duration `json:"late"`      // tasks that did not start this long after their time are not waited for
}

// Full is what the published figures are made with.
func Full() Options {
	return Options{Submit: 700 * time.Millisecond, Steady: 2 * time.Second, Latency: 5 * time.Second, Yard: 1200 * time.Millisecond,
		Drain: 50_000, Callbacks: 50_000, Instant: 10_000, Cancels: 128, Delayed: 1_000_000, Warm: 2_000, Learn: 5 * time.Second,
		Settle: 300 * time.Millisecond, Patience: 20 * time.Second, Late: 10 * time.Second}
}

// Quick shows within some seconds for each system whether everything works. Its figures are rough.
func Quick() Options {
	return Options{Submit: 100 * time.Millisecond, Steady: 300 * time.Millisecond, Latency: 500 * time.Millisecond, Yard: 200 * time.Millisecond,
		Drain: 2_000, Callbacks: 300, Instant: 200, Cancels: 32, Delayed: 5_000, Warm: 200, Learn: 200 * time.Millisecond,
		Settle: 50 * time.Millisecond, Patience: 20 * time.Second, Late: 3 * time.Second}
}
