package nsqbus_test

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	ringing "github.com/taskweir/taskweir/internal/bell"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

type hostClock struct{}

func (hostClock) NowMicros() int64           { return time.Now().UnixMicro() }
func (hostClock) Uncertainty() time.Duration { return 20 * time.Microsecond }

// From the ringer's heap through nsqd to the handler: none early, the first within a few ms, all in the time that passing
// them takes.
func TestInstantAndSpreadDelaysThroughTheBus(t *testing.T) {
	b, l := open(t, []string{embedded(t, t.TempDir(), "").TCPAddr()}, nil), lane()
	l.Credit = 1000
	table := ringing.NewTable(nil, nil)
	table.Add(l)
	ringer := ringing.New(ringing.Options{Publisher: b.pub, Lanes: table, Clock: hostClock{}, Logger: logger(t)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ringer.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()

	var mu sync.Mutex
	var late []time.Duration
	all := make(chan struct{}, 1)
	want := 0
	in, err := b.src.Open(l, func(d worker.Delivery) {
		at := time.Since(time.UnixMilli(d.Rung().DueAt))
		go d.Finish()
		mu.Lock()
		defer mu.Unlock()
		if late = append(late, at); len(late) == want {
			all <- struct{}{}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	in.SetReady(64)
	run := func(name string, n int, due func(i int) int64) {
		mu.Lock()
		late, want = nil, n
		mu.Unlock()
		for i := range n {
			r := bell1(l, int64(i+1), due(i))
			ringer.Ring(r)
		}
		select {
		case <-all:
		case <-time.After(patience):
			t.Fatalf("%s: bells are missing", name)
		}
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(late)
		t.Logf("%s: first %s late, p50 %s, p99 %s, last %s", name, late[0], late[n/2], late[n*99/100], late[n-1])
		if late[0] < 0 {
			t.Errorf("%s: %s early", name, -late[0])
		}
	}
	for up := false; !up; time.Sleep(5 * time.Millisecond) { // until everything is connected
		ringer.Ring(bell1(l, 1, time.Now().UnixMilli()))
		mu.Lock()
		up = len(late) > 0
		mu.Unlock()
	}
	time.Sleep(100 * time.Millisecond) // the rest of those
	at := time.Now().UnixMilli() + 500
	run("10,000 at one instant", 10_000, func(int) int64 { return at })
	from := time.Now().UnixMilli() + 100
	run("200 a second", 400, func(i int) int64 { return from + int64(i)*5 })
}

func bell1(l task.Lane, id, due int64) task.Rung {
	r := bell(l, id)
	r.DueAt, r.Direct = due, true
	return r
}

// Idle, the whole bus of a standalone (embedded nsqd, publisher, three lanes) must be next to nothing.
func TestIdleCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for 3 s; not in -short")
	}
	b := open(t, []string{embedded(t, t.TempDir(), "").TCPAddr()}, nil)
	for range 3 {
		l := lane()
		_, got := b.consume(t, l, 8)
		b.warm(t, l, got, 1)
	}
	time.Sleep(200 * time.Millisecond)
	before, start := cpu(t), time.Now()
	time.Sleep(3 * time.Second) // the measurement itself
	share := (cpu(t) - before).Seconds() / time.Since(start).Seconds()
	t.Logf("idle: %.2f %% of a core", 100*share)
	if share > 0.02 { // the budget of all parts is 1 %; tests share the machine
		t.Errorf("idle bus uses %.2f %% of a core", 100*share)
	}
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
