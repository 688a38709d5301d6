package scheduler

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
)

// Nothing is limited in a memStore. Limits are tested with real parts (limits_real_test.go).

func (m *memStore) LimitsSince(context.Context, int64) ([]task.Limit, int64, error) {
	return nil, 1, nil
}

func (m *memStore) LimitCounts(context.Context, []task.LimitScope) (map[task.LimitScope]task.LimitCount, error) {
	return nil, nil
}

func (m *memStore) AuditLimits(context.Context, task.LimitScope, int) (int, task.LimitScope, error) {
	return 0, "", nil
}

func (m *memStore) DueFlows(context.Context, int32, int32, task.BellKind, int64, int) ([]task.FlowDue, error) {
	return nil, nil
}

func (m *memStore) FlowBells(context.Context, int32, int32, task.BellKind, int64, []task.FlowWant) ([]task.Bell, error) {
	return nil, nil
}
