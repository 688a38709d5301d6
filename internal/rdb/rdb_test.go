package rdb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/redisembed"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

var (
	_ worker.Live       = (*rdb.Client)(nil)
	_ control.Signals   = (*rdb.Client)(nil)
	_ scheduler.Witness = (*rdb.Client)(nil)
)

const variable = "TASKWEIR_TEST_REDIS"

func TestMain(m *testing.M) {
	if err := testkit.AtOnce(4); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// each runs f on an embedded Redis and, when there is one, on a real one.
func each(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("embedded", func(t *testing.T) {
		s, err := redisembed.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		f(t, s.URL())
	})
	t.Run("server", func(t *testing.T) {
		url := os.Getenv(variable)
		if url == "" {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not set, but CI=true asks for every suite", variable)
			}
			t.Skipf("no Redis to test on: %s is not set (make test sets it)", variable)
		}
		f(t, url)
	})
}

func open(t *testing.T, url string) *rdb.Client {
	t.Helper()
	c, err := rdb.Open(rdb.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// worker ids of tests do not meet those of other runs on a shared server
func freshID() int64 { return time.Now().UnixNano() }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > 15*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

func ids(entries []task.LiveEntry) []int64 {
	var out []int64
	for _, e := range entries {
		out = append(out, e.TaskID)
	}
	slices.Sort(out)
	return out
}

func TestLiveView(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx, w := context.Background(), freshID()
		mine, other := open(t, url), open(t, url)
		e := task.LiveEntry{TaskID: 7, AppID: 2, Epoch: 3, AttemptID: 99, Kind: "http", Queue: "mail", StartedAt: 1_700_000_000_000, Zombie: true}
		if err := mine.Enter(ctx, w, []task.LiveEntry{e, {TaskID: 8}}); err != nil {
			t.Fatal(err)
		}
		got, err := other.Running(ctx, w)
		if err != nil || !slices.Equal(ids(got), []int64{7, 8}) {
			t.Fatalf("running %v, err %v", got, err)
		}
		if !slices.Contains(got, e) {
			t.Fatalf("entry changed on the way: %+v", got)
		}
		if err := mine.Leave(ctx, w, []int64{7, 12345}); err != nil {
			t.Fatal(err)
		}
		if got, _ := other.Running(ctx, w); !slices.Equal(ids(got), []int64{8}) {
			t.Fatalf("after leaving: %v", got)
		}
		if err := mine.Leave(ctx, w, []int64{8}); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Running(ctx, w); err != nil || len(got) != 0 {
			t.Fatalf("at the end: %v %v", got, err)
		}
	})
}

// A view that outlives its process ends by itself; one whose process lives does not, however long its tasks run.
func TestLiveViewEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 20 s")
	}
	each(t, func(t *testing.T, url string) {
		t.Parallel()
		ctx, dead, alive := context.Background(), freshID(), freshID()+1
		reader, living := open(t, url), open(t, url)
		killed, err := rdb.Open(rdb.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(killed.Enter(ctx, dead, []task.LiveEntry{{TaskID: 1}}), living.Enter(ctx, alive, []task.LiveEntry{{TaskID: 2}})); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := killed.Close(); err != nil { // says goodbye to nobody
			t.Fatal(err)
		}
		for {
			got, err := reader.Running(ctx, dead)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				break
			}
			if time.Since(start) > 19*time.Second {
				t.Fatal("the entry of a dead process does not end")
			}
			time.Sleep(50 * time.Millisecond)
		}
		if d := time.Since(start); d < 10*time.Second {
			t.Fatalf("ended after %v", d)
		}
		if got, err := reader.Running(ctx, alive); err != nil || len(got) != 1 {
			t.Fatalf("the entry of a live process: %v %v", got, err)
		}
	})
}

func TestLiveViewIsBounded(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx, w := context.Background(), freshID()
		c := open(t, url)
		var entries []task.LiveEntry
		var all []int64
		for i := range int64(5000) {
			entries, all = append(entries, task.LiveEntry{TaskID: i + 1}), append(all, i+1)
		}
		if err := c.Enter(ctx, w, entries); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Running(ctx, w); err != nil || len(got) != 4096 {
			t.Fatalf("%d entries, err %v", len(got), err)
		}
		if err := c.Leave(ctx, w, all); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSignals(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx, cancel := context.WithCancel(context.Background())
		w := freshID()
		c := open(t, url)
		got := make(chan task.Signal, 100)
		var wg sync.WaitGroup
		wg.Go(func() { c.Listen(ctx, w, func(s task.Signal) { got <- s }) })
		want := task.Signal{Kind: "cancel", TaskID: 5, Epoch: 2}
		eventually(t, "a signal arrives", func() bool {
			if err := c.Signal(ctx, w, want); err != nil {
				t.Fatal(err)
			}
			select {
			case s := <-got:
				return s == want
			case <-time.After(20 * time.Millisecond):
				return false
			}
		})
		for len(got) > 0 {
			<-got
		}
		if err := c.Signal(ctx, w+1, want); err != nil {
			t.Fatal(err)
		}
		last := task.Signal{Kind: "drain"}
		if err := c.Signal(ctx, w, last); err != nil {
			t.Fatal(err)
		}
		for s := range got {
			if s == last {
				break
			}
			if s != want {
				t.Fatalf("got %+v", s)
			}
		}
		cancel()
		wg.Wait()
	})
}

func TestWitness(t *testing.T) {
	t.Parallel()
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, ctx := open(t, s.URL()), context.Background()
	if c.DatabaseSeen(ctx) {
		t.Fatal("seen before anybody said so")
	}
	if err := c.SawDatabase(ctx); err != nil {
		t.Fatal(err)
	}
	if !c.DatabaseSeen(ctx) {
		t.Fatal("not seen")
	}
	start := time.Now()
	eventually(t, "the witness is silent", func() bool { return !c.DatabaseSeen(ctx) })
	if d := time.Since(start); d < 4*time.Second || d > 8*time.Second {
		t.Fatalf("the witness was believed for %v", d)
	}
}

func TestNonces(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		ctx := context.Background()
		a, b := open(t, url).Nonces(), open(t, url).Nonces()
		nonce := fmt.Sprint("n", freshID())
		if !a.Burn(ctx, 1, nonce, time.Minute) {
			t.Fatal("a new nonce is not fresh")
		}
		if a.Burn(ctx, 1, nonce, time.Minute) || b.Burn(ctx, 1, nonce, time.Minute) {
			t.Fatal("a used nonce is fresh")
		}
		if !b.Burn(ctx, 2, nonce, time.Minute) {
			t.Fatal("another app's nonce is not fresh")
		}
		var fresh int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 20 {
			n := []*rdb.Nonces{a, b}[i%2]
			wg.Go(func() {
				if n.Burn(ctx, 3, nonce, time.Minute) {
					mu.Lock()
					fresh++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if fresh != 1 {
			t.Fatalf("fresh %d times", fresh)
		}
	})
}

// Redis stops and comes back empty on the same address: every use keeps its promise meanwhile, nobody waits, and
// everything recovers by itself.
func TestRedisGoesAndComesBack(t *testing.T) {
	t.Parallel()
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c, other := open(t, s.URL()), open(t, s.URL())
	got := make(chan task.Signal, 1000)
	var wg sync.WaitGroup
	wg.Go(func() { c.Listen(ctx, 1, func(s task.Signal) { got <- s }) })
	defer wg.Wait()
	defer cancel()
	if err := errors.Join(c.Enter(ctx, 1, []task.LiveEntry{{TaskID: 7}}), c.SawDatabase(ctx), c.Ping(ctx)); err != nil {
		t.Fatal(err)
	}
	if !c.Nonces().Burn(ctx, 1, "before", time.Minute) {
		t.Fatal("not fresh")
	}
	s.Close()

	start := time.Now()
	for range 200 {
		if c.Enter(ctx, 1, []task.LiveEntry{{TaskID: 8}}) == nil || c.Signal(ctx, 1, task.Signal{Kind: "drain"}) == nil || c.SawDatabase(ctx) == nil {
			t.Fatal("no error although Redis is gone")
		}
		if _, err := c.Running(ctx, 1); !errors.Is(err, rdb.ErrGone) {
			t.Fatalf("running: %v", err)
		}
		if c.DatabaseSeen(ctx) {
			t.Fatal("seen through a Redis that is gone")
		}
		if c.Nonces().Burn(ctx, 1, "before", time.Minute) {
			t.Fatal("a nonce of before is fresh")
		}
	}
	if d := time.Since(start); d > 1500*time.Millisecond {
		t.Fatalf("1,200 calls took %v while Redis is gone", d)
	}
	if n := c.Nonces(); !n.Burn(ctx, 1, "during", time.Minute) || n.Burn(ctx, 1, "during", time.Minute) {
		t.Fatal("process memory does not stand in for Redis")
	}
	if c.Ping(ctx) == nil {
		t.Fatal("ping answers")
	}
	if err := c.Leave(ctx, 1, []int64{7}); err == nil {
		t.Fatal("left a Redis that is gone")
	}

	back, err := s.Restart()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	eventually(t, "what runs is shown again, and only that", func() bool {
		got, err := other.Running(ctx, 1)
		return err == nil && slices.Equal(ids(got), []int64{8})
	})
	eventually(t, "signals arrive again", func() bool {
		_ = other.Signal(ctx, 1, task.Signal{Kind: "cancel", TaskID: 8})
		select {
		case <-got:
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
	eventually(t, "the witness is heard again", func() bool { return c.SawDatabase(ctx) == nil && other.DatabaseSeen(ctx) })
	if !c.Nonces().Burn(ctx, 1, "after", time.Minute) || other.Nonces().Burn(ctx, 1, "after", time.Minute) {
		t.Fatal("nonces are not shared again")
	}
}

// A server that accepts and never answers must not cost more than the short timeout.
func TestSilentServer(t *testing.T) {
	l := listenSilently(t)
	c := open(t, "redis://"+l+"/")
	start := time.Now()
	if c.SawDatabase(context.Background()) == nil {
		t.Fatal("no error")
	}
	if d := time.Since(start); d > 900*time.Millisecond {
		t.Fatalf("took %v", d)
	}
	start = time.Now()
	_ = c.SawDatabase(context.Background())
	if d := time.Since(start); d > 100*time.Millisecond {
		t.Fatalf("the second call took %v: the breaker did not open", d)
	}
}

func TestCallersEndIsNoFault(t *testing.T) {
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := open(t, s.URL())
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.SawDatabase(ended); !errors.Is(err, context.Canceled) || errors.Is(err, rdb.ErrGone) {
		t.Fatalf("got %v", err)
	}
	if err := c.SawDatabase(context.Background()); err != nil {
		t.Fatalf("the breaker opened: %v", err)
	}
}

func TestVersion(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		v, err := open(t, url).Version(context.Background())
		if err != nil || v != "embedded" && strings.Count(v, ".") < 1 {
			t.Fatalf("version %q, err %v", v, err)
		}
	})
}
