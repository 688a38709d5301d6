package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/test/faults/history"
)

const (
	startAgainAfter = 300 * time.Millisecond // as a service manager would wait
	readyEvery      = 50 * time.Millisecond
)

// Unit is a process that is started again whenever it ends, unless it is held down.
type Unit struct {
	Name string
	Role Role

	proc  *testkit.Process
	ready func(context.Context) error
	wipe  func() error // what a loss of its machine takes away; nil: nothing
	now   func() time.Duration
	hurt  func() bool // something is or was just hurt, so that a start may fail

	faults string // where its failpoints are controlled; empty: it has none

	ctx   context.Context
	ended chan struct{} // the supervisor has ended

	mu        sync.Mutex
	held      int           // reasons to stay down
	excused   int           // reasons to end by itself
	change    chan struct{} // closed and replaced when one of these changes
	down      bool          // it has ended and is not being started again
	up        bool          // it was ready since it was started
	starts    []history.Process
	surprises []Surprise
}

// Surprise is an end of a process that nobody caused.
type Surprise struct {
	Unit string
	At   time.Duration
	Code int    // exit code; -1: a signal
	Log  string // the end of it
}

// String is one line and the end of the log.
func (s Surprise) String() string {
	return fmt.Sprintf("%s ended by itself at %v with exit code %d\n%s", s.Unit, s.At.Round(time.Millisecond), s.Code, s.Log)
}

// supervise starts the process for the first time and keeps it running until ctx ends.
func (u *Unit) supervise(ctx context.Context, spec testkit.Spec) error {
	u.ready, spec.Ready = spec.Ready, nil
	u.ctx, u.ended, u.change = ctx, make(chan struct{}), make(chan struct{})
	began := u.now()
	var err error
	if u.proc, err = testkit.Start(ctx, spec); err != nil {
		return err
	}
	u.adopt(began)
	go u.keep()
	return nil
}

// take lets a unit that was started elsewhere be kept running: testkit's servers know themselves how they are ready.
func (u *Unit) take(ctx context.Context, p *testkit.Process, ready func(context.Context) error) {
	u.ctx, u.ended, u.change, u.proc, u.ready = ctx, make(chan struct{}), make(chan struct{}), p, ready
	u.adopt(u.now())
	go u.keep()
}

// keep starts the process again whenever it has ended.
func (u *Unit) keep() {
	defer close(u.ended)
	for {
		watch, stop := context.WithCancel(u.ctx)
		watched := make(chan struct{})
		go func() { defer close(watched); u.watch(watch) }()
		select {
		case <-u.proc.Done():
		case <-u.ctx.Done():
		}
		stop()
		<-watched
		if u.ctx.Err() != nil {
			return
		}
		u.bury()
		if !u.revive() {
			return
		}
	}
}

// watch notes when the process is ready.
func (u *Unit) watch(ctx context.Context) {
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := u.ready(try)
		cancel()
		if err == nil {
			u.set(func() { u.up = true })
			return
		}
		sleep(ctx, readyEvery)
	}
}

// bury notes an end, and whether it was a surprise. A process that was never ready may end while something is hurt.
func (u *Unit) bury() {
	at := u.now()
	u.set(func() {
		u.starts[len(u.starts)-1].Ended = at
		wasUp := u.up
		u.up, u.down = false, true
		if u.held > 0 || u.excused > 0 || (!wasUp && u.hurt()) {
			return
		}
		u.surprises = append(u.surprises, Surprise{u.Name, at, u.proc.ExitCode(), u.proc.Tail(2000)})
	})
}

// revive starts the process again as soon as nothing holds it down. It reports false when the cluster ends.
func (u *Unit) revive() bool {
	for {
		sleep(u.ctx, startAgainAfter)
		if u.awaitIn(u.ctx, u.mayStart) != nil || u.ctx.Err() != nil {
			return false
		}
		began := u.now()
		if err := u.proc.Restart(u.ctx); err != nil {
			u.set(func() { u.down = true })
			continue
		}
		u.adopt(began)
		if u.isHeld() {
			u.proc.Kill() // it was held down in that moment
		}
		return true
	}
}

// mayStart decides, under the lock, that the process is started now.
func (u *Unit) mayStart() bool {
	if u.held > 0 {
		return false
	}
	u.down = false
	return true
}

func (u *Unit) isHeld() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.held > 0
}

func (u *Unit) adopt(began time.Duration) {
	u.set(func() {
		u.starts = append(u.starts, history.Process{Name: u.Name, Role: string(u.Role), PID: u.proc.PID(), Started: began})
	})
}

// set changes what is guarded and tells whoever waits.
func (u *Unit) set(do func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	do()
	close(u.change)
	u.change = make(chan struct{})
}

func (u *Unit) awaitIn(ctx context.Context, holds func() bool) error {
	for {
		u.mu.Lock()
		ok, change := holds(), u.change
		u.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Down ends the process by a signal and keeps it down until Up. With SIGTERM it may take its time, though not more than it
// promises. It may be called for a process that is frozen, with SIGKILL.
func (u *Unit) Down(ctx context.Context, signal syscall.Signal) error {
	u.set(func() { u.held++ })
	var slow error
	if signal == syscall.SIGTERM {
		slow = u.proc.Stop(ctx)
	}
	u.proc.Kill()
	return errors.Join(slow, u.awaitIn(ctx, func() bool { return u.down }))
}

// Lose is Down with SIGKILL, and with everything gone that was on the process's disk.
func (u *Unit) Lose(ctx context.Context) error {
	if err := u.Down(ctx, syscall.SIGKILL); err != nil || u.wipe == nil {
		return err
	}
	return u.wipe()
}

// Up lets a process that is Down be started again, at once. Ready waits for it.
func (u *Unit) Up() { u.set(func() { u.held-- }) }

// Ready waits until the process as last started is ready.
func (u *Unit) Ready(ctx context.Context) error {
	if err := u.awaitIn(ctx, func() bool { return u.up && u.held == 0 }); err != nil {
		return fmt.Errorf("%s is not ready: %w\n%s", u.Name, err, u.proc.Tail(2000))
	}
	return nil
}

// Restarted waits until the process was started more often than starts times.
func (u *Unit) Restarted(ctx context.Context, starts int) error {
	return u.awaitIn(ctx, func() bool { return len(u.starts) > starts })
}

// Excuse says that the process may end by itself until the function is called that Excuse gives.
func (u *Unit) Excuse() (done func()) {
	u.set(func() { u.excused++ })
	return func() { u.set(func() { u.excused-- }) }
}

// Freeze stops the process where it is (SIGSTOP).
func (u *Unit) Freeze() error { return u.proc.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on (SIGCONT).
func (u *Unit) Thaw() error {
	if !u.proc.Running() {
		return nil
	}
	return u.proc.Signal(syscall.SIGCONT)
}

// Frozen reports whether the process is stopped by a signal.
func (u *Unit) Frozen() bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", u.PID()))
	if err != nil {
		return false
	}
	_, rest, found := strings.Cut(string(raw), ") ")
	return found && (rest[0] == 'T' || rest[0] == 't')
}

// Running reports whether the process runs, frozen or not.
func (u *Unit) Running() bool { return u.proc.Running() }

// PID is the id of the process as last started.
func (u *Unit) PID() int { return u.proc.PID() }

// Starts counts how often the process was started.
func (u *Unit) Starts() int { u.mu.Lock(); defer u.mu.Unlock(); return len(u.starts) }

// Lives lists every start of the process.
func (u *Unit) Lives() []history.Process {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]history.Process(nil), u.starts...)
}

// Surprises lists the ends that nobody caused.
func (u *Unit) Surprises() []Surprise {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Surprise(nil), u.surprises...)
}

// close ends the process for good; the context of the supervisor must have ended.
func (u *Unit) close() {
	if u.ended != nil {
		<-u.ended
	}
	if u.proc != nil {
		u.proc.Kill()
	}
}

// empty removes everything in a folder.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("lose %s: %w", dir, err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("lose %s: %w", dir, err)
		}
	}
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
