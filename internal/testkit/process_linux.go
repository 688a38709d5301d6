package testkit

import (
	"errors"
	"syscall"
)

// childAttributes puts a child into its own process group, so that Ctrl-C in a terminal reaches only the parent, which
// then ends the children in order; and lets it die with the parent.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// alive reports whether a process with this id exists.
func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
