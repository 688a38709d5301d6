package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// Levels and dimensions of sums (table stat_sums). Nobody asks for figures by queue and kind at once, so sums are kept along one
// dimension at a time: their number is that of queues plus that of kinds, not their product.
const (
	sumMinutes, sumHours, sumDays = 1, 2, 3
	sumAll, sumLane, sumKind      = 0, 1, 2

	everyApp = 0 // sums over all apps but the system's
)

// sumSpans are the minutes of a span of each level.
var sumSpans = [...]int64{sumMinutes: 1, sumHours: 60, sumDays: 1440}

// FoldStats sums closed minutes up, an app and a minute at a time: the writers' rows go, and the sums of the minute, its hour and
// its day grow by them, in one transaction, so that every count is in one place at every moment. What comes later of the minute
// is added in the same way. What cannot be summed up is stepped over and stays.
func (s *Store) FoldStats(ctx context.Context, req task.FoldRequest) (task.FoldReport, error) {
	report := task.FoldReport{Minute: req.Minute, App: req.App}
	system, err := s.systemApp(ctx)
	if err != nil {
		return report, err
	}
	pairs, err := s.foldable(ctx, req)
	if err != nil {
		return report, err
	}
	report.More = len(pairs) == foldPairs
	for _, p := range pairs {
		n, err := s.foldPair(ctx, p, p.app != system, maxList)
		switch {
		case err == nil:
		case ctx.Err() != nil, task.Transient(err):
			return report, err
		default:
			var left int
			if n, left, err = s.foldSingly(ctx, p, p.app != system); err != nil {
				return report, err
			}
			report.SteppedOver += left
		}
		report.Folded += n
		report.Minute, report.App = p.minute, p.app
		if report.Folded >= req.Limit {
			report.More = true
			return report, nil
		}
	}
	return report, nil
}

// systemApp is the id of the platform's own app; 0 while there is none.
func (s *Store) systemApp(ctx context.Context) (int32, error) {
	if id := s.engine.systemApp.Load(); id != 0 {
		return id, nil
	}
	var id int32
	err := s.readEach(ctx, "SELECT id FROM apps WHERE app_key=?", func(rows *sql.Rows) error { return rows.Scan(&id) }, task.SystemApp)
	if err == nil && id != 0 {
		s.engine.systemApp.Store(id)
	}
	return id, err
}

// foldPairs is how many minutes and apps one call looks at.
const foldPairs = 200

type foldPair struct {
	minute int64
	app    int32
}

func (s *Store) foldable(ctx context.Context, req task.FoldRequest) (pairs []foldPair, err error) {
	x := newText(8).s("SELECT minute,app_id FROM stats WHERE minute>=").n(req.Minute).s(" AND minute<").n(req.Before).
		s(" AND (minute>").n(req.Minute).s(" OR app_id>").n(int64(req.App)).s(") GROUP BY minute,app_id ORDER BY minute,app_id LIMIT ").n(foldPairs)
	err = s.readEach(ctx, x.String(), func(rows *sql.Rows) error {
		var p foldPair
		err := rows.Scan(&p.minute, &p.app)
		pairs = append(pairs, p)
		return err
	})
	return pairs, err
}

// statSource is one row of stats.
type statSource struct {
	statRow
	writer int64
	hist   histogram
}

// foldPair sums up the rows of an app's minute, some at a time.
func (s *Store) foldPair(ctx context.Context, p foldPair, total bool, step int) (folded int, err error) {
	for {
		n := 0
		if err := s.writeAgain(ctx, func(ctx context.Context, t tx) error {
			rows, err := s.sources(ctx, t, p, statKey{app: p.app}, -1, step)
			n = len(rows)
			if err != nil || n == 0 {
				return err
			}
			return s.foldRows(ctx, t, p.minute, rows, total)
		}); err != nil {
			return folded, err
		}
		folded += n
		if n < step {
			return folded, nil
		}
	}
}

// foldSingly sums up the rows of an app's minute each by itself, past those that fail.
func (s *Store) foldSingly(ctx context.Context, p foldPair, total bool) (folded, left int, err error) {
	after, writer := statKey{app: p.app}, int64(-1)
	for {
		var one []statSource
		err := s.writeAgain(ctx, func(ctx context.Context, t tx) (err error) {
			if one, err = s.sources(ctx, t, p, after, writer, 1); err != nil || len(one) == 0 {
				return err
			}
			return s.foldRows(ctx, t, p.minute, one, total)
		})
		switch {
		case err != nil && (ctx.Err() != nil || task.Transient(err) || len(one) == 0):
			return folded, left, err
		case err != nil:
			left++
			s.log.ErrorContext(ctx, "a row of statistics cannot be summed up and stays", "minute", p.minute, "app", p.app, "lane", one[0].lane,
				"kind", one[0].kind, "writer", one[0].writer, "err", err)
		case len(one) == 0:
			return folded, left, nil
		default:
			folded++
		}
		after, writer = one[0].statKey, one[0].writer
	}
}

// sources locks and reads rows of an app's minute behind a position.
func (s *Store) sources(ctx context.Context, t tx, p foldPair, after statKey, writer int64, limit int) (out []statSource, err error) {
	x := newText(8).s("SELECT app_id,lane_id,kind_id,writer,submitted,succeeded,failed,retried,timed_out,cancelled,lost,hist FROM stats").s(s.force()).
		s(" WHERE minute=").n(p.minute).s(" AND app_id=").n(int64(p.app)).s(" AND lane_id>=").n(int64(after.lane)).
		s(" AND (lane_id>").n(int64(after.lane)).s(" OR kind_id>").n(int64(after.kind)).s(" OR kind_id=").n(int64(after.kind)).s(" AND writer>").n(writer).
		s(") ORDER BY lane_id,kind_id,writer LIMIT ").n(int64(limit))
	if s.mysql {
		x.s(" FOR UPDATE")
	}
	err = forEach(ctx, t, x.String(), func(rows *sql.Rows) error {
		var r statSource
		var times sql.RawBytes
		if err := rows.Scan(&r.app, &r.lane, &r.kind, &r.writer, &r.submitted, &r.succeeded, &r.failed, &r.retried, &r.timedOut, &r.cancelled, &r.lost, &times); err != nil {
			return err
		}
		r.hist.add(times)
		out = append(out, r)
		return nil
	})
	return out, err
}

// foldRows deletes rows of one app's minute and adds them to the sums.
func (s *Store) foldRows(ctx context.Context, t tx, minute int64, rows []statSource, total bool) error {
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to].statKey == rows[from].statKey {
			to++
		}
		writers := make([]int64, 0, to-from)
		for _, r := range rows[from:to] {
			writers = append(writers, r.writer)
		}
		k := rows[from].statKey
		before := newText(4).s("minute=").n(minute).s(" AND app_id=").n(int64(k.app)).s(" AND lane_id=").n(int64(k.lane)).s(" AND kind_id=").n(int64(k.kind)).s(" AND ").String()
		if err := s.dropIDs(ctx, t, listDelete{table: "stats", before: before, column: "writer"}, writers); err != nil {
			return err
		}
		from = to
	}
	sums := newSums(minute, rows, total)
	if err := s.readSums(ctx, t, sums); err != nil {
		return err
	}
	return s.writeSums(ctx, t, sums)
}

// sumKey names a row of stat_sums.
type sumKey struct {
	app        int32
	level, dim int8
	at         int64
	key        int32
}

func (a sumKey) compare(b sumKey) int {
	for _, d := range [...]int64{int64(a.app) - int64(b.app), int64(a.level) - int64(b.level), int64(a.dim) - int64(b.dim), a.at - b.at, int64(a.key) - int64(b.key)} {
		if d != 0 {
			return cmpInt(d, 0)
		}
	}
	return 0
}

// statSum is what a row of stat_sums grows by; hist is what it will be.
type statSum struct {
	sumKey
	statRow
	hist  histogram
	timed bool // has times
}

// newSums adds rows of one app's minute up along every dimension and level, in the order of the primary key.
func newSums(minute int64, rows []statSource, total bool) []*statSum {
	byKey := map[sumKey]*statSum{}
	apps := []int32{rows[0].app}
	if total {
		apps = []int32{everyApp, rows[0].app}
	}
	for i := range rows {
		r := &rows[i]
		timed := r.hist != (histogram{})
		for _, app := range apps {
			for level := int8(sumMinutes); level <= sumDays; level++ {
				span := sumSpans[level]
				for dim, key := range [...]int32{sumAll: 0, sumLane: r.lane, sumKind: r.kind} {
					k := sumKey{app, level, int8(dim), minute / span * span, key}
					sum := byKey[k]
					if sum == nil {
						sum = &statSum{sumKey: k}
						byKey[k] = sum
					}
					sum.plus(&r.statRow)
					if timed {
						sum.timed = true
						sum.hist.plus(&r.hist)
					}
				}
			}
		}
	}
	out := make([]*statSum, 0, len(byKey))
	for _, sum := range byKey {
		out = append(out, sum)
	}
	slices.SortFunc(out, func(a, b *statSum) int { return a.sumKey.compare(b.sumKey) })
	return out
}

func (h *histogram) plus(o *histogram) {
	for i := range histBuckets {
		h.wait[i] += o.wait[i]
		h.run[i] += o.run[i]
	}
}

// readSums adds what is stored to the histograms, and locks it.
func (s *Store) readSums(ctx context.Context, t tx, sums []*statSum) error {
	byKey := make(map[sumKey]*statSum, len(sums))
	x := newText(4 * len(sums)).s("SELECT app_id,level,dim,at,key_id,hist FROM stat_sums").s(s.force()).s(" WHERE ")
	last := sumKey{at: -1}
	n := 0
	for _, sum := range sums {
		if !sum.timed {
			continue
		}
		byKey[sum.sumKey] = sum
		n++
		of := sum.sumKey
		if of.key = 0; of == last {
			x.b = append(x.b[:len(x.b)-2], ',')
			x.n(int64(sum.key)).s("))")
			continue
		}
		if n > 1 {
			x.s(" OR ")
		}
		last = of
		x.s("(app_id=").n(int64(of.app)).s(" AND level=").n(int64(of.level)).s(" AND dim=").n(int64(of.dim)).s(" AND at=").n(of.at).s(" AND key_id IN (").n(int64(sum.key)).s("))")
	}
	if n == 0 {
		return nil
	}
	return forEach(ctx, t, s.locked(x, "app_id,level,dim,at,key_id", n).String(), func(rows *sql.Rows) error {
		var k sumKey
		var times sql.RawBytes
		if err := rows.Scan(&k.app, &k.level, &k.dim, &k.at, &k.key, &times); err != nil {
			return err
		}
		if sum := byKey[k]; sum != nil {
			sum.hist.add(times)
		}
		return nil
	})
}

// writeSums adds to the stored sums.
func (s *Store) writeSums(ctx context.Context, t tx, sums []*statSum) error {
	for part := range slices.Chunk(sums, 200) {
		x := newText(16 * len(part)).s("INSERT INTO stat_sums (app_id,level,dim,at,key_id,submitted,succeeded,failed,retried,timed_out,cancelled,lost,hist) VALUES ")
		for i, u := range part {
			x.row(i == 0, int64(u.sumKey.app), int64(u.level), int64(u.dim), u.at, int64(u.key),
				u.submitted, u.succeeded, u.failed, u.retried, u.timedOut, u.cancelled, u.lost)
			x.b = append(x.b[:len(x.b)-1], ',')
			var blob []byte
			if u.timed {
				blob = u.hist.encode()
			}
			x.hex(blob).s(")")
		}
		if s.mysql {
			x.s(addStatsMySQL)
		} else {
			x.s(addSumsSQLite)
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	return nil
}

// sumsKept is how long sums of each level are kept, in minutes.
var sumsKept = [...]int64{sumMinutes: 8 * 1440, sumHours: 100 * 1440, sumDays: 800 * 1440}

// PurgeStats deletes sums that are past their time, at most limit, and gives how many: minutes are kept for 8 days, hours for 100
// and days for 800.
func (s *Store) PurgeStats(ctx context.Context, now int64, limit int) (int, error) {
	type group struct {
		sumKey
		keys []int64
	}
	var groups []group
	limit = min(max(limit, 1), maxList)
	for level := sumMinutes; level <= sumDays && limit > 0; level++ {
		x := newText(4).s("SELECT app_id,level,dim,at,key_id FROM stat_sums").s(s.useIndex("stat_sums", "age")).s(" WHERE level=").n(int64(level)).s(" AND at<").n(minuteOf(now) - sumsKept[level]).
			s(" ORDER BY at,app_id,dim,key_id LIMIT ").n(int64(limit))
		if err := s.readEach(ctx, x.String(), func(rows *sql.Rows) error {
			var k sumKey
			if err := rows.Scan(&k.app, &k.level, &k.dim, &k.at, &k.key); err != nil {
				return err
			}
			limit--
			key := int64(k.key)
			if k.key = 0; len(groups) == 0 || groups[len(groups)-1].sumKey != k {
				groups = append(groups, group{sumKey: k})
			}
			groups[len(groups)-1].keys = append(groups[len(groups)-1].keys, key)
			return nil
		}); err != nil {
			return 0, err
		}
	}
	if len(groups) == 0 {
		return 0, nil
	}
	return s.deleted(ctx, func(ctx context.Context, t tx) (total int64, err error) {
		for _, g := range groups {
			before := newText(4).s("app_id=").n(int64(g.app)).s(" AND level=").n(int64(g.level)).s(" AND dim=").n(int64(g.dim)).s(" AND at=").n(g.at).s(" AND ").String()
			n, err := s.deleteIDs(ctx, t, listDelete{table: "stat_sums", before: before, column: "key_id"}, g.keys)
			if total += n; err != nil {
				return total, err
			}
		}
		return total, nil
	})
}
