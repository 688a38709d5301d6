//go:build unix

package shell

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

const supported = true

// Run executes the script or command and waits for its end.
func (s *Shell) Run(ctx context.Context, job worker.Job) task.Result {
	var p spec
	if wrong := payload.Decode(job.Payload, &p); wrong != nil {
		return refused(payload.Text(*wrong))
	}
	if wrong := p.check(); len(wrong) > 0 {
		return refused(payload.Text(wrong[0]))
	}
	if ctx.Err() != nil {
		return interrupted(nil)
	}
	a, err := s.launch(p.order(s.o.Dir, &job))
	if err != nil {
		return task.Result{Outcome: task.OutcomeFailed, ErrCode: "start_failed", ErrMessage: err.Error()}
	}
	return s.follow(ctx, a, &job)
}

func refused(why string) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "invalid_payload", ErrMessage: why}
}

// interrupted is the end of an attempt whose context ended first.
func interrupted(log []byte) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, ErrCode: "interrupted", ErrMessage: "the script was told to end", Log: log}
}

// order turns a payload into what the supervisor runs.
func (p *spec) order(dir string, job *worker.Job) order {
	o := order{Script: p.Script, Argv: p.Args, Dir: dir, Temp: os.TempDir()}
	if dir == "" {
		o.Dir = o.Temp
	}
	if p.Command != "" {
		o.Argv = append([]string{p.Command}, p.Args...)
	} else if o.Interpreter = strings.Fields(p.Interpreter); len(o.Interpreter) == 0 {
		o.Interpreter = []string{"/bin/sh"}
	}
	o.Env = []string{
		"TASKWEIR_TASK_ID=" + strconv.FormatInt(job.TaskID, 10),
		"TASKWEIR_ATTEMPT_ID=" + strconv.FormatInt(job.AttemptID, 10),
		"TASKWEIR_EPOCH=" + strconv.Itoa(int(job.Epoch)),
		"TASKWEIR_QUEUE=" + job.Queue,
	}
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if v, ok := os.LookupEnv(name); ok {
			if _, own := p.Env[name]; !own {
				o.Env = append(o.Env, name+"="+v)
			}
		}
	}
	for name, value := range p.Env {
		o.Env = append(o.Env, name+"="+value)
	}
	return o
}

// attempt is a running supervisor.
type attempt struct {
	cmd     *exec.Cmd
	control *os.File // closes: kill the group
	output  *os.File
	reports *os.File
}

// launch starts a supervisor and gives it its order.
func (s *Shell) launch(o order) (*attempt, error) {
	self, err := executable()
	if err != nil {
		return nil, fmt.Errorf("find the own executable: %w", err)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode order: %w", err)
	}
	var ends [6]*os.File // control, output, reports: reading and writing ends
	for i := 0; i < len(ends); i += 2 {
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			closeAll(ends[:])
			return nil, fmt.Errorf("make pipes: %w", err)
		}
	}
	cmd := &exec.Cmd{
		Path: self, Args: []string{supervisorName}, Env: []string{supervisorMark}, Dir: "/",
		Stdin: ends[0], Stdout: ends[3], Stderr: ends[3], ExtraFiles: []*os.File{ends[5]},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true}, // a signal to the worker's group is not for scripts
	}
	if err := cmd.Start(); err != nil {
		closeAll(ends[:])
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	closeAll([]*os.File{ends[0], ends[3], ends[5]})
	a := &attempt{cmd: cmd, control: ends[1], output: ends[2], reports: ends[4]}
	// The order may be larger than a pipe holds. A supervisor that died closes the pipe, which ends the write.
	if _, err := a.control.Write(append(text, '\n')); err != nil {
		a.end()
		_ = cmd.Wait()
		return nil, fmt.Errorf("give order: %w", err)
	}
	return a, nil
}

// executable is the running program, even when its file was replaced meanwhile.
func executable() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (a *attempt) end() { closeAll([]*os.File{a.control, a.output, a.reports}) }

// say sends one byte; a supervisor that is gone needs none.
func (a *attempt) say(b byte) { _, _ = a.control.Write([]byte{b}) }

// outputLag is how long output may come after the end: its writers are dead by then.
const outputLag = 500 * time.Millisecond

// follow reads the output, passes the end of ctx on, and waits for the report.
func (s *Shell) follow(ctx context.Context, a *attempt, job *worker.Job) task.Result {
	defer a.end()
	kept := newTail(task.MaxLog)
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 32<<10)
		for {
			n, err := a.output.Read(buf)
			kept.write(buf[:n])
			job.Output(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	told := make(chan report, 1)
	go func() { told <- a.report() }()
	var r report
	stopped := false
	select {
	case r = <-told:
	case <-ctx.Done():
		r, stopped = s.stop(a, told), true
	}
	_ = a.output.SetReadDeadline(time.Now().Add(outputLag))
	<-read
	res := r.result(kept.bytes())
	if stopped && res.Outcome == task.OutcomeSucceeded {
		return interrupted(res.Log)
	}
	return res
}

// stop sends TERM, after the grace KILL, and waits for the report.
func (s *Shell) stop(a *attempt, told <-chan report) report {
	a.say(sayTerm)
	t := time.NewTimer(s.o.Grace)
	defer t.Stop()
	select {
	case r := <-told:
		return r
	case <-t.C:
	}
	a.say(sayKill)
	t.Reset(s.o.Grace)
	select {
	case r := <-told:
		return r
	case <-t.C:
	}
	s.o.Logger.Error("supervisor does not answer: killed", "pid", a.cmd.Process.Pid)
	_ = a.cmd.Process.Kill()
	return <-told
}

// report reads what the supervisor says until its end. When it was lost, its session is killed: the script, and what the script
// started that made no session of its own.
func (a *attempt) report() report {
	var r report
	unread := json.NewDecoder(a.reports).Decode(&r)
	if unread != nil {
		killSession(a.cmd.Process.Pid) // before Wait gives the id away
	}
	err := a.cmd.Wait()
	if unread == nil {
		return r
	}
	if err == nil {
		err = errors.New("it said nothing")
	}
	return report{Lost: "the supervisor was lost: " + err.Error()}
}

// result turns a report into the attempt's end.
func (r report) result(log []byte) task.Result {
	res := task.Result{Outcome: task.OutcomeFailed, Log: log}
	switch {
	case r.Lost != "":
		res.ErrCode, res.ErrMessage = "supervisor_lost", r.Lost
	case r.Error != "":
		res.ErrCode, res.ErrMessage = "start_failed", r.Error
	case r.Signal != 0:
		res.ErrCode = "signal_" + strconv.Itoa(r.Signal)
		res.ErrMessage = "ended by signal " + strconv.Itoa(r.Signal) + " (" + syscall.Signal(r.Signal).String() + ")"
	case r.Exit != 0:
		res.ErrCode, res.ErrMessage = "exit_"+strconv.Itoa(r.Exit), "ended with exit code "+strconv.Itoa(r.Exit)
	default:
		res.Outcome = task.OutcomeSucceeded
	}
	return res
}
