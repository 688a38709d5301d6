package scheduler

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("database is gone")

// hostClock is a database whose clock is the host's (the bubble's, under synctest).
type hostClock struct{ error time.Duration }

func (hostClock) Now() int64                   { return time.Now().UnixMilli() }
func (hostClock) NowMicros() int64             { return time.Now().UnixMicro() }
func (hostClock) Until(ms int64) time.Duration { return time.Until(time.UnixMilli(ms)) }
func (c hostClock) Uncertainty() time.Duration { return c.error }

// memStore is a store in memory: what the scheduler asks of the database, without SQL.
type memStore struct {
	mu      sync.Mutex
	down    bool
	nextID  int64
	lanes   map[int32]task.Lane
	apps    map[int32]task.App
	bells   map[int64]task.Bell
	workers map[int64]task.Worker
	claims  map[int64]task.Claim
	leases  map[string]memLease
	tuned   int
	claimed map[int64]int // bell id to tasks claimed, ever
	lost    []task.Bell   // what the next audit mends
	kinds   []task.KindRow
	kindOf  map[int64]int32 // bell id to the kind of its tasks
	body    []byte          // of every task
	pairs   int             // calls of DuePairs
	glances int             // calls of ShardsDue
	lefts   int             // calls of BellsLeft
}

type memLease struct {
	owner int64
	until time.Time
}

func newMemStore() *memStore {
	return &memStore{nextID: 1000, lanes: map[int32]task.Lane{}, apps: map[int32]task.App{}, bells: map[int64]task.Bell{}, workers: map[int64]task.Worker{},
		claims: map[int64]task.Claim{}, leases: map[string]memLease{}, claimed: map[int64]int{}, kindOf: map[int64]int32{}}
}

func (m *memStore) lock() (func(), error) {
	m.mu.Lock()
	if m.down {
		m.mu.Unlock()
		return nil, errDown
	}
	return m.mu.Unlock, nil
}

func (m *memStore) setDown(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

func (m *memStore) addLane(id int32, queue string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lanes[id] = task.Lane{ID: id, Queue: queue, Priority: task.Normal, BellSize: 16}
}

func (m *memStore) addApp(id int32, weight int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apps[id] = task.App{ID: id, Weight: weight}
}

// submit writes bells of n tasks each and gives their ids.
func (m *memStore) submit(lane, app int32, bells, n int, due time.Time, direct bool) []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []int64
	for range bells {
		b := task.Bell{ID: m.id(), LaneID: lane, AppID: app, DueAt: due.UnixMilli(), Direct: direct}
		for range n {
			b.TaskIDs = append(b.TaskIDs, m.id())
		}
		m.bells[b.ID] = b
		ids = append(ids, b.ID)
	}
	return ids
}

func (m *memStore) id() int64 {
	m.nextID++
	return m.nextID
}

// claim takes up to limit tasks of a bell and gives how many it got.
func (m *memStore) claim(worker, bell int64, limit int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.bells[bell]
	if !ok || m.down || b.DueAt > time.Now().UnixMilli() {
		return 0
	}
	n := min(limit, len(b.TaskIDs))
	if worker != 0 {
		c := task.Claim{ID: m.id(), WorkerID: worker, LaneID: b.LaneID, TaskIDs: b.TaskIDs[:n]}
		m.claims[c.ID] = c
	}
	b.TaskIDs = b.TaskIDs[n:]
	if m.bells[bell] = b; len(b.TaskIDs) == 0 {
		delete(m.bells, bell)
	}
	m.claimed[bell] += n
	return n
}

func (m *memStore) left() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.bells)
}

func (m *memStore) setWorker(w task.Worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workers[w.ID] = w
}

func (m *memStore) Lease(_ context.Context, name string, owner int64, ttl time.Duration) (bool, int64, error) {
	unlock, err := m.lock()
	if err != nil {
		return false, 0, err
	}
	defer unlock()
	if l := m.leases[name]; l.owner != owner && time.Now().Before(l.until) {
		return false, 0, nil
	}
	m.leases[name] = memLease{owner, time.Now().Add(ttl)}
	return true, 1, nil
}

func (m *memStore) GiveUpLease(_ context.Context, name string, owner int64) error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if m.leases[name].owner == owner {
		delete(m.leases, name)
	}
	return nil
}

func (m *memStore) LeaseOwners(context.Context) (map[string]int64, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := map[string]int64{}
	for name, l := range m.leases {
		if time.Now().Before(l.until) {
			out[name] = l.owner
		}
	}
	return out, nil
}

func (m *memStore) NewOwner(context.Context) (int64, error) {
	unlock, err := m.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	return m.id(), nil
}

func (m *memStore) Lanes(context.Context) (out []task.Lane, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, l := range m.lanes {
		out = append(out, l)
	}
	return out, nil
}

func (m *memStore) TuneLane(_ context.Context, id int32, credit, bellSize int) error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	l := m.lanes[id]
	l.Credit, l.BellSize = credit, bellSize
	m.lanes[id] = l
	m.tuned++
	return nil
}

func (m *memStore) Apps(context.Context) (out []task.App, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, a := range m.apps {
		out = append(out, a)
	}
	return out, nil
}

func (m *memStore) some(limit int, want func(task.Bell) bool) (out []task.Bell, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	cut := false // out holds the first limit of what was seen, in order
	for _, b := range m.bells {
		if cut && ringsBefore(b, out[limit-1]) > 0 || !want(b) {
			continue
		}
		if out = append(out, b); len(out) >= 4*limit+64 {
			slices.SortFunc(out, ringsBefore)
			out, cut = out[:limit], limit > 0
		}
	}
	slices.SortFunc(out, ringsBefore)
	return out[:min(limit, len(out))], nil
}

// ringsBefore orders bells as the store lists them.
func ringsBefore(a, b task.Bell) int {
	return cmp.Or(cmp.Compare(a.DueAt, b.DueAt), cmp.Compare(a.ID, b.ID))
}

func (m *memStore) LookAhead(_ context.Context, shard int, from, to int64, limit int) ([]task.Bell, error) {
	return m.some(limit, func(b task.Bell) bool {
		return task.ShardOf(b.LaneID) == shard && b.DueAt > from && b.DueAt <= to
	})
}

func (m *memStore) DueBells(_ context.Context, lane, app int32, kind task.BellKind, now int64, after task.BellAfter, limit int) ([]task.Bell, error) {
	return m.some(limit, func(b task.Bell) bool {
		return b.LaneID == lane && b.AppID == app && b.Kind == kind && b.DueAt <= now && later(positionOf(b), after)
	})
}

func (m *memStore) DuePairs(context.Context) (out []task.LaneApp, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	m.pairs++
	least := map[pairKey]int64{}
	for _, b := range m.bells {
		k := pairKey{keyOf(b), b.AppID}
		if due, ok := least[k]; !ok || b.DueAt < due {
			least[k] = b.DueAt
		}
	}
	for k, due := range least {
		out = append(out, task.LaneApp{LaneID: k.id, AppID: k.app, Kind: k.kind, MinDue: due})
	}
	return out, nil
}

func (m *memStore) ShardsDue(context.Context) (map[int]int64, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	m.glances++
	out := map[int]int64{}
	for _, b := range m.bells {
		shard := task.ShardOf(b.LaneID)
		if due, ok := out[shard]; !ok || b.DueAt < due {
			out[shard] = b.DueAt
		}
	}
	return out, nil
}

func (m *memStore) Kinds(context.Context) ([]task.KindRow, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return slices.Clone(m.kinds), nil
}

func (m *memStore) BellsLeft(_ context.Context, ids []int64) (map[int64]int, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	m.lefts++
	out := map[int64]int{}
	for _, id := range ids {
		if b, ok := m.bells[id]; ok {
			out[id] = len(b.TaskIDs)
		}
	}
	return out, nil
}

func (m *memStore) Rungs(_ context.Context, bells []task.Bell) ([]task.Rung, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := bare(bells)
	for i := range out {
		for _, id := range out[i].TaskIDs {
			out[i].Items = append(out[i].Items, task.Item{ID: id, KindID: m.kindOf[out[i].ID], Body: m.body})
		}
	}
	return out, nil
}

func (m *memStore) Expire(context.Context, int, int) (int, bool, error) { return 0, false, nil }

func (m *memStore) Workers(context.Context, bool) (out []task.Worker, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, w := range m.workers {
		if w.State != task.WorkerGone {
			out = append(out, w)
		}
	}
	return out, nil
}

func (m *memStore) DeclareGone(_ context.Context, id, beat int64) (bool, error) {
	unlock, err := m.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	w := m.workers[id]
	if w.State == task.WorkerGone || w.BeatAt != beat {
		return false, nil
	}
	w.State = task.WorkerGone
	m.workers[id] = w
	return true, nil
}

func (m *memStore) DeclareAllGone(context.Context) (n int, err error) {
	unlock, err := m.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	for id, w := range m.workers {
		w.State = task.WorkerGone
		m.workers[id] = w
		n++
	}
	return n, nil
}

func (m *memStore) OrphanClaims(_ context.Context, limit int) (out []int64, err error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	for id, c := range m.claims {
		if w, ok := m.workers[c.WorkerID]; !ok || w.State == task.WorkerGone {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out[:min(limit, len(out))], nil
}

func (m *memStore) Release(_ context.Context, id int64, _ []int64, _ task.ReleaseCause) ([]task.Bell, error) {
	unlock, err := m.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	c, ok := m.claims[id]
	if !ok {
		return nil, nil
	}
	delete(m.claims, id)
	b := task.Bell{ID: m.id(), LaneID: c.LaneID, AppID: 1, Epoch: 1, DueAt: time.Now().UnixMilli(), Direct: true, TaskIDs: c.TaskIDs}
	m.bells[b.ID] = b
	return []task.Bell{b}, nil
}

func (m *memStore) TaskIDRange(context.Context) (int64, int64, error) { return 1, 10, nil }

func (m *memStore) Audit(context.Context, int64, int64) (int, []task.Bell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lost := m.lost
	for _, b := range lost {
		m.bells[b.ID] = b
	}
	m.lost = nil
	return len(lost), lost, nil
}

func (m *memStore) PurgeKeys(context.Context, int64, int) (int, error) { return 0, nil }

// broker is a publisher that remembers what was rung when, and hands it to workers in order.
type broker struct {
	mu    sync.Mutex
	rings map[int64][]time.Time
	queue []task.Rung
	gen   int64
	fail  error
	hang  map[int32]bool // lanes whose publishes do not return before their context ends
	lose  bool
	more  chan struct{}
}

func newBroker() *broker {
	return &broker{rings: map[int64][]time.Time{}, hang: map[int32]bool{}, more: make(chan struct{}, 1)}
}

func (b *broker) Publish(ctx context.Context, lane task.Lane, rungs []task.Rung) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.hang[lane.ID] {
		b.mu.Unlock()
		<-ctx.Done()
		b.mu.Lock()
		return ctx.Err()
	}
	if b.fail != nil {
		return b.fail
	}
	for _, r := range rungs {
		b.rings[r.ID] = append(b.rings[r.ID], time.Now())
	}
	if !b.lose {
		b.queue = append(b.queue, rungs...)
	}
	select {
	case b.more <- struct{}{}:
	default:
	}
	return nil
}

func (b *broker) Generation() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gen
}

func (b *broker) set(f func(*broker)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func (b *broker) rung(id int64) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.rings[id])
}

func (b *broker) take() (task.Rung, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return task.Rung{}, false
	}
	r := b.queue[0]
	b.queue = b.queue[1:]
	return r, true
}

// start runs a scheduler; the function it gives stops it.
func start(t *testing.T, o Options) (*Scheduler, func()) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}
