//go:build unix && !linux

package shell

import "syscall"

// childAttr puts the script into a group of its own.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// adoptOrphans does nothing: only Linux has subreapers.
func adoptOrphans() {}

// reapOrphans does nothing: orphans are not ours.
func reapOrphans(int) {}

// killOrphans does nothing: what left the group cannot be found here.
func killOrphans() {}
