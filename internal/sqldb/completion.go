package sqldb

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/task"
)

// A task with a completion URL (flag HasCompletion) leaves, in the transaction that ends it, an ordinary task of kind
// task.CompletionKind behind: with an id, retries and attempts of its own, in the system's queue, for the same app. So there is
// exactly one for each time that a task becomes final, whichever way it took; and one more when it is re-opened and ends again.

// completionTimeoutMs is how long one delivery may take.
const completionTimeoutMs = 30_000

// completionRetry is the retry policy of deliveries: for about half a day.
var completionRetry = task.RetryPolicy{Policy: "exponential", BaseMs: 5_000, CapMs: 3_600_000, Jitter: 0.2, Max: 20}

// completionHome is where such tasks are put; both are there before the first task with a completion URL is.
type completionHome struct {
	lane, kind atomic.Int32
	others     sync.Map // name of another kind that delivers to its id
}

// prepareCompletions makes the lane and the kind of completions, outside of any transaction.
func (s *Store) prepareCompletions(ctx context.Context) error {
	h := &s.engine.completions
	if h.lane.Load() != 0 {
		return nil
	}
	kinds, err := s.DeclareKinds(ctx, []string{task.CompletionKind})
	if err != nil {
		return err
	}
	lane, err := s.EnsureLane(ctx, task.SystemQueue, task.Normal)
	if err != nil {
		return err
	}
	h.kind.Store(kinds[task.CompletionKind])
	h.lane.Store(lane.ID)
	return nil
}

// findCompletions reads what another process made, within a transaction.
func (s *Store) findCompletions(ctx context.Context, t tx) (lane, kind int32, err error) {
	h := &s.engine.completions
	if lane, kind = h.lane.Load(), h.kind.Load(); lane != 0 && kind != 0 {
		return lane, kind, nil
	}
	for _, x := range []struct {
		to    *int32
		query string
		args  []any
	}{
		{&lane, "SELECT id FROM lanes WHERE queue=? AND priority=?", []any{task.SystemQueue, int(task.Normal)}},
		{&kind, "SELECT id FROM kinds WHERE name=?", []any{task.CompletionKind}},
	} {
		rows, err := t.query(ctx, x.query, x.args...)
		if err := eachRow(rows, err, func(rows *sql.Rows) error { return rows.Scan(x.to) }); err != nil {
			return 0, 0, err
		}
	}
	if lane == 0 || kind == 0 {
		return 0, 0, fmt.Errorf("a task with a completion URL ended, but there is no queue %q or no kind %q", task.SystemQueue, task.CompletionKind)
	}
	h.kind.Store(kind)
	h.lane.Store(lane)
	return lane, kind, nil
}

// announce writes the deliveries of those tasks that have a completion URL. It reads what the transaction has just written.
func (s *Store) announce(ctx context.Context, t tx, now int64, ends []ending, set *statSet) error {
	byID := make(map[int64]*ending, len(ends))
	ids := make([]int64, 0, len(ends))
	for i := range ends {
		if e := &ends[i]; e.flags.Has(task.HasCompletion) {
			byID[e.id], ids = e, append(ids, e.id)
		}
	}
	lane, kind, err := s.findCompletions(ctx, t)
	if err != nil {
		return err
	}
	var subs []*told
	for ids = sortedIDs(ids); len(ids) > 0; {
		part := ids[:min(len(ids), maxList)]
		ids = ids[len(part):]
		if subs, err = s.completionsOf(ctx, t, part, byID, now, subs); err != nil {
			return err
		}
	}
	if len(subs) == 0 {
		return nil
	}
	plain := make([]*task.Submission, len(subs))
	for i, sub := range subs {
		sub.LaneID, sub.KindID = lane, kind
		if sub.kind != "" {
			if sub.KindID, err = s.toldKind(ctx, t, sub.kind); err != nil {
				return err
			}
		}
		plain[i] = &sub.Submission
	}
	return s.insertCompletions(ctx, t, now, plain, set)
}

// told is a delivery and the name of its kind, empty for task.CompletionKind.
type told struct {
	task.Submission
	kind string
}

// toldKind gives the id of a kind that delivers results. Whoever submits a task that names one has declared it.
func (s *Store) toldKind(ctx context.Context, t tx, name string) (id int32, err error) {
	if known, ok := s.engine.completions.others.Load(name); ok {
		return known.(int32), nil
	}
	rows, err := t.query(ctx, "SELECT id FROM kinds WHERE name=?", name)
	if err := eachRow(rows, err, func(rows *sql.Rows) error { return rows.Scan(&id) }); err != nil {
		return 0, err
	}
	if id == 0 {
		return 0, fmt.Errorf("a task's result is to be told by the kind %q, which there is not", name)
	}
	s.engine.completions.others.Store(name, id)
	return id, nil
}

// completionsOf reads ended tasks and adds their deliveries.
func (s *Store) completionsOf(ctx context.Context, t tx, ids []int64, byID map[int64]*ending, now int64, subs []*told) ([]*told, error) {
	query := newText(len(ids)).s("SELECT t.id,t.app_id,t.kind_id,t.epoch,t.failures,t.created_at,t.started_at,t.finished_at,t.reason,p.body,r.body,k.name FROM tasks t").
		s(" JOIN payloads p ON p.id=t.id JOIN kinds k ON k.id=t.kind_id LEFT JOIN results r ON r.id=t.id AND r.epoch=t.epoch AND t.state=4 WHERE t.id IN (").ids(ids).
		s(") ORDER BY t.id").String()
	err := forEach(ctx, t, query, func(rows *sql.Rows) error {
		var row task.Task
		var raw, result []byte
		var kind string
		if err := rows.Scan(&row.ID, &row.AppID, &row.KindID, &row.Epoch, &row.Failures, &row.CreatedAt, &row.StartedAt, &row.FinishedAt, &row.Reason, &raw, &result, &kind); err != nil {
			return err
		}
		body, err := task.DecodeBody(raw)
		if err != nil || body.Head.CompletionURL == "" {
			s.log.Error("a task's completion URL cannot be read", "task", row.ID, "err", err)
			return nil
		}
		policy := completionRetry
		if body.Head.CompletionKind != "" {
			if byID[row.ID].state != task.Succeeded {
				return nil
			}
			policy = body.Head.RetryPolicy()
		}
		p := completionPayload(&row, byID[row.ID], &body.Head, kind, result)
		sub := &told{Submission: task.Submission{AppID: row.AppID, Flags: task.HasRetryPolicy, DueAt: now, TimeoutMs: completionTimeoutMs}, kind: body.Head.CompletionKind}
		if sub.Body, err = (task.Body{Payload: p, Head: task.BodyHead{Retry: &policy, Trace: body.Head.Trace}}).Encode(); err != nil {
			return err
		}
		subs = append(subs, sub)
		return nil
	})
	return subs, err
}

// completionPayload is what a delivery sends, and where.
func completionPayload(row *task.Task, e *ending, head *task.BodyHead, kind string, result []byte) []byte {
	state := e.state.Shown(0, 0)
	p := task.CompletionPayload{URL: head.CompletionURL, Event: task.CompletionEvent{Type: "task." + state, Timestamp: stamp(row.FinishedAt),
		Data: task.CompletionTask{ID: strconv.FormatInt(row.ID, 10), Kind: kind, State: state, Reason: row.Reason.String(), Epoch: row.Epoch,
			Failures: row.Failures, CreatedAt: stamp(row.CreatedAt), FinishedAt: stamp(row.FinishedAt), Labels: head.Labels, Result: resultJSON(result)}}}
	if row.Epoch > 0 {
		p.Event.Data.StartedAt = stamp(row.StartedAt)
	}
	if e.state == task.Failed {
		code := e.errCode
		if code == "" {
			code = e.reason.String()
		}
		p.Event.Data.Error = &task.CompletionError{Code: code, Message: e.errMessage, HTTPStatus: e.httpStatus}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // strings, numbers and valid JSON
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

// resultJSON is a result as the native API shows it: JSON as it is, other text as a string, other bytes in base64.
func resultJSON(b []byte) json.RawMessage {
	switch {
	case b == nil:
		return nil
	case json.Valid(b):
		return b
	case utf8.Valid(b):
		text, _ := json.Marshal(string(b))
		return text
	}
	return json.RawMessage(`{"base64":"` + base64.StdEncoding.EncodeToString(b) + `"}`)
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// insertCompletions writes the rows of deliveries, each with a bell of its own: they are rung by the lane's owner.
func (s *Store) insertCompletions(ctx context.Context, t tx, now int64, subs []*task.Submission, set *statSet) error {
	n := len(subs)
	firstTask, err := s.idsFor(ctx, &s.taskIDs, n)
	if err != nil {
		return err
	}
	firstBell, err := s.runIDs(ctx, n)
	if err != nil {
		return err
	}
	bells := make([]task.Bell, n)
	for i, sub := range subs {
		sub.ID = firstTask + int64(i)
		bells[i] = task.Bell{ID: firstBell + int64(i), Kind: task.StartBell, LaneID: sub.LaneID, AppID: sub.AppID, DueAt: now, TaskIDs: []int64{sub.ID}}
		set.of(sub.AppID, sub.LaneID, sub.KindID).submitted++
	}
	for from := 0; from < n; from += maxList {
		x := newText(6 * min(n, maxList)).s(insertTasksSQL)
		for i, sub := range subs[from:min(from+maxList, n)] {
			x.row(i == 0, sub.ID, int64(sub.AppID), int64(sub.LaneID), int64(sub.KindID), int64(task.Waiting), int64(sub.Flags), now, now, 0,
				int64(sub.TimeoutMs), bells[from+i].ID)
		}
		if err := t.add(ctx, x.String()); err != nil {
			return err
		}
	}
	noteSubmitted(t, now, subs, func(*task.Submission) int64 { return now })
	if err := s.insertPayloads(ctx, t, subs); err != nil {
		return err
	}
	return insertBells(ctx, t, bells)
}
