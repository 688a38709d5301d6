package sqldb

import (
	"context"
	"database/sql"

	"github.com/taskweir/taskweir/internal/schedule"
)

// PurgeSlots deletes slots that were decided before an instant, and slots and runs of deleted schedules, about limit rows
// (at most 500) of each kind, and gives how many rows it deleted: 0 when nothing is left. Slots that wait are kept, and tasks are
// never touched. A backfilled slot counts from its decision, not from its instant, which may be long ago; one that was skipped
// long before its instant stays until that is over too, for its row is what keeps it from being planned again.
func (s *Store) PurgeSlots(ctx context.Context, before int64, limit int) (deleted int, err error) {
	limit = min(max(1, limit), maxList)
	old := newText(2).s("SELECT schedule_id,origin,slot_at FROM slots WHERE fired_at<").n(before).s(" AND outcome<>").n(int64(schedule.Held)).
		s(" AND (outcome<>").n(int64(schedule.SkippedByUser)).s(" OR slot_at<").n(before).s(") ORDER BY fired_at LIMIT ").n(int64(limit)).String()
	if deleted, err = s.purgeRows(ctx, slotRows, old); err != nil {
		return deleted, err
	}
	gone, err := s.ids(ctx, newText(1).s("SELECT id FROM schedules_deleted ORDER BY id LIMIT ").n(int64(limit)).String())
	if err != nil {
		return deleted, err
	}
	for _, id := range gone {
		n, err := s.purgeDeleted(ctx, id, limit)
		if deleted += n; err != nil || deleted >= limit {
			return deleted, err
		}
	}
	return deleted, nil
}

// purgeDeleted deletes what is left of one deleted schedule, at most limit rows of each table, and at the end the note that
// it was deleted.
func (s *Store) purgeDeleted(ctx context.Context, id int64, limit int) (int, error) {
	deleted, err := s.purgeRows(ctx, slotRows, newText(2).s("SELECT schedule_id,origin,slot_at FROM slots WHERE schedule_id=").n(id).
		s(" ORDER BY origin,slot_at LIMIT ").n(int64(limit)).String())
	if err != nil {
		return 0, err
	}
	runs, err := s.ids(ctx, newText(2).s("SELECT task_id FROM schedule_runs WHERE schedule_id=").n(id).s(" ORDER BY state,task_id LIMIT ").n(int64(limit)).String())
	if err != nil {
		return deleted, err
	}
	del := listDelete{table: "schedule_runs", column: "task_id"}
	if len(runs) == 0 && deleted == 0 {
		del, runs = listDelete{table: "schedules_deleted", column: "id"}, []int64{id}
	}
	if len(runs) == 0 {
		return deleted, nil
	}
	n, err := s.deleted(ctx, func(ctx context.Context, t tx) (int64, error) { return s.deleteIDs(ctx, t, del, sortedIDs(runs)) })
	return deleted + n, err
}

// purgeRows deletes the rows whose keys a query finds.
func (s *Store) purgeRows(ctx context.Context, of keyedTable, query string) (int, error) {
	var keys [][]int64
	if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		key := make([]int64, 3)
		err := rows.Scan(&key[0], &key[1], &key[2])
		keys = append(keys, key)
		return err
	}); err != nil || len(keys) == 0 {
		return 0, err
	}
	if err := s.writeAgain(ctx, func(ctx context.Context, t tx) error { return s.dropRows(ctx, t, of, keys) }); err != nil {
		return 0, err
	}
	return len(keys), nil
}
