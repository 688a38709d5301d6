package asynqpeer

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/test/peers/servers"
	"github.com/taskweir/taskweir/test/peers/system"
)

// tuned is what did best on two processors of all that was tried: the second server adds a second loop that fetches.
var tuned = tuning{servers: 2, concurrency: 32, check: 5 * time.Millisecond, delayed: 5 * time.Millisecond}

// AOF is asynq on a Redis that appends to a file flushed each second, the most durable way that asynq's manual knows of.
func AOF() system.Adapter {
	return adapter("asynq-aof", "asynq, Redis AOF everysec", "appended; synced each second", servers.EverySecond, tuned)
}

// Memory is asynq on a Redis without persistence.
func Memory() system.Adapter {
	return adapter("asynq-mem", "asynq, Redis without persistence (not durable)", "", servers.InMemory, tuned)
}

// StockAOF is AOF with asynq's default settings.
func StockAOF() system.Adapter {
	return stock(adapter("asynq-aof-stock", "asynq, Redis AOF everysec, default settings", "appended; synced each second", servers.EverySecond, tuning{servers: 1}), "asynq-aof")
}

// StockMemory is Memory with asynq's default settings.
func StockMemory() system.Adapter {
	return stock(adapter("asynq-mem-stock", "asynq, Redis without persistence (not durable), default settings", "", servers.InMemory, tuning{servers: 1}), "asynq-mem")
}

// All are the adapters of this package.
func All() []system.Adapter {
	return []system.Adapter{AOF(), Memory(), StockAOF(), StockMemory()}
}

func stock(a system.Adapter, of string) system.Adapter {
	a.Tuned = of
	a.Settings = []system.Setting{
		{Name: "Concurrency", Value: "number of processors (default)"},
		{Name: "TaskCheckInterval", Value: "1 s (default)"},
		{Name: "DelayedTaskCheckInterval", Value: "5 s (default)"},
	}
	return a
}

func adapter(name, title, durable string, keep servers.Keeping, with tuning) system.Adapter {
	return system.Adapter{
		Name: name, Title: title, Durable: durable,
		Settings: []system.Setting{
			{Name: "servers in the process × Concurrency", Value: "2 × 32"},
			{Name: "TaskCheckInterval", Value: with.check.String()},
			{Name: "DelayedTaskCheckInterval", Value: with.delayed.String()},
			{Name: "all others", Value: "default"},
		},
		Modules: []string{"github.com/hibiken/asynq", "github.com/redis/go-redis/v9"},
		Missing: servers.MissingRedis,
		Serve: func(ctx context.Context, dir string) (system.Servers, error) {
			return servers.All(ctx, dir, servers.Redis(keep))
		},
		Open: func(ctx context.Context, addrs map[string]string, _ string, h system.Handler) (system.System, error) {
			return open(ctx, addrs["redis"], h, with)
		},
	}
}
