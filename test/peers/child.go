package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/test/peers/measure"
	"github.com/taskweir/taskweir/test/peers/system"
)

// childFlag makes this program one round of one system: the specification comes from standard input, which stays open as long as
// somebody waits for the result, on standard output.
const childFlag = "-round"

// order is what a child is told.
type order struct {
	Adapter string       `json:"adapter"`
	Spec    measure.Spec `json:"spec"`
}

// answer is what a child says.
type answer struct {
	Result *measure.Result `json:"result"`
	Error  string          `json:"error,omitempty"`
}

// child takes one round.
func child(ctx context.Context, in io.Reader, out, errs io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	a, err := adapterNamed(o.Adapter)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, in) // however it ends, nobody waits any more
		cancel(errLeft)
	}()
	o.Spec.Progress = errs
	var ans answer
	if ans.Result, err = measure.Round(ctx, a, o.Spec); err != nil {
		ans.Error = err.Error()
	}
	if err := json.NewEncoder(out).Encode(ans); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// roundTime is what a child may take.
const roundTime = 6 * time.Minute

var (
	errRound = errors.New("round failed")
	errLeft  = errors.New("the process that leads has ended")
)

// start runs one round in a process of its own. GOGC is what Taskweir's own programs set, for every system alike.
func start(ctx context.Context, a system.Adapter, spec measure.Spec, temp string, errs io.Writer) (*measure.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	dir, err := os.MkdirTemp(temp, "round-*")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	spec.Dir = dir
	in, err := json.Marshal(order{a.Name, spec})
	if err != nil {
		return nil, fmt.Errorf("write the order: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, childFlag)
	cmd.Env = append(neutral(os.Environ()), "GOGC=300")
	said := &chatter{mark: "  " + a.Name + ": ", out: errs}
	cmd.Stdout, cmd.Stderr = &out, said
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	if err := runTold(cmd, in); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", a.Name, err, said.tail)
	}
	var ans answer
	if err := json.Unmarshal(out.Bytes(), &ans); err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", a.Name, err)
	}
	if ans.Error != "" {
		return ans.Result, fmt.Errorf("%w: %s\n%s", errRound, ans.Error, said.tail)
	}
	return ans.Result, nil
}

// runTold runs a command that is told something, and keeps its standard input open until it ends.
func runTold(cmd *exec.Cmd, in []byte) error {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	_, told := stdin.Write(in) // Wait closes it
	return errors.Join(told, cmd.Wait())
}

// chatter lets the progress of a round through, and keeps the end of what libraries say, in case it fails.
type chatter struct {
	mark string // lines of progress begin so
	out  io.Writer
	line []byte // begun
	tail []byte
}

const tailSize = 4096

// Write implements io.Writer.
func (c *chatter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		c.line = append(c.line, line...)
		if !bytes.HasSuffix(c.line, []byte("\n")) {
			continue
		}
		if bytes.HasPrefix(c.line, []byte(c.mark)) {
			_, _ = c.out.Write(c.line) // progress only
		} else {
			c.tail = append(c.tail, c.line...)
			c.tail = c.tail[max(0, len(c.tail)-tailSize):]
		}
		c.line = c.line[:0]
	}
	return len(p), nil
}

// neutral leaves out what would change a round: settings of Taskweir and of Go's runtime.
func neutral(environ []string) []string {
	var left []string
	for _, kv := range environ {
		if !strings.HasPrefix(kv, "TASKWEIR_") && !strings.HasPrefix(kv, "GOGC=") && !strings.HasPrefix(kv, "GOMEMLIMIT=") {
			left = append(left, kv)
		}
	}
	return left
}
