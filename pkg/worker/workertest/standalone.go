package workertest

import (
	"log/slog"
	"testing"

	"github.com/taskweir/taskweir/pkg/worker"
)

// Standalone starts a whole installation with the worker in it, on a free port and in a folder of the test's own, without
// looking at the environment. It ends with the test; its log is the test's. Options go over those of the worker.
func Standalone(t testing.TB, w *worker.Worker, opts ...worker.Option) *worker.Process {
	t.Helper()
	own := []worker.Option{
		worker.Environ(nil), worker.HTTPAddr("127.0.0.1:0"), worker.DataDir(t.TempDir()),
		worker.Logger(slog.New(slog.NewTextHandler(t.Output(), nil))),
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
