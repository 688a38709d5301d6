// Package shell runs kind shell: a script or a command in a process group of its own, under a supervisor.
//
// # Supervisor
//
// The supervisor is the worker's own executable, started again with a private name and marker; MaybeSupervise, the first
// call of every main, turns such a process into one. It starts the script in a new process group and holds the reading end
// of a pipe whose writing end only the worker has. When that pipe closes, because the worker ended in whatever way (kill -9
// too), it kills the group. On Linux it also adopts processes that left the group and kills them when the script ends,
// so that nothing of an attempt outlives it.
//
// # What a script sees
//
// PATH, HOME and LANG of the worker, TASKWEIR_TASK_ID, TASKWEIR_ATTEMPT_ID, TASKWEIR_EPOCH, TASKWEIR_QUEUE, and the env of its
// payload; nothing else of the worker's environment, where secrets may be. Its standard input is empty. Standard output
// and error are one stream, of which the last 64 KiB are kept as the attempt's log. There is no result: output is for
// people, and a result that depends on what a tool prints last would be one by accident.
//
// # Ends
//
// Exit code 0 is success; another is a failure with code exit_N, a signal one with code signal_N. When the context ends the
// group gets SIGTERM and after the grace SIGKILL. A script that was told to end and then exits with 0 has obeyed; it has not
// succeeded.
//
// Scripts run as the worker's user. Whoever may submit tasks of this kind can do what that user can: the kind is off
// unless the worker turns it on.
package shell

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/runner/payload"
	"github.com/taskweir/taskweir/internal/task"
)

// Limits of a payload.
const (
	maxArgs = 256
	maxEnv  = 64
	maxName = 256
	maxText = 128<<10 - 1 // bytes of one argument or variable, with its name: what Linux takes (MAX_ARG_STRLEN)
)

// ErrUnsupported is what New answers on systems without process groups.
var ErrUnsupported = errors.New("shell tasks are not supported on this system")

// Options configures the runner. Zero values take the defaults named with each field.
type Options struct {
	Dir    string        // working directory; the system's temporary folder
	Grace  time.Duration // from SIGTERM to SIGKILL; 1 s, to end before the worker calls it a zombie
	Logger *slog.Logger  // nothing
}

// Shell runs kind shell. Make it with New.
type Shell struct{ o Options }

// Kind is shell.
func (*Shell) Kind() string { return "shell" }

// ErrNoSupervisor is what New answers in a program that did not call MaybeSupervise: each script would start that whole
// program once more, and it its scripts.
var ErrNoSupervisor = errors.New("shell: the program must call shell.MaybeSupervise first in its main")

// asked says that MaybeSupervise was called, and found that this process is no supervisor.
var asked atomic.Bool

// New makes the runner. Errors are ErrUnsupported and ErrNoSupervisor.
func New(o Options) (*Shell, error) {
	if !supported {
		return nil, ErrUnsupported
	}
	if !asked.Load() {
		return nil, ErrNoSupervisor
	}
	if o.Grace <= 0 {
		o.Grace = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Shell{o: o}, nil
}

// spec is a payload of kind shell.
type spec struct {
	Script      string            `json:"script"`
	Command     string            `json:"command"`
	Args        []string          `json:"args"`
	Env         map[string]string `json:"env"`
	Interpreter string            `json:"interpreter"`
}

// Check finds what is wrong with a payload of kind shell; the fields are paths within it. Nil: nothing.
func Check(raw []byte) []task.FieldError {
	var p spec
	if wrong := payload.Decode(raw, &p); wrong != nil {
		return []task.FieldError{*wrong}
	}
	return p.check()
}

func (p *spec) check() (out []task.FieldError) {
	bad := func(field, rule, message string) {
		out = append(out, task.FieldError{Field: field, Rule: rule, Message: message})
	}
	switch {
	case p.Script == "" && p.Command == "":
		bad("script", "required", "is required, or command")
	case p.Script != "" && p.Command != "":
		bad("command", "conflict", "must not be given with script")
	}
	if p.Interpreter != "" && p.Script == "" {
		bad("interpreter", "conflict", "is only for scripts")
	}
	if len(p.Interpreter) > maxName || p.Interpreter != "" && len(strings.Fields(p.Interpreter)) == 0 {
		bad("interpreter", "max_length", fmt.Sprintf("must be 1 to %d bytes", maxName))
	}
	if len(p.Args) > maxArgs {
		bad("args", "max_length", fmt.Sprintf("must be at most %d", maxArgs))
	}
	if len(p.Env) > maxEnv {
		bad("env", "max_length", fmt.Sprintf("must be at most %d", maxEnv))
	}
	if len(out) > 0 {
		return out // what follows names each element
	}
	texts := p.texts()
	for _, field := range slices.Sorted(maps.Keys(texts)) {
		switch text := texts[field]; {
		case strings.IndexByte(text, 0) >= 0:
			bad(field, "pattern", "holds a zero byte")
		case len(text) > maxText && field != "script": // which is a file
			bad(field, "max_length", fmt.Sprintf("must be at most %d bytes", maxText))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		switch {
		case !envName(name):
			bad("env."+shorten(name), "pattern", "is not the name of a variable")
		case strings.HasPrefix(name, "TASKWEIR_"):
			bad("env."+shorten(name), "not_allowed", "must not be set")
		}
	}
	return out
}

// texts gives everything that becomes an argument or a variable, by field.
func (p *spec) texts() map[string]string {
	out := map[string]string{"script": p.Script, "command": p.Command, "interpreter": p.Interpreter}
	for i, a := range p.Args {
		out[fmt.Sprintf("args[%d]", i)] = a
	}
	for name, value := range p.Env {
		out["env."+shorten(name)] = name + "=" + value
	}
	return out
}

// shorten keeps the name of a field within what fits into an answer.
func shorten(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "…"
}

func envName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i, r := range s {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return true
}

// tail keeps the last bytes of a stream.
type tail struct {
	buf  []byte
	next int  // where the next byte goes
	full bool // every byte of buf is of the stream
}

func newTail(n int) *tail { return &tail{buf: make([]byte, n)} }

func (t *tail) write(b []byte) {
	if len(b) >= len(t.buf) {
		copy(t.buf, b[len(b)-len(t.buf):])
		t.next, t.full = 0, true
		return
	}
	n := copy(t.buf[t.next:], b)
	if n < len(b) {
		copy(t.buf, b[n:])
		t.full = true
	}
	if t.next += len(b); t.next >= len(t.buf) {
		t.next -= len(t.buf)
		t.full = true
	}
}

// bytes gives what was kept; nil when nothing was written.
func (t *tail) bytes() []byte {
	if !t.full {
		if t.next == 0 {
			return nil
		}
		return append([]byte(nil), t.buf[:t.next]...)
	}
	return append(append(make([]byte, 0, len(t.buf)), t.buf[t.next:]...), t.buf[:t.next]...)
}
