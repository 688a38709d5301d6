package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Limits (protocol section 3, "Hard concurrency limits"). A queue, an app or a limit key that is limited or paused has a row in
// limits. It holds what was set and how it stands: running, the tasks that hold a place, and tat, until when what was started has
// used the rate up. The claim takes both under the row's lock, so that neither depends on who owns a lane, on Redis, or on how
// often a bell is rung: concurrency 3 is never 4, and a rate is never exceeded by more than its burst. (The protocol has the rate in
// the memory of a lane's owner and, over lanes, in Redis. A row that is locked anyway costs as much as the one of concurrency, is
// exact over any number of owners and survives the loss of Redis.) Nothing that is not limited has a row.
//
// A task that holds a place says so in its flags (task.PlaceFlags). They are set by the claim and cleared by every arrow out of
// running, in the transaction that moves the count, so running is the number of running tasks with the flag, whenever a limit was
// set: what the worker remembers of a task does not count, only its row does.
//
// The fence makes this exact while limits change. Each change takes the next version, a row of ids, and each claim reads that row
// with a shared lock, in the round trip that locks its bells: no claim runs while a limit changes, and the next one sees the new
// version and reads what changed. So whoever sets a limit finds all running tasks in claims, marks and counts them; and a pause
// holds from its commit on.

// fenceSQL reads the version of the limits.
const fenceSQL = "SELECT next FROM ids WHERE name='limits'"

// setFence holds the version of the limits until the end of the transaction and keeps it for fenceColumn: on MySQL in a variable of the
// session, because a statement without rows goes out together with the next. SQLite has one writer at a time.
func (s *Store) setFence(ctx context.Context, t tx) error {
	if !s.mysql {
		return nil
	}
	return t.add(ctx, "SELECT next INTO @limits FROM ids WHERE name='limits' LOCK IN SHARE MODE")
}

// fenceColumn is the version that setFence holds, as a column.
func (s *Store) fenceColumn() string {
	if s.mysql {
		return "@limits"
	}
	return "(" + fenceSQL + ")"
}

// limitsStale is how old the knowledge of limits may be where it decides about speed only (who rings a new bell).
const limitsStale = time.Second

// limitsForgotten is the age from which knowledge is thrown away: rows of limits that ended are kept for longer.
const limitsForgotten = 30 * time.Minute

// endedLimitsKept is how long the row of a limit that ended is kept, ms.
const endedLimitsKept = 2 * 3_600_000

// limitTable is which limits there are, as of a version. It tells where to look: what holds is in the rows.
type limitTable struct {
	mu      sync.RWMutex
	version int64
	at      time.Time // of the last reading
	queues  map[string]*task.Limit
	apps    map[int32]*task.Limit
	keys    map[flowKey]*task.Limit
}

// flowKey names a limit key.
type flowKey struct {
	app  int32
	flow int64
}

// limitsOf is what limits a bell: its queue, its app, its limit key; nil where nothing does.
type limitsOf [3]*task.Limit

// placeFlag is what a task that holds a place there says.
var placeFlag = [3]task.Flags{task.InQueueLimit, task.InAppLimit, task.InKeyLimit}

func (l *limitTable) known() (version int64, at time.Time) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.version, l.at
}

// empty reports whether nothing at all is limited.
func (l *limitTable) empty() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.queues)+len(l.apps)+len(l.keys) == 0
}

// of gives what limits tasks of a queue, an app and a flow.
func (l *limitTable) of(queue string, app int32, flow int64) (out limitsOf, any bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out[0], out[1] = l.queues[queue], l.apps[app]
	if flow != 0 {
		out[2] = l.keys[flowKey{app, flow}]
	}
	return out, out[0] != nil || out[1] != nil || out[2] != nil
}

// learn takes changes over that bring what was known at since to version.
func (l *limitTable) learn(rows []task.Limit, since, version int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = time.Now()
	if version < l.version {
		return // somebody else has read more
	}
	if since == 0 {
		l.queues, l.apps, l.keys = map[string]*task.Limit{}, map[int32]*task.Limit{}, map[flowKey]*task.Limit{}
	}
	l.version = version
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Flow != 0:
			put(l.keys, flowKey{r.AppID, r.Flow}, r)
		case r.AppID != 0:
			put(l.apps, r.AppID, r)
		default:
			put(l.queues, r.Name, r)
		}
	}
}

func put[K comparable](m map[K]*task.Limit, k K, l *task.Limit) {
	if l.Idle() {
		delete(m, k)
	} else {
		m[k] = l
	}
}

const limitColumns = "SELECT k,version,app_id,name,flow,paused,max,rate_tasks,rate_ms,rate_burst,running,tat FROM limits"

func scanLimit(rows *sql.Rows) (l task.Limit, err error) {
	err = rows.Scan(&l.Scope, &l.Version, &l.AppID, &l.Name, &l.Flow, &l.Paused, &l.Concurrency, &l.RateTasks, &l.RatePerMs, &l.RateBurst,
		&l.Running, &l.Tat)
	return l, err
}

// since is where to read on from: the start when what is known is too old.
func (l *limitTable) since() int64 {
	version, at := l.known()
	if time.Since(at) > limitsForgotten {
		return 0
	}
	return version
}

// catchUp brings what is known of limits to a version that the transaction holds (fence).
func (s *Store) catchUp(ctx context.Context, t tx, version int64) error {
	since := s.limits.since()
	if since == version {
		return nil
	}
	var rows []task.Limit
	if err := forEach(ctx, t, limitsSinceSQL(since), func(r *sql.Rows) error {
		l, err := scanLimit(r)
		rows = append(rows, l)
		return err
	}); err != nil {
		return err
	}
	s.limits.learn(rows, since, version)
	return nil
}

func limitsSinceSQL(since int64) string {
	return newText(2).s(limitColumns).s(" WHERE version>").n(since).s(" ORDER BY version").String()
}

// hearOfLimits reads what changed when that was not done for a second. Its error is left to whoever must know.
func (s *Store) hearOfLimits(ctx context.Context) {
	if _, at := s.limits.known(); time.Since(at) >= limitsStale {
		_, _, _ = s.LimitsSince(ctx, s.limits.since())
	}
}

// LimitsSince lists limits that were set, changed or ended (Idle) after a version, and the version that this is as of. It costs
// one read of one row when nothing changed.
func (s *Store) LimitsSince(ctx context.Context, since int64) ([]task.Limit, int64, error) {
	var version int64
	if err := s.readEach(ctx, fenceSQL, func(r *sql.Rows) error { return r.Scan(&version) }); err != nil {
		return nil, 0, err
	}
	var rows []task.Limit
	if version != since {
		if err := s.readEach(ctx, limitsSinceSQL(since), func(r *sql.Rows) error {
			l, err := scanLimit(r)
			rows = append(rows, l)
			return err
		}); err != nil {
			return nil, 0, err
		}
	}
	if known, _ := s.limits.known(); known >= since || since == 0 {
		s.limits.learn(rows, since, version)
	}
	return rows, version, nil
}

// LimitCounts tells how limits stand. Scopes without a row are left out.
func (s *Store) LimitCounts(ctx context.Context, scopes []task.LimitScope) (map[task.LimitScope]task.LimitCount, error) {
	out := make(map[task.LimitScope]task.LimitCount, len(scopes))
	for part := range slices.Chunk(scopes, maxList) {
		if err := s.readEach(ctx, newText(2*len(part)).s(limitColumns).s(" WHERE k IN (").scopes(part).s(")").String(), func(r *sql.Rows) error {
			l, err := scanLimit(r)
			out[l.Scope] = l.LimitCount
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LimitsOf lists what limits tasks of a queue, an app and a flow, in this order, with how it stands.
func (s *Store) LimitsOf(ctx context.Context, queue string, app int32, flow int64) ([]task.Limit, error) {
	scopes := []task.LimitScope{task.QueueScope(queue), task.AppScope(app)}
	if flow != 0 {
		scopes = append(scopes, task.KeyScope(app, flow))
	}
	found := map[task.LimitScope]task.Limit{}
	err := s.readEach(ctx, newText(8).s(limitColumns).s(" WHERE k IN (").scopes(scopes).s(")").String(), func(r *sql.Rows) error {
		l, err := scanLimit(r)
		found[l.Scope] = l
		return err
	})
	var out []task.Limit
	for _, scope := range scopes {
		if l, ok := found[scope]; ok && !l.Idle() {
			out = append(out, l)
		}
	}
	return out, err
}

// scopes appends a list of keys of limits. They hold letters, digits, - _ and : only.
func (x *text) scopes(list []task.LimitScope) *text {
	for i, scope := range list {
		if i > 0 {
			x.s(",")
		}
		x.s("'").s(string(scope)).s("'")
	}
	return x
}

// limited reports whether new bells of a lane, an app and a flow are left to the lane's owner, because a limit holds for them.
func (s *Store) limited(lane, app int32, flow int64) bool {
	if s.limits.empty() {
		return false
	}
	l, _ := s.lanes.byID(lane)
	_, any := s.limits.of(l.Queue, app, flow)
	return any
}

// places counts places that tasks give back.
type places map[task.LimitScope]int

// add notes the places of one task.
func (p *places) add(queue string, app int32, flow int64, held task.Flags) {
	if held&task.PlaceFlags == 0 {
		return
	}
	if *p == nil {
		*p = places{}
	}
	if held.Has(task.InQueueLimit) {
		(*p)[task.QueueScope(queue)]++
	}
	if held.Has(task.InAppLimit) {
		(*p)[task.AppScope(app)]++
	}
	if held.Has(task.InKeyLimit) {
		(*p)[task.KeyScope(app, flow)]++
	}
}

// giveBack lowers the counts, in the order of the rows. A limit that ended meanwhile counts nothing.
func (s *Store) giveBack(ctx context.Context, t tx, p places) error {
	scopes := make([]task.LimitScope, 0, len(p))
	for scope := range p {
		scopes = append(scopes, scope)
	}
	slices.Sort(scopes)
	for _, scope := range scopes {
		if err := t.add(ctx, giveBackSQL(scope, p[scope])); err != nil {
			return err
		}
	}
	return nil
}

func giveBackSQL(scope task.LimitScope, n int) string {
	return newText(4).s("UPDATE limits SET running=CASE WHEN running>").n(int64(n)).s(" THEN running-").n(int64(n)).
		s(" ELSE 0 END WHERE k='").s(string(scope)).s("' AND max>0").String()
}

// queueOf gives the queue of a lane.
func (s *Store) queueOf(ctx context.Context, lane int32) (string, error) {
	l, err := s.lane(ctx, lane)
	return l.Queue, err
}
