package history

// End is what the database and the API say when all is quiet.
type End struct {
	Now       int64        // of the database's clock, ms since 1970 UTC
	Tasks     []Row        // every task of the app, also those that nobody remembers
	Attempts  []Attempt    //
	Workers   []Worker     // all that ever registered
	Slots     []Slot       //
	Schedules []Schedule   //
	Uniques   []UniqueHeld // unique keys that are still held
	Limits    []Limit      //
	Audit     []Audited    // what the audit trail knows of explicit retries
	Told      []Told       // completions that the sink was sent, in order
	Stats     []Counters   // GET /v1/stats of the whole run, by queue
	Left      Left
	Stuck     []Stuck // what was not final at the deadline
}

// Row is a task as the database has it.
type Row struct {
	ID                     int64
	Tag                    string // of the payload; empty: not one that a client of the run submitted
	Kind, Queue, Priority  string
	State, Reason          string // as the API names them; waiting, blocked and running tasks are not final
	Epoch                  int
	Failures, Losses       int
	Created, Due           int64 // ms, like all times of rows
	Expires                int64 // 0: never
	Started, Finished      int64
	Attempt                int64
	Worker                 int64 // of the newest epoch
	Holder                 int64
	CancelAt               int64
	HTTPStatus             int
	UniqueKey, UniqueScope string
	LimitKey               string
	Schedule               int64 // that made it; 0: none
	Slot                   int64 // with Schedule: the fire time
	HasResult              bool
	ResultEpoch            int   // of the stored result
	ResultCall             int64 // Effect.Call that the stored result names; 0: none
	RetryMax               int
	UniqueWindow           int64  // ms, with UniqueScope window
	Tells                  int64  // a delivery of a completion: of which task
	TellsState             string // and in which final state that was
}

// Attempt is a row of attempts: every attempt but a plain first success has one.
type Attempt struct {
	Task              int64
	Epoch             int
	ID, Worker        int64
	Started, Finished int64
	Outcome           string // as the API names it
	HTTPStatus        int
	Code              string // of the error
}

// Worker is a registration of a worker process.
type Worker struct {
	ID   int64
	PID  int
	Host string
	Gone bool
	// Started is when its process started, ms.
	Started int64
}

// Slot is a row of slots.
type Slot struct {
	Schedule, Origin int64 // Origin 0: planned
	At, Last         int64
	N                int64 // missed slots that share this row
	Task             int64
	Outcome          string
}

// Schedule is a schedule of the run.
type Schedule struct {
	ID      int64
	EveryMs int64
	Anchor  int64
	// The slots that must be there: From ≤ slot ≤ To, both ends chosen beyond doubt. From > To: nobody can say which, since clocks were
	// moved; then each slot that is there is one of the schedule, and has one row and one task.
	From, To int64
}

// UniqueHeld is a row of unique_keys whose task is one of Tasks.
type UniqueHeld struct {
	Task    int64
	Scope   string
	Expires int64
}

// Limit is a row of limits.
type Limit struct {
	Key          string // "q:" and the queue, "k:" and the key
	Queue        string // with a queue's limit
	LimitKey     string // with a limit key's
	Max, Running int
}

// Audited counts the explicit retries of a task in the audit trail.
type Audited struct {
	Task    int64
	Retries int
}

// Counters are the sums of GET /v1/stats over the run for one queue.
type Counters struct {
	Queue                                                            string
	Submitted, Succeeded, Failed, Retried, TimedOut, Cancelled, Lost int64
}

// Left is what should be gone when all is final.
type Left struct {
	Bells  []int64 // ids of bells of the app that have been due for a while
	Claims []int64 // ids of claims that list a task of the app
	Held   int     // slots that wait for earlier runs
}

// Stuck is a task that was not final at the deadline, with what the API and the rows say of it.
type Stuck struct {
	Task          int64
	State         string
	Verdict, Text string
	Rows          string
}
