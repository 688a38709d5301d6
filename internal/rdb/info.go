package rdb

import (
	"context"
	"fmt"
	"strings"
)

// Info gives the fields of INFO (redis_version, role, maxmemory_policy, …); empty for a server that has none of it. For
// people who diagnose, not for programs that decide.
func (c *Client) Info(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	text, err := c.rdb.Info(ctx).Result()
	if replied(err) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[k] = v
		}
	}
	return out, nil
}
