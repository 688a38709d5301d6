package worker_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/taskweir/taskweir/internal/runner/basic"
	"github.com/taskweir/taskweir/internal/worker"
	handlers "github.com/taskweir/taskweir/pkg/worker"
)

// BenchmarkEcho compares a handler of pkg/worker with a runner inside the engine: the same echo, bare, by a typed handler that takes
// JSON as it is, and by one that decodes and encodes.
func BenchmarkEcho(b *testing.B) {
	const payload = `{"order":17,"city":"Zürich"}`
	type order struct {
		Order int    `json:"order"`
		City  string `json:"city"`
	}
	typed := func(b *testing.B, register func(w *handlers.Worker)) worker.Runner {
		w := handlers.New()
		register(w)
		rs, err := w.Runners()
		if err != nil {
			b.Fatal(err)
		}
		return rs[0]
	}
	b.Run("bare", func(b *testing.B) { worker.DrainFree(b, basic.Echo{}, payload) })
	b.Run("raw", func(b *testing.B) {
		worker.DrainFree(b, typed(b, func(w *handlers.Worker) {
			handlers.HandleResult(w, "k", func(_ context.Context, t handlers.Task[json.RawMessage]) (json.RawMessage, error) {
				return t.Payload, nil
			})
		}), payload)
	})
	b.Run("typed", func(b *testing.B) {
		worker.DrainFree(b, typed(b, func(w *handlers.Worker) {
			handlers.HandleResult(w, "k", func(_ context.Context, t handlers.Task[order]) (order, error) { return t.Payload, nil })
		}), payload)
	})
}
