package rdb

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxNonces bounds the process's own memory of nonces (about 5 MB).
const maxNonces = 100_000

// While several requests come at a time, those of gatherNonces share a message to Redis: a message costs both sides more than
// the nonces in it. Nobody waits for it who comes alone, nor when messages are large anyway.
const (
	gatherNonces = time.Millisecond
	manyNonces   = 64
)

// Nonces remembers which nonces were used, for all processes together. While Redis is gone, each process remembers those
// that it saw itself; when that memory is full of nonces that are still valid, it refuses rather than forgets.
type Nonces struct {
	client *Client

	mu   sync.Mutex
	used map[nonceID]time.Duration // to its end, since born; holds no pointers, so that collecting garbage does not look at it
	next time.Duration             // earliest time of the next sweep of a full memory, since born
	max  int
	born time.Time // monotonic

	queue   sync.Mutex
	sending bool     // somebody talks to Redis
	waiting *burning // what gathered meanwhile
}

// nonceID is the hash of a nonce's key.
type nonceID [16]byte

func idOf(key string) nonceID {
	sum := sha256.Sum256([]byte(key))
	return nonceID(sum[:16])
}

// burning is what several callers burn by one message to Redis. Who comes while nobody talks to it does at once, alone; the
// others gather, and one of them does it for all.
type burning struct {
	keys []string
	ttl  []time.Duration
	won  []bool
	err  error
	turn chan struct{} // one of those who wait takes it and sends
	done chan struct{} // closed when won and err are set
}

func newNonces(c *Client) *Nonces {
	return &Nonces{client: c, used: make(map[nonceID]time.Duration), max: maxNonces, born: time.Now()}
}

// Burn uses up a nonce of an app and reports whether it was fresh. It is remembered for ttl, which must be at least as
// long as a request with this nonce would be accepted.
func (n *Nonces) Burn(ctx context.Context, app int32, nonce string, ttl time.Duration) (fresh bool) {
	key := nonceKey(app, nonce)
	fresh, noted := n.remember(idOf(key), ttl)
	if !fresh {
		return false
	}
	won, err := n.burn(ctx, key, ttl)
	if err != nil {
		return noted
	}
	return won
}

// burn sets a key in Redis and reports whether it was not there.
func (n *Nonces) burn(ctx context.Context, key string, ttl time.Duration) (won bool, err error) {
	n.queue.Lock()
	b := n.waiting
	if b == nil {
		b = &burning{turn: make(chan struct{}, 1), done: make(chan struct{})}
	}
	at := len(b.keys)
	b.keys, b.ttl = append(b.keys, key), append(b.ttl, ttl)
	if n.sending {
		n.waiting = b
	} else {
		n.sending = true
		b.turn <- struct{}{}
	}
	n.queue.Unlock()
	select {
	case <-b.turn:
		n.send(ctx, b)
	case <-b.done:
	}
	return b.won[at], b.err
}

// send sets the keys of all who gathered and gives the turn on. It is not one caller's: it goes on when that one leaves.
func (n *Nonces) send(ctx context.Context, b *burning) {
	b.won = make([]bool, len(b.keys))
	b.err = n.client.do(context.WithoutCancel(ctx), "burn nonce", func(ctx context.Context) error {
		answers := make([]*redis.BoolCmd, len(b.keys))
		_, err := n.client.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, key := range b.keys {
				answers[i] = p.SetNX(ctx, key, 1, b.ttl[i])
			}
			return nil
		})
		for i, a := range answers {
			b.won[i] = a.Val()
		}
		return err
	})
	close(b.done)
	if len(b.keys) > 1 && len(b.keys) < manyNonces {
		time.AfterFunc(gatherNonces, n.passOn)
		return
	}
	n.passOn()
}

// passOn gives the turn to one of those who gathered.
func (n *Nonces) passOn() {
	n.queue.Lock()
	defer n.queue.Unlock()
	next := n.waiting
	n.waiting, n.sending = nil, next != nil
	if next != nil {
		next.turn <- struct{}{}
	}
}

// remember notes a key in the process. fresh: it was new to it; noted: there was room for it.
func (n *Nonces) remember(key nonceID, ttl time.Duration) (fresh, noted bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Since(n.born)
	if end, ok := n.used[key]; ok && now < end {
		return false, true
	}
	if len(n.used) >= n.max && !n.sweep(now) {
		return true, false
	}
	n.used[key] = now + ttl
	return true, true
}

// sweep forgets what has ended, at most once a second, and reports whether there is room.
func (n *Nonces) sweep(now time.Duration) bool {
	if now < n.next {
		return len(n.used) < n.max
	}
	n.next = now + time.Second
	for k, end := range n.used {
		if now >= end {
			delete(n.used, k)
		}
	}
	return len(n.used) < n.max
}
