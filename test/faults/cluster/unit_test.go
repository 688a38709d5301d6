package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// shell is a unit that is a script.
func shell(t *testing.T, script string, hurt bool) *Unit {
	t.Helper()
	began := time.Now()
	u := &Unit{Name: "worker1", Role: Worker, now: func() time.Duration { return time.Since(began) }, hurt: func() bool { return hurt }}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); u.close() })
	dir := t.TempDir()
	up := filepath.Join(dir, "up")
	if err := u.supervise(ctx, testkit.Spec{Name: "worker1", Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"UP=" + up}, Log: filepath.Join(dir, "log"),
		StopWait: time.Second, Ready: func(context.Context) error { _, err := os.Stat(up); return err }}); err != nil {
		t.Fatal(err)
	}
	return u
}

func ready(t *testing.T, u *Unit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := u.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

const forever = "touch $UP; exec sleep 300"

func TestUnitThatIsHeldDownIsStartedAfterwardsAndWasNoSurprise(t *testing.T) {
	u := shell(t, forever, false)
	ready(t, u)
	first, wiped := u.PID(), false
	u.wipe = func() error {
		wiped = !u.proc.Running()
		return nil
	}
	if err := u.Lose(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !wiped {
		t.Error("its disk was not lost, or while it ran")
	}
	time.Sleep(2 * startAgainAfter)
	if u.proc.Running() {
		t.Fatal("a process that is held down was started")
	}
	u.Up()
	ready(t, u)
	lives := u.Lives()
	if len(lives) != 2 || lives[0].PID != first || lives[1].PID == first || lives[0].Ended == 0 || lives[1].Started < lives[0].Ended || lives[1].Ended != 0 {
		t.Errorf("lives: %+v", lives)
	}
	if s := u.Surprises(); len(s) != 0 {
		t.Errorf("surprises: %v", s)
	}
}

func TestUnitThatEndsByItselfIsASurpriseUnlessExcused(t *testing.T) {
	u := shell(t, forever, false)
	ready(t, u)
	again := func() {
		t.Helper()
		starts := u.Starts()
		if err := syscall.Kill(u.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := u.awaitIn(ctx, func() bool { return len(u.starts) > starts }); err != nil {
			t.Fatal(err)
		}
		ready(t, u)
	}
	done := u.Excuse()
	again()
	done()
	if s := u.Surprises(); len(s) != 0 {
		t.Fatalf("an excused end is a surprise: %v", s)
	}
	again()
	if s := u.Surprises(); len(s) != 1 || s[0].Code != -1 || s[0].Unit != "worker1" {
		t.Fatalf("surprises: %v", s)
	}
}

func TestStartThatFailsIsASurpriseUnlessSomethingIsHurt(t *testing.T) {
	for _, hurt := range []bool{true, false} {
		u := shell(t, "echo no database; exit 3", hurt)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := u.awaitIn(ctx, func() bool { return len(u.starts) > 2 }); err != nil {
			t.Fatal(err)
		}
		cancel()
		if s := u.Surprises(); (len(s) == 0) != hurt || !hurt && (s[0].Code != 3 || !strings.HasPrefix(s[0].Log, "no database")) {
			t.Errorf("hurt %v: %v", hurt, s)
		}
	}
}

func TestUnitThatIgnoresSIGTERMIsReportedAndKilled(t *testing.T) {
	u := shell(t, "trap '' TERM; touch $UP; while :; do sleep 1; done", false)
	ready(t, u)
	if err := u.Down(t.Context(), syscall.SIGTERM); err == nil {
		t.Fatal("it did not end within StopWait, and nobody said so")
	}
	if u.proc.Running() {
		t.Fatal("it still runs")
	}
}

func TestFrozenUnitIsSeenAndCanBeKilled(t *testing.T) {
	u := shell(t, forever, false)
	ready(t, u)
	frozen := func(want bool) {
		t.Helper()
		for range 500 {
			if u.Frozen() == want {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("frozen: %v", !want)
	}
	must(t, u.Freeze())
	frozen(true)
	must(t, u.Thaw())
	frozen(false)
	must(t, u.Freeze())
	must(t, u.Down(t.Context(), syscall.SIGKILL))
	must(t, u.Thaw()) // of a process that is gone
}

func TestReadyWaitsNoLongerThanItsContext(t *testing.T) {
	u := shell(t, "exec sleep 300", false)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := u.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
