package scheduler

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

var errPoisoned = errors.New("a row that cannot be written")

// poisonedStore refuses what touches certain claims, tasks and shards, for good.
type poisonedStore struct {
	*memStore

	lock     sync.Mutex
	claims   map[int64]bool
	tasks    map[int64]bool
	shards   map[int]bool
	tries    int // of Release
	expired  map[int]int
	audited  []int64 // every id that an audit passed
	audits   int
	lastTask int64
	refuse   error
}

func newPoisonedStore(m *memStore) *poisonedStore {
	return &poisonedStore{memStore: m, claims: map[int64]bool{}, tasks: map[int64]bool{}, shards: map[int]bool{}, expired: map[int]int{}, refuse: errPoisoned}
}

// poison makes orphans that cannot be released. They are marked before anybody can try.
func (p *poisonedStore) poison(n int, why error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.refuse = why
	for _, id := range p.orphans(n) {
		p.claims[id] = true
	}
}

func (p *poisonedStore) Release(ctx context.Context, id int64, only []int64, cause task.ReleaseCause) ([]task.Bell, error) {
	p.lock.Lock()
	bad := p.claims[id]
	p.tries++
	p.lock.Unlock()
	if bad {
		return nil, p.refuse
	}
	return p.memStore.Release(ctx, id, only, cause)
}

func (p *poisonedStore) Expire(_ context.Context, shard, _ int) (int, bool, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.shards[shard] {
		return 0, true, p.refuse
	}
	p.expired[shard]++
	return 0, false, nil
}

func (p *poisonedStore) TaskIDRange(context.Context) (int64, int64, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	return 1, p.lastTask, nil
}

func (p *poisonedStore) Audit(_ context.Context, from, to int64) (int, []task.Bell, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.audits++
	for id := from; id <= to; id++ {
		if p.tasks[id] {
			return 0, nil, p.refuse
		}
	}
	for id := from; id <= to; id++ {
		p.audited = append(p.audited, id)
	}
	return 0, nil, nil
}

// orphans makes claims of one task each, of a worker that is gone, and gives their ids.
func (m *memStore) orphans(n int) (ids []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workers[77] = task.Worker{ID: 77, State: task.WorkerGone}
	for range n {
		id := m.id()
		m.claims[id] = task.Claim{ID: id, WorkerID: 77, LaneID: 1, TaskIDs: []int64{m.id()}}
		ids = append(ids, id)
	}
	return ids
}

func (m *memStore) claimsLeft() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.claims)
}

func poisonedBubble(t *testing.T, schedulers int, f func(t *testing.T, p *poisonedStore)) {
	t.Helper()
	testkit.Bubble(t, func(t *testing.T) {
		m := newMemStore()
		for lane := range int32(40) {
			m.addLane(lane+1, "q")
		}
		m.addApp(1, 1)
		p := newPoisonedStore(m)
		for range schedulers {
			_, stop := start(t, Options{Store: p, Publisher: newBroker(), Clock: hostClock{}})
			defer stop()
		}
		time.Sleep(15 * time.Second) // until the shards are shared
		f(t, p)
	})
}

// Two schedulers that share the claims rescue at full speed, as one does.
func TestRescueOfManyByTwo(t *testing.T) {
	poisonedBubble(t, 2, func(t *testing.T, p *poisonedStore) {
		p.orphans(1000)
		time.Sleep(3 * time.Second)
		if n := p.claimsLeft(); n != 0 {
			t.Errorf("%d of 1000 claims left after 3 s", n)
		}
	})
}

// Claims that cannot be released hold up nobody's tasks, not even when they fill a page; they are tried again, less and
// less often, until they can be.
func TestRescueGoesOnBehindClaimsThatFail(t *testing.T) {
	for _, bad := range []int{1, 3 * orphansPerQuery} {
		poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
			p.poison(bad, errPoisoned)
			p.orphans(200)
			time.Sleep(10 * time.Second)
			if n := p.claimsLeft(); n != bad {
				t.Errorf("%d claims left, want the %d that fail", n, bad)
			}
			p.lock.Lock()
			p.tries = 0
			p.lock.Unlock()
			time.Sleep(10 * time.Minute)
			p.lock.Lock()
			if p.tries > 8*bad {
				t.Errorf("%d tries of %d claims in 10 minutes", p.tries, bad)
			}
			p.lock.Unlock()
			p.lock.Lock()
			clear(p.claims)
			p.lock.Unlock()
			time.Sleep(refusedLongest + time.Second)
			if n := p.claimsLeft(); n != 0 {
				t.Errorf("%d claims left after they were healed", n)
			}
		})
	}
}

// A claim whose release always times out looks like a database that is away; the next try begins with the others.
func TestRescueGoesOnBehindAClaimThatTimesOut(t *testing.T) {
	poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
		p.poison(1, task.Gone("database_unavailable", context.DeadlineExceeded))
		p.orphans(20)
		time.Sleep(10 * time.Second)
		if n := p.claimsLeft(); n != 1 {
			t.Errorf("%d claims left", n)
		}
	})
}

// However many claims there are whose releases time out, new ones have their turn before them.
func TestRescueGoesOnBehindManyClaimsThatTimeOut(t *testing.T) {
	poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
		p.poison(20, task.Gone("database_unavailable", context.DeadlineExceeded))
		time.Sleep(time.Minute)
		p.orphans(20)
		time.Sleep(5 * time.Second)
		if n := p.claimsLeft(); n != 20 {
			t.Errorf("%d claims left", n)
		}
	})
}

// A database that could not be written to for long does not make the rescue wait when it can be again.
func TestRescueIsPromptAfterALongOutage(t *testing.T) {
	poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
		p.poison(100, task.Gone("database_unavailable", context.DeadlineExceeded))
		time.Sleep(time.Hour)
		p.lock.Lock()
		clear(p.claims)
		p.lock.Unlock()
		time.Sleep(awayLongest + 3*time.Second)
		if n := p.claimsLeft(); n != 0 {
			t.Errorf("%d claims left", n)
		}
	})
}

// A claim that cannot be released does not fail a start; a database that is away does.
func TestRecoverDoesNotFailForOneClaim(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		m := newMemStore()
		p := newPoisonedStore(m)
		p.claims[m.orphans(1)[0]] = true
		m.orphans(120)
		s, err := New(Options{Store: p, Publisher: newBroker(), Clock: hostClock{}, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Recover(t.Context()); err != nil {
			t.Errorf("recover: %v", err)
		}
		if n := m.claimsLeft(); n != 1 {
			t.Errorf("%d claims left", n)
		}
		m.setDown(true)
		s, err = New(Options{Store: p, Publisher: newBroker(), Clock: hostClock{}, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		if s.Recover(t.Context()) == nil {
			t.Error("recovered without a database")
		}
	})
}

// A shard that cannot be expired keeps no other from its turn.
func TestExpireGoesOnBehindAShardThatFails(t *testing.T) {
	poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
		p.lock.Lock()
		for lane := range int32(40) {
			p.expired[task.ShardOf(lane+1)] = 0
		}
		bad := 0
		for shard := range p.expired {
			if bad++; bad <= 3 {
				p.shards[shard] = true
			}
		}
		p.lock.Unlock()
		time.Sleep(30 * time.Second)
		p.lock.Lock()
		defer p.lock.Unlock()
		for shard, n := range p.expired {
			if !p.shards[shard] && n < 20 {
				t.Errorf("shard %d was expired %d times in 30 s", shard, n)
			}
		}
	})
}

// The audit steps over what it cannot mend and passes everything else.
func TestAuditGoesOnBehindTasksThatFail(t *testing.T) {
	for _, bad := range [][]int64{{1}, {1000}, {1777, 1778}, {3, 900}} {
		poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
			p.lock.Lock()
			for _, id := range bad {
				p.tasks[id] = true
			}
			p.lastTask = 3000
			p.lock.Unlock()
			time.Sleep(time.Minute + 3*auditMost)
			p.lock.Lock()
			defer p.lock.Unlock()
			slices.Sort(p.audited)
			passed := slices.Compact(p.audited)
			if len(passed) != 3000-len(bad) {
				t.Errorf("%v: %d of 3000 were passed", bad, len(passed))
			}
		})
	}
}

// Where everything fails a step costs a bounded number of tries.
func TestAuditOfNothingButFailures(t *testing.T) {
	poisonedBubble(t, 1, func(t *testing.T, p *poisonedStore) {
		p.lock.Lock()
		for id := range int64(1000) {
			p.tasks[id+1] = true
		}
		p.lastTask, p.audits = 1000, 0
		p.lock.Unlock()
		time.Sleep(2 * auditMost)
		p.lock.Lock()
		defer p.lock.Unlock()
		if p.audits == 0 || p.audits > 3*(2*splitsMost+1) {
			t.Errorf("%d tries in two steps", p.audits)
		}
	})
}
