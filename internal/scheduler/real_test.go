package scheduler_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

var _ scheduler.Store = (*sqldb.Store)(nil)

// site is a database with an app and a lane.
type site struct {
	t      testing.TB
	store  *sqldb.Store
	app    int32
	lane   task.Lane
	kind   int32
	ringer *bell.Ringer // rings what is submitted; nil: the scheduler finds it
}

func newSite(t testing.TB, s *sqldb.Store) *site {
	t.Helper()
	ctx := context.Background()
	app, err := s.CreateApp(ctx, task.App{Key: "app", Name: "app", Weight: 1})
	if err != nil {
		t.Fatal(err)
	}
	lane, err := s.EnsureLane(ctx, "default", task.Normal)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := s.DeclareKinds(ctx, []string{"echo"})
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, store: s, app: app.ID, lane: lane, kind: kinds["echo"]}
}

// submit writes n plain tasks; change may alter each.
func (x *site) submit(n int, change func(*task.Submission)) []int64 {
	x.t.Helper()
	ctx := context.Background()
	body, err := task.Body{Payload: []byte(`{"hello":"world"}`)}.Encode()
	if err != nil {
		x.t.Fatal(err)
	}
	var out []int64
	for n > 0 {
		k := min(n, task.MaxFlushTasks)
		n -= k
		first, err := x.store.TaskIDs(ctx, k)
		if err != nil {
			x.t.Fatal(err)
		}
		req := &task.Request{AppID: x.app}
		for i := range k {
			sub := &task.Submission{ID: first + int64(i), AppID: x.app, LaneID: x.lane.ID, KindID: x.kind, TimeoutMs: task.DefaultTimeoutMs, Body: body}
			if change != nil {
				change(sub)
			}
			req.Tasks = append(req.Tasks, sub)
			out = append(out, sub.ID)
		}
		bells, err := x.store.Submit(ctx, []*task.Request{req})
		if err != nil {
			x.t.Fatal(err)
		}
		for i := range bells {
			if x.ringer != nil {
				x.ringer.Ring(task.Rung{Bell: bells[i]})
			}
		}
	}
	return out
}

// ended counts the tasks that are in a state: those who wait for it ask each 10 ms, so it is one statement for all.
func (x *site) ended(ids []int64, want task.State) (n int) {
	x.t.Helper()
	for part := range slices.Chunk(ids, 500) {
		list := strings.Trim(strings.ReplaceAll(fmt.Sprint(part), " ", ","), "[]")
		var found int
		if err := x.store.Reader().QueryRow(fmt.Sprintf("SELECT COUNT(*) FROM tasks WHERE state=%d AND id IN (%s)", want, list)).Scan(&found); err != nil {
			x.t.Fatalf("count tasks: %v", err)
		}
		n += found
	}
	return n
}

func (x *site) eventually(what string, within time.Duration, ok func() bool) time.Duration {
	x.t.Helper()
	begin := time.Now()
	for !ok() {
		if time.Since(begin) > within {
			x.t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// nsq is an embedded nsqd with a publisher, and a source for workers.
func nsq(t testing.TB) (*nsqbus.Publisher, *nsqbus.Source) {
	t.Helper()
	server, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	dir, err := nsqbus.NewDirectory(nsqbus.DirectoryOptions{NSQD: []string{server.TCPAddr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Close)
	codec, err := message.New([]byte("a key that only this test knows"))
	if err != nil {
		t.Fatal(err)
	}
	pub := nsqbus.NewPublisher(dir, codec, nsqbus.Options{})
	t.Cleanup(pub.Close)
	src := nsqbus.NewSource(dir, codec, nsqbus.Options{})
	t.Cleanup(src.Close)
	return pub, src
}

// run starts a scheduler and stops it with the test.
func run(t testing.TB, o scheduler.Options) *scheduler.Scheduler {
	t.Helper()
	s, err := scheduler.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// serve runs a worker that claims what it is told of and finishes it at once.
func (x *site) serve(src *nsqbus.Source) {
	x.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	id, err := x.store.NewWorker(ctx, task.WorkerInfo{Slots: 256, Kinds: []string{"echo"}})
	if err != nil {
		x.t.Fatal(err)
	}
	heard := make(chan worker.Delivery, 1000)
	in, err := src.Open(x.lane, func(d worker.Delivery) { heard <- d })
	if err != nil {
		x.t.Fatal(err)
	}
	in.SetReady(8)
	var wg sync.WaitGroup
	wg.Go(func() {
		beat := time.NewTicker(300 * time.Millisecond)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				_, _ = x.store.Beat(ctx, id, task.WorkerInfo{Slots: 256, Kinds: []string{"echo"}})
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case d := <-heard:
				x.execute(ctx, id, d)
			}
		}
	})
	x.t.Cleanup(func() { cancel(); in.Close(); wg.Wait() })
}

func (x *site) execute(ctx context.Context, id int64, d worker.Delivery) {
	got, err := x.store.Claim(ctx, task.ClaimRequest{WorkerID: id, LaneID: x.lane.ID, Bells: []int64{d.Rung().ID}, Max: 256, Kinds: []int32{x.kind}})
	if err != nil {
		d.Requeue(200)
		return
	}
	d.Finish()
	if got.ClaimID == 0 {
		return
	}
	batch := task.FinishBatch{WorkerID: id, Emptied: []int64{got.ClaimID}}
	for _, one := range got.Tasks {
		batch.Endings = append(batch.Endings, &task.Ending{TaskID: one.ID, ClaimID: got.ClaimID, AttemptID: one.AttemptID, WorkerID: id, AppID: x.app,
			LaneID: x.lane.ID, KindID: x.kind, Epoch: one.Epoch, DueAt: one.DueAt, StartedAt: got.Now, FinishedAt: got.Now,
			Outcome: task.OutcomeSucceeded, To: task.Succeeded})
	}
	if _, err := x.store.Finish(ctx, batch); err != nil && ctx.Err() == nil {
		x.t.Errorf("finish: %v", err)
	}
}

// The whole way on real parts, with two schedulers: rung, delayed, expired and rescued.
func TestOnRealParts(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		x := newSite(t, s)
		pub, src := nsq(t)
		x.serve(src)
		for range 2 {
			run(t, scheduler.Options{Store: s, Publisher: pub, Clock: s.Clock(),
				Intervals: scheduler.Intervals{DeadAfter: 1500 * time.Millisecond}})
		}

		now := x.submit(2000, nil)
		delayed := x.submit(50, func(sub *task.Submission) { sub.DelayMs = 2500 })
		x.eventually("tasks that are due succeed", 15*time.Second, func() bool { return x.ended(now[:1], task.Succeeded)+x.ended(now[1999:], task.Succeeded) == 2 })
		x.eventually("delayed tasks succeed", 10*time.Second, func() bool { return x.ended(delayed, task.Succeeded) == 50 })
		for _, id := range delayed {
			if one, err := s.State(context.Background(), 0, id); err != nil || one.StartedAt < one.DueAt || one.DueAt < one.CreatedAt+2500 {
				t.Errorf("due %d, started %d, err %v", one.DueAt, one.StartedAt, err)
			}
		}

		// A queue nobody serves: its tasks expire.
		other, err := s.EnsureLane(context.Background(), "nobody", task.Normal)
		if err != nil {
			t.Fatal(err)
		}
		expiring := x.submit(20, func(sub *task.Submission) { sub.LaneID, sub.ExpiresAt = other.ID, s.Clock().Now()+700 })
		x.eventually("tasks expire", 10*time.Second, func() bool { return x.ended(expiring, task.Failed) == 20 })

		// A worker that claims and dies.
		lost := x.submit(10, func(sub *task.Submission) { sub.LaneID = other.ID })
		dead, err := s.NewWorker(context.Background(), task.WorkerInfo{Slots: 10, Queues: []string{"nobody"}, Kinds: []string{"echo"}})
		if err != nil {
			t.Fatal(err)
		}
		bells, err := s.DueBells(context.Background(), other.ID, x.app, task.StartBell, s.Clock().Now(), task.BellAfter{}, 10)
		if err != nil || len(bells) == 0 {
			t.Fatalf("bells %v, err %v", bells, err)
		}
		var ids []int64
		for _, b := range bells {
			ids = append(ids, b.ID)
		}
		if got, err := s.Claim(context.Background(), task.ClaimRequest{WorkerID: dead, LaneID: other.ID, Bells: ids, Max: 100, Kinds: []int32{x.kind}}); err != nil || len(got.Tasks) != 10 {
			t.Fatalf("claimed %d, err %v", len(got.Tasks), err)
		}
		if n := x.ended(lost, task.Running); n != 10 {
			t.Fatalf("%d run", n)
		}
		took := x.eventually("the dead worker's tasks wait again", 10*time.Second, func() bool { return x.ended(lost, task.Waiting) == 10 })
		if took < time.Second {
			t.Errorf("declared dead after %v", took)
		}
	})
}
