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
// Whether it does is a matter of cost, and follows from its figures about the index. Those are renewed in the background, seconds
// after the table has changed: when a backlog comes fast, or after a start, they tell of a small table, and the same statement reads
// an entry per bell. So while the table is large the plan is asked for first, and where it is the wrong one the dives are made one by
// one.
//
// The wrong plan is right where each group is small: a hundred apps with a few bells each are read in less time than a hundred
// dives take. So how many entries it may read is weighed against the round trips that the dives would be.

const (
	looseFor   = time.Second      // how long what was found is taken for known
	manyFor    = 10 * time.Second // how long it is taken for known that there are too many pairs
	fewBells   = 2_000            // bells that may always be read
	stepsWorth = 100              // bells that are read in the time of a round trip
	stepsMost  = 200              // pairs that are looked for one by one; of more than those reading everything is no worse
)

// loose is what is known of one grouped statement.
type loose struct {
	last  atomic.Pointer[loosePlan]
	steps atomic.Int64 // how many dives one by one the last time were
}

type loosePlan struct {
	until time.Time // monotonic
	whole bool
}

// whole reports whether the grouped statement is to be sent: the table is small enough to be read, or the server answers by dives.
func (l *loose) whole(ctx context.Context, s *Store, query string) (bool, error) {
	if last := l.last.Load(); last != nil && time.Now().Before(last.until) {
		return last.whole, nil
	}
	whole, err := s.fewBells(ctx, fewBells)
	if err == nil && !whole {
		whole, err = s.dives(ctx, query)
	}
	if worth := l.steps.Load() * stepsWorth; err == nil && !whole && worth > fewBells {
		whole, err = s.fewBells(ctx, worth)
	}
	if err == nil {
		l.last.Store(&loosePlan{time.Now().Add(looseFor), whole})
	}
	return whole, err
}

// stepped notes how many dives one by one there were. When they were too many nobody tries them again for a while.
func (l *loose) stepped(steps int, done bool) {
	if l.steps.Store(int64(steps)); !done {
		l.last.Store(&loosePlan{time.Now().Add(manyFor), true})
	}
}

// fewBells reports whether there are at most so many bells. It reads no more than those.
func (s *Store) fewBells(ctx context.Context, most int64) (few bool, err error) {
	few = true
	err = s.readEach(ctx, newText(1).s("SELECT id FROM bells ORDER BY id LIMIT ").n(most).s(",1").String(), func(*sql.Rows) error {
		few = false
		return nil
	})
	return few, err
}

// dives reports whether the server would answer a grouped statement by dives.
func (s *Store) dives(ctx context.Context, query string) (ok bool, err error) {
	// The format by name: newer servers have a variable for which one is meant without.
	err = s.readEach(ctx, "EXPLAIN FORMAT=TRADITIONAL "+query, func(rows *sql.Rows) error {
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
	return ok, err
}

// stepPairs is DuePairs by a statement for each pair and kind: the next entry of the index fair behind the last. done is false
// when there are too many.
func (s *Store) stepPairs(ctx context.Context) (pairs []task.LaneApp, done bool, err error) {
	at := task.LaneApp{LaneID: -1}
	for steps := range stepsMost {
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
		if err != nil {
			return nil, false, err
		}
		if !found {
			s.fairPlan.stepped(steps+1, true)
			return pairs, true, nil
		}
		if at.Kind.Starts() {
			pairs = append(pairs, at)
		}
	}
	s.fairPlan.stepped(stepsMost, false)
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
