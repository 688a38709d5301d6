package sqldb

import (
	"context"
	"database/sql"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// What is due over all lanes and apps is asked by a GROUP BY that MySQL can answer by diving into the index once for each group.
// Whether it does follows from its figures about the index, and those are renewed in the background, seconds after the
// table has changed: when a backlog comes fast, or after a start, they tell of a small table, and the same statement reads an entry per
// bell. So the plan is asked for first, and while it is the wrong one the dives are made one by one.

const (
	looseFor  = time.Second // how long a plan is taken for known
	stepsMost = 200         // pairs that are looked for one by one; of more than those reading everything is no worse
)

// loose is what is known of the plan of one statement.
type loose struct{ last atomic.Pointer[loosePlan] }

type loosePlan struct {
	read time.Time // monotonic
	ok   bool
}

// dives reports whether the server answers a grouped statement by dives.
func (l *loose) dives(ctx context.Context, s *Store, query string) (bool, error) {
	if last := l.last.Load(); last != nil && time.Since(last.read) < looseFor {
		return last.ok, nil
	}
	ok := false
	err := s.readEach(ctx, "EXPLAIN "+query, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		cells, into := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		ok = strings.Contains(string(cells[len(cells)-1]), "Using index for group-by")
		return nil
	})
	if err == nil {
		l.last.Store(&loosePlan{time.Now(), ok})
	}
	return ok, err
}

// stepPairs is DuePairs by a statement for each pair and kind: the next entry of the index fair behind the last. done is false
// when there are too many.
func (s *Store) stepPairs(ctx context.Context) (pairs []task.LaneApp, done bool, err error) {
	at := task.LaneApp{LaneID: -1}
	for range stepsMost {
		found := false
		err := s.readEach(ctx, nextPairSQL(at), func(rows *sql.Rows) error {
			var nearness int
			var p task.LaneApp
			err := rows.Scan(&nearness, &p.LaneID, &p.AppID, &p.Kind, &p.MinDue)
			if !found {
				at, found = p, true
			}
			return err
		})
		if err != nil || !found {
			return pairs, err == nil, err
		}
		if at.Kind.Starts() {
			pairs = append(pairs, at)
		}
	}
	return nil, false, nil
}

// nextPairSQL finds the first bell behind those of a pair and kind: of its other kinds, of the lane's other apps, of other lanes,
// the nearest first.
func nextPairSQL(at task.LaneApp) string {
	x := newText(16)
	for i, one := range []struct {
		fixed  []int64
		column string
		above  int64
		order  string
	}{
		{[]int64{int64(at.LaneID), int64(at.AppID)}, "kind", int64(at.Kind), "kind,due_at"},
		{[]int64{int64(at.LaneID)}, "app_id", int64(at.AppID), "app_id,kind,due_at"},
		{nil, "lane_id", int64(at.LaneID), "lane_id,app_id,kind,due_at"},
	} {
		if i > 0 {
			x.s(" UNION ALL ")
		}
		x.s("(SELECT ").n(int64(i)).s(" AS nearness,lane_id,app_id,kind,due_at FROM bells FORCE INDEX (fair) WHERE ")
		for k, v := range one.fixed {
			x.s([]string{"lane_id=", "app_id="}[k]).n(v).s(" AND ")
		}
		x.s(one.column).s(">").n(one.above).s(" ORDER BY ").s(one.order).s(" LIMIT 1)")
	}
	return x.s(" ORDER BY nearness").String()
}
