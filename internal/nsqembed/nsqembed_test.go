package nsqembed_test

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nsqio/go-nsq"
	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/nsqembed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func TestKeepsMessagesOverARestartOnTheSameFolderAndPort(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "nsq")
	s, err := nsqembed.Start(nsqembed.Options{DataDir: dir, Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.TCPAddr()
	if host, _, err := net.SplitHostPort(addr); err != nil || host != "127.0.0.1" {
		t.Fatalf("listens on %s", addr)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("data folder: %v, %v", info, err)
	}
	publish(t, addr, "kept over a restart")
	s.Close()
	s.Close() // a second call does nothing
	if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		c.Close()
		t.Fatal("still listens after Close")
	}

	s, err = nsqembed.Start(nsqembed.Options{DataDir: dir, Addr: addr, Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := consume(t, s.TCPAddr()); got != "kept over a restart" {
		t.Fatalf("got %q", got)
	}
}

func TestRefusesAFolderInUseAndATakenPort(t *testing.T) {
	dir := t.TempDir()
	s, err := nsqembed.Start(nsqembed.Options{DataDir: dir, Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := nsqembed.Start(nsqembed.Options{DataDir: dir, Logger: quiet(t)}); err == nil {
		t.Error("started twice on one folder")
	}
	if _, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir(), Addr: s.TCPAddr(), Logger: quiet(t)}); err == nil {
		t.Error("started twice on one port")
	}
	if _, err := nsqembed.Start(nsqembed.Options{}); err == nil {
		t.Error("started without a folder")
	}
}

func TestSaysNothingInOrdinaryLife(t *testing.T) {
	var out bytes.Buffer
	s, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, s.TCPAddr(), "x")
	consume(t, s.TCPAddr())
	s.Close()
	if strings.Contains(out.String(), "level=") {
		t.Errorf("logged:\n%s", out.String())
	}
}

// Idle, nsqd with a few topics and consumers must be next to nothing: a standalone has 1 % of a core for all its parts.
func TestIdleCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for 2 s; not in -short")
	}
	s, err := nsqembed.Start(nsqembed.Options{DataDir: t.TempDir(), Logger: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, topic := range []string{"a", "b", "c"} {
		c := consumer(t, s.TCPAddr(), topic, func(*nsq.Message) error { return nil })
		defer stop(c)
	}
	runtime.GC()
	before, start := cpu(t), time.Now()
	time.Sleep(2 * time.Second) // the measurement itself: CPU time of a stretch in which nothing happens
	share := (cpu(t) - before).Seconds() / time.Since(start).Seconds()
	t.Logf("idle: %.2f %% of a core (go-nsq consumers included)", 100*share)
	if share > 0.02 {
		t.Errorf("idle nsqd uses %.2f %% of a core", 100*share)
	}
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func publish(t *testing.T, addr, body string) {
	t.Helper()
	p, err := nsq.NewProducer(addr, nsq.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	p.SetLoggerLevel(nsq.LogLevelError)
	defer p.Stop()
	if err := p.Publish("topic", []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func consume(t *testing.T, addr string) string {
	t.Helper()
	got := make(chan string, 1)
	var once atomic.Bool
	c := consumer(t, addr, "topic", func(m *nsq.Message) error {
		if once.CompareAndSwap(false, true) {
			got <- string(m.Body)
		}
		return nil
	})
	defer stop(c)
	select {
	case s := <-got:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no message within 10 s")
		return ""
	}
}

func consumer(t *testing.T, addr, topic string, h nsq.HandlerFunc) *nsq.Consumer {
	t.Helper()
	c, err := nsq.NewConsumer(topic, "channel", nsq.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	c.SetLoggerLevel(nsq.LogLevelError)
	c.AddHandler(h)
	if err := c.ConnectToNSQD(addr); err != nil {
		t.Fatal(err)
	}
	return c
}

func stop(c *nsq.Consumer) {
	c.Stop()
	<-c.StopChan
}
