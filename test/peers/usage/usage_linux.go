package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

const tick = time.Second / 100 // USER_HZ: fixed at 100 on every architecture that Go supports

// CPU is the processor time that a process and everything below it has used, user and kernel, with that of children that have
// ended. A child that ends while the tree is read may be missing.
func CPU(pid int) (time.Duration, error) {
	var sum time.Duration
	err := walk(pid, func(_ int, st stat) error {
		sum += st.cpu
		return nil
	})
	return sum, err
}

// Memory is what a process and everything below it has in RAM, in bytes; a page that several processes share counts once. The
// kernel tells that of another user's process only to who may trace it: the error is fs.ErrPermission then.
func Memory(pid int) (int64, error) {
	var sum int64
	err := walk(pid, func(one int, _ stat) error {
		memory, err := memoryOf(one)
		if err != nil && !gone(err) {
			return err
		}
		sum += memory
		return nil
	})
	return sum, err
}

// walk visits a process and everything below it.
func walk(pid int, visit func(pid int, st stat) error) error {
	all, err := processes()
	if err != nil {
		return err
	}
	if _, ok := all[pid]; !ok {
		return fmt.Errorf("read usage of process %d: %w", pid, fs.ErrNotExist)
	}
	below := map[int][]int{}
	for child, st := range all {
		below[st.parent] = append(below[st.parent], child)
	}
	for todo := []int{pid}; len(todo) > 0; {
		one := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], below[one]...)
		if err := visit(one, all[one]); err != nil {
			return err
		}
	}
	return nil
}

// stat is what /proc/pid/stat says.
type stat struct {
	parent int
	cpu    time.Duration // with that of children that have ended and were waited for
}

func processes() (map[int]stat, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := make(map[int]stat, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue // no process
		}
		raw, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read process %d: %w", pid, err)
		}
		if all[pid], err = parse(raw); err != nil {
			return nil, fmt.Errorf("read process %d: %w", pid, err)
		}
	}
	return all, nil
}

var errFields = errors.New("too few fields")

// parse reads the fields behind the program's name, which is in brackets and may hold anything.
func parse(raw []byte) (stat, error) {
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 15 {
		return stat{}, errFields
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}, err
	}
	st := stat{parent: parent}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return stat{}, err
		}
		st.cpu += time.Duration(n) * tick
	}
	return st, nil
}

// memoryOf is the proportional set size of a process.
func memoryOf(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("Pss:")); ok {
			kib, err := strconv.ParseInt(string(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte(" kB"))), 10, 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("read memory of process %d: %w", pid, errFields)
}

// gone reports that a process has ended meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }
