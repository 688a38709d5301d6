package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// Claim wins tasks of rung bells (protocol section 2, CLAIM). The only proof that a task was won is its row: state,
// holder and epoch are changed by one guarded statement, and when fewer rows matched than were named, the winners are read
// back by the new claim id, which nobody else can have.
//
// Bells are taken in the order of the request until they list enough; the others are locked, but not touched. Any other
// order would starve: what is left of a bell of a small app would be passed over as long as a large one has older bells. What a claim leaves stays
// in the bell row under the same id: first what was not tried, last the tasks of kinds that this worker does not run, so
// that they never hide what it could run. Listings that can never be won (their task has another holder) are dropped.
//
// Nil Kinds means every kind.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) (task.Claimed, error) {
	rank := ranks(req.Bells[:min(len(req.Bells), maxList)])
	req.Bells = sortedIDs(req.Bells[:min(len(req.Bells), maxList)])
	req.Max = min(req.Max, maxList)
	if len(req.Bells) == 0 || req.Max < 1 || req.Kinds != nil && len(req.Kinds) == 0 {
		return task.Claimed{LaneID: req.LaneID, Now: s.now()}, nil
	}
	firstID, err := s.runIDs(ctx, req.Max)
	if err != nil {
		return task.Claimed{}, err
	}
	var c claiming
	looks := 0
	err = s.writeSettled(failpoint.In(ctx, failpoint.ClaimAnswer), func(ctx context.Context, t tx) error {
		c = claiming{s: s, t: t, req: &req, rank: rank, claimID: firstID}
		c.out = task.Claimed{LaneID: req.LaneID, Now: s.now()}
		return c.run(ctx)
	}, func(ctx context.Context) (bool, error) {
		found, err := s.claimExists(ctx, firstID, req.Bells)
		if err != nil || found {
			return found, err
		}
		if looks++; looks == settleRuns {
			return false, nil // it runs no more, and the answer names the last claim that may exist
		}
		// It may have been committed and taken back since (its worker was declared dead): its ids are used up, as those of
		// attempts, and what is claimed under them again could never be released.
		fresh, err := s.runIDs(ctx, req.Max)
		if err != nil {
			looks-- // this look is made again
			return false, err
		}
		firstID = fresh
		return false, nil
	})
	if err != nil {
		return task.Claimed{ClaimID: firstID, LaneID: req.LaneID}, err
	}
	s.metrics.Flush("claim", len(c.out.Tasks))
	return c.out, nil
}

// ranks gives each bell its place in the request.
func ranks(bells []int64) map[int64]int {
	out := make(map[int64]int, len(bells))
	for i, id := range bells {
		if _, twice := out[id]; !twice {
			out[id] = i
		}
	}
	return out
}

// claimExists reports whether a claim was committed. Its row is written by the text that ends with COMMIT, so that one
// which is still under way shows by the locks on its bells only: they are waited for first.
func (s *Store) claimExists(ctx context.Context, id int64, bells []int64) (found bool, err error) {
	wait := newText(len(bells)).s("SELECT id FROM bells").s(s.force()).s(" WHERE id IN (").ids(bells).s(")").s(s.shared()).String()
	if err := s.readEach(ctx, wait, func(*sql.Rows) error { return nil }); err != nil {
		return false, err
	}
	query := newText(1).s("SELECT id FROM claims WHERE id=").n(id).s(s.shared()).String()
	err = s.readEach(ctx, query, func(*sql.Rows) error { found = true; return nil })
	return found, err
}

// claiming is one try of a claim transaction.
type claiming struct {
	s       *Store
	t       tx
	req     *task.ClaimRequest
	rank    map[int64]int // of the request's bells
	claimID int64
	out     task.Claimed

	bells   []task.Bell  // locked, in the order of the request
	taken   []int64      // ids of those bells that tasks are chosen from
	listing []listed     // of the taken bells, by id, each task once
	chosen  []int64      // sorted
	limits  *claimLimits // nil: nothing limits these bells
}

// listed is a task as a taken bell lists it.
type listed struct {
	id     int64
	bell   int32 // index in bells
	chosen bool
	fate   fate
}

// fate is what is known of a listing after the guarded update.
type fate uint8

const (
	untried  fate = iota // keep it in its bell
	won                  // running, in this claim
	dead                 // another holder or state: no claim of this bell can ever win it
	noRunner             // waits here, but its kind is not this worker's
)

func (c *claiming) run(ctx context.Context) error {
	if err := c.lockBells(ctx); err != nil {
		return err
	}
	if err := c.heedLimits(ctx); err != nil {
		return err
	}
	if err := c.choose(ctx); err != nil {
		return err
	}
	if len(c.chosen) > 0 {
		matched, err := c.t.exec(ctx, c.claimTasksSQL())
		if err != nil {
			return err
		}
		if err := c.learn(ctx, int(matched)); err != nil {
			return err
		}
		failpoint.At(failpoint.ClaimTx)
	}
	keyed := c.report()
	if err := c.rewriteBells(ctx); err != nil {
		return err
	}
	if len(c.out.Tasks) == 0 {
		return nil
	}
	c.out.ClaimID = c.claimID
	if c.limits != nil {
		if err := c.raiseLimits(ctx); err != nil {
			return err
		}
	}
	if err := c.t.add(ctx, c.insertClaimSQL()); err != nil {
		return err
	}
	if len(keyed) > 0 {
		return c.s.releaseStartedKeys(ctx, c.t, keyed)
	}
	return nil
}

// lockBells locks the start bells of this lane, reports the others as gone, and sorts as the request does. What is known of limits is
// as of the fence from here on.
func (c *claiming) lockBells(ctx context.Context) error {
	if err := c.s.setFence(ctx, c.t); err != nil {
		return err
	}
	x := newText(len(c.req.Bells)).s("SELECT ").s(bellColumns).s(",").s(c.s.fenceColumn()).s(" FROM bells").s(c.s.force()).
		s(" WHERE id IN (").ids(c.req.Bells).s(")")
	query := c.s.locked(x, "id", len(c.req.Bells)).String()
	c.bells = make([]task.Bell, 0, len(c.req.Bells))
	c.out.Bells = make([]task.ClaimedBell, 0, len(c.req.Bells))
	next := 0 // in req.Bells: rows come in id order
	version := int64(0)
	err := forEach(ctx, c.t, query, func(rows *sql.Rows) error {
		b, err := scanBell(rows, &version)
		if err != nil || !b.Kind.Starts() || b.LaneID != c.req.LaneID {
			return err
		}
		for ; c.req.Bells[next] < b.ID; next++ {
			c.out.Bells = append(c.out.Bells, task.ClaimedBell{ID: c.req.Bells[next], Gone: true})
		}
		next++
		c.bells = append(c.bells, b)
		return nil
	})
	for ; next < len(c.req.Bells); next++ {
		c.out.Bells = append(c.out.Bells, task.ClaimedBell{ID: c.req.Bells[next], Gone: true})
	}
	slices.SortFunc(c.bells, func(a, b task.Bell) int { return c.rank[a.ID] - c.rank[b.ID] })
	if err != nil || len(c.bells) == 0 {
		return err
	}
	return c.s.catchUp(ctx, c.t, version)
}

// choose takes due bells until they list enough tasks, and of those up to as many tasks as slots are free. An id that
// several of them list counts once, under the bell that holds it.
func (c *claiming) choose(ctx context.Context) error {
	usable := 0
	for i := range c.bells {
		b := &c.bells[i]
		if b.DueAt > c.out.Now {
			continue
		}
		if usable >= c.req.Max {
			break
		}
		room := c.limits.room(i)
		if room == 0 {
			c.limits.bells[i].held = true
			continue
		}
		usable += min(len(b.TaskIDs), room)
		c.taken = append(c.taken, b.ID)
		c.listing = slices.Grow(c.listing, len(b.TaskIDs))
		for _, id := range b.TaskIDs {
			c.listing = append(c.listing, listed{id: id, bell: int32(i)})
		}
	}
	slices.Sort(c.taken)
	var order []listed // of choice, where it is not that of the ids
	if c.limits != nil || !slices.IsSortedFunc(c.listing, c.before) {
		order = slices.Clone(c.listing)
		slices.SortFunc(c.listing, c.before)
	}
	if err := c.dropTwins(ctx); err != nil {
		return err
	}
	c.listing = slices.CompactFunc(c.listing, func(a, b listed) bool { return a.id == b.id })
	n := min(len(c.listing), c.req.Max)
	if order == nil {
		for i := range n {
			c.listing[i].chosen = true
		}
	} else {
		c.chooseInOrder(order, n)
	}
	c.chosen = make([]int64, 0, n)
	for i := range c.listing {
		if c.listing[i].chosen {
			c.chosen = append(c.chosen, c.listing[i].id)
		}
	}
	return nil
}

// before orders listings by id, the one with the highest epoch first. A bell has the epoch of the tasks that it holds,
// and epochs only grow, so a listing of a lower epoch is dead.
func (c *claiming) before(a, b listed) int {
	if a.id != b.id {
		return cmpInt(a.id, b.id)
	}
	return int(c.bells[b.bell].Epoch) - int(c.bells[a.bell].Epoch)
}

// dropTwins asks which bell holds a task that several bells list in one epoch (it was pulled forward or re-opened), and
// leaves out the other listings. The ids of the bells do not tell: each process takes them from a block of its own. The
// answer stays true without a lock on the task: a bell that is locked here was committed with its tasks, so a task can
// leave it, but none can come to it. Nothing is asked when no task is listed twice, which is nearly always.
func (c *claiming) dropTwins(ctx context.Context) error {
	var twins []int64
	for i := 1; i < len(c.listing); i++ {
		if id := c.listing[i].id; c.before(c.listing[i-1], c.listing[i]) == 0 && (len(twins) == 0 || twins[len(twins)-1] != id) {
			twins = append(twins, id)
		}
	}
	if len(twins) == 0 {
		return nil
	}
	holders := make(map[int64]int64, len(twins))
	for _, id := range twins {
		holders[id] = 0
	}
	query := newText(len(twins)).s("SELECT id,holder FROM tasks").s(c.s.force()).s(" WHERE id IN (").ids(twins).s(") AND state=2").String()
	if err := forEach(ctx, c.t, query, func(rows *sql.Rows) error {
		var id, holder int64
		err := rows.Scan(&id, &holder)
		holders[id] = holder
		return err
	}); err != nil {
		return err
	}
	c.listing = slices.DeleteFunc(c.listing, func(l listed) bool {
		holder, twin := holders[l.id]
		return twin && holder != c.bells[l.bell].ID
	})
	return nil
}

// chooseInOrder chooses up to n tasks in an order that is not that of their ids, as far as their limits allow.
func (c *claiming) chooseInOrder(order []listed, n int) {
	for _, want := range order {
		if n == 0 {
			return
		}
		at, found := slices.BinarySearchFunc(c.listing, want.id, func(l listed, id int64) int { return cmpInt(l.id, id) })
		if found && !c.listing[at].chosen && (c.limits == nil || c.limits.take(int(c.listing[at].bell))) {
			c.listing[at].chosen = true
			n--
		}
	}
}

// claimTasksSQL is the guarded change. holder IN (the locked, due bells) is the epoch guard: bell ids are never used
// again, so an old bell cannot start a task that was retried, re-opened or pulled forward.
func (c *claiming) claimTasksSQL() string {
	s, req, chosen, bells, claimID, now := c.s, c.req, c.chosen, c.taken, c.claimID, c.out.Now
	attempts := make([]int64, len(chosen))
	for p := range attempts {
		attempts[p] = claimID + int64(p)
	}
	x := newText(len(chosen)+len(bells)+len(req.Kinds)).s("UPDATE tasks").s(s.force()).
		s(" SET state=3,epoch=epoch+1,holder=").n(claimID).s(",attempt_id=").perID(chosen, attempts).
		s(",worker_id=").n(req.WorkerID).s(",started_at=").n(now)
	if c.limits != nil {
		c.setPlaces(x)
	}
	x.s(" WHERE ").anyOf("id", chosen).s(" AND state=2 AND holder IN (").ids(bells).
		s(") AND (expires_at=0 OR expires_at>").n(now).s(")")
	if req.Kinds != nil {
		x.s(" AND kind_id IN (").ints(req.Kinds).s(")")
	}
	return x.String()
}

// learn sets the fate of every listing. When all that was chosen was won that needs no statement.
func (c *claiming) learn(ctx context.Context, matched int) error {
	if matched == len(c.chosen) {
		for i := range c.listing {
			if c.listing[i].chosen {
				c.listing[i].fate = won
			}
		}
		return nil
	}
	for i := range c.listing {
		c.listing[i].fate = dead
	}
	count := 0
	for from := 0; from < len(c.listing); from += maxList {
		part := c.listing[from:min(from+maxList, len(c.listing))]
		n, err := c.readFates(ctx, part)
		if err != nil {
			return err
		}
		count += n
	}
	if count != matched {
		return fmt.Errorf("claim %d: %d tasks changed, %d found", c.claimID, matched, count)
	}
	return nil
}

// readFates reads which listings were won and which still wait in one of the taken bells, and gives how many were won.
func (c *claiming) readFates(ctx context.Context, part []listed) (wins int, err error) {
	ids := make([]int64, len(part))
	for i := range part {
		ids[i] = part[i].id
	}
	query := newText(len(ids) + len(c.taken)).s("SELECT id,state,kind_id,expires_at FROM tasks").s(c.s.force()).s(" WHERE id IN (").ids(ids).
		s(") AND (state=3 AND holder=").n(c.claimID).s(" OR state=2 AND holder IN (").ids(c.taken).s(")) ORDER BY id").String()
	at := 0
	err = forEach(ctx, c.t, query, func(rows *sql.Rows) error {
		var id, expires int64
		var state task.State
		var kind int32
		if err := rows.Scan(&id, &state, &kind, &expires); err != nil {
			return err
		}
		for part[at].id < id {
			at++
		}
		l := &part[at]
		switch {
		case state == task.Running:
			l.fate = won
			wins++
		case expires != 0 && expires <= c.out.Now:
			l.fate = dead // its expire bell ends it
		case c.req.Kinds != nil && !slices.Contains(c.req.Kinds, kind):
			l.fate = noRunner
		default:
			l.fate = untried
		}
		return nil
	})
	return wins, err
}

// report fills in the won tasks and gives those that may hold a key until they are started.
func (c *claiming) report() (keyed []int64) {
	c.out.Tasks = make([]task.ClaimedTask, 0, len(c.chosen))
	p := int64(-1)
	for i := range c.listing {
		l := &c.listing[i]
		if l.chosen {
			p++
		}
		if l.fate != won {
			continue
		}
		b := &c.bells[l.bell]
		c.out.Tasks = append(c.out.Tasks, task.ClaimedTask{ID: l.id, BellID: b.ID, AppID: b.AppID, Epoch: b.Epoch + 1,
			AttemptID: c.claimID + p, DueAt: b.DueAt, Flow: b.Flow, Places: c.limits.placesOf(int(l.bell))})
		if c.limits != nil {
			c.limits.won(int(l.bell))
		}
		if b.Keyed {
			keyed = append(keyed, l.id)
		}
	}
	return keyed
}

// rewriteBells takes out of the bells what was won and what is dead, and deletes those of which nothing is left.
func (c *claiming) rewriteBells(ctx context.Context) error {
	rest := make([][]int64, len(c.bells))
	strange := make([][]int64, len(c.bells))
	for i := range c.listing {
		switch l := &c.listing[i]; l.fate {
		case untried:
			rest[l.bell] = append(rest[l.bell], l.id)
		case noRunner:
			strange[l.bell] = append(strange[l.bell], l.id)
		}
	}
	var emptied []int64
	for i := range c.bells {
		b := &c.bells[i]
		report := task.ClaimedBell{ID: b.ID, DueAt: b.DueAt, Remaining: len(b.TaskIDs), Limited: c.limits.held(i)}
		if _, taken := slices.BinarySearch(c.taken, b.ID); taken {
			report.NoRunner = len(strange[i])
			left := append(rest[i], strange[i]...)
			report.Remaining = len(left)
			switch {
			case len(left) == 0:
				emptied = append(emptied, b.ID)
				report.Gone = true
			case !slices.Equal(left, b.TaskIDs):
				query := newText(len(left)).s("UPDATE bells SET n=").n(int64(len(left))).s(",task_ids='").ids(left).s("' WHERE id=").n(b.ID).String()
				if err := c.t.add(ctx, query); err != nil {
					return err
				}
			}
		}
		c.out.Bells = append(c.out.Bells, report)
	}
	if len(emptied) == 0 {
		return nil
	}
	slices.Sort(emptied)
	return c.s.dropIDs(ctx, c.t, listDelete{table: "bells", column: "id"}, emptied)
}

func (c *claiming) insertClaimSQL() string {
	x := newText(len(c.out.Tasks)).s("INSERT INTO claims (id,worker_id,lane_id,claimed_at,n,task_ids) VALUES ").
		row(true, c.claimID, c.req.WorkerID, int64(c.req.LaneID), c.out.Now, int64(len(c.out.Tasks)))
	x.b = x.b[:len(x.b)-1]
	x.s(",'")
	for i := range c.out.Tasks {
		if i > 0 {
			x.s(",")
		}
		x.n(c.out.Tasks[i].ID)
	}
	return x.s("')").String()
}

// releaseStartedKeys deletes the keys that the given tasks, just started, held until then.
func (s *Store) releaseStartedKeys(ctx context.Context, t tx, ids []int64) error {
	keys, err := uniqueKeysOf(ctx, t, ids)
	if err != nil || len(keys) == 0 {
		return err
	}
	return s.deleteKeys(ctx, t, keys, ids, " AND scope IN (1,5)")
}
