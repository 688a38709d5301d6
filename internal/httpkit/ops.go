package httpkit

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Check is one thing that a process needs to be ready.
type Check struct {
	Name string                          // "database"
	Run  func(ctx context.Context) error // within 2 s
}

// Ops configures the operations pages.
type Ops struct {
	Checks  []Check
	Metrics http.Handler // nil: no /metrics
	Pprof   bool         // /debug/pprof: only on an address that is not public
}

const (
	checkTimeout = 2 * time.Second
	checkTTL     = 500 * time.Millisecond // the pages need no credential: asking often must not cost often
)

// RegisterOps adds /healthz (the process answers), /readyz (names what is missing) and, when told, /metrics and pprof.
// None of them needs a credential; none tells more than names.
func RegisterOps(e *Engine, o Ops) {
	ready := &readiness{checks: o.Checks, engine: e}
	e.Handle(
		Route{Method: http.MethodGet, Path: "/healthz", Quiet: true, Handle: func(context.Context, *Request) (Response, error) {
			return JSON(http.StatusOK, apiv1.Health{Status: "ok"})
		}},
		Route{Method: http.MethodGet, Path: "/readyz", Quiet: true, Handle: ready.handle},
	)
	if o.Metrics != nil {
		e.Mount(http.MethodGet, "/metrics", o.Metrics)
	}
	if o.Pprof {
		mountPprof(e)
	}
}

func mountPprof(e *Engine) {
	e.Mount(http.MethodGet, "/debug/pprof/", http.HandlerFunc(pprof.Index))
	for name, h := range map[string]http.HandlerFunc{"cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		e.Mount(http.MethodGet, "/debug/pprof/"+name, h)
	}
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		e.Mount(http.MethodGet, "/debug/pprof/"+name, pprof.Handler(name))
	}
}

// readiness runs the checks, at most once in checkTTL.
type readiness struct {
	checks []Check
	engine *Engine

	mu   sync.Mutex
	at   time.Time
	last apiv1.Health
}

func (r *readiness) handle(ctx context.Context, _ *Request) (Response, error) {
	h := r.health(context.WithoutCancel(ctx))
	status := http.StatusOK
	if h.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	return JSON(status, h)
}

func (r *readiness) health(ctx context.Context) apiv1.Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && time.Since(r.at) < checkTTL {
		return r.last
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h := apiv1.Health{Status: "ok", Checks: make([]apiv1.Check, len(r.checks))}
	var wg sync.WaitGroup
	for i, c := range r.checks {
		wg.Go(func() { h.Checks[i] = r.run(ctx, c) })
	}
	wg.Wait()
	for _, c := range h.Checks {
		if !c.OK {
			h.Status = "unavailable"
		}
	}
	r.at, r.last = time.Now(), h
	return h
}

// run tells whether one check holds. Its error is logged; people without a credential see only what was meant for them.
func (r *readiness) run(ctx context.Context, c Check) apiv1.Check {
	err := c.Run(ctx)
	if err == nil {
		return apiv1.Check{Name: c.Name, OK: true}
	}
	r.engine.log.Warn("not ready", "check", c.Name, "error", err)
	out := apiv1.Check{Name: c.Name, Message: "cannot be reached"}
	var e *task.Error
	if errors.As(err, &e) && e.Kind != task.Internal && e.Message != "" {
		out.Message = e.Message
	}
	return out
}
