package testkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Spec describes a process.
type Spec struct {
	Name     string                          // for messages
	Path     string                          // program
	Args     []string                        // without the program
	Env      []string                        // added to this process's environment without its TASKWEIR_ variables
	Dir      string                          // working folder; empty: this process's
	Log      string                          // file that its output is appended to
	Output   io.Writer                       // also gets the output; may be nil
	Ready    func(ctx context.Context) error // one try; nil: ready at once
	StopWait time.Duration                   // Stop kills after this; 0: 15 s
}

// Process is a child that can be stopped, killed and started again with the same arguments. Its methods may be called from
// several goroutines; Start, Stop, Kill and Restart exclude each other.
type Process struct {
	spec  Spec
	steps sync.Mutex // one change of the process at a time

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	exit error         // of Wait, readable when done is closed
}

var (
	errAlreadyRunning = errors.New("already running")
	errEnded          = errors.New("ended before it was ready")
	errHadToKill      = errors.New("did not end in time and was killed")
)

// Start runs the process and waits until it is ready. On an error nothing is left running.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if spec.StopWait == 0 {
		spec.StopWait = 15 * time.Second
	}
	p := &Process{spec: spec}
	if err := p.Restart(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// Restart starts a process that has ended, and waits until it is ready.
func (p *Process) Restart(ctx context.Context) error {
	p.steps.Lock()
	defer p.steps.Unlock()
	if p.Running() {
		return fmt.Errorf("%s: %w", p.spec.Name, errAlreadyRunning)
	}
	if err := p.launch(); err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	if err := p.WaitReady(ctx); err != nil {
		p.kill()
		return err
	}
	return nil
}

// launch starts the program from a thread of its own, which lives as long as the child: the kernel's "die with the parent"
// looks at the thread that started it, not at the process.
func (p *Process) launch() error {
	log, err := os.OpenFile(p.spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cmd := exec.Command(p.spec.Path, p.spec.Args...)
	cmd.Env = append(neutralEnv(), p.spec.Env...)
	cmd.Dir = p.spec.Dir
	cmd.SysProcAttr = childAttributes()
	cmd.WaitDelay = 2 * time.Second // grandchildren may hold the pipe of Output
	var out io.Writer = log
	if p.spec.Output != nil {
		out = io.MultiWriter(log, p.spec.Output)
	}
	cmd.Stdout, cmd.Stderr = out, out

	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := cmd.Start()
		if err == nil {
			p.mu.Lock()
			p.cmd, p.done = cmd, done
			p.mu.Unlock()
		}
		started <- err
		if err != nil {
			return
		}
		exit := cmd.Wait()
		p.mu.Lock()
		p.exit = exit
		p.mu.Unlock()
		close(done)
	}()
	return <-started
}

// neutralEnv is this process's environment without settings of Taskweir: a child is told all of its own.
func neutralEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TASKWEIR_") })
}

// WaitReady waits until the process answers, ends, or ctx ends. The error of the last two holds the end of its log.
func (p *Process) WaitReady(ctx context.Context) error {
	if p.spec.Ready == nil {
		return nil
	}
	done := p.Done()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := p.spec.Ready(try)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s: %w (%s)\n%s", p.spec.Name, errEnded, p.exitText(), p.Tail(4096))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w): %w\n%s", p.spec.Name, context.Cause(ctx), err, p.Tail(4096))
		case <-tick.C:
		}
	}
}

// Stop asks the process to end (SIGTERM) and waits. A process that does not end within StopWait, or before ctx ends, is
// killed, which is an error. Stopping a process that has ended does nothing.
func (p *Process) Stop(ctx context.Context) error {
	p.steps.Lock()
	defer p.steps.Unlock()
	if !p.Running() {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil && p.Running() {
		return err
	}
	timer := time.NewTimer(p.spec.StopWait)
	defer timer.Stop()
	select {
	case <-p.Done():
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	p.kill()
	return fmt.Errorf("%s: %w\n%s", p.spec.Name, errHadToKill, p.Tail(4096))
}

// Kill ends the process at once (SIGKILL) and waits until it is gone.
func (p *Process) Kill() {
	p.steps.Lock()
	defer p.steps.Unlock()
	p.kill()
}

func (p *Process) kill() {
	if !p.Running() {
		return
	}
	_ = p.Signal(syscall.SIGKILL) // it may have ended meanwhile, which is what is wanted
	<-p.Done()
}

// Signal sends a signal to the process.
func (p *Process) Signal(sig os.Signal) error {
	p.mu.Lock()
	cmd := p.cmd
	p.mu.Unlock()
	if err := cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.spec.Name, err)
	}
	return nil
}

// Done is closed when the process as last started has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Running reports whether the process was started and has not ended.
func (p *Process) Running() bool {
	done := p.Done()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// PID is the process id as last started.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Name is the name of the spec.
func (p *Process) Name() string { return p.spec.Name }

// ExitCode is the exit code of a process that has ended: -1 when a signal ended it, or while it runs.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

func (p *Process) exitText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit == nil {
		return "exit code 0"
	}
	return p.exit.Error()
}

// Tail is the last n bytes of the process's output over all its starts.
func (p *Process) Tail(n int64) string {
	f, err := os.Open(p.spec.Log)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return ""
	}
	return string(text)
}
