package sqldb_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// Every statement that locks or writes must reach its rows by a range, const or eq_ref access at every size of its
// tables (protocol section 3, first rule): a scan of a small table makes every claimer wait for every other. The test
// lets the real functions run and asks for the plan of each such statement at the moment before it runs.
func TestPlansOfLockingStatements(t *testing.T) {
	sqldbtest.Beside(t)
	for _, rows := range []int{10, 600, 100_000} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			sqldbtest.Beside(t)
			url := sqldbtest.URL(t, "mysql")
			s := sqldbtest.Open(t, url)
			w := newWorld(t, s)
			fill(w, rows)
			p := &plans{t: t, seen: map[string]int{}}
			sqldb.HookStatements(t, s, url, p.hook)
			for _, n := range []int{1, 3, 100, 500} {
				everyStatement(w, n)
			}
			if t.Failed() {
				return
			}
			for _, table := range []string{"tasks", "payloads", "bells", "claims", "workers", "unique_keys", "idempotency", "attempts", "results", "ends",
				"stats", "stat_sums", "bulk_operations", "audit_trail", "task_labels", "leases", "lanes", "schedules", "slots", "held_slots", "schedule_runs", "schedules_deleted", "limits", "ids"} {
				if !slices.ContainsFunc(p.shapes(), func(shape string) bool { return strings.Contains(shape, " "+table+" ") }) {
					t.Errorf("no locking statement on %s was seen", table)
				}
			}
			t.Logf("%d kinds of statements, %d plans", len(p.seen), p.total)
		})
	}
}

// plans checks plans.
type plans struct {
	t     *testing.T
	mu    sync.Mutex
	seen  map[string]int
	total int
}

func (p *plans) hook(query string, explain func() ([][2]string, error), run func() error) error {
	if !locking(query) {
		return run()
	}
	steps, err := explain()
	p.mu.Lock()
	p.seen[shape(query)]++
	p.total++
	if err != nil {
		p.t.Errorf("explain: %v: %.300s", err, query)
	}
	for _, step := range steps {
		if strings.HasPrefix(step[0], "<") || strings.HasPrefix(step[1], "No tables") {
			continue // the list itself
		}
		if step[0] == "l" && strings.Contains(query, "JSON_TABLE('[") {
			continue // the same as an array
		}
		if step[1] == "ref" && step[0] == "d" && (strings.Contains(query, "attempts d") || strings.Contains(query, "task_labels d")) {
			continue // one dive per named task, which has several rows there
		}
		if access := step[1]; !slices.Contains([]string{"range", "const", "eq_ref"}, access) && !strings.HasPrefix(access, "Impossible") &&
			!strings.HasPrefix(access, "no matching row") {
			p.t.Errorf("access %q to %s by %.300s", access, step[0], query)
		}
	}
	p.mu.Unlock()
	return run()
}

func (p *plans) shapes() (out []string) {
	for shape := range p.seen {
		out = append(out, shape)
	}
	return out
}

func locking(query string) bool {
	return strings.HasPrefix(query, "UPDATE ") || strings.HasPrefix(query, "DELETE ") ||
		strings.HasPrefix(query, "SELECT ") && (strings.Contains(query, "FOR UPDATE") || strings.Contains(query, "LOCK IN SHARE MODE"))
}

// shape is a statement without its numbers.
func shape(query string) string {
	return strings.Join(strings.FieldsFunc(query, func(r rune) bool { return r >= '0' && r <= '9' || r == ',' }), "") + " "
}

// fill gives every table that many rows that nothing touches.
func fill(w *world, rows int) {
	w.t.Helper()
	// Odd ids all over the range that the test's own rows get, so that those are scattered among them.
	for _, query := range []string{
		"CREATE TABLE digits (d INT NOT NULL PRIMARY KEY)", "INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
		"CREATE TABLE nums (i INT NOT NULL PRIMARY KEY)",
		fmt.Sprintf("INSERT INTO nums SELECT n FROM (SELECT a.d+10*b.d+100*c.d+1000*e.d+10000*f.d+1 AS n FROM digits a,digits b,digits c,digits e,digits f) x WHERE n<=%d", rows),
		"UPDATE ids SET next=10000000 WHERE name IN ('task','run','worker','schedule')",
		"INSERT INTO tasks SELECT i,1,1,1,4,0,1,0,0,0,1,1,0,1,0,0,1,4000000000000,i,0,0 FROM nums",
		"INSERT INTO payloads SELECT i,x'0100' FROM nums",
		"INSERT INTO bells SELECT i,i%2,i%16,1+i%3,1,0,4000000000000+i,0,1,'1',0 FROM nums",
		"INSERT INTO claims SELECT 1000000+i,1,1,1,1,'1' FROM nums",
		"INSERT INTO workers SELECT 1000000+i,1,4000000000000,'',1,'{}' FROM nums",
		"INSERT INTO unique_keys SELECT UNHEX(SHA2(i,256)),i,3+i%2,IF(i%2=0,4000000000000+i,0) FROM nums",
		"INSERT INTO idempotency SELECT UNHEX(SHA2(i,256)),UNHEX(SHA2(i,256)),i,NULL,4000000000000+i FROM nums",
		"INSERT INTO attempts SELECT i,1,i,1,1,1,1,1,NULL FROM nums",
		"INSERT INTO results SELECT i,1,'' FROM nums",
		"INSERT INTO ends SELECT 1+i%2,5+i%2,i,1,x'0000000000000000' FROM nums",
		"INSERT INTO stats SELECT 30000000+i,1,1,1,1,1,1,1,1,1,1,1,'' FROM nums",
		"INSERT INTO bulk_operations SELECT 10000000+i,9,1,3,0,1,1,1,1,1,1,1,4000000000000+i,'','{}' FROM nums",
		"INSERT INTO audit_trail SELECT 10000000+i,4000000000000+i,9,'a',1,'k',4,'v1','::1','a.b',i,'',NULL,NULL FROM nums",
		"INSERT INTO stat_sums SELECT 9,1+i%3,i%3,30000000+i,i,1,1,1,1,1,1,1,'' FROM nums",
		"INSERT INTO task_labels SELECT 1,'k',i,i FROM nums",
		"INSERT INTO leases SELECT CONCAT('l',i),1,1,1 FROM nums",
		"INSERT INTO lanes SELECT 1000+i,CONCAT('q',i),1,0,0,1 FROM nums WHERE i<=600",
		"INSERT INTO schedules SELECT i,1,i%16,CONCAT('f',i),1,0,4000000000000+i,0,1,1,'' FROM nums",
		"INSERT INTO slots SELECT i,0,i,i,1,i,1,4000000000000,'' FROM nums",
		"INSERT INTO held_slots SELECT i,i,0 FROM nums",
		"INSERT INTO schedule_runs SELECT i,i,2,4 FROM nums",
		"INSERT INTO limits SELECT CONCAT('k:9:',i),1,0,9,CONCAT('k',i),i,0,1,0,0,0,0,0 FROM nums",
		"INSERT INTO schedules_deleted SELECT 20000000+i FROM nums",
		"ANALYZE TABLE tasks,payloads,bells,claims,workers,unique_keys,idempotency,attempts,results,ends,stats,stat_sums,bulk_operations,audit_trail,task_labels,leases,lanes," +
			"schedules,slots,held_slots,schedule_runs,schedules_deleted,limits",
	} {
		if _, err := w.s.DB().ExecContext(w.ctx, query); err != nil {
			w.t.Fatalf("%s: %v", query, err)
		}
	}
}

// everyStatement makes the store say everything that it can say with lists of about n.
func everyStatement(w *world, n int) {
	w.t.Helper()
	w.worker = w.newWorker()
	at := w.now() + inAnHour
	extras := func(i int, sub *task.Submission, head *task.BodyHead) {
		head.UniqueKey, head.UniqueScope, head.UniqueWindowMs = fmt.Sprint(n, " ", sub.ID), task.UniqueScope(1+i%4), 1
		head.Retry = &task.RetryPolicy{Policy: "fixed", BaseMs: 1, CapMs: 1, Max: 1}
		sub.Flags |= task.HasLabels
		sub.Labels = []task.Label{{Key: "a", Value: "b"}}
	}
	expiring := func(i int, sub *task.Submission, head *task.BodyHead) {
		extras(i, sub, head)
		sub.ExpiresAt = at + int64(i)%5
	}
	late, _ := w.submit(n, expiring)
	idem := &task.Idempotency{Key: [32]byte{byte(n), byte(n >> 8)}, First: true}
	for range 2 { // the second is a replay
		subs := w.subs(n, extras)
		idem.ItemIDs = nil
		w.must2(w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Idem: idem, Tasks: subs}}))
	}
	for _, conflict := range []task.UniqueConflict{task.OnConflictReject, task.OnConflictReplace} {
		var subs []*task.Submission
		for range 2 {
			next := w.subs(n, func(i int, _ *task.Submission, head *task.BodyHead) {
				head.UniqueKey, head.UniqueScope = fmt.Sprint(n, conflict, i), task.ScopeUntilFinished
			})
			for _, sub := range next {
				sub.Unique.OnConflict = conflict
			}
			w.must2(w.s.Submit(w.ctx, []*task.Request{{AppID: 1, Tasks: next}}))
			subs = append(subs, next...)
		}
		w.must2(w.s.Cancel(w.ctx, 1, subs[0].ID))
	}
	ids, bells := w.submit(n, extras)
	w.must2(w.s.Cancel(w.ctx, 1, ids[0]))
	first := w.claim(max(1, n/2), bellIDs(bells)...) // part-taken, with a dead listing
	won := []task.Claimed{first, w.claim(n, bellIDs(bells)...), w.running(n, extras), w.running(n, extras)}
	for round, c := range won {
		finishAll(w, c, round)
	}
	c := w.running(n, extras)
	w.must2(w.s.Release(w.ctx, c.ClaimID, idsOf(c)[:max(1, n/3)], task.CauseReleased))
	w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost))
	one := w.running(1, extras)
	w.must(w.s.MarkZombie(w.ctx, w.worker, one.Tasks[0].ID, 1, true))
	w.must2(w.s.Cancel(w.ctx, 1, one.Tasks[0].ID))
	w.must2(w.s.Abandon(w.ctx, 1, one.Tasks[0].ID))
	w.must2(w.s.Reopen(w.ctx, 1, one.Tasks[0].ID, true))
	w.must2(w.s.RunNow(w.ctx, 1, one.Tasks[0].ID))
	at = w.letExpire(at, at+4)
	ended := 0
	for more := true; more; {
		k, m, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
		w.must(err)
		ended, more = ended+k, m
	}
	want(w.t, "expired", ended, n)
	awaited := w.running(n, func(i int, sub *task.Submission, head *task.BodyHead) {
		extras(i, sub, head)
		sub.Flags |= task.HasCompletion
		head.CompletionURL = "http://x.test"
	})
	ends := make([]*task.Ending, len(awaited.Tasks))
	for i := range ends {
		e := w.ending(awaited, i)
		e.Outcome, e.To, e.Await, e.RetryAt, e.Flags = task.OutcomeNone, task.Waiting, true, w.now()+1+int64(i)%2, task.HasUnique|task.HasCompletion
		ends[i] = e
	}
	w.finish(ends, awaited.ClaimID)
	for i, outcome := range []task.Outcome{task.OutcomeSucceeded, task.OutcomeFailed} {
		if i < n {
			_, err := w.s.Complete(w.ctx, 1, task.Completion{TaskID: ends[i].TaskID, Epoch: 1, Outcome: outcome, Result: []byte("1")})
			if err != nil && task.KindOf(err) != task.Conflict { // its time may be over
				w.must(err)
			}
		}
	}
	if n > 2 {
		w.must2(w.s.Cancel(w.ctx, 1, ends[2].TaskID))
	}
	for more := true; more; {
		_, m, err := w.s.Expire(w.ctx, task.ShardOf(w.lane.ID), 10)
		w.must(err)
		more = m || w.count("SELECT COUNT(*) FROM bells WHERE kind=3 AND n=1 AND id=?", w.row(ends[n-1].TaskID).holder) > 0
	}
	postponed := w.running(n, extras)
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE tasks SET epoch=60 WHERE id IN (%s)", strings.Trim(strings.ReplaceAll(fmt.Sprint(idsOf(postponed)), " ", ","), "[]"))))
	ends = ends[:0]
	for i := range postponed.Tasks {
		e := w.ending(postponed, i)
		e.Epoch, e.Outcome, e.To, e.RetryAt = 60, task.OutcomeSnoozed, task.Waiting, at+3_600_000
		ends = append(ends, e)
	}
	w.finish(ends, postponed.ClaimID)
	limitEverything(w, n)
	breakSome(w, n)
	for from := late[0]; from != 0; {
		rep, err := w.s.Purge(w.ctx, task.PurgeRequest{FromID: from, SucceededBefore: at + 60_000, OthersBefore: at + 60_000, Limit: max(n, 30)})
		w.must(err)
		from = rep.NextID
	}
	w.must2(w.s.PurgeKeys(w.ctx, w.now()+2*86_400_000, n))
	housekeeping(w, n)
	everyScheduleStatement(w, n)
}

func idsOf(c task.Claimed) []int64 { return ids(c) }

// limitEverything sets, changes and uses limits of every kind.
func limitEverything(w *world, n int) {
	keyed := func(i int, sub *task.Submission, head *task.BodyHead) { head.LimitKey = fmt.Sprint("key ", i%20) }
	before := w.running(n, keyed)
	w.must(w.s.PutQueue(w.ctx, "default", task.Limits{Concurrency: 3 * n}, false))
	w.must(w.s.LimitApp(w.ctx, task.App{ID: 1, Limits: task.Limits{Concurrency: 3 * n, RateTasks: 1_000_000, RatePerMs: 1000, RateBurst: 1_000_000}}))
	for i := range 20 {
		w.must2(w.s.PutLimitKey(w.ctx, 1, fmt.Sprint("key ", i), task.Limits{Concurrency: 2 * n}, false))
	}
	c := w.running(n, keyed)
	finishAll(w, before, 1)
	w.must2(w.s.Release(w.ctx, c.ClaimID, idsOf(c)[:max(1, n/3)], task.CauseReleased))
	w.must2(w.s.Release(w.ctx, c.ClaimID, nil, task.CauseLost))
	for _, k := range []task.LimitScope{task.QueueScope("default"), task.AppScope(1), task.KeyScope(1, task.FlowOf(1, "key 0"))} {
		w.must(w.s.Exec(w.ctx, "UPDATE limits SET running=running+1 WHERE k='"+string(k)+"'"))
	}
	mended, next := 0, task.LimitScope("")
	for more := true; more; more = next != "" {
		n, at, err := w.s.AuditLimits(w.ctx, next, 50_000)
		w.must(err)
		mended, next = mended+n, at
	}
	want(w.t, "mended limits", mended, 3)
	want(w.t, "running by the limits", w.count("SELECT SUM(running) FROM limits WHERE app_id<2"), 0)
	w.must(w.s.SetQueuePaused(w.ctx, "default", true))
	w.must(w.s.PutQueue(w.ctx, "default", task.Limits{}, false))
	w.must(w.s.LimitApp(w.ctx, task.App{ID: 1}))
	for i := range 20 {
		w.must(w.s.DeleteLimitKey(w.ctx, 1, fmt.Sprint("key ", i)))
	}
	w.must2(w.s.PurgeKeys(w.ctx, w.now()+86_400_000, 100))
	want(w.t, "limits left", w.count("SELECT COUNT(*) FROM limits WHERE app_id<2"), 0)
}

// finishAll ends a claim: in round 0 plainly, later in every way.
func finishAll(w *world, c task.Claimed, round int) {
	w.t.Helper()
	var ends []*task.Ending
	for i := range c.Tasks {
		e := w.ending(c, i)
		e.Flags |= task.HasUnique
		if round > 0 {
			switch i % 4 {
			case 0:
				e.Result, e.Log = []byte("1"), []byte("log")
			case 1:
				e.Outcome, e.To, e.RetryAt = task.OutcomeFailed, task.Waiting, w.now()+int64(i)
			case 2:
				e.Outcome, e.To, e.Reason = task.OutcomeTimedOut, task.Failed, task.Exhausted
			}
		}
		ends = append(ends, e)
	}
	if round == 2 {
		w.must2(w.s.Cancel(w.ctx, 1, ends[len(ends)-1].TaskID))
		ends[0].Epoch++ // fenced
	}
	w.finish(ends, c.ClaimID)
}

// breakSome damages rows for the audit.
func breakSome(w *world, n int) {
	w.t.Helper()
	c := w.running(n, nil)
	wait, bells := w.submit(n, nil)
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM claims WHERE id=%d", c.ClaimID)))
	for _, b := range bells {
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("DELETE FROM bells WHERE id=%d", b.ID)))
	}
	for range 3 {
		w.must2(first2(w.s.Audit(w.ctx, c.Tasks[0].ID, wait[n-1])))
	}
}

func first2[A, B any](a A, _ B, err error) (A, error) { return a, err }

// housekeeping is what is left.
func housekeeping(w *world, n int) {
	w.t.Helper()
	w.must2(w.s.Beat(w.ctx, w.worker, task.WorkerInfo{}))
	w.must2(w.s.DeclareGone(w.ctx, w.worker, 1))
	w.must(w.s.DrainWorker(w.ctx, w.worker))
	w.must(w.s.RetireWorker(w.ctx, w.worker))
	w.must2(first2(w.s.Lease(w.ctx, fmt.Sprint("lease ", n%7), 1, time.Second)))
	w.must2(first2(w.s.Lease(w.ctx, fmt.Sprint("lease ", n%7), 2, time.Second)))
	w.must(w.s.GiveUpLease(w.ctx, fmt.Sprint("lease ", n%7), 1))
	w.must(w.s.TuneLane(w.ctx, w.lane.ID, 5, 100))
	minute := w.now()/60_000 - int64(n)
	for i := range min(n, 20) {
		w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO stats VALUES (%d,1,1,%d,%d,1,1,1,1,1,1,1,x'02000100010001')", minute, i%2, i+1)))
	}
	w.must2(w.s.FoldStats(w.ctx, task.FoldRequest{Before: minute + 1, Limit: n}))
	w.must2(w.s.PurgeStats(w.ctx, w.now()+900*86_400_000, n))
	w.submit(n, nil)
	for _, action := range []task.BulkAction{task.BulkCancel, task.BulkRetry, task.BulkCancel, task.BulkDelete} {
		op := w.bulk(action, task.BulkFilter{From: w.now() - 60_000}, false)
		w.must2(w.s.StepBulk(w.ctx, op.ID, n))
		w.must2(w.s.StopBulk(w.ctx, 1, op.ID))
		w.must2(w.s.StepBulk(w.ctx, op.ID, n))
	}
	w.must2(w.s.PurgeBulks(w.ctx, w.now()+1, n))
	for range n {
		w.must(w.s.WriteAudit(w.ctx, &task.AuditEntry{Action: "a.b", Target: "t"}))
	}
	w.must2(w.s.PurgeAudit(w.ctx, w.now()+1, n))
	w.must(w.s.SetQueuePaused(w.ctx, "default", n%2 == 0))
	w.must(w.s.SetQueuePaused(w.ctx, "default", false))
	if n == 500 {
		w.must2(w.s.DeclareAllGone(w.ctx))
	}
}
