package sqldb

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// Release takes running tasks out of a claim: all of it when only is nil. It is one function for the worker that hands
// back what it does not run (drain, self-check) and for the scheduler that rescues the tasks of a dead one; cause says
// what that counts (protocol section 2, RELEASE). It locks the claim first, so of two releasers one finds nothing, and
// only tasks that still run under this claim are touched. Running it again does nothing, so an unknown commit is
// answered by running it again.
func (s *Store) Release(ctx context.Context, claimID int64, only []int64, cause task.ReleaseCause) ([]task.Bell, error) {
	r := releasing{s: s, cause: cause, claimID: claimID}
	if err := s.release(ctx, &r, only); err != nil {
		return nil, err
	}
	return r.bells, nil
}

func (s *Store) release(ctx context.Context, r *releasing, only []int64) error {
	listed, err := s.claimListing(ctx, r.claimID)
	if err != nil || listed == nil {
		return err
	}
	if err := r.prepare(ctx, len(listed)); err != nil {
		return err
	}
	only = sortedIDs(only)
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		r.reset()
		ids, found, err := s.lockClaim(ctx, t, r.claimID)
		if err != nil || !found {
			return err
		}
		ids = sortedIDs(ids)
		take, rest := ids, []int64(nil)
		if len(only) > 0 {
			take, rest = splitIDs(ids, only)
		}
		if err := r.lockRunning(ctx, t, take, newText(1).s(" AND holder=").n(r.claimID).String()); err != nil {
			return err
		}
		if err := r.commit(ctx, t); err != nil {
			return err
		}
		if err := s.shrinkClaim(ctx, t, r.claimID, len(ids), rest); err != nil {
			return err
		}
		return s.addStats(ctx, t, r.now, s.statsWriter(), &r.set)
	})
}

// splitIDs divides sorted ids into those that are in only and the others.
func splitIDs(ids, only []int64) (in, out []int64) {
	for _, id := range ids {
		if _, found := slices.BinarySearch(only, id); found {
			in = append(in, id)
		} else {
			out = append(out, id)
		}
	}
	return in, out
}

// claimListing reads which tasks a claim lists; nil when there is no such claim.
func (s *Store) claimListing(ctx context.Context, id int64) (ids []int64, err error) {
	err = s.readEach(ctx, newText(1).s("SELECT task_ids FROM claims WHERE id=").n(id).String(), func(rows *sql.Rows) error {
		var list sql.RawBytes
		err := rows.Scan(&list)
		ids = appendParsed(nil, []byte(list))
		return err
	})
	return ids, err
}

func (s *Store) lockClaim(ctx context.Context, t tx, id int64) (ids []int64, found bool, err error) {
	x := newText(1).s("SELECT task_ids FROM claims WHERE id=").n(id)
	if s.mysql {
		x.s(" FOR UPDATE")
	}
	err = forEach(ctx, t, x.String(), func(rows *sql.Rows) error {
		var list sql.RawBytes
		err := rows.Scan(&list)
		ids, found = appendParsed(nil, []byte(list)), true
		return err
	})
	return ids, found, err
}

// shrinkClaim leaves rest in a claim of n tasks, or deletes it when nothing is left.
func (s *Store) shrinkClaim(ctx context.Context, t tx, id int64, n int, rest []int64) error {
	var query string
	switch {
	case len(rest) == 0:
		query = newText(1).s("DELETE FROM claims WHERE id=").n(id).String()
	case len(rest) < n:
		query = newText(len(rest)).s("UPDATE claims SET n=").n(int64(len(rest))).s(",task_ids='").ids(rest).s("' WHERE id=").n(id).String()
	default:
		return nil
	}
	_, err := t.exec(ctx, query)
	return err
}

// releasing is what Release and the audit share: running tasks, locked, that go back to wait or end.
type releasing struct {
	s       *Store
	cause   task.ReleaseCause
	claimID int64
	sizes   *laneSizes
	bellIDs int64
	room    int // ids at bellIDs

	now   int64
	rows  []runningRow // sorted by id
	bells []task.Bell
	ends  []ending
	set   statSet
}

// runningRow is a running task as locked, and where it goes.
type runningRow struct {
	task.Task
	next task.Next
	flow int64
}

// prepare takes new bell ids for n tasks.
func (r *releasing) prepare(ctx context.Context, n int) (err error) {
	if r.sizes, err = r.s.bellSizes(ctx); err != nil || n <= r.room {
		return err
	}
	r.room = n
	r.bellIDs, err = r.s.runIDs(ctx, n)
	return err
}

func (r *releasing) reset() {
	r.now = r.s.now()
	r.rows, r.bells, r.ends, r.set = nil, nil, nil, statSet{}
}

// taskColumns is what scanTask reads.
const taskColumns = "id,app_id,lane_id,kind_id,state,reason,epoch,failures,losses,flags,created_at,due_at,expires_at,timeout_ms," +
	"holder,worker_id,started_at,finished_at,attempt_id,cancel_at,http_status"

func scanTask(rows *sql.Rows, t *task.Task) error {
	return rows.Scan(&t.ID, &t.AppID, &t.LaneID, &t.KindID, &t.State, &t.Reason, &t.Epoch, &t.Failures, &t.Losses, &t.Flags,
		&t.CreatedAt, &t.DueAt, &t.ExpiresAt, &t.TimeoutMs, &t.Holder, &t.WorkerID, &t.StartedAt, &t.FinishedAt, &t.AttemptID,
		&t.CancelAt, &t.HTTPStatus)
}

// lockTasks locks those of the sorted ids for which the condition holds and gives each to scan.
func (s *Store) lockTasks(ctx context.Context, t tx, ids []int64, condition string, row func(*task.Task)) error {
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		x := newText(len(part)).s("SELECT ").s(taskColumns).s(" FROM tasks").s(s.force()).s(" WHERE id IN (").ids(part).s(")").s(condition)
		if err := forEach(ctx, t, s.locked(x, "id", len(part)).String(), func(rows *sql.Rows) error {
			var one task.Task
			if err := scanTask(rows, &one); err != nil {
				return err
			}
			row(&one)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *releasing) lockRunning(ctx context.Context, t tx, ids []int64, condition string) error {
	return r.s.lockTasks(ctx, t, ids, " AND state=3"+condition, func(one *task.Task) {
		r.rows = append(r.rows, runningRow{Task: *one})
	})
}

// commit decides about the locked rows and writes everything but claims and counters.
func (r *releasing) commit(ctx context.Context, t tx) error {
	if len(r.rows) == 0 {
		return nil
	}
	heads, err := headsOf(ctx, t, r.rows)
	if err != nil {
		return err
	}
	for i := range r.rows {
		r.decide(&r.rows[i], heads)
	}
	if err := r.update(ctx, t); err != nil {
		return err
	}
	if err := r.s.insertAttempts(ctx, t, r.attempts()); err != nil {
		return err
	}
	if err := insertBells(ctx, t, r.bells); err != nil {
		return err
	}
	if err := r.givePlacesBack(ctx, t); err != nil {
		return err
	}
	return r.s.terminateInto(ctx, t, r.now, r.ends, &r.set)
}

// givePlacesBack lowers the limits in which the tasks held places.
func (r *releasing) givePlacesBack(ctx context.Context, t tx) error {
	var back places
	for i := range r.rows {
		row := &r.rows[i]
		if row.Flags&task.PlaceFlags == 0 {
			continue
		}
		queue, err := r.s.queueOf(ctx, row.LaneID)
		if err != nil {
			return err
		}
		back.add(queue, row.AppID, row.flow, row.Flags)
	}
	return r.s.giveBack(ctx, t, back)
}

// headsOf reads what the bodies of the tasks say that have a retry policy of their own or a limit key.
func headsOf(ctx context.Context, t tx, rows []runningRow) (map[int64]task.BodyHead, error) {
	var ids []int64
	for i := range rows {
		if rows[i].Flags&(task.HasRetryPolicy|task.HasLimitKey) != 0 {
			ids = append(ids, rows[i].ID)
		}
	}
	out := make(map[int64]task.BodyHead, len(ids))
	for len(ids) > 0 {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("SELECT id,body FROM payloads WHERE id IN (").ids(part).s(")").String()
		if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
			var id int64
			var raw sql.RawBytes
			if err := rows.Scan(&id, &raw); err != nil {
				return err
			}
			if body, err := task.DecodeBody(raw); err == nil {
				out[id] = body.Head
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *releasing) decide(row *runningRow, heads map[int64]task.BodyHead) {
	head := heads[row.ID]
	policy := head.RetryPolicy()
	row.flow = task.FlowOf(row.AppID, head.LimitKey)
	failures, cancelled, u := int(row.Failures), row.CancelAt != 0, rand.Float64()
	if r.cause == task.CauseReleased {
		row.next = task.Decide(task.Result{Outcome: task.OutcomeReleased}, policy, failures, row.ExpiresAt, r.now, cancelled, u)
	} else {
		row.next = task.DecideLost(policy, failures, int(row.Losses), row.ExpiresAt, r.now, cancelled, u)
		r.set.of(row.AppID, row.LaneID, row.KindID).lost++
	}
	if row.next.To == task.Cancelled && row.Reason == task.BySchedule { // askToEnd
		row.next.Reason = task.BySchedule
	}
}

// releaseKey is what rows of one UPDATE have in common.
type releaseKey struct {
	to     task.State
	reason task.Reason
	counts bool
}

// releaseGroup is one UPDATE.
type releaseGroup struct {
	releaseKey
	ids, dues, holders []int64
}

// update brings the rows where they go. They are locked, so state and id are guard enough.
func (r *releasing) update(ctx context.Context, t tx) error {
	var groups []releaseGroup
	var waits []again
	for i := range r.rows {
		row := &r.rows[i]
		k := releaseKey{row.next.To, row.next.Reason, row.next.Counts}
		at := slices.IndexFunc(groups, func(g releaseGroup) bool { return g.releaseKey == k })
		if at < 0 {
			at = len(groups)
			groups = append(groups, releaseGroup{releaseKey: k})
		}
		groups[at].ids = append(groups[at].ids, row.ID)
		if k.to == task.Waiting {
			groups[at].dues = append(groups[at].dues, row.next.RetryAt)
			noteWaiting(t, &row.Task, r.outcome(), r.now, row.next.RetryAt, r.code(), "")
			waits = append(waits, again{id: row.ID, dueAt: row.next.RetryAt, lane: row.LaneID, app: row.AppID, epoch: row.Epoch,
				bell: r.sizes.bellKind(row.KindID), flow: row.flow})
			continue
		}
		r.ends = append(r.ends, ending{id: row.ID, app: row.AppID, lane: row.LaneID, kind: row.KindID, state: k.to, reason: k.reason,
			flags: row.Flags, errCode: r.code(), epoch: row.Epoch, outcome: r.outcome(), worker: row.WorkerID})
	}
	holders := map[int64]int64{}
	bells, held := r.s.bellsFor(waits, r.now, r.bellIDs, r.sizes)
	for i := range waits {
		holders[waits[i].id] = held[i]
	}
	r.bells = bells
	for i := range groups {
		g := &groups[i]
		if g.to == task.Waiting {
			for _, id := range g.ids {
				g.holders = append(g.holders, holders[id])
			}
		}
		if err := r.updateGroup(ctx, t, g); err != nil {
			return err
		}
	}
	return nil
}

func (r *releasing) updateGroup(ctx context.Context, t tx, g *releaseGroup) error {
	for from := 0; from < len(g.ids); from += maxList {
		to := min(from+maxList, len(g.ids))
		ids := g.ids[from:to]
		x := newText(3 * len(ids)).s("UPDATE tasks").s(r.s.force()).s(" SET state=").n(int64(g.to)).s(",reason=").n(int64(g.reason)).
			s(",flags=(flags&").n(without(task.Zombie | task.PlaceFlags)).s(")|").n(int64(task.HasAttempts))
		if r.cause == task.CauseLost {
			x.s(",losses=losses+1")
		}
		if g.counts {
			x.s(",failures=failures+1")
		}
		if g.to == task.Waiting {
			x.s(",due_at=").perID(ids, g.dues[from:to]).s(",holder=").perID(ids, g.holders[from:to])
		} else {
			x.s(",finished_at=").n(r.now).s(",holder=0")
		}
		matched, err := t.exec(ctx, x.s(" WHERE id IN (").ids(ids).s(") AND state=3").String())
		if err != nil {
			return err
		}
		if int(matched) != len(ids) {
			return errShort
		}
	}
	return nil
}

// code is what attempts say that ended here.
func (r *releasing) code() string {
	if r.cause == task.CauseReleased {
		return "released"
	}
	return "worker_lost"
}

// outcome is that of the attempts that ended here.
func (r *releasing) outcome() task.Outcome {
	if r.cause == task.CauseReleased {
		return task.OutcomeReleased
	}
	return task.OutcomeLost
}

func (r *releasing) attempts() []attemptRow {
	outcome, message := r.outcome(), "the worker died or lost this attempt"
	if r.cause == task.CauseReleased {
		message = "the worker handed this attempt back"
	}
	note := encodeDetail(r.code(), message, nil, nil)
	out := make([]attemptRow, len(r.rows))
	for i := range r.rows {
		row := &r.rows[i]
		out[i] = attemptRow{task.Attempt{ID: row.AttemptID, TaskID: row.ID, Epoch: row.Epoch, WorkerID: row.WorkerID,
			StartedAt: row.StartedAt, FinishedAt: r.now, Outcome: outcome}, note}
	}
	return out
}
