package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// wall is the database's clock of tests; in a synctest bubble it is the bubble's.
type wall struct{}

func (wall) Now() int64       { return time.Now().UnixMilli() }
func (wall) NowMicros() int64 { return time.Now().UnixMicro() }

// fakeTask is a row of tasks.
type fakeTask struct {
	task.Task
	item   task.Item
	starts []int32 // epochs claimed
	ends   []task.Ending
	zombie bool
}

// fakeStore keeps the protocol's guards in memory, so that engine tests see what a database would do.
type fakeStore struct {
	mu      sync.Mutex
	tasks   map[int64]*fakeTask
	bells   map[int64]*task.Bell
	claims  map[int64]*task.Claim
	workers map[int64]task.WorkerState
	lanes   []task.Lane
	kinds   map[string]int32
	last    int64

	// fail is asked before each call; after makes a claim commit and answer an unknown outcome.
	fail    func(op string) error
	unknown func() bool
	claimed func(req task.ClaimRequest, got task.Claimed)
	calls   map[string]int
}

func newFakeStore(lanes ...task.Lane) *fakeStore {
	if len(lanes) == 0 {
		lanes = []task.Lane{{ID: 1, Queue: "default", Priority: task.Normal, BellSize: 100}}
	}
	return &fakeStore{tasks: map[int64]*fakeTask{}, bells: map[int64]*task.Bell{}, claims: map[int64]*task.Claim{},
		workers: map[int64]task.WorkerState{}, lanes: lanes, kinds: map[string]int32{}, last: 1000, calls: map[string]int{}}
}

var errGone = task.Gone("database_unavailable", errors.New("connection refused"))

// enter counts and fails calls. The lock is held on success.
func (s *fakeStore) enter(ctx context.Context, op string) error {
	s.mu.Lock()
	s.calls[op]++
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.fail != nil {
		if err := s.fail(op); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	return nil
}

func (s *fakeStore) setFail(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = f
}

func (s *fakeStore) id() int64 { s.last++; return s.last }

// spec is a task to be added.
type spec struct {
	kind      string
	payload   string
	timeoutMs int32
	retry     *task.RetryPolicy
	dueAt     int64
	expiresAt int64
	noBody    bool // its body does not travel
}

// add writes tasks and one bell for them.
func (s *fakeStore) add(lane int32, specs ...spec) task.Rung {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := wall{}.Now()
	b := &task.Bell{ID: s.id(), LaneID: lane, AppID: 1, DueAt: now}
	r := task.Rung{}
	for _, sp := range specs {
		if sp.payload == "" {
			sp.payload = "null"
		}
		if sp.timeoutMs == 0 {
			sp.timeoutMs = 60_000
		}
		if sp.dueAt != 0 {
			b.DueAt = sp.dueAt
		}
		body, err := task.Body{Payload: []byte(sp.payload), Head: task.BodyHead{Retry: sp.retry}}.Encode()
		if err != nil {
			panic(err)
		}
		it := task.Item{ID: s.id(), KindID: s.kindID(sp.kind), TimeoutMs: sp.timeoutMs, CreatedAt: now, ExpiresAt: sp.expiresAt, Body: body}
		s.tasks[it.ID] = &fakeTask{item: it, Task: task.Task{ID: it.ID, AppID: 1, LaneID: lane, KindID: it.KindID, State: task.Waiting,
			DueAt: b.DueAt, ExpiresAt: sp.expiresAt, TimeoutMs: sp.timeoutMs, Holder: b.ID}}
		b.TaskIDs = append(b.TaskIDs, it.ID)
		if sp.noBody {
			it.Body = nil
		}
		r.Items = append(r.Items, it)
	}
	s.bells[b.ID] = b
	r.Bell = *b
	r.TaskIDs = slices.Clone(b.TaskIDs)
	return r
}

func (s *fakeStore) kindID(name string) int32 {
	if s.kinds[name] == 0 {
		s.kinds[name] = int32(len(s.kinds) + 1)
	}
	return s.kinds[name]
}

// get copies a task.
func (s *fakeStore) get(id int64) fakeTask {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := *s.tasks[id]
	t.starts, t.ends = slices.Clone(t.starts), slices.Clone(t.ends)
	return t
}

// count tells how many tasks are in a state.
func (s *fakeStore) count(state task.State) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.State == state {
			n++
		}
	}
	return n
}

// left counts claims or bells.
func (s *fakeStore) left(claims bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if claims {
		return len(s.claims)
	}
	return len(s.bells)
}

func (s *fakeStore) called(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *fakeStore) NewWorker(ctx context.Context, _ task.WorkerInfo) (int64, error) {
	if err := s.enter(ctx, "NewWorker"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	id := s.id()
	s.workers[id] = task.WorkerAlive
	return id, nil
}

func (s *fakeStore) Beat(ctx context.Context, id int64, _ task.WorkerInfo) (task.WorkerState, error) {
	if err := s.enter(ctx, "Beat"); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	if s.workers[id] == task.WorkerGone {
		return 0, task.ErrFenced
	}
	return s.workers[id], nil
}

func (s *fakeStore) RetireWorker(ctx context.Context, id int64) error {
	if err := s.enter(ctx, "RetireWorker"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.workers[id] = task.WorkerGone
	return nil
}

func (s *fakeStore) Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error) {
	if err := s.enter(ctx, "Claim"); err != nil {
		return task.Claimed{}, err
	}
	defer s.mu.Unlock()
	now := wall{}.Now()
	out := task.Claimed{LaneID: req.LaneID, Now: now}
	claim := s.last + 1
	s.last += int64(req.Max)
	won := []int64{}
	for _, id := range req.Bells {
		b := s.bells[id]
		if b == nil || b.LaneID != req.LaneID {
			out.Bells = append(out.Bells, task.ClaimedBell{ID: id, Gone: true})
			continue
		}
		cb := task.ClaimedBell{ID: id, DueAt: b.DueAt}
		if b.DueAt > now {
			cb.Remaining = len(b.TaskIDs)
			out.Bells = append(out.Bells, cb)
			continue
		}
		rest := []int64{}
		for _, tid := range b.TaskIDs {
			t := s.tasks[tid]
			switch {
			case t.State != task.Waiting || t.Holder != id:
			case !slices.Contains(req.Kinds, t.KindID):
				cb.NoRunner++
				rest = append(rest, tid)
			case len(won) >= req.Max:
				rest = append(rest, tid)
			default:
				t.State, t.Holder, t.WorkerID, t.StartedAt = task.Running, claim, req.WorkerID, now
				t.Epoch++
				t.starts = append(t.starts, t.Epoch)
				out.Tasks = append(out.Tasks, task.ClaimedTask{ID: tid, BellID: id, AppID: t.AppID, Epoch: t.Epoch, AttemptID: claim + int64(len(won)), DueAt: b.DueAt})
				won = append(won, tid)
			}
		}
		if b.TaskIDs, cb.Remaining = rest, len(rest); len(rest) == 0 {
			delete(s.bells, id)
			cb.Gone = true
		}
		out.Bells = append(out.Bells, cb)
	}
	if len(won) > 0 {
		out.ClaimID = claim
		s.claims[claim] = &task.Claim{ID: claim, WorkerID: req.WorkerID, LaneID: req.LaneID, ClaimedAt: now, TaskIDs: won}
	}
	if s.claimed != nil {
		s.claimed(req, out)
	}
	if s.unknown != nil && s.unknown() {
		return task.Claimed{ClaimID: claim}, errors.Join(task.ErrOutcomeUnknown, errGone)
	}
	return out, nil
}

func (s *fakeStore) Load(ctx context.Context, ids []int64) ([]task.Loaded, error) {
	if err := s.enter(ctx, "Load"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var out []task.Loaded
	for _, id := range ids {
		if t := s.tasks[id]; t != nil && t.item.Body != nil {
			out = append(out, task.Loaded{Item: t.item, AppID: t.AppID, LaneID: t.LaneID, DueAt: t.DueAt})
		}
	}
	return out, nil
}

func (s *fakeStore) Finish(ctx context.Context, fb task.FinishBatch) ([]task.Bell, error) {
	if err := s.enter(ctx, "Finish"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var bells []task.Bell
	for _, e := range fb.Endings {
		t := s.tasks[e.TaskID]
		if t.State != task.Running || t.Epoch != e.Epoch || t.WorkerID != fb.WorkerID {
			e.Fenced = true
			continue
		}
		to := e.To
		if t.CancelAt != 0 && (to == task.Waiting || to == task.Failed) {
			to = task.Cancelled
		}
		e.Final = to
		t.State, t.Reason, t.Holder = to, e.Reason, 0
		t.zombie = false
		t.ends = append(t.ends, *e)
		if to == task.Waiting {
			if e.Outcome != task.OutcomeSnoozed {
				t.Failures++
				t.item.Failures++
			}
			bells = append(bells, *s.wait(t, e.RetryAt))
		}
	}
	for _, id := range fb.Emptied {
		delete(s.claims, id)
	}
	return bells, nil
}

func (s *fakeStore) wait(t *fakeTask, due int64) *task.Bell {
	b := &task.Bell{ID: s.id(), LaneID: t.LaneID, AppID: t.AppID, Epoch: t.Epoch, DueAt: due, TaskIDs: []int64{t.ID}}
	s.bells[b.ID] = b
	t.State, t.Holder, t.DueAt = task.Waiting, b.ID, due
	return b
}

func (s *fakeStore) Release(ctx context.Context, id int64, only []int64, cause task.ReleaseCause) ([]task.Bell, error) {
	if err := s.enter(ctx, "Release"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	c := s.claims[id]
	if c == nil {
		return nil, nil
	}
	var bells []task.Bell
	for _, tid := range c.TaskIDs {
		t := s.tasks[tid]
		if t.State != task.Running || t.Holder != id || only != nil && !slices.Contains(only, tid) {
			continue
		}
		if cause == task.CauseLost {
			t.Losses++
		}
		if t.CancelAt != 0 {
			t.State, t.Holder = task.Cancelled, 0
			continue
		}
		bells = append(bells, *s.wait(t, wall{}.Now()))
	}
	if only == nil {
		delete(s.claims, id)
	}
	return bells, nil
}

func (s *fakeStore) Held(ctx context.Context, ids []int64) ([]task.Held, error) {
	if err := s.enter(ctx, "Held"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var out []task.Held
	for _, id := range ids {
		if t := s.tasks[id]; t != nil {
			out = append(out, task.Held{ID: id, State: t.State, WorkerID: t.WorkerID, Epoch: t.Epoch, CancelAt: t.CancelAt})
		}
	}
	return out, nil
}

func (s *fakeStore) ClaimsOf(ctx context.Context, worker int64) ([]task.Claim, error) {
	if err := s.enter(ctx, "ClaimsOf"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var out []task.Claim
	for _, c := range s.claims {
		if c.WorkerID == worker {
			out = append(out, *c)
		}
	}
	return out, nil
}

func (s *fakeStore) MarkZombie(ctx context.Context, _, id int64, _ int32, on bool) error {
	if err := s.enter(ctx, "MarkZombie"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.tasks[id].zombie = on
	return nil
}

func (s *fakeStore) DuePairs(ctx context.Context) ([]task.LaneApp, error) {
	if err := s.enter(ctx, "DuePairs"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	least := map[int32]int64{}
	for _, b := range s.bells {
		if d, ok := least[b.LaneID]; !ok || b.DueAt < d {
			least[b.LaneID] = b.DueAt
		}
	}
	var out []task.LaneApp
	for l, d := range least {
		out = append(out, task.LaneApp{LaneID: l, AppID: 1, MinDue: d})
	}
	return out, nil
}

func (s *fakeStore) Lanes(ctx context.Context) ([]task.Lane, error) {
	if err := s.enter(ctx, "Lanes"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return slices.Clone(s.lanes), nil
}

func (s *fakeStore) DeclareKinds(ctx context.Context, names []string) (map[string]int32, error) {
	if err := s.enter(ctx, "DeclareKinds"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := map[string]int32{}
	for _, n := range names {
		out[n] = s.kindID(n)
	}
	return out, nil
}

func (s *fakeStore) AppByID(context.Context, int32) (task.App, error) { return task.App{}, nil }

// fakeBus is a broker: it delivers up to the ready count, counts what is in flight, and redelivers what was requeued.
type fakeBus struct {
	mu      sync.Mutex
	inlets  map[int32]*fakeInlet
	waiting map[int32][]*fakeDelivery // before the lane is open
	fin     int
	req     []int64
}

func newFakeBus() *fakeBus {
	return &fakeBus{inlets: map[int32]*fakeInlet{}, waiting: map[int32][]*fakeDelivery{}}
}

type fakeInlet struct {
	bus        *fakeBus
	lane       int32
	deliver    func(Delivery)
	ready      int
	peak       int
	inflight   int
	queue      []*fakeDelivery
	reconnects int
	closed     bool
	deaf       bool // nothing is delivered until Reconnect
}

type fakeDelivery struct {
	in       *fakeInlet
	rung     task.Rung
	attempts int
	answered bool
}

func (d *fakeDelivery) Rung() task.Rung { return d.rung }
func (d *fakeDelivery) Attempts() int   { return d.attempts }

func (d *fakeDelivery) answer() {
	if d.answered {
		panic("answered twice")
	}
	d.answered = true
	d.in.inflight--
}

func (d *fakeDelivery) Finish() {
	b := d.in.bus
	b.mu.Lock()
	d.answer()
	b.fin++
	b.mu.Unlock()
	d.in.pump()
}

func (d *fakeDelivery) Requeue(ms int64) {
	b := d.in.bus
	b.mu.Lock()
	d.answer()
	b.req = append(b.req, ms)
	closed := d.in.closed
	b.mu.Unlock()
	if ms == 0 {
		panic("requeued with 0")
	}
	if closed {
		return
	}
	in := d.in
	next := &fakeDelivery{in: in, rung: d.rung, attempts: d.attempts}
	time.AfterFunc(time.Duration(ms)*time.Millisecond, func() { in.put(next) })
	in.pump()
}

func (in *fakeInlet) put(d *fakeDelivery) {
	in.bus.mu.Lock()
	in.queue = append(in.queue, d)
	in.bus.mu.Unlock()
	in.pump()
}

// pump delivers what the ready count allows.
func (in *fakeInlet) pump() {
	for {
		in.bus.mu.Lock()
		if in.closed || in.deaf || in.inflight >= in.ready || len(in.queue) == 0 {
			in.bus.mu.Unlock()
			return
		}
		d := in.queue[0]
		in.queue = in.queue[1:]
		d.attempts++
		in.inflight++
		in.peak = max(in.peak, in.inflight)
		in.bus.mu.Unlock()
		in.deliver(d)
	}
}

func (in *fakeInlet) SetReady(n int) {
	in.bus.mu.Lock()
	in.ready = n
	in.bus.mu.Unlock()
	in.pump()
}

func (in *fakeInlet) Reconnect() {
	in.bus.mu.Lock()
	in.reconnects++
	in.deaf = false
	in.bus.mu.Unlock()
	in.pump()
}

func (in *fakeInlet) Close() {
	in.bus.mu.Lock()
	in.closed = true
	in.bus.mu.Unlock()
}

func (b *fakeBus) Open(lane task.Lane, deliver func(Delivery)) (Inlet, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := &fakeInlet{bus: b, lane: lane.ID, deliver: deliver, queue: b.waiting[lane.ID]}
	for _, d := range in.queue {
		d.in = in
	}
	b.inlets[lane.ID] = in
	return in, nil
}

// Ring publishes bells at their time.
func (b *fakeBus) Ring(rungs ...task.Rung) {
	for _, r := range rungs {
		if wait := r.DueAt - (wall{}).Now(); wait > 0 {
			time.AfterFunc(time.Duration(wait)*time.Millisecond, func() { b.publish(r) })
			continue
		}
		b.publish(r)
	}
}

func (b *fakeBus) publish(r task.Rung) {
	b.mu.Lock()
	in := b.inlets[r.LaneID]
	d := &fakeDelivery{in: in, rung: r}
	if in == nil {
		b.waiting[r.LaneID] = append(b.waiting[r.LaneID], d)
	}
	b.mu.Unlock()
	if in != nil {
		in.put(d)
	}
}

func (b *fakeBus) inlet(lane int32) *fakeInlet {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inlets[lane]
}

func (b *fakeBus) finished() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fin
}

func (b *fakeBus) requeued() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.req)
}

func (in *fakeInlet) readyNow() int {
	in.bus.mu.Lock()
	defer in.bus.mu.Unlock()
	return in.ready
}

func (in *fakeInlet) reconnected() int {
	in.bus.mu.Lock()
	defer in.bus.mu.Unlock()
	return in.reconnects
}

// fakeLive is a Redis.
type fakeLive struct {
	mu      sync.Mutex
	shown   map[int64]task.LiveEntry
	signals chan task.Signal
	gone    bool
	seen    bool
	batches int
	answers map[string]task.LiveDetail
	reports map[int64][]task.LiveReport // every one, also of tasks that left
}

func newFakeLive() *fakeLive {
	return &fakeLive{shown: map[int64]task.LiveEntry{}, reports: map[int64][]task.LiveReport{}, signals: make(chan task.Signal, 16), seen: true}
}

func (l *fakeLive) err() error {
	if l.gone {
		return errors.New("redis is gone")
	}
	return nil
}

func (l *fakeLive) Enter(_ context.Context, _ int64, entries []task.LiveEntry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return l.err()
	}
	l.batches++
	for _, e := range entries {
		l.shown[e.TaskID] = e
	}
	return nil
}

func (l *fakeLive) Report(_ context.Context, _ int64, reports []task.LiveReport) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range reports {
		if _, ok := l.shown[r.TaskID]; ok {
			l.reports[r.TaskID] = append(l.reports[r.TaskID], r)
		}
	}
	return l.err()
}

func (l *fakeLive) reported(id int64) []task.LiveReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.reports[id])
}

func (l *fakeLive) Leave(_ context.Context, _ int64, ids []int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.shown, id)
	}
	return l.err()
}

func (l *fakeLive) Listen(ctx context.Context, _ int64, signal func(task.Signal)) {
	for {
		select {
		case s := <-l.signals:
			signal(s)
		case <-ctx.Done():
			return
		}
	}
}

func (l *fakeLive) Answer(_ context.Context, _ int64, reply string, d task.LiveDetail) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.answers == nil {
		l.answers = map[string]task.LiveDetail{}
	}
	l.answers[reply] = d
	return l.err()
}

func (l *fakeLive) answer(reply string) (d task.LiveDetail, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok = l.answers[reply]
	return d, ok
}

func (l *fakeLive) DatabaseSeen(context.Context) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen && !l.gone
}

func (l *fakeLive) set(seen, gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.gone = seen, gone
}

func (l *fakeLive) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.batches
}

func (l *fakeLive) entries() map[int64]task.LiveEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[int64]task.LiveEntry{}
	for k, v := range l.shown {
		out[k] = v
	}
	return out
}

// fakeRunner runs a function.
type fakeRunner struct {
	kind string
	run  func(context.Context, Job) task.Result
}

func (r fakeRunner) Kind() string { return r.kind }

func (r fakeRunner) Run(ctx context.Context, j Job) task.Result { return r.run(ctx, j) }

func succeed(context.Context, Job) task.Result {
	return task.Result{Outcome: task.OutcomeSucceeded}
}
