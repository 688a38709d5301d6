//go:build faults

package failpoint

import (
	"fmt"
	"slices"
	"time"
)

// Rule says what a point does, and at which of its passes: after Skip of them each Every-th one, until it has acted Times times.
type Rule struct {
	Action  Action `json:"action"`
	Skip    int64  `json:"skip"`
	Times   int64  `json:"times"`   // 0: until it is taken away
	Every   int64  `json:"every"`   // 0 and 1: every pass
	DelayMs int64  `json:"delayMs"` // of delay, and before kill and stop; of offset, where it may be negative
	Error   string `json:"error"`   // of error: deadlock, lock_wait, busy, lost_before or lost_after; empty where there is but one
}

// Action is what a point does.
type Action string

// The actions.
const (
	Kill   Action = "kill"   // the process kills itself (SIGKILL)
	Stop   Action = "stop"   // the process stops itself (SIGSTOP) until somebody continues it
	Delay  Action = "delay"  // whoever passes waits
	Fail   Action = "error"  // the point fails in the way that Error names
	Offset Action = "offset" // DBClock only: the clock is off by DelayMs until the rule is taken away
)

// faults are the names of Rule.Error.
var faults = map[string]Fault{"deadlock": Deadlock, "lock_wait": LockWait, "busy": Busy, "lost_before": LostBefore, "lost_after": LostAfter}

// fails says in which ways a point can fail; a point that is not named cannot.
func fails(p Point) []Fault {
	switch p {
	case SubmitAnswer, ClaimAnswer, FinishAnswer:
		return []Fault{LostAfter}
	case RingPublish:
		return []Fault{LostBefore, LostAfter}
	case DBExec, DBCommit:
		return []Fault{Deadlock, LockWait, Busy, LostBefore, LostAfter}
	}
	return nil
}

// nameOf is what Rule.Error calls a fault.
func nameOf(f Fault) string {
	for name, known := range faults {
		if known == f {
			return name
		}
	}
	return ""
}

// check refuses what the point cannot do.
func (r Rule) check(p Point) error {
	switch {
	case (p == DBClock) != (r.Action == Offset):
		return fmt.Errorf("the action of %s cannot be %q", p, r.Action)
	case r.Skip < 0 || r.Times < 0 || r.Every < 0 || r.DelayMs < 0 && r.Action != Offset:
		return fmt.Errorf("a number of the rule is negative")
	}
	switch r.Action {
	case Kill, Stop, Delay, Offset:
		return nil
	case Fail:
		if f, known := faults[r.Error]; !known || !slices.Contains(fails(p), f) {
			return fmt.Errorf("%s cannot fail as %q", p, r.Error)
		}
		return nil
	}
	return fmt.Errorf("%q is no action", r.Action)
}

// Fault is how the point fails; None for the other actions.
func (r Rule) Fault() Fault {
	if r.Action != Fail {
		return None
	}
	return faults[r.Error]
}

// Do kills or stops the process or waits, if that is the action. A process that was stopped goes on here when it is continued.
func (r Rule) Do() {
	if r.Action != Kill && r.Action != Stop && r.Action != Delay {
		return
	}
	if r.DelayMs > 0 {
		<-time.After(time.Duration(r.DelayMs) * time.Millisecond)
	}
	switch r.Action {
	case Kill:
		kill()
	case Stop:
		stop()
	}
}
