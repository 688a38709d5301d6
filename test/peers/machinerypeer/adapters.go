package machinerypeer

import (
	"context"

	"github.com/taskweir/taskweir/test/peers/servers"
	"github.com/taskweir/taskweir/test/peers/system"
)

// Tuned is machinery with the settings that did best on two processors.
func Tuned() system.Adapter {
	return adapter("machinery", "machinery, Redis without persistence (not durable)", tuning{concurrency: 32, delayedPoll: 1}, []system.Setting{
		{Name: "concurrency", Value: "32"},
		{Name: "DelayedTasksPollPeriod", Value: "1 ms"},
	})
}

// Results is the same with its results in Redis, as in its examples, so that the state of a task can be read as with every other
// system here.
func Results() system.Adapter {
	return adapter("machinery-results", "machinery, Redis without persistence (not durable), with results", tuning{concurrency: 32, delayedPoll: 1, results: true}, []system.Setting{
		{Name: "concurrency", Value: "32"},
		{Name: "DelayedTasksPollPeriod", Value: "1 ms"},
	})
}

// Stock is machinery with its default settings.
func Stock() system.Adapter {
	a := adapter("machinery-stock", "machinery, Redis without persistence (not durable), default settings", tuning{}, []system.Setting{
		{Name: "concurrency", Value: "2 × number of processors (default)"},
		{Name: "DelayedTasksPollPeriod", Value: "500 ms (default)"},
	})
	a.Tuned = "machinery"
	return a
}

// All are the adapters of this package.
func All() []system.Adapter { return []system.Adapter{Tuned(), Results(), Stock()} }

// tuning is what differs from machinery's defaults; a zero is the default.
type tuning struct {
	concurrency int
	delayedPoll int  // ms
	results     bool // keep them, in the same Redis
}

func (t tuning) backend() string {
	if t.results {
		return "Redis, kept for an hour (default)"
	}
	return "null: neither state nor result of a task can be read"
}

func adapter(name, title string, with tuning, settings []system.Setting) system.Adapter {
	return system.Adapter{
		Name: name, Title: title, Unrecorded: !with.results,
		Settings: append(settings, system.Setting{Name: "result backend", Value: with.backend()}, system.Setting{Name: "all others", Value: "default"}),
		Modules:  []string{"github.com/RichardKnop/machinery/v2", "github.com/redis/go-redis/v9"},
		Missing:  servers.MissingRedis,
		Serve: func(ctx context.Context, dir string) (system.Servers, error) {
			return servers.All(ctx, dir, servers.Redis(servers.InMemory))
		},
		Open: func(ctx context.Context, addrs map[string]string, _ string, h system.Handler) (system.System, error) {
			return open(ctx, addrs["redis"], h, with)
		},
	}
}
