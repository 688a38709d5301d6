package sqldb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// TestLooksOfManyAppsAreFewRoundTrips: many apps with few bells each are what a service for many has nearly always. The server is
// right then not to dive, and a look must not be a round trip for each app, whatever its figures say.
func TestLooksOfManyAppsAreFewRoundTrips(t *testing.T) {
	for _, c := range []struct {
		apps, bells int
		fresh       bool
		first, next int // statements of the first look ever, and of the first of a later second
	}{
		{150, 1, true, 2, 2},
		{150, 1, false, 2, 2},
		{150, 5, false, 2, 2},
		{500, 1, true, 2, 2}, // here MariaDB 10.11 reads, though its figures are right
		{150, 30, true, 160, 4},
		{150, 30, false, 160, 4},
		{3000, 1, true, 210, 4}, // and here
		{3000, 1, false, 210, 4},
	} {
		t.Run(fmt.Sprintf("%d apps with %d bells, fresh figures %v", c.apps, c.bells, c.fresh), func(t *testing.T) {
			url := sqldbtest.URL(t, "mysql")
			w := newWorld(t, sqldbtest.Open(t, url))
			w.must2(w.s.DB().ExecContext(w.ctx, "ALTER TABLE bells STATS_AUTO_RECALC=0"))
			w.must2(w.s.DB().ExecContext(w.ctx, "ANALYZE TABLE bells"))
			var rows []string
			for i := range c.apps * c.bells {
				rows = append(rows, fmt.Sprintf("(%d,0,%d,%d,%d,0,%d,0,1,0,'7')", i+1, task.ShardOf(w.lane.ID), w.lane.ID, 1+i%c.apps, 1000+i))
			}
			w.must(w.s.Exec(w.ctx, "INSERT INTO bells (id,kind,shard,lane_id,app_id,epoch,due_at,direct,n,flow,task_ids) VALUES "+strings.Join(rows, ",")))
			if c.fresh {
				w.must2(w.s.DB().ExecContext(w.ctx, "ANALYZE TABLE bells"))
			}
			sent := 0
			sqldb.HookMySQL(t, w.s, url, func(_ string, _ func() ([][2]string, error), run func() error) error {
				sent++
				return run()
			})
			look := func(what string, most int) {
				t.Helper()
				sent = 0
				pairs, err := w.s.DuePairs(w.ctx)
				w.must(err)
				if len(pairs) != c.apps || pairs[0] != (task.LaneApp{LaneID: w.lane.ID, AppID: 1, MinDue: 1000}) {
					t.Errorf("%s: %d pairs, %+v", what, len(pairs), pairs[:min(len(pairs), 1)])
				}
				if t.Logf("%s: %d statements", what, sent); sent > most {
					t.Errorf("%s: %d statements, want at most %d", what, sent, most)
				}
			}
			look("first", c.first)
			w.s.ForgetPlans()
			look("a second later", c.next)
			look("at once", 1)
			sent = 0
			w.must2(w.s.ShardsDue(w.ctx))
			if t.Logf("shards: %d statements", sent); sent > 3 {
				t.Errorf("shards: %d statements", sent)
			}
		})
	}
}
