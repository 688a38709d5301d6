package rdb

import (
	"context"
	"time"
)

const witnessTTL = 6 * time.Second

// SawDatabase says that this scheduler has just reached the database. When Redis is gone nobody hears it: a worker that
// does not reach the database then stops its tasks in time.
func (c *Client) SawDatabase(ctx context.Context) error {
	return c.do(ctx, "bear witness", func(ctx context.Context) error {
		return c.rdb.Set(ctx, witnessKey(), 1, witnessTTL).Err()
	})
}

// DatabaseSeen reports whether a scheduler said in the last 6 s that it reaches the database; false when Redis is gone.
func (c *Client) DatabaseSeen(ctx context.Context) bool {
	var n int64
	err := c.do(ctx, "ask the witness", func(ctx context.Context) (err error) {
		n, err = c.rdb.Exists(ctx, witnessKey()).Result()
		return err
	})
	return err == nil && n > 0
}
