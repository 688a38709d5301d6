package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	peekEvery  = time.Second     // how often a running attempt is asked for its progress
	rereadSlow = 2 * time.Second // how often a row is read again whose change cannot be watched
)

// Peeker looks at a running attempt without its stacks: what it reported, and what it wrote from a place on. Signals that can do
// it do.
type Peeker interface {
	Peek(ctx context.Context, workerID, taskID int64, epoch int32, from int64) (task.LiveDetail, error)
}

// Broadcast is the whole stream (events.Hub).
type Broadcast interface {
	Listen(ctx context.Context, f events.Filter, lastID string) (*events.Listener, error)
	// Close ends every listener.
	Close()
}

// TaskStream is the events of one task as they come. It is for one goroutine; Close ends it.
type TaskStream struct {
	s     *Service
	app   int32
	id    int64
	seen  Step // the last that was given
	wake  chan struct{}
	leave []func()

	row    task.Task
	first  []TaskEvent // read already, not given yet
	over   bool
	peekAt time.Time
	peeker Peeker
	epoch  int32 // of the progress that was given last
	round  int64
}

// FollowTask streams the history of a task from its beginning, or from after the step lastID, and goes on until the task is
// final. over: there is nothing to come, the client has seen it all. Needs scope read. Invalid when lastID is no step, Missing,
// Throttled when too many stream.
func (s *Service) FollowTask(ctx context.Context, p Principal, id int64, lastID string) (st *TaskStream, over bool, err error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, false, err
	}
	st = &TaskStream{s: s, app: p.appID(), id: id, wake: make(chan struct{}, 1)}
	if lastID != "" {
		var ok bool
		if st.seen, ok = ParseStep(lastID); !ok {
			return nil, false, task.InvalidField("Last-Event-ID", "format", "must be the id of an event of this stream, like 3.1")
		}
	}
	leave, err := s.streams.enter(p.App.ID)
	if err != nil {
		return nil, false, err
	}
	st.leave = append(st.leave, leave, s.streams.watch(id, st.wake))
	st.peeker, _ = s.signals.(Peeker)
	if st.first, err = st.read(ctx); err != nil || st.over && len(st.first) == 0 {
		st.Close()
		return nil, err == nil, err
	}
	return st, false, nil
}

// Close ends the stream.
func (st *TaskStream) Close() {
	for _, f := range st.leave {
		f()
	}
	st.leave = nil
}

// Next waits for events and gives them; after wait without any it gives none. over: the last of them was the final one. An error is
// ErrStreamEnded, that of ctx, or that the task is not there any more.
func (st *TaskStream) Next(ctx context.Context, wait time.Duration) (list []TaskEvent, over bool, err error) {
	if list, st.first = st.first, nil; st.over || len(list) > 0 {
		return list, st.over, nil
	}
	deadline := time.Now().Add(wait)
	for look := false; ; {
		if look {
			if list, err = st.read(ctx); err != nil && task.KindOf(err) != task.Unavailable || len(list) > 0 || st.over {
				return list, st.over, err
			}
		}
		pause, peek := st.pause(time.Until(deadline))
		if pause <= 0 {
			return nil, false, nil
		}
		timer := time.NewTimer(pause)
		select {
		case <-st.wake:
			look = true
		case <-timer.C:
			if look = !peek; peek {
				list = st.progress(ctx)
			}
			if look = look && st.row.Awaits(); len(list) > 0 {
				return list, false, nil
			}
		case <-st.s.streams.done:
			timer.Stop()
			return nil, false, ErrStreamEnded
		case <-ctx.Done():
			timer.Stop()
			return nil, false, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// pause is how long to wait at most, and whether the attempt is to be asked for its progress then.
func (st *TaskStream) pause(left time.Duration) (d time.Duration, peek bool) {
	switch {
	case st.row.State == task.Running && st.peeker != nil:
		if at := max(time.Until(st.peekAt), time.Millisecond); at < left {
			return at, true
		}
	case st.row.Awaits():
		return min(left, rereadSlow), false
	}
	return left, false
}

// read reads the history and gives what was not given yet.
func (st *TaskStream) read(ctx context.Context) (out []TaskEvent, err error) {
	from := st.seen.Epoch
	for {
		v, more, err := st.s.store.History(ctx, st.app, st.id, from)
		if err != nil {
			return out, err
		}
		if st.row.State != v.State || st.row.Epoch != v.Epoch {
			st.peekAt = time.Now().Add(peekEvery / 4)
		}
		st.row = v.Task
		list := historyOf(&v, from, more)
		for _, e := range list {
			if e.After(st.seen) {
				st.seen = e.Step
				out = append(out, e)
			}
		}
		if st.over = complete(list); !more {
			return out, nil
		}
		from = v.Attempts[len(v.Attempts)-1].Epoch
	}
}

// progress asks the running attempt's worker what it reported, and gives it when it is news.
func (st *TaskStream) progress(ctx context.Context) []TaskEvent {
	st.peekAt = time.Now().Add(peekEvery)
	if !st.s.streams.mayPeek() {
		return nil
	}
	row := st.row
	d, err := st.peeker.Peek(ctx, row.WorkerID, row.ID, row.Epoch, noLog)
	if err != nil || d.Gone || d.Progress == nil || d.Epoch != row.Epoch || st.seen.Epoch != row.Epoch || d.Epoch == st.epoch && d.Round <= st.round {
		return nil
	}
	st.epoch, st.round = d.Epoch, d.Round
	app, queue, kind, err := st.s.store.Names(ctx, row.AppID, row.LaneID, row.KindID)
	if err != nil {
		return nil
	}
	return []TaskEvent{{Step: Step{row.Epoch, stepBegan}, App: app, Queue: queue, Kind: kind, Progress: d.Progress, Change: task.Change{
		State: task.Running, Epoch: row.Epoch, TaskID: row.ID, AppID: row.AppID, LaneID: row.LaneID, KindID: row.KindID, WorkerID: row.WorkerID, At: st.s.Now()}}}
}

// noLog asks for nothing of what an attempt wrote.
const noLog = -1

// EventFilter says which events of the whole stream are wanted; empty fields want all.
type EventFilter struct {
	Queue, Kind string
	Types       []string // submitted, started, retrying, succeeded, failed, cancelled
}

var eventTypes = map[string]events.Types{"submitted": events.Submitted, "started": events.Started, "retrying": events.Retrying,
	"succeeded": events.Succeeded, "failed": events.Failed, "cancelled": events.Cancelled}

// EventStream is the whole stream as one client hears it.
type EventStream struct {
	l     *events.Listener
	leave func()
}

// Next waits for events and gives them encoded; after wait without any it gives none. ErrStreamEnded: the process ends.
func (e *EventStream) Next(ctx context.Context, wait time.Duration) ([][]byte, error) {
	out, err := e.l.Next(ctx, wait)
	if err == events.ErrEnded { //nolint:errorlint // it is given as it is
		err = ErrStreamEnded
	}
	return out, err
}

// Close ends the stream.
func (e *EventStream) Close() {
	e.l.Close()
	e.leave()
}

// ListenEvents streams the events of the principal's app from now on, or from after lastID when that is still known. Needs scope
// read. Throttled when too many stream; Unavailable (live_view_unavailable) when Redis is gone.
func (s *Service) ListenEvents(ctx context.Context, p Principal, f EventFilter, lastID string) (*EventStream, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	var bad faults
	checkName(&bad, "queue", f.Queue, MaxQueue, queueChars, false)
	checkName(&bad, "kind", f.Kind, MaxKind, kindChars, false)
	want := events.Filter{App: p.appID(), Queue: f.Queue, Kind: f.Kind}
	for _, name := range f.Types {
		t, ok := eventTypes[name]
		if !ok {
			bad.add("type", "one_of", "must be one or more of submitted, started, retrying, succeeded, failed, cancelled, with commas between")
			break
		}
		want.Types |= t
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	if s.broadcast == nil {
		return nil, liveGone(nil)
	}
	leave, err := s.streams.enter(p.App.ID)
	if err != nil {
		return nil, err
	}
	l, err := s.broadcast.Listen(ctx, want, lastID)
	if err != nil {
		leave()
		return nil, err
	}
	return &EventStream{l: l, leave: leave}, nil
}

// TicketStore keeps tickets for a minute, each for one use (rdb.Client). Its errors mean that Redis is gone.
type TicketStore interface {
	PutTicket(ctx context.Context, ticket string, what []byte) error
	// TakeTicket gives what a ticket is good for and forgets it; nil when there is none.
	TakeTicket(ctx context.Context, ticket string) ([]byte, error)
}

// ticketMs is how long a ticket is good.
const ticketMs = 60_000

// ticket is what one is good for.
type ticket struct {
	App       int32      `json:"app"`
	All       bool       `json:"all,omitempty"`
	Scope     task.Scope `json:"scope"` // of the key that it was made with; a ticket itself only reads
	Key       int64      `json:"key"`
	Owner     string     `json:"owner"`          // public key of the app whose key it is; an administrator's may be another's
	Task      int64      `json:"task,omitempty"` // 0: the whole stream
	ExpiresAt int64      `json:"expiresAt"`
}

// NewTicket makes a ticket for one stream: that of a task, or (0) the whole one. It is good once, within 60 s, and reads
// as the principal does. Needs scope read; Missing for an unknown task, Unavailable when Redis is gone.
func (s *Service) NewTicket(ctx context.Context, p Principal, taskID int64) (text string, expiresAt int64, err error) {
	if err := p.need(task.ScopeRead); err != nil {
		return "", 0, err
	}
	if taskID != 0 {
		if _, err := s.store.State(ctx, p.appID(), taskID); err != nil {
			return "", 0, err
		}
	}
	if s.tickets == nil {
		return "", 0, liveGone(nil)
	}
	t := ticket{App: p.App.ID, All: p.all, Scope: p.Scope, Key: p.KeyID, Owner: p.by.App, Task: taskID, ExpiresAt: s.Now() + ticketMs}
	raw, err := json.Marshal(t)
	if err != nil {
		return "", 0, err
	}
	text = "twt_" + strings.ToLower(rand.Text())
	if err := s.tickets.PutTicket(ctx, text, raw); err != nil {
		return "", 0, liveGone(err)
	}
	return text, t.ExpiresAt, nil
}

var errTicket = &task.Error{Kind: task.Unauthorized, Code: "unauthorized", Message: "the ticket is not good: it was used, is older than a minute, or is for another stream"}

// UseTicket gives the principal that a ticket stands for, which only reads. The ticket is used up, also when it is for another
// stream than that of taskID (0: the whole one). Unauthorized when it is not good, Unavailable when Redis is gone.
func (s *Service) UseTicket(ctx context.Context, text string, taskID int64) (Principal, error) {
	if len(text) < keyMin || len(text) > keyMax {
		return Principal{}, errTicket
	}
	if s.tickets == nil {
		return Principal{}, liveGone(nil)
	}
	raw, err := s.tickets.TakeTicket(ctx, text)
	if err != nil {
		return Principal{}, liveGone(err)
	}
	var t ticket
	if raw == nil || json.Unmarshal(raw, &t) != nil || t.Task != taskID || t.ExpiresAt <= s.Now() || t.Scope < task.ScopeRead {
		return Principal{}, errTicket
	}
	app, err := s.store.AppByID(ctx, t.App)
	if err != nil {
		return Principal{}, err
	}
	p := Principal{App: app, Scope: task.ScopeRead, KeyID: t.Key, all: t.All, by: task.Actor{App: t.Owner, KeyID: t.Key, Scope: task.ScopeRead}}
	return p, s.StillGood(ctx, p) // its key may have been revoked since
}

// StillGood asks the database whether the key that a principal came by still is what it was. Unauthorized when it was revoked,
// Forbidden when its app is disabled; other errors are of the database.
func (s *Service) StillGood(ctx context.Context, p Principal) error {
	owner, err := s.store.AppByKey(ctx, p.by.App)
	if err != nil {
		if task.KindOf(err) == task.NotFound {
			return errCredential
		}
		return err
	}
	if owner.Disabled {
		return errAppDisabled
	}
	keys, err := s.store.APIKeys(ctx, owner.ID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(keys, func(k task.APIKey) bool { return k.ID == p.KeyID && k.RevokedAt == 0 }) {
		return errCredential
	}
	return nil
}
