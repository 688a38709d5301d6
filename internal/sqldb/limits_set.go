package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// MaxLimitKeys bounds the limit keys of one app that are limited or paused. Keys that tasks merely carry are not counted.
const MaxLimitKeys = 100_000

// changeLimit changes one limit. The fence is taken first: no claim is under way from here to the end of the transaction. Where a
// bound of concurrency is new, the running tasks of the scope are marked and counted. A rate that changed starts anew.
func (s *Store) changeLimit(ctx context.Context, t tx, id task.Limit, change func(*task.Limit)) (task.Limit, error) {
	if _, err := t.exec(ctx, "UPDATE ids SET next=next+1 WHERE name='limits'"); err != nil {
		return id, err
	}
	var version int64
	if err := forEach(ctx, t, fenceSQL, func(rows *sql.Rows) error { return rows.Scan(&version) }); err != nil {
		return id, err
	}
	was, found, err := s.readLimit(ctx, t, id.Scope)
	if err != nil {
		return id, err
	}
	if !found {
		was = id
	}
	is := was
	change(&is)
	is.Version = version
	switch {
	case is.Concurrency == 0:
		is.Running = 0
	case was.Concurrency == 0:
		if is.Running, err = s.markRunning(ctx, t, &is); err != nil {
			return is, err
		}
	default: // tasks may end meanwhile: the row has the number
	}
	if is.RateTasks != was.RateTasks || is.RatePerMs != was.RatePerMs || is.RateBurst != was.RateBurst {
		is.Tat = 0
	}
	return is, s.writeLimit(ctx, t, &was, &is, found)
}

func (s *Store) readLimit(ctx context.Context, t tx, scope task.LimitScope) (l task.Limit, found bool, err error) {
	err = forEach(ctx, t, newText(2).s(limitColumns).s(" WHERE k='").s(string(scope)).s("'").String(), func(rows *sql.Rows) error {
		found = true
		l, err = scanLimit(rows)
		return err
	})
	return l, found, err
}

// writeLimit stores a limit. running is written only when it was counted, tat when it starts anew: claims and ends move them otherwise.
func (s *Store) writeLimit(ctx context.Context, t tx, was, is *task.Limit, found bool) error {
	ended := int64(0)
	if is.Idle() {
		ended = s.now()
	}
	if !found {
		_, err := t.exec(ctx, "INSERT INTO limits (k,version,ended_at,app_id,name,flow,paused,max,rate_tasks,rate_ms,rate_burst,running,tat)"+
			" VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", string(is.Scope), is.Version, ended, is.AppID, is.Name, is.Flow, is.Paused, is.Concurrency,
			is.RateTasks, is.RatePerMs, is.RateBurst, is.Running, is.Tat)
		return err
	}
	x := newText(12).s("UPDATE limits SET version=").n(is.Version).s(",ended_at=").n(ended).s(",paused=").n(bit(is.Paused)).s(",max=").n(int64(is.Concurrency)).
		s(",rate_tasks=").n(int64(is.RateTasks)).s(",rate_ms=").n(is.RatePerMs).s(",rate_burst=").n(int64(is.RateBurst))
	if was.Concurrency == 0 || is.Concurrency == 0 {
		x.s(",running=").n(int64(is.Running))
	}
	if is.Tat == 0 {
		x.s(",tat=0")
	}
	_, err := t.exec(ctx, x.s(" WHERE k='").s(string(is.Scope)).s("'").String())
	return err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// setLimits runs a transaction that changes limits; this process knows of it when it is over.
func (s *Store) setLimits(ctx context.Context, fn func(context.Context, tx) error) error {
	err := s.writeAgain(ctx, fn)
	_, _, _ = s.LimitsSince(ctx, s.limits.since())
	return err
}

// markRunning gives every running task of a scope its place and counts them. The transaction holds the fence, so no task begins to
// run; those that end wait for the marks, and find them.
func (s *Store) markRunning(ctx context.Context, t tx, l *task.Limit) (n int, err error) {
	in, err := s.inScope(ctx, l)
	if err != nil {
		return 0, err
	}
	var listed []int64
	if err := forEach(ctx, t, "SELECT task_ids FROM claims", func(rows *sql.Rows) error {
		var list sql.RawBytes
		err := rows.Scan(&list)
		listed = appendParsed(listed, []byte(list))
		return err
	}); err != nil {
		return 0, err
	}
	for part := range slices.Chunk(sortedIDs(listed), maxList) {
		var rows []runningRow
		if err := s.lockTasks(ctx, t, part, " AND state=3"+in.condition, func(one *task.Task) { rows = append(rows, runningRow{Task: *one}) }); err != nil {
			return 0, err
		}
		if l.Flow != 0 {
			heads, err := headsOf(ctx, t, rows)
			if err != nil {
				return 0, err
			}
			rows = slices.DeleteFunc(rows, func(r runningRow) bool { h := heads[r.ID]; return task.FlowOf(r.AppID, h.LimitKey) != l.Flow })
		}
		n += len(rows)
		var unmarked []int64
		for i := range rows {
			if !rows[i].Flags.Has(in.place) {
				unmarked = append(unmarked, rows[i].ID)
			}
		}
		if len(unmarked) > 0 {
			if _, err := t.exec(ctx, s.markSQL(in.place, unmarked)); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (s *Store) markSQL(place task.Flags, ids []int64) string {
	return newText(len(ids)).s("UPDATE tasks").s(s.force()).s(" SET flags=flags|").n(int64(place)).s(" WHERE id IN (").ids(ids).s(") AND state=3").String()
}

// scopeRows is how the tasks of a limit are found.
type scopeRows struct {
	condition string // on tasks, beginning with AND
	place     task.Flags
}

func (s *Store) inScope(ctx context.Context, l *task.Limit) (scopeRows, error) {
	switch {
	case l.Flow != 0:
		return scopeRows{newText(2).s(" AND app_id=").n(int64(l.AppID)).s(" AND flags&").n(int64(task.HasLimitKey)).s("<>0").String(), task.InKeyLimit}, nil
	case l.AppID != 0:
		return scopeRows{newText(1).s(" AND app_id=").n(int64(l.AppID)).String(), task.InAppLimit}, nil
	}
	lanes, err := s.Lanes(ctx)
	ids := []int32{0}
	for _, lane := range lanes {
		if lane.Queue == l.Name {
			ids = append(ids, lane.ID)
		}
	}
	return scopeRows{newText(3).s(" AND lane_id IN (").ints(ids).s(")").String(), task.InQueueLimit}, err
}

func queueLimit(name string) task.Limit { return task.Limit{Scope: task.QueueScope(name), Name: name} }
func appLimit(id int32) task.Limit      { return task.Limit{Scope: task.AppScope(id), AppID: id} }
func keyLimit(app int32, key string) task.Limit {
	flow := task.FlowOf(app, key)
	return task.Limit{Scope: task.KeyScope(app, flow), AppID: app, Name: key, Flow: flow}
}

// PutQueue makes a queue if it is not there and sets its limits and whether it is paused.
func (s *Store) PutQueue(ctx context.Context, queue string, limits task.Limits, paused bool) error {
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return err
	}
	if err := s.roomForNew(ctx, queue, lanes); err != nil {
		return err
	}
	return s.setLimits(ctx, func(ctx context.Context, t tx) error {
		if _, err := s.changeLimit(ctx, t, queueLimit(queue), func(l *task.Limit) { l.Limits, l.Paused = limits, paused }); err != nil {
			return err
		}
		if _, err := t.exec(ctx, s.insertIgnore()+" INTO queues (name,paused) VALUES (?,0)", queue); err != nil {
			return err
		}
		return s.pauseLanes(ctx, t, queue, paused)
	})
}

// roomForNew is roomFor for queues that may have no lane yet.
func (s *Store) roomForNew(ctx context.Context, queue string, lanes []task.Lane) error {
	all := slices.Clone(lanes)
	err := s.readEach(ctx, "SELECT name FROM queues", func(rows *sql.Rows) error {
		var l task.Lane
		err := rows.Scan(&l.Queue)
		all = append(all, l)
		return err
	})
	if err != nil {
		return err
	}
	return roomFor(queue, all)
}

// pauseLanes writes what the views of a queue show. The limit's row, which claims look at, is written before it.
func (s *Store) pauseLanes(ctx context.Context, t tx, queue string, paused bool) error {
	value := bit(paused) * lanePaused
	n, err := t.exec(ctx, "UPDATE queues SET paused=? WHERE name=?", value, queue)
	if err == nil && n == 0 {
		err = task.Missing("queue")
	}
	if err == nil {
		_, err = t.exec(ctx, "UPDATE lanes SET mode=? WHERE queue=?", value, queue)
	}
	return err
}

// QueueLimits gives the limits of every queue that has some.
func (s *Store) QueueLimits(ctx context.Context) (map[string]task.Limits, error) {
	out := map[string]task.Limits{}
	err := s.readEach(ctx, limitColumns+" WHERE k>='q:' AND k<'q;'", func(rows *sql.Rows) error {
		l, err := scanLimit(rows)
		out[l.Name] = l.Limits
		return err
	})
	return out, err
}

// appLimits gives the limits of every app that has some, or of one.
func (s *Store) appLimits(ctx context.Context, only int32) (map[int32]task.Limits, error) {
	query := limitColumns + " WHERE k>='a:' AND k<'a;'"
	if only != 0 {
		query = limitColumns + " WHERE k='" + string(task.AppScope(only)) + "'"
	}
	out := map[int32]task.Limits{}
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		l, err := scanLimit(rows)
		out[l.AppID] = l.Limits
		return err
	})
	return out, err
}

// limitApp brings the limit of an app to what the app says. A disabled app is paused too.
func (s *Store) limitApp(ctx context.Context, t tx, a *task.App) error {
	l, found, err := s.readLimit(ctx, t, task.AppScope(a.ID))
	paused := a.Paused || a.Disabled
	if err != nil || !found && a.Limits.None() && !paused || found && l.Limits == a.Limits && l.Paused == paused {
		return err
	}
	_, err = s.changeLimit(ctx, t, appLimit(a.ID), func(l *task.Limit) { l.Limits, l.Paused = a.Limits, paused })
	return err
}

// PutLimitKey sets what holds for the tasks of an app that carry a limit key. It is the same when done twice.
func (s *Store) PutLimitKey(ctx context.Context, app int32, key string, limits task.Limits, paused bool) (task.Limit, error) {
	return s.changeKey(ctx, app, key, false, func(l *task.Limit) { l.Limits, l.Paused = limits, paused })
}

// PauseLimitKey pauses or resumes a limit key. Missing when nothing is set for it; a pause sets something.
func (s *Store) PauseLimitKey(ctx context.Context, app int32, key string, paused bool) (task.Limit, error) {
	return s.changeKey(ctx, app, key, false, func(l *task.Limit) { l.Paused = paused })
}

// DeleteLimitKey takes every limit away from a key. Missing when there is none.
func (s *Store) DeleteLimitKey(ctx context.Context, app int32, key string) error {
	_, err := s.changeKey(ctx, app, key, true, func(l *task.Limit) { l.Limits, l.Paused = task.Limits{}, false })
	return err
}

func (s *Store) changeKey(ctx context.Context, app int32, key string, mustBe bool, change func(*task.Limit)) (out task.Limit, err error) {
	id := keyLimit(app, key)
	again := false
	err = s.setLimits(ctx, func(ctx context.Context, t tx) error {
		l, found, err := s.readLimit(ctx, t, id.Scope)
		switch {
		case err != nil:
			return err
		case found && l.Name != key:
			return task.InvalidField("key", "collides", "cannot be told from another limit key of the app: use a different one")
		case mustBe && (!found || l.Idle()) && !again:
			return task.Missing("limit_key")
		}
		again = true
		if !found || l.Idle() {
			if err := s.roomForKey(ctx, t, app); err != nil {
				return err
			}
		}
		out, err = s.changeLimit(ctx, t, id, change)
		return err
	})
	return out, err
}

// roomForKey refuses a limit key too many. To count them costs as much as there are, so only one new key in 64 is counted for: an app may
// have some hundred keys more.
func (s *Store) roomForKey(ctx context.Context, t tx, app int32) error {
	if rand.IntN(64) != 0 {
		return nil
	}
	n, err := scanInt(ctx, t, "SELECT COUNT(*) FROM limits WHERE app_id=? AND ended_at=0 AND name>''", app)
	if err == nil && n >= MaxLimitKeys {
		err = task.InvalidField("key", "max_count", fmt.Sprintf("must be one of the %d limit keys that the app has: there may not be more", MaxLimitKeys))
	}
	return err
}

// LimitKey gives what is set for a limit key. Missing when nothing is.
func (s *Store) LimitKey(ctx context.Context, app int32, key string) (task.Limit, error) {
	var l task.Limit
	id := keyLimit(app, key)
	err := s.readEach(ctx, newText(2).s(limitColumns).s(" WHERE k='").s(string(id.Scope)).s("'").String(), func(rows *sql.Rows) (err error) {
		l, err = scanLimit(rows)
		return err
	})
	if err == nil && (l.Name != key || l.Idle()) {
		err = task.Missing("limit_key")
	}
	return l, err
}

// LimitKeys lists the limit keys of an app for which something is set, by name, after a name.
func (s *Store) LimitKeys(ctx context.Context, app int32, after string, limit int) ([]task.Limit, error) {
	var out []task.Limit
	err := s.readEach(ctx, limitColumns+" WHERE app_id=? AND ended_at=0 AND name>? ORDER BY name LIMIT ?", func(rows *sql.Rows) error {
		l, err := scanLimit(rows)
		out = append(out, l)
		return err
	}, app, after, limit)
	return out, err
}

// AuditLimits holds the counts of up to limit limits of concurrency behind a scope against the running tasks and mends those that
// are off. next is where to go on; empty: at the end. None ever should be off: each find is a bug or a damaged database.
func (s *Store) AuditLimits(ctx context.Context, after task.LimitScope, limit int) (mended int, next task.LimitScope, err error) {
	var all []task.Limit
	if err := s.readEach(ctx, limitColumns+" WHERE k>? AND max>0 ORDER BY k LIMIT ?", func(rows *sql.Rows) error {
		l, err := scanLimit(rows)
		all = append(all, l)
		return err
	}, string(after), limit); err != nil || len(all) == 0 {
		return 0, "", err
	}
	if len(all) == limit {
		next = all[len(all)-1].Scope
	}
	held, err := s.heldPlaces(ctx)
	if err != nil {
		return 0, "", err
	}
	for i := range all {
		if all[i].Running == held[all[i].Scope] {
			continue // what was read a moment later may differ without a fault: those are looked at again, under lock
		}
		n, err := s.mendLimit(ctx, all[i].Scope)
		if err != nil {
			return mended, "", err
		}
		mended += n
	}
	return mended, next, nil
}

// heldPlaces counts the places that running tasks hold, without locks.
func (s *Store) heldPlaces(ctx context.Context) (places, error) {
	var listed []int64
	if err := s.readEach(ctx, "SELECT task_ids FROM claims", func(rows *sql.Rows) error {
		var list sql.RawBytes
		err := rows.Scan(&list)
		listed = appendParsed(listed, []byte(list))
		return err
	}); err != nil {
		return nil, err
	}
	held := places{}
	for part := range slices.Chunk(sortedIDs(listed), maxList) {
		query := newText(len(part)).s("SELECT t.app_id,t.lane_id,t.flags,CASE WHEN t.flags&").n(int64(task.InKeyLimit)).
			s("<>0 THEN p.body END FROM tasks t JOIN payloads p ON p.id=t.id WHERE t.id IN (").ids(part).s(") AND t.state=3").String()
		type one struct {
			app, lane int32
			flags     task.Flags
			flow      int64
		}
		var found []one
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			var o one
			var raw []byte
			if err := rows.Scan(&o.app, &o.lane, &o.flags, &raw); err != nil {
				return err
			}
			if body, err := task.DecodeBody(raw); err == nil {
				o.flow = task.FlowOf(o.app, body.Head.LimitKey)
			}
			found = append(found, o)
			return nil
		}); err != nil {
			return nil, err
		}
		for _, o := range found {
			queue, err := s.queueOf(ctx, o.lane)
			if err != nil {
				return nil, err
			}
			held.add(queue, o.app, o.flow, o.flags)
		}
	}
	return held, nil
}

// mendLimit counts one limit anew behind the fence.
func (s *Store) mendLimit(ctx context.Context, scope task.LimitScope) (mended int, err error) {
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		mended = 0
		if _, err := t.exec(ctx, "UPDATE ids SET next=next WHERE name='limits'"); err != nil {
			return err
		}
		l, found, err := s.readLimit(ctx, t, scope)
		if err != nil || !found || l.Concurrency == 0 {
			return err
		}
		n, err := s.markRunning(ctx, t, &l)
		if err != nil {
			return err
		}
		// Ends that are not committed yet have lowered it already, or wait for the tasks that are locked here.
		if l, found, err = s.lockLimit(ctx, t, scope); err != nil || !found || l.Running == n {
			return err
		}
		mended = 1
		s.log.Error("limit counted wrongly, mended", "limit", scope, "was", l.Running, "is", n)
		_, err = t.exec(ctx, newText(4).s("UPDATE limits SET running=").n(int64(n)).s(" WHERE k='").s(string(scope)).s("'").String())
		return err
	})
	return mended, err
}

func (s *Store) lockLimit(ctx context.Context, t tx, scope task.LimitScope) (l task.Limit, found bool, err error) {
	x := newText(2).s(limitColumns).s(s.force()).s(" WHERE k IN (").scopes([]task.LimitScope{scope}).s(")")
	err = forEach(ctx, t, s.locked(x, "k", 1).String(), func(rows *sql.Rows) error {
		found = true
		l, err = scanLimit(rows)
		return err
	})
	return l, found, err
}

// purgeLimits deletes rows of limits that ended a while ago.
func (s *Store) purgeLimits(ctx context.Context, now int64, limit int) (int, error) {
	var scopes []task.LimitScope
	query := newText(2).s("SELECT k FROM limits WHERE ended_at BETWEEN 1 AND ").n(now - endedLimitsKept).s(" LIMIT ").n(int64(limit)).String()
	if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var k task.LimitScope
		err := rows.Scan(&k)
		scopes = append(scopes, k)
		return err
	}); err != nil || len(scopes) == 0 {
		return 0, err
	}
	slices.Sort(scopes)
	return s.deleted(ctx, func(ctx context.Context, t tx) (n int64, err error) {
		for _, scope := range scopes {
			gone, err := t.exec(ctx, newText(2).s("DELETE FROM limits WHERE k='").s(string(scope)).s("' AND ended_at BETWEEN 1 AND ").n(now-endedLimitsKept).String())
			if err != nil {
				return n, err
			}
			n += gone
		}
		return n, nil
	})
}
