package scheduler

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const allShards = 1<<task.Shards - 1

// leases holds this scheduler's shards. A shard counts as held for as long as the lease surely runs, by the monotonic
// clock from before it was asked for; so a scheduler that lost the database stops by itself.
//
// Fair sharing: every live scheduler holds a seat, and takes ceil(16 ÷ seats) shards. Seats are numbered from 0 and the
// lowest free one is taken, so that the table does not grow with starts.
type leases struct {
	s    *Scheduler
	mask atomic.Uint32 // shards held

	until [task.Shards]atomic.Int64 // when the lease surely ends, in ns since the scheduler's start

	mu      sync.Mutex // of changes of mask and until
	seat    int        // -1: none
	renewAt time.Time  // of the next round
}

func newLeases(s *Scheduler) *leases {
	l := &leases{s: s, seat: -1}
	if s.o.Alone {
		l.mask.Store(allShards)
	}
	return l
}

// holds reports whether a shard is this scheduler's. It looks at the time itself: a look at the database that hangs drops nothing.
func (l *leases) holds(shard int) bool {
	return l.mask.Load()&(1<<shard) != 0 && (l.s.o.Alone || int64(time.Since(l.s.start)) <= l.until[shard].Load())
}

// owns reports whether a lane is.
func (l *leases) owns(laneID int32) bool { return l.holds(task.ShardOf(laneID)) }

// held lists the shards.
func (l *leases) held() []int {
	var out []int
	for i := range task.Shards {
		if l.holds(i) {
			out = append(out, i)
		}
	}
	return out
}

func shardLease(i int) string { return fmt.Sprintf("shard/%d", i) }
func seatLease(i int) string  { return fmt.Sprintf("scheduler/%d", i) }

func (l *leases) run(ctx context.Context) {
	if l.s.o.Alone {
		return
	}
	l.s.every(ctx, "leases", l.s.o.Intervals.LeaseLook, func(ctx context.Context) (time.Duration, error) {
		ctx, cancel := l.s.query(ctx)
		defer cancel()
		err := l.look(ctx)
		l.dropExpired(time.Now())
		return 0, err
	})
}

// look does a round when it is time to renew, and at once when a shard is nobody's: the leases of a scheduler that was killed
// end between two renewals, and what it would have done is to start within 5 s.
func (l *leases) look(ctx context.Context) error {
	now := time.Now()
	owners, err := l.s.o.Store.LeaseOwners(ctx)
	if err != nil {
		return err
	}
	if now.Before(l.renewAt) && !anyFree(owners) {
		return nil
	}
	if err := l.round(ctx, owners); err != nil {
		return err
	}
	l.renewAt = now.Add(l.s.o.Intervals.LeaseRenew - l.s.o.Intervals.LeaseLook/2)
	return nil
}

func anyFree(owners map[string]int64) bool {
	for i := range task.Shards {
		if _, taken := owners[shardLease(i)]; !taken {
			return true
		}
	}
	return false
}

// round renews what is held, gives up what is too much and takes what is free and due to this scheduler.
func (l *leases) round(ctx context.Context, owners map[string]int64) error {
	if err := l.takeSeat(ctx, owners); err != nil {
		return err
	}
	share := fairShare(l.seats(owners))
	n := 0
	for _, i := range l.held() {
		if n >= share {
			if err := l.release(ctx, i); err != nil {
				return err
			}
			continue
		}
		got, err := l.take(ctx, i)
		if err != nil {
			return err
		}
		if got {
			n++
		}
	}
	first := rand.IntN(task.Shards)
	for k := 0; k < task.Shards && n < share; k++ {
		i := (first + k) % task.Shards
		if owner, taken := owners[shardLease(i)]; l.holds(i) || taken && owner != l.s.owner.Load() {
			continue
		}
		got, err := l.take(ctx, i)
		if err != nil {
			return err
		}
		if got {
			n++
		}
	}
	return nil
}

// fairShare is how many shards one of n live schedulers takes.
func fairShare(n int) int {
	n = max(n, 1)
	return (task.Shards + n - 1) / n
}

// seats counts live schedulers, this one included.
func (l *leases) seats(owners map[string]int64) int {
	n, me := 0, false
	for name, owner := range owners {
		var k int
		if _, err := fmt.Sscanf(name, "scheduler/%d", &k); err == nil {
			n++
			me = me || owner == l.s.owner.Load()
		}
	}
	if !me {
		n++
	}
	return n
}

// takeSeat renews the seat, or takes the lowest free one.
func (l *leases) takeSeat(ctx context.Context, owners map[string]int64) error {
	if l.seat >= 0 {
		granted, _, err := l.s.o.Store.Lease(ctx, seatLease(l.seat), l.s.owner.Load(), l.s.o.Intervals.Lease)
		if err != nil || granted {
			return err
		}
		l.seat = -1
	}
	for k := 0; ; k++ {
		if _, taken := owners[seatLease(k)]; taken {
			continue
		}
		granted, _, err := l.s.o.Store.Lease(ctx, seatLease(k), l.s.owner.Load(), l.s.o.Intervals.Lease)
		if err != nil {
			return err
		}
		if granted {
			l.seat = k
			return nil
		}
	}
}

func (l *leases) take(ctx context.Context, shard int) (bool, error) {
	before := time.Now()
	granted, _, err := l.s.o.Store.Lease(ctx, shardLease(shard), l.s.owner.Load(), l.s.o.Intervals.Lease)
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.mask.Load()
	if granted {
		l.until[shard].Store(int64(before.Add(l.s.o.Intervals.Lease).Sub(l.s.start)))
		l.mask.Store(was | 1<<shard)
	} else {
		l.mask.Store(was &^ (1 << shard))
	}
	if l.mask.Load() != was {
		l.s.o.Logger.Debug("shards", "held", bits.OnesCount32(l.mask.Load()))
		l.s.Wake()
	}
	return granted, nil
}

// release gives a shard up: first in mind, then in the database.
func (l *leases) release(ctx context.Context, shard int) error {
	l.mu.Lock()
	l.mask.Store(l.mask.Load() &^ (1 << shard))
	l.mu.Unlock()
	return l.s.o.Store.GiveUpLease(ctx, shardLease(shard), l.s.owner.Load())
}

// dropExpired forgets shards that could not be renewed in time.
func (l *leases) dropExpired(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range task.Shards {
		if int64(now.Sub(l.s.start)) > l.until[i].Load() {
			l.mask.Store(l.mask.Load() &^ (1 << i))
		}
	}
}

// giveUp frees everything at shutdown, so that others need not wait for the leases to end.
func (l *leases) giveUp() {
	if l.s.o.Alone {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, i := range l.held() {
		if l.release(ctx, i) != nil {
			return
		}
	}
	if l.seat >= 0 {
		_ = l.s.o.Store.GiveUpLease(ctx, seatLease(l.seat), l.s.owner.Load())
	}
}

// chore reports whether this scheduler may do a chore that one scheduler does at a time, and keeps it for ttl.
func (l *leases) chore(ctx context.Context, name string, ttl time.Duration) (bool, error) {
	if l.s.o.Alone {
		return true, nil
	}
	granted, _, err := l.s.o.Store.Lease(ctx, "chore/"+name, l.s.owner.Load(), ttl)
	return granted, err
}
