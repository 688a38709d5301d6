package history

import "time"

// History is everything that is known of a run.
type History struct {
	Ops       []Op
	Effects   []Effect
	Faults    []Fault
	Processes []Process
	Clock     Clock
	End       End
	Fenced    bool          // the sink refused stale epochs (409); else it only noted them
	Beat      time.Duration // how often workers say that they live (liveness.beat); 0: its default
	Limited   int           // limits that were made: so many must stand in End.Limits
}

// Process is one start of a process of Taskweir. A worker registers anew when it was fenced, so that one start may have several
// rows in End.Workers.
type Process struct {
	Name    string        // stays the same over restarts: "worker2"
	Role    string        // api, scheduler, worker, standalone
	PID     int           // by which End.Workers names it
	Started time.Duration // when it was launched; 0: before the run began
	Ended   time.Duration // when it was gone; 0: it ran until the end
}

// OpKind is what a client asked for.
type OpKind string

// The kinds of Op.
const (
	OpSubmit   OpKind = "submit"   // POST /v1/tasks
	OpBatch    OpKind = "batch"    // POST /v1/tasks/batch
	OpCancel   OpKind = "cancel"   // POST /v1/tasks/{id}/cancel
	OpRetry    OpKind = "retry"    // POST /v1/tasks/{id}/retry: the one arrow out of a final state
	OpRunNow   OpKind = "run_now"  // POST /v1/tasks/{id}/run-now
	OpComplete OpKind = "complete" // POST /v1/tasks/{id}/complete
	OpRead     OpKind = "read"     // GET of tasks: what they looked like meanwhile
	OpSchedule OpKind = "schedule" // POST /v1/schedules
	OpPause    OpKind = "pause"    // POST /v1/schedules/{id}/pause: no slot after it
	OpReplay   OpKind = "replay"   // a submit or batch sent again under its key, long after it was answered
	OpMisuse   OpKind = "misuse"   // another submit under a key that was used: to be refused (409)
)

// Op is one call of a client with all its tries: a careful client repeats a call, under the same Idempotency-Key and at another
// API when there is one, until it is answered or gives up.
type Op struct {
	N              int           // its number in the run, from 1
	Kind           OpKind        //
	API            string        // base URL that gave the answer; empty: none did
	Key            string        // Idempotency-Key; empty: none
	Tries          int           // 1: the first try was answered
	Maybe          int           // of them: those that were not answered and may have been carried out
	Sent, Answered time.Duration // the first try began; the last try was answered or given up
	LastSent       time.Duration // the last try began: with one try it is Sent
	Status         int           // HTTP status of the answer; 0: none came
	Code           string        // of the problem that was answered
	Wants          []Want        // submit, batch, replay, misuse: what was asked for, in order
	Items          []Item        // answered: submit, batch in the order of Wants; others the tasks they show
	Task           int64         // cancel, retry, run_now, complete: of which task
	Epoch          int           // complete: of which epoch
	From           string        // retry: the final state in which the client had seen the task
	Schedule       int64         // schedule, pause: which one, as answered
	EveryMs        int64         // schedule: the distance of its slots
	Failed         []Try         // tries that were not answered, or with a 5xx
}

// Try is one try of a call that came to nothing.
type Try struct {
	Sent, Over time.Duration
	Status     int    // 0: no answer
	Code       string // of the problem
	Err        string // without an answer
}

// Done reports whether the call was answered 2xx.
func (o *Op) Done() bool { return o.Status >= 200 && o.Status <= 299 }

// Unknown reports whether the call may have had its effect although nobody said so.
func (o *Op) Unknown() bool { return !o.Done() && o.Maybe > 0 }

// Want is one task that was asked for. Its tag, "<op>.<index>", stands in the task's payload, so that End tells which row it became.
type Want struct {
	Tag         string
	Kind        string // http, callback
	Queue       string
	Priority    string // high, normal, low
	LimitKey    string // empty: none
	Plan        Plan
	DelayMs     int64   // 0: at once
	TimeoutMs   int64   // 0: the default
	ExpiresInMs int64   // 0: never; from about the time of the submit
	RetryMax    int     // retries after the first run
	Unique      *Unique // nil: none
	Completion  bool    // the sink is told of each final state
}

// Unique is a unique key as a client gives it.
type Unique struct {
	Key        string
	Scope      string // until_due, until_started, until_finished, window, forever
	WindowMs   int64  // with window
	OnConflict string // reject, keep, replace
}

// Plan is what the sink does with a task's calls: the effects that are expected of it.
type Plan struct {
	Fail  int           // the first calls that are answered 500, or completed as failed; -1: all
	Deny  bool          // they are answered 400: permanent
	Hold  time.Duration // the sink answers after this; longer than the timeout makes the attempt time out
	Slow  int           // the first calls that are held; 0: all
	Async bool          // answered 202 with Taskweir-Complete-Within; a client completes it
}

// Item is one task of an answer.
type Item struct {
	Task     int64 // 0: none, see Code
	Replayed bool  // the answer repeats one to an earlier try
	Kept     bool  // a unique key was taken, uniqueOnConflict keep: Task is the holder, not a new one
	Status   int   // of this item; a batch says so item by item
	Code     string
	Holder   int64  // with unique_key_taken: who has it
	State    string // as shown, with Task
	Reason   string
	Epoch    int // of the newest attempt shown; 0: none
}

// Effect is one call that reached the sink.
type Effect struct {
	Task    int64
	Epoch   int
	Attempt int64 // Taskweir-Attempt
	Call    int64 // the sink's own number; in its answer, so that the stored result names the call that made it
	Kind    string
	Tag     string // from the body; empty for what has none
	Queue   string // from the body
	Remote  string // address of the caller
	// Began is when the sink's handler began, Ended when it had answered or noticed that the caller was gone.
	Began, Ended time.Duration
	Status       int  // answered; 0: the caller had gone before the answer
	Stale        bool // a higher epoch of the task had been seen before it: with History.Fenced it was refused (409)
	// Cancelled: the sink had been told that the task is cancelled before it; with History.Fenced it was refused (409).
	Cancelled bool
}

// Told is one completion that the sink was sent: a task of its own (kind completion) that says how another ended.
type Told struct {
	Task  int64  // which ended
	State string // how
	By    int64  // the delivery's own task
	At    time.Duration
}
