package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// maxItems bounds idempotency.items, a BLOB of at most 65,535 bytes.
const maxItems = 60_000

// keyRow is a row of idempotency.
type keyRow struct {
	request   [32]byte
	taskID    int64
	items     []int64
	expiresAt int64
}

// idempotency writes the keys of requests and tells replays and misuse apart. What is left to create goes to todo.
func (u *submit) idempotency(ctx context.Context, t tx) error {
	keyed := u.keyed()
	if len(keyed) == 0 {
		return nil
	}
	inserted, err := u.insertKeys(ctx, t, keyed)
	if err != nil || inserted == int64(len(keyed)) {
		return err
	}
	known, err := readKeys(ctx, t, keysOf(keyed))
	if err != nil {
		return err
	}
	for _, r := range keyed {
		row := known[r.Idem.Key]
		if row.taskID == firstID(r) {
			continue
		}
		if row.expiresAt <= u.now {
			if row, err = u.renewKey(ctx, t, r); err != nil {
				return err
			}
			known[r.Idem.Key] = row
			continue
		}
		u.replay(r, row)
	}
	u.todo = slices.DeleteFunc(u.todo, func(sub *task.Submission) bool { return sub.Err != nil || sub.TaskID != 0 })
	return nil
}

// keyed lists the requests that bring a key, sorted by it, and puts every submission into todo.
func (u *submit) keyed() (keyed []*task.Request) {
	for _, r := range u.reqs {
		if len(r.Tasks) == 0 {
			continue
		}
		u.todo = append(u.todo, r.Tasks...)
		if r.Idem != nil && r.Idem.First {
			keyed = append(keyed, r)
		}
	}
	slices.SortStableFunc(keyed, func(a, b *task.Request) int { return compareKeys(a.Idem.Key, b.Idem.Key) })
	return keyed
}

func keysOf(reqs []*task.Request) [][32]byte {
	keys := make([][32]byte, len(reqs))
	for i, r := range reqs {
		keys[i] = r.Idem.Key
	}
	return keys
}

// firstID names the first task of a request, over all of its parts.
func firstID(r *task.Request) int64 {
	if len(r.Idem.ItemIDs) > 0 {
		return r.Idem.ItemIDs[0]
	}
	return r.Tasks[0].ID
}

func (u *submit) insertKeys(ctx context.Context, t tx, keyed []*task.Request) (int64, error) {
	x := newText(12 * len(keyed)).s(u.s.insertIgnore()).s(" INTO idempotency (k,request,task_id,items,expires_at) VALUES ")
	for i, r := range keyed {
		if i > 0 {
			x.s(",")
		}
		x.s("(").hex(r.Idem.Key[:]).s(",").hex(r.Idem.Body[:]).s(",").n(firstID(r)).s(",")
		if err := x.items(r.Idem.ItemIDs); err != nil {
			return 0, err
		}
		x.s(",").n(u.now + idempotencyMs).s(")")
	}
	return t.exec(ctx, x.String())
}

// items appends the stored form of the ids of a batch; one task alone has none.
func (x *text) items(ids []int64) error {
	if len(ids) < 2 {
		x.s("NULL")
		return nil
	}
	from := len(x.b) + 2
	x.hex([]byte(joinIDs(ids)))
	if (len(x.b)-from)/2 > maxItems {
		return fmt.Errorf("idempotency: %d ids do not fit", len(ids))
	}
	return nil
}

// renewKey takes a key over whose time is up.
func (u *submit) renewKey(ctx context.Context, t tx, r *task.Request) (keyRow, error) {
	row := keyRow{request: r.Idem.Body, taskID: firstID(r), items: r.Idem.ItemIDs, expiresAt: u.now + idempotencyMs}
	x := newText(16 + len(row.items)).s("UPDATE idempotency SET request=").hex(row.request[:]).s(",task_id=").n(row.taskID).s(",items=")
	if err := x.items(row.items); err != nil {
		return row, err
	}
	x.s(",expires_at=").n(row.expiresAt).s(" WHERE k=").hex(r.Idem.Key[:])
	_, err := t.exec(ctx, x.String())
	return row, err
}

// readKeys reads rows of idempotency within a transaction.
func readKeys(ctx context.Context, t tx, keys [][32]byte) (map[[32]byte]keyRow, error) {
	known := make(map[[32]byte]keyRow, len(keys))
	err := forEach(ctx, t, selectKeys(keys), func(rows *sql.Rows) error { return scanKey(rows, known) })
	return known, err
}

func selectKeys(keys [][32]byte) string {
	return newText(4 * len(keys)).s("SELECT k,request,task_id,items,expires_at FROM idempotency WHERE k IN (").keys(keys).s(")").String()
}

func scanKey(rows *sql.Rows, known map[[32]byte]keyRow) error {
	var k, request, items sql.RawBytes
	var row keyRow
	if err := rows.Scan(&k, &request, &row.taskID, &items, &row.expiresAt); err != nil {
		return err
	}
	if len(k) != 32 || len(request) != 32 {
		return fmt.Errorf("idempotency: a key of %d bytes", len(k))
	}
	row.request = [32]byte(request)
	if len(items) > 0 {
		row.items = appendParsed(nil, []byte(items))
	}
	known[[32]byte(k)] = row
	return nil
}

// replay answers a request whose key is known: with the tasks that it made, or, when its body was another, not at all.
func (u *submit) replay(r *task.Request, row keyRow) {
	if row.request != r.Idem.Body {
		r.Err = &task.Error{Kind: task.Conflict, Code: "idempotency_key_reused", TaskID: row.taskID,
			Message: "the idempotency key was used with another body"}
		for _, sub := range r.Tasks {
			sub.Err = r.Err
		}
		return
	}
	asked := r.Idem.ItemIDs
	r.Replayed = true
	r.Idem.ItemIDs = row.items
	if len(row.items) == 0 {
		r.Idem.ItemIDs = []int64{row.taskID}
	}
	for i, sub := range r.Tasks {
		if at := slices.Index(asked, sub.ID); at >= 0 {
			i = at
		}
		if i < len(r.Idem.ItemIDs) {
			sub.TaskID = r.Idem.ItemIDs[i]
		}
	}
}

// skipExisting finds the items of a replayed batch that another flush has written in the meantime.
func (u *submit) skipExisting(ctx context.Context, t tx) error {
	var ids []int64
	parts := map[int64]*task.Submission{}
	for _, r := range u.reqs {
		if r.Idem == nil || r.Idem.First {
			continue
		}
		for _, sub := range r.Tasks {
			ids = append(ids, sub.ID)
			parts[sub.ID] = sub
		}
	}
	if len(ids) == 0 {
		return nil
	}
	query := newText(len(ids)).s("SELECT id FROM tasks").s(u.s.force()).s(" WHERE id IN (").ids(sortedIDs(ids)).s(")").String()
	err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		if sub := parts[id]; sub != nil {
			sub.TaskID = id
		}
		return err
	})
	u.todo = slices.DeleteFunc(u.todo, func(sub *task.Submission) bool { return sub.Err != nil || sub.TaskID != 0 })
	return err
}

// forgetRefused deletes the keys of requests of which nothing was created: only created tasks are remembered. A request
// of the same flush that was answered from one of those is answered as that one was.
func (u *submit) forgetRefused(ctx context.Context, t tx) error {
	var refused []*task.Request
	for _, r := range u.reqs {
		if r.Idem != nil && r.Idem.First && !r.Replayed && r.Err == nil &&
			!slices.ContainsFunc(r.Tasks, func(sub *task.Submission) bool { return sub.Created }) {
			refused = append(refused, r)
		}
	}
	if len(refused) == 0 {
		return nil
	}
	slices.SortFunc(refused, func(a, b *task.Request) int { return compareKeys(a.Idem.Key, b.Idem.Key) })
	for _, r := range refused {
		for _, twin := range u.reqs {
			if twin != r && twin.Idem != nil && twin.Idem.First && twin.Idem.Key == r.Idem.Key && twin.Replayed {
				answerAs(twin, r)
			}
		}
	}
	return u.s.dropKeys(ctx, t, listDelete{table: "idempotency", column: "k"}, keysOf(refused))
}

func answerAs(twin, r *task.Request) {
	twin.Replayed = false
	for i, sub := range twin.Tasks {
		if i < len(r.Tasks) {
			sub.Err, sub.Kept, sub.TaskID = r.Tasks[i].Err, r.Tasks[i].Kept, r.Tasks[i].TaskID
		}
	}
}

// Remembered looks a hashed idempotency key up: the hash of its body and the ids of its tasks. ok is false when it is
// unknown or older than 24 h.
func (s *Store) Remembered(ctx context.Context, key [32]byte) (idem task.Idempotency, ok bool, err error) {
	known := map[[32]byte]keyRow{}
	err = s.readEach(ctx, selectKeys([][32]byte{key}), func(rows *sql.Rows) error { return scanKey(rows, known) })
	row, found := known[key]
	if err != nil || !found || row.expiresAt <= s.now() {
		return task.Idempotency{}, false, err
	}
	if len(row.items) == 0 {
		row.items = []int64{row.taskID}
	}
	return task.Idempotency{Key: key, Body: row.request, ItemIDs: row.items}, true, nil
}
