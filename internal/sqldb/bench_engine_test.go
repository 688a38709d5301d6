package sqldb_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// BenchmarkEngine compares claim + finish of 500 tasks with the yardstick: a plain INSERT of 500 rows with 200 bytes and
// one secondary index into the same database. One op is 500 tasks or rows. db-us/task is CPU of the database server.
func BenchmarkEngine(b *testing.B) {
	for _, kind := range []string{"sqlite", "mysql"} {
		b.Run(kind+"/insert", func(b *testing.B) { benchInsert(b, kind) })
		b.Run(kind+"/claim+finish", func(b *testing.B) { benchClaimFinish(b, kind) })
	}
}

func benchInsert(b *testing.B, kind string) {
	w := newWorld(b, sqldbtest.New(b, kind))
	table := "CREATE TABLE yard (id BIGINT NOT NULL PRIMARY KEY, app_id INT NOT NULL, created_at BIGINT NOT NULL, body VARBINARY(255) NOT NULL, KEY app (app_id, id)) ENGINE=InnoDB"
	if kind == "sqlite" {
		table = "CREATE TABLE yard (id INTEGER PRIMARY KEY, app_id INTEGER NOT NULL, created_at INTEGER NOT NULL, body BLOB NOT NULL)"
		w.must(w.s.Exec(w.ctx, table))
		table = "CREATE INDEX yard_app ON yard (app_id, id)"
	}
	w.must(w.s.Exec(w.ctx, table))
	body := strings.Repeat("x", 200)
	id := 0
	cpu := w.serverCPU()
	b.ReportAllocs()
	for b.Loop() {
		var q bytes.Buffer
		q.WriteString("INSERT INTO yard VALUES ")
		for i := range benchBatch {
			if i > 0 {
				q.WriteByte(',')
			}
			id++
			fmt.Fprintf(&q, "(%d,1,1700000000000,'%s')", id, body)
		}
		w.must(w.s.Exec(w.ctx, q.String()))
	}
	w.report(b, cpu)
}

func benchClaimFinish(b *testing.B, kind string) {
	w := newWorld(b, sqldbtest.New(b, kind))
	body := strings.Repeat("x", 190)
	var bells [][]int64
	more := func() {
		for range 40 {
			_, new := w.submit(benchBatch, func(_ int, sub *task.Submission, head *task.BodyHead) { sub.Body = []byte(body) })
			bells = append(bells, bellIDs(new))
		}
	}
	more()
	cpu := w.serverCPU()
	var apart time.Duration
	b.ReportAllocs()
	for b.Loop() {
		if len(bells) == 0 {
			b.StopTimer()
			before := w.serverCPU()
			more()
			apart += w.serverCPU() - before
			b.StartTimer()
		}
		c, err := w.s.Claim(w.ctx, task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bells[0], Max: benchBatch, Kinds: w.kinds})
		if err != nil || len(c.Tasks) != benchBatch {
			b.Fatalf("claim: %v, %d", err, len(c.Tasks))
		}
		bells = bells[1:]
		ends := make([]*task.Ending, benchBatch)
		all := make([]task.Ending, benchBatch)
		for i, one := range c.Tasks {
			all[i] = task.Ending{TaskID: one.ID, ClaimID: c.ClaimID, AttemptID: one.AttemptID, WorkerID: w.worker, AppID: one.AppID,
				LaneID: c.LaneID, KindID: w.kinds[0], Epoch: one.Epoch, DueAt: one.DueAt, StartedAt: c.Now, FinishedAt: c.Now + 1,
				Outcome: task.OutcomeSucceeded, To: task.Succeeded}
			ends[i] = &all[i]
		}
		if _, err := w.s.Finish(w.ctx, task.FinishBatch{WorkerID: w.worker, Endings: ends, Emptied: []int64{c.ClaimID}}); err != nil || ends[0].Final != task.Succeeded {
			b.Fatalf("finish: %v", err)
		}
	}
	w.report(b, cpu+apart)
}

func (w *world) report(b *testing.B, cpu time.Duration) {
	n := float64(b.N * benchBatch)
	b.ReportMetric(float64(b.Elapsed().Microseconds())/n, "us/task")
	if used := w.serverCPU() - cpu; used > 0 {
		b.ReportMetric(float64(used.Microseconds())/n, "db-us/task")
	}
}

// serverCPU is the CPU time of a MySQL server on this machine; 0 where it cannot be read.
func (w *world) serverCPU() time.Duration {
	if !w.s.MySQL() {
		return 0
	}
	var file string
	if w.s.DB().QueryRowContext(context.Background(), "SELECT @@pid_file").Scan(&file) != nil {
		return 0
	}
	pid, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')'):]))
	user, _ := strconv.ParseInt(f[12], 10, 64)
	system, _ := strconv.ParseInt(f[13], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
