// Package dbclock keeps the database's clock in a process: the only wall clock of Taskweir. Everything that is stored or
// compared with a stored time uses it, so that hosts whose clocks disagree by minutes agree on what is due.
//
// A Clock is the process's monotonic clock plus an offset. Sync asks the database five times and believes the quickest
// answer: the true offset then lies within one round trip, and Uncertainty says how far off Now can be. A measurement
// moves the clock forward to the middle of what it allows, but back only as far as it proves that the clock is ahead, so
// jitter between measurements never makes Now go backwards; a database whose clock was set back does, once.
//
// A database inside the process (SQLite) has the host's clock: its source is Host.
package dbclock

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	roundTrips = 5               // per Sync
	every      = 5 * time.Second // between syncs in Run
)

// Source asks the database for its time, in microseconds since 1970 UTC.
type Source func(ctx context.Context) (micros int64, err error)

// Host is the source of a database that runs inside this process.
func Host(context.Context) (int64, error) { return time.Now().UnixMicro(), nil }

// Clock tells the database's time. It is safe for concurrent use. Before the first Sync it tells the host's time.
type Clock struct {
	source Source
	log    *slog.Logger
	start  time.Time // its monotonic reading is the origin of elapsed

	mu           sync.RWMutex
	offset       int64 // database time minus elapsed, µs
	ahead, after int64 // how far Now may be before and behind the database's time, µs
}

// New makes a clock. log may be nil.
func New(source func(ctx context.Context) (micros int64, err error), log *slog.Logger) *Clock {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	start := time.Now()
	return &Clock{source: source, log: log, start: start, offset: start.UnixMicro(), ahead: -1}
}

// Sync measures the offset. With an error the clock is as it was.
func (c *Clock) Sync(ctx context.Context) error {
	var lo, hi int64
	for i := range roundTrips {
		sent := c.elapsed()
		at, err := c.source(ctx)
		if err != nil {
			return fmt.Errorf("read the database's clock: %w", err)
		}
		received := c.elapsed()
		if l, h := at-received, at-sent; i == 0 || h-l < hi-lo {
			lo, hi = l, h
		}
	}
	c.adopt(lo, hi)
	return nil
}

// adopt moves the offset into [lo, hi]: to the middle when that is forward, else back by the least that is needed.
func (c *Clock) adopt(lo, hi int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.offset
	if mid := lo + (hi-lo)/2; c.ahead < 0 || mid >= c.offset {
		c.offset = mid
	} else {
		c.offset = min(c.offset, hi)
	}
	if moved := c.offset - was; c.ahead >= 0 && (moved > 1_000_000 || moved < -100_000) {
		c.log.Warn("the database's clock moved", "by", time.Duration(moved)*time.Microsecond)
	}
	c.ahead, c.after = c.offset-lo, hi-c.offset
}

// Run syncs every 5 s until ctx ends. A failed sync is logged and leaves the clock running on the last offset.
func (c *Clock) Run(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := c.Sync(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("clock not synchronised", "err", err)
			}
		}
	}
}

// Now is the database's time in ms since 1970 UTC.
func (c *Clock) Now() int64 { return c.NowMicros() / 1000 }

// NowMicros is the database's time in µs since 1970 UTC.
func (c *Clock) NowMicros() int64 {
	c.mu.RLock()
	offset := c.offset
	c.mu.RUnlock()
	return offset + c.elapsed()
}

// Until is how long to wait until the database's time has surely reached the instant dueMs: the measured error is added.
// Zero or negative when it is surely past.
func (c *Clock) Until(dueMs int64) time.Duration {
	return time.Duration(dueMs*1000-c.NowMicros())*time.Microsecond + c.Uncertainty()
}

// Uncertainty is how far Now may be off, as measured by the last Sync. Who must not be early waits that much longer.
func (c *Clock) Uncertainty() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return time.Duration(max(c.ahead, c.after, 0)) * time.Microsecond
}

// OffsetFromHost is the database's time minus the host's time, for people who look for a clock that is wrong.
func (c *Clock) OffsetFromHost() time.Duration {
	return time.Duration(c.NowMicros()-time.Now().UnixMicro()) * time.Microsecond
}

func (c *Clock) elapsed() int64 { return time.Since(c.start).Microseconds() }
