package task

// Limits of the core, in bytes, counts and milliseconds (spec/v1 "Tasks").
const (
	MaxPayload       = 256 << 10
	MaxResult        = 64 << 10
	MaxLog           = 64 << 10
	MaxDelivery      = 32 << 10
	MaxErrorText     = 2 << 10
	MaxInlineBody    = 4 << 10 // a body up to this size travels in the message
	MaxBellTasks     = 100
	MaxFlushTasks    = 500
	MaxFlushBytes    = 1 << 20
	MaxTimeoutMs     = 604_800_000
	MaxDelayMs       = 10 * 366 * 86_400_000
	DefaultTimeoutMs = 60_000
	NoTimeout        = -1
	MaxLost          = 3 // losses that count nothing
	Shards           = 16
)

// Task is a task row as stored.
type Task struct {
	ID                    int64
	AppID, LaneID, KindID int32
	State                 State
	Reason                Reason
	Epoch                 int32
	Failures, Losses      int16
	Flags                 Flags
	CreatedAt, DueAt      int64
	ExpiresAt             int64 // 0: never
	TimeoutMs             int32 // NoTimeout: none
	Holder                int64 // bell id, claim id or 0
	WorkerID              int64
	StartedAt, FinishedAt int64
	AttemptID             int64
	CancelAt              int64
	HTTPStatus            int16
}

// Submission is one checked task on its way into the store.
type Submission struct {
	ID                    int64 // taken from the allocator before the flush
	AppID, LaneID, KindID int32
	Flags                 Flags
	DueAt                 int64 // 0: now, by the flush's clock
	DelayMs               int64 // added to now when DueAt is 0
	ExpiresAt             int64
	TimeoutMs             int32
	Body                  []byte // EncodeBody
	Unique                *Unique
	Flow                  int64   // of the limit key; 0: none
	Labels                []Label // sorted by key

	// Set by the store; DueAt too, when it was 0.
	CreatedAt int64 // created_at of the row, by the flush's clock
	Created   bool  // a row was written
	TaskID    int64 // the task that the caller is answered with: its own, a replayed one or a kept one
	Kept      bool  // unique key taken, uniqueOnConflict keep
	Err       error // this task was refused; nothing of it was written
}

// Request is what one caller submits: one task or a batch, under at most one idempotency key. Larger than a flush, it is
// cut by the caller (protocol, "Idempotency and unique keys").
type Request struct {
	AppID    int32
	Idem     *Idempotency // nil: none
	Tasks    []*Submission
	Replayed bool  // set by the store: the key was known with the same body; TaskID of every task is set
	Err      error // set by the store: the whole request was refused (key known with another body)
}

// Idempotency is the hashed key of a request and the hash of its body.
type Idempotency struct {
	Key, Body [32]byte
	// ItemIDs are the ids of every task of the request, also of those that another flush writes. The first flush writes
	// them with the key; set by the store on a replay.
	ItemIDs []int64
	First   bool // this flush writes the key; later parts of a batch do not look at it
}

// UniqueScope says how long a unique key is held.
type UniqueScope uint8

// The scopes. Their numbers are in the database: never renumber.
const (
	ScopeUntilStarted  UniqueScope = 1
	ScopeUntilFinished UniqueScope = 2
	ScopeWindow        UniqueScope = 3
	ScopeForever       UniqueScope = 4
	// ScopeUntilDue holds the key while the task is scheduled: until its due time has come, or it was started or ended
	// before. A task that is due at once is refused by a held key but holds none.
	ScopeUntilDue UniqueScope = 5
)

// UniqueConflict says what a submit does when its unique key is taken.
type UniqueConflict uint8

// The answers to a taken key.
const (
	OnConflictReject UniqueConflict = iota
	OnConflictKeep
	OnConflictReplace
)

// Unique is a unique key, hashed by UniqueHash.
type Unique struct {
	Key        [32]byte
	Scope      UniqueScope
	WindowMs   int64 // ScopeWindow
	OnConflict UniqueConflict
}

// Label is one label of a task.
type Label struct{ Key, Value string }

// Lane is queue × priority.
type Lane struct {
	ID       int32
	Queue    string
	Priority Priority
	Paused   bool
	Credit   int // tasks per app per 200 ms that a writer may ring itself; 0: the owner rings
	BellSize int // most tasks of one bell
}

// Topic is the lane's NSQ topic.
func (l Lane) Topic() string { return "taskweir." + l.Queue + "." + l.Priority.String() }

// Shard is the shard of the scheduler's work that the lane belongs to.
func (l Lane) Shard() int { return ShardOf(l.ID) }

// ShardOf is the shard of a lane: 0 … Shards-1.
func ShardOf(laneID int32) int { return int(uint32(laneID) % Shards) }

// BellKind tells start bells from expire bells.
type BellKind uint8

// The bell kinds. Their numbers are in the database: never renumber.
const (
	StartBell  BellKind = 0
	ExpireBell BellKind = 1 // executed by the scheduler, never published
	// ShellBell is a start bell of tasks of kind ShellKind, which have slots of their own: where these are taken, what waits
	// for them must not stand in the way of other tasks. A bell holds tasks of one kind of bell only.
	ShellBell BellKind = 2
	// DeadlineBell holds tasks whose attempt awaits its completion (flag Awaiting), until their time for it is over. The scheduler
	// executes it; it is never published, and no claim can win it.
	DeadlineBell BellKind = 3
	// FlowBell is a start bell of tasks that share a limit key (Bell.Flow), FlowShellBell the same of commands. They have stretches of
	// the indexes of their own, so that what waits for its key stands in nobody else's way.
	FlowBell      BellKind = 4
	FlowShellBell BellKind = 5
)

// ShellKind is the kind of tasks that run a command line.
const ShellKind = "shell"

// Starts reports whether bells of the kind start tasks.
func (k BellKind) Starts() bool { return k != ExpireBell && k != DeadlineBell }

// Shell reports whether bells of the kind start commands.
func (k BellKind) Shell() bool { return k == ShellBell || k == FlowShellBell }

// Flows reports whether bells of the kind have a flow.
func (k BellKind) Flows() bool { return k == FlowBell || k == FlowShellBell }

// WithFlow is the kind of start bells of tasks with a flow; 0: none.
func (k BellKind) WithFlow(flow int64) BellKind {
	switch {
	case flow == 0:
		return k
	case k == ShellBell:
		return FlowShellBell
	}
	return FlowBell
}

// Bell is a batch of waiting tasks of one lane, app, epoch and due time.
type Bell struct {
	ID            int64
	Kind          BellKind
	LaneID, AppID int32
	Epoch         int32 // of its tasks while they wait; the claim makes it Epoch+1
	DueAt         int64
	Direct        bool  // its writer rings it
	Keyed         bool  // some task of it may hold a unique key until it is started: the claim looks for them
	Flow          int64 // the limit key that its tasks share (FlowOf); 0: none
	Limited       bool  // not stored: a limit holds for it, so its writer leaves it to the lane's owner
	TaskIDs       []int64
}

// Item is one task inside a rung bell: what a worker needs to run it.
type Item struct {
	ID               int64
	KindID           int32
	TimeoutMs        int32
	Flags            Flags
	Failures, Losses int16
	CreatedAt        int64
	ExpiresAt        int64
	Body             []byte // EncodeBody; nil when larger than MaxInlineBody or not at hand: the worker reads it after the claim
}

// Rung is a bell with what is known of its tasks. Items may be fewer than TaskIDs, or none: a worker reads what is
// missing from the database.
type Rung struct {
	Bell
	Items []Item
}

// Claimed is what one claim transaction won.
type Claimed struct {
	ClaimID int64 // 0: nothing was won
	LaneID  int32
	Now     int64 // started_at of every task
	Tasks   []ClaimedTask
	Bells   []ClaimedBell // one for each bell asked for
}

// ClaimedTask is one task that was won.
type ClaimedTask struct {
	ID, BellID int64
	AppID      int32
	Epoch      int32 // the new epoch
	AttemptID  int64
	DueAt      int64
	Flow       int64 // of its limit key; 0: none
	Places     Flags // the places that it holds in limits (PlaceFlags)
}

// ClaimedBell says what became of one bell.
type ClaimedBell struct {
	ID        int64
	Gone      bool  // not in the table any more: FIN its message
	DueAt     int64 // in the future: keep it until then
	Remaining int   // tasks left in it, for lack of slots or of a runner
	NoRunner  int   // of Remaining: tasks of kinds this worker does not run
	Limited   bool  // more of it may not start now: FIN its message, the lane's owner rings it again
}

// Ending is one attempt that its worker reports.
type Ending struct {
	TaskID, ClaimID, AttemptID int64
	WorkerID                   int64
	AppID, LaneID, KindID      int32
	Epoch                      int32
	Flags                      Flags
	DueAt, StartedAt           int64
	ExpiresAt                  int64
	FinishedAt                 int64
	Flow                       int64 // ClaimedTask.Flow
	Places                     Flags // ClaimedTask.Places

	Outcome    Outcome
	To         State // Succeeded, Failed, Cancelled or Waiting (retry, snooze)
	Reason     Reason
	RetryAt    int64 // with Waiting
	HTTPStatus int16
	Result     []byte // nil: none; JSON or raw bytes, see ResultKind in the body of the results row
	Truncated  bool
	ErrCode    string
	ErrMessage string  // ≤ MaxErrorText
	Log        []byte  // ≤ MaxLog; nil: none
	LogSkipped int64   // bytes that were written before those of Log
	Delivery   []byte  // how the call went (Delivery as JSON); nil: not kept
	Await      bool    // with Waiting: the attempt goes on until it is completed, at the latest at RetryAt
	Unique     *Unique // with Flags.HasUnique: the key that terminate releases

	// Set by the store.
	Fenced bool  // not committed: the task is not in this epoch with this worker any more
	Final  State // the state that was committed (a cancel may have turned Waiting or Failed into Cancelled)
}

// Loaded is what a worker reads of a task whose body did not travel in the message.
type Loaded struct {
	Item
	AppID, LaneID int32
	DueAt         int64
}

// Held is how a task that a worker believes to run stands in the database.
type Held struct {
	ID       int64
	State    State
	WorkerID int64
	Epoch    int32
	CancelAt int64
}

// Claim is a claim row.
type Claim struct {
	ID, WorkerID int64
	LaneID       int32
	ClaimedAt    int64
	TaskIDs      []int64
}

// ReleaseCause says why running tasks are taken from a claim.
type ReleaseCause uint8

// The causes.
const (
	CauseLost     ReleaseCause = iota // the worker died or does not hold them: counts a loss
	CauseReleased                     // a draining worker hands them back: counts nothing
)

// WorkerInfo is what a worker says of itself; the volatile part is renewed with every beat.
type WorkerInfo struct {
	Host       string   `json:"host"`
	PID        int      `json:"pid"`
	Version    string   `json:"version"`
	StartedAt  int64    `json:"startedAt"`
	Slots      int      `json:"slots"`
	ShellSlots int      `json:"shellSlots,omitempty"`
	Queues     []string `json:"queues"` // empty: all
	Kinds      []string `json:"kinds"`
	Busy       int      `json:"busy"`
	Zombies    int      `json:"zombies"`
	// Loads says what it saw of each lane it served; the lanes' owners derive window and bell size from it.
	Loads []LaneLoad `json:"loads,omitempty"`
}

// Worker is a worker row.
type Worker struct {
	ID     int64
	State  WorkerState
	BeatAt int64
	Info   WorkerInfo
}

// App is a client application.
type App struct {
	ID          int32
	Key         string // public id
	Name        string
	CallbackURL string
	Paused      bool
	Weight      int    // share of a contended lane, 1 … 1000
	Limits      Limits // over all queues
	Secret      []byte // signing secret, sealed
	CreatedAt   int64
	Legacy      Legacy

	OldSecret      []byte // the secret before Secret, sealed; callbacks are signed with both until OldSecretUntil
	OldSecretUntil int64
	KeepDeliveries bool // callbacks that succeed at once are kept for inspection too
	Disabled       bool // none of its credentials is taken, nor new tasks of it; what waits goes on waiting, as while it is paused
}

// Legacy is what the legacy surfaces keep of an app. Any app may use them; one that was made by /v1 has their defaults.
type Legacy struct {
	Surface     string // where the app was made: "goodjob", "serendipity"; "": /v1
	Step        int    // seconds before the first retry, 1 … 3600; 0: the surface's default
	RetryTotal  int    // retries after the first run, 0 … 10; -1: the surface's default
	Remark      string // ≤ 255 characters
	HeaderStyle string // names that the signature of callbacks covers: HeaderHyphen ("" too) or HeaderUnderscore
	// SignatureMode is what the Serendipity surface asks of a request: SignatureToken ("" too) or SignatureStrict.
	SignatureMode string
}

// The signature modes of the Serendipity surface.
const (
	SignatureToken  = "token"  // signed headers are a token: taken again and again, for 30 days
	SignatureStrict = "strict" // the signature covers a digest of the request, and a nonce is taken once
)

// The header styles: which names of the headers a callback's signature covers. Both spellings are sent anyway.
const (
	HeaderHyphen     = "hyphen"     // app-key
	HeaderUnderscore = "underscore" // app_key
)

// Scope is what an API key may do. A larger scope holds the smaller ones: read < submit < manage < admin.
type Scope uint8

// The scopes. Their numbers are in the database: never renumber.
const (
	ScopeRead   Scope = 1
	ScopeSubmit Scope = 2
	ScopeManage Scope = 3
	ScopeAdmin  Scope = 4
)

// APIKey is a credential of an app. Only the hash of it is stored.
type APIKey struct {
	ID        int64
	AppID     int32
	Hash      [32]byte
	Hint      string // its last four characters
	Name      string
	Scope     Scope
	Bootstrap bool // taken over from the configuration at every start
	CreatedAt int64
	RevokedAt int64 // 0: live
}

// KindRow is a declared kind of task.
type KindRow struct {
	ID   int32
	Name string
}
