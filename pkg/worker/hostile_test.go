package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

// deep is a payload nested as deep as n.
func deep(n int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", n) + strings.Repeat("]", n))
}

// Whatever a handler does, its task ends as the text of the package says, and the worker runs the next one.
func TestHostileHandlers(t *testing.T) {
	t.Parallel()
	everywhere(t, hostileHandlers)
}

func hostileHandlers(t *testing.T) (*worker.Worker, func(*place)) {
	w := worker.New(worker.Slots(8), worker.Setting("worker.grace", "200ms"), worker.DrainTime(0))
	w.Use(func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, a *worker.Attempt) error {
			switch a.Kind() {
			case "mute": // the handler is never called
				return nil
			case "twice":
				return errors.Join(next(ctx, a), next(ctx, a))
			}
			return next(ctx, a)
		}
	})
	var called atomic.Int32
	nothing := func(context.Context, worker.Task[json.RawMessage]) error { called.Add(1); return nil }
	worker.Handle(w, "mute", nothing)
	worker.Handle(w, "twice", nothing)
	worker.Handle(w, "ok", func(context.Context, worker.Task[json.RawMessage]) error { return nil })
	worker.Handle(w, "goexit", func(_ context.Context, x worker.Task[any]) error {
		x.Logger().Info("before the end")
		runtime.Goexit()
		return nil
	})
	worker.Handle(w, "panic.nil", func(context.Context, worker.Task[any]) error { panic(nil) }) //nolint:govet // that is the point
	worker.Handle(w, "panic.error", func(context.Context, worker.Task[any]) error { panic(worker.Permanent(errors.New("x"))) })
	worker.Handle(w, "panic.stringer", func(context.Context, worker.Task[any]) error { panic(evil{}) })
	worker.Handle(w, "error.evil", func(context.Context, worker.Task[any]) error { return evil{} })
	worker.Handle(w, "error.nil", func(context.Context, worker.Task[any]) error { return (*nilError)(nil) })
	worker.Handle(w, "error.large", func(context.Context, worker.Task[any]) error { return errors.New(strings.Repeat("\xff\x00ä", 1<<20)) })
	worker.Handle(w, "code.large", func(context.Context, worker.Task[any]) error {
		return worker.Code("x"+strings.Repeat("ä", 40), errors.New("x"))
	})
	worker.Handle(w, "code.bytes", func(context.Context, worker.Task[any]) error {
		return worker.Code("\xffa\x00", errors.New("\xffb\x00"))
	})
	worker.HandleResult(w, "result.nan", func(context.Context, worker.Task[any]) (float64, error) { return math.NaN(), nil })
	worker.HandleResult(w, "result.channel", func(context.Context, worker.Task[any]) (chan int, error) { return nil, nil })
	worker.HandleResult(w, "result.large", func(context.Context, worker.Task[any]) (string, error) { return strings.Repeat("x", 64<<10), nil })
	worker.HandleResult(w, "result.evil", func(context.Context, worker.Task[any]) (evil, error) { return evil{}, nil })
	worker.HandleResult(w, "result.raw", func(context.Context, worker.Task[any]) (json.RawMessage, error) {
		return json.RawMessage("{"), nil
	})
	worker.HandleResult(w, "result.nil", func(context.Context, worker.Task[any]) (json.RawMessage, error) { return nil, nil })
	worker.Handle(w, "chatter", func(_ context.Context, x worker.Task[any]) error {
		for i := range 100_000 {
			if err := x.Progress(i); err != nil {
				return err
			}
		}
		if err := x.Progress(math.Inf(1)); err == nil {
			return errors.New("took an infinite progress")
		}
		line := strings.Repeat("y", 100_000)
		for range 200 { // 20 MB
			x.Logger().Debug(line)
		}
		x.Logger().Info("the last line")
		return nil
	})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	worker.Handle(w, "forever", func(context.Context, worker.Task[any]) error { <-release; return nil }, worker.MaxRun(100*time.Millisecond))
	for name := range payloads {
		worker.HandleResult(w, "payload."+name, func(_ context.Context, x worker.Task[struct{ A *int }]) (bool, error) { return x.Payload.A == nil, nil })
	}

	return w, func(p *place) {
		once := client.MaxRetries(0)
		for kind, want := range map[string]string{
			"mute": "succeeded", "twice": "succeeded",
			"goexit": "failed exhausted goexit", "panic.nil": "failed exhausted panic", "panic.error": "failed exhausted panic", "panic.stringer": "failed exhausted panic",
			"error.evil": "failed exhausted panic", "error.nil": "failed exhausted panic", "error.large": "failed exhausted handler_error",
			"code.large": "failed exhausted x" + strings.Repeat("ä", 31), "code.bytes": "failed exhausted a\x00",
			"result.nan": "failed permanent invalid_result", "result.channel": "failed permanent invalid_result", "result.large": "failed permanent result_too_large",
			"result.evil": "failed exhausted panic", "result.raw": "failed permanent invalid_result", "result.nil": "succeeded", "chatter": "succeeded",
		} {
			got := p.final(t, p.submit(t, kind, nil, once, client.NoTimeout()))
			has := strings.TrimSpace(got.State + " " + got.Reason)
			if got.Error != nil {
				has += " " + got.Error.Code
			}
			if has != want {
				t.Errorf("%s: %s, want %s: %.2000s", kind, has, want, text(got))
			}
			switch log := got.Attempts[0].LogTail; kind {
			case "chatter":
				if !strings.Contains(log, "the last line") {
					t.Errorf("the log ends with %.200s", log)
				}
			case "goexit":
				if !strings.Contains(log, "before the end") {
					t.Errorf("what it wrote is gone: %q", log)
				}
			case "result.nil":
				if string(got.Result) != "null" {
					t.Errorf("result %s", got.Result)
				}
			}
		}
		if n := called.Load(); n != 2 {
			t.Errorf("handlers behind the middleware were called %d times", n)
		}
		for name, x := range payloads {
			got := p.final(t, p.submit(t, "payload."+name, x.payload, once))
			if has := got.State; has != x.state {
				t.Errorf("payload %s: %.500s", name, text(got))
			}
		}
		// Four that never end: each keeps its slot, the others go on.
		for range 4 {
			p.submit(t, "forever", nil, once)
		}
		for range 20 {
			if got := p.final(t, p.submit(t, "ok", nil)); got.State != "succeeded" {
				t.Error(text(got))
			}
		}
	}
}

var payloads = map[string]struct {
	payload any
	state   string
}{
	"null": {nil, "succeeded"}, "deep": {deep(200), "failed"}, "text": {"x", "failed"}, "unknown": {map[string]int{"b": 1}, "succeeded"},
	"deep-field": {json.RawMessage(`{"b":` + string(deep(200)) + `}`), "succeeded"}, "twice": {json.RawMessage(`{"A":1,"A":null}`), "succeeded"},
}

// evil panics whenever it is asked anything.
type evil struct{}

func (evil) Error() string                { panic("no text") }
func (evil) String() string               { panic("no text") }
func (evil) MarshalJSON() ([]byte, error) { panic("no JSON") }

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// A program that asks for the old panic(nil) does not get a success from it.
func TestAPanicWithNothingIsNoSuccess(t *testing.T) {
	t.Setenv("GODEBUG", "panicnil=1")
	w := worker.New()
	worker.Handle(w, "nil", func(context.Context, worker.Task[any]) error { panic(nil) }) //nolint:govet // that is the point
	workertest.New(t, w).Run("nil", nil, workertest.Retries(0)).AssertFailed("panic")
}

// The kit sees the same as an installation does.
func TestHostileHandlersInTheKit(t *testing.T) {
	w := worker.New()
	worker.Handle(w, "evil", func(context.Context, worker.Task[any]) error { return evil{} })
	worker.Handle(w, "goexit", func(context.Context, worker.Task[any]) error { runtime.Goexit(); return nil })
	worker.Handle(w, "nil", func(context.Context, worker.Task[any]) error { panic(nil) }) //nolint:govet // that is the point
	kit := workertest.New(t, w)
	for kind, code := range map[string]string{"evil": "panic", "goexit": "goexit", "nil": "panic"} {
		kit.Run(kind, nil, workertest.Retries(0)).AssertFailed(code)
	}
}
