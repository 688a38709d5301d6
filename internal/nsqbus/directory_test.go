package nsqbus_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/nsqbus"
)

func TestLookupFindsANewNSQD(t *testing.T) {
	tcp, http := lookup(t)
	b, l := open(t, nil, []string{http}), lane()
	_, got := b.consume(t, l, 8)
	first := embedded(t, t.TempDir(), "", tcp)
	eventually(t, "the first nsqd is found", func() bool { return slices.Equal(b.dir.Addrs(), []string{first.TCPAddr()}) })
	eventually(t, "it is connected", func() bool { return b.pub.Generation() == 1 })
	b.publish(t, l, bell(l, 1))
	collect(t, got, 1, 1)

	second := embedded(t, t.TempDir(), "", tcp)
	eventually(t, "the second nsqd is connected", func() bool { return b.pub.Generation() == 2 })
	first.Close()
	for id := range int64(10) {
		b.publish(t, l, bell(l, 10+id))
	}
	collect(t, got, 10, 10) // only the second can have brought them
	if !slices.Contains(b.dir.Addrs(), second.TCPAddr()) {
		t.Errorf("known: %v", b.dir.Addrs())
	}
}

func TestSeparateLookupd(t *testing.T) {
	list := os.Getenv("TASKWEIR_TEST_LOOKUPD")
	if list == "" {
		t.Skip("TASKWEIR_TEST_LOOKUPD is not set: no separate nsqlookupd to test against")
	}
	b, l := open(t, nil, strings.Split(list, ",")), lane()
	_, got := b.consume(t, l, 8)
	eventually(t, "an nsqd is found and connected", func() bool { return b.pub.Generation() > 0 })
	b.publish(t, l, bells(l, 1, 40)...)
	collect(t, got, 1, 40)
}

// fakeLookup answers what a test says: nsqlookupd's real faults cannot be made on demand.
type fakeLookup struct {
	srv   *httptest.Server
	nodes atomic.Pointer[string] // nil: 500
	polls atomic.Int64
}

func newFakeLookup(t *testing.T, body string) *fakeLookup {
	f := &fakeLookup{}
	f.nodes.Store(&body)
	f.srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer f.polls.Add(1)
		if r.URL.Path != "/nodes" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		b := f.nodes.Load()
		if b == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, *b)
	}))
	t.Cleanup(f.srv.Close)
	return f
}

func (f *fakeLookup) say(body string) { f.nodes.Store(&body) }

func nodes(ports ...int) string {
	var list []string
	for _, p := range ports {
		list = append(list, fmt.Sprintf(`{"broadcast_address":"127.0.0.1","tcp_port":%d,"http_port":0,"topics":["x"]}`, p))
	}
	return `{"producers":[` + strings.Join(list, ",") + `]}`
}

func TestDirectoryKeepsWhatItCannotDisprove(t *testing.T) {
	a, b := newFakeLookup(t, nodes(1001)), newFakeLookup(t, nodes(1002, 70000))
	d, err := nsqbus.NewDirectory(nsqbus.DirectoryOptions{NSQD: []string{"10.0.0.1:4150"}, Lookupd: []string{a.srv.URL, b.srv.Listener.Addr().String()}, Every: 50 * time.Millisecond, Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	changed, stop := d.Subscribe()
	defer stop()
	<-d.Polled()
	all := []string{"10.0.0.1:4150", "127.0.0.1:1001", "127.0.0.1:1002"}
	if got := d.Addrs(); !slices.Equal(got, all) {
		t.Fatalf("got %v", got)
	}
	<-changed
	// One goes silent and one answers rubbish: nothing is forgotten.
	a.nodes.Store(nil)
	b.say("<html>")
	p, q := a.polls.Load(), b.polls.Load()
	eventually(t, "several polls", func() bool { return a.polls.Load() >= p+4 && b.polls.Load() >= q+4 })
	if got := d.Addrs(); !slices.Equal(got, all) {
		t.Fatalf("after faults: %v", got)
	}
	// Both are back and agree that 1001 has gone.
	a.say(nodes())
	b.say(nodes(1002))
	eventually(t, "1001 is dropped", func() bool { return slices.Equal(d.Addrs(), []string{"10.0.0.1:4150", "127.0.0.1:1002"}) })
	<-changed
}

func TestClosingIsPromptWhileAnNSQDSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	b := open(t, []string{l.Addr().String()}, nil)
	ln := lane()
	b.consume(t, ln, 1)
	first, second := <-accepted, <-accepted // publisher and source wait for an answer to IDENTIFY
	b.src.Close()
	b.pub.Close()
	// Only now the connections end, and with them the attempts that were given up.
	first.Close()
	second.Close()
}

func TestDirectoryClosesItsConnections(t *testing.T) {
	var open atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, nodes(1001)) }))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.Start()
	defer srv.Close()
	d, err := nsqbus.NewDirectory(nsqbus.DirectoryOptions{Lookupd: []string{srv.URL}, Every: time.Millisecond, Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	<-d.Polled()
	if open.Load() == 0 {
		t.Fatal("no connection is kept: the test tests nothing")
	}
	d.Close()
	eventually(t, "every connection is closed", func() bool { return open.Load() == 0 })
}
