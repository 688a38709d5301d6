package scheduler_test

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// A light load is picked up within a moment, at once after a backlog took the writers' credit away, and after it came back.
func TestLightLoadAfterBacklog(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		x := newSite(t, s)
		pub, src := nsq(t)
		log := slog.New(slog.DiscardHandler)
		if testing.Verbose() {
			log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		sch := run(t, scheduler.Options{Store: s, Publisher: pub, Clock: s.Clock(), Alone: true, Logger: log})
		x.eventually("ready", 5*time.Second, sch.Ready)
		x.serve(src) // after the scheduler, which declares dead who was there before
		table := bell.NewTable(s.Lanes, log)
		ringer := bell.New(bell.Options{Publisher: pub, Lanes: table, Clock: s.Clock(), Wake: sch.Wake, Logger: log})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { table.Run(ctx) })
		wg.Go(func() { ringer.Run(ctx) })
		defer wg.Wait()
		defer cancel()

		backlog := x.submit(3000, nil)
		x.eventually("the backlog is done", time.Minute, func() bool { return x.allSucceeded(backlog) })
		var ids []int64
		body, _ := task.Body{Payload: []byte("{}")}.Encode()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range 400 {
			<-tick.C
			id, err := s.TaskIDs(ctx, 1)
			if err != nil {
				t.Fatal(err)
			}
			req := &task.Request{AppID: x.app, Tasks: []*task.Submission{{ID: id, AppID: x.app, LaneID: x.lane.ID, KindID: x.kind, TimeoutMs: 1000, Body: body}}}
			bells, err := s.Submit(ctx, []*task.Request{req})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range bells {
				ringer.Ring(task.Rung{Bell: b, Items: []task.Item{{ID: id, KindID: x.kind, TimeoutMs: 1000, Body: body}}})
			}
			ids = append(ids, id)
		}
		x.eventually("all succeed", 30*time.Second, func() bool { return x.allSucceeded(ids) })
		var took []int64
		for i, id := range ids {
			one, err := s.State(ctx, 0, id)
			if err != nil || one.StartedAt == 0 {
				t.Fatalf("task %d: started %d, err %v", id, one.StartedAt, err)
			}
			took = append(took, one.StartedAt-one.DueAt)
			if testing.Verbose() && one.StartedAt-one.DueAt > 20 {
				t.Logf("task %d of 400: %d ms", i, one.StartedAt-one.DueAt)
			}
		}
		slices.Sort(took)
		t.Logf("pickup p50 %d ms, p95 %d ms, p99 %d ms, max %d ms", took[200], took[380], took[396], took[399])
		if racing {
			return
		}
		if took[200] > 50 || took[380] > 150 {
			t.Errorf("half of the tasks waited %d ms, one in twenty %d ms", took[200], took[380])
		}
	})
}

// allSucceeded asks about all only when the last ones have: asking about thousands again and again would be a load of its own.
func (x *site) allSucceeded(ids []int64) bool {
	last := ids[len(ids)-10:]
	return x.ended(last, task.Succeeded) == len(last) && x.ended(ids, task.Succeeded) == len(ids)
}
