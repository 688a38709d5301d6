package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
)

// BenchmarkFire measures one transaction that fires the next slot of 500 schedules: without a look at what still runs
// (allow), and with it (skip, whose slots are skipped after the first). One op is 500 slots.
func BenchmarkFire(b *testing.B) {
	for _, kind := range []string{"sqlite", "mysql"} {
		for _, o := range []schedule.Overlap{schedule.Allow, schedule.Skip} {
			b.Run(fmt.Sprint(kind, "/", o), func(b *testing.B) {
				w := newWorld(b, sqldbtest.New(b, kind))
				rules := w.rules(benchBatch, overlap(o))
				cpu := w.serverCPU()
				b.ReportAllocs()
				for b.Loop() {
					w.fireAll(rules)
				}
				n := float64(b.N * benchBatch)
				b.ReportMetric(n/b.Elapsed().Seconds(), "slots/s")
				if used := w.serverCPU() - cpu; used > 0 {
					b.ReportMetric(float64(used.Microseconds())/n, "db-us/slot")
				}
			})
		}
	}
}

// BenchmarkDueSchedules measures the question of each second while 100,000 schedules sleep, and while 500 of them are due.
func BenchmarkDueSchedules(b *testing.B) {
	shards := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	for _, kind := range []string{"sqlite", "mysql"} {
		for _, due := range []int{0, 500} {
			b.Run(fmt.Sprint(kind, "/", due), func(b *testing.B) {
				w := newWorld(b, sqldbtest.New(b, kind))
				for range 100 {
					w.rules(1000, nil)
				}
				w.must(w.s.Exec(w.ctx, "UPDATE schedules SET next_at=4000000000000+id"))
				w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE schedules SET next_at=id WHERE id<%d", int(schedule.FirstBackfill)+due)))
				cpu := w.serverCPU()
				b.ReportAllocs()
				for b.Loop() {
					rows, err := w.s.DueSchedules(w.ctx, shards, w.now()+schedule.LookAheadMs, 500)
					if err != nil || len(rows) != due {
						b.Fatalf("%d due, %v", len(rows), err)
					}
				}
				if used := w.serverCPU() - cpu; used > 0 {
					b.ReportMetric(float64(used.Microseconds())/float64(b.N), "db-us/op")
				}
			})
		}
	}
}
