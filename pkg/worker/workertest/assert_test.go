package workertest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/pkg/worker"
	"github.com/taskweir/taskweir/pkg/worker/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said  []string
	fatal bool
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.fatal = true
	runtime.Goexit()
}

// record runs f as a test and gives what it complained of.
func record(t *testing.T, f func(t testing.TB)) *recorder {
	t.Helper()
	r, done := &recorder{TB: t}, make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func newWorker() *worker.Worker {
	w := worker.New()
	worker.HandleResult(w, "double", func(_ context.Context, t worker.Task[int]) (int, error) {
		if t.Payload < 0 {
			return 0, worker.Code("negative", errors.New("no"))
		}
		t.Logger().Info("doubling", "n", t.Payload)
		return 2 * t.Payload, nil
	})
	worker.Handle(w, "never", func(context.Context, worker.Task[any]) error { return worker.Snooze(1) })
	return w
}

// Every assertion accepts what it is about and refuses the rest, with how the task went.
func TestAssertionsFailWhereTheyShould(t *testing.T) {
	kit := func(t testing.TB) *workertest.Kit { return workertest.New(t, newWorker()) }
	good := func(t testing.TB) *workertest.Task { return kit(t).Run("double", 4) }
	bad := func(t testing.TB) *workertest.Task { return kit(t).Run("double", -4, workertest.Retries(1)) }
	wrong := func(t testing.TB) *workertest.Task { return kit(t).Run("double", "four") }
	for name, c := range map[string]struct {
		holds, fails func(t testing.TB)
	}{
		"succeeded": {func(t testing.TB) { good(t).AssertSucceeded() }, func(t testing.TB) { bad(t).AssertSucceeded() }},
		"failed":    {func(t testing.TB) { bad(t).AssertFailed("negative") }, func(t testing.TB) { good(t).AssertFailed("negative") }},
		"code":      {func(t testing.TB) { wrong(t).AssertFailed("invalid_payload") }, func(t testing.TB) { bad(t).AssertFailed("positive") }},
		"permanent": {func(t testing.TB) { wrong(t).AssertPermanent("invalid_payload") }, func(t testing.TB) { bad(t).AssertPermanent("negative") }},
		"cancelled": {func(testing.TB) {}, func(t testing.TB) { bad(t).AssertCancelled() }},
		"outcomes":  {func(t testing.TB) { bad(t).AssertOutcomes("failed", "failed") }, func(t testing.TB) { bad(t).AssertOutcomes("failed") }},
		"result":    {func(t testing.TB) { good(t).AssertResult(8) }, func(t testing.TB) { good(t).AssertResult(9) }},
		"no result": {func(testing.TB) {}, func(t testing.TB) { bad(t).AssertResult(0) }},
		"log":       {func(t testing.TB) { good(t).AssertLog("n=4") }, func(t testing.TB) { bad(t).AssertLog("n=") }},
		"kind":      {func(t testing.TB) { kit(t).Submit("double", 1) }, func(t testing.TB) { kit(t).Submit("triple", 1) }},
		"payload":   {func(testing.TB) {}, func(t testing.TB) { kit(t).Submit("double", func() {}) }},
		"too large": {func(testing.TB) {}, func(t testing.TB) { kit(t).Submit("double", strings.Repeat("x", 256<<10)) }},
		"final":     {func(t testing.TB) { kit(t).Submit("double", 1).Next() }, func(t testing.TB) { good(t).Next() }},
		"for ever":  {func(testing.TB) {}, func(t testing.TB) { kit(t).Run("never", nil) }},
		"decode":    {func(t testing.TB) { good(t).DecodeResult(new(int)) }, func(t testing.TB) { good(t).DecodeResult(new(string)) }},
	} {
		if r := record(t, c.holds); len(r.said) > 0 {
			t.Errorf("%s: complains: %v", name, r.said)
		}
		if r := record(t, c.fails); len(r.said) != 1 {
			t.Errorf("%s: does not complain once: %v", name, r.said)
		}
	}
	r := record(t, func(t testing.TB) { bad(t).AssertSucceeded() })
	if !strings.Contains(r.said[0], "epoch 1 failed: negative: no, again in 1s") || !strings.Contains(r.said[0], "exhausted") {
		t.Error(r.said[0])
	}
}
