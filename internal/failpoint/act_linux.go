//go:build faults

package failpoint

import (
	"runtime"
	"syscall"
)

// kill ends the process at this very place: nobody goes on from here.
func kill() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL) // cannot fail
	select {}
}

// stop stops the process at this very place. A signal to the process is delivered to any of its threads, and this one might run
// on for a moment; one to this thread stops it before the call returns, and all the others with it.
func stop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = syscall.Tgkill(syscall.Getpid(), syscall.Gettid(), syscall.SIGSTOP) // cannot fail
}
