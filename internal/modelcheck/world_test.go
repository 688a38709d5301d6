package modelcheck_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
)

// world is the one database in which every step is taken, and what never changes within a scenario.
type world struct {
	t             testing.TB
	ctx           context.Context
	s             *sqldb.Store
	raw           *sql.Conn // puts rows in place and reads them, beside the Store
	reads         []*sql.Stmt
	sums          *sql.Stmt
	begin, commit *sql.Stmt
	there         *rows // what the database holds, when that is known
	seen          observer

	now        int64 // ms; it stands still
	lane, kind int32
	shard      int
	sc         *scenario
	bodies     map[int64][]byte
	heads      map[int64]task.BodyHead
	plant      *plant // nil: the code as it is

	memo    map[string]*outcome
	states  map[string]*rows // by their encoding, so that equal ones are one
	ends    map[endAsked]endDecided
	taken   int // steps taken in the database
	recalls int // steps whose outcome was known
}

// firstFresh is where ids of bells, claims and attempts begin that the Store allocates: far above those of canonical states.
const firstFresh = 1_000_000

// newWorld must be called in a bubble, whose clock stands still while anything runs.
func newWorld(t testing.TB, dir string, sc *scenario, p *plant) *world {
	w := &world{t: t, ctx: context.Background(), sc: sc, plant: p, memo: map[string]*outcome{}, states: map[string]*rows{},
		ends: map[endAsked]endDecided{}}
	file := filepath.Join(dir, "model.db")
	var err error
	w.s, err = sqldb.Open(w.ctx, sqldb.Options{URL: "sqlite://" + file, MaxConns: 1})
	w.must(err)
	_, err = w.s.Migrate(w.ctx, sqldb.Up)
	w.must(err)
	lane, err := w.s.EnsureLane(w.ctx, "default", task.Normal)
	w.must(err)
	w.lane, w.shard = lane.ID, lane.Shard()
	w.must(w.s.TuneLane(w.ctx, w.lane, 100, maxTasks))
	kinds, err := w.s.DeclareKinds(w.ctx, []string{"model"})
	w.must(err)
	w.kind = kinds["model"]
	if sc.limit > 0 {
		w.must(w.s.PutQueue(w.ctx, "default", task.Limits{Concurrency: sc.limit}, false))
	}
	w.now = w.s.Clock().Now()
	w.openRaw(file)
	w.prepareBodies()
	w.s.Observe(&w.seen)
	return w
}

func (w *world) openRaw(file string) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=synchronous(OFF)")
	w.must(err)
	w.t.Cleanup(func() { _ = db.Close() })
	w.raw, err = db.Conn(w.ctx)
	w.must(err)
	_, err = w.raw.ExecContext(w.ctx, fmt.Sprintf("UPDATE ids SET next=%d WHERE name='run'", firstFresh))
	w.must(err)
	for _, t := range tables {
		st, err := w.raw.PrepareContext(w.ctx, t.read)
		w.must(err)
		w.reads = append(w.reads, st)
	}
	w.sums, err = w.raw.PrepareContext(w.ctx, sumsSQL)
	w.must(err)
	w.begin, err = w.raw.PrepareContext(w.ctx, "BEGIN")
	w.must(err)
	w.commit, err = w.raw.PrepareContext(w.ctx, "COMMIT")
	w.must(err)
}

func (w *world) close() {
	for _, st := range append(w.reads, w.sums, w.begin, w.commit) {
		_ = st.Close()
	}
	_ = w.raw.Close()
	w.must(w.s.Close())
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// prepareBodies encodes what is written once beside each task.
func (w *world) prepareBodies() {
	w.bodies, w.heads = map[int64][]byte{}, map[int64]task.BodyHead{}
	for i := range w.sc.tasks {
		sub := &w.sc.tasks[i]
		head := task.BodyHead{Retry: &task.RetryPolicy{Policy: "fixed", BaseMs: max(1, sub.retryMs), CapMs: max(1, sub.retryMs), Max: sub.retries}}
		if sub.key != "" {
			head.UniqueKey, head.UniqueScope = sub.key, sub.scope
		}
		body, err := task.Body{Payload: []byte("null"), Head: head}.Encode()
		w.must(err)
		for _, id := range []int64{int64(i) + 1, int64(i) + 1 + againID} {
			w.bodies[id], w.heads[id] = body, head
		}
	}
}

func (w *world) body(id int64) []byte { return w.bodies[id] }

// answer is what a call told its caller, in the ids of the database.
type answer struct {
	err      error
	claimed  task.Claimed
	loaded   []task.Loaded
	endings  []task.Ending
	held     []task.Held
	claims   []task.Claim
	report   task.CancelReport
	complete task.CompletionReport
	requests []task.Request
	subs     []task.Submission
	id       int64 // of a new worker
	mended   int
	skipped  bool // the call did not come to the point where another was to come between
}

// call is one call of a real function of the Store, or a few that one process makes after each other. Its label says what is
// done to what; with the rows before it decides what comes of it.
type call struct {
	label string
	kind  callKind
	run   func(w *world, a *answer)
}

// segment is a stretch of a call in which nobody else did anything.
type segment struct {
	kind          callKind
	ans           *answer // of the call that it belongs to
	before, after *rows
	counted       counters
}

// outcome is what came of a call in a state of the rows.
type outcome struct {
	after    *rows // in the ids of the database
	ans, sub *answer
	subKind  callKind
	segments []segment
	broken   error // a rule
}

// take takes a step: it puts the rows in place, makes the call, reads the rows and judges what happened.
func (w *world) take(d *rows, c *call) *outcome {
	key := d.key + "\x00" + c.label
	if o := w.memo[key]; o != nil {
		w.recalls++
		return o
	}
	o := w.takeAnew(d, c)
	w.memo[key] = o
	return o
}

func (w *world) takeAnew(d *rows, c *call) *outcome {
	w.taken++
	o := &outcome{ans: &answer{}}
	w.seen.start(w, d, o, c.kind)
	if err := w.restore(d); err != nil {
		w.t.Fatal(err)
	}
	c.run(w, o.ans)
	after, counted, err := w.dump()
	if err != nil {
		w.t.Fatal(err)
	}
	w.there = after
	o.after = after
	w.seen.end(after, counted, o.ans)
	o.broken = w.judgeRows(after)
	for i := range o.segments {
		if o.broken == nil {
			o.broken = w.judge(&o.segments[i])
		}
	}
	return o
}

// observer lets another call come between, and loses answers (sqldb.Observer).
type observer struct {
	w       *world
	o       *outcome
	kind    callKind
	from    *rows
	counted counters
	inside  bool
	before  int

	at    int   // before which transaction the other call comes; 0: none
	lose  bool  // the answer of the first transaction is lost, and the other call, if any, comes before it is looked up
	other *call // nil: none
	done  bool
}

func (b *observer) start(w *world, d *rows, o *outcome, kind callKind) {
	*b = observer{w: w, o: o, kind: kind, from: d}
}

// cut ends a segment at the rows as they are.
func (b *observer) cut(kind callKind, ans *answer) {
	d, c, err := b.w.dump()
	if err != nil {
		b.w.t.Fatal(err)
	}
	b.add(kind, ans, d, c)
}

func (b *observer) add(kind callKind, ans *answer, d *rows, c counters) {
	b.o.segments = append(b.o.segments, segment{kind, ans, b.from, d, c.minus(b.counted)})
	b.from, b.counted = d, c
}

func (b *observer) end(d *rows, c counters, ans *answer) { b.add(b.kind, ans, d, c) }

// Before implements sqldb.Observer.
func (b *observer) Before() {
	if b.inside {
		return
	}
	if b.before++; b.at != 0 && b.before == b.at && !b.done {
		b.between()
	}
}

// After implements sqldb.Observer.
func (b *observer) After(err error) error {
	if b.inside || !b.lose || b.done || err != nil {
		return err
	}
	b.between()
	return fmt.Errorf("%w: planned", task.ErrOutcomeUnknown)
}

// between makes the other call.
func (b *observer) between() {
	b.done = true
	if b.other == nil {
		return
	}
	b.cut(b.kind, b.o.ans)
	b.inside = true
	b.o.sub, b.o.subKind = &answer{}, b.other.kind
	b.other.run(b.w, b.o.sub)
	b.inside = false
	b.cut(b.other.kind, b.o.sub)
}

func (c counters) minus(d counters) counters {
	return counters{c.submitted - d.submitted, c.succeeded - d.succeeded, c.failed - d.failed, c.retried - d.retried,
		c.timedOut - d.timedOut, c.cancelled - d.cancelled, c.lost - d.lost}
}

// around makes a call in the middle of which another comes: before its at-th transaction, after what it read for it.
func around(c *call, at int, other *call) *call {
	return &call{fmt.Sprintf("%s, and before its transaction %d: %s", c.label, at, other.label), c.kind, func(w *world, a *answer) {
		w.seen.at, w.seen.other = at, other
		c.run(w, a)
		a.skipped = !w.seen.done
	}}
}

// lost makes a call whose transaction is committed, but its answer is lost; other may be nil.
func lost(c *call, other *call) *call {
	label := c.label + ", its answer lost"
	if other != nil {
		label += ", and before it is looked up: " + other.label
	}
	return &call{label, c.kind, func(w *world, a *answer) {
		w.seen.lose, w.seen.other = true, other
		c.run(w, a)
		a.skipped = !w.seen.done
	}}
}
