package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// Claim and finish name consecutive ids as a stretch. While somebody else holds the rows on both sides of it, neither
// waits for them.
func TestStretchesDoNotWaitForNeighbours(t *testing.T) {
	w := newWorld(t, sqldbtest.New(t, "mysql"))
	ids, bells := w.submit(300, nil)
	ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
	defer cancel()
	tx, err := w.s.DB().BeginTx(ctx, nil)
	w.must(err)
	defer tx.Rollback() //nolint:errcheck // it only locked
	for _, id := range []int64{ids[99], ids[200]} {
		var locked int64
		w.must(tx.QueryRowContext(ctx, "SELECT id FROM tasks WHERE id=? FOR UPDATE", id).Scan(&locked))
	}
	want(t, "tasks of the middle bell", len(bells[1].TaskIDs), 100)
	want(t, "first of the middle bell", bells[1].TaskIDs[0], ids[100])
	req := task.ClaimRequest{WorkerID: w.worker, LaneID: w.lane.ID, Bells: bellIDs(bells[1:2]), Max: 100, Kinds: w.kinds}
	c, err := w.s.Claim(ctx, req)
	if err != nil || len(c.Tasks) != 100 {
		t.Fatalf("claim beside locked rows: %d, %v", len(c.Tasks), err)
	}
	var ends []*task.Ending
	for i := range c.Tasks {
		ends = append(ends, w.ending(c, i))
	}
	if _, err := w.s.Finish(ctx, task.FinishBatch{WorkerID: w.worker, Endings: ends, Emptied: []int64{c.ClaimID}}); err != nil {
		t.Fatalf("finish beside locked rows: %v", err)
	}
}
