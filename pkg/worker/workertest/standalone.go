package workertest

import (
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/taskweir/taskweir/pkg/worker"
)

// Standalone starts a whole installation with the worker in it, on a free port and in a folder of the test's own, without
// looking at the environment. It ends with the test; its log is the test's. Options go over those of the worker.
func Standalone(t testing.TB, w *worker.Worker, opts ...worker.Option) *worker.Process {
	t.Helper()
	own := []worker.Option{
		worker.Environ(nil), worker.HTTPAddr("127.0.0.1:0"), worker.DataDir(t.TempDir()), worker.Logger(Logger(t)),
	}
	p, err := w.With(append(own, opts...)...).StartStandalone(t.Context())
	if err != nil {
		t.Fatalf("workertest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("workertest: stop: %v", err)
		}
	})
	return p
}

// Logger writes to the log of a test, and drops what comes after its end: a handler that outlives its worker may still write.
func Logger(t testing.TB) *slog.Logger {
	w := &testOutput{out: t.Output()}
	t.Cleanup(w.close)
	return slog.New(slog.NewTextHandler(w, nil))
}

// testOutput is a test's output until the test ends.
type testOutput struct {
	mu  sync.Mutex
	out io.Writer // nil: it has ended
}

// Write writes, or drops.
func (o *testOutput) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.out == nil {
		return len(p), nil
	}
	return o.out.Write(p)
}

func (o *testOutput) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out = nil
}
