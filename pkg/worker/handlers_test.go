package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

type order struct {
	Number int      `json:"number"`
	Lines  []string `json:"lines"`
}

// Validate refuses orders without lines.
func (o order) Validate() error {
	if o.Number < 0 {
		return errors.New("number: must not be negative")
	}
	return nil
}

// run gives what becomes of one task of a handler.
func run(t *testing.T, payload any, h func(context.Context, worker.Task[order]) error, opts ...workertest.TaskOption) *workertest.Task {
	t.Helper()
	w := worker.New()
	worker.Handle(w, "order", h)
	return workertest.New(t, w).Run("order", payload, opts...)
}

func TestWhatAHandlerReturnsDecidesTheTask(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		err      error
		outcomes string
		state    string
		reason   string
		code     string
		message  string
		retryIn  time.Duration
	}{
		"nil":                 {nil, "succeeded", "succeeded", "", "", "", 0},
		"error":               {boom, "failed failed", "failed", "exhausted", "handler_error", "boom", time.Second},
		"permanent":           {worker.Permanent(boom), "failed", "failed", "permanent", "handler_error", "boom", 0},
		"wrapped permanent":   {fmt.Errorf("send: %w", worker.Permanent(boom)), "failed", "failed", "permanent", "handler_error", "send: boom", 0},
		"retry after":         {worker.RetryAfter(time.Minute, boom), "failed failed", "failed", "exhausted", "handler_error", "boom", time.Minute},
		"retry after is less": {worker.RetryAfter(time.Millisecond, boom), "failed failed", "failed", "exhausted", "handler_error", "boom", time.Second},
		"retry after nothing": {worker.RetryAfter(-time.Minute, nil), "failed failed", "failed", "exhausted", "handler_error", "to be tried again later", time.Second},
		"code":                {worker.Code("card_declined", boom), "failed failed", "failed", "exhausted", "card_declined", "boom", time.Second},
		"code of a permanent": {worker.Code("card_declined", worker.Permanent(boom)), "failed", "failed", "permanent", "card_declined", "boom", 0},
		"permanent of a code": {worker.Permanent(worker.Code("card_declined", boom)), "failed", "failed", "permanent", "card_declined", "boom", 0},
		"joined":              {errors.Join(boom, worker.Permanent(errors.New("bang"))), "failed", "failed", "permanent", "handler_error", "boom\nbang", 0},
		"permanent nil":       {worker.Permanent(nil), "succeeded", "succeeded", "", "", "", 0},
		"code of nil":         {worker.Code("x", nil), "succeeded", "succeeded", "", "", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, order{}, func(context.Context, worker.Task[order]) error { return c.err }, workertest.Retries(1, time.Second))
			got.AssertOutcomes(strings.Fields(c.outcomes)...)
			last := got.Attempts[len(got.Attempts)-1]
			if got.State != c.state || got.Reason != c.reason || last.Code != c.code || last.Message != c.message || got.Attempts[0].RetryIn != c.retryIn {
				t.Errorf("%+v", got)
			}
			if !errors.Is(c.err, boom) && strings.Contains(c.message, "boom") {
				t.Error("the error within is not found")
			}
		})
	}
}

func TestASnoozeCountsNothing(t *testing.T) {
	var retries []int
	got := run(t, order{}, func(_ context.Context, o worker.Task[order]) error {
		retries = append(retries, o.Retry())
		switch o.Epoch() {
		case 1:
			return worker.Snooze(5 * time.Minute)
		case 2:
			return fmt.Errorf("not yet: %w", worker.Snooze(0))
		case 3:
			return errors.New("boom")
		}
		return nil
	})
	got.AssertOutcomes("snoozed", "snoozed", "failed", "succeeded")
	if got.Attempts[0].RetryIn != 5*time.Minute || got.Attempts[1].RetryIn != time.Second || !slices.Equal(retries, []int{0, 0, 0, 1}) {
		t.Errorf("retries %v, is %s", retries, got)
	}
	if d := got.Attempts[1].Start.Sub(got.Attempts[0].Start); d < 5*time.Minute || d > 6*time.Minute {
		t.Errorf("the kit's clock moved on by %s", d)
	}
	expired := run(t, order{}, func(context.Context, worker.Task[order]) error { return worker.Snooze(time.Hour) }, workertest.ExpiresIn(time.Minute))
	if expired.State != "failed" || expired.Reason != "expired" {
		t.Error(expired)
	}
}

func TestAPanicFailsTheAttemptWithItsStackAfterItsLog(t *testing.T) {
	got := run(t, order{}, func(_ context.Context, o worker.Task[order]) error {
		o.Logger().Info("about to fall", "epoch", o.Epoch())
		return errors.New(o.Payload.Lines[o.Epoch()])
	}, workertest.Retries(0))
	got.AssertFailed("panic")
	log := got.Attempts[0].Log
	said, fell, stack := strings.Index(log, "about to fall"), strings.Index(log, "index out of range"), strings.Index(log, "handlers_test.go")
	if said < 0 || fell < said || stack < fell {
		t.Errorf("log:\n%s", log)
	}
}

func TestPayloadsThatDoNotFitFailForGoodAndSayWhy(t *testing.T) {
	for payload, why := range map[string]string{
		`{"number":"seven"}`:              "number",
		`[1]`:                             "cannot unmarshal array",
		`{"number":1`:                     "unexpected end",
		`{"number":1}{}`:                  "after top-level value",
		`{"number":-1}`:                   "number: must not be negative",
		`{"number":99999999999999999999}`: "number",
	} {
		called := false
		got := run(t, json.RawMessage(payload), func(context.Context, worker.Task[order]) error { called = true; return nil })
		got.AssertPermanent("invalid_payload")
		if called || len(got.Attempts) != 1 || !strings.Contains(got.Attempts[0].Message, why) {
			t.Errorf("%s: called %v, %s", payload, called, got)
		}
	}
	for _, payload := range []string{``, `null`, `{}`, `{"unknown":{"x":1},"number":3}`} {
		run(t, json.RawMessage(payload), func(context.Context, worker.Task[order]) error { return nil }).AssertSucceeded()
	}
}

func TestStrictRefusesUnknownFields(t *testing.T) {
	w := worker.New()
	worker.Handle(w, "order", func(context.Context, worker.Task[order]) error { return nil }, worker.Strict())
	kit := workertest.New(t, w)
	kit.Run("order", order{Number: 1}).AssertSucceeded()
	for payload, why := range map[string]string{`{"numbr":1}`: "numbr", `{"number":1} 2`: "more than one", `{"number":1}]`: "more than one"} {
		got := kit.Run("order", json.RawMessage(payload))
		got.AssertPermanent("invalid_payload")
		if !strings.Contains(got.Attempts[0].Message, why) {
			t.Error(got)
		}
	}
}

func TestResultsAreKeptAsTheHandlerGaveThem(t *testing.T) {
	w := worker.New()
	worker.HandleResult(w, "sum", func(_ context.Context, x worker.Task[[]int]) (map[string]int, error) {
		if len(x.Payload) == 0 {
			return map[string]int{"dropped": 1}, worker.Permanent(errors.New("nothing to add"))
		}
		sum := 0
		for _, n := range x.Payload {
			sum += n
		}
		return map[string]int{"sum": sum}, nil
	})
	worker.HandleResult(w, "raw", func(_ context.Context, x worker.Task[json.RawMessage]) (json.RawMessage, error) {
		return x.Payload, nil
	})
	worker.HandleResult(w, "odd", func(context.Context, worker.Task[json.RawMessage]) (any, error) { return func() {}, nil })
	worker.HandleResult(w, "big", func(context.Context, worker.Task[json.RawMessage]) (string, error) {
		return strings.Repeat("x", 64<<10), nil
	})
	worker.Handle(w, "set", func(_ context.Context, x worker.Task[json.RawMessage]) error {
		return errors.Join(x.SetResult("first"), x.SetResult("last"))
	})
	worker.Handle(w, "none", func(context.Context, worker.Task[json.RawMessage]) error { return nil })
	kit := workertest.New(t, w)
	sum := kit.Run("sum", []int{1, 2, 3})
	sum.AssertResult(map[string]any{"sum": 6})
	var typed struct{ Sum int }
	if sum.DecodeResult(&typed); typed.Sum != 6 {
		t.Error(typed)
	}
	if got := kit.Run("sum", []int{}); got.Result != nil || got.State != "failed" {
		t.Error(got)
	}
	if got := kit.Run("raw", json.RawMessage("{ \"a\" : 1.50 }")); string(got.Result) != "{ \"a\" : 1.50 }" {
		t.Errorf("not byte for byte: %s", got.Result)
	}
	kit.Run("odd", nil).AssertPermanent("invalid_result")
	kit.Run("big", nil).AssertPermanent("result_too_large")
	kit.Run("set", nil).AssertResult("last")
	if got := kit.Run("none", nil); got.Result != nil {
		t.Errorf("result %s", got.Result)
	}
}

func TestMiddlewareRunsAroundEveryHandlerInItsOrder(t *testing.T) {
	var trace []string
	note := func(name string) worker.Middleware {
		return func(next worker.Handler) worker.Handler {
			return func(ctx context.Context, a *worker.Attempt) error {
				trace = append(trace, name+">")
				err := next(ctx, a)
				trace = append(trace, "<"+name)
				return err
			}
		}
	}
	w := worker.New()
	w.Use(note("a"))
	worker.Handle(w, "k", func(_ context.Context, x worker.Task[order]) error {
		trace = append(trace, x.Kind())
		return nil
	})
	w.Use(note("b"), func(next worker.Handler) worker.Handler {
		return func(ctx context.Context, a *worker.Attempt) error {
			if strings.Contains(string(a.RawPayload()), "13") {
				return worker.Code("unlucky", worker.Permanent(errors.New("no")))
			}
			return next(ctx, a)
		}
	})
	kit := workertest.New(t, w)
	kit.Run("k", order{Number: 1}).AssertSucceeded()
	if got := strings.Join(trace, " "); got != "a> b> k <b <a" {
		t.Error(got)
	}
	kit.Run("k", order{Number: 13}).AssertPermanent("unlucky")
}

func TestAnAttemptKnowsItsTask(t *testing.T) {
	w := worker.New()
	header := http.Header{}
	worker.Handle(w, "k", func(ctx context.Context, x worker.Task[order]) error {
		deadline, _ := ctx.Deadline()
		if x.Kind() != "k" || x.Queue() != "mails" || x.TaskID() == 0 || x.ID() == 0 || x.ID() == x.TaskID() || x.Timeout() != 90*time.Second ||
			time.Until(deadline) > 90*time.Second || time.Until(deadline) < 80*time.Second || x.CreatedAt().IsZero() || x.DueAt().Before(x.CreatedAt()) {
			t.Errorf("%+v", x)
		}
		x.Fence(header)
		if x.Epoch() == 1 {
			return errors.New("again")
		}
		return nil
	}, worker.MaxRun(90*time.Second))
	got := workertest.New(t, w).Run("k", order{}, workertest.Queue("mails"), workertest.Timeout(0))
	got.AssertOutcomes("failed", "succeeded")
	if header.Get("Taskweir-Epoch") != "2" || header.Get("Taskweir-Task-Id") == "" || header.Get("Idempotency-Key") != header.Get("Taskweir-Task-Id") ||
		header.Get("Taskweir-Attempt") == "" {
		t.Error(header)
	}
}

func TestProgressIsHeardInOrderAndBounded(t *testing.T) {
	got := run(t, order{}, func(_ context.Context, x worker.Task[order]) error {
		for i := range 3 {
			if err := x.Progress(map[string]int{"done": i}); err != nil {
				return err
			}
		}
		if err := x.Progress(strings.Repeat("x", 5<<10)); err == nil {
			t.Error("a report of 5 KiB is taken")
		}
		return nil
	})
	if p := got.Attempts[0].Progress; len(p) != 3 || string(p[2]) != `{"done":2}` {
		t.Errorf("%s", p)
	}
}

func TestALogKeepsItsLastLines(t *testing.T) {
	got := run(t, order{}, func(_ context.Context, x worker.Task[order]) error {
		for i := range 5_000 {
			x.Logger().With("n", i).WithGroup("g").Debug(strings.Repeat("x", 100), "i", i)
		}
		return nil
	})
	log := got.Attempts[0].Log
	if len(log) > 64<<10 || len(log) < 60<<10 || !strings.HasSuffix(log, "n=4999 g.i=4999\n") {
		t.Errorf("%d bytes: %.100s … %s", len(log), log, log[max(0, len(log)-100):])
	}
}

func TestWhatIsSaidAfterTheEndIsDropped(t *testing.T) {
	kept := make(chan *worker.Attempt, 1)
	got := run(t, order{}, func(_ context.Context, x worker.Task[order]) error {
		x.Logger().Info("in time")
		kept <- x.Attempt
		return nil
	})
	a := <-kept
	a.Logger().Info("too late")
	if err := a.SetResult("too late"); err != nil {
		t.Error(err)
	}
	if strings.Contains(got.Attempts[0].Log, "too late") || got.Result != nil {
		t.Error(got)
	}
}

func TestMistakesInRegisteringAreAllSaidAtTheStart(t *testing.T) {
	w := worker.New(worker.Setting("worker.slotz", "1"))
	h := func(context.Context, worker.Task[order]) error { return nil }
	worker.Handle(w, "Upper", h)
	worker.Handle(w, "http", h)
	worker.Handle(w, "system.purge", h)
	worker.Handle(w, "k", h)
	worker.Handle(w, "k", h)
	worker.Handle[order](w, "nil", nil)
	worker.Handle(w, "slow", h, worker.MaxRun(-1))
	_, err := w.Start(t.Context())
	for _, want := range []string{`"worker.slotz"`, `"Upper"`, `"http" is built in`, `"system.purge" is built in`, `"k" is handled twice`, `"nil": the handler is nil`, "MaxRun"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if err := worker.New().Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Error(err)
	}
}
