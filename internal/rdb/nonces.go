package rdb

import (
	"context"
	"sync"
	"time"
)

// maxNonces bounds the process's own memory of nonces (about 10 MB).
const maxNonces = 100_000

// Nonces remembers which nonces were used, for all processes together. While Redis is gone, each process remembers those
// that it saw itself; when that memory is full of nonces that are still valid, it refuses rather than forgets.
type Nonces struct {
	client *Client

	mu   sync.Mutex
	used map[string]time.Time // key to its end, by the monotonic clock
	next time.Time            // earliest time of the next sweep of a full memory
	max  int
}

func newNonces(c *Client) *Nonces {
	return &Nonces{client: c, used: make(map[string]time.Time), max: maxNonces}
}

// Burn uses up a nonce of an app and reports whether it was fresh. It is remembered for ttl, which must be at least as
// long as a request with this nonce would be accepted.
func (n *Nonces) Burn(ctx context.Context, app int32, nonce string, ttl time.Duration) (fresh bool) {
	key := nonceKey(app, nonce)
	fresh, noted := n.remember(key, ttl)
	if !fresh {
		return false
	}
	won := false
	err := n.client.do(ctx, "burn nonce", func(ctx context.Context) (err error) {
		won, err = n.client.rdb.SetNX(ctx, key, 1, ttl).Result()
		return err
	})
	if err != nil {
		return noted
	}
	return won
}

// remember notes a key in the process. fresh: it was new to it; noted: there was room for it.
func (n *Nonces) remember(key string, ttl time.Duration) (fresh, noted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if end, ok := n.used[key]; ok && now.Before(end) {
		return false, true
	}
	if len(n.used) >= n.max && !n.sweep(now) {
		return true, false
	}
	n.used[key] = now.Add(ttl)
	return true, true
}

// sweep forgets what has ended, at most once a second, and reports whether there is room.
func (n *Nonces) sweep(now time.Time) bool {
	if now.Before(n.next) {
		return len(n.used) < n.max
	}
	n.next = now.Add(time.Second)
	for k, end := range n.used {
		if !now.Before(end) {
			delete(n.used, k)
		}
	}
	return len(n.used) < n.max
}
