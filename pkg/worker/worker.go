package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/runner/shell"
	engine "github.com/taskweir/taskweir/internal/worker"
)

// Worker is a set of handlers and how to run them. Make it with New, register handlers, then call Main, Run, RunStandalone or
// a Start. Registering is not safe from several goroutines, and does nothing to a worker that was started before.
type Worker struct {
	settings map[string]string // environment name → value, over the environment
	environ  []string          // nil: the process's own
	args     []string
	logger   *slog.Logger
	builtIns bool
	signals  bool

	kinds []*handler
	use   []Middleware
	errs  []error
}

// New makes a worker. What is wrong with an option is said by whatever starts it. In a program that runs shell tasks
// ([BuiltIns] with the setting worker.shell) New is called before anything else: the supervisor of a command is the same
// program started again, and never returns from it.
func New(opts ...Option) *Worker {
	shell.MaybeSupervise()
	w := &Worker{settings: map[string]string{}, signals: true}
	for _, o := range opts {
		o(w)
	}
	return w
}

// With gives a copy of the worker with options over those that it has, for tests and tools. Handlers that are registered
// afterwards belong to the one they are registered with.
func (w *Worker) With(opts ...Option) *Worker {
	c := *w
	c.settings = maps.Clone(w.settings)
	c.kinds, c.use, c.errs = slices.Clip(w.kinds), slices.Clip(w.use), slices.Clip(w.errs)
	for _, o := range opts {
		o(&c)
	}
	return &c
}

// Handler executes one attempt. See the package's text for what its error means.
type Handler func(ctx context.Context, a *Attempt) error

// Middleware wraps the handlers of every kind, for what they have in common: traces, metrics, transactions, checks. It calls
// next at most once. An error of its own ends the attempt as a handler's would.
type Middleware func(next Handler) Handler

// Use adds middleware. The first one given is the outermost; all of them run around every handler, whatever was registered
// first. They see the attempt before its payload is decoded.
func (w *Worker) Use(m ...Middleware) { w.use = append(w.use, m...) }

// handler is one registered kind.
type handler struct {
	kind   string
	run    Handler
	maxMs  int32
	strict bool
}

// kindRule is what the API takes as the name of a kind.
var kindRule = regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)

// register adds a kind, or remembers what is wrong with it.
func (w *Worker) register(h *handler) {
	switch {
	case !kindRule.MatchString(h.kind):
		w.fail("kind %q: must be 1 to 64 of a-z 0-9 . _ -", h.kind)
	case app.BuiltIn(h.kind):
		w.fail("kind %q is built in", h.kind)
	case slices.ContainsFunc(w.kinds, func(k *handler) bool { return k.kind == h.kind }):
		w.fail("kind %q is handled twice", h.kind)
	default:
		w.kinds = append(w.kinds, h)
	}
}

func (w *Worker) fail(format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("worker: "+format, args...))
}

// Kinds lists the kinds that have a handler, in the order of their registration.
func (w *Worker) Kinds() []string {
	out := make([]string, len(w.kinds))
	for i, k := range w.kinds {
		out[i] = k.kind
	}
	return out
}

// Runners gives the handlers as the engine runs them, middleware included. It is for the test kit; programs call Run.
func (w *Worker) Runners() ([]engine.Runner, error) {
	if err := errors.Join(w.errs...); err != nil {
		return nil, err
	}
	if len(w.kinds) == 0 && !w.builtIns {
		return nil, errors.New("worker: no handler is registered")
	}
	out := make([]engine.Runner, len(w.kinds))
	for i, k := range w.kinds {
		run := k.run
		for _, m := range slices.Backward(w.use) {
			run = m(run)
		}
		out[i] = &runner{kind: k.kind, run: run, maxMs: k.maxMs, log: w.logger}
	}
	return out, nil
}
