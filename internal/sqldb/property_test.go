package sqldb_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// The property test drives the real functions, on MySQL of two processes, with random interleavings: messages that are lost, doubled and out of
// order, workers that are killed after a claim or come back late, cancels, run-nows, re-opens, drains, rescues, expiries,
// audits and purges, and on MySQL COMMITs whose answer is lost. While it runs, snapshots are checked against I1 to I3;
// at its end everything is final, and the rows are checked against what the actors were told.
//
// TASKWEIR_PROPERTY_SECONDS makes it longer than 3 s, TASKWEIR_PROPERTY_SEED repeats the choices of a run (not the
// scheduling of its goroutines).

// chaos is one run.
type chaos struct {
	*world
	seed  uint64
	lanes []task.Lane
	more  []*sqldb.Store // of further processes, each with blocks of ids of its own; none on SQLite
	ends  atomic.Bool    // no more faults and requests, only work

	bus struct {
		sync.Mutex
		bells []rung
	}
	model struct {
		sync.Mutex
		created  []int64
		submits  int64
		wins     map[attemptKey]int64 // by whom
		commits  map[attemptKey]string
		finals   map[int64]int
		reopened map[int64]int
		purged   int
		late     int // endings that were fenced
		released int
	}
	workers sync.Map     // id → *atomic.Bool, true when it is stopped for good
	lost    atomic.Int64 // commits whose answer was lost
	blind   atomic.Int64 // claims that stayed unknown
}

type rung struct {
	id   int64
	lane int32
	with int64 // another bell that lists its task: comes in the same claim; 0: none
}

type attemptKey struct {
	id    int64
	epoch int32
}

func TestRandomInterleavings(t *testing.T) {
	for _, kind := range []string{"sqlite", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			sqldbtest.Beside(t)
			url := sqldbtest.URL(t, kind)
			s := sqldbtest.Open(t, url)
			c := newChaos(t, s)
			if kind == "mysql" {
				other := sqldbtest.Open(t, url)
				sqldb.HookMySQL(t, s, url, c.loseCommits)
				sqldb.HookMySQL(t, other, url, c.loseCommits)
				c.more = append(c.more, other)
			}
			c.run()
		})
	}
}

func newChaos(t *testing.T, s *sqldb.Store) *chaos {
	c := &chaos{world: newWorld(t, s), seed: uint64(time.Now().UnixNano())}
	if v, err := strconv.ParseUint(os.Getenv("TASKWEIR_PROPERTY_SEED"), 10, 64); err == nil {
		c.seed = v
	}
	t.Logf("seed %d", c.seed)
	second, err := s.EnsureLane(c.ctx, "other", task.High)
	c.must(err)
	c.must(s.TuneLane(c.ctx, second.ID, 100, 7))
	c.lanes = []task.Lane{c.lane, second}
	c.model.wins, c.model.commits = map[attemptKey]int64{}, map[attemptKey]string{}
	c.model.finals, c.model.reopened = map[int64]int{}, map[int64]int{}
	c.must(s.PutQueue(c.ctx, "other", task.Limits{Concurrency: hardLimit}, false)) // before anything runs: it is never exceeded
	return c
}

// any is the Store of a random process.
func (c *chaos) any(r *rand.Rand) *sqldb.Store {
	if i := r.IntN(len(c.more) + 1); i > 0 {
		return c.more[i-1]
	}
	return c.s
}

// loseCommits makes one of 60 COMMITs unknown: half of them happened.
func (c *chaos) loseCommits(query string, _ func() ([][2]string, error), run func() error) error {
	if !sqldb.IsCommit(query) || c.ends.Load() {
		return run()
	}
	switch rand.IntN(120) {
	case 0:
		if err := run(); err != nil {
			return err
		}
		c.lost.Add(1)
		return driver.ErrBadConn
	case 1:
		c.lost.Add(1)
		return driver.ErrBadConn // never sent; the connection is thrown away, which rolls back
	}
	return run()
}

func (c *chaos) run() {
	seconds := 3.0
	if v, err := strconv.ParseFloat(os.Getenv("TASKWEIR_PROPERTY_SECONDS"), 64); err == nil {
		seconds = v
	}
	var wg, work sync.WaitGroup
	stop, done := make(chan struct{}), make(chan struct{})
	start := func(wg *sync.WaitGroup, until chan struct{}, n int, step func(*rand.Rand) time.Duration) {
		for i := range n {
			r := rand.New(rand.NewPCG(c.seed, uint64(i)))
			wg.Go(func() {
				for {
					select {
					case <-until:
						return
					case <-time.After(step(r)):
					}
				}
			})
		}
	}
	start(&wg, stop, 2, c.submitSome)
	start(&wg, stop, 2, c.disturbOne)
	start(&wg, stop, 1, c.purgeSome)
	start(&work, done, 2, c.ringSome)
	start(&wg, stop, 1, c.limitSome)
	start(&work, done, 1, c.keepHouse)
	start(&work, done, 1, c.checkSnapshot)
	for i := range 4 {
		p := &process{c: c, asked: map[attemptKey]bool{}, r: rand.New(rand.NewPCG(c.seed, 1000+uint64(i)))}
		work.Go(func() { p.run(done) })
	}
	began := time.Now()
	for !c.t.Failed() {
		time.Sleep(50 * time.Millisecond)
		if ran := time.Since(began).Seconds(); ran >= seconds && (c.enough() || ran >= 20*seconds) {
			break
		}
	}
	close(stop)
	wg.Wait()
	c.ends.Store(true)
	c.unlimit()
	c.waitAllFinal(done)
	work.Wait()
	if !c.t.Failed() {
		c.checkEnd()
	}
}

// enough reports whether so much has happened that the run means something.
func (c *chaos) enough() bool {
	m := &c.model
	m.Lock()
	defer m.Unlock()
	return len(m.created) >= 300 && len(m.wins) >= 300 && m.late > 0 && len(m.reopened) > 0
}

// waitAllFinal waits until nothing is left to do, then ends the work.
func (c *chaos) waitAllFinal(done chan struct{}) {
	defer close(done)
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) && !c.t.Failed() {
		if c.count("SELECT (SELECT COUNT(*) FROM bells)+(SELECT COUNT(*) FROM claims)+(SELECT COUNT(*) FROM tasks WHERE state<4)") == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Errorf("not everything ended: %d bells, %d claims, %d waiting, %d running", c.count("SELECT COUNT(*) FROM bells"),
		c.count("SELECT COUNT(*) FROM claims"), c.count("SELECT COUNT(*) FROM tasks WHERE state=2"), c.count("SELECT COUNT(*) FROM tasks WHERE state=3"))
}

// fail reports what no interleaving may do.
func (c *chaos) fail(format string, args ...any) { c.t.Errorf(format, args...) }

// temporary reports errors that a run with lost connections may answer.
func (c *chaos) temporary(what string, err error) bool {
	if err == nil {
		return false
	}
	if k := task.KindOf(err); !errors.Is(err, task.ErrOutcomeUnknown) && k != task.Unavailable && k != task.NotFound && k != task.Conflict {
		c.fail("%s: %v", what, err)
	}
	return true
}

// send puts bells on the bus: one of ten is lost, a quarter is doubled.
func (c *chaos) send(r *rand.Rand, bells ...task.Bell) {
	c.bus.Lock()
	defer c.bus.Unlock()
	for _, b := range bells {
		if !c.ends.Load() && r.IntN(10) == 0 {
			continue
		}
		for n := 1 + r.IntN(4)/3; n > 0; n-- {
			c.bus.bells = append(c.bus.bells, rung{id: b.ID, lane: b.LaneID})
		}
	}
}

// sendTwins puts a bell on the bus together with the one that listed its task before.
func (c *chaos) sendTwins(r *rand.Rand, bell task.Bell, old int64) {
	c.send(r, bell)
	c.bus.Lock()
	defer c.bus.Unlock()
	c.bus.bells = append(c.bus.bells, rung{id: bell.ID, lane: bell.LaneID, with: old})
}

// receive takes a few random messages of one lane off the bus.
func (c *chaos) receive(r *rand.Rand, lane int32, most int) []int64 {
	c.bus.Lock()
	defer c.bus.Unlock()
	var ids []int64
	for range 4 * most {
		if len(c.bus.bells) == 0 || len(ids) == most {
			break
		}
		i, last := r.IntN(len(c.bus.bells)), len(c.bus.bells)-1
		if c.bus.bells[i].lane != lane {
			continue
		}
		ids = append(ids, c.bus.bells[i].id)
		if with := c.bus.bells[i].with; with != 0 {
			ids = append(ids, with)
		}
		c.bus.bells[i] = c.bus.bells[last]
		c.bus.bells = c.bus.bells[:last]
	}
	return ids
}

func (c *chaos) submitSome(r *rand.Rand) time.Duration {
	if c.count("SELECT COUNT(*) FROM bells") > 1000 { // so that the end does not take longer than the run
		return 20 * time.Millisecond
	}
	n := 1 + r.IntN(60)
	now := c.now()
	app, lane := int32(1+r.IntN(2)), c.lanes[r.IntN(2)].ID
	conflict := task.UniqueConflict(r.IntN(3))
	subs := c.subs(n, func(_ int, sub *task.Submission, head *task.BodyHead) {
		sub.AppID, sub.LaneID, sub.KindID = app, lane, c.kinds[r.IntN(2)]
		head.Retry = &task.RetryPolicy{Policy: "fixed", BaseMs: 1 + r.Int64N(20), CapMs: 1000, Max: r.IntN(4)}
		if r.IntN(10) == 0 {
			sub.DelayMs = r.Int64N(60)
		}
		if r.IntN(15) == 0 {
			sub.ExpiresAt = now + 65 + r.Int64N(60)
		}
		if r.IntN(8) == 0 {
			head.UniqueKey = fmt.Sprint("key ", r.IntN(40))
			head.UniqueScope = []task.UniqueScope{task.ScopeUntilStarted, task.ScopeUntilFinished, task.ScopeWindow, task.ScopeUntilDue}[r.IntN(4)]
			head.UniqueWindowMs = 20
		}
		if r.IntN(3) == 0 {
			head.LimitKey = fmt.Sprint("key", r.IntN(5))
		}
	})
	for _, sub := range subs {
		if sub.Unique != nil {
			sub.Unique.OnConflict = conflict
		}
	}
	bells, err := c.any(r).Submit(c.ctx, []*task.Request{{AppID: app, Tasks: subs}})
	if c.temporary("submit", err) {
		return 0
	}
	c.model.Lock()
	for _, sub := range subs {
		if sub.Created {
			c.model.created = append(c.model.created, sub.ID)
			c.model.submits++
		} else if sub.Err != nil && task.KindOf(sub.Err) != task.Conflict && task.KindOf(sub.Err) != task.Invalid {
			c.fail("refused: %v", sub.Err)
		}
	}
	c.model.Unlock()
	c.send(r, bells...)
	return time.Duration(r.IntN(8)) * time.Millisecond
}

// anyTask is a random task, young ones more often.
func (c *chaos) anyTask(r *rand.Rand) int64 {
	c.model.Lock()
	defer c.model.Unlock()
	n := len(c.model.created)
	if n == 0 {
		return 0
	}
	if r.IntN(3) > 0 {
		return c.model.created[max(0, n-1-r.IntN(min(n, 400)))]
	}
	return c.model.created[r.IntN(n)]
}

func (c *chaos) disturbOne(r *rand.Rand) time.Duration {
	id := c.anyTask(r)
	if id == 0 {
		return time.Millisecond
	}
	before, err := c.any(r).State(c.ctx, 0, id)
	if c.temporary("state", err) {
		return time.Millisecond
	}
	choice := r.IntN(5)
	if before.State == task.Waiting && r.IntN(2) == 0 {
		choice = 2
	}
	switch choice {
	case 0, 1:
		_, err := c.any(r).Cancel(c.ctx, 0, id)
		c.temporary("cancel", err)
	case 2:
		bell, err := c.any(r).RunNow(c.ctx, 0, id)
		if !c.temporary("run now", err) {
			c.sendTwins(r, bell, before.Holder)
		}
	default:
		bell, err := c.any(r).Reopen(c.ctx, 0, id, r.IntN(2) == 0)
		if !c.temporary("re-open", err) {
			c.model.Lock()
			c.model.reopened[id]++
			c.model.Unlock()
			c.send(r, bell)
		}
	}
	return time.Duration(r.IntN(4)) * time.Millisecond
}

func (c *chaos) purgeSome(r *rand.Rand) time.Duration {
	before := c.now() - 1500
	from := int64(0)
	for range 20 {
		rep, err := c.any(r).Purge(c.ctx, task.PurgeRequest{FromID: from, SucceededBefore: before, OthersBefore: before, Now: c.now(), Limit: 1 + r.IntN(500)})
		if c.temporary("purge", err) {
			break
		}
		c.model.Lock()
		c.model.purged += rep.Deleted
		c.model.Unlock()
		if from = rep.NextID; from == 0 {
			break
		}
	}
	_, err := c.any(r).PurgeKeys(c.ctx, c.now(), 100)
	c.temporary("purge keys", err)
	return 100 * time.Millisecond
}

// ringSome is a scheduler that looks ahead and at what is due; it forgets what it rang, so it doubles a lot.
func (c *chaos) ringSome(r *rand.Rand) time.Duration {
	now := c.now()
	pairs, err := c.any(r).DuePairs(c.ctx)
	c.temporary("pairs", err)
	for _, p := range pairs {
		if p.MinDue > now {
			continue
		}
		if p.Kind.Flows() {
			c.ringFlows(r, p, now)
		}
		bells, err := c.any(r).DueBells(c.ctx, p.LaneID, p.AppID, p.Kind, now, task.BellAfter{}, 20)
		c.temporary("due bells", err)
		for _, b := range bells {
			if b.DueAt > now || b.LaneID != p.LaneID || b.AppID != p.AppID {
				c.fail("DueBells gave %+v for %+v at %d", b, p, now)
			}
		}
		c.send(r, bells...)
	}
	bells, err := c.any(r).LookAhead(c.ctx, r.IntN(task.Shards), now-1000, now+100, 20)
	c.temporary("look ahead", err)
	if _, err := c.any(r).Rungs(c.ctx, bells); err != nil {
		c.temporary("rungs", err)
	}
	c.send(r, bells...)
	return time.Duration(5+r.IntN(20)) * time.Millisecond
}

// keepHouse declares stopped workers gone, rescues, expires and audits.
func (c *chaos) keepHouse(r *rand.Rand) time.Duration {
	workers, err := c.any(r).Workers(c.ctx, false)
	c.temporary("workers", err)
	for _, w := range workers {
		if stopped, ok := c.workers.Load(w.ID); ok && stopped.(*atomic.Bool).Load() {
			_, err := c.any(r).DeclareGone(c.ctx, w.ID, w.BeatAt)
			c.temporary("declare gone", err)
		}
	}
	claims, err := c.any(r).OrphanClaims(c.ctx, 50)
	c.temporary("orphans", err)
	for _, id := range claims {
		bells, err := c.any(r).Release(c.ctx, id, nil, task.CauseLost)
		if !c.temporary("rescue", err) {
			c.send(r, bells...)
		}
	}
	for shard := range task.Shards {
		_, _, err := c.any(r).Expire(c.ctx, shard, 20)
		c.temporary("expire", err)
	}
	first, last, err := c.any(r).TaskIDRange(c.ctx)
	c.temporary("id range", err)
	mended, _, err := c.any(r).Audit(c.ctx, max(first, last-5000), last)
	c.temporary("audit", err)
	if mended > 0 {
		c.fail("the audit had to mend %d tasks", mended)
	}
	return 20 * time.Millisecond
}

// process is a worker process: killed, it starts anew under a new id.
type process struct {
	c     *chaos
	r     *rand.Rand
	s     *sqldb.Store
	id    int64
	stop  *atomic.Bool
	born  int                 // lives so far
	rest  []late              // finishes of an earlier life, still to come
	asked map[attemptKey]bool // cancels asked for while it ran here
	gave  []*task.Ending      // handed back, and yet reported later
}

// late is a batch that a stopped worker brings in after it was declared gone.
type late struct {
	worker int64
	batch  task.FinishBatch
}

func (p *process) run(done chan struct{}) {
	for {
		select {
		case <-done:
			p.bringRest()
			return
		default:
		}
		if p.id == 0 {
			p.start()
		}
		if !p.work() {
			time.Sleep(time.Duration(p.r.IntN(3000)) * time.Microsecond)
		}
	}
}

func (p *process) start() {
	p.s = p.c.any(p.r)
	id, err := p.s.NewWorker(p.c.ctx, task.WorkerInfo{Host: "here"})
	if p.c.temporary("new worker", err) {
		return
	}
	p.id, p.stop = id, &atomic.Bool{}
	p.born++
	p.c.workers.Store(id, p.stop)
	if p.born > 2 && p.r.IntN(2) == 0 {
		p.bringRest()
	}
}

// bringRest is the late return of a stopped worker: what was rescued meanwhile must be fenced.
func (p *process) bringRest() {
	for _, l := range p.rest {
		p.finish(l.worker, l.batch)
	}
	p.rest = nil
}

// die stops the process for good; a scheduler will notice.
func (p *process) die() {
	p.stop.Store(true)
	p.id, p.gave = 0, nil
}

func (p *process) work() bool {
	if p.id == 0 {
		return false
	}
	lane := p.c.lanes[p.r.IntN(2)]
	bells := p.c.receive(p.r, lane.ID, 1+p.r.IntN(6))
	if len(bells) == 0 {
		return false
	}
	kinds := p.c.kinds
	if p.r.IntN(3) == 0 {
		kinds = kinds[:1]
	}
	won, err := p.s.Claim(p.c.ctx, task.ClaimRequest{WorkerID: p.id, LaneID: lane.ID, Bells: bells, Max: 1 + p.r.IntN(170), Kinds: kinds})
	if p.c.temporary("claim", err) {
		p.c.blind.Add(1)
		p.die() // also when its outcome is unknown: the claim, if there is one, is rescued
		return true
	}
	p.c.won(p.id, won)
	if left := unfinished(won, lane.ID); len(left) > 0 && p.r.IntN(2) == 0 {
		p.c.send(p.r, left...)
	}
	if len(won.Tasks) == 0 {
		return true
	}
	if len(p.gave) > 0 && p.r.IntN(3) == 0 {
		p.reportGiven()
	}
	p.execute(won)
	return true
}

// unfinished are the bells of which something is left.
func unfinished(won task.Claimed, lane int32) (bells []task.Bell) {
	for _, b := range won.Bells {
		if !b.Gone {
			bells = append(bells, task.Bell{ID: b.ID, LaneID: lane})
		}
	}
	return bells
}

// won writes down what a claim said, and finds tasks that were started twice in one epoch.
func (c *chaos) won(worker int64, claimed task.Claimed) {
	c.model.Lock()
	defer c.model.Unlock()
	for _, one := range claimed.Tasks {
		k := attemptKey{one.ID, one.Epoch}
		if by, twice := c.model.wins[k]; twice {
			c.fail("task %d epoch %d started by %d and %d", one.ID, one.Epoch, by, worker)
		}
		c.model.wins[k] = worker
		if one.Epoch > 1 {
			if _, ok := c.model.wins[attemptKey{one.ID, one.Epoch - 1}]; !ok && c.blind.Load() == 0 {
				c.fail("task %d started in epoch %d, but never in the one before", one.ID, one.Epoch)
			}
		}
	}
}

// execute ends what was claimed in one of the ways in which a process can.
func (p *process) execute(won task.Claimed) {
	calm := p.c.ends.Load()
	if !calm && p.r.IntN(40) == 0 {
		p.die()
		return
	}
	loaded, err := p.s.Load(p.c.ctx, ids(won))
	if p.c.temporary("load", err) || len(loaded) != len(won.Tasks) {
		if err == nil {
			p.c.fail("claimed %d tasks, loaded %d", len(won.Tasks), len(loaded))
		}
		p.die()
		return
	}
	held, err := p.s.Held(p.c.ctx, ids(won))
	p.c.temporary("held", err)
	cancelled := map[int64]bool{}
	for _, h := range held {
		cancelled[h.ID] = h.CancelAt != 0
	}
	var ends []*task.Ending
	for i, one := range won.Tasks {
		ends = append(ends, p.end(won, one, &loaded[i], cancelled[one.ID] && p.r.IntN(2) == 0))
	}
	if !calm && p.r.IntN(4) == 0 {
		p.cancelOwn(ends[p.r.IntN(len(ends))])
	}
	if !calm && p.r.IntN(15) == 0 {
		p.handBack(won, ends)
		return
	}
	p.r.Shuffle(len(ends), func(i, j int) { ends[i], ends[j] = ends[j], ends[i] })
	cut := p.r.IntN(len(ends) + 1)
	first := task.FinishBatch{WorkerID: p.id, Endings: ends[:cut]}
	second := task.FinishBatch{WorkerID: p.id, Endings: ends[cut:], Emptied: []int64{won.ClaimID}}
	if !calm && (p.born == 1 || p.r.IntN(40) == 0) { // stopped beyond its lease: both come late
		p.rest = append(p.rest, late{p.id, first}, late{p.id, second})
		p.die()
		return
	}
	if !p.finish(p.id, first) || !p.finish(p.id, second) {
		p.die()
	}
}

// cancelOwn asks for the cancel of a task that runs here: from now on it can only succeed or be cancelled.
func (p *process) cancelOwn(e *task.Ending) {
	rep, err := p.s.Cancel(p.c.ctx, 0, e.TaskID)
	if !p.c.temporary("cancel", err) && rep.State == task.Running && rep.Epoch == e.Epoch {
		p.asked[attemptKey{e.TaskID, e.Epoch}] = true
	}
}

// handBack drains: some tasks are finished, the others released.
func (p *process) handBack(won task.Claimed, ends []*task.Ending) {
	cut := p.r.IntN(len(ends) + 1)
	if !p.finish(p.id, task.FinishBatch{WorkerID: p.id, Endings: ends[:cut]}) {
		p.die()
		return
	}
	var only []int64
	if p.r.IntN(2) == 0 {
		for _, e := range ends[cut:] {
			only = append(only, e.TaskID)
		}
	}
	bells, err := p.s.Release(p.c.ctx, won.ClaimID, only, task.CauseReleased)
	if p.c.temporary("release", err) {
		p.die()
		return
	}
	p.c.send(p.r, bells...)
	p.gave = append(p.gave, ends[cut:]...)
	_, err = p.s.Finish(p.c.ctx, task.FinishBatch{WorkerID: p.id, Emptied: []int64{won.ClaimID}})
	if p.c.temporary("empty", err) {
		p.die()
	}
}

// reportGiven reports attempts that were handed back, while this worker may run the same tasks again in a later epoch.
func (p *process) reportGiven() {
	batch := task.FinishBatch{WorkerID: p.gave[0].WorkerID, Endings: p.gave[:min(len(p.gave), 500)]}
	p.gave = nil
	if p.finish(batch.WorkerID, batch) {
		for _, e := range batch.Endings {
			if !e.Fenced {
				p.c.fail("task %d epoch %d was handed back and then committed", e.TaskID, e.Epoch)
			}
		}
	}
}

func ids(won task.Claimed) []int64 {
	out := make([]int64, len(won.Tasks))
	for i, one := range won.Tasks {
		out[i] = one.ID
	}
	return out
}

// end decides how an attempt ends.
func (p *process) end(won task.Claimed, one task.ClaimedTask, l *task.Loaded, cancelled bool) *task.Ending {
	if l.ID != one.ID {
		p.c.fail("loaded %d for %d", l.ID, one.ID)
	}
	body, err := task.DecodeBody(l.Body)
	if err != nil {
		p.c.fail("body of %d: %v", l.ID, err)
	}
	now := p.c.now()
	res := task.Result{Outcome: task.OutcomeSucceeded}
	switch n := p.r.IntN(100); {
	case p.c.ends.Load():
	case cancelled:
		res = task.Result{Outcome: task.OutcomeCancelled}
	case n < 15:
		res = task.Result{Outcome: task.OutcomeFailed, ErrCode: "boom", ErrMessage: "no luck", HTTPStatus: int16(500 + p.r.IntN(3))}
	case n < 20:
		res = task.Result{Outcome: task.OutcomeTimedOut}
	case n < 24:
		res = task.Result{Outcome: task.OutcomeFailed, Permanent: true}
	case n < 28:
		res = task.Result{Outcome: task.OutcomeSnoozed, RetryAfterMs: p.r.Int64N(20)}
	case n < 40:
		res.Body = fmt.Appendf(nil, `"%d by %d"`, one.Epoch, p.id)
	case n < 44:
		res.Log = []byte("log")
	}
	next := task.Decide(res, body.Head.RetryPolicy(), int(l.Failures), l.ExpiresAt, now, cancelled, p.r.Float64())
	return &task.Ending{TaskID: one.ID, ClaimID: won.ClaimID, AttemptID: one.AttemptID, WorkerID: p.id, AppID: one.AppID,
		LaneID: won.LaneID, KindID: l.KindID, Epoch: one.Epoch, Flags: l.Flags, DueAt: one.DueAt, StartedAt: won.Now,
		ExpiresAt: l.ExpiresAt, FinishedAt: now, Outcome: res.Outcome, To: next.To, Reason: next.Reason, RetryAt: next.RetryAt,
		HTTPStatus: res.HTTPStatus, Result: res.Body, ErrCode: res.ErrCode, ErrMessage: res.ErrMessage, Log: res.Log,
		Unique: body.Head.Unique(one.AppID), Flow: one.Flow, Places: one.Places}
}

// finish commits a batch and writes down what became of it.
func (p *process) finish(worker int64, batch task.FinishBatch) bool {
	c := p.c
	bells, err := p.s.Finish(c.ctx, batch)
	// When every look-up of a lost commit was lost too, the same batch is given again, as the worker does.
	for tries := 0; errors.Is(err, task.ErrOutcomeUnknown) && tries < 20; tries++ {
		bells, err = p.s.Finish(c.ctx, batch)
	}
	if c.temporary("finish", err) {
		return false
	}
	c.send(p.r, bells...)
	c.model.Lock()
	defer c.model.Unlock()
	for _, e := range batch.Endings {
		k := attemptKey{e.TaskID, e.Epoch}
		if c.model.wins[k] != worker {
			c.fail("task %d epoch %d finished by %d, but won by %d", e.TaskID, e.Epoch, worker, c.model.wins[k])
		}
		if e.Fenced {
			c.model.late++
			continue
		}
		if was, twice := c.model.commits[k]; twice {
			c.fail("task %d epoch %d committed twice: %s and %d", e.TaskID, e.Epoch, was, e.Final)
		}
		c.model.commits[k] = string(e.Result)
		if p.asked[k] && e.Final != task.Succeeded && e.Final != task.Cancelled {
			c.fail("task %d epoch %d was to be cancelled and went to state %d", e.TaskID, e.Epoch, e.Final)
		}
		if e.Final.Final() {
			c.model.finals[e.TaskID]++
		}
	}
	return true
}

// checkSnapshot reads one snapshot and checks I1, I2 and I4 in it.
func (c *chaos) checkSnapshot(*rand.Rand) time.Duration {
	if err := c.snapshot(); err != nil && !strings.Contains(err.Error(), "bad connection") {
		c.fail("snapshot: %v", err)
	}
	return 250 * time.Millisecond
}

type listing struct {
	epoch int32
	kind  int
	ids   map[string]bool
}

func (c *chaos) snapshot() error {
	ctx := context.Background()
	tx, err := c.s.DB().BeginTx(ctx, &sql.TxOptions{Isolation: c.isolation(), ReadOnly: c.s.MySQL()})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it only read
	holders := map[int64]listing{}
	for _, query := range []string{"SELECT id,epoch,kind,task_ids,n FROM bells", "SELECT id,-1,2,task_ids,n FROM claims"} {
		rows, err := tx.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		for rows.Next() {
			var id int64
			var l listing
			var list string
			var n int
			if err := rows.Scan(&id, &l.epoch, &l.kind, &list, &n); err != nil {
				return err
			}
			l.ids = map[string]bool{}
			for _, one := range strings.Split(list, ",") {
				l.ids[one] = true
			}
			if len(l.ids) != n || n > 500 {
				c.fail("holder %d lists %q but says %d", id, list, n)
			}
			holders[id] = l
		}
		rows.Close()
	}
	if err := c.snapshotLimits(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT id,state,epoch,holder,expires_at,due_at,cancel_at FROM tasks WHERE state IN (2,3)")
	if err != nil {
		return err
	}
	defer rows.Close()
	now := c.now()
	for rows.Next() {
		var id, holder, expires, due, cancel int64
		var state, epoch int32
		if err := rows.Scan(&id, &state, &epoch, &holder, &expires, &due, &cancel); err != nil {
			return err
		}
		l, ok := holders[holder]
		switch {
		case state == 2 && cancel != 0:
			c.fail("task %d waits although its cancel was asked for", id)
		case state == 2 && expires != 0 && expires <= now:
		case state == 2 && (!ok || l.kind != 0 && l.kind != 4 || l.epoch != epoch || !l.ids[fmt.Sprint(id)]):
			c.fail("I1: waiting task %d epoch %d is not in bell %d: %+v", id, epoch, holder, l)
		case state == 2 && expires != 0 && expires <= due:
			c.fail("I1: task %d waits until %d, expires %d", id, due, expires)
		case state == 3 && (!ok || l.kind != 2 || !l.ids[fmt.Sprint(id)]):
			c.fail("I2: running task %d is not in claim %d: %+v", id, holder, l)
		}
	}
	return rows.Err()
}

func (c *chaos) isolation() sql.IsolationLevel {
	if c.s.MySQL() {
		return sql.LevelRepeatableRead
	}
	return sql.LevelDefault
}

// checkEnd compares the rows with what the actors were told.
func (c *chaos) checkEnd() {
	m := &c.model
	epochs, starts := int64(0), map[int64]int32{}
	for k := range m.wins {
		starts[k.id] = max(starts[k.id], k.epoch)
	}
	rows, err := c.s.DB().Query(`SELECT t.id,t.state,t.epoch,t.flags,t.holder,
		(SELECT COUNT(*) FROM attempts a WHERE a.task_id=t.id),(SELECT COUNT(*) FROM ends e WHERE e.app_id=t.app_id AND e.state=t.state AND e.id=t.id),
		(SELECT COUNT(*) FROM ends e WHERE e.app_id=t.app_id AND e.id=t.id) FROM tasks t`)
	c.must(err)
	defer rows.Close()
	n := 0
	for rows.Next() {
		var id, flags, holder, attempts, ends, anyEnds int64
		var state, epoch int32
		c.must(rows.Scan(&id, &state, &epoch, &flags, &holder, &attempts, &ends, &anyEnds))
		n++
		epochs += int64(epoch)
		if epoch != starts[id] && c.blind.Load() == 0 {
			c.fail("task %d is in epoch %d, started up to %d", id, epoch, starts[id])
		}
		plain := int64(0)
		if state == 4 && attempts == int64(epoch)-1 && epoch == 1 {
			plain = 1
		}
		if attempts+plain != int64(epoch) {
			c.fail("task %d state %d: %d attempts in %d epochs", id, state, attempts, epoch)
		}
		filed := int64(0)
		if state != 4 {
			filed = 1
		}
		if ends != filed || anyEnds != filed || holder != 0 {
			c.fail("task %d state %d: filed %d of %d, holder %d", id, state, ends, anyEnds, holder)
		}
	}
	c.must(rows.Err())
	if got, all := n+m.purged, len(m.created); got != all && (c.lost.Load() == 0 || got > all) { // a lost COMMIT loses its count
		c.fail("%d tasks left or purged, %d created", got, all)
	}
	want(c.t, "places left in limits", c.count("SELECT SUM(running) FROM limits"), 0)
	want(c.t, "tasks that say they hold a place", c.count("SELECT COUNT(*) FROM tasks WHERE flags & ? <> 0", int64(task.PlaceFlags)), 0)
	want(c.t, "unique keys held by ended tasks", c.count("SELECT COUNT(*) FROM unique_keys WHERE scope IN (1,2,5)"), 0)
	reopens := 0
	for id, finals := range m.finals {
		if finals > 1+m.reopened[id] {
			c.fail("task %d ended %d times, re-opened %d times", id, finals, m.reopened[id])
		}
	}
	for _, n := range m.reopened {
		reopens += n
	}
	want(c.t, "submitted in stats", c.count("SELECT SUM(submitted) FROM stats"), m.submits)
	want(c.t, "ends in stats", c.count("SELECT SUM(succeeded+failed+cancelled) FROM stats"), m.submits+int64(reopens))
	c.checkResults()
	c.checkPurge(n)
	c.t.Logf("%d tasks, %d purged, %d attempts, %d late results, %d re-opens, %d commits with lost answers", len(m.created), m.purged,
		len(m.wins), m.late, reopens, c.lost.Load())
	if !c.enough() {
		c.t.Errorf("the run was too short to mean anything")
	}
}

// checkResults compares results with the ones that were committed.
func (c *chaos) checkResults() {
	rows, err := c.s.DB().Query("SELECT t.id,r.epoch,r.body FROM tasks t JOIN results r ON r.id=t.id WHERE t.flags & ? <> 0 AND t.state=4", int64(task.HasResult))
	c.must(err)
	defer rows.Close()
	n := 0
	for rows.Next() {
		var k attemptKey
		var body string
		c.must(rows.Scan(&k.id, &k.epoch, &body))
		n++
		if got := c.model.commits[k]; got != body && c.blind.Load() == 0 {
			c.fail("task %d epoch %d: result %s, committed %s", k.id, k.epoch, body, got)
		}
	}
	c.must(rows.Err())
	if n == 0 {
		c.fail("no results")
	}
}

// checkPurge purges everything: nothing may be left of any task.
func (c *chaos) checkPurge(left int) {
	for from, later := int64(0), c.now()+1000; ; {
		rep, err := c.s.Purge(c.ctx, task.PurgeRequest{FromID: from, SucceededBefore: later, OthersBefore: later, Limit: 500})
		c.must(err)
		left -= rep.Deleted
		if from = rep.NextID; from == 0 {
			break
		}
	}
	want(c.t, "tasks that were not purged", left, 0)
	for _, table := range []string{"tasks", "payloads", "results", "attempts", "ends", "task_labels"} {
		want(c.t, "rows left in "+table, c.count("SELECT COUNT(*) FROM "+table), 0)
	}
}
