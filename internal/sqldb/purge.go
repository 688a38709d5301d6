package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// Purge does one bounded step of the purge walk: it looks at the next tasks by id and deletes those that have been final
// for long enough, with everything that hangs on them. The walk reads without locks; what it found is looked at again
// under lock, since a task may be re-opened meanwhile.
//
// When they cannot be deleted the report says, beside the error, where the step would have ended, so that the caller can
// go on behind it; without that it is the zero report.
func (s *Store) Purge(ctx context.Context, req task.PurgeRequest) (task.PurgeReport, error) {
	limit := min(max(1, req.Limit), maxList)
	var report task.PurgeReport
	var old []int64
	seen := 0
	query := newText(2).s("SELECT id,state,finished_at FROM tasks").s(s.force()).s(" WHERE id>=").n(req.FromID).s(" ORDER BY id LIMIT ").n(int64(limit)).String()
	err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var id, finishedAt int64
		var state task.State
		if err := rows.Scan(&id, &state, &finishedAt); err != nil {
			return err
		}
		seen++
		report.NextID = id + 1
		if state == task.Succeeded && finishedAt < req.SucceededBefore || state.Final() && state != task.Succeeded && finishedAt < req.OthersBefore {
			old = append(old, id)
		}
		return nil
	})
	if err != nil {
		return task.PurgeReport{}, err
	}
	if seen < limit {
		report.NextID = 0
	}
	if len(old) == 0 {
		return report, nil
	}
	condition := newText(2).s(" AND (state=4 AND finished_at<").n(req.SucceededBefore).s(" OR state IN (5,6) AND finished_at<").n(req.OthersBefore).s(")").String()
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		p := purging{s: s, t: t}
		if err := s.lockTasks(ctx, t, old, condition, p.add); err != nil {
			return err
		}
		report.Deleted = len(p.ids)
		return p.run(ctx)
	})
	if err != nil {
		report.Deleted = 0
	}
	return report, err
}

// purging is one transaction that deletes locked tasks.
type purging struct {
	s     *Store
	t     tx
	ids   []int64 // sorted
	tried []int64 // those with rows in attempts
	kept  []int64 // those that may have a result
	named []int64 // those with labels
	keyed []int64 // those that had a unique key
	runs  []int64 // those that a schedule keeps track of
	ends  map[endKey][]int64
}

// endKey is what ends of one DELETE have in common.
type endKey struct {
	app   int32
	state task.State
}

func (p *purging) add(one *task.Task) {
	p.ids = append(p.ids, one.ID)
	if one.Flags.Has(task.HasAttempts) {
		p.tried = append(p.tried, one.ID)
	}
	if one.Flags&(task.HasResult|task.HasAttempts) != 0 { // a re-opened task may have the result of an earlier success
		p.kept = append(p.kept, one.ID)
	}
	if one.Flags.Has(task.HasLabels) {
		p.named = append(p.named, one.ID)
	}
	if one.Flags.Has(task.HasUnique) {
		p.keyed = append(p.keyed, one.ID)
	}
	if one.Flags.Has(task.TracksSchedule) {
		p.runs = append(p.runs, one.ID)
	}
	if one.State != task.Succeeded {
		p.fileEnd(one)
	}
}

// fileEnd adds the row of a failed or cancelled task in ends.
func (p *purging) fileEnd(one *task.Task) {
	if p.ends == nil {
		p.ends = map[endKey][]int64{}
	}
	k := endKey{one.AppID, one.State}
	p.ends[k] = append(p.ends[k], one.ID)
}

func (p *purging) run(ctx context.Context) error {
	if len(p.ids) == 0 {
		return nil
	}
	keys, err := uniqueKeysOf(ctx, p.t, p.keyed) // before the bodies that name them
	if err != nil {
		return err
	}
	for _, one := range []struct {
		del listDelete
		ids []int64
	}{
		{listDelete{table: "tasks", column: "id"}, p.ids},
		{listDelete{table: "payloads", column: "id"}, p.ids},
		{listDelete{table: "results", column: "id"}, p.kept},
		{listDelete{table: "attempts", column: "task_id"}, p.tried},
		{listDelete{table: "task_labels", index: "id", column: "id"}, p.named},
		{listDelete{table: "schedule_runs", column: "task_id"}, p.runs},
	} {
		if _, err := p.s.deleteIDs(ctx, p.t, one.del, one.ids); err != nil {
			return err
		}
	}
	if err := p.deleteEnds(ctx); err != nil {
		return err
	}
	return p.s.deleteKeys(ctx, p.t, keys, p.keyed, " AND scope<>3") // a window ends by time
}

func (p *purging) deleteEnds(ctx context.Context) error {
	order := make([]endKey, 0, len(p.ends))
	for k := range p.ends {
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b endKey) int {
		if a.app != b.app {
			return int(a.app) - int(b.app)
		}
		return int(a.state) - int(b.state)
	})
	for _, k := range order {
		ofKind := newText(1).s("app_id=").n(int64(k.app)).s(" AND state=").n(int64(k.state)).s(" AND ").String()
		del := listDelete{table: "ends", before: ofKind, column: "id"}
		if _, err := p.s.deleteIDs(ctx, p.t, del, p.ends[k]); err != nil {
			return err
		}
	}
	return nil
}

// PurgeKeys deletes idempotency rows, window keys, rows of gone workers and of limits that ended, which are past their time, at most limit of
// each, and gives how many rows it deleted. One table that fails does not keep the others from their turn.
func (s *Store) PurgeKeys(ctx context.Context, now int64, limit int) (int, error) {
	limit = min(max(1, limit), maxList)
	total := 0
	var failed error
	for _, table := range []struct{ name, expired string }{
		{"idempotency", newText(1).s(" expires_at<=").n(now).String()},
		{"unique_keys", newText(1).s(" expires_at BETWEEN 1 AND ").n(now).String()},
	} {
		n, err := s.purgeKeys(ctx, table.name, table.expired, limit)
		total, failed = total+n, errors.Join(failed, err)
	}
	n, err := s.purgeWorkers(ctx, now, limit)
	total, failed = total+n, errors.Join(failed, err)
	n, err = s.purgeLimits(ctx, now, limit)
	return total + n, errors.Join(failed, err)
}

func (s *Store) purgeKeys(ctx context.Context, table, expired string, limit int) (int, error) {
	var keys [][32]byte
	query := newText(1).s("SELECT k FROM ").s(table).s(" WHERE").s(expired).s(" ORDER BY expires_at LIMIT ").n(int64(limit)).String()
	if err := s.readEach(ctx, query, func(rows *sql.Rows) error {
		var raw sql.RawBytes
		err := rows.Scan(&raw)
		keys = append(keys, [32]byte{})
		copy(keys[len(keys)-1][:], raw)
		return err
	}); err != nil || len(keys) == 0 {
		return 0, err
	}
	slices.SortFunc(keys, compareKeys)
	return s.deleted(ctx, func(ctx context.Context, t tx) (int64, error) {
		return s.deleteByKeys(ctx, t, listDelete{table: table, column: "k", after: " AND" + expired}, keys)
	})
}

// purgeWorkers deletes rows of workers that have been gone for a day. Claims of an unknown worker are orphans too, so
// nothing depends on the row.
func (s *Store) purgeWorkers(ctx context.Context, now int64, limit int) (int, error) {
	ids, err := s.ids(ctx, newText(2).s("SELECT id FROM workers WHERE state=3 AND beat_at<").n(now-goneKept).s(" ORDER BY id LIMIT ").n(int64(limit)).String())
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return s.deleted(ctx, func(ctx context.Context, t tx) (int64, error) {
		return s.deleteIDs(ctx, t, listDelete{table: "workers", column: "id", after: " AND state=3"}, ids)
	})
}

// deleted runs a delete as a transaction and gives how many rows it deleted.
func (s *Store) deleted(ctx context.Context, del func(context.Context, tx) (int64, error)) (n int, err error) {
	err = s.writeAgain(ctx, func(ctx context.Context, t tx) error {
		rows, err := del(ctx, t)
		n = int(rows)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}
