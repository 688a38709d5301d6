package sqldb

import (
	"context"
	"slices"
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

const addSumsSQLite = " ON CONFLICT (app_id,level,dim,at,key_id) DO UPDATE SET submitted=submitted+excluded.submitted," +
	"succeeded=succeeded+excluded.succeeded,failed=failed+excluded.failed,retried=retried+excluded.retried," +
	"timed_out=timed_out+excluded.timed_out,cancelled=cancelled+excluded.cancelled,lost=lost+excluded.lost," +
	"hist=CASE WHEN length(excluded.hist)=0 THEN hist ELSE excluded.hist END"

// addStats adds the counters of a transaction to this writer's rows of the minute of now, as its last statement. Rows of
// other writers are not touched, so no flusher waits for another.
func (s *Store) addStats(ctx context.Context, t tx, now, writer int64, set *statSet) error {
	return s.writeStats(ctx, t, minuteOf(now), writer, set, nil)
}

// writeStats is addStats with histograms, sorted as the keys are: each replaces what is stored of its minute and key.
func (s *Store) writeStats(ctx context.Context, t tx, minute, writer int64, set *statSet, hists []keptHist) error {
	if len(set.rows) == 0 && len(hists) == 0 {
		return nil
	}
	slices.SortFunc(set.rows, func(a, b statRow) int { return a.compare(b.statKey) })
	set.last = 0
	x := newText(16 * (len(set.rows) + len(hists))).s(insertStatsSQL)
	first, at := true, 0
	for at < len(hists) && hists[at].minute < minute {
		x.statRow(first, hists[at].minute, writer, &statRow{statKey: hists[at].statKey}, hists[at].blob)
		first, at = false, at+1
	}
	for i := range set.rows {
		r := &set.rows[i]
		for at < len(hists) && hists[at].compare(r.statKey) < 0 {
			x.statRow(first, hists[at].minute, writer, &statRow{statKey: hists[at].statKey}, hists[at].blob)
			first, at = false, at+1
		}
		var blob []byte
		if at < len(hists) && hists[at].minute == minute && hists[at].statKey == r.statKey {
			blob, at = hists[at].blob, at+1
		}
		x.statRow(first, minute, writer, r, blob)
		first = false
	}
	for ; at < len(hists); at++ {
		x.statRow(first, hists[at].minute, writer, &statRow{statKey: hists[at].statKey}, hists[at].blob)
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

func (r *statRow) plus(o *statRow) {
	r.submitted += o.submitted
	r.succeeded += o.succeeded
	r.failed += o.failed
	r.retried += o.retried
	r.timedOut += o.timedOut
	r.cancelled += o.cancelled
	r.lost += o.lost
}
