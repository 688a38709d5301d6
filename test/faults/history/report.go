package history

import "time"

// Rule names a rule of the checker. Violations carry it.
type Rule string

// Violation is a contradiction.
type Violation struct {
	Rule Rule
	Task int64 // 0: not of one task
	Text string
}

// Duplicate is a task whose effect came again in a later epoch, and why.
type Duplicate struct {
	Task         int64
	Epoch, Later int
	By           Cause
	Fault        int // Fault.N, with ByFault
}

// Cause explains a duplicate.
type Cause string

// What explains a duplicate. ByNothing is a violation.
const (
	ByPolicy  Cause = "policy"  // the attempt failed or timed out as its plan says: the task's own retry policy
	ByRetry   Cause = "retry"   // a client asked for it
	ByFault   Cause = "fault"   // a fault hit its worker, or the way between it and the sink, at that time
	ByNothing Cause = "nothing" //
)

// Report is what Check found.
type Report struct {
	Violations []Violation
	Duplicates []Duplicate
	// Tasks are those answered 2xx, Found those that exist although the answer was unknown.
	Tasks, Found int
	Effects      int
	Attempts     int // sum of epochs
	Lost         int // tasks answered 2xx that are not there or not final
	Double       int // epochs with more than one committed result
	Late         int // effects of an epoch after a later one was claimed, or after a confirmed cancel; each explained by a fault
	Unsure       int // effects that may be Late, within the error of the clocks
	Refused      int // of Late: the sink refused them
	// After counts explanations by a fault that was over already, within the time that its worker or API needs to find back.
	After int
	// Reach is the part of the run in which a fault could explain what a worker did: 1 would explain everything.
	Reach  float64
	ByKind []KindCount
	Error  time.Duration // the largest error of the clocks that was used
}

// KindCount is a line of the table: what a kind of fault did.
type KindCount struct {
	Kind          string
	Faults        int           // injected
	Tasks         int           // running, or submitted, while such a fault acted
	Lost          int           // of them
	Double        int           // of them
	Duplicates    int           // explained by it
	Late          int           // explained by it
	Slowest, Mean time.Duration // to recover, of those that were measured
}

// OK reports whether nothing was violated.
func (r *Report) OK() bool { return len(r.Violations) == 0 }
