//go:build unix && !linux

package testkit

import (
	"errors"
	"syscall"
	"time"
)

// childAttributes puts a child into its own process group. Only Linux lets children die with their parent.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

var errNoProc = errors.New("not known on this system")

// CPU is the processor time that a process has used: known on Linux only.
func CPU(int) (time.Duration, error) { return 0, errNoProc }

// Resident is the memory of a process that is in RAM: known on Linux only.
func Resident(int) (int64, error) { return 0, errNoProc }

// alive reports whether a process with this id exists.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
