package schedule

import (
	"fmt"

	"github.com/taskweir/taskweir/internal/task"
)

// Limits of schedules, in milliseconds, counts and characters.
const (
	LookAheadMs = 2_000  // how far ahead of its instant a slot may be inserted
	GraceMs     = 10_000 // a slot that is later than this was missed
	MaxName     = 100
	MaxJitterMs = 86_400_000
	MaxHeld     = 1_000 // slots that wait for earlier runs; more are skipped
	MaxBackfill = 1_000 // slots of one backfill
	MaxFires    = 1_000 // of one preview
	MaxFailures = 1_000 // maxConsecutiveFailures
	// RangeOver is how many missed slots in a row are skipped one row each. More of them share one row with their count, so that
	// a long downtime of a fast schedule does not write rows for hours.
	RangeOver = 1_000
	// Never is the next slot of a schedule that has none: paused, ended or used up.
	Never int64 = 1 << 62

	DefaultMaxAgeMs = 3_600_000
)

// Origins of slots. Larger ones are ids of backfills.
const (
	Planned int64 = 0
	Manual  int64 = 1
	// FirstBackfill is the smallest id of a backfill.
	FirstBackfill int64 = 16
)

// Overlap says what happens to a slot while an earlier run of the schedule has not ended.
type Overlap uint8

// The overlap policies. Their numbers are in the database: never renumber.
const (
	Allow          Overlap = 0 // starts beside it
	Skip           Overlap = 1 // is skipped
	Queue          Overlap = 2 // waits for it; one run after the other, in the order of slots
	CancelPrevious Overlap = 3 // cancels it and starts when it has ended; slots that waited are skipped
)

var overlapNames = [...]string{"allow", "skip", "queue", "cancel_previous"}

// String is the name on the wire.
func (o Overlap) String() string { return nameOf(overlapNames[:], int(o)) }

// ParseOverlap knows the names on the wire; empty is allow.
func ParseOverlap(s string) (Overlap, bool) {
	i, ok := parse(overlapNames[:], s)
	return Overlap(i), ok
}

// Misfire says what happens to slots that were missed.
type Misfire uint8

// The misfire policies. Their numbers are in the database: never renumber.
const (
	MisfireOnce Misfire = 0 // the newest one runs, unless it is older than the maximum age; the others are skipped
	MisfireSkip Misfire = 1 // all are skipped
	MisfireAll  Misfire = 2 // each runs, oldest first, but those older than the maximum age
)

var misfireNames = [...]string{"once", "skip", "all"}

// String is the name on the wire.
func (m Misfire) String() string { return nameOf(misfireNames[:], int(m)) }

// ParseMisfire knows the names on the wire; empty is once.
func ParseMisfire(s string) (Misfire, bool) {
	i, ok := parse(misfireNames[:], s)
	return Misfire(i), ok
}

// Outcome is what became of a slot.
type Outcome uint8

// The outcomes. Their numbers are in the database: never renumber.
const (
	Fired          Outcome = 1 // has a task
	SkippedOverlap Outcome = 2 // an earlier run had not ended
	SkippedMisfire Outcome = 3 // missed
	Held           Outcome = 4 // waits for earlier runs; becomes fired or skipped_overlap
	FailedTemplate Outcome = 5 // no task could be made; Detail says why
	SkippedByUser  Outcome = 6 // skip-next
)

var outcomeNames = [...]string{"", "fired", "skipped_overlap", "skipped_misfire", "held", "failed_template", "skipped"}

// String is the name on the wire.
func (o Outcome) String() string { return nameOf(outcomeNames[:], int(o)) }

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("unknown_%d", i)
	}
	return names[i]
}

func parse(names []string, s string) (int, bool) {
	if s == "" {
		return 0, true
	}
	for i, n := range names {
		if n == s {
			return i, true
		}
	}
	return 0, false
}

// PauseReason says who paused a schedule.
type PauseReason uint8

// The reasons. Their numbers are in the database: never renumber.
const (
	NotPaused      PauseReason = 0
	PausedByUser   PauseReason = 1
	PausedFailures PauseReason = 2 // maxConsecutiveFailures was reached
)

var pauseNames = [...]string{"", "by_user", "failures"}

// String is the name on the wire; empty while it is not paused.
func (p PauseReason) String() string { return nameOf(pauseNames[:], int(p)) }

// Row is a schedule as stored.
type Row struct {
	ID      int64
	AppID   int32
	Name    string // unique in its app
	Version int64  // grows with every change by a client or person, not with fires: the ETag
	Pause   PauseReason
	// NextAt is the first planned slot that has no row yet; Never when there is none. While paused it is Never.
	NextAt     int64
	Failures   int // runs that failed since the last one that succeeded
	CreatedAt  int64
	UpdatedAt  int64
	Definition []byte // Definition.Encode
}

// Shard is the shard of the scheduler's work that a schedule belongs to.
func Shard(id int64) int { return int(uint64(id) % task.Shards) }

// Slot is a slot row.
type Slot struct {
	ScheduleID int64
	Origin     int64 // Planned, Manual or a backfill's id
	At         int64
	// LastAt and Count stand for a range of skipped slots when Count > 1: Count planned slots from At to LastAt.
	LastAt  int64
	Count   int64
	TaskID  int64 // 0: none
	Outcome Outcome
	FiredAt int64  // when it was decided, by the database's clock; a held one when it was released
	Detail  string // why, with FailedTemplate; ≤ 255 bytes
}

// Run is a task of a schedule that keeps track of its runs (Definition.Tracked).
type Run struct {
	TaskID, ScheduleID int64
	State              task.State // Succeeded, Failed or Cancelled
}
