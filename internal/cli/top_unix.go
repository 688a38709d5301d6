//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// resized is the signal of a terminal whose size changed.
var resized os.Signal = syscall.SIGWINCH

// suspendSignal is what a shell stops a program with.
var suspendSignal os.Signal = syscall.SIGTSTP

// stopSelf stops the process until somebody continues it. SIGSTOP is used because SIGTSTP is caught: the terminal is given back
// first. The signal stops this thread a little later than it is sent, so that the continuation is waited for.
func stopSelf() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	<-continued
	return nil
}
