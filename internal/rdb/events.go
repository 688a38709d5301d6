package rdb

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/events"
)

const (
	eventsFor   = 10 * time.Minute           // how long events can be read
	audienceTTL = eventsFor + 30*time.Second // an audience outlives the events that it could ask for
	youngTTL    = 2500 * time.Millisecond    // longer than writers need to look
	entryField  = "b"
	ticketTTL   = time.Minute
)

// Audience gives the generation of the stream of events; "" when nobody listens.
func (c *Client) Audience(ctx context.Context) (generation string, err error) {
	err = c.do(ctx, "look for listeners", func(ctx context.Context) (err error) {
		generation, err = c.rdb.Get(ctx, audienceKey()).Result()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return generation, err
}

// Join says that somebody listens, and gives the generation; fresh while writers may not have seen it yet.
func (c *Client) Join(ctx context.Context) (generation string, fresh bool, err error) {
	mine := strings.ToLower(rand.Text()[:10])
	err = c.do(ctx, "join listeners", func(ctx context.Context) error {
		out, err := joinAudience.Run(ctx, c.rdb, []string{audienceKey(), youngKey()}, mine, audienceTTL.Milliseconds(), youngTTL.Milliseconds()).Slice()
		if err != nil {
			return err
		}
		if len(out) == 2 {
			generation, _ = out[0].(string)
			young, _ := out[1].(int64)
			fresh = young != 0
		}
		if generation == "" {
			return errors.New("not an audience")
		}
		return nil
	})
	return generation, fresh, err
}

// Append appends entries to the stream, in one round trip.
func (c *Client) Append(ctx context.Context, entries [][]byte, keep int64) error {
	return c.do(ctx, "write events", func(ctx context.Context) error {
		pipe := c.rdb.Pipeline()
		adds := make([]*redis.StringCmd, len(entries))
		for i, e := range entries {
			adds[i] = pipe.XAdd(ctx, &redis.XAddArgs{Stream: eventsKey(), MaxLen: keep, Approx: true, Values: []any{entryField, e}})
		}
		pipe.PExpire(ctx, eventsKey(), audienceTTL)
		if oldest := c.eventsSince.Load(); oldest > 0 {
			pipe.XTrimMinIDApprox(ctx, eventsKey(), strconv.FormatUint(oldest, 10), 0)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		if id, ok := events.ParseEntryID(adds[len(adds)-1].Val()); ok && id.Ms > uint64(eventsFor.Milliseconds()) {
			c.eventsSince.Store(id.Ms - uint64(eventsFor.Milliseconds())) // by Redis's own clock
		}
		return nil
	})
}

// Last is the place of the newest entry; zero when there is none.
func (c *Client) Last(ctx context.Context) (id events.EntryID, err error) {
	err = c.do(ctx, "read events", func(ctx context.Context) error {
		got, err := c.rdb.XRevRangeN(ctx, eventsKey(), "+", "-", 1).Result()
		if err == nil && len(got) > 0 {
			id, _ = events.ParseEntryID(got[0].ID)
		}
		return err
	})
	return id, err
}

// Read gives at most n entries after a place, and the generation of the same moment. It does not wait for any: a connection that
// blocks would be missing for signals and nonces.
func (c *Client) Read(ctx context.Context, after events.EntryID, n int) (generation string, entries []events.Entry, err error) {
	err = c.do(ctx, "read events", func(ctx context.Context) error {
		pipe := c.rdb.Pipeline()
		g := pipe.Get(ctx, audienceKey())
		got := pipe.XRead(ctx, &redis.XReadArgs{Streams: []string{eventsKey(), after.String()}, Count: int64(n), Block: -1})
		if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, stream := range got.Val() {
			for _, m := range stream.Messages {
				entries = append(entries, entryOf(m))
			}
		}
		generation = g.Val()
		return nil
	})
	return generation, entries, err
}

// Holds gives the entry at a place.
func (c *Client) Holds(ctx context.Context, at events.EntryID) (entry events.Entry, ok bool, err error) {
	err = c.do(ctx, "read events", func(ctx context.Context) error {
		got, err := c.rdb.XRangeN(ctx, eventsKey(), at.String(), at.String(), 1).Result()
		if err == nil && len(got) == 1 {
			entry, ok = entryOf(got[0]), true
		}
		return err
	})
	return entry, ok, err
}

func entryOf(m redis.XMessage) events.Entry {
	e := events.Entry{}
	e.ID, _ = events.ParseEntryID(m.ID)
	if s, ok := m.Values[entryField].(string); ok {
		e.Data = []byte(s)
	}
	return e
}

// PutTicket keeps what a ticket is good for, for a minute.
func (c *Client) PutTicket(ctx context.Context, ticket string, what []byte) error {
	return c.do(ctx, "keep ticket", func(ctx context.Context) error {
		return c.rdb.Set(ctx, ticketKey(ticket), what, ticketTTL).Err()
	})
}

// TakeTicket gives what a ticket is good for and forgets it; nil when there is none: it was used, or is too old.
func (c *Client) TakeTicket(ctx context.Context, ticket string) (what []byte, err error) {
	err = c.do(ctx, "take ticket", func(ctx context.Context) (err error) {
		what, err = c.rdb.GetDel(ctx, ticketKey(ticket)).Bytes()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return what, err
}
