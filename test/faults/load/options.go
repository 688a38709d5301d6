package load

import (
	"errors"
	"log/slog"
	"time"
)

// Options say what a Load does. APIs, Key and Database are required.
type Options struct {
	APIs     []string // base URLs; each call begins at another one
	Key      string   // with scope admin: the load makes an app and queues of its own
	Database string   // as TASKWEIR_DATABASE_URL, reached without any of the faults: what is read is the truth
	Seed     uint64
	Rate     float64       // tasks each second; 0: 100
	Clients  int           // 0: 16
	Fence    bool          // the sink refuses stale calls with 409
	Sink     string        // address to listen on; empty: a free port of loopback
	SinkURL  string        // by which tasks call the sink, where something stands before it; empty: its address
	Began    time.Time     // origin of all times; zero: now
	PerTry   time.Duration // how long a try may take; 0: 10 s
	Patience time.Duration // how long a call is repeated; 0: 2 min
	Limit    int           // tasks of the limited queue, and of the limit key, that may run at once; 0: 4
	// NoLimitKey leaves limit keys out: a build before them is among the APIs, and refuses what it does not know.
	NoLimitKey bool
	// Schedules is how many schedules fire each second; 0: 2, negative: none.
	Schedules int
	// Shifting says that clocks are moved: schedules fire each minute, and which slots there must be is not asked.
	Shifting bool
	Log      *slog.Logger // nil: none
}

func (o *Options) defaults() error {
	if len(o.APIs) == 0 || o.Key == "" || o.Database == "" {
		return errors.New("load: APIs, Key and Database are required")
	}
	if o.Rate <= 0 {
		o.Rate = 100
	}
	if o.Clients <= 0 {
		o.Clients = 16
	}
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	if o.PerTry <= 0 {
		o.PerTry = 10 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 2 * time.Minute
	}
	if o.Limit <= 0 {
		o.Limit = 4
	}
	if o.Schedules == 0 {
		o.Schedules = 2
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
