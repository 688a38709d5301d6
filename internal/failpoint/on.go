//go:build faults

package failpoint

import (
	"context"
	"sync/atomic"
)

// On reports whether this program was built with the tag faults.
const On = true

// state is what is known of one point. The counters are never set back: who reads them takes differences.
type state struct {
	armed         atomic.Pointer[armed]
	passed, acted atomic.Int64
}

// armed is a rule with the passes since it was set.
type armed struct {
	Rule
	passes atomic.Int64
}

var states [count]state

// Set puts a rule at a point, in place of the one before. The error says what is wrong with it.
func Set(p Point, r Rule) error {
	if r.Action == Fail && r.Error == "" && len(fails(p)) == 1 {
		r.Error = nameOf(fails(p)[0]) // there is but one way
	}
	if err := r.check(p); err != nil {
		return err
	}
	states[p].armed.Store(&armed{Rule: r})
	return nil
}

// Clear takes the rule of a point away.
func Clear(p Point) { states[p].armed.Store(nil) }

// Named finds a point by its name.
func Named(name string) (Point, bool) {
	for p := range Point(count) {
		if names[p] == name {
			return p, true
		}
	}
	return 0, false
}

// Count is how often a point was passed, and how often it acted, since the process began.
type Count struct {
	Passed int64 `json:"passed"`
	Acted  int64 `json:"acted"`
}

// Counts gives those of every point.
func Counts() map[string]Count {
	all := make(map[string]Count, count)
	for p := range Point(count) {
		all[names[p]] = Count{states[p].passed.Load(), states[p].acted.Load()}
	}
	return all
}

// Take counts a pass of a point, and gives its rule when it is to act now.
func Take(p Point) (Rule, bool) {
	s := &states[p]
	s.passed.Add(1)
	a := s.armed.Load()
	if a == nil || !a.turn(a.passes.Add(1)) {
		return Rule{}, false
	}
	s.acted.Add(1)
	return a.Rule, true
}

// turn reports whether the n-th pass acts.
func (a *armed) turn(n int64) bool {
	if n -= a.Skip; n <= 0 {
		return false
	}
	if a.Every > 1 {
		if n%a.Every != 0 {
			return false
		}
		n /= a.Every
	}
	return a.Times == 0 || n <= a.Times
}

// At is where the process can be killed, stopped or held up.
func At(p Point) { _ = Fails(p) }

// Fails is where something can fail: the caller does what the fault says.
func Fails(p Point) Fault {
	r, acts := Take(p)
	if !acts {
		return None
	}
	r.Do()
	return r.Fault()
}

type pointKey struct{}

// In marks the context of a transaction with the point that its COMMIT passes.
func In(ctx context.Context, p Point) context.Context { return context.WithValue(ctx, pointKey{}, p) }

// Of gives the point that In has marked a context with.
func Of(ctx context.Context) (Point, bool) {
	p, marked := ctx.Value(pointKey{}).(Point)
	return p, marked
}

// Clock is a source of the database's time (µs since 1970), moved by the offset of DBClock.
func Clock(source func(context.Context) (int64, error)) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		at, err := source(ctx)
		return at + ClockMs()*1000, err
	}
}

// ClockMs is the offset of DBClock in ms, for statements that read the database's time themselves. It holds from Set to Clear.
func ClockMs() int64 {
	s := &states[DBClock]
	s.passed.Add(1)
	a := s.armed.Load()
	if a == nil {
		return 0
	}
	s.acted.Add(1)
	return a.DelayMs
}
