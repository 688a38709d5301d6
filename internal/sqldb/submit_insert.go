package sqldb

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

// firstAlone is how many tasks of one future instant are rung alone, so that every idle worker starts at once instead of
// waiting for its share of a batch (protocol section 3, "Short delays and instants").
const firstAlone = 32

// instant is where and when tasks are due together.
type instant struct {
	at        int64
	lane, app int32
	kind      task.BellKind // of the bells that list them
	flow      int64
}

// instants counts how many tasks of future instants this process has rung alone, over all flushes.
type instants struct {
	mu sync.Mutex
	m  map[instant]int
}

// take lowers the wanted numbers to what is left of each instant's firstAlone.
func (in *instants) take(want map[instant]int, now int64) {
	if len(want) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.m) > 4096 {
		maps.DeleteFunc(in.m, func(p instant, _ int) bool { return p.at <= now })
		if len(in.m) > 4096 {
			clear(in.m) // costs a few more bells
		}
	}
	if in.m == nil {
		in.m = map[instant]int{}
	}
	for p, n := range want {
		n = min(n, firstAlone-in.m[p])
		want[p] = n
		in.m[p] += n
	}
}

// maxStatement bounds the text of one statement, in bytes, but for a single larger row. SQLite takes 1,000,000 by
// default.
const maxStatement = 640 << 10

// insertTasks writes the rows of submissions, sorted by id: bells, tasks, payloads, labels.
func (u *submit) insertTasks(ctx context.Context, t tx, subs []*task.Submission) error {
	bells := u.number(u.group(subs, task.StartBell))
	for i := range bells {
		bells[i].Limited = u.s.limited(bells[i].LaneID, bells[i].AppID, bells[i].Flow)
		bells[i].Direct = bells[i].DueAt <= u.now+directWithin && !bells[i].Limited
	}
	all := bells
	if slices.ContainsFunc(subs, func(sub *task.Submission) bool { return sub.ExpiresAt != 0 }) {
		expires := u.number(u.group(subs, task.ExpireBell))
		all = append(slices.Clone(bells), expires...)
	}
	holder := holders(bells, subs)
	if err := u.insertRows(ctx, t, subs, holder); err != nil {
		return err
	}
	if err := u.s.insertPayloads(ctx, t, subs); err != nil {
		return err
	}
	if err := insertBells(ctx, t, all); err != nil {
		return err
	}
	u.bells = append(u.bells, bells...)
	noteSubmitted(t, u.now, subs, u.due)
	return insertLabels(ctx, t, subs)
}

// number gives bells ids of the flush.
func (u *submit) number(bells []task.Bell) []task.Bell {
	for i := range bells {
		bells[i].ID = u.bellID + u.used
		u.used++
	}
	return bells
}

// holders gives each of the sorted submissions the bell that lists it.
func holders(bells []task.Bell, subs []*task.Submission) []int64 {
	out := make([]int64, len(subs))
	for i := range bells {
		at := 0
		for _, id := range bells[i].TaskIDs {
			for subs[at].ID < id { // both are sorted
				at++
			}
			out[at] = bells[i].ID
		}
	}
	return out
}

// instantOf is where and when a submission is due.
func (u *submit) instantOf(sub *task.Submission) instant {
	return instant{u.due(sub), sub.LaneID, sub.AppID, u.sizes.bellKind(sub.KindID).WithFlow(sub.Flow), sub.Flow}
}

// group puts submissions of equal (lane, app, due, kind of bell, flow) into bells no larger than the lane's bell size, ids sorted. At a future
// instant the first ones of it are alone.
func (u *submit) group(subs []*task.Submission, kind task.BellKind) []task.Bell {
	type filling struct{ bell, alone int }
	open := make(map[instant]*filling, 4)
	var last instant
	var f *filling
	sorted := subs
	if byID := func(a, b *task.Submission) int { return cmpInt(a.ID, b.ID) }; !slices.IsSortedFunc(subs, byID) {
		sorted = slices.SortedFunc(slices.Values(subs), byID)
	}
	var bells []task.Bell
	for _, sub := range sorted {
		p := u.instantOf(sub)
		if kind == task.ExpireBell {
			if sub.ExpiresAt == 0 {
				continue
			}
			p.at, p.kind, p.flow = sub.ExpiresAt, kind, 0
		}
		size := u.sizes.forBell(p.lane, p.kind)
		if f == nil || p != last {
			if f = open[p]; f == nil {
				f = &filling{bell: -1}
				if kind == task.StartBell {
					f.alone = u.alone[p]
				}
				open[p] = f
			}
			last = p
		}
		if f.alone > 0 {
			f.alone--
			size = 1
		}
		if f.bell < 0 || len(bells[f.bell].TaskIDs) >= size {
			f.bell = len(bells)
			bells = append(bells, task.Bell{Kind: p.kind, LaneID: p.lane, AppID: p.app, DueAt: p.at, Flow: p.flow,
				TaskIDs: make([]int64, 0, min(size, len(subs)))})
		}
		b := &bells[f.bell]
		b.TaskIDs = append(b.TaskIDs, sub.ID)
		if size == 1 {
			f.bell = -1
		}
		b.Keyed = b.Keyed || kind == task.StartBell && sub.Flags.Has(task.UntilStarted)
	}
	return bells
}

const insertTasksSQL = "INSERT INTO tasks (id,app_id,lane_id,kind_id,state,flags,created_at,due_at,expires_at,timeout_ms,holder) VALUES "

// tasksSQL is the rows of the sorted submissions. Columns that start at zero are left to their defaults.
func (u *submit) tasksSQL(subs []*task.Submission, holder []int64) string {
	x := newText(6 * len(subs)).s(insertTasksSQL)
	for i, sub := range subs {
		x.row(i == 0, sub.ID, int64(sub.AppID), int64(sub.LaneID), int64(sub.KindID), int64(task.Waiting), int64(sub.Flags),
			u.now, u.due(sub), sub.ExpiresAt, int64(sub.TimeoutMs), holder[i])
	}
	return x.String()
}

// insertRows writes the tasks' rows. SQLite spends most of such a statement on parsing it, so that rows which differ in id
// and holder only name the other columns once.
func (u *submit) insertRows(ctx context.Context, t tx, subs []*task.Submission, holder []int64) error {
	for from := 0; from < len(subs); {
		to, alike := len(subs), false
		if !u.s.mysql {
			to = from + 1
			for to < len(subs) && u.alike(subs[from], subs[to]) {
				to++
			}
			if alike = to-from >= minAlike; !alike {
				to = len(subs)
			}
		}
		query := ""
		if alike {
			query = u.alikeSQL(subs[from:to], holder[from:to])
		} else {
			query = u.tasksSQL(subs[from:to], holder[from:to])
		}
		if err := t.add(ctx, query); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// minAlike is how many rows in a row must be alike for a statement of their own.
const minAlike = 32

func (u *submit) alike(a, b *task.Submission) bool {
	return a.AppID == b.AppID && a.LaneID == b.LaneID && a.KindID == b.KindID && a.Flags == b.Flags && u.due(a) == u.due(b) &&
		a.ExpiresAt == b.ExpiresAt && a.TimeoutMs == b.TimeoutMs
}

const insertAlikeSQL = "INSERT INTO tasks (id,holder,app_id,lane_id,kind_id,state,flags,created_at,due_at,expires_at,timeout_ms) SELECT column1,column2,"

// alikeSQL is the rows of submissions that differ in id and holder only.
func (u *submit) alikeSQL(subs []*task.Submission, holder []int64) string {
	one := subs[0]
	x := newText(2 * len(subs)).s(insertAlikeSQL).ids([]int64{int64(one.AppID), int64(one.LaneID), int64(one.KindID), int64(task.Waiting),
		int64(one.Flags), u.now, u.due(one), one.ExpiresAt, int64(one.TimeoutMs)}).s(" FROM (VALUES ")
	for i, sub := range subs {
		x.row(i == 0, sub.ID, holder[i])
	}
	return x.s(")").String()
}

const insertPayloadsSQL = "INSERT INTO payloads (id,body) VALUES "

// insertPayloads writes the bodies, as many as fit into one statement at a time.
func (s *Store) insertPayloads(ctx context.Context, t tx, subs []*task.Submission) error {
	for len(subs) > 0 {
		size, n := 0, 0
		for n < len(subs) && (n == 0 || size+2*len(subs[n].Body)+32 < maxStatement) {
			size += 2*len(subs[n].Body) + 32
			n++
		}
		x := &text{b: make([]byte, 0, size+len(insertPayloadsSQL))}
		x.s(insertPayloadsSQL)
		for i, sub := range subs[:n] {
			x.row(i == 0, sub.ID)
			x.b = append(x.b[:len(x.b)-1], ',')
			s.blob(x, sub.Body).s(")")
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
		subs = subs[n:]
	}
	return nil
}

// hexUpTo is the longest literal that is written in hexadecimal, in bytes: MariaDB reads it in three quarters of the time that a
// quoted one takes, which it copies and looks through more than once (a row of 250 bytes costs it 5.5 µs for 7.6). Of longer
// ones, twice the size on the wire and the work here outweigh that.
const hexUpTo = 2 << 10

// blob appends bytes as a literal. MySQL takes long ones as they are but for quotes and backslashes (every session sets its
// sql_mode, so backslashes escape), half the size of hexadecimal.
func (s *Store) blob(x *text, p []byte) *text {
	if !s.mysql || len(p) <= hexUpTo {
		return x.hex(p)
	}
	x.s("_binary'")
	from := 0
	for i, c := range p {
		if c == '\'' || c == '\\' {
			x.b = append(append(x.b, p[from:i]...), '\\')
			from = i
		}
	}
	x.b = append(x.b, p[from:]...)
	return x.s("'")
}

// labelRows is how many rows of labels one statement writes; each has four parameters.
const labelRows = 100

func insertLabels(ctx context.Context, t tx, subs []*task.Submission) error {
	var args []any
	x := newText(0)
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		_, err := t.exec(ctx, x.String(), args...)
		args, x.b = args[:0], x.b[:0]
		return err
	}
	for _, sub := range subs {
		for _, l := range sub.Labels {
			if len(args) == 0 {
				x.s("INSERT INTO task_labels (app_id,k,v,id) VALUES (?,?,?,?)")
			} else {
				x.s(",(?,?,?,?)")
			}
			args = append(args, sub.AppID, l.Key, l.Value, sub.ID)
			if len(args) == 4*labelRows {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}
