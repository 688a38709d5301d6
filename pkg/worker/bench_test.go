package worker_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/taskweir/taskweir/internal/runner/basic"
	engine "github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/worker"
)

// BenchmarkCall measures what a handler of this package costs beside the same echo as a bare runner, without an engine: what is left
// when the noise of claims and flushes is taken away. BenchmarkEcho of internal/worker has both in the engine.
func BenchmarkCall(b *testing.B) {
	job := engine.Job{TaskID: 1, Epoch: 1, Kind: "k", Payload: []byte(`{"number":17,"lines":["a","b"]}`)}
	call := func(b *testing.B, r engine.Runner) {
		b.ReportAllocs()
		for b.Loop() {
			if res := r.Run(b.Context(), job); len(res.Body) == 0 {
				b.Fatal("no echo")
			}
		}
	}
	typed := func(b *testing.B, register func(w *worker.Worker)) {
		w := worker.New()
		register(w)
		rs, err := w.Runners()
		if err != nil {
			b.Fatal(err)
		}
		call(b, rs[0])
	}
	b.Run("bare", func(b *testing.B) { call(b, basic.Echo{}) })
	// What encoding/json alone takes for the payload and result of typed.
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var o order
			if err := json.Unmarshal(job.Payload, &o); err != nil {
				b.Fatal(err)
			}
			if raw, err := json.Marshal(o); err != nil || len(raw) == 0 {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		typed(b, func(w *worker.Worker) {
			worker.HandleResult(w, "k", func(_ context.Context, t worker.Task[json.RawMessage]) (json.RawMessage, error) {
				return t.Payload, nil
			})
		})
	})
	b.Run("typed", func(b *testing.B) {
		typed(b, func(w *worker.Worker) {
			worker.HandleResult(w, "k", func(_ context.Context, t worker.Task[order]) (order, error) { return t.Payload, nil })
		})
	})
}
