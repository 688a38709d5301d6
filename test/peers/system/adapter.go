package system

import (
	"context"

	"github.com/taskweir/taskweir/internal/testkit"
)

// Adapter is one system in one setting.
type Adapter struct {
	// Name is short, unique and fit for a flag: "asynq-aof".
	Name string
	// Title is for people: "asynq, appendonly everysec".
	Title string
	// Durable says what has reached the disk when a submit returns: "commit is synced", "synced each second". Empty: nothing.
	Durable string
	// Tuned is the Name of the adapter whose stock settings this one shows. Such an adapter takes part only in what its
	// settings change: pickup and delays. Empty: it takes part in everything.
	Tuned string
	// Throughput says of an adapter with stock settings that they change throughput as well: it takes part in drain, steady work and
	// callbacks too.
	Throughput bool
	// Unrecorded says that nothing can be asked about a task, neither its state nor its result: there is no record of it.
	Unrecorded bool
	// Transport says that this is no task queue but what one may be built on. It is shown as a bound, and is no peer when ratios
	// are made.
	Transport bool
	// Learns says that the system adapts to the tasks it has seen, and is given some seconds for that after the first ones.
	Learns bool
	// Settings are all that differ from the system's own defaults, and the stock values that matter, in the order shown.
	Settings []Setting
	// Modules are the paths of the Go modules whose versions the report shows.
	Modules []string
	// Missing lists what this machine lacks for Serve. The leader installs the packages and asks again. nil: never anything.
	Missing func(ctx context.Context) []testkit.Missing
	// Serve starts the servers of this adapter, its own and private, in dir, which is its own and is removed afterwards. On an
	// error nothing is left running. Systems without servers leave it nil.
	Serve func(ctx context.Context, dir string) (Servers, error)
	// Open connects to the servers and makes everything ready for Submit, not working yet. dir is a folder for this process
	// alone.
	Open func(ctx context.Context, addrs map[string]string, dir string, h Handler) (System, error)
}

// Setting is one line of the settings that the report shows.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Servers are the running servers of one adapter.
type Servers interface {
	// Addrs are what Open needs to find them. They pass through JSON.
	Addrs() map[string]string
	// Processes are the servers whose processor time and memory count, each with all its children.
	Processes() map[string]int
	// Versions are the versions that the servers say themselves: "Redis" → "7.0.15".
	Versions(ctx context.Context) (map[string]string, error)
	// Stop ends them. Their data goes away: killing is fine.
	Stop() error
}
