package modelcheck_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxTasks bounds the tasks of a scenario.
const maxTasks = 3

// past stands for every instant that is over. The clock of a run stands still: instants are kept relative to it, none as 0,
// what is over as past, what is ahead in ms. So time can pass without a clock, and states that differ only in when they
// were reached are one.
const past = -1

// idList is the ids of a bell or claim.
type idList [maxTasks]int64

func (l idList) has(id int64) bool { return slices.Contains(l[:], id) }

func (l idList) text() string {
	var out []string
	for _, id := range l {
		if id != 0 {
			out = append(out, strconv.FormatInt(id, 10))
		}
	}
	return strings.Join(out, ",")
}

func parseList(text string) (l idList, err error) {
	for i, part := range strings.Split(text, ",") {
		if i == maxTasks {
			return l, fmt.Errorf("more than %d ids in %q", maxTasks, text)
		}
		if l[i], err = strconv.ParseInt(part, 10, 64); err != nil {
			return l, err
		}
	}
	return l, nil
}

type taskRow struct {
	id, state, reason, epoch, failures, losses, flags, due, expires int64
	holder, worker, started, finished, attempt, cancel              int64
}

type bellRow struct {
	id, kind, epoch, due, direct, flow, n int64
	tasks                                 idList
}

type claimRow struct {
	id, worker, n int64
	tasks         idList
}

type workerRow struct{ id, state int64 }

type keyRow struct {
	k                    string
	task, scope, expires int64
}

type idemRow struct {
	k, request string
	task       int64
}

type attemptRow struct {
	task, epoch, id, outcome, finished int64
	detail                             string
}

type resultRow struct {
	task, epoch int64
	body        string
}

type endRow struct{ state, id int64 }

type limitRow struct {
	k       string
	running int64
	max     int64
}

// rows is everything in the database that the transition functions read, but what never changes within a scenario (lanes, kinds,
// payloads, versions) and the counters, which are compared after every call and then forgotten.
type rows struct {
	tasks    []taskRow
	bells    []bellRow
	claims   []claimRow
	workers  []workerRow
	keys     []keyRow
	idems    []idemRow
	attempts []attemptRow
	results  []resultRow
	ends     []endRow
	limits   []limitRow

	key string // the encoding of the whole; set by canonical
}

func (d *rows) task(id int64) *taskRow {
	for i := range d.tasks {
		if d.tasks[i].id == id {
			return &d.tasks[i]
		}
	}
	return nil
}

func (d *rows) bell(id int64) *bellRow {
	for i := range d.bells {
		if d.bells[i].id == id {
			return &d.bells[i]
		}
	}
	return nil
}

func (d *rows) claim(id int64) *claimRow {
	for i := range d.claims {
		if d.claims[i].id == id {
			return &d.claims[i]
		}
	}
	return nil
}

func (d *rows) worker(id int64) *workerRow {
	for i := range d.workers {
		if d.workers[i].id == id {
			return &d.workers[i]
		}
	}
	return nil
}

// counters are the sums of stats since the rows were put in place.
type counters struct{ submitted, succeeded, failed, retried, timedOut, cancelled, lost int64 }

// clone copies the rows, so that they can be renamed.
func (d *rows) clone() *rows {
	return &rows{slices.Clone(d.tasks), slices.Clone(d.bells), slices.Clone(d.claims), slices.Clone(d.workers), slices.Clone(d.keys),
		slices.Clone(d.idems), slices.Clone(d.attempts), slices.Clone(d.results), slices.Clone(d.ends), slices.Clone(d.limits), ""}
}

// String shows the rows for people, one a line.
func (d *rows) String() string {
	var b strings.Builder
	for _, t := range d.tasks {
		fmt.Fprintf(&b, "    task %d %s epoch %d holder %d worker %d failures %d losses %d flags %#x due %s", t.id, stateNames[t.state], t.epoch,
			t.holder, t.worker, t.failures, t.losses, t.flags, instant(t.due))
		if t.expires != 0 {
			fmt.Fprintf(&b, " expires %s", instant(t.expires))
		}
		if t.cancel != 0 {
			b.WriteString(" cancel asked")
		}
		if t.reason != 0 {
			fmt.Fprintf(&b, " reason %d", t.reason)
		}
		b.WriteString("\n")
	}
	for _, r := range d.bells {
		fmt.Fprintf(&b, "    bell %d kind %d epoch %d due %s lists %s\n", r.id, r.kind, r.epoch, instant(r.due), r.tasks.text())
	}
	for _, r := range d.claims {
		fmt.Fprintf(&b, "    claim %d of worker %d lists %s\n", r.id, r.worker, r.tasks.text())
	}
	for _, r := range d.workers {
		fmt.Fprintf(&b, "    worker %d state %d\n", r.id, r.state)
	}
	for _, r := range d.keys {
		fmt.Fprintf(&b, "    unique key of task %d scope %d until %s\n", r.task, r.scope, instant(r.expires))
	}
	for _, r := range d.attempts {
		fmt.Fprintf(&b, "    attempt of task %d epoch %d outcome %d\n", r.task, r.epoch, r.outcome)
	}
	for _, r := range d.limits {
		fmt.Fprintf(&b, "    limit %s running %d of %d\n", r.k, r.running, r.max)
	}
	return b.String()
}

var stateNames = [...]string{"none", "blocked", "waiting", "running", "succeeded", "failed", "cancelled"}

func instant(at int64) string {
	switch at {
	case 0:
		return "none"
	case past:
		return "past"
	}
	return fmt.Sprintf("in %d ms", at)
}

// table reads and writes rows of one table.
type table struct {
	read  string
	scan  func(d *rows, r *sql.Rows, w *world) error
	write func(b *strings.Builder, d *rows, w *world)
	same  func(a, b *rows) bool
}

// tables are those that the checker puts in place before a call and reads after it.
var tables = []table{
	{
		"SELECT id,state,reason,epoch,failures,losses,flags,due_at,expires_at,holder,worker_id,started_at,finished_at,attempt_id,cancel_at FROM tasks ORDER BY id",
		func(d *rows, r *sql.Rows, w *world) error {
			var t taskRow
			err := r.Scan(&t.id, &t.state, &t.reason, &t.epoch, &t.failures, &t.losses, &t.flags, &t.due, &t.expires, &t.holder, &t.worker,
				&t.started, &t.finished, &t.attempt, &t.cancel)
			t.due, t.expires = w.relative(t.due), w.relative(t.expires)
			t.started, t.finished, t.cancel = happened(t.started), happened(t.finished), happened(t.cancel)
			d.tasks = append(d.tasks, t)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM tasks;DELETE FROM payloads;")
			for _, t := range d.tasks {
				at := w.now - 1000
				fmt.Fprintf(b, "INSERT INTO tasks VALUES (%d,1,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,1000,%d,%d,%d,%d,%d,%d,0);", t.id, w.lane, w.kind, t.state,
					t.reason, t.epoch, t.failures, t.losses, t.flags, at, w.absolute(t.due), w.expiry(t.expires), t.holder, t.worker,
					w.absolute(t.started), w.absolute(t.finished), t.attempt, w.absolute(t.cancel))
				fmt.Fprintf(b, "INSERT INTO payloads VALUES (%d,x'%x');", t.id, w.body(t.id))
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.tasks, b.tasks) },
	},
	{
		"SELECT id,kind,epoch,due_at,direct,flow,n,task_ids FROM bells ORDER BY id",
		func(d *rows, r *sql.Rows, w *world) error {
			var x bellRow
			var list string
			if err := r.Scan(&x.id, &x.kind, &x.epoch, &x.due, &x.direct, &x.flow, &x.n, &list); err != nil {
				return err
			}
			var err error
			x.due = w.relative(x.due)
			x.tasks, err = parseList(list)
			d.bells = append(d.bells, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM bells;")
			for _, x := range d.bells {
				fmt.Fprintf(b, "INSERT INTO bells (id,kind,shard,lane_id,app_id,epoch,due_at,direct,n,task_ids,flow) VALUES (%d,%d,%d,%d,1,%d,%d,%d,%d,'%s',%d);",
					x.id, x.kind, w.shard, w.lane, x.epoch, w.absolute(x.due), x.direct, x.n, x.tasks.text(), x.flow)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.bells, b.bells) },
	},
	{
		"SELECT id,worker_id,n,task_ids FROM claims ORDER BY id",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x claimRow
			var list string
			if err := r.Scan(&x.id, &x.worker, &x.n, &list); err != nil {
				return err
			}
			var err error
			x.tasks, err = parseList(list)
			d.claims = append(d.claims, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM claims;")
			for _, x := range d.claims {
				fmt.Fprintf(b, "INSERT INTO claims VALUES (%d,%d,%d,%d,%d,'%s');", x.id, x.worker, w.lane, w.now-1000, x.n, x.tasks.text())
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.claims, b.claims) },
	},
	{
		"SELECT id,state FROM workers ORDER BY id",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x workerRow
			err := r.Scan(&x.id, &x.state)
			d.workers = append(d.workers, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM workers;")
			for _, x := range d.workers {
				fmt.Fprintf(b, "INSERT INTO workers VALUES (%d,%d,%d,'model',8,'{}');", x.id, x.state, w.now-1000)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.workers, b.workers) },
	},
	{
		"SELECT hex(k),task_id,scope,expires_at FROM unique_keys ORDER BY k",
		func(d *rows, r *sql.Rows, w *world) error {
			var x keyRow
			err := r.Scan(&x.k, &x.task, &x.scope, &x.expires)
			x.expires = w.relative(x.expires)
			d.keys = append(d.keys, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM unique_keys;")
			for _, x := range d.keys {
				fmt.Fprintf(b, "INSERT INTO unique_keys VALUES (x'%s',%d,%d,%d);", x.k, x.task, x.scope, w.absolute(x.expires))
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.keys, b.keys) },
	},
	{
		"SELECT hex(k),hex(request),task_id FROM idempotency ORDER BY k",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x idemRow
			err := r.Scan(&x.k, &x.request, &x.task)
			d.idems = append(d.idems, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM idempotency;")
			for _, x := range d.idems {
				fmt.Fprintf(b, "INSERT INTO idempotency VALUES (x'%s',x'%s',%d,NULL,%d);", x.k, x.request, x.task, w.now+86_400_000)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.idems, b.idems) },
	},
	{
		"SELECT task_id,epoch,id,outcome,finished_at,COALESCE(hex(detail),'') FROM attempts ORDER BY task_id,epoch",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x attemptRow
			err := r.Scan(&x.task, &x.epoch, &x.id, &x.outcome, &x.finished, &x.detail)
			x.finished = happened(x.finished)
			d.attempts = append(d.attempts, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM attempts;")
			for _, x := range d.attempts {
				detail := "NULL"
				if x.detail != "" {
					detail = "x'" + x.detail + "'"
				}
				fmt.Fprintf(b, "INSERT INTO attempts VALUES (%d,%d,%d,1,%d,%d,%d,0,%s);", x.task, x.epoch, x.id, w.now-1000, w.absolute(x.finished), x.outcome, detail)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.attempts, b.attempts) },
	},
	{
		"SELECT id,epoch,hex(body) FROM results ORDER BY id",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x resultRow
			err := r.Scan(&x.task, &x.epoch, &x.body)
			d.results = append(d.results, x)
			return err
		},
		func(b *strings.Builder, d *rows, _ *world) {
			b.WriteString("DELETE FROM results;")
			for _, x := range d.results {
				fmt.Fprintf(b, "INSERT INTO results VALUES (%d,%d,x'%s');", x.task, x.epoch, x.body)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.results, b.results) },
	},
	{
		"SELECT state,id FROM ends ORDER BY state,id",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x endRow
			err := r.Scan(&x.state, &x.id)
			d.ends = append(d.ends, x)
			return err
		},
		func(b *strings.Builder, d *rows, w *world) {
			b.WriteString("DELETE FROM ends;")
			for _, x := range d.ends {
				fmt.Fprintf(b, "INSERT INTO ends VALUES (1,%d,%d,%d,x'0000000000000000');", x.state, x.id, w.now-1000)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.ends, b.ends) },
	},
	{
		"SELECT k,running,max FROM limits ORDER BY k",
		func(d *rows, r *sql.Rows, _ *world) error {
			var x limitRow
			err := r.Scan(&x.k, &x.running, &x.max)
			d.limits = append(d.limits, x)
			return err
		},
		func(b *strings.Builder, d *rows, _ *world) { // the rows themselves are the scenario's
			for _, x := range d.limits {
				fmt.Fprintf(b, "UPDATE limits SET running=%d WHERE k='%s';", x.running, x.k)
			}
		},
		func(a, b *rows) bool { return slices.Equal(a.limits, b.limits) },
	},
}

// happened keeps of an instant only whether it happened.
func happened(at int64) int64 {
	if at == 0 {
		return 0
	}
	return past
}

func (w *world) relative(at int64) int64 {
	switch {
	case at == 0:
		return 0
	case at <= w.now:
		return past
	}
	return at - w.now
}

func (w *world) absolute(at int64) int64 {
	switch at {
	case 0:
		return 0
	case past:
		return w.now - 1000
	}
	return w.now + at
}

// expiry is absolute for the expiry of a task: what is over is over for longer than an expire bell is kept for the sake of clocks that
// differ. There is one clock here, and the bell is gone as early as it ever is while a task runs, which is the harder case.
func (w *world) expiry(at int64) int64 {
	if at == past {
		return w.now - 60_000
	}
	return w.absolute(at)
}

// restore puts rows in place of what is there, table by table where they differ.
func (w *world) restore(d *rows) error {
	var b strings.Builder
	b.WriteString("BEGIN IMMEDIATE;")
	if w.plant != nil { // what is planted must not touch what is put in place
		b.WriteString("DROP TRIGGER IF EXISTS planted;DROP TRIGGER IF EXISTS planted2;")
	}
	b.WriteString("DELETE FROM stats;")
	for _, t := range tables {
		if w.there == nil || !t.same(w.there, d) {
			t.write(&b, d, w)
		}
	}
	if w.plant != nil {
		b.WriteString(w.plant.sql)
		b.WriteString(";")
	}
	b.WriteString("COMMIT;")
	w.there = nil
	if _, err := w.raw.ExecContext(context.Background(), b.String()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// dump reads what is there, and the counters.
func (w *world) dump() (*rows, counters, error) {
	d := &rows{}
	if _, err := w.begin.Exec(); err != nil { // one look, and one lock
		return nil, counters{}, err
	}
	defer w.commit.Exec() //nolint:errcheck // it only read
	for i, t := range tables {
		r, err := w.reads[i].Query()
		if err != nil {
			return nil, counters{}, err
		}
		for r.Next() {
			if err := t.scan(d, r, w); err != nil {
				r.Close()
				return nil, counters{}, fmt.Errorf("%s: %w", t.read, err)
			}
		}
		r.Close()
		if err := r.Err(); err != nil {
			return nil, counters{}, err
		}
	}
	var c counters
	err := w.sums.QueryRow().Scan(&c.submitted, &c.succeeded, &c.failed, &c.retried, &c.timedOut, &c.cancelled, &c.lost)
	return d, c, err
}

const sumsSQL = "SELECT COALESCE(SUM(submitted),0),COALESCE(SUM(succeeded),0),COALESCE(SUM(failed),0),COALESCE(SUM(retried),0)," +
	"COALESCE(SUM(timed_out),0),COALESCE(SUM(cancelled),0),COALESCE(SUM(lost),0) FROM stats"
