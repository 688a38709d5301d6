package rdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	listenPing  = 3 * time.Second // silence after which a listener asks whether the server is still there
	listenRetry = 500 * time.Millisecond
	maxSignal   = 4 << 10 // bytes of a signal that is looked at
)

// Signal tells a worker to act at once. It is lost when the worker does not listen; the database has it already.
func (c *Client) Signal(ctx context.Context, workerID int64, s task.Signal) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	return c.do(ctx, "signal", func(ctx context.Context) error {
		return c.rdb.Publish(ctx, signalChannel(workerID), raw).Err()
	})
}

// Listen delivers a worker's signals until ctx ends or the client is closed. It connects again by itself, for ever, twice
// a second. Signals sent while it has no connection are lost.
func (c *Client) Listen(ctx context.Context, workerID int64, signal func(task.Signal)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	for ctx.Err() == nil {
		err := c.listenOnce(ctx, workerID, signal)
		if ctx.Err() != nil {
			return
		}
		c.log.Debug("not listening for signals", "worker", workerID, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(listenRetry):
		}
	}
}

// listenOnce listens on one connection until it breaks.
func (c *Client) listenOnce(ctx context.Context, workerID int64, signal func(task.Signal)) error {
	sub := c.rdb.Subscribe(ctx)
	defer sub.Close()
	defer context.AfterFunc(ctx, func() { sub.Close() })()
	if err := sub.Subscribe(ctx, signalChannel(workerID)); err != nil {
		return err
	}
	asked := false
	for {
		got, err := sub.ReceiveTimeout(ctx, listenPing)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case errors.As(err, &timeout) && timeout.Timeout() && !asked && ctx.Err() == nil:
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			asked = true
			continue
		default:
			return err
		}
		if m, ok := got.(*redis.Message); ok && len(m.Payload) <= maxSignal {
			var s task.Signal
			if json.Unmarshal([]byte(m.Payload), &s) == nil && s.Kind != "" {
				signal(s)
			}
		}
	}
}
