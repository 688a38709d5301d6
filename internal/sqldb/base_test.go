package sqldb_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTaskIDsGrow(t *testing.T) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) {
		ctx := context.Background()
		if err := s.CheckSchema(ctx); err != nil {
			t.Fatal(err)
		}
		last := int64(0)
		for _, n := range []int{1, 10, 100, 64, 20_000, 1} {
			first, err := s.TaskIDs(ctx, n)
			if err != nil {
				t.Fatal(err)
			}
			if first <= last {
				t.Fatalf("ids went from %d to %d", last, first)
			}
			last = first + int64(n) - 1
		}
	})
}
