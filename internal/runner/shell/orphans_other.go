//go:build unix && !linux

package shell

import (
	"os"
	"syscall"
)

// childAttr puts the script into a group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// adoptOrphans does nothing: only Linux has subreapers.
func adoptOrphans() <-chan os.Signal { return nil }

// reapOrphans does nothing: orphans are not ours.
func reapOrphans(<-chan os.Signal, int) {}

// killSession does nothing: nothing here lists processes by session.
func killSession(int) {}

// killOrphans does nothing: what left the group cannot be found here.
func killOrphans() {}
