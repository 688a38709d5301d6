//go:build unix

package shell

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// MaybeSupervise makes this process a supervisor if it was started as one, and then never returns. It is the first call of
// every main that may run shell tasks, and of TestMain.
func MaybeSupervise() {
	if len(os.Args) == 0 || os.Args[0] != supervisorName || !slices.Contains(os.Environ(), supervisorMark) {
		asked.Store(true)
		return
	}
	runtime.LockOSThread() // the script's death signal hangs on the thread that started it
	keepFiles()
	// Caught and dropped, not ignored: a script that starts with a signal ignored cannot trap it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	ended := adoptOrphans()
	r := supervise(bufio.NewReader(os.Stdin), func(first int) { go reapOrphans(ended, first) })
	// A worker that is gone reads no report, and nobody else can be told.
	_ = json.NewEncoder(os.NewFile(3, "report")).Encode(r)
	syscall.Exit(0) // os.Exit waits a second for reports of the race detector where that is built in
}

// keepFiles keeps every file but the standard ones from the script: the report is not the script's to write, and what the worker
// found open when it was started (locks, sockets) is not for scripts.
func keepFiles() {
	syscall.CloseOnExec(3)
	for _, dir := range []string{"/proc/self/fd", "/dev/fd"} {
		open, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, f := range open {
			if n, err := strconv.Atoi(f.Name()); err == nil && n > 2 {
				syscall.CloseOnExec(n)
			}
		}
		return
	}
}

// supervise reads the order, runs it and gives its end. started is called with the script's process.
func supervise(in *bufio.Reader, started func(first int)) report {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return report{Error: "no order"}
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return report{Error: "order not understood"}
	}
	argv, remove, err := o.argv()
	if err != nil {
		return report{Error: err.Error()}
	}
	defer remove()
	cmd, err := o.command(argv)
	if err != nil {
		return report{Error: err.Error()}
	}
	if err := cmd.Start(); err != nil {
		return report{Error: err.Error()}
	}
	started(cmd.Process.Pid)
	go obey(in, cmd.Process)
	err = cmd.Wait()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left in the background
	killOrphans()
	return ended(cmd, err)
}

// argv writes the script to a file and gives the whole command line.
func (o *order) argv() (argv []string, remove func(), err error) {
	if o.Script == "" {
		return o.Argv, func() {}, nil
	}
	f, err := os.CreateTemp(o.Temp, "taskweir-script-*")
	if err != nil {
		return nil, nil, err
	}
	remove = func() { _ = os.Remove(f.Name()) }
	_, err = f.WriteString(o.Script)
	if err = errors.Join(err, f.Close()); err != nil {
		remove()
		return nil, nil, err
	}
	return append(append(slices.Clone(o.Interpreter), f.Name()), o.Argv...), remove, nil
}

// command finds the program along the PATH that the script will see.
func (o *order) command(argv []string) (*exec.Cmd, error) {
	path, err := lookPath(argv[0], o.Env)
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: path, Args: argv, Env: o.Env, Dir: o.Dir, Stdout: os.Stdout, Stderr: os.Stdout,
		SysProcAttr: childAttr(),
	}, nil
}

func lookPath(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			if !filepath.IsAbs(dir) {
				continue
			}
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// obey does what the worker says, and kills the group when the worker is gone.
func obey(in io.ByteReader, first *os.Process) {
	for {
		b, err := in.ReadByte()
		switch {
		case err != nil:
			kill(first)
			return
		case b == sayTerm:
			_ = syscall.Kill(-first.Pid, syscall.SIGTERM)
		case b == sayKill:
			kill(first)
		}
	}
}

// kill ends the group, and its first process also when that moved to another one.
func kill(first *os.Process) {
	_ = syscall.Kill(-first.Pid, syscall.SIGKILL)
	_ = first.Kill()
}

// ended reads how a process ended.
func ended(cmd *exec.Cmd, err error) report {
	if cmd.ProcessState == nil {
		return report{Error: err.Error()}
	}
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		return report{Signal: int(st.Signal())}
	}
	return report{Exit: cmd.ProcessState.ExitCode()}
}
