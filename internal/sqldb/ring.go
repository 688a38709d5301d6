package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// The statements of RING read and never write: a scheduler that rings twice, or two that ring the same bell, cost a
// message. Their order is due time, then id, which the indexes due and fair give without sorting.

func (s *Store) bells(ctx context.Context, query string) (bells []task.Bell, err error) {
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		b, err := scanBell(rows)
		bells = append(bells, b)
		return err
	})
	return bells, err
}

// LookAhead lists start bells of a shard with from < due_at <= to, in due order.
func (s *Store) LookAhead(ctx context.Context, shard int, from, to int64, limit int) ([]task.Bell, error) {
	var all []task.Bell
	for _, kind := range startKinds {
		bells, err := s.bells(ctx, newText(8).s("SELECT ").s(bellColumns).s(" FROM bells WHERE shard=").n(int64(shard)).
			s(" AND kind=").n(int64(kind)).s(" AND due_at>").n(from).s(" AND due_at<=").n(to).s(" ORDER BY due_at,id LIMIT ").n(int64(limit)).String())
		if err != nil {
			return nil, err
		}
		if all = append(all, bells...); len(all) > len(bells) && len(bells) > 0 {
			slices.SortFunc(all, func(a, b task.Bell) int { return cmp.Or(cmp.Compare(a.DueAt, b.DueAt), cmp.Compare(a.ID, b.ID)) })
		}
	}
	return all[:min(limit, len(all))], nil
}

// startKinds are the kinds of bells that start tasks. Each has its own stretch of the indexes.
var startKinds = [...]task.BellKind{task.StartBell, task.ShellBell, task.FlowBell, task.FlowShellBell}

// DueBells lists bells of one kind of a pair that are due by now, after a position, in (due_at, id) order.
func (s *Store) DueBells(ctx context.Context, laneID, appID int32, kind task.BellKind, now int64, after task.BellAfter, limit int) ([]task.Bell, error) {
	return s.bells(ctx, newText(8).s("SELECT ").s(bellColumns).s(" FROM bells WHERE lane_id=").n(int64(laneID)).s(" AND app_id=").
		n(int64(appID)).s(" AND kind=").n(int64(kind)).s(" AND due_at BETWEEN ").n(after.DueAt).s(" AND ").n(now).s(" AND (due_at>").n(after.DueAt).
		s(" OR id>").n(after.ID).s(") ORDER BY due_at,id LIMIT ").n(int64(limit)).String())
}

// dueFlowsMySQL is answered by a loose index scan: one dive into the index flow for each flow.
const dueFlowsMySQL = "SELECT flow,MIN(due_at) FROM bells FORCE INDEX (flow) WHERE lane_id=? AND app_id=? AND kind=? AND flow>? GROUP BY lane_id,app_id,kind,flow LIMIT ?"

// dueFlowsSQLite spells the dives out.
const dueFlowsSQLite = "WITH RECURSIVE f(f,d) AS (" +
	"SELECT * FROM (SELECT flow,due_at FROM bells WHERE lane_id=?1 AND app_id=?2 AND kind=?3 AND flow>?4 ORDER BY flow,due_at LIMIT 1)" +
	" UNION ALL SELECT b.flow,b.due_at FROM f CROSS JOIN bells b ON b.id=" +
	"(SELECT id FROM bells WHERE lane_id=?1 AND app_id=?2 AND kind=?3 AND flow>f.f ORDER BY flow,due_at LIMIT 1)" +
	" LIMIT ?5) SELECT f,d FROM f"

// DueFlows lists flows of a pair that have start bells of a kind, each with the earliest due time, by flow, behind a flow. It reads
// one entry of an index for each flow, never a bell per row.
func (s *Store) DueFlows(ctx context.Context, laneID, appID int32, kind task.BellKind, after int64, limit int) ([]task.FlowDue, error) {
	query := dueFlowsSQLite
	if s.mysql {
		query = dueFlowsMySQL
	}
	var out []task.FlowDue
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var f task.FlowDue
		err := rows.Scan(&f.Flow, &f.MinDue)
		out = append(out, f)
		return err
	}, laneID, appID, int(kind), after, limit)
	return out, err
}

// flowsPerQuery bounds the parts of one statement of FlowBells; SQLite takes 500.
const flowsPerQuery = 100

// FlowBells lists the first bells of flows that are due by now, at most as many of each as is wanted.
func (s *Store) FlowBells(ctx context.Context, laneID, appID int32, kind task.BellKind, now int64, wants []task.FlowWant) ([]task.Bell, error) {
	var all []task.Bell
	for part := range slices.Chunk(wants, flowsPerQuery) {
		x := newText(4 * len(part))
		for i, w := range part {
			if i > 0 {
				x.s(" UNION ALL ")
			}
			x.s("SELECT * FROM (SELECT ").s(bellColumns).s(" FROM bells")
			if s.mysql {
				x.s(" FORCE INDEX (flow)")
			}
			x.s(" WHERE lane_id=").n(int64(laneID)).s(" AND app_id=").n(int64(appID)).s(" AND kind=").n(int64(kind)).s(" AND flow=").n(w.Flow).
				s(" AND due_at<=").n(now).s(" ORDER BY due_at,id LIMIT ").n(int64(w.Bells)).s(") f").n(int64(i))
		}
		bells, err := s.bells(ctx, x.String())
		if err != nil {
			return nil, err
		}
		all = append(all, bells...)
	}
	return all, nil
}

// duePairsMySQL is answered by a loose index scan: one dive into the index fair for each pair and kind. Where the server would
// read a large table instead stepPairs does it.
const duePairsMySQL = "SELECT lane_id,app_id,kind,MIN(due_at) FROM bells FORCE INDEX (fair) GROUP BY lane_id,app_id,kind"

// duePairsSQLite spells the dives out, as SQLite has no loose index scan: each step finds the first entry of the index
// behind a position, which is the earliest of its pair and kind. (One comparison of rows would do, but in there SQLite answers
// it by walking the index from the lane on.)
const duePairsSQLite = "WITH RECURSIVE p(l,a,k,d) AS (" +
	"SELECT * FROM (SELECT lane_id,app_id,kind,due_at FROM bells ORDER BY lane_id,app_id,kind,due_at LIMIT 1)" +
	" UNION ALL SELECT b.lane_id,b.app_id,b.kind,b.due_at FROM p CROSS JOIN bells b ON b.id=COALESCE(" +
	"(SELECT id FROM bells WHERE lane_id=p.l AND app_id=p.a AND kind>p.k ORDER BY kind,due_at LIMIT 1)," +
	"(SELECT id FROM bells WHERE lane_id=p.l AND app_id>p.a ORDER BY app_id,kind,due_at LIMIT 1)," +
	"(SELECT id FROM bells WHERE lane_id>p.l ORDER BY lane_id,app_id,kind,due_at LIMIT 1))" +
	") SELECT l,a,k,d FROM p"

// DuePairs lists the (lane, app) pairs that have bells which start tasks, each with the earliest due time of each kind of
// them. It never reads a row per bell: a backlog of millions in one pair costs what one bell does.
func (s *Store) DuePairs(ctx context.Context) ([]task.LaneApp, error) {
	query := duePairsSQLite
	if s.mysql {
		query = duePairsMySQL
		if whole, err := s.fairPlan.whole(ctx, s, query); err != nil {
			return nil, err
		} else if !whole {
			if pairs, done, err := s.stepPairs(ctx); done || err != nil {
				return pairs, err
			}
		}
	}
	var pairs []task.LaneApp
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var p task.LaneApp
		err := rows.Scan(&p.LaneID, &p.AppID, &p.Kind, &p.MinDue)
		if p.Kind.Starts() {
			pairs = append(pairs, p)
		}
		return err
	})
	return pairs, err
}

// duePairsOf is DuePairs for one app; 0 for all. One app costs two dives for each lane, however many apps there are.
func (s *Store) duePairsOf(ctx context.Context, app int32) ([]task.LaneApp, error) {
	if app == 0 {
		return s.DuePairs(ctx)
	}
	var pairs []task.LaneApp
	for _, kind := range startKinds {
		// Not MIN(due_at): in a subquery that depends on a row MySQL reads every bell of the pair for it.
		query := newText(4).s("SELECT id,(SELECT due_at FROM bells").s(s.use("fair")).s(" WHERE lane_id=lanes.id AND app_id=").n(int64(app)).
			s(" AND kind=").n(int64(kind)).s(" ORDER BY due_at LIMIT 1) FROM lanes").String()
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			p := task.LaneApp{AppID: app, Kind: kind}
			var due sql.NullInt64
			err := rows.Scan(&p.LaneID, &due)
			if p.MinDue = due.Int64; due.Valid {
				pairs = append(pairs, p)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// shardsDueMySQL is answered by a loose index scan over the index due, and otherwise by shardDives.
const shardsDueMySQL = "SELECT shard,kind,MIN(due_at) FROM bells FORCE INDEX (due) GROUP BY shard,kind"

// shardDives is one dive for each shard and kind.
func shardDives() string {
	var dives []string
	for shard := range task.Shards {
		for _, kind := range startKinds {
			dives = append(dives, newText(4).s("SELECT ").n(int64(shard)).s(",").n(int64(kind)).s(",MIN(due_at) FROM bells WHERE shard=").
				n(int64(shard)).s(" AND kind=").n(int64(kind)).String())
		}
	}
	return strings.Join(dives, " UNION ALL ")
}

// ShardsDue gives the earliest due time of the bells that start tasks, by shard; shards without any are left out. Its cost
// does not grow with bells, apps or lanes: it is what an idle scheduler asks.
func (s *Store) ShardsDue(ctx context.Context) (map[int]int64, error) {
	query := s.shardsDue
	if s.mysql {
		whole, err := s.duePlan.whole(ctx, s, shardsDueMySQL)
		if err != nil {
			return nil, err
		}
		if whole {
			query = shardsDueMySQL
		}
	}
	out := make(map[int]int64)
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var shard int
		var kind task.BellKind
		var due sql.NullInt64
		err := rows.Scan(&shard, &kind, &due)
		if was, known := out[shard]; due.Valid && kind.Starts() && (!known || due.Int64 < was) {
			out[shard] = due.Int64
		}
		return err
	})
	return out, err
}

// BellsLeft gives those of the ids that are still in the table, with how many tasks are left in each.
func (s *Store) BellsLeft(ctx context.Context, ids []int64) (map[int64]int, error) {
	left := make(map[int64]int, len(ids))
	for ids = sortedIDs(ids); len(ids) > 0; {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		if err := s.readEach(ctx, newText(len(part)).s("SELECT id,n FROM bells WHERE id IN (").ids(part).s(")").String(), func(rows *sql.Rows) error {
			var id int64
			var n int
			err := rows.Scan(&id, &n)
			left[id] = n
			return err
		}); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// loadedColumns is what scanLoaded reads, from tasks t and a body.
const loadedColumns = "t.id,t.kind_id,t.timeout_ms,t.flags,t.failures,t.losses,t.created_at,t.expires_at,t.app_id,t.lane_id,t.due_at,t.holder,"

func scanLoaded(rows *sql.Rows, l *task.Loaded, holder *int64) error {
	return rows.Scan(&l.ID, &l.KindID, &l.TimeoutMs, &l.Flags, &l.Failures, &l.Losses, &l.CreatedAt, &l.ExpiresAt,
		&l.AppID, &l.LaneID, &l.DueAt, holder, &l.Body)
}

// Rungs reads what a message needs of the bells' tasks, in the order of the bells and of their listings: bodies up to
// task.MaxInlineBody; tasks that do not wait in their bell any more are left out.
func (s *Store) Rungs(ctx context.Context, bells []task.Bell) ([]task.Rung, error) {
	rungs := make([]task.Rung, len(bells))
	at := make(map[int64]int, len(bells))
	holders := make([]int64, len(bells))
	var ids []int64
	for i := range bells {
		rungs[i].Bell = bells[i]
		rungs[i].Items = make([]task.Item, 0, len(bells[i].TaskIDs))
		at[bells[i].ID], holders[i] = i, bells[i].ID
		ids = append(ids, bells[i].TaskIDs...)
	}
	for ids = sortedIDs(ids); len(ids) > 0; {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("SELECT ").s(loadedColumns).s("CASE WHEN LENGTH(p.body)<=").n(task.MaxInlineBody).
			s(" THEN p.body END FROM tasks t JOIN payloads p ON p.id=t.id WHERE ").anyOf("t.id", part).s(" AND t.state=2 ORDER BY t.id").String()
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			var one task.Loaded
			var holder int64
			if err := scanLoaded(rows, &one, &holder); err != nil {
				return err
			}
			if i, ok := at[holder]; ok {
				rungs[i].Items = append(rungs[i].Items, one.Item)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return rungs, nil
}

// Load reads what did not travel in a message. Unknown ids are left out.
func (s *Store) Load(ctx context.Context, ids []int64) ([]task.Loaded, error) {
	out := make([]task.Loaded, 0, len(ids))
	for ids = sortedIDs(ids); len(ids) > 0; {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		query := newText(len(part)).s("SELECT ").s(loadedColumns).
			s("p.body FROM tasks t JOIN payloads p ON p.id=t.id WHERE ").anyOf("t.id", part).s(" ORDER BY t.id").String()
		if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
			var one task.Loaded
			var holder int64
			err := scanLoaded(rows, &one, &holder)
			out = append(out, one)
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TuneLane writes what writers re-read: credit and bell size.
func (s *Store) TuneLane(ctx context.Context, laneID int32, credit, bellSize int) error {
	query := newText(3).s("UPDATE lanes SET credit=").n(int64(max(0, credit))).s(",bell_size=").
		n(int64(min(max(1, bellSize), task.MaxBellTasks))).s(" WHERE id=").n(int64(laneID)).String()
	return s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		_, err := t.exec(ctx, query)
		return err
	})
}
