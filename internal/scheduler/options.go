package scheduler

import (
	"errors"
	"log/slog"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
)

// Options configure New.
type Options struct {
	Store     Store
	Publisher Publisher
	Witness   Witness // nil: nobody is told that the database is reached
	// Schedules is what schedules are fired from; nil: none are.
	Schedules ScheduleStore
	// Ringer rings the tasks of slots, which this process writes; nil: they are left to the lanes' owners where these are not here.
	Ringer Ringer
	// Bulks is where bulk operations are; nil: this scheduler works on none.
	Bulks BulkStore
	// Signals tells workers at once that a slot replaces what they run; nil: they see it at their next beat.
	Signals Signals
	Clock   Clock
	Logger  *slog.Logger // nil: silent
	Metrics *metrics.Set // nil: none
	// Alone says that this is the only process on its database, by the data folder's lock: there is nobody to share
	// shards with, and every worker found at the start is dead.
	Alone     bool
	Intervals Intervals
}

// Intervals say how often things happen. Zero fields take the defaults of protocol section 3.
type Intervals struct {
	Lease      time.Duration // how long a shard is held without renewal; 3 s
	LeaseLook  time.Duration // looking for shards that are nobody's; 400 ms
	LeaseRenew time.Duration // 1.5 s
	Lanes      time.Duration // re-reading lanes and apps; 500 ms
	Workers    time.Duration // re-reading workers; 1 s
	Look       time.Duration // looking for due pairs when idle; 200 ms, Alone 500 ms
	LookAhead  time.Duration // loading bells that will be due; 1 s
	Rescan     time.Duration // looking for bells before the cursor; 1 s
	Expire     time.Duration // 500 ms
	Rescue     time.Duration // 1 s
	DeadAfter  time.Duration // same beat for this long: dead; 12 s
	Rering     time.Duration // least time before a bell is rung again; 2 s
	ReringMax  time.Duration // most time between two rings of one bell; 5 min
	Publish    time.Duration // most time one publish may take; 2 s
	Query      time.Duration // most time one read may take; 3 s
	AuditWalk  time.Duration // one audit of all tasks; 10 min
	PurgeKeys  time.Duration // 10 s
	// AuditLimits is between two looks whether limits count what runs; 30 s.
	AuditLimits time.Duration
}

func (i *Intervals) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&i.Lease, 3 * time.Second}, {&i.LeaseLook, 400 * time.Millisecond}, {&i.LeaseRenew, 1500 * time.Millisecond}, {&i.Lanes, 500 * time.Millisecond},
		{&i.Workers, time.Second}, {&i.Look, 200 * time.Millisecond}, {&i.LookAhead, time.Second}, {&i.Rescan, time.Second},
		{&i.Expire, 500 * time.Millisecond}, {&i.Rescue, time.Second}, {&i.DeadAfter, 12 * time.Second},
		{&i.Rering, 2 * time.Second}, {&i.ReringMax, 5 * time.Minute}, {&i.Publish, 2 * time.Second}, {&i.Query, 3 * time.Second},
		{&i.AuditWalk, 10 * time.Minute}, {&i.PurgeKeys, 10 * time.Second},
		{&i.AuditLimits, 30 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
}

func (o *Options) check() error {
	if o.Store == nil || o.Publisher == nil || o.Clock == nil {
		return errors.New("scheduler: store, publisher and clock are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Alone && o.Intervals.Look <= 0 {
		o.Intervals.Look = 500 * time.Millisecond // who writes is in this process: it rings or wakes
	}
	o.Intervals.setDefaults()
	return nil
}
