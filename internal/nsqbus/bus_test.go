package nsqbus_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

func TestDeliversBellsWhole(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		_, got := b.consume(t, l, 8)
		b.publish(t, l, bell(l, 5))
		d := next(t, got)
		r := d.Rung()
		if r.ID != 5 || r.LaneID != l.ID || r.AppID != 1 || r.Epoch != 1 || len(r.TaskIDs) != 1 || len(r.Items) != 1 ||
			string(r.Items[0].Body) != "body" || d.Attempts() != 1 {
			t.Fatalf("got %+v, attempt %d", r, d.Attempts())
		}
		d.Finish()
	})
}

func TestWhatWasPublishedBeforeTheFirstConsumerWaits(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		b.publish(t, l, bells(l, 1, 10)...)
		_, got := b.consume(t, l, 8)
		collect(t, got, 1, 10)
	})
}

// collect takes n deliveries, finishes them and checks that every bell from..from+n-1 came.
func collect(t testing.TB, got <-chan worker.Delivery, from, n int64) {
	t.Helper()
	seen := map[int64]bool{}
	for int64(len(seen)) < n {
		d := next(t, got)
		if id := d.Rung().ID; id >= from && id < from+n {
			seen[id] = true
		}
		d.Finish()
	}
}

func TestBatchesOfAnySizeArriveWhole(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		_, got := b.consume(t, l, 64)
		b.publish(t, l, bells(l, 1, 3_000)...)
		collect(t, got, 1, 3_000)
		// More than 1 MiB, so more than one MPUB.
		large := bells(l, 10_000, 20)
		for i := range large {
			for j := range int64(60) {
				large[i].TaskIDs = append(large[i].TaskIDs, j)
				large[i].Items = append(large[i].Items, task.Item{ID: j, Body: make([]byte, task.MaxInlineBody)})
			}
		}
		b.publish(t, l, large...)
		collect(t, got, 10_000, 20)
	})
}

func TestRequeueComesBackAfterItsDelay(t *testing.T) {
	t.Parallel()
	environments(t, func(t *testing.T, nsqd []string) {
		t.Parallel()
		b, l := open(t, nsqd, nil), lane()
		_, got := b.consume(t, l, 1)
		b.publish(t, l, bell(l, 1))
		d := next(t, got)
		at := time.Now()
		d.Requeue(200)
		d.Finish() // a second answer does nothing
		again := next(t, got)
		if waited := time.Since(at); waited < 190*time.Millisecond {
			t.Errorf("back after %s", waited)
		}
		if again.Attempts() != 2 || again.Rung().ID != 1 {
			t.Errorf("attempt %d of bell %d", again.Attempts(), again.Rung().ID)
		}
		again.Finish()
	})
}

func TestReadyZeroHoldsBackAndMoreLetsGo(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		in, got := b.consume(t, l, 8)
		b.warm(t, l, got, 2*len(nsqd)) // connected to all
		in.SetReady(0)
		// RDY is written behind SetReady; a message may pass until it arrives. From then on none does.
		eventually(t, "messages are held back", func() bool {
			b.publish(t, l, bell(l, 1))
			select {
			case d := <-got:
				d.Finish()
				return false
			case <-time.After(100 * time.Millisecond):
				return true
			}
		})
		b.publish(t, l, bells(l, 50, 20)...)
		select {
		case d := <-got:
			t.Fatalf("bell %d came although nothing was ready", d.Rung().ID)
		case <-time.After(200 * time.Millisecond):
		}
		in.SetReady(3)
		collect(t, got, 50, 20)
	})
}

func TestNoMoreInFlightThanReady(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		ready := 4 * len(nsqd)
		in, got := b.consume(t, l, 64)
		b.warm(t, l, got, 2*len(nsqd))
		in.SetReady(ready) // lowered: go-nsq's own consumer would keep the larger shares of several connections
		b.warm(t, l, got, 4*len(nsqd))
		time.Sleep(50 * time.Millisecond) // RDY has no answer to wait for
		b.publish(t, l, bells(l, 1, 200)...)
		open := 0
		var held []worker.Delivery
		for quiet := false; !quiet; {
			select {
			case d := <-got:
				held = append(held, d)
				open++
			case <-time.After(300 * time.Millisecond):
				quiet = true
			}
		}
		if open > ready || open < len(nsqd) {
			t.Errorf("%d in flight, ready was %d", open, ready)
		}
		for _, d := range held {
			d.Finish()
		}
	})
}

func TestReadyIsAtLeastTheNumberOfConnections(t *testing.T) {
	a, z := embedded(t, t.TempDir(), "").TCPAddr(), embedded(t, t.TempDir(), "").TCPAddr()
	b, l := open(t, []string{a, z}, nil), lane()
	in, got := b.consume(t, l, 0)
	in.SetReady(1)
	// One bell on each nsqd, none answered: both come, although one was asked for.
	only(t, a, l, b)
	only(t, z, l, b)
	first, second := next(t, got), next(t, got)
	first.Finish()
	second.Finish()
}

// only publishes a bell through a publisher that knows one nsqd.
func only(t *testing.T, addr string, l task.Lane, _ bus) {
	t.Helper()
	one := open(t, []string{addr}, nil)
	one.publish(t, l, bell(l, 77))
}

func TestCloseHandsBackWhatWasNotAnswered(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		in, got := b.consume(t, l, 4)
		b.publish(t, l, bell(l, 1))
		d := next(t, got)
		in.Close()
		at := time.Now()
		_, other := b.consume(t, l, 4)
		again := next(t, other)
		if waited := time.Since(at); waited > 5*time.Second {
			t.Errorf("came back after %s: by nsqd's timeout", waited)
		}
		again.Finish()
		d.Finish() // late answers do nothing and do not block
	})
}

func TestReconnectGoesOn(t *testing.T) {
	t.Parallel()
	environments(t, func(t *testing.T, nsqd []string) {
		t.Parallel()
		b, l := open(t, nsqd, nil), lane()
		in, got := b.consume(t, l, 8)
		b.warm(t, l, got, 1)
		for i := range int64(3) {
			in.Reconnect()
			b.publish(t, l, bell(l, 10+i))
			collect(t, got, 10+i, 1)
		}
	})
}

func TestNSQDRestarts(t *testing.T) {
	dir := t.TempDir()
	server := embedded(t, dir, "")
	addr := server.TCPAddr()
	b, l := open(t, []string{addr}, nil), lane()
	_, got := b.consume(t, l, 8)
	b.warm(t, l, got, 1)
	before := b.pub.Generation()
	b.publish(t, l, bell(l, 2))
	held := next(t, got) // unanswered while the broker goes
	server.Close()
	eventually(t, "the loss is noticed", func() bool { return b.pub.Generation() > before })
	if err := b.pub.Publish(context.Background(), l, bells(l, 3, 1)); err == nil {
		t.Fatal("published without a broker")
	}
	if err := b.pub.Reachable(context.Background()); !errors.Is(err, nsqbus.ErrUnreachable) {
		t.Fatalf("Reachable without a broker: %v", err)
	}
	lost := b.pub.Generation()

	embedded(t, dir, addr)
	eventually(t, "the publisher is connected again", func() bool { return b.pub.Reachable(context.Background()) == nil })
	if b.pub.Generation() <= lost {
		t.Error("a new connection did not raise the generation")
	}
	b.publish(t, l, bell(l, 4))
	collect(t, got, 4, 1)
	held.Finish()
}

func TestTwoNSQDsShareAndOneTakesOver(t *testing.T) {
	stays, goes := embedded(t, t.TempDir(), ""), embedded(t, t.TempDir(), "")
	b, l := open(t, []string{stays.TCPAddr(), goes.TCPAddr()}, nil), lane()
	eventually(t, "both are connected", func() bool { return b.pub.Generation() == 2 })
	for id := range int64(20) {
		b.publish(t, l, bell(l, id+1))
	}
	if n := count(t, stays.TCPAddr(), l, b); n != 10 {
		t.Errorf("one of two nsqds got %d of 20 bells", n)
	}
	goes.Close()
	for id := range int64(50) {
		if err := b.pub.Publish(context.Background(), l, bells(l, 100+id, 1)); err != nil {
			t.Fatalf("with one nsqd of two: %v", err)
		}
	}
}

// count consumes from one nsqd only until it is empty.
func count(t *testing.T, addr string, l task.Lane, _ bus) (n int) {
	t.Helper()
	one := open(t, []string{addr}, nil)
	_, got := one.consume(t, l, 8)
	for {
		select {
		case d := <-got:
			d.Finish()
			n++
		case <-time.After(500 * time.Millisecond):
			return n
		}
	}
}

func TestConnectionsCutWhilePublishing(t *testing.T) {
	p := newProxy(t, embedded(t, t.TempDir(), "").TCPAddr())
	b, l := open(t, []string{p.addr()}, nil), lane()
	_, got := b.consume(t, l, 16)
	b.warm(t, l, got, 1)
	var wg sync.WaitGroup
	for i := range int64(4) {
		wg.Go(func() {
			for j := range int64(200) {
				_ = b.pub.Publish(context.Background(), l, bells(l, 1+i*200+j, 1)) // errors are the point
			}
		})
	}
	for range 5 {
		p.cut()
		eventually(t, "connected again", func() bool { return b.pub.Reachable(context.Background()) == nil })
	}
	wg.Wait()
	eventually(t, "connected again", func() bool { return b.pub.Reachable(context.Background()) == nil })
	b.publish(t, l, bell(l, 5_000))
	for next := next(t, got); ; next = nextOf(t, got) {
		next.Finish()
		if next.Rung().ID == 5_000 {
			return
		}
	}
}

func nextOf(t *testing.T, got <-chan worker.Delivery) worker.Delivery { return next(t, got) }

func TestASilentNSQDIsPassedOver(t *testing.T) {
	silent := newProxy(t, embedded(t, t.TempDir(), "").TCPAddr())
	good := embedded(t, t.TempDir(), "")
	b, l := open(t, []string{silent.addr(), good.TCPAddr()}, nil), lane()
	eventually(t, "both are connected", func() bool { return b.pub.Generation() == 2 })
	silent.mute.Store(true)
	for id := range int64(4) {
		at := time.Now()
		if err := b.pub.Publish(context.Background(), l, bells(l, 1+id, 1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(at); took > 2500*time.Millisecond {
			t.Errorf("publish took %s", took)
		}
	}
	silent.cut()
}

func TestUnknownAndForgedMessages(t *testing.T) {
	addr := embedded(t, t.TempDir(), "").TCPAddr()
	b, l := open(t, []string{addr}, nil), lane()
	_, got := b.consume(t, l, 8)
	cfg := nsq.NewConfig()
	p, err := nsq.NewProducer(addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.SetLoggerLevel(nsq.LogLevelError)
	defer p.Stop()
	good, err := codec(t).Encode(l, bell(l, 8))
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte{}, good...)
	forged[len(forged)-1] ^= 1
	other := l
	other.ID++
	wrongLane, err := codec(t).Encode(other, bell(other, 9))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{{0xEE, 1, 2}, []byte("\x01junk"), wrongLane, forged, good} {
		if err := p.Publish(l.Topic(), raw); err != nil {
			t.Fatal(err)
		}
	}
	first, second := next(t, got), next(t, got)
	if first.Rung().Items != nil || first.Rung().ID != 8 {
		t.Errorf("forged: %+v", first.Rung())
	}
	if len(second.Rung().Items) != 1 {
		t.Errorf("good: %+v", second.Rung())
	}
	first.Finish()
	second.Finish()
	select {
	case d := <-got:
		t.Errorf("also got %+v", d.Rung())
	case <-time.After(300 * time.Millisecond):
	}
}

func TestClosedSourceAndWrongNames(t *testing.T) {
	b := open(t, []string{"127.0.0.1:1"}, nil)
	if _, err := b.src.Open(task.Lane{Queue: "no spaces allowed"}, nil); err == nil {
		t.Error("opened a lane whose name is not a topic")
	}
	b.src.Close()
	if _, err := b.src.Open(lane(), nil); err == nil {
		t.Error("opened a lane of a closed source")
	}
	for _, o := range []nsqbus.DirectoryOptions{{}, {NSQD: []string{"no port"}}, {Lookupd: []string{"ftp://x:1"}}, {Lookupd: []string{"://"}}} {
		if d, err := nsqbus.NewDirectory(o); err == nil {
			d.Close()
			t.Errorf("took %+v", o)
		}
	}
}

func TestUnreachableIsToldAtOnce(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	b, l := open(t, []string{addr}, nil), lane()
	if err := b.pub.Publish(context.Background(), l, bells(l, 1, 1)); !errors.Is(err, nsqbus.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	at := time.Now()
	_ = b.pub.Publish(context.Background(), l, bells(l, 1, 1))
	if took := time.Since(at); took > 500*time.Millisecond {
		t.Errorf("took %s", took)
	}
}
