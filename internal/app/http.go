package app

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/openapi"
	"github.com/taskweir/taskweir/internal/rest"
)

// listenAPI takes the API's port before anything else is started: a taken one is found at once.
func (a *App) listenAPI(context.Context) error {
	return a.listen(&a.apiListener, a.cfg.HTTP.Addr, "TASKWEIR_HTTP_ADDR (http.addr)")
}

func (a *App) listenOps(context.Context) error {
	return a.listen(&a.opsListener, a.cfg.Ops.Addr, "TASKWEIR_OPS_ADDR (ops.addr)")
}

func (a *App) listen(into *net.Listener, addr, key string) error {
	l, err := httpkit.Listen(addr, key)
	if err != nil {
		return err
	}
	*into = l
	a.life.onStop("listener", bound, func(context.Context) error {
		_ = l.Close() // closed already when its server was
		return nil
	})
	return nil
}

// startAPI starts the use cases and serves them.
func (a *App) startAPI(ctx context.Context) error {
	a.service = control.New(control.Options{
		Store: a.controlStore(), Ringer: a.ringer, Clock: a.clock, Signals: a.redis, Checks: checks(), Secrets: a.box,
		Events: a.hub(), Tickets: a.redis,
		BrokerReachable: a.brokerReachable, OpenRegistration: onLoopback(a.apiListener.Addr()), Logger: a.log, Tracer: a.submitTracer(),
	})
	a.life.onStop("use cases", 5*time.Second, a.service.Close)
	if a.cfg.BootstrapKey.IsSet() {
		if err := a.service.Bootstrap(ctx, a.cfg.BootstrapKey.Reveal()); err != nil {
			return err
		}
	}
	engine := rest.New(rest.Options{Service: a.service, Logger: a.log, Ops: a.opsPages(false), Tracer: a.requestTracer(), CORSOrigins: a.cfg.HTTP.CORSOrigins})
	openapi.Register(engine)
	a.mountSurfaces(engine)
	a.server = httpkit.Serve(a.apiListener, engine, a.log)
	a.endServer()
	go a.watchServer(a.server)
	a.log.Info("serving", "address", a.URL())
	return nil
}

// endServer registers the end of the API. It begins with the process's end, beside the worker's drain: a client that is
// slow to send its request must not add its own drain time to that.
func (a *App) endServer() {
	done := make(chan error, 1)
	a.life.atStop(func() {
		a.service.StopWaiting() // those who wait for a task are answered with it as it is now
		ctx, cancel := context.WithTimeout(context.Background(), a.cfg.DrainTime)
		go func() {
			defer cancel()
			done <- a.server.Shutdown(ctx)
		}()
	})
	a.life.onStop("api", a.cfg.DrainTime+afterDrain, func(ctx context.Context) error {
		select {
		case err := <-done:
			if errors.Is(err, context.DeadlineExceeded) {
				a.log.Info("requests that did not end within the drain time were closed")
				return nil
			}
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// startOps serves health, metrics and pprof of a process without an API.
func (a *App) startOps(context.Context) error {
	engine := httpkit.New(httpkit.Options{Logger: a.log})
	httpkit.RegisterOps(engine, a.opsPages(true))
	a.ops = httpkit.Serve(a.opsListener, engine, a.log)
	a.life.onStop("ops pages", bound, a.ops.Shutdown)
	go a.watchServer(a.ops)
	a.log.Info("serving", "ops", "http://"+a.ops.Addr())
	return nil
}

// watchServer ends the process when a server cannot go on.
func (a *App) watchServer(s *httpkit.Server) {
	<-s.Done()
	if err := s.Err(); err != nil {
		a.fail(err)
	}
}

// opsPages are the pages that every process serves. Redis is not among what a process needs to be ready: without it
// everything works but the live view. Nor does an api need the broker: it accepts tasks without it, and a load balancer
// that took every api out because of nsqd would turn a delay into an outage.
func (a *App) opsPages(pprof bool) httpkit.Ops {
	checks := []httpkit.Check{{Name: "database", Run: a.store.Ping}, {Name: "schema", Run: a.store.CheckSchema}}
	if a.cfg.Role != config.API {
		checks = append(checks, httpkit.Check{Name: "broker", Run: a.publisher.Reachable})
	}
	return httpkit.Ops{Metrics: a.metrics.Handler(), Pprof: pprof, Checks: checks}
}

// brokerReachable is asked for verdicts only.
func (a *App) brokerReachable() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	return a.publisher.Reachable(ctx) == nil
}
