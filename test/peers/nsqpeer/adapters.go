package nsqpeer

import (
	"context"

	"github.com/taskweir/taskweir/test/peers/servers"
	"github.com/taskweir/taskweir/test/peers/system"
)

// handlers are the goroutines that run messages.
const handlers = 64

// Wide lets nsqd send many messages ahead.
func Wide() system.Adapter {
	return adapter("nsq", "bare NSQ (not durable; the transport's bound)", tuning{inFlight: 2000, unbuffered: true}, []system.Setting{
		{Name: "handlers", Value: "64"},
		{Name: "MaxInFlight", Value: "2000"},
		{Name: "OutputBufferSize", Value: "-1 (off)"},
		{Name: "all others", Value: "default"},
	})
}

// Narrow is Wide with fewer messages ahead.
func Narrow() system.Adapter {
	return adapter("nsq-200", "bare NSQ (not durable; the transport's bound), MaxInFlight 200", tuning{inFlight: 200, unbuffered: true}, []system.Setting{
		{Name: "handlers", Value: "64"},
		{Name: "MaxInFlight", Value: "200"},
		{Name: "OutputBufferSize", Value: "-1 (off)"},
		{Name: "all others", Value: "default"},
	})
}

// Stock is NSQ with the default output buffer.
func Stock() system.Adapter {
	a := adapter("nsq-stock", "bare NSQ (not durable; the transport's bound), default output buffer", tuning{inFlight: 2000}, []system.Setting{
		{Name: "handlers", Value: "64"},
		{Name: "MaxInFlight", Value: "2000"},
		{Name: "OutputBufferSize, OutputBufferTimeout", Value: "16384, 250 ms (defaults)"},
		{Name: "all others", Value: "default"},
	})
	a.Tuned = "nsq"
	return a
}

// All are the adapters of this package.
func All() []system.Adapter { return []system.Adapter{Wide(), Narrow(), Stock()} }

// tuning is what differs from the defaults.
type tuning struct {
	inFlight   int
	unbuffered bool
}

func adapter(name, title string, with tuning, settings []system.Setting) system.Adapter {
	return system.Adapter{
		Name: name, Title: title, Settings: settings,
		Modules: []string{"github.com/nsqio/go-nsq"},
		Missing: servers.MissingNSQ,
		Serve: func(ctx context.Context, dir string) (system.Servers, error) {
			return servers.All(ctx, dir, servers.NSQ)
		},
		Open: func(ctx context.Context, addrs map[string]string, _ string, h system.Handler) (system.System, error) {
			return open(ctx, addrs["nsqd"], addrs["nsqd-http"], h, with)
		},
	}
}
