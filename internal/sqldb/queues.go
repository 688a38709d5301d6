package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	depthBells = 1_000 // bells of one (lane, app) and kind that a depth reads
	depthAll   = 5_000 // … of which all together read so many and then stop: what is left of a pair counts as one task
	depthExact = 2_000 // tasks of a queue that are looked at one by one
)

// depth is what is summed for a queue.
type depth struct {
	task.QueueDepth
	listed map[int64]struct{} // tasks that bells list, …
	bells  map[int64]struct{} // … and these bells: a task waits in one of them, others may still list it
	rough  bool               // more are listed than are looked at one by one
}

// Queues tells depth and age of every queue, by name. appID 0 counts all apps. It reads a bounded number of bells for
// each (lane, app) that has any; small queues are exact, in deep ones a bell counts as many tasks as it lists, of which
// some may be cancelled.
func (s *Store) Queues(ctx context.Context, appID int32, now int64) ([]task.QueueDepth, error) {
	lanes, err := s.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	byName, byLane, err := s.emptyDepths(ctx, lanes)
	if err != nil {
		return nil, err
	}
	pairs, err := s.duePairsOf(ctx, appID)
	if err != nil {
		return nil, err
	}
	budget := depthAll
	for _, p := range pairs {
		switch d := byLane[p.LaneID]; {
		case d == nil:
		case budget <= 0:
			d.add(p.MinDue, 1, now)
			d.AtLeast = true
		default:
			read, err := s.addWaiting(ctx, d, p, now)
			if err != nil {
				return nil, err
			}
			budget -= read
		}
	}
	for _, d := range byName {
		if err := s.countListed(ctx, d, now); err != nil {
			return nil, err
		}
	}
	if err := s.addRunning(ctx, byLane, appID); err != nil {
		return nil, err
	}
	limits, err := s.QueueLimits(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]task.QueueDepth, 0, len(byName))
	for _, d := range byName {
		d.Limits = limits[d.Queue]
		out = append(out, d.QueueDepth)
	}
	slices.SortFunc(out, func(a, b task.QueueDepth) int {
		if a.Queue < b.Queue {
			return -1
		}
		return 1
	})
	return out, nil
}

func (s *Store) emptyDepths(ctx context.Context, lanes []task.Lane) (map[string]*depth, map[int32]*depth, error) {
	byName, byLane := map[string]*depth{}, map[int32]*depth{}
	err := s.readEach(ctx, "SELECT name,paused FROM queues", func(rows *sql.Rows) error {
		d := &depth{listed: map[int64]struct{}{}, bells: map[int64]struct{}{}}
		err := rows.Scan(&d.Queue, &d.Paused)
		byName[d.Queue] = d
		return err
	})
	for _, l := range lanes {
		if d := byName[l.Queue]; d != nil {
			byLane[l.ID] = d
		}
	}
	return byName, byLane, err
}

// addWaiting reads the bells of one (lane, app) and kind, the earliest first, and gives how many.
func (s *Store) addWaiting(ctx context.Context, d *depth, p task.LaneApp, now int64) (read int, err error) {
	query := newText(4).s("SELECT " + bellColumns + " FROM bells WHERE lane_id=").n(int64(p.LaneID)).s(" AND app_id=").n(int64(p.AppID)).
		s(" AND kind=").n(int64(p.Kind)).s(" ORDER BY due_at LIMIT ").n(depthBells).String()
	err = s.readEach(ctx, query, func(rows *sql.Rows) error {
		b, err := scanBell(rows)
		read++
		if d.rough = d.rough || len(d.listed)+len(b.TaskIDs) > depthExact; d.rough {
			d.add(b.DueAt, int64(len(b.TaskIDs)), now)
			return err
		}
		d.bells[b.ID] = struct{}{}
		for _, id := range b.TaskIDs {
			d.listed[id] = struct{}{}
		}
		return err
	})
	d.AtLeast = d.AtLeast || read == depthBells
	return read, err
}

func (d *depth) add(due, n, now int64) {
	if due > now {
		d.Scheduled += n
		return
	}
	d.Waiting += n
	if d.OldestDueAt == 0 || due < d.OldestDueAt {
		d.OldestDueAt = due
	}
}

// countListed counts the listed tasks that really wait there.
func (s *Store) countListed(ctx context.Context, d *depth, now int64) error {
	ids := make([]int64, 0, len(d.listed))
	for id := range d.listed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for part := range slices.Chunk(ids, maxList) {
		if err := s.readEach(ctx, newText(len(part)).s("SELECT id,holder,due_at FROM tasks WHERE id IN (").ids(part).s(") AND state=2").String(), func(rows *sql.Rows) error {
			var id, holder, due int64
			err := rows.Scan(&id, &holder, &due)
			if _, read := d.bells[holder]; read {
				d.add(due, 1, now)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// addRunning counts running tasks by their claims: there are never more than the workers have slots.
func (s *Store) addRunning(ctx context.Context, byLane map[int32]*depth, appID int32) error {
	var ids []int64
	err := s.readEach(ctx, newText(1).s("SELECT task_ids FROM claims ORDER BY id DESC LIMIT ").n(listBudget).String(), func(rows *sql.Rows) error {
		var listed sql.RawBytes
		err := rows.Scan(&listed)
		if len(ids) < listBudget {
			ids = appendParsed(ids, []byte(listed))
		}
		return err
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(sortedIDs(ids), maxList) {
		x := newText(len(part)).s("SELECT lane_id,COUNT(*) FROM tasks WHERE id IN (").ids(part).s(") AND state=3")
		if appID != 0 {
			x.s(" AND app_id=").n(int64(appID))
		}
		if err := s.readEach(ctx, x.s(" GROUP BY lane_id").String(), func(rows *sql.Rows) error {
			var lane int32
			var n int64
			err := rows.Scan(&lane, &n)
			if d := byLane[lane]; d != nil {
				d.Running += n
				d.AtLeast = d.AtLeast || len(ids) >= listBudget
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
