package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// pty is a terminal whose other side the test holds: it types, and sees what is shown.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File

	mu      sync.Mutex
	raw     []byte
	shown   *emulator
	changed chan struct{}
	done    chan struct{}
}

func openPTY(t *testing.T, width, height int) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("this test needs pseudo terminals: %v", err)
	}
	var n uint32
	var unlock int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&n))
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &pty{t: t, master: master, slave: slave, shown: newEmulator(width, height), changed: make(chan struct{}, 1), done: make(chan struct{})}
	p.resize(width, height)
	go p.read()
	t.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
		<-p.done
	})
	return p
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg)) }); err != nil || errno != 0 {
		t.Fatalf("ioctl %#x: %v %v", request, err, errno)
	}
}

func (p *pty) resize(width, height int) {
	size := [4]uint16{uint16(height), uint16(width), 0, 0}
	p.mu.Lock()
	p.shown.resize(width, height)
	p.mu.Unlock()
	ioctl(p.t, p.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
}

// modes are the terminal's modes: what must be as before when a program has ended.
func (p *pty) modes() syscall.Termios {
	var m syscall.Termios
	ioctl(p.t, p.slave, syscall.TCGETS, unsafe.Pointer(&m))
	return m
}

func (p *pty) read() {
	defer close(p.done)
	chunk := make([]byte, 4096)
	for {
		n, err := p.master.Read(chunk)
		p.mu.Lock()
		p.raw = append(p.raw, chunk[:n]...)
		p.shown.write(chunk[:n])
		p.mu.Unlock()
		select {
		case p.changed <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (p *pty) press(keys string) {
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Error(err)
	}
}

// until waits until what is shown is as wanted.
func (p *pty) until(what string, ok func(screen string) bool) {
	p.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		text := p.shown.text()
		p.mu.Unlock()
		if ok(text) {
			return
		}
		select {
		case <-p.changed:
		case <-deadline.C:
			p.t.Fatalf("%s never came; the screen shows\n%s", what, text)
		}
	}
}

func (p *pty) shows(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%q", text), func(s string) bool { return strings.Contains(s, text) })
}

// full reports whether the other screen is shown, and the cursor hidden.
func (p *pty) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.other || p.shown.hidden
}

// strange are the sequences that no terminal need know.
func (p *pty) strange() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.unknown
}

// written is everything that was written, escape sequences too.
func (p *pty) written() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.raw)
}

// child starts this test program as the command line in the terminal: topChild of TestMain.
func (p *pty) child(url string, environ []string, args ...string) *exec.Cmd {
	p.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdin, cmd.Stdout = p.slave, p.slave
	var errs bytes.Buffer
	cmd.Stderr = &errs
	cmd.Env = append([]string{"TASKWEIR_TEST_CHILD=1", "TASKWEIR_URL=" + url, "TASKWEIR_API_KEY=" + testKey, "TASKWEIR_DATA_DIR=" + p.t.TempDir(), "XDG_CONFIG_HOME=" + p.t.TempDir(), "TERM=xterm"}, environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if p.t.Failed() {
			p.t.Logf("it said: %s", errs.String())
		}
	})
	return cmd
}

// exit waits for a child and gives its exit code.
func exit(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// stopped waits until a child is stopped by a signal.
func stopped(t *testing.T, pid int) {
	t.Helper()
	var status syscall.WaitStatus
	for {
		n, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n != pid || !status.Stopped() {
			t.Fatalf("not stopped: %d %v %#x", n, err, status)
		}
		return
	}
}
