package task

// FoldRequest bounds one step of summing statistics up.
type FoldRequest struct {
	Minute int64 // walk on behind this unix minute and app
	App    int32
	Before int64 // minutes before this one
	Limit  int   // rows, about
}

// FoldReport says what one step did, and where it stands.
type FoldReport struct {
	Minute      int64
	App         int32
	Folded      int  // rows summed up
	SteppedOver int  // rows that cannot be summed up, and stay
	More        bool // the walk is not at its end
}

// StatsBy is what figures are grouped by.
type StatsBy string

// Groupings of figures.
const (
	StatsByNothing StatsBy = ""
	StatsByQueue   StatsBy = "queue"
	StatsByApp     StatsBy = "app"
	StatsByKind    StatsBy = "kind"
)

// StatsQuery asks for figures of [From, To), in steps.
type StatsQuery struct {
	AppID    int32 // 0: every app but the system's
	From, To int64 // ms, multiples of StepMs
	StepMs   int64 // a multiple of a minute
	By       StatsBy
}

// Stat is the figures of one step and key. Each counts tasks, but Retried, TimedOut and Lost, which count attempts.
type Stat struct {
	At                                                               int64  // the step's start, ms
	Key                                                              string // queue, kind or app key; empty with StatsByNothing
	Submitted, Succeeded, Failed, Retried, TimedOut, Cancelled, Lost int64
	WaitP95, RunP95                                                  int64 // ms; -1: nothing was counted
}
