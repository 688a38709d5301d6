package sqldb_test

import (
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

// foldAll sums up everything before a minute and gives how many rows that took and how many had to stay.
func (w *world) foldAll(before int64) (folded, left int) {
	w.t.Helper()
	req := task.FoldRequest{Before: before, Limit: 7}
	for range 10_000 {
		r, err := w.s.FoldStats(w.ctx, req)
		w.must(err)
		folded, left = folded+r.Folded, left+r.SteppedOver
		if !r.More {
			return folded, left
		}
		req.Minute, req.App = r.Minute, r.App
	}
	w.t.Fatal("summing up does not end")
	return 0, 0
}

// stats are the figures of one query as text: at (minutes since the first), key and counters.
func (w *world) stats(q task.StatsQuery) string {
	w.t.Helper()
	got, err := w.s.Stats(w.ctx, q)
	w.must(err)
	var b strings.Builder
	for _, x := range got {
		fmt.Fprintf(&b, "%d %s %d/%d/%d/%d/%d/%d/%d w%d r%d\n", (x.At-q.From)/60_000, x.Key, x.Submitted, x.Succeeded, x.Failed, x.Retried, x.TimedOut, x.Cancelled, x.Lost, x.WaitP95, x.RunP95)
	}
	return b.String()
}

// Figures are the same before and after they are summed up, and with what comes late; at every level and along every dimension.
func TestStatsSurviveSummingUp(t *testing.T) {
	eachWorld(t, func(w *world) {
		other, err := w.s.EnsureLane(w.ctx, w.lane.Queue, task.High)
		w.must(err)
		apps := [2]task.App{}
		for i := range apps {
			apps[i], err = w.s.CreateApp(w.ctx, task.App{Key: fmt.Sprint("app", i), Name: "a", Weight: 1})
			w.must(err)
		}
		system, err := w.s.CreateApp(w.ctx, task.App{Key: task.SystemApp, Name: "s", Weight: 1})
		w.must(err)
		hour := w.now()/3_600_000*60 - 180 // minutes
		put := func(minute int64, app, lane, kind int32, writer int, n int) {
			// waiting n times in bucket 1, running n times in bucket 8
			w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO stats VALUES (%d,%d,%d,%d,%d,%d,2,3,4,5,6,7,x'020101%02x0801%02x')", minute, app, lane, kind, writer, n, n, n)))
		}
		for writer := 1; writer <= 10; writer++ {
			for m := range int64(4) {
				put(hour+58+m, apps[0].ID, w.lane.ID, w.kinds[0], writer, 1)
				put(hour+58+m, apps[0].ID, other.ID, w.kinds[1], writer, 2)
			}
			put(hour+59, apps[1].ID, w.lane.ID, w.kinds[0], writer, 5)
			put(hour+59, system.ID, w.lane.ID, w.kinds[0], writer, 100)
		}
		var queries []task.StatsQuery
		for _, app := range []int32{0, apps[0].ID, apps[1].ID, system.ID} {
			for _, step := range []int64{60_000, 120_000, 3_600_000} {
				for _, by := range []task.StatsBy{task.StatsByNothing, task.StatsByQueue, task.StatsByApp, task.StatsByKind} {
					queries = append(queries, task.StatsQuery{AppID: app, From: hour * 60_000, To: (hour + 120) * 60_000, StepMs: step, By: by})
				}
			}
		}
		before := make([]string, len(queries))
		for i, q := range queries {
			before[i] = w.stats(q)
		}
		want(t, "all by the hour", before[8], "0  110/100/150/200/250/300/350 w1 r9\n60  60/80/120/160/200/240/280 w1 r9\n")
		want(t, "by app", w.stats(task.StatsQuery{From: hour * 60_000, To: (hour + 60) * 60_000, StepMs: 3_600_000, By: task.StatsByApp}),
			"0 app0 60/80/120/160/200/240/280 w1 r9\n0 app1 50/20/30/40/50/60/70 w1 r9\n")
		folded, left := w.foldAll(hour + 60) // half of it
		want(t, "rows summed up and left", fmt.Sprint(folded, left), "60 0")
		want(t, "rows left behind", w.count("SELECT COUNT(*) FROM stats"), 40)
		for i, q := range queries {
			want(t, fmt.Sprintf("half summed up: %+v", q), w.stats(q), before[i])
		}
		w.foldAll(hour + 120)
		want(t, "rows left at the end", w.count("SELECT COUNT(*) FROM stats"), 0)
		for i, q := range queries {
			want(t, fmt.Sprintf("summed up: %+v", q), w.stats(q), before[i])
		}
		put(hour+59, apps[1].ID, w.lane.ID, w.kinds[0], 77, 1)
		want(t, "late", strings.Contains(w.stats(task.StatsQuery{AppID: apps[1].ID, From: hour * 60_000, To: (hour + 60) * 60_000, StepMs: 60_000 * 60}), "51/22/33"), true)
		w.foldAll(hour + 120)
		want(t, "late and summed up", strings.Contains(w.stats(task.StatsQuery{AppID: apps[1].ID, From: hour * 60_000, To: (hour + 60) * 60_000, StepMs: 60_000 * 60}), "51/22/33"), true)
	})
}

// A row that cannot be summed up stays, is said, and keeps nothing else from it.
func TestSummingUpStepsOverWhatFails(t *testing.T) {
	w := newWorld(t, sqldbtest.New(t, "sqlite"))
	minute := w.now()/60_000 - 10
	for m := range int64(3) {
		for writer := 1; writer <= 9; writer++ {
			w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO stats VALUES (%d,1,1,1,%d,1,0,0,0,0,0,0,x'')", minute+m, writer)))
		}
	}
	w.must(w.s.Exec(w.ctx, fmt.Sprintf("CREATE TRIGGER bad BEFORE DELETE ON stats WHEN OLD.minute=%d AND OLD.writer IN (1,5) BEGIN SELECT RAISE(ABORT,'no'); END", minute)))
	folded, left := w.foldAll(minute + 3)
	want(t, "folded and left", fmt.Sprint(folded, left), "25 2")
	want(t, "still counted once", w.stats(task.StatsQuery{AppID: 1, From: minute / 60 * 3_600_000, To: (minute/60 + 2) * 3_600_000, StepMs: 2 * 3_600_000}) != "", true)
	got, err := w.s.Stats(w.ctx, task.StatsQuery{AppID: 1, From: minute * 60_000, To: (minute + 3) * 60_000, StepMs: 60_000})
	w.must(err)
	sum := int64(0)
	for _, x := range got {
		sum += x.Submitted
	}
	want(t, "sum", sum, 27)
	w.must(w.s.Exec(w.ctx, "DROP TRIGGER bad"))
	folded, left = w.foldAll(minute + 3)
	want(t, "the next run", fmt.Sprint(folded, left), "2 0")
}

// Times of attempts are there as soon as the attempts are, and once.
func TestStatsOfWork(t *testing.T) {
	eachWorld(t, func(w *world) {
		from := w.now() / 60_000 * 60_000
		for range 3 {
			c := w.running(20, nil)
			ends := make([]*task.Ending, 20)
			for i := range ends {
				ends[i] = w.ending(c, i)
			}
			w.finish(ends)
		}
		got, err := w.s.Stats(w.ctx, task.StatsQuery{AppID: 1, From: from, To: from + 5*60_000, StepMs: 60_000, By: task.StatsByQueue})
		w.must(err)
		var done, timed int64
		for _, x := range got {
			done += x.Succeeded
			if x.WaitP95 >= 0 && x.RunP95 >= 0 {
				timed++
			}
		}
		want(t, "succeeded", done, 60)
		want(t, "steps with times", timed > 0, true)
	})
}

func TestStatsAreKeptForATime(t *testing.T) {
	eachWorld(t, func(w *world) {
		minute := w.now() / 60_000
		for _, age := range []int64{1, 7, 9, 99, 101, 799, 801} {
			for level := 1; level <= 3; level++ {
				w.must(w.s.Exec(w.ctx, fmt.Sprintf("INSERT INTO stat_sums VALUES (1,%d,0,%d,0,1,1,1,1,1,1,1,'')", level, minute-age*1440)))
			}
		}
		total := 0
		for {
			n, err := w.s.PurgeStats(w.ctx, w.now(), 2)
			w.must(err)
			if total += n; n == 0 {
				break
			}
		}
		want(t, "purged", total, 5+3+1)
		for _, x := range []struct {
			age, step int64
			ok        bool
		}{{7, 60_000, true}, {9, 60_000, false}, {9, 3_600_000, true}, {101, 3_600_000, false}, {101, 86_400_000, true}} {
			from := (minute - x.age*1440) * 60_000 / x.step * x.step
			_, err := w.s.Stats(w.ctx, task.StatsQuery{AppID: 1, From: from, To: from + x.step, StepMs: x.step})
			want(t, fmt.Sprintf("%+v", x), err == nil, x.ok)
		}
	})
}

// BenchmarkStatsOfADay measures the figures of a day, one query an op, in a database whose figures are those of 10 million tasks:
// TASKWEIR_BENCH_STATS_DAYS days (7) of 1,440 minutes, 4 apps, 4 lanes and 4 kinds each, summed up but for the last minutes, which
// 8 writers left.
func BenchmarkStatsOfADay(b *testing.B) {
	days, _ := strconv.ParseInt(os.Getenv("TASKWEIR_BENCH_STATS_DAYS"), 10, 64)
	if days == 0 {
		days = 7
	}
	for _, kind := range []string{"sqlite", "mysql"} {
		w := newWorld(b, sqldbtest.New(b, kind))
		end := w.now() / 60_000
		fillSums(w, end, days)
		for _, app := range []int32{0, 1} {
			for _, by := range []task.StatsBy{task.StatsByNothing, task.StatsByQueue, task.StatsByKind, task.StatsByApp} {
				for _, step := range []int64{60_000, 300_000, 3_600_000} {
					q := task.StatsQuery{AppID: app, From: (end/60 - 23) * 3_600_000, To: (end/60 + 1) * 3_600_000, StepMs: step, By: by}
					b.Run(fmt.Sprintf("%s/app=%d/by=%s/step=%ds", kind, app, by, step/1000), func(b *testing.B) {
						var n int
						for b.Loop() {
							got, err := w.s.Stats(context.Background(), q)
							if err != nil {
								b.Fatal(err)
							}
							n = len(got)
						}
						b.ReportMetric(float64(n), "figures")
					})
				}
			}
		}
	}
}

// fillSums writes what summing up would have.
func fillSums(w *world, end, days int64) {
	w.t.Helper()
	began := time.Now()
	const hist = "x'02140503070905020a1e060a141e0a0503'"
	var rows []string
	n := 0
	flush := func() {
		if len(rows) > 0 {
			w.must(w.s.Exec(w.ctx, "INSERT INTO stat_sums VALUES "+strings.Join(rows, ",")))
			n += len(rows)
		}
		rows = rows[:0]
	}
	for level, span := range map[int]int64{1: 1, 2: 60, 3: 1440} {
		for at := (end - days*1440) / span * span; at < end-3; at += span {
			for app := range 5 {
				for dim, keys := range []int{1, 4, 4} {
					for key := range keys {
						rows = append(rows, fmt.Sprintf("(%d,%d,%d,%d,%d,250,240,5,5,2,3,1,%s)", app, level, dim, at, key, hist))
					}
				}
			}
			if len(rows) >= 2000 {
				flush()
			}
		}
	}
	flush()
	for m := end - 3; m <= end; m++ {
		rows = rows[:0]
		for app := 1; app <= 4; app++ {
			for lane := range 4 {
				for writer := 1; writer <= 8; writer++ {
					rows = append(rows, fmt.Sprintf("(%d,%d,%d,%d,%d,2,2,0,0,0,0,0,%s)", m, app, lane, lane, writer, hist))
				}
			}
		}
		w.must(w.s.Exec(w.ctx, "INSERT INTO stats VALUES "+strings.Join(rows, ",")))
	}
	w.t.Logf("%d rows of sums in %v", n, time.Since(began).Round(time.Second))
}
