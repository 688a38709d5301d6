package network

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo answers every line with itself. It counts the connections that it was given.
func echo(t *testing.T) (addr string, accepted chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted = make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
			go func() {
				in := bufio.NewReader(c)
				for {
					line, err := in.ReadString('\n')
					if err != nil {
						c.Close()
						return
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	return l.Addr().String(), accepted
}

func connect(t *testing.T) (*Link, chan net.Conn) {
	t.Helper()
	addr, accepted := echo(t)
	n := New()
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	l, err := n.Connect("worker1", "mariadb", addr)
	if err != nil {
		t.Fatal(err)
	}
	if n.Find("worker1→mariadb") != l || n.Find("worker1→redis") != nil {
		t.Fatal("a link is not found by its name")
	}
	return l, accepted
}

func dial(t *testing.T, l *Link) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c)}
}

type client struct {
	net.Conn
	in *bufio.Reader
}

// says sends a line and tells how long its echo took.
func (c *client) says(within time.Duration) (time.Duration, error) {
	began := time.Now()
	if _, err := c.Write([]byte("hello\n")); err != nil {
		return 0, err
	}
	if err := c.SetReadDeadline(began.Add(within)); err != nil {
		return 0, err
	}
	_, err := c.in.ReadString('\n')
	return time.Since(began), err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDelayedLinkIsLateAndWellAfterwards(t *testing.T) {
	l, _ := connect(t)
	c := dial(t, l)
	if _, err := c.says(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	must(t, l.Delay(t.Context(), time.Second))
	took, err := c.says(5 * time.Second)
	if err != nil || took < 1400*time.Millisecond { // 2 × 1 s, less a quarter, and some
		t.Fatalf("over a delayed link the answer took %v: %v", took, err)
	}
	must(t, l.Heal(t.Context()))
	if took, err := c.says(5 * time.Second); err != nil || took > 1400*time.Millisecond {
		t.Fatalf("over the healed link the answer took %v: %v", took, err)
	}
}

func TestCutLinkRefusesUntilItIsHealed(t *testing.T) {
	l, _ := connect(t)
	c := dial(t, l)
	if _, err := c.says(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	must(t, l.Cut(t.Context()))
	if _, err := c.says(5 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a connection survived the cut:", err)
	}
	if again, err := net.Dial("tcp", l.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal("a cut link accepts:", again, err)
	}
	must(t, l.Heal(t.Context()))
	if _, err := dial(t, l).says(5 * time.Second); err != nil {
		t.Fatal("after healing:", err)
	}
}

func TestSilentLinkStaysOpenAndClosesWhenHealed(t *testing.T) {
	for _, d := range Directions() {
		l, accepted := connect(t)
		c := dial(t, l)
		if _, err := c.says(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		must(t, l.Silence(t.Context(), d))
		if _, err := c.says(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: a silent link says: %v", d, err)
		}
		if _, err := dial(t, l).says(100 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: a new connection over a silent link says: %v", d, err)
		}
		if len(accepted) != 2 {
			t.Fatalf("%s: the server has %d connections", d, len(accepted))
		}
		must(t, l.Heal(t.Context()))
		if _, err := c.says(5 * time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: bytes were lost and the connection goes on: %v", d, err)
		}
		if _, err := dial(t, l).says(5 * time.Second); err != nil {
			t.Fatalf("%s: after healing: %v", d, err)
		}
	}
}

func TestSlowlyClosedLinkTellsTheOtherSideLate(t *testing.T) {
	l, accepted := connect(t)
	c := dial(t, l)
	if _, err := c.says(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	must(t, l.SlowClose(t.Context(), 300*time.Millisecond))
	closed := time.Now()
	server.Close()
	must(t, c.SetReadDeadline(closed.Add(5*time.Second)))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the close did not arrive:", err)
	}
	if took := time.Since(closed); took < 250*time.Millisecond {
		t.Fatalf("the close arrived after %v", took)
	}
	must(t, l.Heal(t.Context()))
}

func TestStuckChangeIsReported(t *testing.T) {
	l, _ := connect(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l.mu.Lock() // as a change that does not come back
	err := l.Cut(ctx)
	l.mu.Unlock()
	if !errors.Is(err, ErrStuck) {
		t.Fatal(err)
	}
}
