package scheduler_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// Limits that change all the time hold all the same: the queue's is 1 to 3, those of app and key come, are paused and go. When it is
// over everything has run, and no count is off.
func TestLimitsThatChangeAllTheTime(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		g := newGround(t, s)
		ctx := context.Background()
		g.runMs, g.fails = 6, 20
		g.must(s.PutQueue(ctx, "default", task.Limits{Concurrency: 3}, false))
		ids := g.add(150, g.app, "k", "x", nil)
		ids = append(ids, g.add(150, g.app, "", "x", nil)...)
		g.workers(2, 8)
		changes, until := 0, time.Now().Add(3*time.Second)
		for tick := time.NewTicker(10 * time.Millisecond); time.Now().Before(until); changes++ {
			<-tick.C
			l := task.Limits{Concurrency: rand.IntN(4)}
			switch rand.IntN(4) {
			case 0:
				g.must(s.PutQueue(ctx, "default", task.Limits{Concurrency: 1 + rand.IntN(3)}, false))
			case 1:
				g.must(limitSetters["app"](g, l, rand.IntN(4) == 0))
			case 2:
				g.must(limitSetters["key"](g, l, rand.IntN(4) == 0))
			default:
				if err := s.DeleteLimitKey(ctx, g.app, "k"); err != nil && task.KindOf(err) != task.NotFound {
					g.must(err)
				}
			}
		}
		g.must(limitSetters["app"](g, task.Limits{Concurrency: 2}, false))
		g.must(limitSetters["key"](g, task.Limits{Concurrency: 2}, false))
		took := g.eventually("all ended", 2*time.Minute, func() bool { return g.ended(ids, task.Succeeded) == len(ids) })
		g.mu.Lock()
		t.Logf("%d changes, %d starts, at most %d at once; done %v later", changes, len(g.starts), g.most["x"], took.Round(time.Millisecond))
		if g.most["x"] > 3 {
			t.Errorf("%d ran at once, want 3 at the most", g.most["x"])
		}
		g.mu.Unlock()
		scopes := []task.LimitScope{task.QueueScope("default"), task.AppScope(g.app), task.KeyScope(g.app, task.FlowOf(g.app, "k"))}
		counts, err := s.LimitCounts(ctx, scopes)
		g.must(err)
		for _, scope := range scopes {
			if c, ok := counts[scope]; !ok || c.Running != 0 {
				t.Errorf("%s: %d hold a place, known %v", scope, c.Running, ok)
			}
		}
	})
}

// A backlog behind a rate of one a day costs next to nothing, and one of it starts.
func TestASlowRateDoesNotSpin(t *testing.T) {
	for _, kind := range []string{"sqlite", "mysql"} {
		for _, name := range []string{"queue", "key"} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				if racing {
					sqldbtest.Beside(t) // nothing is measured
				}
				g := newGround(t, sqldbtest.New(t, kind))
				g.must(limitSetters[name](g, task.Limits{RateTasks: 1, RatePerMs: task.MaxRatePerMs, RateBurst: 1}, false))
				g.add(10_000, g.app, "k", "x", nil)
				g.workers(1, 16)
				g.eventually("the first", 10*time.Second, func() bool { return g.started() == 1 })
				time.Sleep(1500 * time.Millisecond) // what was read and rung settles
				before, from := cpu(), time.Now()
				time.Sleep(time.Second)
				part := float64(cpu()-before) / float64(time.Since(from))
				t.Logf("10,000 tasks wait for a rate of 1 a day: %.1f %% of a core", 100*part)
				if part > 0.1 && !racing {
					t.Errorf("waiting takes %.1f %% of a core", 100*part)
				}
				if n := g.started(); n != 1 {
					t.Errorf("%d started, want 1", n)
				}
			})
		}
	}
}
