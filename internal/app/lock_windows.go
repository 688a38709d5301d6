package app

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockHandle takes the lock of an open file without waiting for it.
func lockHandle(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
}
