package cli

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or this program as the command line itself, in a terminal that a test made.
func TestMain(m *testing.M) {
	if os.Getenv("TASKWEIR_TEST_CHILD") != "" {
		os.Exit(Run(context.Background(), childDeps(), os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

func childDeps() Deps {
	d := Deps{Version: "1.2.3", Environ: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	if os.Getenv("TASKWEIR_TEST_PANIC") != "" {
		d.faulty = func() { panic("on purpose") }
	}
	return d
}

// started is top in a terminal of 80×24, its first screen shown.
func started(t *testing.T, queues int, environ ...string) (*topServer, *pty, func() int, int) {
	t.Helper()
	s, url := newTopServer(t, queues)
	p := openPTY(t, 80, 24)
	before := p.modes()
	cmd := p.child(url, environ, "top", "--interval=200ms")
	p.shows("queue-00")
	if during := p.modes(); during == before {
		t.Error("the terminal is not taken: keys would wait for Enter")
	}
	return s, p, func() int {
		code := exit(t, cmd)
		if after := p.modes(); after != before {
			t.Errorf("the terminal's modes are not what they were: %+v, were %+v", after, before)
		}
		p.until("the other screen", func(string) bool { return strings.Contains(p.written(), screenOff) && !p.full() })
		if x := p.strange(); len(x) > 0 {
			t.Errorf("sequences that no terminal need know: %q", x)
		}
		return code
	}, cmd.Process.Pid
}

func TestTopTakesKeysAndGivesTheTerminalBack(t *testing.T) {
	s, p, end, _ := started(t, 40)
	p.shows(">queue-00")
	p.shows("shell 71")
	p.press("\x1b[B") // down
	p.shows(">queue-01")
	p.press("p")
	p.shows("pause queue queue-01, for every app? [y/N]")
	p.press("n")
	p.shows("q quit")
	p.press("py")
	p.shows("queue queue-01: paused")
	p.shows(">queue-01")
	p.until("a paused queue", func(x string) bool { return strings.Contains(x, "queue-01   paused       99") })
	p.press("\x1b[F") // end
	p.shows(">queue-39")
	p.press("\t")
	p.shows(">3")
	p.press("jd")
	p.shows("drain worker 4: it finishes what it runs, and ends? [y/N]")
	p.press("y")
	p.shows("worker 4 drains")
	p.press("\t")
	p.shows(">     2")
	p.press("\x1b[Z")
	p.shows(">4")
	p.press("s")
	p.shows("BEAT▼")
	p.press("q")
	if code := end(); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.posted, " ") != "/v1/queues/queue-01/pause /v1/workers/4/drain" {
		t.Errorf("posted %q", s.posted)
	}
}

func TestTopFollowsTheTerminalsSize(t *testing.T) {
	_, p, end, _ := started(t, 40)
	p.resize(120, 40)
	p.until("40 lines", func(x string) bool { return strings.Contains(strings.Split(x, "\n")[39], "q quit") })
	p.resize(60, 12)
	p.until("12 lines", func(x string) bool { return strings.Contains(strings.Split(x, "\n")[11], "q quit") })
	p.press("\x03")
	if code := end(); code != ExitOK {
		t.Errorf("exit code %d", code)
	}

}

func TestTopGivesTheTerminalBackOnSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		_, _, end, pid := started(t, 1)
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
		if code := end(); code != ExitOK {
			t.Errorf("%v: exit code %d", s, code)
		}
	}
}

func TestTopStopsAndGoesOn(t *testing.T) {
	for name, stop := range map[string]func(p *pty, pid int){
		"ctrl-z":  func(p *pty, _ int) { p.press("\x1a") },
		"SIGTSTP": func(_ *pty, pid int) { _ = syscall.Kill(pid, syscall.SIGTSTP) },
	} {
		t.Run(name, func(t *testing.T) {
			_, p, end, pid := started(t, 1)
			raw := p.modes()
			stop(p, pid)
			stopped(t, pid)
			if p.modes() == raw {
				t.Error("the shell would get a raw terminal")
			}
			p.until("the shell's screen", func(string) bool { return strings.Contains(p.written(), screenOff) && !p.full() })
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			p.until("the screen", func(x string) bool { return p.full() && strings.Contains(x, "queue-00") })
			p.press("q")
			end()
		})
	}
}

func TestTopOutlivesAnOutage(t *testing.T) {
	s, p, end, _ := started(t, 1)
	s.mu.Lock()
	s.away = true
	s.mu.Unlock()
	p.shows("still trying: the database is gone")
	p.shows("queue-00")
	s.mu.Lock()
	s.away = false
	s.mu.Unlock()
	p.shows("100 due, 0 running")
	p.press("q")
	end()
}

// A panic anywhere ends with the terminal as it was, and says what happened.
func TestTopGivesTheTerminalBackWhenItPanics(t *testing.T) {
	_, url := newTopServer(t, 1)
	p := openPTY(t, 80, 24)
	before := p.modes()
	cmd := p.child(url, []string{"TASKWEIR_TEST_PANIC=1"}, "top", "--interval=200ms")
	if code := exit(t, cmd); code != ExitFailure {
		t.Errorf("exit code %d", code)
	}
	if after := p.modes(); after != before {
		t.Error("the terminal's modes are not what they were")
	}
	p.until("the other screen", func(string) bool { return strings.Contains(p.written(), screenOff) && !p.full() })
}

// A list on a terminal fits it, and -w redraws it in place.
func TestWatchRedrawsOnATerminal(t *testing.T) {
	s, url := newTopServer(t, 3)
	p := openPTY(t, 50, 10)
	cmd := p.child(url, nil, "queues", "list", "-w", "--interval=100ms")
	p.shows("queue-02")
	s.mu.Lock()
	s.paused["queue-01"] = true
	s.mu.Unlock()
	p.until("one paused queue, in place", func(x string) bool { return strings.Count(x, "queue-01") == 1 && strings.Count(x, "paused") == 1 })
	if err := syscall.Kill(cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := exit(t, cmd); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	if x := p.strange(); len(x) > 0 {
		t.Errorf("%q", x)
	}
}
