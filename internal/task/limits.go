package task

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Bounds of limits (pkg/apiv1, Limits and Rate).
const (
	MaxConcurrency = 1_000_000
	MaxRate        = 1_000_000
	MinRatePerMs   = 100
	MaxRatePerMs   = 86_400_000
	MaxLimitKey    = 64
)

// Limits bound what of a queue, an app or a limit key may run. The zero value bounds nothing.
type Limits struct {
	Concurrency int   // tasks running at once, over all workers; 0: no bound
	RateTasks   int   // starts in each RatePerMs; 0: no bound
	RatePerMs   int64 // with RateTasks
	RateBurst   int   // with RateTasks: starts at once after a pause, ≥ 1
}

// None reports whether nothing is bounded.
func (l Limits) None() bool { return l.Concurrency == 0 && l.RateTasks == 0 }

// DefaultBurst is what 100 ms of a rate allow, at least 1.
func DefaultBurst(tasks int, perMs int64) int {
	return int(max(1, int64(tasks)*100/max(1, perMs)))
}

// LimitScope is what a limit is about: its row's key in the database.
type LimitScope string

// QueueScope is a queue, over its priorities.
func QueueScope(queue string) LimitScope { return LimitScope("q:" + queue) }

// AppScope is an app, over all queues.
func AppScope(app int32) LimitScope { return LimitScope("a:" + strconv.Itoa(int(app))) }

// KeyScope is a limit key of an app, by its flow.
func KeyScope(app int32, flow int64) LimitScope {
	return LimitScope("k:" + strconv.Itoa(int(app)) + ":" + strconv.FormatInt(flow, 10))
}

// FlowOf is the number by which bells tell limit keys apart: 62 bits of a hash over app and key, never 0. Of 100,000 keys two meet
// with a probability of 1 in 10⁹; they would share their limits.
func FlowOf(app int32, key string) int64 {
	if key == "" {
		return 0
	}
	h := hashKey('l', app, key)
	return int64(binary.BigEndian.Uint64(h[:8])>>2) | 1
}

// Limit is what is set for a scope, and how it stands.
type Limit struct {
	Scope   LimitScope
	Version int64  // orders all changes of limits
	AppID   int32  // of an app or a limit key; 0: a queue's
	Name    string // the queue or the limit key; "": an app's
	Flow    int64  // of a limit key
	Paused  bool
	Limits
	LimitCount
}

// LimitCount is what changes with every task of a scope.
type LimitCount struct {
	Running int   // tasks that hold a place; 0 without Concurrency
	Tat     int64 // the rate is used up until then, by what was started; ns
}

// Idle reports whether the limit holds nothing back: its row only tells others that it ended.
func (l *Limit) Idle() bool { return !l.Paused && l.None() }

// rateSlackNs is by how much two readings of the database's clock may differ: a start that was announced at its time is not
// refused for that. It changes when a task starts, never how many do.
const rateSlackNs = 5_000_000

// Allows is how many tasks of the scope may start now, at most limit. slack is for the claim (see rateSlackNs).
func (l *Limits) Allows(c LimitCount, nowNs int64, slack bool, limit int) int {
	if l.Concurrency > 0 {
		limit = min(limit, l.Concurrency-c.Running)
	}
	if l.RateTasks > 0 && limit > 0 {
		if slack {
			nowNs += rateSlackNs
		}
		used := float64(max(0, l.tat(c, nowNs)-nowNs)) * float64(l.RateTasks) / (float64(l.RatePerMs) * 1e6)
		limit = min(limit, l.RateBurst-int(math.Ceil(used-1e-6)))
	}
	return max(0, limit)
}

// Started is how the scope stands after n of its tasks started.
func (l *Limits) Started(c LimitCount, n int, nowNs int64) LimitCount {
	if n <= 0 {
		return c
	}
	if l.Concurrency > 0 {
		c.Running += n
	}
	if l.RateTasks > 0 {
		used := int64(float64(n)*float64(l.RatePerMs)*1e6/float64(l.RateTasks) + 0.5)
		c.Tat = min(max(l.tat(c, nowNs), nowNs), math.MaxInt64-used) + used
	}
	return c
}

// tat is until when the rate is used up. What was started uses up no more than the burst: a time that lies much farther off was taken
// before the database's clock was set back, and the rate starts anew. (Where the burst lasts for longer than the clock was set back by,
// that is not told apart; then the wait is longer by as much.)
func (l *Limits) tat(c LimitCount, nowNs int64) int64 {
	most := float64(l.RateBurst) * float64(l.RatePerMs) * 1e6 / float64(l.RateTasks)
	if float64(c.Tat-nowNs) > most+max(most, clockSlackNs) {
		return 0
	}
	return c.Tat
}

// clockSlackNs is by how much the clock may be set back without a rate starting anew.
const clockSlackNs = 1_000_000_000

// NextAt is when one more task may start by the rate, in ns; nowNs or earlier: now.
func (l *Limits) NextAt(c LimitCount, nowNs int64) int64 {
	if l.RateTasks == 0 {
		return nowNs
	}
	return l.tat(c, nowNs) - int64(float64(l.RateBurst-1)*float64(l.RatePerMs)*1e6/float64(l.RateTasks))
}
