package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// errShort says that a guarded group matched fewer rows than it named: the transaction is rolled back and the batch takes
// the careful path.
var errShort = errors.New("a group matched fewer tasks than it named")

// extraFlags are those of tasks whose end brings more with it than their row and a count.
const extraFlags = task.HasUnique | task.HasCompletion | task.InWorkflow | task.TracksSchedule

// Finish commits what a worker's attempts ended with (protocol section 2, FINISH): one guarded UPDATE per group of equal
// outcome, epoch and status. Only when a group matches fewer rows than it names does it look: the transaction is rolled
// back, the rows are locked and read, endings of tasks that went to another attempt are fenced, failures of tasks whose
// cancel was asked for become cancelled, and the rest is committed.
//
// The guard is (epoch, worker), not the claim: a worker that was fenced and then won the same task again must not commit
// its stale result under the new claim. With an error nothing of the batch was committed, or its outcome is unknown and
// the same batch may be given again.
func (s *Store) Finish(ctx context.Context, batch task.FinishBatch) ([]task.Bell, error) {
	endings, fenced := newestEpochs(batch.Endings)
	var all []task.Bell
	for len(endings) > maxList {
		bells, err := s.finishPart(ctx, batch.WorkerID, endings[:maxList], nil)
		all = append(all, bells...)
		if err != nil {
			return all, err
		}
		endings = endings[maxList:]
	}
	bells, err := s.finishPart(ctx, batch.WorkerID, endings, batch.Emptied)
	if err == nil {
		for _, e := range fenced {
			e.Fenced = true
		}
		s.metrics.Fenced(len(fenced))
	}
	return append(all, bells...), err
}

// newestEpochs sorts endings by task and keeps the highest epoch of each; the others are stale by definition.
func newestEpochs(in []*task.Ending) (out, fenced []*task.Ending) {
	out = slices.Clone(in)
	slices.SortFunc(out, func(a, b *task.Ending) int {
		if a.TaskID != b.TaskID {
			return cmpInt(a.TaskID, b.TaskID)
		}
		return int(b.Epoch) - int(a.Epoch)
	})
	kept := out[:0]
	for _, e := range out {
		if n := len(kept); n > 0 && kept[n-1].TaskID == e.TaskID {
			fenced = append(fenced, e)
			continue
		}
		kept = append(kept, e)
	}
	return kept, fenced
}

// finishPart is one transaction: at most 500 endings, each task once, sorted.
func (s *Store) finishPart(ctx context.Context, worker int64, endings []*task.Ending, emptied []int64) ([]task.Bell, error) {
	if len(endings) == 0 && len(emptied) == 0 {
		return nil, nil
	}
	f := finishing{s: s, worker: worker, endings: endings, emptied: sortedIDs(emptied)}
	if err := f.prepare(ctx); err != nil {
		return nil, err
	}
	minute, times := minuteOf(s.now()), f.times()
	f.hists = s.engine.hists.count(worker, minute, times)
	err := s.writeSettled(failpoint.In(ctx, failpoint.FinishAnswer), f.optimistic, f.committed)
	if errors.Is(err, errShort) {
		err = s.writeSettled(failpoint.In(ctx, failpoint.FinishAnswer), f.careful, f.committed)
	}
	if err != nil {
		s.engine.hists.takeBack(worker, minute, times)
		return nil, err
	}
	s.engine.hists.committed(f.hists)
	f.settle()
	return f.bells, nil
}

// finishing is one flush of a worker. What a transaction computes is computed anew by each of its tries.
type finishing struct {
	s       *Store
	worker  int64
	endings []*task.Ending
	emptied []int64
	sizes   *laneSizes // with retries
	bellIDs int64      // as many as there are retries
	hists   []keptHist // of the times of what ends

	now    int64
	plan   []planned // sorted by task id
	fenced []*task.Ending
	bells  []task.Bell
	set    statSet
}

// planned is an ending with what will be committed of it.
type planned struct {
	*task.Ending
	to     task.State
	reason task.Reason
	places task.Flags // that the task holds in limits
}

// finishKey is what endings of one UPDATE have in common.
type finishKey struct {
	to         task.State
	reason     task.Reason
	epoch      int32
	status     int16
	set        task.Flags
	counts     bool
	finishedAt int64 // 0: the time of the flush
	places     task.Flags
}

// finishGroup is one UPDATE.
type finishGroup struct {
	finishKey
	ids           []int64
	dues, holders []int64 // with Waiting
}

// prepare takes the ids of new bells before the transaction, so that an unknown outcome can be looked up.
func (f *finishing) prepare(ctx context.Context) (err error) {
	retries := 0
	for _, e := range f.endings {
		if e.To == task.Waiting {
			retries++
		}
	}
	if retries == 0 {
		return nil
	}
	if f.sizes, err = f.s.bellSizes(ctx); err != nil {
		return err
	}
	f.bellIDs, err = f.s.runIDs(ctx, retries)
	return err
}

func (f *finishing) reset() {
	f.now = f.s.now()
	if f.plan == nil {
		f.plan = make([]planned, 0, len(f.endings))
	}
	f.plan, f.fenced, f.bells, f.set = f.plan[:0], nil, nil, statSet{rows: f.set.rows[:0]}
}

// optimistic trusts that every task is still this worker's and that nobody asked to cancel one.
func (f *finishing) optimistic(ctx context.Context, t tx) error {
	f.reset()
	for _, e := range f.endings {
		f.plan = append(f.plan, plannedOf(e, false, f.now))
	}
	return f.commit(ctx, t)
}

// careful locks and reads the tasks first.
func (f *finishing) careful(ctx context.Context, t tx) error {
	f.reset()
	ids := make([]int64, len(f.endings))
	for i, e := range f.endings {
		ids[i] = e.TaskID
	}
	x := newText(len(ids)).s("SELECT id,epoch,cancel_at,flags FROM tasks").s(f.s.force()).s(" WHERE id IN (").ids(ids).
		s(") AND state=3 AND worker_id=").n(f.worker)
	at := 0
	err := forEach(ctx, t, f.s.locked(x, "id", len(ids)).String(), func(rows *sql.Rows) error {
		var id, cancelAt int64
		var epoch int32
		var flags task.Flags
		if err := rows.Scan(&id, &epoch, &cancelAt, &flags); err != nil {
			return err
		}
		for f.endings[at].TaskID < id {
			f.fenced = append(f.fenced, f.endings[at])
			at++
		}
		if e := f.endings[at]; e.Epoch == epoch {
			p := plannedOf(e, cancelAt != 0, f.now)
			p.places = flags & task.PlaceFlags // a limit may have been set since the claim
			f.plan = append(f.plan, p)
		} else {
			f.fenced = append(f.fenced, e)
		}
		at++
		return nil
	})
	if err != nil {
		return err
	}
	f.fenced = append(f.fenced, f.endings[at:]...)
	return f.commit(ctx, t)
}

// plannedOf applies what the worker could not know: cancel wins over everything but success, and no task waits beyond its
// expiry (I1). Nor does one that could have been retried in time, when its end comes to be committed too late for that: its
// expire bell may have been executed while it ran, and nobody else would ever end it.
func plannedOf(e *task.Ending, cancelled bool, now int64) planned {
	p := planned{Ending: e, to: e.To, reason: e.Reason, places: e.Places}
	switch {
	case cancelled && (p.to == task.Waiting || p.to == task.Failed):
		p.to, p.reason = task.Cancelled, task.ByUser
	case p.to == task.Waiting && !e.Await && e.ExpiresAt != 0 && max(e.RetryAt, now) >= e.ExpiresAt:
		p.to, p.reason = task.Failed, task.Expired
	case p.to == task.Waiting || p.to == task.Succeeded:
		p.reason = task.NoReason
	}
	return p
}

// counts reports whether the attempt counts against the retry policy.
func (p *planned) counts() bool {
	return p.to != task.Cancelled && (p.Outcome == task.OutcomeFailed || p.Outcome == task.OutcomeTimedOut)
}

// awaits reports whether the attempt goes on without the worker, until it is completed.
func (p *planned) awaits() bool { return p.Await && p.to == task.Waiting }

// hasRow reports whether the attempt gets a row: all but a plain first success do.
func (p *planned) hasRow() bool {
	return p.to != task.Succeeded || p.Epoch != 1 || p.Log != nil || p.Delivery != nil
}

// outcome is that of the attempt. One that would have gone on but for a cancel is cancelled.
func (p *planned) outcome() task.Outcome {
	if p.Await && p.to == task.Cancelled {
		return task.OutcomeCancelled
	}
	return p.Outcome
}

// hasResult reports whether a results row is written.
func (p *planned) hasResult() bool { return p.Result != nil && p.to == task.Succeeded }

// lateFinish is how old an ending may be for the flush's time to stand for its own.
const lateFinish = 1_000

func (p *planned) key(now int64) finishKey {
	k := finishKey{to: p.to, reason: p.reason, epoch: p.Epoch, status: p.HTTPStatus, counts: p.counts(), places: p.places}
	if p.hasResult() {
		k.set |= task.HasResult
		if p.Truncated {
			k.set |= task.Truncated
		}
	}
	if p.hasRow() {
		k.set |= task.HasAttempts
		if p.Log != nil {
			k.set |= task.HasLog
		}
	}
	if p.awaits() {
		k.set |= task.Awaiting
	}
	if p.to != task.Waiting && p.FinishedAt > 0 && now-p.FinishedAt > lateFinish {
		k.finishedAt = p.FinishedAt // the database was away: keep the truth, at the price of more groups
	}
	return k
}

// commit runs the statements in lock order: bells are new, then tasks, inserts, keys, claims, counters.
func (f *finishing) commit(ctx context.Context, t tx) error {
	groups := f.groups()
	for i := range groups {
		g := &groups[i]
		matched, err := t.exec(ctx, f.s.finishTasksSQL(g, f.worker, f.now))
		if err != nil {
			return err
		}
		if int(matched) != len(g.ids) {
			return errShort
		}
	}
	f.note(t)
	if err := f.s.insertResults(ctx, t, f.plan); err != nil {
		return err
	}
	if err := f.s.insertAttempts(ctx, t, f.attempts()); err != nil {
		return err
	}
	if err := f.forgetPostponed(ctx, t, groups); err != nil {
		return err
	}
	if err := insertBells(ctx, t, f.bells); err != nil {
		return err
	}
	if err := f.s.terminateInto(ctx, t, f.now, f.ends(), &f.set); err != nil {
		return err
	}
	if err := f.givePlacesBack(ctx, t); err != nil {
		return err
	}
	if len(f.emptied) > 0 {
		mine := newText(1).s(" AND worker_id=").n(f.worker).String()
		if err := f.s.dropIDs(ctx, t, listDelete{table: "claims", column: "id", after: mine}, f.emptied); err != nil {
			return err
		}
	}
	return f.s.writeStats(ctx, t, minuteOf(f.now), f.worker, &f.set, f.hists)
}

// givePlacesBack lowers the limits in which the tasks held places.
func (f *finishing) givePlacesBack(ctx context.Context, t tx) error {
	var back places
	for i := range f.plan {
		p := &f.plan[i]
		if p.places == 0 {
			continue
		}
		queue, err := f.s.queueOf(ctx, p.LaneID)
		if err != nil {
			return err
		}
		back.add(queue, p.AppID, p.Flow, p.places)
	}
	return f.s.giveBack(ctx, t, back)
}

// groups sorts the plan into UPDATEs. Nearly every flush has one or two, so they are found by looking through them.
func (f *finishing) groups() []finishGroup {
	groups := make([]finishGroup, 0, 4)
	var waits []again
	for i := range f.plan {
		p := &f.plan[i]
		k := p.key(f.now)
		at := slices.IndexFunc(groups, func(g finishGroup) bool { return g.finishKey == k })
		if at < 0 {
			at = len(groups)
			groups = append(groups, finishGroup{finishKey: k, ids: make([]int64, 0, len(f.plan)-i)})
		}
		groups[at].ids = append(groups[at].ids, p.TaskID)
		if p.to == task.Waiting {
			groups[at].dues = append(groups[at].dues, p.RetryAt)
			bell := f.sizes.bellKind(p.KindID)
			if p.awaits() {
				bell = task.DeadlineBell
			}
			waits = append(waits, again{id: p.TaskID, dueAt: p.RetryAt, lane: p.LaneID, app: p.AppID, epoch: p.Epoch, bell: bell, flow: p.Flow})
		}
	}
	if len(waits) == 0 {
		return groups
	}
	var holders []int64
	f.bells, holders = f.s.bellsFor(waits, f.now, f.bellIDs, f.sizes)
	for i := range groups {
		g := &groups[i]
		if g.to != task.Waiting {
			continue
		}
		for _, id := range g.ids {
			at, _ := slices.BinarySearchFunc(waits, id, func(w again, id int64) int { return cmpInt(w.id, id) })
			g.holders = append(g.holders, holders[at])
		}
	}
	return groups
}

// without is the mask that clears flags.
func without(f task.Flags) int64 { return int64((1<<31 - 1) &^ f) }

// finishTasksSQL is the guarded change of one group.
func (s *Store) finishTasksSQL(g *finishGroup, worker, now int64) string {
	clear := task.Zombie | task.PlaceFlags
	if g.to == task.Succeeded {
		clear |= (task.HasResult | task.Truncated) &^ g.set // of an earlier success that was re-opened
	}
	x := newText(3 * len(g.ids)).s("UPDATE tasks").s(s.force()).s(" SET state=").n(int64(g.to)).s(",reason=")
	if g.to == task.Cancelled && g.reason == task.ByUser { // the worker cannot tell who asked: the mark does (askToEnd)
		x.s("CASE reason WHEN ").n(int64(task.BySchedule)).s(" THEN ").n(int64(task.BySchedule)).s(" ELSE ").n(int64(task.ByUser)).s(" END")
	} else {
		x.n(int64(g.reason))
	}
	x.s(",http_status=").n(int64(g.status)).s(",flags=(flags&").n(without(clear)).s(")|").n(int64(g.set))
	if g.counts {
		x.s(",failures=failures+1")
	}
	if g.to == task.Waiting {
		x.s(",due_at=").perID(g.ids, g.dues).s(",holder=").perID(g.ids, g.holders)
	} else {
		at := g.finishedAt
		if at == 0 {
			at = now
		}
		x.s(",finished_at=").n(at).s(",holder=0")
	}
	x.s(" WHERE ").anyOf("id", g.ids).s(" AND epoch=").n(int64(g.epoch)).s(" AND state=3 AND worker_id=").n(worker).
		s(" AND flags&").n(int64(task.PlaceFlags)).s("=").n(int64(g.places))
	if g.to == task.Waiting || g.to == task.Failed {
		x.s(" AND cancel_at=0")
	}
	return x.String()
}

// ends counts every ending and gives terminate those whose end brings something with it.
func (f *finishing) ends() []ending {
	var ends []ending
	for i := range f.plan {
		p := &f.plan[i]
		row := f.set.of(p.AppID, p.LaneID, p.KindID)
		if p.Outcome == task.OutcomeTimedOut {
			row.timedOut++
		}
		switch {
		case p.to == task.Waiting:
			if p.counts() {
				row.retried++
			}
		case p.to == task.Succeeded && p.Flags&extraFlags == 0:
			row.succeeded++
		default:
			ends = append(ends, ending{id: p.TaskID, app: p.AppID, lane: p.LaneID, kind: p.KindID, state: p.to, reason: p.reason,
				flags: p.Flags, finishedAt: p.key(f.now).finishedAt, unique: p.Unique, errCode: p.ErrCode, errMessage: p.ErrMessage,
				httpStatus: p.HTTPStatus, epoch: p.Epoch, outcome: p.outcome(), worker: f.worker})
		}
	}
	return ends
}

// settle tells the endings what was committed, and the memory of this process.
func (f *finishing) settle() {
	for _, e := range f.fenced {
		e.Fenced = true
		f.s.log.Warn("result dropped: the task went to another attempt", "task", e.TaskID, "epoch", e.Epoch, "worker", f.worker)
	}
	f.s.metrics.Fenced(len(f.fenced))
	f.s.metrics.Flush("finish", len(f.plan))
	for i := range f.plan {
		p := &f.plan[i]
		p.Fenced, p.Final = false, p.to
	}
}

// times gives how long the attempts waited and ran. Those that turn out to be fenced are among them: they ran too.
func (f *finishing) times() []attemptTimes {
	out := make([]attemptTimes, len(f.endings))
	for i, e := range f.endings {
		out[i] = attemptTimes{statKey{e.AppID, e.LaneID, e.KindID}, e.StartedAt - e.DueAt, e.FinishedAt - e.StartedAt}
	}
	return out
}

// committed looks an unknown outcome up. A task that is still running in the epoch of its ending, with this worker, says
// no; a reader waits for a transaction that still holds the row. When every task is elsewhere, either the flush was
// committed or there is nothing left that it could commit.
func (f *finishing) committed(ctx context.Context) (bool, error) {
	if len(f.plan) == 0 {
		return false, nil
	}
	ids := make([]int64, len(f.plan))
	for i := range f.plan {
		ids[i] = f.plan[i].TaskID
	}
	still := false
	at := 0
	query := newText(len(ids)).s("SELECT id,epoch FROM tasks").s(f.s.force()).s(" WHERE id IN (").ids(ids).s(") AND state=3 AND worker_id=").
		n(f.worker).s(" ORDER BY id").s(f.s.shared()).String()
	err := f.s.readEach(ctx, query, func(rows *sql.Rows) error {
		var id int64
		var epoch int32
		if err := rows.Scan(&id, &epoch); err != nil {
			return err
		}
		for f.plan[at].TaskID < id {
			at++
		}
		still = still || f.plan[at].Epoch == epoch
		return nil
	})
	return !still, err
}

// maxValues bounds the bytes of the bodies in one INSERT; escaped, a packet is at most twice as large.
const maxValues = 512 << 10

// insertResults writes the results of successes.
func (s *Store) insertResults(ctx context.Context, t tx, plan []planned) error {
	ins := bodyInsert{s: s, t: t, head: "INSERT INTO results (id,epoch,body) VALUES ",
		tail: " ON DUPLICATE KEY UPDATE epoch=VALUES(epoch),body=VALUES(body)"}
	if !s.mysql {
		ins.tail = " ON CONFLICT (id) DO UPDATE SET epoch=excluded.epoch,body=excluded.body"
	}
	for i := range plan {
		if p := &plan[i]; p.hasResult() {
			if err := ins.add(ctx, p.Result, p.TaskID, int64(p.Epoch)); err != nil {
				return err
			}
		}
	}
	return ins.flush(ctx)
}

// attemptRow is one row of attempts.
type attemptRow struct {
	task.Attempt
	detail []byte // encodeDetail
}

func (f *finishing) attempts() []attemptRow {
	var out []attemptRow
	for i := range f.plan {
		p := &f.plan[i]
		if !p.hasRow() {
			continue
		}
		at := p.FinishedAt
		if at == 0 {
			at = f.now
		}
		if p.awaits() {
			at = 0
		}
		out = append(out, attemptRow{task.Attempt{ID: p.AttemptID, TaskID: p.TaskID, Epoch: p.Epoch, WorkerID: f.worker,
			StartedAt: p.StartedAt, FinishedAt: at, Outcome: p.outcome(), HTTPStatus: p.HTTPStatus},
			encodeWhole(detail{Code: p.ErrCode, Message: p.ErrMessage, Log: p.Log, Skipped: p.LogSkipped, Delivery: p.Delivery})})
	}
	return out
}

// insertAttempts writes rows of ended attempts.
func (s *Store) insertAttempts(ctx context.Context, t tx, rows []attemptRow) error {
	ins := bodyInsert{s: s, t: t, head: "INSERT INTO attempts (task_id,epoch,id,worker_id,started_at,finished_at,outcome,http_status,detail) VALUES "}
	for i := range rows {
		r := &rows[i]
		if err := ins.add(ctx, r.detail, r.TaskID, int64(r.Epoch), r.ID, r.WorkerID, r.StartedAt, r.FinishedAt, int64(r.Outcome),
			int64(r.HTTPStatus)); err != nil {
			return err
		}
	}
	return ins.flush(ctx)
}

// bodyInsert builds INSERTs of rows of numbers with one body at their end, each of a bounded size.
type bodyInsert struct {
	s          *Store
	t          tx
	head, tail string
	x          *text
	args       []any
	rows, size int
}

func (b *bodyInsert) add(ctx context.Context, body []byte, numbers ...int64) error {
	if b.rows == maxList || b.rows > 0 && b.size+len(body) > maxValues {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	if b.rows == 0 {
		b.x = newText(32).s(b.head)
	}
	b.x.row(b.rows == 0, numbers...)
	b.x.b = b.x.b[:len(b.x.b)-1]
	switch {
	case body == nil:
		b.x.s(",NULL)")
	case b.s.mysql:
		b.x.s(",")
		b.s.blob(b.x, body).s(")")
	default:
		b.x.s(",?)")
		b.args = append(b.args, body)
	}
	b.rows++
	b.size += len(body)
	return nil
}

func (b *bodyInsert) flush(ctx context.Context) error {
	if b.rows == 0 {
		return nil
	}
	query, args := b.x.s(b.tail).String(), b.args
	b.rows, b.size, b.args = 0, 0, nil
	if len(args) == 0 {
		return b.t.add(ctx, query)
	}
	_, err := b.t.exec(ctx, query, args...)
	return err
}

// detail is what an attempts row keeps beside its numbers, as JSON.
type detail struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Log     []byte `json:"log,omitempty"`
	Skipped int64  `json:"skipped,omitempty"` // bytes of the output before those of Log
	// Delivery is a task.Delivery.
	Delivery json.RawMessage `json:"delivery,omitempty"`
}

// encodeDetail is the stored form; nil when there is nothing to keep.
func encodeDetail(code, message string, log, delivery []byte) []byte {
	return encodeWhole(detail{Code: code, Message: message, Log: log, Delivery: delivery})
}

func encodeWhole(d detail) []byte {
	if d.Code == "" && d.Message == "" && len(d.Log) == 0 && len(d.Delivery) == 0 {
		return nil
	}
	if len(d.Message) > task.MaxErrorText {
		d.Message = d.Message[:task.MaxErrorText]
	}
	if cut := len(d.Log) - task.MaxLog; cut > 0 {
		d.Log = d.Log[cut:]
		d.Skipped += int64(cut)
	}
	if len(d.Log) == 0 {
		d.Skipped = 0
	}
	b, err := json.Marshal(d)
	if err != nil && d.Delivery != nil { // it is no JSON, as nothing else here can fail
		d.Delivery = nil
		return encodeWhole(d)
	}
	return b
}

// decodeDetail reads the stored form. What is none reads as empty: a damaged log must not hide a task.
func decodeDetail(b []byte) detail {
	var d detail
	if len(b) > 0 && json.Unmarshal(b, &d) != nil {
		return detail{}
	}
	return d
}
