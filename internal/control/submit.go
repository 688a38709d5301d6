package control

import (
	"context"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

// Submitted is what a submit answers.
type Submitted struct {
	View     task.View
	Replayed bool // the idempotency key was known: the task as it is now
	Kept     bool // the unique key was taken and the request said keep: the other task
}

var nullPayload = []byte("null")

// Submit stores one task and answers when it is durable. Errors: Invalid or TooLarge with every broken rule; Conflict
// when the unique key is taken (TaskID says by which task) or the idempotency key was used for another request;
// Unavailable with nothing changed, or with code outcome_unknown. Needs scope submit.
func (s *Service) Submit(ctx context.Context, p Principal, in *Input, idem *IdempotencyKey) (Submitted, error) {
	if err := s.maySubmit(p, idem); err != nil {
		return Submitted{}, err
	}
	pd := &pending{done: make(chan struct{})}
	pd.one[0], pd.req.Tasks, pd.req.AppID = &pd.sub, pd.one[:], p.App.ID
	byClock, err := s.prepare(ctx, &p, in, &pd.sub, &pd.unique)
	if err != nil {
		if byClock && idem != nil {
			return s.replayOf(ctx, p, idem, err)
		}
		return Submitted{}, err
	}
	if idem != nil {
		pd.req.Idem = &task.Idempotency{Key: task.IdempotencyHash(p.App.ID, idem.Key), Body: idem.Body, First: true}
	}
	if err := s.commit(ctx, pd); err != nil {
		return Submitted{}, err
	}
	if pd.req.Err != nil {
		return Submitted{}, pd.req.Err
	}
	if pd.sub.Err != nil {
		return Submitted{}, pd.sub.Err
	}
	if pd.req.Replayed || pd.sub.Kept {
		v, err := s.view(ctx, p, pd.sub.TaskID)
		return Submitted{View: v, Replayed: pd.req.Replayed, Kept: pd.sub.Kept}, err
	}
	return Submitted{View: viewOf(p, in, &pd.sub)}, nil
}

func (s *Service) maySubmit(p Principal, idem *IdempotencyKey) error {
	if err := p.need(task.ScopeSubmit); err != nil {
		return err
	}
	if err := p.one(); err != nil {
		return err
	}
	if p.App.Disabled { // an administrator's key may act on it
		return errAppDisabled
	}
	if idem != nil && (len(idem.Key) < 1 || len(idem.Key) > MaxIdempotency) {
		return task.InvalidField("Idempotency-Key", "length", "must be 1 … 255 bytes")
	}
	return nil
}

// commit hands requests to the flusher, all or none, and waits for them.
func (s *Service) commit(ctx context.Context, ps ...*pending) error {
	if err := s.flusher.Add(ps...); err != nil {
		return err
	}
	for _, p := range ps {
		select {
		case <-p.done:
		case <-ctx.Done():
			return outcomeUnknown(context.Cause(ctx))
		}
	}
	return nil
}

// replayOf answers a request that breaks a rule by now but may have been stored when it did not; refusal is the answer
// when it was not.
func (s *Service) replayOf(ctx context.Context, p Principal, idem *IdempotencyKey, refusal error) (Submitted, error) {
	known, ok, err := s.store.Remembered(ctx, task.IdempotencyHash(p.App.ID, idem.Key))
	switch {
	case err != nil:
		return Submitted{}, err
	case !ok:
		return Submitted{}, refusal
	case known.Body != idem.Body || len(known.ItemIDs) != 1:
		return Submitted{}, errKeyReused
	}
	v, err := s.view(ctx, p, known.ItemIDs[0])
	return Submitted{View: v, Replayed: true}, err
}

var errKeyReused = &task.Error{Kind: task.Conflict, Code: "idempotency_key_reused", Message: "this Idempotency-Key was used for another request"}

// prepare checks an input whole and fills its submission. byClock says that the only broken rule depends on the time of
// the request.
func (s *Service) prepare(ctx context.Context, p *Principal, in *Input, t *task.Submission, unique *task.Unique) (byClock bool, err error) {
	var f faults
	check(in, s.clock.Now(), &f)
	kindID, err := s.checkKind(ctx, p, in, &f)
	if err != nil {
		return false, err
	}
	if err := f.err(); err != nil {
		return f.byClock && len(f.fields) == 1, err
	}
	if in.Queue == "" {
		in.Queue = DefaultQueue
	}
	prio, _ := task.ParsePriority(in.Priority)
	laneID, err := s.lanes.id(ctx, in.Queue, prio)
	if err != nil {
		return false, err
	}
	t.ID, t.AppID, t.LaneID, t.KindID = in.id, p.App.ID, laneID, kindID
	t.TimeoutMs = int32(in.TimeoutMs.or(task.DefaultTimeoutMs))
	t.DelayMs, t.ExpiresAt = in.DelayMs.V, in.ExpiresAt.V
	if in.RunAt.V > s.clock.Now() {
		t.DueAt = in.RunAt.V
	}
	return false, s.fillBody(ctx, in, t, unique)
}

// fillBody encodes what is written once and sets the flags that go with it.
func (s *Service) fillBody(ctx context.Context, in *Input, t *task.Submission, unique *task.Unique) error {
	head := task.BodyHead{Retry: in.Retry.policy(), RetryOf: in.retryOf, Name: in.Name, RunAt: max(0, in.RunAt.V)}
	if s.tracer != nil {
		head.Trace = s.tracer.Parent(ctx)
	}
	if head.Retry != nil {
		t.Flags |= task.HasRetryPolicy
	}
	if in.UniqueKey.Set {
		unique.Key = task.UniqueHash(t.AppID, in.UniqueKey.V)
		unique.Scope, _ = parseUniqueScope(in.UniqueScope)
		unique.OnConflict, _ = parseUniqueConflict(in.UniqueOnConflict)
		unique.WindowMs = in.UniqueWindowMs.V
		t.Unique = unique
		head.UniqueKey, head.UniqueScope, head.UniqueWindowMs = in.UniqueKey.V, unique.Scope, unique.WindowMs
		t.Flags |= task.HasUnique
		if unique.Scope == task.ScopeUntilStarted || unique.Scope == task.ScopeUntilDue && (t.DueAt > 0 || t.DelayMs > 0) {
			t.Flags |= task.UntilStarted
		}
	}
	if in.LimitKey.Set {
		t.Flags |= task.HasLimitKey
		t.Flow, head.LimitKey = task.FlowOf(t.AppID, in.LimitKey.V), in.LimitKey.V
	}
	if in.CompletionURL.Set {
		t.Flags |= task.HasCompletion
		head.CompletionURL, head.CompletionKind = in.CompletionURL.V, in.CompletionKind
	}
	if len(in.Labels) > 0 {
		t.Flags |= task.HasLabels
		t.Labels = slices.Clone(in.Labels)
		slices.SortFunc(t.Labels, func(a, b task.Label) int { return strings.Compare(a.Key, b.Key) })
		head.Labels = make(map[string]string, len(t.Labels))
		for _, l := range t.Labels {
			head.Labels[l.Key] = l.Value
		}
	}
	if in.Payload == nil {
		in.Payload = nullPayload
	}
	var err error
	in.head = head
	t.Body, err = task.Body{Payload: in.Payload, Head: head}.Encode()
	return err
}

// checkReserved refuses what only the system app may use: its kinds, and its queue, which every worker serves.
func checkReserved(in *Input, f *faults) {
	if task.IsSystemKind(in.Kind) {
		f.add("kind", "reserved", "kinds that begin with "+task.SystemKind+" are Taskweir's own")
	}
	if in.Queue == task.SystemQueue {
		f.add("queue", "reserved", "the queue "+task.SystemQueue+" is Taskweir's own")
	}
}

// checkKind finds the kind's id and holds the payload of a built-in kind against its rules.
func (s *Service) checkKind(ctx context.Context, p *Principal, in *Input, f *faults) (int32, error) {
	if !ValidKind(in.Kind) {
		return 0, nil // already named
	}
	if p.App.Key != task.SystemApp {
		checkReserved(in, f)
	}
	id, declared, err := s.kinds.id(ctx, in.Kind)
	if err != nil {
		return 0, err
	}
	if !declared {
		f.add("kind", "unknown", "no worker ever registered this kind and nobody declared it (PUT /v1/kinds/{name})")
		return 0, nil
	}
	if fn := s.checks[in.Kind]; fn != nil && len(in.Payload) <= task.MaxPayload && !f.has("payload") {
		payload := in.Payload
		if payload == nil {
			payload = nullPayload
		}
		for _, x := range fn(payload) {
			f.add(payloadPath(x.Field), x.Rule, x.Message)
		}
	}
	if s.callsBack(in.Kind) && p.App.CallbackURL == "" {
		// The principal may be some seconds old.
		if p.App, err = s.store.AppByID(ctx, p.App.ID); err != nil {
			return 0, err
		}
		if p.App.CallbackURL == "" {
			f.add("kind", "requires", "the app has no callbackUrl to send callbacks to")
		}
	}
	return id, nil
}

// callsBack reports whether a kind calls the app's own URL: callback, or that of a legacy surface.
func (s *Service) callsBack(kind string) bool {
	if kind != "callback" && !strings.HasSuffix(kind, ".callback") {
		return false
	}
	_, builtin := s.checks[kind]
	return builtin
}

func payloadPath(field string) string {
	switch {
	case field == "":
		return "payload"
	case field == "payload", strings.HasPrefix(field, "payload."), strings.HasPrefix(field, "payload["):
		return field
	case field[0] == '[':
		return "payload" + field
	}
	return "payload." + field
}

// viewOf is the task as it was just stored, without reading it.
func viewOf(p Principal, in *Input, t *task.Submission) task.View {
	prio, _ := task.ParsePriority(in.Priority)
	body := task.Body{Payload: in.Payload, Head: in.head}
	due := t.DueAt
	if due == 0 {
		due = t.CreatedAt + t.DelayMs
	}
	return task.View{
		Task: task.Task{ID: t.ID, AppID: t.AppID, LaneID: t.LaneID, KindID: t.KindID, State: task.Waiting, Flags: t.Flags,
			CreatedAt: t.CreatedAt, DueAt: due, ExpiresAt: t.ExpiresAt, TimeoutMs: t.TimeoutMs},
		AppKey: p.App.Key, Kind: in.Kind, Queue: in.Queue, Priority: prio, Body: body,
	}
}
