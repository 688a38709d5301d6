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

		// What a busy machine cannot serve is no light load: then it is tried again, at a slower pace.
		for _, pace := range []time.Duration{5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond} {
			backlog := x.submit(3000, nil)
			x.eventually("the backlog is done", time.Minute, func() bool { return x.allSucceeded(backlog) })
			took := x.pickups(ringer, int(2*time.Second/pace), pace)
			p50, p95 := took[len(took)/2], took[len(took)*95/100]
			t.Logf("one task each %v: pickup p50 %d ms, p95 %d ms, max %d ms", pace, p50, p95, took[len(took)-1])
			if racing || p50 <= 50 && p95 <= 150 {
				return
			}
		}
		t.Error("half of the tasks should wait 50 ms at the most, 19 of 20 150 ms")
	})
}

// pickups submits n tasks, one each pace, and gives how many milliseconds each waited for its start, in order.
func (x *site) pickups(ringer *bell.Ringer, n int, pace time.Duration) (took []int64) {
	x.t.Helper()
	ctx := context.Background()
	var ids []int64
	body, _ := task.Body{Payload: []byte("{}")}.Encode()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range n {
		<-tick.C
		id, err := x.store.TaskIDs(ctx, 1)
		if err != nil {
			x.t.Fatal(err)
		}
		req := &task.Request{AppID: x.app, Tasks: []*task.Submission{{ID: id, AppID: x.app, LaneID: x.lane.ID, KindID: x.kind, TimeoutMs: 1000, Body: body}}}
		bells, err := x.store.Submit(ctx, []*task.Request{req})
		if err != nil {
			x.t.Fatal(err)
		}
		for _, b := range bells {
			ringer.Ring(task.Rung{Bell: b, Items: []task.Item{{ID: id, KindID: x.kind, TimeoutMs: 1000, Body: body}}})
		}
		ids = append(ids, id)
	}
	x.eventually("all succeed", time.Minute, func() bool { return x.allSucceeded(ids) })
	for _, id := range ids {
		one, err := x.store.State(ctx, 0, id)
		if err != nil || one.StartedAt == 0 {
			x.t.Fatalf("task %d: started %d, err %v", id, one.StartedAt, err)
		}
		took = append(took, one.StartedAt-one.DueAt)
	}
	slices.Sort(took)
	return took
}

// allSucceeded asks about all only when the last ones have: asking about thousands again and again would be a load of its own.
func (x *site) allSucceeded(ids []int64) bool {
	last := ids[len(ids)-10:]
	return x.ended(last, task.Succeeded) == len(last) && x.ended(ids, task.Succeeded) == len(ids)
}
