package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/task"
)

// pending is one request on its way through the flusher.
type pending struct {
	req  task.Request
	done chan struct{} // closed when req and its submissions hold the outcome

	// Storage of the common case, a request of one task, so that it costs one allocation.
	one    [1]*task.Submission
	sub    task.Submission
	unique task.Unique
}

func newPending(appID int32, subs ...*task.Submission) *pending {
	p := &pending{done: make(chan struct{})}
	p.req.AppID = appID
	if len(subs) == 1 {
		p.one[0] = subs[0]
		p.req.Tasks = p.one[:]
	} else {
		p.req.Tasks = subs
	}
	return p
}

// rowBytes is about what a task costs in a transaction beside its body.
const rowBytes = 256

func (p *pending) size() (tasks, bytes int) {
	for _, t := range p.req.Tasks {
		bytes += len(t.Body) + rowBytes
	}
	return len(p.req.Tasks), bytes
}

// committer turns what gathered into transactions.
type committer struct {
	store  Store
	ringer Ringer
	log    *slog.Logger
}

// flush commits a batch: usually one transaction.
func (c *committer) flush(ctx context.Context, batch []*pending) {
	bells := c.commit(ctx, batch)
	rungs := rungsOf(batch, bells) // before the callers go on: the submissions are theirs then
	for _, p := range batch {
		close(p.done)
	}
	if len(rungs) > 0 {
		failpoint.At(failpoint.SubmitCommitted)
		c.ringer.Ring(rungs...)
	}
}

// commit writes the requests of one flush and sets the outcome on each.
func (c *committer) commit(ctx context.Context, batch []*pending) []task.Bell {
	reqs := make([]*task.Request, len(batch))
	fresh := 0
	for i, p := range batch {
		reqs[i] = &p.req
		for _, t := range p.req.Tasks {
			if t.ID == 0 {
				fresh++
			}
		}
	}
	if fresh > 0 {
		first, err := c.store.TaskIDs(ctx, fresh)
		if err != nil {
			refuse(reqs, err)
			return nil
		}
		number(reqs, first)
	}
	return c.submit(ctx, reqs)
}

func number(reqs []*task.Request, next int64) {
	for _, r := range reqs {
		for _, t := range r.Tasks {
			if t.ID == 0 {
				t.ID = next
				next++
			}
		}
	}
}

// submit is one transaction, or as many as it takes to find the task that spoils it.
func (c *committer) submit(ctx context.Context, reqs []*task.Request) []task.Bell {
	bells, err := c.store.Submit(ctx, reqs)
	switch {
	case err == nil:
		return bells
	case errors.Is(err, task.ErrOutcomeUnknown):
		refuse(reqs, outcomeUnknown(err))
		return nil
	case task.KindOf(err) == task.Unavailable || ctx.Err() != nil:
		refuse(reqs, err)
		return nil
	case len(reqs) > 1:
		reset(reqs)
		half := len(reqs) / 2
		return append(c.submit(ctx, reqs[:half]), c.submit(ctx, reqs[half:])...)
	case len(reqs[0].Tasks) > 1:
		reset(reqs)
		return c.halve(ctx, reqs[0])
	}
	c.log.Error("a task cannot be stored", "task", reqs[0].Tasks[0].ID, "app", reqs[0].AppID, "error", err)
	reset(reqs)
	reqs[0].Tasks[0].Err = err
	return nil
}

// halve commits a request in two transactions. The first that creates a task remembers the idempotency key.
func (c *committer) halve(ctx context.Context, r *task.Request) []task.Bell {
	half := len(r.Tasks) / 2
	a := &task.Request{AppID: r.AppID, Idem: r.Idem, Tasks: r.Tasks[:half]}
	bells := c.submit(ctx, []*task.Request{a})
	if r.Replayed, r.Err = a.Replayed, a.Err; a.Replayed {
		return bells
	}
	b := &task.Request{AppID: r.AppID, Idem: later(r.Idem, anyCreated(a.Tasks)), Tasks: r.Tasks[half:]}
	if a.Err != nil && task.KindOf(a.Err) == task.Conflict {
		return bells // the key was used for another request
	}
	r.Err = nil
	blame(a)
	bells = append(bells, c.submit(ctx, []*task.Request{b})...)
	blame(b)
	return bells
}

// later is the idempotency of a later part: the key is written by the first part that creates a task.
func later(idem *task.Idempotency, remembered bool) *task.Idempotency {
	if idem == nil || !remembered || !idem.First {
		return idem
	}
	c := *idem
	c.First = false
	return &c
}

// blame moves the error of a part to its tasks: the other part may have gone well.
func blame(part *task.Request) {
	if part.Err == nil {
		return
	}
	for _, t := range part.Tasks {
		t.Err = part.Err
	}
}

func anyCreated(ts []*task.Submission) bool {
	for _, t := range ts {
		if t.Created {
			return true
		}
	}
	return false
}

func refuse(reqs []*task.Request, err error) {
	reset(reqs)
	for _, r := range reqs {
		r.Err = err
	}
}

// reset takes back what a transaction that was rolled back has set.
func reset(reqs []*task.Request) {
	for _, r := range reqs {
		r.Replayed, r.Err = false, nil
		for _, t := range r.Tasks {
			t.Created, t.Kept, t.TaskID, t.CreatedAt, t.Err = false, false, 0, 0, nil
		}
	}
}

func outcomeUnknown(cause error) error {
	return &task.Error{Kind: task.Unavailable, Code: "outcome_unknown", RetryAfter: time.Second, Cause: cause,
		Message: "it is not known whether the request was stored; repeat it with the same Idempotency-Key"}
}

// rungsOf joins the bells with what is known of their tasks, so that workers need not read it.
func rungsOf(batch []*pending, bells []task.Bell) []task.Rung {
	if len(bells) == 0 {
		return nil
	}
	created := 0
	for _, p := range batch {
		for _, t := range p.req.Tasks {
			if t.Created {
				created++
			}
		}
	}
	byID := make(map[int64]*task.Submission, created)
	for _, p := range batch {
		for _, t := range p.req.Tasks {
			if t.Created {
				byID[t.ID] = t
			}
		}
	}
	rungs := make([]task.Rung, 0, len(bells))
	items := make([]task.Item, 0, created)
	for _, b := range bells {
		from := len(items)
		for _, id := range b.TaskIDs {
			if t := byID[id]; t != nil {
				items = append(items, itemOf(t))
			}
		}
		rungs = append(rungs, task.Rung{Bell: b, Items: items[from:len(items):len(items)]})
	}
	return rungs
}

func itemOf(t *task.Submission) task.Item {
	it := task.Item{ID: t.ID, KindID: t.KindID, TimeoutMs: t.TimeoutMs, Flags: t.Flags, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
	if len(t.Body) <= task.MaxInlineBody {
		it.Body = t.Body
	}
	return it
}
