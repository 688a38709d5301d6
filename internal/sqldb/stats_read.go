package sqldb

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	statsMost = 10_000 // figures of one answer
	statsRows = 60_000 // rows that one answer reads of each table
	minuteMs  = 60_000
)

// statSlot is where a row of a table counts.
type statSlot struct{ step, key int64 }

type statTotal struct {
	statRow
	hist histogram
}

// Stats gives figures by step and key, oldest first; steps in which nothing happened are left out. It reads sums of the
// longest spans that steps consist of, and what writers left of minutes that are not summed up yet: both in one statement, whose
// snapshot sees each count once. Invalid when the answer would have more than 10,000 figures, or begins before what is kept of
// such short spans.
func (s *Store) Stats(ctx context.Context, q task.StatsQuery) ([]task.Stat, error) {
	level := sumMinutes
	for level < sumDays && (q.StepMs/minuteMs)%sumSpans[level+1] == 0 {
		level++
	}
	if err := s.checkKept(q, level); err != nil {
		return nil, err
	}
	query, err := s.statsQuery(ctx, q, level)
	if err != nil {
		return nil, err
	}
	names, err := s.statNames(ctx, q.By)
	if err != nil {
		return nil, err
	}
	totals := map[statSlot]*statTotal{}
	rows := 0
	if err := s.readEach(ctx, query, func(r *sql.Rows) error {
		var row statRow
		var at, key int64
		var times sql.RawBytes
		if err := r.Scan(&at, &key, &row.submitted, &row.succeeded, &row.failed, &row.retried, &row.timedOut, &row.cancelled, &row.lost, &times); err != nil {
			return err
		}
		if rows++; rows > statsRows {
			return errTooManyStats
		}
		slot := statSlot{at * minuteMs / q.StepMs * q.StepMs, names.group(key)}
		sum := totals[slot]
		if sum == nil {
			if len(totals) == statsMost {
				return errTooManyStats
			}
			sum = &statTotal{}
			totals[slot] = sum
		}
		sum.plus(&row)
		sum.hist.add(times)
		return nil
	}); err != nil {
		return nil, err
	}
	return s.statsOf(totals, names), nil
}

var errTooManyStats = task.InvalidField("stepMs", "max_items", "these are more than 10000 figures: choose longer steps, or a shorter time")

func (s *Store) checkKept(q task.StatsQuery, level int) error {
	if minuteOf(q.From) >= minuteOf(s.now())-sumsKept[level] || level == sumDays {
		return nil
	}
	if level == sumMinutes {
		return task.InvalidField("stepMs", "retention", "figures by the minute are kept for 8 days: for longer, choose steps of whole hours (3600000)")
	}
	return task.InvalidField("stepMs", "retention", "figures by the hour are kept for 100 days: for longer, choose steps of whole days (86400000)")
}

// statsQuery reads sums, and the rows that are not summed up.
func (s *Store) statsQuery(ctx context.Context, q task.StatsQuery, level int) (string, error) {
	const figures = "submitted,succeeded,failed,retried,timed_out,cancelled,lost,hist"
	system, err := s.systemApp(ctx)
	if err != nil {
		return "", err
	}
	dim, key, rawKey := sumAll, "0", "0"
	apps := []int32{q.AppID}
	switch q.By {
	case task.StatsByQueue:
		dim, key, rawKey = sumLane, "key_id", "lane_id"
	case task.StatsByKind:
		dim, key, rawKey = sumKind, "key_id", "kind_id"
	case task.StatsByApp:
		key, rawKey = "app_id", "app_id"
		if q.AppID == everyApp {
			if apps, err = s.listApps(ctx, system); err != nil {
				return "", err
			}
		}
	}
	from, to := minuteOf(q.From), minuteOf(q.To)
	x := newText(16 + len(apps)).s("SELECT at,").s(key).s(" AS k,").s(figures).s(" FROM stat_sums").s(s.force()).s(" WHERE app_id IN (").ints(apps).s(") AND level=").n(int64(level)).
		s(" AND dim=").n(int64(dim)).s(" AND at>=").n(from).s(" AND at<").n(to).
		s(" UNION ALL SELECT minute,").s(rawKey).s(",").s(figures).s(" FROM stats").s(s.force()).s(" WHERE minute>=").n(from).s(" AND minute<").n(to)
	if q.AppID != everyApp {
		x.s(" AND app_id=").n(int64(q.AppID))
	} else {
		x.s(" AND app_id<>").n(int64(system))
	}
	return x.String(), nil
}

// listApps are the apps whose sums are read where each counts for itself.
func (s *Store) listApps(ctx context.Context, but int32) ([]int32, error) {
	ids := []int32{-1} // a list is never empty
	err := s.readEach(ctx, "SELECT id FROM apps ORDER BY id", func(rows *sql.Rows) error {
		var id int32
		err := rows.Scan(&id)
		if id != but {
			ids = append(ids, id)
		}
		return err
	})
	return ids, err
}

// statNames tells what keys are called. Several lanes are one queue: they count under the first of them.
type statNames struct {
	name  map[int64]string
	first map[int64]int64
}

func (n *statNames) group(key int64) int64 {
	if first, ok := n.first[key]; ok {
		return first
	}
	return key
}

func (s *Store) statNames(ctx context.Context, by task.StatsBy) (*statNames, error) {
	n := &statNames{name: map[int64]string{}, first: map[int64]int64{}}
	switch by {
	case task.StatsByQueue:
		lanes, err := s.Lanes(ctx)
		if err != nil {
			return nil, err
		}
		byQueue := map[string]int64{}
		for _, l := range lanes {
			if _, ok := byQueue[l.Queue]; !ok {
				byQueue[l.Queue] = int64(l.ID)
			}
			n.first[int64(l.ID)], n.name[int64(l.ID)] = byQueue[l.Queue], l.Queue
		}
	case task.StatsByKind:
		kinds, err := s.Kinds(ctx)
		if err != nil {
			return nil, err
		}
		for _, k := range kinds {
			n.name[int64(k.ID)] = k.Name
		}
	case task.StatsByApp:
		apps, err := s.Apps(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range apps {
			n.name[int64(a.ID)] = a.Key
		}
	}
	return n, nil
}

func (s *Store) statsOf(totals map[statSlot]*statTotal, names *statNames) []task.Stat {
	out := make([]task.Stat, 0, len(totals))
	for slot, t := range totals {
		if t.submitted|t.succeeded|t.failed|t.retried|t.timedOut|t.cancelled|t.lost == 0 {
			continue
		}
		out = append(out, task.Stat{At: slot.step, Key: names.name[slot.key], Submitted: t.submitted, Succeeded: t.succeeded, Failed: t.failed, Retried: t.retried,
			TimedOut: t.timedOut, Cancelled: t.cancelled, Lost: t.lost, WaitP95: t.hist.wait.p95(), RunP95: t.hist.run.p95()})
	}
	slices.SortFunc(out, func(a, b task.Stat) int {
		if a.At != b.At {
			return cmpInt(a.At, b.At)
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}
