package sqldb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// statKey names one row of counters within a minute and writer.
type statKey struct{ app, lane, kind int32 }

func (a statKey) compare(b statKey) int {
	switch {
	case a.app != b.app:
		return int(a.app) - int(b.app)
	case a.lane != b.lane:
		return int(a.lane) - int(b.lane)
	}
	return int(a.kind) - int(b.kind)
}

// statRow is what one transaction adds to a row of counters. Each counts tasks, but for retried, timedOut and lost,
// which count attempts.
type statRow struct {
	statKey
	submitted, succeeded, failed, retried, timedOut, cancelled, lost int64
}

// statSet collects the counters of one transaction. There are few keys in one, so it is a list, not a map.
type statSet struct {
	rows []statRow
	last int
}

// of gives the row of a key, to be added to at once: the next call may move it.
func (c *statSet) of(app, lane, kind int32) *statRow {
	key := statKey{app, lane, kind}
	if c.last < len(c.rows) && c.rows[c.last].statKey == key {
		return &c.rows[c.last]
	}
	for i := range c.rows {
		if c.rows[i].statKey == key {
			c.last = i
			return &c.rows[i]
		}
	}
	c.last = len(c.rows)
	c.rows = append(c.rows, statRow{statKey: key})
	return &c.rows[c.last]
}

// minuteOf is the unix minute of an instant in ms.
func minuteOf(ms int64) int64 { return ms / 60_000 }

const insertStatsSQL = "INSERT INTO stats (minute,app_id,lane_id,kind_id,writer,submitted,succeeded,failed,retried,timed_out,cancelled,lost,hist) VALUES "

const addStatsMySQL = " ON DUPLICATE KEY UPDATE submitted=submitted+VALUES(submitted),succeeded=succeeded+VALUES(succeeded)," +
	"failed=failed+VALUES(failed),retried=retried+VALUES(retried),timed_out=timed_out+VALUES(timed_out)," +
	"cancelled=cancelled+VALUES(cancelled),lost=lost+VALUES(lost),hist=IF(VALUES(hist)='',hist,VALUES(hist))"

const addStatsSQLite = " ON CONFLICT (minute,app_id,lane_id,kind_id,writer) DO UPDATE SET submitted=submitted+excluded.submitted," +
	"succeeded=succeeded+excluded.succeeded,failed=failed+excluded.failed,retried=retried+excluded.retried," +
	"timed_out=timed_out+excluded.timed_out,cancelled=cancelled+excluded.cancelled,lost=lost+excluded.lost," +
	"hist=CASE WHEN length(excluded.hist)=0 THEN hist ELSE excluded.hist END"

// addStats adds the counters of a transaction to this writer's rows of the minute of now, as its last statement. Rows of
// other writers are not touched, so no flusher waits for another.
func (s *Store) addStats(ctx context.Context, t tx, now, writer int64, set *statSet) error {
	return s.writeStats(ctx, t, minuteOf(now), writer, set, nil)
}

// writeStats is addStats with the histograms of closed minutes.
func (s *Store) writeStats(ctx context.Context, t tx, minute, writer int64, set *statSet, closed []closedHist) error {
	if len(set.rows) == 0 && len(closed) == 0 {
		return nil
	}
	slices.SortFunc(set.rows, func(a, b statRow) int { return a.compare(b.statKey) })
	set.last = 0
	x := newText(12 * (len(set.rows) + len(closed))).s(insertStatsSQL)
	first := true
	for i := range closed {
		c := &closed[i]
		x.statRow(first, c.minute, writer, &statRow{statKey: c.statKey}, c.hist.encode())
		first = false
	}
	for i := range set.rows {
		x.statRow(first, minute, writer, &set.rows[i], nil)
		first = false
	}
	if s.mysql {
		x.s(addStatsMySQL)
	} else {
		x.s(addStatsSQLite)
	}
	return t.add(ctx, x.String())
}

func (x *text) statRow(first bool, minute, writer int64, r *statRow, hist []byte) {
	x.row(first, minute, int64(r.app), int64(r.lane), int64(r.kind), writer,
		r.submitted, r.succeeded, r.failed, r.retried, r.timedOut, r.cancelled, r.lost)
	x.b = append(x.b[:len(x.b)-1], ',')
	x.hex(hist).s(")")
}

// histBuckets is the number of buckets of one histogram: bucket i counts durations below 2^i ms, the last all others.
const histBuckets = 22

// histogram counts waiting (due to start) and run times of the attempts of one (minute, app, lane, kind).
type histogram struct{ wait, run [histBuckets]uint32 }

func bucketOf(ms int64) int { return min(bits.Len64(uint64(max(ms, 0))), histBuckets-1) }

// encode is the stored form: a version byte and the counts of wait, then run, as uvarints without the zeros at the end.
func (h *histogram) encode() []byte {
	b := append(make([]byte, 0, 64), 1)
	for _, counts := range [][histBuckets]uint32{h.wait, h.run} {
		n := histBuckets
		for n > 0 && counts[n-1] == 0 {
			n--
		}
		b = append(b, byte(n))
		for _, c := range counts[:n] {
			b = binary.AppendUvarint(b, uint64(c))
		}
	}
	return b
}

// add adds a stored histogram. What is none is left out: a broken figure in a statistic is not worth an error.
func (h *histogram) add(b []byte) {
	if len(b) == 0 || b[0] != 1 {
		return
	}
	b = b[1:]
	for _, counts := range []*[histBuckets]uint32{&h.wait, &h.run} {
		if len(b) == 0 {
			return
		}
		n := int(b[0])
		b = b[1:]
		for i := range n {
			v, w := binary.Uvarint(b)
			if w <= 0 {
				return
			}
			if i < histBuckets {
				counts[i] += uint32(v)
			}
			b = b[w:]
		}
	}
}

// histKey names a histogram in memory.
type histKey struct {
	writer, minute int64
	statKey
}

// closedHist is a histogram of a minute that is over.
type closedHist struct {
	histKey
	hist *histogram
}

// histograms keeps the times of the running minute in memory; they are written once, with the first flush after its end.
// A crash loses at most that minute's shape, never a count.
type histograms struct {
	mu     sync.Mutex
	byKey  map[histKey]*histogram
	oldest int64 // no histogram is of an earlier minute
}

func (h *histograms) get(key histKey) *histogram {
	one := h.byKey[key]
	if one == nil {
		if h.byKey == nil {
			h.byKey = map[histKey]*histogram{}
		}
		if len(h.byKey) == 0 || key.minute < h.oldest {
			h.oldest = key.minute
		}
		one = &histogram{}
		h.byKey[key] = one
	}
	return one
}

// takeClosed takes a writer's histograms of minutes before this one, at most 100.
func (h *histograms) takeClosed(writer, minute int64) []closedHist {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.byKey) == 0 || h.oldest >= minute {
		return nil
	}
	var out []closedHist
	oldest := minute
	for key, one := range h.byKey {
		if key.writer == writer && key.minute < minute && len(out) < 100 {
			out = append(out, closedHist{key, one})
			delete(h.byKey, key)
			continue
		}
		oldest = min(oldest, key.minute)
	}
	h.oldest = oldest
	slices.SortFunc(out, func(a, b closedHist) int {
		if a.minute != b.minute {
			return cmpInt(a.minute, b.minute)
		}
		return a.compare(b.statKey)
	})
	return out
}

// putBack gives histograms back whose transaction failed.
func (h *histograms) putBack(closed []closedHist) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range closed {
		one := h.get(closed[i].histKey)
		for b := range histBuckets {
			one.wait[b] += closed[i].hist.wait[b]
			one.run[b] += closed[i].hist.run[b]
		}
	}
}

// FoldStats sums the writers' rows of minutes before the given one into one row of writer 0 each, at most limit rows, and
// gives how many it folded. A minute that it has seen whole is looked at again for ten minutes, for late writers; what
// comes later keeps its writer, which no reader minds.
func (s *Store) FoldStats(ctx context.Context, before int64, limit int) (int, error) {
	from := max(s.engine.foldCursor.Load()-10, before-2*24*60, 0)
	var minutes []int64
	err := s.readEach(ctx, newText(4).s("SELECT DISTINCT minute FROM stats WHERE minute>=").n(from).s(" AND minute<").n(before).
		s(" AND writer<>0 ORDER BY minute LIMIT 60").String(), func(rows *sql.Rows) error {
		var m int64
		err := rows.Scan(&m)
		minutes = append(minutes, m)
		return err
	})
	if err != nil {
		return 0, err
	}
	folded := 0
	for _, minute := range minutes {
		groups, err := s.foldable(ctx, minute, min(limit-folded, maxList))
		if err != nil || len(groups) == 0 {
			return folded, err
		}
		for _, g := range groups {
			n := 0
			if err := s.writeAgain(ctx, func(ctx context.Context, t tx) (err error) {
				n, err = s.fold(ctx, t, minute, g)
				return err
			}); err != nil {
				return folded, err
			}
			folded += n
		}
		if folded >= limit {
			return folded, nil
		}
	}
	if len(minutes) < 60 {
		s.engine.foldCursor.Store(before)
	} else {
		s.engine.foldCursor.Store(minutes[len(minutes)-1])
	}
	return folded, nil
}

// foldGroup is the rows of one key and minute.
type foldGroup struct {
	statKey
	writers []int64 // sorted
}

// foldable lists up to limit rows of a minute that some writer left.
func (s *Store) foldable(ctx context.Context, minute int64, limit int) (groups []foldGroup, err error) {
	query := newText(3).s("SELECT app_id,lane_id,kind_id,writer FROM stats WHERE minute=").n(minute).
		s(" AND writer<>0 ORDER BY app_id,lane_id,kind_id,writer LIMIT ").n(int64(limit)).String()
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		var key statKey
		var writer int64
		if err := rows.Scan(&key.app, &key.lane, &key.kind, &writer); err != nil {
			return err
		}
		if n := len(groups); n == 0 || groups[n-1].statKey != key {
			groups = append(groups, foldGroup{statKey: key})
		}
		g := &groups[len(groups)-1]
		g.writers = append(g.writers, writer)
		return nil
	})
	return groups, err
}

// prefix names the group by the first columns of the primary key.
func (g *foldGroup) prefix(minute int64) string {
	return newText(4).s("minute=").n(minute).s(" AND app_id=").n(int64(g.app)).s(" AND lane_id=").n(int64(g.lane)).
		s(" AND kind_id=").n(int64(g.kind)).s(" AND ").String()
}

// fold sums one group into the row of writer 0, which it locks too because an upsert replaces the histogram there.
func (s *Store) fold(ctx context.Context, t tx, minute int64, g foldGroup) (int, error) {
	var set statSet
	sum, hist, found := set.of(g.app, g.lane, g.kind), histogram{}, 0
	all := append([]int64{0}, g.writers...)
	x := newText(len(all)).s("SELECT writer,submitted,succeeded,failed,retried,timed_out,cancelled,lost,hist FROM stats").s(s.force()).
		s(" WHERE ").s(g.prefix(minute)).s("writer IN (").ids(all).s(")")
	query := s.locked(x, "writer", len(all)).String()
	if err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var r statRow
		var writer int64
		var times sql.RawBytes
		if err := rows.Scan(&writer, &r.submitted, &r.succeeded, &r.failed, &r.retried, &r.timedOut, &r.cancelled, &r.lost, &times); err != nil {
			return err
		}
		hist.add(times)
		if writer != 0 {
			found++
			sum.plus(&r)
		}
		return nil
	}); err != nil || found == 0 {
		return 0, err
	}
	if _, err := s.deleteIDs(ctx, t, listDelete{table: "stats", before: g.prefix(minute), column: "writer"}, g.writers); err != nil {
		return 0, err
	}
	var closed []closedHist
	if hist != (histogram{}) {
		closed = []closedHist{{histKey{0, minute, g.statKey}, &hist}}
	}
	return found, s.writeStats(ctx, t, minute, 0, &set, closed)
}

func (r *statRow) plus(o *statRow) {
	r.submitted += o.submitted
	r.succeeded += o.succeeded
	r.failed += o.failed
	r.retried += o.retried
	r.timedOut += o.timedOut
	r.cancelled += o.cancelled
	r.lost += o.lost
}
