package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	fillPart = 100_000 // rows of one INSERT
	fillDays = 9       // over which the finished tasks were made
	dayMs    = 86_400_000
	hourMs   = dayMs / 24

	retentionDays = 7 // of succeeded tasks, unless it is set
)

// fillAll makes and fills the databases, in the order of the report's columns.
func (k *kit) fillAll(ctx context.Context) ([]*database, error) {
	all := []*database{{name: "growth_none", title: "none"}}
	if k.o.middle > 0 {
		all = append(all, &database{name: "growth_middle", title: count(k.o.middle), finished: k.o.middle})
	}
	all = append(all, &database{name: "growth_large", title: count(k.o.large), finished: k.o.filled()})
	if k.o.waiting > 0 {
		all = append(all, &database{name: "growth_waiting", title: fmt.Sprintf("%s, %s waiting", count(k.o.middle), count(k.o.waiting)), finished: k.o.middle, waiting: k.o.waiting})
	}
	if err := k.numbers(ctx); err != nil {
		return nil, err
	}
	for i, d := range all {
		began := time.Now()
		if err := k.create(ctx, d, i); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if err := k.fill(ctx, d); err != nil {
			return nil, fmt.Errorf("fill %s: %w", d.name, err)
		}
		d.present = int64(d.finished)
		k.say("%s: %d finished, %d waiting, %.0f s", d.name, d.finished, d.waiting, time.Since(began).Seconds())
	}
	_, err := k.servers.MariaDB.Query(ctx, "DROP DATABASE growth_numbers; SET GLOBAL innodb_flush_log_at_trx_commit=1")
	return all, err
}

// numbers makes 0 … fillPart-1 to select from. While the tables are filled no commit waits for the disk.
func (k *kit) numbers(ctx context.Context) error {
	if err := k.servers.MariaDB.CreateDatabase(ctx, "growth_numbers"); err != nil {
		return err
	}
	_, err := k.servers.MariaDB.Query(ctx, `SET GLOBAL innodb_flush_log_at_trx_commit=0; USE growth_numbers;
CREATE TABLE digits (d INT NOT NULL PRIMARY KEY); INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
CREATE TABLE nums (i INT NOT NULL PRIMARY KEY);
INSERT INTO nums SELECT a.d+10*b.d+100*c.d+1000*e.d+10000*f.d FROM digits a, digits b, digits c, digits e, digits f;`)
	return err
}

// fill writes the rows. Ids and times grow together, as they do in life.
func (k *kit) fill(ctx context.Context, d *database) error {
	now, err := k.number(ctx, d, "SELECT CAST(UNIX_TIMESTAMP(NOW(3))*1000 AS SIGNED)")
	if err != nil {
		return err
	}
	total := d.finished + d.waiting
	d.end = now - 60_000
	d.begin = d.end - fillDays*dayMs
	if d.first, err = k.number(ctx, d, "SELECT next FROM ids WHERE name='task'"); err != nil {
		return err
	}
	run, err := k.number(ctx, d, "SELECT next FROM ids WHERE name='run'")
	if err != nil {
		return err
	}
	d.firstWaiting = d.first + int64(d.finished)
	if _, err := k.query(ctx, d, "UPDATE ids SET next=next+%d WHERE name='task'; UPDATE ids SET next=next+%d WHERE name='run'", total, 4*total+1); err != nil {
		return err
	}
	f := filler{k: k, d: d, run: run}
	errs := make(chan error, 2)
	go func() { errs <- f.parts(ctx, total, f.payloads) }()
	go func() { errs <- errors.Join(f.parts(ctx, d.finished, f.tasks), f.parts(ctx, d.waiting, f.bells)) }()
	if err := errors.Join(<-errs, <-errs); err != nil {
		return err
	}
	if d.finished > 0 {
		if err := f.sums(ctx); err != nil {
			return err
		}
	}
	_, err = k.query(ctx, d, "ANALYZE TABLE tasks, payloads, bells, ends, attempts, results, task_labels, stat_sums")
	return err
}

// filler fills one database.
type filler struct {
	k   *kit
	d   *database
	run int64 // first id of bells and attempts
}

// parts calls do for each part of n rows.
func (f *filler) parts(ctx context.Context, n int, do func(from, rows int) string) error {
	for from := 0; from < n; from += fillPart {
		if _, err := f.k.query(ctx, f.d, "%s", do(from, min(fillPart, n-from))); err != nil {
			return err
		}
	}
	return nil
}

// mixed is a number in [0, 1000) for each row, the same in every statement: 1 in 1,000 has each value, in no order.
const mixed = "(CRC32(n) MOD 1000)"

// The shares: 20 in 1,000 failed after three attempts, 20 cancelled, 50 succeeded at the second attempt, 50 with a label, 100
// with a result, 10 with a unique key; one in 100,000 of a rare kind.
const (
	isFailed    = mixed + "<20"
	isCancelled = mixed + " BETWEEN 20 AND 39"
	isRetried   = mixed + " BETWEEN 40 AND 89"
	hasLabel    = "n MOD 20=3"
	hasResult   = "(" + mixed + " BETWEEN 100 AND 199)"
	hasUnique   = "n MOD 100=5"
)

// of picks by thousandths: upTo[i] is where the share of ids[i] ends.
func of(number string, ids []int64, upTo ...int) string {
	var b strings.Builder
	b.WriteString("CASE")
	for i, limit := range upTo {
		fmt.Fprintf(&b, " WHEN %s<%d THEN %d", number, limit, ids[i])
	}
	fmt.Fprintf(&b, " ELSE %d END", ids[len(upTo)])
	return b.String()
}

// from is the table of a part's rows.
func numbersFrom(from, rows int) string {
	return fmt.Sprintf("(SELECT %d+i AS n FROM growth_numbers.nums WHERE i<%d ORDER BY i) x", from, rows)
}

// tasks writes finished tasks and what hangs on them.
func (f *filler) tasks(from, rows int) string {
	d := f.d
	apps := of("(CRC32(n) DIV 1000 MOD 1000)", d.apps, 700, 900, 990)
	lanes := of("(CRC32(n+1) MOD 1000)", d.lanes, 600, 900)
	kinds := fmt.Sprintf("IF(n MOD 100000=77,%d,%s)", d.kinds[3], of("(CRC32(n+2) MOD 1000)", d.kinds, 500, 800))
	created := fmt.Sprintf("%d+n*%d DIV %d", d.begin, d.end-d.begin, d.finished)
	flags := fmt.Sprintf("IF(%s,%d,0)|IF(%s,%d,0)|IF(%s,%d,0)|IF(%s OR %s,%d,0)", hasUnique, task.HasUnique, hasLabel, task.HasLabels, hasResult, task.HasResult,
		isFailed, isRetried, task.HasAttempts)
	span := fmt.Sprintf(" BETWEEN %d AND %d", d.first+int64(from), d.first+int64(from+rows)-1)
	return fmt.Sprintf("INSERT INTO tasks (id,app_id,lane_id,kind_id,state,reason,epoch,failures,flags,created_at,due_at,timeout_ms,holder,worker_id,started_at,finished_at,attempt_id,http_status)"+
		" SELECT %d+n,%s,%s,%s,IF(%s,5,IF(%s,6,4)),IF(%s,1,0),IF(%s,3,IF(%s,0,IF(%s,2,1))),IF(%s,3,IF(%s,1,0)),%s,%s,%s,60000,0,IF(%s,0,1),IF(%s,0,%s+20),%s+60+%s,IF(%s,0,%d+3*n+2),0 FROM %s;",
		d.first, apps, lanes, kinds, isFailed, isCancelled, isFailed, isFailed, isCancelled, isRetried, isFailed, isRetried, flags, created, created,
		isCancelled, isCancelled, created, created, mixed, isCancelled, f.run, numbersFrom(from, rows)) +
		"INSERT INTO ends SELECT app_id,state,id,finished_at,UNHEX(LEFT(MD5(id MOD 20),16)) FROM tasks WHERE id" + span + " AND state IN (5,6) ORDER BY app_id,state,id;" +
		fmt.Sprintf("INSERT INTO attempts SELECT t.id,e.d,%d+3*(t.id-%d)+e.d-1,1,t.started_at,t.finished_at,2,500,NULL FROM tasks t JOIN growth_numbers.digits e"+
			" ON e.d BETWEEN 1 AND IF(t.state=5,3,1) WHERE t.id%s AND t.flags&%d ORDER BY t.id,e.d;", f.run, d.first, span, task.HasAttempts) +
		fmt.Sprintf(`INSERT INTO results SELECT id,epoch,'{"total":1250,"currency":"EUR","lines":[1,2,3]}' FROM tasks WHERE id%s AND state=4 AND flags&%d;`, span, task.HasResult) +
		fmt.Sprintf("INSERT INTO task_labels SELECT app_id,'customer',CONCAT('c',(id-%d) DIV 20 MOD 1000),id FROM tasks WHERE id%s AND flags&%d ORDER BY 1,2,3,4;", d.first, span, task.HasLabels)
}

// payloads writes the bodies (task.Body) of finished and of waiting tasks: about 200 bytes.
func (f *filler) payloads(from, rows int) string {
	label, unique := `CONCAT('{"labels":{"customer":"c',n DIV 20 MOD 1000,'"}}')`, `CONCAT('{"uniqueKey":"order-',n,'","uniqueScope":2}')`
	head := fmt.Sprintf("IF(n>=%d,'',IF(%s,%s,IF(%s,%s,'')))", f.d.finished, hasLabel, label, hasUnique, unique)
	return fmt.Sprintf(`INSERT INTO payloads SELECT %d+n,CONCAT(x'01',CHAR(LENGTH(%s)),%s,'{"order":',n,',"customer":"c',n DIV 20 MOD 1000,'","note":"',REPEAT(MD5(n),5),'"}') FROM %s`,
		f.d.first, head, head, numbersFrom(from, rows))
}

// dueLater is how far ahead the delayed tasks are due, one after another.
const dueLater = 30 * dayMs

// bells writes waiting tasks: of each twenty, ten are due in a paused queue and share a bell, and ten were submitted one by one
// for a time within the next thirty days and have each a bell of their own.
func (f *filler) bells(from, rows int) string {
	d := f.d
	bell := fmt.Sprintf("%d+IF(n MOD 20<10,n-n MOD 20,n)", f.run+int64(3*d.finished))
	due := fmt.Sprintf("IF(n MOD 20<10,%d,%d+n*%d DIV %d)", d.end, d.end+dayMs, dueLater, d.waiting)
	lane := fmt.Sprintf("IF(n MOD 20<10,(SELECT MIN(id) FROM lanes WHERE queue='%s'),%s)", heldQueue, of("(CRC32(n+1) MOD 1000)", d.lanes, 600, 900))
	app := of("(CRC32(n DIV 20) MOD 1000)", d.apps, 700, 900, 990)
	x := numbersFrom(from, rows)
	return fmt.Sprintf("SET SESSION group_concat_max_len=65536; INSERT INTO tasks (id,app_id,lane_id,kind_id,state,created_at,due_at,timeout_ms,holder) SELECT %d+n,%s,%s,%d,2,%d,%s,60000,%s FROM %s;",
		d.firstWaiting, app, lane, d.kinds[0], d.end, due, bell, x) +
		fmt.Sprintf("INSERT INTO bells (id,kind,shard,lane_id,app_id,epoch,due_at,direct,n,task_ids,flow) SELECT holder,0,lane_id MOD %d,MIN(lane_id),MIN(app_id),0,MIN(due_at),0,COUNT(*),GROUP_CONCAT(id ORDER BY id),0"+
			" FROM tasks WHERE id BETWEEN %d AND %d GROUP BY holder ORDER BY holder;", task.Shards, d.firstWaiting+int64(from), d.firstWaiting+int64(from+rows)-1)
}

// sums writes the figures of the days, by the minute, hour and day, of each app and of all, by queue and by kind.
func (f *filler) sums(ctx context.Context) error {
	const hist = "x'0204040506070808060102030405 06'"
	for _, level := range []struct{ number, minutes, days int64 }{{1, 1, 8}, {2, 60, fillDays}, {3, 1440, fillDays}} {
		steps := level.days * 1440 / level.minutes
		var keys []string
		for _, app := range append([]int64{0}, f.d.apps...) {
			keys = append(keys, fmt.Sprintf("SELECT %d AS app,0 AS dim,0 AS k", app))
			for _, lane := range f.d.lanes {
				keys = append(keys, fmt.Sprintf("SELECT %d,1,%d", app, lane))
			}
			for _, kind := range f.d.kinds[:3] {
				keys = append(keys, fmt.Sprintf("SELECT %d,2,%d", app, kind))
			}
		}
		last := f.d.end / 60_000 / level.minutes * level.minutes
		if _, err := f.k.query(ctx, f.d, "INSERT INTO stat_sums SELECT app,%d,dim,%d-%d*i,k,100,96,2,5,0,2,0,%s FROM growth_numbers.nums, (%s) q WHERE i BETWEEN 1 AND %d ORDER BY 1,2,3,4,5",
			level.number, last, level.minutes, strings.ReplaceAll(hist, " ", ""), strings.Join(keys, " UNION ALL "), steps); err != nil {
			return err
		}
	}
	return nil
}

// count says 10000000 as "10 million".
func count(n int) string {
	if n >= 1_000_000 && n%100_000 == 0 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/1e6), ".0") + " million"
	}
	return bench.Grouped(int64(n))
}
