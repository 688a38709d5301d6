package rdb

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	lookFor  = time.Second     // how long an answer is waited for
	replyTTL = 5 * time.Second // how long one is kept for whoever asked
	maxReply = 256 << 10       // bytes of an answer
	maxLooks = 32              // that wait for an answer at once, in this process
)

// ErrSilent is what Look answers when the worker does not.
var ErrSilent = errors.New("the worker did not answer in time")

// Look asks a worker, of whichever process, what it sees of an attempt, and waits up to a second for its answer. Its error
// means that Redis is gone, that the worker does not answer (ErrSilent), or that too many ask at once (ErrSilent too).
//
// The answer is a key that ends by itself. It is asked for again and again, at growing pauses, instead of being waited for
// on a connection: one that blocks would be missing for signals and nonces.
func (c *Client) Look(ctx context.Context, workerID, taskID int64, epoch int32) (task.LiveDetail, error) {
	return c.ask(ctx, workerID, task.Signal{Kind: "look", TaskID: taskID, Epoch: epoch})
}

// Peek is Look without stacks, which cost the worker most, and with what the attempt wrote from a byte on (negative: without).
func (c *Client) Peek(ctx context.Context, workerID, taskID int64, epoch int32, from int64) (task.LiveDetail, error) {
	return c.ask(ctx, workerID, task.Signal{Kind: "peek", TaskID: taskID, Epoch: epoch, From: from})
}

func (c *Client) ask(ctx context.Context, workerID int64, question task.Signal) (task.LiveDetail, error) {
	var d task.LiveDetail
	select {
	case c.looks <- struct{}{}:
		defer func() { <-c.looks }()
	default:
		return d, fmt.Errorf("look: %w: too many ask at once", ErrSilent)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookFor, ErrSilent)
	defer cancel()
	token := rand.Text()
	question.Reply = token
	if err := c.Signal(ctx, workerID, question); err != nil {
		return d, err
	}
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 40*time.Millisecond) {
		select {
		case <-ctx.Done():
			return d, fmt.Errorf("look: %w", context.Cause(ctx))
		case <-time.After(pause):
		}
		raw, err := c.reply(ctx, workerID, token)
		switch {
		case ctx.Err() != nil || errors.Is(err, redis.Nil):
			continue // not yet; or the end of the time, which the next round says
		case err != nil:
			return d, err
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			return d, fmt.Errorf("look: answer not readable: %w", err)
		}
		return d, nil
	}
}

func (c *Client) reply(ctx context.Context, workerID int64, token string) (raw []byte, err error) {
	err = c.do(ctx, "read live detail", func(ctx context.Context) (err error) {
		raw, err = c.rdb.Get(ctx, replyKey(workerID, token)).Bytes()
		return err
	})
	return raw, err
}

// Answer answers a look. Of what is too large for one answer, the last goroutines are left out.
func (c *Client) Answer(ctx context.Context, workerID int64, reply string, d task.LiveDetail) error {
	raw, err := json.Marshal(d)
	for err == nil && len(raw) > maxReply && len(d.Goroutines) > 0 {
		d.Goroutines = d.Goroutines[:len(d.Goroutines)-1]
		raw, err = json.Marshal(d)
	}
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return c.do(ctx, "answer", func(ctx context.Context) error {
		return c.rdb.Set(ctx, replyKey(workerID, reply), raw, replyTTL).Err()
	})
}
