package nsqbus_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqlookupd"
	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/nsqbus"
	"github.com/taskweir/taskweir/internal/nsqembed"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

// nsqd asks nsqlookupd over HTTP with a client that it never closes; with both in this process its kept-alive connections
// remain. That the directory closes its own is tested by TestDirectoryClosesItsConnections.
func TestMain(m *testing.M) {
	if err := testkit.AtOnce(4); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"))
}

// patience bounds every wait for an event. It is no expectation of speed.
const patience = 20 * time.Second

func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func codec(t testing.TB) *message.Codec {
	t.Helper()
	c, err := message.New([]byte("cluster key of the tests"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// embedded starts an nsqd in this process; addr empty picks a port.
func embedded(t testing.TB, dir, addr string, lookupd ...string) *nsqembed.Server {
	t.Helper()
	s, err := nsqembed.Start(nsqembed.Options{DataDir: dir, Addr: addr, Lookupd: lookupd, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// lookup starts an nsqlookupd in this process.
func lookup(t testing.TB) (tcp, http string) {
	t.Helper()
	o := nsqlookupd.NewOptions()
	o.TCPAddress, o.HTTPAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1"
	o.LogLevel = nsqlookupd.LOG_ERROR
	o.Logger = mute{}
	l, err := nsqlookupd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.Main()
	}()
	t.Cleanup(func() {
		l.Exit()
		<-done
	})
	return l.RealTCPAddr().String(), l.RealHTTPAddr().String()
}

type mute struct{}

func (mute) Output(int, string) error { return nil }

// lane makes a lane with a topic of its own, so that suites may share a broker.
func lane() task.Lane {
	return task.Lane{ID: rand.Int32(), Queue: fmt.Sprintf("test-%08x", rand.Uint32()), Priority: task.Normal}
}

func bell(l task.Lane, id int64) task.Rung {
	return task.Rung{Bell: task.Bell{ID: id, LaneID: l.ID, AppID: 1, Epoch: 1, DueAt: 1000, TaskIDs: []int64{id * 10}},
		Items: []task.Item{{ID: id * 10, KindID: 1, TimeoutMs: 1000, Body: []byte("body")}}}
}

func bells(l task.Lane, from, n int64) []task.Rung {
	out := make([]task.Rung, n)
	for i := range out {
		out[i] = bell(l, from+int64(i))
	}
	return out
}

// bus is a directory with a publisher and a source.
type bus struct {
	dir *nsqbus.Directory
	pub *nsqbus.Publisher
	src *nsqbus.Source
}

func open(t testing.TB, nsqd, lookupd []string) bus {
	t.Helper()
	return openWith(t, nsqd, lookupd, nsqbus.Options{})
}

func openWith(t testing.TB, nsqd, lookupd []string, o nsqbus.Options) bus {
	t.Helper()
	dir, err := nsqbus.NewDirectory(nsqbus.DirectoryOptions{NSQD: nsqd, Lookupd: lookupd, Every: 200 * time.Millisecond, Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	o.Logger = logger(t)
	b := bus{dir, nsqbus.NewPublisher(dir, codec(t), o), nsqbus.NewSource(dir, codec(t), o)}
	t.Cleanup(func() {
		b.src.Close()
		b.pub.Close()
		b.dir.Close()
	})
	return b
}

func (b bus) consume(t testing.TB, l task.Lane, ready int) (worker.Inlet, <-chan worker.Delivery) {
	t.Helper()
	got := make(chan worker.Delivery, 100_000)
	in, err := b.src.Open(l, func(d worker.Delivery) { got <- d })
	if err != nil {
		t.Fatal(err)
	}
	in.SetReady(ready)
	t.Cleanup(in.Close)
	return in, got
}

func (b bus) publish(t testing.TB, l task.Lane, rungs ...task.Rung) {
	t.Helper()
	if err := b.pub.Publish(context.Background(), l, rungs); err != nil {
		t.Fatal(err)
	}
}

func next(t testing.TB, got <-chan worker.Delivery) worker.Delivery {
	t.Helper()
	select {
	case d := <-got:
		return d
	case <-time.After(patience):
		t.Fatalf("no message within %s", patience)
		return nil
	}
}

// eventually waits for a condition that has no event.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// settled waits until publishing and consuming of a lane are connected to every nsqd, by passing n bells through it.
func (b bus) warm(t testing.TB, l task.Lane, got <-chan worker.Delivery, nodes int) {
	t.Helper()
	for i := range nodes {
		b.publish(t, l, bell(l, int64(900_000+i)))
		next(t, got).Finish()
	}
}

// environments are the brokers that the conformance suite runs against.
func environments(t *testing.T, suite func(t *testing.T, nsqd []string)) {
	t.Run("embedded", func(t *testing.T) { suite(t, []string{embedded(t, t.TempDir(), "").TCPAddr()}) })
	t.Run("two embedded", func(t *testing.T) {
		suite(t, []string{embedded(t, t.TempDir(), "").TCPAddr(), embedded(t, t.TempDir(), "").TCPAddr()})
	})
	t.Run("separate processes", func(t *testing.T) {
		list := os.Getenv("TASKWEIR_TEST_NSQD")
		if list == "" {
			t.Skip("TASKWEIR_TEST_NSQD is not set: no separate nsqd to test against")
		}
		suite(t, strings.Split(list, ","))
	})
}

// proxy passes TCP connections on to target until it is cut, and counts them.
type proxy struct {
	l      net.Listener
	target string
	conns  chan net.Conn
	mute   atomic.Bool  // accept, but pass nothing on
	opened atomic.Int32 // connections to target
	ended  atomic.Int32 // … that target closed, or that were cut
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target, conns: make(chan net.Conn, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns <- c
			if p.mute.Load() {
				continue
			}
			up, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			p.conns <- up
			p.opened.Add(1)
			go pump(p, up, c)
			go func() { pump(p, c, up); p.ended.Add(1) }()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		p.cut()
	})
	return p
}

func pump(p *proxy, to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			to.Close()
			return
		}
		if p.mute.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// cut ends every connection that stands.
func (p *proxy) cut() {
	for {
		select {
		case c := <-p.conns:
			c.Close()
		default:
			return
		}
	}
}
