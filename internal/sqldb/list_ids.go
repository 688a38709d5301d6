package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// walkIDs walks an index of ids, newest first: labels, ends, or the tasks of an app.
func (l *list) walkIDs(ctx context.Context, at cursor) (next string, err error) {
	step := min(listStep, 2*l.f.Limit)
	for on := true; on; on = l.more() {
		ids, seen, more, err := l.stepBelow(ctx, at.id, min(step, l.budget))
		if err != nil {
			return "", err
		}
		l.budget -= max(len(ids), 1)
		step = listStep
		if seen > 0 {
			at.id = ids[seen-1]
		}
		switch {
		case seen < len(ids), more && len(l.ids) == l.f.Limit:
			return at.encode(), nil
		case !more:
			return "", nil
		}
	}
	return at.encode(), nil
}

// stepBelow looks at up to n ids below a bound and keeps what is wanted. more is false at the end.
func (l *list) stepBelow(ctx context.Context, below int64, n int) (ids []int64, seen int, more bool, err error) {
	if l.byLabel() || l.byEnd() != 0 {
		if ids, more, err = l.idsBelow(ctx, below, n); err == nil {
			seen, err = l.keep(ctx, ids, nil)
		}
		return ids, seen, more, err
	}
	x := newText(8).s("SELECT " + matchColumns + " FROM tasks")
	if l.f.AppID != 0 {
		x.s(l.s.use("app")).s(" WHERE app_id=").n(int64(l.f.AppID)).s(" AND id<")
	} else {
		x.s(" WHERE id<")
	}
	rows := make(map[int64]task.Task, n)
	x.n(below).s(" AND id>=").n(l.lowest).s(" ORDER BY id DESC LIMIT ").n(int64(n))
	if err := l.s.readEach(ctx, x.String(), func(r *sql.Rows) error {
		id, err := l.scan(r, rows)
		ids = append(ids, id)
		return err
	}); err != nil {
		return nil, 0, false, err
	}
	seen, err = l.keepRows(ctx, ids, rows)
	return ids, seen, len(ids) == n, err
}

func (l *list) byLabel() bool { return l.f.Label.Key != "" }

// byEnd is the state whose list of ends the request can walk; 0: none.
func (l *list) byEnd() task.State {
	if len(l.states) == 1 && (l.states[0] == task.Failed || l.states[0] == task.Cancelled) {
		return l.states[0]
	}
	return 0
}

// idsBelow reads up to n ids below a bound, largest first, from labels or ends. more is false at the end. An admin's list over every app reads the index of each app.
func (l *list) idsBelow(ctx context.Context, below int64, n int) (ids []int64, more bool, err error) {
	apps := []int32{l.f.AppID}
	if l.f.AppID == 0 {
		if apps, err = l.appIDs(ctx); err != nil {
			return nil, false, err
		}
	}
	for _, app := range apps {
		x, args := newText(8), []any(nil)
		switch {
		case l.byLabel():
			x.s("SELECT id FROM task_labels").s(l.s.use("PRIMARY")).s(" WHERE app_id=").n(int64(app)).s(" AND k=? AND v=?")
			args = []any{l.f.Label.Key, l.f.Label.Value}
		default:
			x.s("SELECT id FROM ends").s(l.s.use("PRIMARY")).s(" WHERE app_id=").n(int64(app)).s(" AND state=").n(int64(l.byEnd()))
		}
		part, err := l.readIDs(ctx, x.s(" AND id<").n(below).s(" AND id>=").n(l.lowest), n, args...)
		if err != nil {
			return nil, false, err
		}
		more = more || len(part) == n
		ids = append(ids, part...)
	}
	if len(apps) > 1 {
		slices.SortFunc(ids, func(a, b int64) int { return cmpInt(b, a) })
		if len(ids) > n {
			ids, more = ids[:n], true
		}
	}
	return ids, more, nil
}

// use names the index that a list walks: MariaDB would at times rather sort, or walk another index backwards until it has
// found enough.
func (s *Store) use(index string) string {
	if s.mysql {
		return " FORCE INDEX (" + index + ")"
	}
	return ""
}

func (l *list) readIDs(ctx context.Context, x *text, n int, args ...any) (ids []int64, err error) {
	err = l.s.readEach(ctx, x.s(" ORDER BY id DESC LIMIT ").n(int64(n)).String(), func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, args...)
	return ids, err
}

func (l *list) appIDs(ctx context.Context) (ids []int32, err error) {
	err = l.s.readEach(ctx, "SELECT id FROM apps ORDER BY id", func(rows *sql.Rows) error {
		var id int32
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// walkUnique finds the task that holds the key first, by the key: every other task that ever had it is older, so that the
// walk goes on below it.
func (l *list) walkUnique(ctx context.Context, at cursor, resumed bool) (string, error) {
	if resumed {
		return l.walkIDs(ctx, at)
	}
	k := task.UniqueHash(l.f.AppID, l.f.UniqueKey)
	holder := int64(0)
	if err := l.s.readEach(ctx, newText(4).s("SELECT task_id FROM unique_keys WHERE k=").hex(k[:]).String(), func(rows *sql.Rows) error {
		return rows.Scan(&holder)
	}); err != nil {
		return "", err
	}
	if holder > 0 && holder < at.id {
		if _, err := l.keep(ctx, []int64{holder}, nil); err != nil {
			return "", err
		}
		at.id = holder
		if len(l.ids) == l.f.Limit {
			return at.encode(), nil
		}
	}
	return l.walkIDs(ctx, at)
}

// timeBounds narrows a walk over ids to those that can have been created in [From, To).
func (l *list) timeBounds(ctx context.Context, at *cursor) error {
	if l.f.From == 0 && l.f.To == 0 {
		return nil
	}
	first, last, err := l.s.TaskIDRange(ctx)
	if err != nil || last == 0 {
		return err
	}
	if l.f.From > idSlack {
		if l.lowest, err = l.firstSince(ctx, first, last+1, l.f.From-idSlack); err != nil {
			return err
		}
	}
	if l.f.To != 0 {
		above, err := l.firstSince(ctx, first, last+1, l.f.To+idSlack)
		if err != nil {
			return err
		}
		at.id = min(at.id, above)
	}
	return nil
}

// firstSince finds, by halving, about the first id in [lo, hi) of a task created at or after an instant; hi when there is
// none.
func (l *list) firstSince(ctx context.Context, lo, hi, at int64) (int64, error) {
	for lo < hi {
		mid := lo + (hi-lo)/2
		var id, created int64
		err := l.s.readEach(ctx, newText(2).s("SELECT id,created_at FROM tasks WHERE id>=").n(mid).s(" ORDER BY id LIMIT 1").String(), func(rows *sql.Rows) error {
			return rows.Scan(&id, &created)
		})
		switch {
		case err != nil:
			return 0, err
		case id == 0 || id >= hi || created >= at:
			hi = mid
		default:
			lo = id + 1
		}
	}
	return lo, nil
}

// walkClaims lists running tasks, newest first: there are never more than the workers have slots. Of tasks that await their
// completion, which hold no slot, those with the nearest deadlines are among them, as many as one request may read.
func (l *list) walkClaims(ctx context.Context, at cursor) (string, error) {
	var ids []int64
	rest := listBudget
	err := l.s.readEach(ctx, newText(1).s("SELECT lane_id,task_ids FROM claims ORDER BY id DESC LIMIT ").n(listBudget).String(), func(rows *sql.Rows) error {
		var lane int32
		var listed sql.RawBytes
		if err := rows.Scan(&lane, &listed); err != nil || rest <= 0 || l.lanes != nil && !l.lanes[lane] {
			return err
		}
		from := len(ids)
		ids = appendParsed(ids, []byte(listed))
		rest -= len(ids) - from
		return nil
	})
	if err == nil {
		ids, err = l.awaiting(ctx, ids, rest)
	}
	if err != nil {
		return "", err
	}
	ids = slices.DeleteFunc(sortedIDs(ids), func(id int64) bool { return id >= at.id })
	slices.Reverse(ids)
	seen, err := l.keep(ctx, ids, nil)
	if err != nil || seen == len(ids) {
		return "", err
	}
	at.id = ids[seen-1]
	return at.encode(), nil
}

// awaiting adds the tasks of deadline bells, at most rest of them over all shards.
func (l *list) awaiting(ctx context.Context, ids []int64, rest int) ([]int64, error) {
	for shard := range task.Shards {
		if rest <= 0 {
			break
		}
		x := newText(4).s("SELECT lane_id,app_id,task_ids FROM bells").s(l.s.use("due")).s(" WHERE shard=").n(int64(shard)).
			s(" AND kind=3 ORDER BY due_at LIMIT ").n(int64(min(rest, listBudget/task.Shards)))
		if err := l.s.readEach(ctx, x.String(), func(rows *sql.Rows) error {
			var lane, app int32
			var listed sql.RawBytes
			if err := rows.Scan(&lane, &app, &listed); err != nil || l.lanes != nil && !l.lanes[lane] || l.f.AppID != 0 && l.f.AppID != app {
				return err
			}
			from := len(ids)
			ids = appendParsed(ids, []byte(listed))
			rest -= len(ids) - from
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
