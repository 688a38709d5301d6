//go:build unix && !linux

package testkit

import (
	"errors"
	"syscall"
)

// childAttributes puts a child into its own process group. Only Linux lets children die with their parent.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// alive reports whether a process with this id exists.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
