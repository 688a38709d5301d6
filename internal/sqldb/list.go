package sqldb

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	listBudget = 5_000 // index entries that one request reads; the contract allows 10,000
	listStep   = 500   // of them at a time
	listBytes  = 8 << 20
	listViews  = 50 // tasks that are read whole at a time

	// listTime is when a request that has not found enough says where to go on. The entries of an app with few of many tasks point to a
	// page of the table each: where those must come from a slow disk, the budget alone would let one request take many seconds.
	// Options.ListTime sets another.
	listTime = 500 * time.Millisecond
)

// idSlack is how far the order of ids and that of created_at may disagree, in ms: ids come from blocks of 5 s and wait for
// their flush. Items of a replayed batch, which keep the ids of its first try, can fall out of a list by time.
const idSlack = 60_000

// list is one request on its way.
type list struct {
	s      *Store
	f      task.Filter
	now    int64
	kindID int32          // 0: any
	lanes  map[int32]bool // of the queue; nil: any
	states []task.State   // nil: any
	shown  int            // +1: due later, -1: due, 0: any
	lowest int64          // ids below were created before From
	budget int
	began  time.Time // monotonic
	mode   listMode
	ids    []int64 // found, in order
}

// List gives one page of tasks, newest first; those with state queued or scheduled in due order. It reads at most 10,000
// index entries, and begins no further step after half a second: a page may be shorter than the limit, even empty, and have a cursor to go on. A wrong cursor is Malformed.
func (s *Store) List(ctx context.Context, f task.Filter) (task.Page, error) {
	l := &list{s: s, f: f, now: s.now(), budget: listBudget, began: time.Now()}
	if l.f.Limit <= 0 {
		l.f.Limit = 50
	}
	possible, err := l.resolve(ctx)
	if err != nil {
		return task.Page{}, err
	}
	next, err := l.walk(ctx, possible)
	if err != nil {
		return task.Page{}, err
	}
	return l.page(ctx, next)
}

// page reads the found tasks whole, until it has enough bytes: a page of large tasks is shorter and goes on.
func (l *list) page(ctx context.Context, next string) (task.Page, error) {
	p := task.Page{Next: next}
	size := 0
	for from := 0; from < len(l.ids); from += listViews {
		views, err := l.s.Views(ctx, l.f.AppID, l.ids[from:min(from+listViews, len(l.ids))])
		if err != nil {
			return task.Page{}, err
		}
		p.Items = append(p.Items, views...)
		for i := range views {
			size += len(views[i].Body.Payload) + len(views[i].Result)
		}
		if size > listBytes && from+listViews < len(l.ids) && len(p.Items) > 0 {
			p.Next = l.after(&p.Items[len(p.Items)-1].Task).encode()
			break
		}
	}
	return p, nil
}

// more reports whether the request may read on.
func (l *list) more() bool { return l.budget > 0 && time.Since(l.began) < l.s.listTime }

// after is the position behind a task.
func (l *list) after(t *task.Task) cursor {
	c := cursor{mode: l.mode, id: t.ID}
	if l.mode == byDue {
		c.due, c.bell = t.DueAt, t.Holder
	}
	return c
}

// resolve turns names into ids. possible is false when nothing can match.
func (l *list) resolve(ctx context.Context) (possible bool, err error) {
	switch l.f.State {
	case "":
	case "scheduled":
		l.states, l.shown = []task.State{task.Waiting}, 1
	case "queued":
		l.states, l.shown = []task.State{task.Waiting}, -1
	default:
		for st := task.Blocked; st <= task.Cancelled; st++ {
			if st.Shown(0, 0) == l.f.State {
				l.states = []task.State{st}
			}
		}
		if l.states == nil {
			return false, task.InvalidField("state", "one_of", "is not a state of tasks")
		}
	}
	if l.f.Kind != "" {
		ids, _, err := l.s.lookUpKinds(ctx, []string{l.f.Kind})
		if err != nil {
			return false, err
		}
		if l.kindID = ids[l.f.Kind]; l.kindID == 0 {
			return false, nil
		}
	}
	if l.f.Queue != "" {
		lanes, err := l.s.Lanes(ctx)
		if err != nil {
			return false, err
		}
		l.lanes = map[int32]bool{}
		for _, lane := range lanes {
			if lane.Queue == l.f.Queue {
				l.lanes[lane.ID] = true
			}
		}
		if len(l.lanes) == 0 {
			return false, nil
		}
	}
	return true, nil
}

// walk chooses the narrowest index that gives the wanted order.
func (l *list) walk(ctx context.Context, possible bool) (next string, err error) {
	mode := byID
	switch {
	case l.shown != 0:
		mode = byDue
	case l.f.State == "running" && l.f.Label.Key == "":
		mode = byRunning
	}
	l.mode = mode
	at, resumed, err := decodeCursor(l.f.Cursor, mode)
	if err != nil || !possible {
		return "", err
	}
	if !resumed {
		at.id = math.MaxInt64
		if mode == byDue {
			at.id = 0
		}
	}
	switch {
	case mode == byDue:
		return l.walkBells(ctx, at)
	case mode == byRunning:
		return l.walkClaims(ctx, at)
	}
	if err := l.timeBounds(ctx, &at); err != nil {
		return "", err
	}
	if l.f.UniqueKey != "" && l.f.AppID != 0 {
		return l.walkUnique(ctx, at, resumed)
	}
	return l.walkIDs(ctx, at)
}

// matches reports whether a task row is wanted.
func (l *list) matches(t *task.Task) bool {
	switch {
	case l.f.AppID != 0 && t.AppID != l.f.AppID,
		l.kindID != 0 && t.KindID != l.kindID,
		l.lanes != nil && !l.lanes[t.LaneID],
		l.states != nil && !slices.Contains(l.states, shownAs(t)),
		l.shown > 0 && t.DueAt <= l.now, l.shown < 0 && t.DueAt > l.now,
		l.f.From != 0 && t.CreatedAt < l.f.From, l.f.To != 0 && t.CreatedAt >= l.f.To,
		l.f.UniqueKey != "" && !t.Flags.Has(task.HasUnique),
		l.f.Label.Key != "" && !t.Flags.Has(task.HasLabels):
		return false
	}
	return true
}

// shownAs is the state that a task is listed under: an attempt that awaits its completion runs.
func shownAs(t *task.Task) task.State {
	if t.Awaits() {
		return task.Running
	}
	return t.State
}

// keep appends those of the tasks, in the order of ids, that are wanted, up to the limit. holders, if any, says which bell
// lists each of them: a listing by another than the task's holder is left over and counts nothing. It gives how many of
// ids were looked at.
func (l *list) keep(ctx context.Context, ids, holders []int64) (seen int, err error) {
	for from := 0; from < len(ids); from += listStep {
		part := ids[from:min(from+listStep, len(ids))]
		rows, err := l.wanted(ctx, part)
		if err != nil {
			return seen, err
		}
		for _, id := range part {
			if len(l.ids) == l.f.Limit {
				return seen, nil
			}
			if t, ok := rows[id]; ok && (holders == nil || t.Holder == holders[seen]) {
				l.ids = append(l.ids, id)
			}
			seen++
		}
	}
	return seen, nil
}

// keepRows is keep for rows that were read already.
func (l *list) keepRows(ctx context.Context, ids []int64, rows map[int64]task.Task) (seen int, err error) {
	if err := l.checkBodies(ctx, rows); err != nil {
		return 0, err
	}
	for _, id := range ids {
		if len(l.ids) == l.f.Limit {
			return seen, nil
		}
		if _, ok := rows[id]; ok {
			l.ids = append(l.ids, id)
		}
		seen++
	}
	return seen, nil
}

// matchColumns is what matches looks at.
const matchColumns = "id,app_id,lane_id,kind_id,state,flags,created_at,due_at,holder"

// scan reads rows of matchColumns and puts those that match into rows.
func (l *list) scan(r *sql.Rows, rows map[int64]task.Task) (id int64, err error) {
	var t task.Task
	err = r.Scan(&t.ID, &t.AppID, &t.LaneID, &t.KindID, &t.State, &t.Flags, &t.CreatedAt, &t.DueAt, &t.Holder)
	if l.matches(&t) {
		rows[t.ID] = t
	}
	return t.ID, err
}

// wanted reads those of up to 500 tasks that match the filter.
func (l *list) wanted(ctx context.Context, ids []int64) (map[int64]task.Task, error) {
	rows := make(map[int64]task.Task, len(ids))
	err := l.s.readEach(ctx, newText(len(ids)).s("SELECT "+matchColumns+" FROM tasks WHERE id IN (").ids(sortedIDs(ids)).s(")").String(), func(r *sql.Rows) error {
		_, err := l.scan(r, rows)
		return err
	})
	if err == nil {
		err = l.checkBodies(ctx, rows)
	}
	return rows, err
}

// checkBodies drops rows whose body does not have the wanted unique key or label.
func (l *list) checkBodies(ctx context.Context, rows map[int64]task.Task) error {
	if l.f.UniqueKey == "" && l.f.Label.Key == "" || len(rows) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(rows))
	for id := range rows {
		ids = append(ids, id)
	}
	return l.s.readEach(ctx, newText(len(ids)).s("SELECT id,body FROM payloads WHERE id IN (").ids(sortedIDs(ids)).s(")").String(), func(r *sql.Rows) error {
		var id int64
		var raw sql.RawBytes
		if err := r.Scan(&id, &raw); err != nil {
			return err
		}
		body, err := task.DecodeBody(raw)
		v, labelled := body.Head.Labels[l.f.Label.Key]
		if err != nil || l.f.UniqueKey != "" && body.Head.UniqueKey != l.f.UniqueKey ||
			l.f.Label.Key != "" && (!labelled || v != l.f.Label.Value) {
			delete(rows, id)
		}
		return nil
	})
}
