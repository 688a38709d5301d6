package sqldb_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

func TestQueuesAreBounded(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		ctx := context.Background()
		for i := range sqldb.MaxQueues {
			if _, err := s.EnsureLane(ctx, fmt.Sprintf("q%d", i), task.Normal); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.EnsureLane(ctx, "one-more", task.Normal); task.KindOf(err) != task.Invalid {
			t.Errorf("queue %d: %v, want a refusal that names the field", sqldb.MaxQueues+1, err)
		}
		if _, err := s.EnsureLane(ctx, "q0", task.High); err != nil {
			t.Errorf("another priority of a queue that exists: %v", err)
		}
	})
}
