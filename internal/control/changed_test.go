package control

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// leaving is a store that makes every change and is away when the task is to be read again, or does not know whether it made it.
type leaving struct {
	shelf
	err error // of changes
}

func (l *leaving) Reopen(context.Context, int32, int64, bool) (task.Bell, error) {
	return task.Bell{}, l.err
}
func (l *leaving) RunNow(context.Context, int32, int64) (task.Bell, error) {
	return task.Bell{}, l.err
}
func (l *leaving) Cancel(context.Context, int32, int64) (task.CancelReport, error) {
	return task.CancelReport{State: task.Cancelled, Found: task.Waiting}, l.err
}
func (l *leaving) Abandon(context.Context, int32, int64) (*task.Bell, error) { return nil, l.err }
func (l *leaving) Complete(context.Context, int32, task.Completion) (task.CompletionReport, error) {
	return task.CompletionReport{Final: task.Succeeded}, l.err
}
func (l *leaving) State(context.Context, int32, int64) (task.Task, error) {
	return task.Task{ID: 7}, nil
}
func (l *leaving) WriteAudit(context.Context, *task.AuditEntry) error { return nil }

func (l *leaving) Views(context.Context, int32, []int64) ([]task.View, error) {
	return nil, task.Gone("database_unavailable", fmt.Errorf("connection refused"))
}

// TestAChangeIsNeverAnsweredAsNone: a 503 other than outcome_unknown says that nothing was changed, and a client repeats what it asked
// for. So the database that goes away behind a change must not be answered with it, nor a commit of which nobody knows with 500.
func TestAChangeIsNeverAnsweredAsNone(t *testing.T) {
	for _, err := range []error{nil, fmt.Errorf("change: %w", task.ErrOutcomeUnknown)} {
		l, boss := &leaving{err: err}, me
		boss.Scope = task.ScopeManage
		svc := New(Options{Store: l, Clock: l, Ringer: &bellsRung{}})
		for name, change := range map[string]func() error{
			"retry":    func() error { _, err := svc.Retry(t.Context(), me, 7, false); return err },
			"run now":  func() error { _, err := svc.RunNow(t.Context(), me, 7); return err },
			"cancel":   func() error { _, err := svc.Cancel(t.Context(), me, 7, 0); return err },
			"abandon":  func() error { _, err := svc.Abandon(t.Context(), boss, 7); return err },
			"complete": func() error { _, err := svc.Complete(t.Context(), me, 7, done()); return err },
		} {
			if got := change(); task.CodeOf(got) != "outcome_unknown" || task.KindOf(got) != task.Unavailable {
				t.Errorf("%s, the store said %v: %v", name, err, got)
			}
		}
		if err := svc.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// stopping is a store with a running task, whose cancel it takes.
type stopping struct{ shelf }

func (s *stopping) Cancel(context.Context, int32, int64) (task.CancelReport, error) {
	return task.CancelReport{State: task.Running, Found: task.Running, WorkerID: 3, Epoch: 1}, nil
}
func (s *stopping) WriteAudit(context.Context, *task.AuditEntry) error { return nil }
func (s *stopping) Views(context.Context, int32, []int64) ([]task.View, error) {
	return []task.View{{Task: task.Task{ID: 7, State: task.Running, Epoch: 1, CancelAt: 1}}}, nil
}

// TestACancelThatCannotWaitIsAnswered: with as many callers waiting as there may be, a cancel is stored all the same, and its answer
// is the task, not that it was turned away.
func TestACancelThatCannotWaitIsAnswered(t *testing.T) {
	s := &stopping{}
	svc := New(Options{Store: s, Clock: s, Ringer: &bellsRung{}})
	defer svc.Close(context.Background())
	svc.waiting.mu.Lock()
	svc.waiting.n = maxWaiters
	svc.waiting.mu.Unlock()
	v, err := svc.Cancel(t.Context(), me, 7, 10*time.Second)
	if err != nil || v.State != task.Running || v.CancelAt == 0 {
		t.Errorf("%+v, %v", v.Task, err)
	}
	if _, err := svc.Wait(t.Context(), me, 7, time.Second); task.CodeOf(err) != "too_many_waiting" {
		t.Errorf("a wait: %v", err)
	}
}
