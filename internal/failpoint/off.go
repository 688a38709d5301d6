//go:build !faults

package failpoint

import "context"

// On reports whether this program was built with the tag faults.
const On = false

// At is where the process can be killed, stopped or held up.
func At(Point) {}

// Fails is where something can fail: the caller does what the fault says.
func Fails(Point) Fault { return None }

// In marks the context of a transaction with the point that its COMMIT passes.
func In(ctx context.Context, _ Point) context.Context { return ctx }

// Clock is a source of the database's time (µs since 1970), moved by the offset of DBClock.
func Clock(source func(context.Context) (int64, error)) func(context.Context) (int64, error) {
	return source
}

// ClockMs is the offset of DBClock in ms, for statements that read the database's time themselves.
func ClockMs() int64 { return 0 }
