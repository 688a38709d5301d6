package systemtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
)

// Earliest submits tasks that are due at odd moments of the next seconds and tells by how much the earliest of them started
// before its time; less than zero: none did. It skips like Check.
func Earliest(t *testing.T, a system.Adapter) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	need(ctx, t, a)
	var addrs map[string]string
	if a.Serve != nil {
		s, err := a.Serve(ctx, t.TempDir())
		if err != nil {
			t.Fatalf("serve: %v", err)
		}
		defer func() {
			if err := s.Stop(); err != nil {
				t.Errorf("stop servers: %v", err)
			}
		}()
		addrs = s.Addrs()
	}
	e := &early{due: map[int64]time.Time{}}
	sys, err := a.Open(ctx, addrs, t.TempDir(), e)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer func() {
		if err := sys.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if err := e.run(ctx, sys); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

// early is the handler: it compares starts with due times.
type early struct {
	mu   sync.Mutex
	due  map[int64]time.Time
	any  bool
	most time.Duration
}

func (e *early) run(ctx context.Context, sys system.System) error {
	if err := sys.Mark(ctx); err != nil {
		return err
	}
	if err := sys.Work(ctx); err != nil {
		return err
	}
	const n = 40
	begin := time.Now().Add(1500 * time.Millisecond).Truncate(time.Second)
	for i := range int64(n) {
		task := system.Task{Number: i + 1, Due: begin.Add(time.Duration(i*37+13) * time.Millisecond)}
		e.mu.Lock()
		e.due[task.Number] = task.Due
		e.mu.Unlock()
		if err := sys.Submit(ctx, task); err != nil {
			return err
		}
	}
	if err := sys.Await(ctx, n); err != nil {
		return err
	}
	return sys.Hold(ctx)
}

// Handle implements system.Handler.
func (e *early) Handle(_ context.Context, payload []byte) error {
	now := time.Now()
	task, err := system.ParsePayload(payload)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if by := e.due[task.Number].Sub(now); !e.any || by > e.most {
		e.any, e.most = true, by
	}
	return nil
}
