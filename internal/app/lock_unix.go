//go:build unix

package app

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockHandle takes the lock of an open file without waiting for it.
func lockHandle(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
