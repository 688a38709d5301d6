package load

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/test/faults/history"
)

// bellGrace is how long a bell of a task that was cancelled may be due before it is dropped, ms: the ringer drops it when it looks at it.
const bellGrace = 3_000

// skewMost is more than any clock of a run is off by, ms.
const skewMost = 90 * 60_000

// readEnd reads what the database and the API say of the load's app.
func (l *Load) readEnd(ctx context.Context, end *history.End) (err error) {
	if end.Now, err = l.db.now(ctx); err != nil {
		return err
	}
	for _, read := range []func(context.Context, *history.End) error{l.readTasks, l.readAttempts, l.readWorkers, l.readSlots, l.readUniques, l.readLimits, l.readAudit, l.readStats} {
		if err := read(ctx, end); err != nil {
			return err
		}
	}
	end.Schedules = l.schedules
	end.Left, err = l.readLeft(ctx)
	return err
}

func (l *Load) readTasks(ctx context.Context, end *history.End) error {
	const query = "SELECT t.id,k.name,l.queue,l.priority,t.state,t.reason,t.epoch,t.failures,t.losses,t.flags,t.created_at,t.due_at,t.expires_at,t.started_at,t.finished_at," +
		"t.attempt_id,t.worker_id,t.holder,t.cancel_at,t.http_status,p.body,COALESCE(r.epoch,0),r.body" +
		" FROM tasks t JOIN kinds k ON k.id=t.kind_id JOIN lanes l ON l.id=t.lane_id LEFT JOIN payloads p ON p.id=t.id LEFT JOIN results r ON r.id=t.id" +
		" WHERE t.app_id=? ORDER BY t.id"
	return l.db.each(ctx, query, []any{l.appID}, func(scan func(...any) error) error {
		var r history.Row
		var priority, state uint8
		var reason int16
		var flags task.Flags
		var raw, result []byte
		if err := scan(&r.ID, &r.Kind, &r.Queue, &priority, &state, &reason, &r.Epoch, &r.Failures, &r.Losses, &flags, &r.Created, &r.Due, &r.Expires, &r.Started, &r.Finished,
			&r.Attempt, &r.Worker, &r.Holder, &r.CancelAt, &r.HTTPStatus, &raw, &r.ResultEpoch, &result); err != nil {
			return err
		}
		r.Priority, r.State, r.Reason = task.Priority(priority).String(), stored(task.State(state)), task.Reason(reason).String()
		r.HasResult = flags.Has(task.HasResult)
		if err := decode(&r, raw, result); err != nil {
			return err
		}
		end.Tasks = append(end.Tasks, r)
		return nil
	})
}

// stored is a state as the history names it.
func stored(s task.State) string {
	if s == task.Waiting {
		return "waiting"
	}
	return s.Shown(0, 0)
}

// decode reads what stands in a task's body and result.
func decode(r *history.Row, raw, result []byte) error {
	b, err := task.DecodeBody(raw)
	if err != nil {
		return fmt.Errorf("body of task %d: %w", r.ID, err)
	}
	h := &b.Head
	r.LimitKey = h.LimitKey
	r.UniqueKey, r.Schedule, r.Slot, r.RetryMax = h.UniqueKey, h.ScheduleID, h.SlotAt, h.RetryPolicy().Max
	if h.UniqueKey != "" {
		r.UniqueScope, r.UniqueWindow = scopes[h.UniqueScope], h.UniqueWindowMs
	}
	var p struct {
		Tag   string
		Body  body
		Event struct {
			Data struct{ ID, State string }
		}
	}
	if err := json.Unmarshal(b.Payload, &p); err != nil {
		return fmt.Errorf("payload of task %d: %w", r.ID, err)
	}
	if r.Tag = p.Tag; r.Kind == "http" {
		r.Tag = p.Body.Tag
	}
	if r.Kind == task.CompletionKind {
		if r.Tells, err = strconv.ParseInt(p.Event.Data.ID, 10, 64); err != nil {
			return fmt.Errorf("payload of delivery %d: %w", r.ID, err)
		}
		r.TellsState = p.Event.Data.State
	}
	var call struct{ Call int64 }
	if result != nil && json.Unmarshal(result, &call) == nil {
		r.ResultCall = call.Call
	}
	return nil
}

var scopes = map[task.UniqueScope]string{task.ScopeUntilStarted: "until_started", task.ScopeUntilFinished: "until_finished", task.ScopeWindow: "window",
	task.ScopeForever: "forever", task.ScopeUntilDue: "until_due"}

func (l *Load) readAttempts(ctx context.Context, end *history.End) error {
	const query = "SELECT a.task_id,a.epoch,a.id,a.worker_id,a.started_at,a.finished_at,a.outcome,a.http_status,a.detail FROM attempts a JOIN tasks t ON t.id=a.task_id WHERE t.app_id=? ORDER BY a.task_id,a.epoch"
	return l.db.each(ctx, query, []any{l.appID}, func(scan func(...any) error) error {
		var a history.Attempt
		var outcome uint8
		var detail []byte
		if err := scan(&a.Task, &a.Epoch, &a.ID, &a.Worker, &a.Started, &a.Finished, &outcome, &a.HTTPStatus, &detail); err != nil {
			return err
		}
		a.Outcome = task.Outcome(outcome).String()
		var d struct{ Code string }
		if len(detail) > 0 {
			if err := json.Unmarshal(detail, &d); err != nil {
				return fmt.Errorf("detail of attempt %d: %w", a.ID, err)
			}
		}
		a.Code = d.Code
		end.Attempts = append(end.Attempts, a)
		return nil
	})
}

func (l *Load) readWorkers(ctx context.Context, end *history.End) error {
	return l.db.each(ctx, "SELECT id,state,host,info FROM workers ORDER BY id", nil, func(scan func(...any) error) error {
		var w history.Worker
		var state uint8
		var raw []byte
		if err := scan(&w.ID, &state, &w.Host, &raw); err != nil {
			return err
		}
		var info task.WorkerInfo
		if err := json.Unmarshal(raw, &info); err != nil {
			return fmt.Errorf("info of worker %d: %w", w.ID, err)
		}
		w.PID, w.Started, w.Gone = info.PID, info.StartedAt, task.WorkerState(state) == task.WorkerGone
		end.Workers = append(end.Workers, w)
		return nil
	})
}

func (l *Load) readSlots(ctx context.Context, end *history.End) error {
	for i := range l.schedules {
		if err := l.db.each(ctx, "SELECT schedule_id,origin,slot_at,last_at,n,task_id,outcome FROM slots WHERE schedule_id=? ORDER BY slot_at,origin", []any{l.schedules[i].ID}, func(scan func(...any) error) error {
			var s history.Slot
			var outcome schedule.Outcome
			if err := scan(&s.Schedule, &s.Origin, &s.At, &s.Last, &s.N, &s.Task, &outcome); err != nil {
				return err
			}
			s.Outcome = outcome.String()
			end.Slots = append(end.Slots, s)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *Load) readUniques(ctx context.Context, end *history.End) error {
	return l.db.each(ctx, "SELECT u.task_id,u.scope,u.expires_at FROM unique_keys u JOIN tasks t ON t.id=u.task_id WHERE t.app_id=?", []any{l.appID}, func(scan func(...any) error) error {
		var u history.UniqueHeld
		var scope task.UniqueScope
		err := scan(&u.Task, &scope, &u.Expires)
		u.Scope = scopes[scope]
		end.Uniques = append(end.Uniques, u)
		return err
	})
}

func (l *Load) readLimits(ctx context.Context, end *history.End) error {
	return l.db.each(ctx, "SELECT k,name,max,running FROM limits WHERE ended_at=0 AND max>0", nil, func(scan func(...any) error) error {
		var m history.Limit
		var key []byte
		var name string
		if err := scan(&key, &name, &m.Max, &m.Running); err != nil {
			return err
		}
		m.Key = string(key)
		switch name {
		case l.queue(limited):
			m.Queue = name
		case l.queue(limitKey):
			m.LimitKey = name
		default:
			return nil
		}
		end.Limits = append(end.Limits, m)
		return nil
	})
}

// readAudit counts the explicit retries that the audit trail knows of: the transaction of each writes its entry.
func (l *Load) readAudit(ctx context.Context, end *history.End) error {
	return l.db.each(ctx, "SELECT target,COUNT(*) FROM audit_trail WHERE app_id=? AND action='task.retry' GROUP BY target", []any{l.appID}, func(scan func(...any) error) error {
		var target string
		var a history.Audited
		if err := scan(&target, &a.Retries); err != nil {
			return err
		}
		id, err := strconv.ParseInt(target, 10, 64)
		a.Task = id
		end.Audit = append(end.Audit, a)
		return err
	})
}

// readStats sums up what GET /v1/stats says of the app, by queue.
func (l *Load) readStats(ctx context.Context, end *history.End) error {
	// A process whose clock was off counts in the minute that it read.
	q := client.StatsQuery{From: time.UnixMilli(l.from - skewMost), To: time.UnixMilli(end.Now + skewMost), Step: time.Minute, By: "queue"}
	if end.Now-l.from > 20*time.Hour.Milliseconds() {
		q.Step = time.Hour
	}
	stats, err := l.apis[0].Stats(ctx, q)
	if err != nil {
		return fmt.Errorf("load: read the statistics: %w", err)
	}
	sums := map[string]*history.Counters{}
	var order []string
	for _, s := range stats.Items {
		c := sums[s.Key]
		if c == nil {
			c = &history.Counters{Queue: s.Key}
			sums[s.Key], order = c, append(order, s.Key)
		}
		c.Submitted += s.Submitted
		c.Succeeded += s.Succeeded
		c.Failed += s.Failed
		c.Retried += s.Retried
		c.TimedOut += s.TimedOut
		c.Cancelled += s.Cancelled
		c.Lost += s.Lost
	}
	for _, queue := range order {
		end.Stats = append(end.Stats, *sums[queue])
	}
	return nil
}

// readLeft finds bells of the app that have been due for a while, claims that list its tasks, and slots that are held.
func (l *Load) readLeft(ctx context.Context) (left history.Left, err error) {
	now, err := l.db.now(ctx)
	if err != nil {
		return left, err
	}
	if err := l.db.each(ctx, "SELECT id FROM bells WHERE app_id=? AND due_at<=?", []any{l.appID, now - bellGrace}, func(scan func(...any) error) error {
		var id int64
		err := scan(&id)
		left.Bells = append(left.Bells, id)
		return err
	}); err != nil {
		return left, err
	}
	mine := map[int64][]int64{} // claims by the tasks that they list
	if err := l.db.each(ctx, "SELECT id,task_ids FROM claims", nil, func(scan func(...any) error) error {
		var id int64
		var list string
		if err := scan(&id, &list); err != nil {
			return err
		}
		for _, t := range numbers(list) {
			mine[t] = append(mine[t], id)
		}
		return nil
	}); err != nil {
		return left, err
	}
	for t, claims := range mine {
		var n int
		if err := l.db.one(ctx, &n, "SELECT COUNT(*) FROM tasks WHERE id=? AND app_id=?", t, l.appID); err != nil {
			return left, err
		}
		if n > 0 {
			left.Claims = append(left.Claims, claims...)
		}
	}
	err = l.db.one(ctx, &left.Held, "SELECT COUNT(*) FROM held_slots h JOIN schedules s ON s.id=h.schedule_id WHERE s.app_id=?", l.appID)
	return left, err
}
