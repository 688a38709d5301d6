package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// walkIDs walks an index of ids, newest first: labels, ends, or the tasks of an app.
func (l *list) walkIDs(ctx context.Context, at cursor) (next string, err error) {
	for l.budget > 0 {
		n := min(listStep, l.budget)
		ids, more, err := l.idsBelow(ctx, at.id, n)
		if err != nil {
			return "", err
		}
		l.budget -= max(len(ids), 1)
		seen, err := l.keep(ctx, ids, nil)
		if err != nil {
			return "", err
		}
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

// idsBelow reads up to n ids below a bound, largest first, from the index that fits the filter best. more is false at the
// end. An admin's list over every app reads the index of each app.
func (l *list) idsBelow(ctx context.Context, below int64, n int) (ids []int64, more bool, err error) {
	state := ""
	if len(l.states) == 1 && (l.states[0] == task.Failed || l.states[0] == task.Cancelled) {
		state = newText(1).n(int64(l.states[0])).String()
	}
	if l.f.Label.Key == "" && state == "" && l.f.AppID == 0 {
		ids, err = l.readIDs(ctx, newText(4).s("SELECT id FROM tasks WHERE id<").n(below).s(" AND id>=").n(l.lowest), n)
		return ids, len(ids) == n, err
	}
	apps := []int32{l.f.AppID}
	if l.f.AppID == 0 {
		if apps, err = l.appIDs(ctx); err != nil {
			return nil, false, err
		}
	}
	for _, app := range apps {
		x, args := newText(8), []any(nil)
		switch {
		case l.f.Label.Key != "":
			x.s("SELECT id FROM task_labels WHERE app_id=").n(int64(app)).s(" AND k=? AND v=?")
			args = []any{l.f.Label.Key, l.f.Label.Value}
		case state != "":
			x.s("SELECT id FROM ends WHERE app_id=").n(int64(app)).s(" AND state=").s(state)
		default:
			x.s("SELECT id FROM tasks WHERE app_id=").n(int64(app))
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

// walkClaims lists running tasks, newest first. There are never more than the workers have slots.
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
