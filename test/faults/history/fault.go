package history

import "time"

// Parts of the system that a fault may touch beside workers.
const (
	PartAPI       = "api"       // clients and APIs: an answer may be lost
	PartScheduler = "scheduler" // nothing is rung, rescued or fired meanwhile
	PartDatabase  = "database"  // transactions fail, or their answers are lost
	PartRedis     = "redis"
	PartNSQ       = "nsq"  // bells are lost, late or doubled
	PartSink      = "sink" // the network between workers and the sink
	PartClock     = "clock"
	PartDisk      = "disk"
)

// Fault is one thing that the harness did to the system.
type Fault struct {
	N       int
	Kind    string   // as the table of docs/faults.md names it: "SIGKILL worker"
	Targets []string // the processes, servers and links it was done to
	// Injected is when it began to act, Ended when the harness had taken it back (the process was started, the link was whole),
	// which is Injected where there is nothing to take back. 0 as Ended: never.
	Injected, Ended time.Duration
	// Workers are the names (Process.Name) of the workers that it stopped, cut off or delayed, by its target or because it took
	// away what they need: a database that is away cuts off every worker. Only these may run a task twice because of it.
	Workers []string
	Parts   []string // what it touched beside workers
	// Late says that it can make a worker act late without knowing: the process was stopped, or cut off from the database,
	// while it went on or before it went on. Without it an effect of an old epoch is a violation.
	Late bool
	// Skew is how far the clocks (of the processes in Targets and Workers) may be off because of it; 0: not at all.
	Skew time.Duration
	// Recovered is how long after Ended everything due was picked up again; 0: not measured.
	Recovered time.Duration
}

// Clock relates the clocks of a run. Samples are in order of At.
type Clock struct {
	Database []Sample // the database's clock
	Sink     []Lag    // how late the sink's handlers begin
}

// Sample is one reading of the database's clock: it showed DB at some moment between At and At + Trip.
type Sample struct {
	At, Trip time.Duration
	DB       int64 // ms since 1970 UTC, of the database's clock; truncated, so that up to 1 ms more is meant
}

// Lag is one probe of the sink: it took Lag from the moment its caller began to send until the handler began.
type Lag struct{ At, Lag time.Duration }
