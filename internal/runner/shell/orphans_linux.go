package shell

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts the script into a group of its own; it dies with its supervisor.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// adoptOrphans makes descendants that lose their parent children of this process, also those that left the group. It gives a
// channel that tells of ended ones.
func adoptOrphans() <-chan os.Signal {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	return ended
}

// reapOrphans collects adopted processes as they end, so that a script that runs for days leaves no heap of zombies. The end of
// first is somebody else's to collect.
func reapOrphans(ended <-chan os.Signal, first int) {
	for range ended {
		for _, pid := range children() {
			if pid != first {
				_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			}
		}
	}
}

// killOrphans kills what was adopted, generation by generation.
func killOrphans() {
	for range 64 {
		pids := children()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}

// children lists the children of every thread of this process.
func children() (pids []int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return nil
	}
	for _, t := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%s/children", t.Name()))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// killSession kills every process of a session, until none is left that could start another one.
func killSession(session int) {
	for range 64 {
		pids := sessionOf(session)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// sessionOf lists the living processes of a session but for its leader.
func sessionOf(session int) (pids []int) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, p := range all {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == session {
			continue
		}
		text, err := os.ReadFile("/proc/" + p.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent group session …; the name may hold anything.
		f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(f) > 3 && f[0] != "Z" && f[0] != "X" && f[3] == strconv.Itoa(session) {
			pids = append(pids, pid)
		}
	}
	return pids
}
