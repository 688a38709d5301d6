package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/runner/httpcall"
	"github.com/taskweir/taskweir/internal/trace"
	"github.com/taskweir/taskweir/internal/worker"
)

// lastSpans is how long the end of the process waits for a collector.
const lastSpans = 2 * time.Second

// startTracing starts the tracer, if there is somewhere to send spans.
func (a *App) startTracing(ctx context.Context) error {
	c := a.cfg.Tracing
	if c.Endpoint == "" && a.opts.Spans == nil {
		return nil
	}
	host, _ := os.Hostname() // a name in spans, nothing more
	t, err := trace.New(ctx, trace.Options{
		Endpoint: c.Endpoint, Headers: c.HeaderMap(), Share: c.SampleRatio, Exporter: a.opts.Spans, Logger: a.log,
		Service: "taskweir-" + a.cfg.Role.String(), Version: Version(), Instance: fmt.Sprintf("%s:%d", host, os.Getpid()),
	})
	if err != nil {
		return err
	}
	a.tracer = t
	a.life.onStop("tracing", lastSpans+bound, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, lastSpans)
		defer cancel()
		if err := t.Close(ctx); err != nil {
			a.log.Warn("the last spans were dropped", "err", err) // nobody's task hangs on it
		}
		return nil
	})
	return nil
}

// The ports are nil, not a nil *trace.Tracer, when nothing is traced.

func (a *App) requestTracer() httpkit.Tracer {
	if a.tracer == nil {
		return nil
	}
	return a.tracer
}

func (a *App) submitTracer() control.Tracer {
	if a.tracer == nil {
		return nil
	}
	return a.tracer
}

func (a *App) runTracer() worker.Tracer {
	if a.tracer == nil {
		return nil
	}
	return a.tracer
}

func (a *App) callTracer() httpcall.Tracer {
	if a.tracer == nil {
		return nil
	}
	return a.tracer
}
